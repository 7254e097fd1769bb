"""
Fast validation of most answers: a JSON Schema as a msgspec type, which decodes and checks a text in one pass.

It accepts a text only if the schema does. So it is built only from keywords that both understand in the same way; a
schema with any other keyword has no fast validation. A text that it does not accept is validated again with the schema
itself, which gives the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import msgspec

from airflow_provider_batch.structured.strict_mode import resolved

UUID_PATTERN = r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\Z"

_NOTES = frozenset(
    {"title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly", "$comment", "$defs"}
    | {"definitions", "$schema"}
)
_INT64 = 2**63
#: Formats that the conversion to a column checks, and formats that are not checked.
_FREE_FORMATS = frozenset(
    {"date", "date-time", "time", "duration", "email", "hostname", "ipv4", "ipv6", "uri", "binary"}
)
_TEXT = {"minLength": "min_length", "maxLength": "max_length", "pattern": "pattern"}
_LIST = {"minItems": "min_length", "maxItems": "max_length"}
_BOUNDS = {"minimum": "ge", "exclusiveMinimum": "gt", "maximum": "le", "exclusiveMaximum": "lt"}


class _NotSupportedError(Exception):
    """The schema has a keyword that a msgspec type cannot express."""


def fast_validator(schema: Mapping[str, Any]) -> Callable[[str], bool] | None:
    """
    Return a function that says whether a text certainly satisfies a schema, or None where the schema has other
    keywords.

    :param schema: JSON Schema.
    """
    try:
        decode = msgspec.json.Decoder(_Builder(schema).build(schema)).decode
    except (_NotSupportedError, TypeError, ValueError, RecursionError):
        return None

    def accepts(text: str) -> bool:
        try:
            decode(text)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            return False
        return True

    return accepts


class _Builder:
    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root

    def build(self, node: Any) -> Any:
        if not isinstance(node, Mapping):
            raise _NotSupportedError
        keywords = {key: value for key, value in node.items() if key not in _NOTES}
        if set(keywords) == {"$ref"}:
            return self.build(resolved(keywords["$ref"], self._root))
        if set(keywords) == {"anyOf"}:
            return self._optional(keywords["anyOf"])
        if "enum" in keywords or "const" in keywords:
            return _literal(keywords)
        kind = keywords.pop("type", None)
        if isinstance(kind, list):
            others = [one for one in kind if one != "null"]
            if len(others) != 1:
                raise _NotSupportedError
            made = self._of_type(others[0], keywords)
            return made | None if "null" in kind else made
        return self._of_type(kind, keywords)

    def _optional(self, branches: list[Any]) -> Any:
        others = [branch for branch in branches if branch != {"type": "null"}]
        if len(others) != 1:
            raise _NotSupportedError
        made = self.build(others[0])
        return made if len(others) == len(branches) else made | None

    def _of_type(self, kind: Any, keywords: dict[str, Any]) -> Any:
        match kind:
            case "object" if keywords.get("properties"):
                return self._struct(keywords)
            case "object":
                _only(keywords, {"additionalProperties"})
                return dict[str, self.build(keywords.get("additionalProperties"))]  # type: ignore[misc]
            case "array":
                _only(keywords, {"items", *_LIST})
                return _limited(list[self.build(keywords.get("items"))], keywords, _LIST)  # type: ignore[misc]
            case "string":
                return _text(keywords)
            case "integer" | "number":
                return _number(keywords, kind)
            case "boolean":
                _only(keywords, set())
                return bool
        raise _NotSupportedError

    def _struct(self, keywords: dict[str, Any]) -> Any:
        _only(keywords, {"properties", "required", "additionalProperties"})
        members, required = keywords["properties"], set(keywords.get("required") or ())
        extra = keywords.get("additionalProperties", True)
        if not isinstance(extra, bool) or not required <= set(members):
            raise _NotSupportedError
        fields: list[Any] = []
        for number, (name, inner) in enumerate(members.items()):
            kind = self.build(inner)
            field = f"f{number}"
            fields.append(
                (field, kind, msgspec.field(name=name))
                if name in required
                else (field, kind | msgspec.UnsetType, msgspec.field(default=msgspec.UNSET, name=name))
            )
        return msgspec.defstruct("Answer", fields, kw_only=True, forbid_unknown_fields=not extra, gc=False)


def _only(keywords: Mapping[str, Any], known: set[str]) -> None:
    if set(keywords) - known:
        raise _NotSupportedError


def _limited(kind: Any, keywords: Mapping[str, Any], names: Mapping[str, str]) -> Any:
    limits: dict[str, Any] = {names[key]: value for key, value in keywords.items() if key in names}
    return Annotated[kind, msgspec.Meta(**limits)] if limits else kind


def _text(keywords: dict[str, Any]) -> Any:
    _only(keywords, {*_TEXT, "format"})
    form = keywords.get("format")
    if form == "uuid" and "pattern" not in keywords:
        keywords = {**keywords, "pattern": UUID_PATTERN}
    elif form is not None and form not in _FREE_FORMATS:
        raise _NotSupportedError
    return _limited(str, keywords, _TEXT)


def _number(keywords: dict[str, Any], kind: str) -> Any:
    _only(keywords, set(_BOUNDS))
    if any(isinstance(value, bool) for value in keywords.values()):
        raise _NotSupportedError
    if kind == "number":
        return _limited(float, keywords, _BOUNDS)
    if not all(isinstance(value, int) and abs(value) < _INT64 for value in keywords.values()):
        raise _NotSupportedError
    return _limited(int, keywords, _BOUNDS)


def _literal(keywords: dict[str, Any]) -> Any:
    values = keywords["enum"] if "enum" in keywords else [keywords["const"]]
    kinds = {type(value) for value in values} - {type(None)}
    _only(keywords, {"enum", "type"} if "enum" in keywords else {"const", "type"})
    if kinds not in ({str}, {int}) or not all(isinstance(v, str | None) or abs(v) < _INT64 for v in values):
        raise _NotSupportedError
    named = keywords.get("type", [])
    expected = {"string"} if kinds == {str} else {"integer", "number"}
    if "type" in keywords and not expected & set([named] if isinstance(named, str) else named):
        raise _NotSupportedError
    if "type" in keywords and None in values and "null" not in named:
        raise _NotSupportedError
    return Literal[tuple(values)]
