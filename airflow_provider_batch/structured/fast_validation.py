"""
A quick judge for most answers: a JSON Schema as a msgspec type, which decodes and checks a text in one pass.

It may only say yes where the schema does. So it is built from the keywords that both understand alike, and there is
none for a schema with any other; what it does not accept is judged again by the schema itself, which says why.
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
#: Formats that the conversion to a column checks, and those that nobody does.
_FREE_FORMATS = frozenset(
    {"date", "date-time", "time", "duration", "email", "hostname", "ipv4", "ipv6", "uri", "binary"}
)
_TEXT = {"minLength": "min_length", "maxLength": "max_length", "pattern": "pattern"}
_LIST = {"minItems": "min_length", "maxItems": "max_length"}
_BOUNDS = {"minimum": "ge", "exclusiveMinimum": "gt", "maximum": "le", "exclusiveMaximum": "lt"}


class _NoShortcutError(Exception):
    """The schema says something that a type cannot."""


def shortcut(schema: Mapping[str, Any]) -> Callable[[str], bool] | None:
    """Return a function that says whether a text surely satisfies a schema, or None where there is none."""
    try:
        decode = msgspec.json.Decoder(_Builder(schema).build(schema)).decode
    except (_NoShortcutError, TypeError, ValueError, RecursionError):
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
            raise _NoShortcutError
        told = {key: value for key, value in node.items() if key not in _NOTES}
        if set(told) == {"$ref"}:
            return self.build(resolved(told["$ref"], self._root))
        if set(told) == {"anyOf"}:
            return self._optional(told["anyOf"])
        if "enum" in told or "const" in told:
            return _literal(told)
        kind = told.pop("type", None)
        if isinstance(kind, list):
            full = [one for one in kind if one != "null"]
            if len(full) != 1:
                raise _NoShortcutError
            made = self._of_type(full[0], told)
            return made | None if "null" in kind else made
        return self._of_type(kind, told)

    def _optional(self, branches: list[Any]) -> Any:
        full = [branch for branch in branches if branch != {"type": "null"}]
        if len(full) != 1:
            raise _NoShortcutError
        made = self.build(full[0])
        return made if len(full) == len(branches) else made | None

    def _of_type(self, kind: Any, told: dict[str, Any]) -> Any:
        match kind:
            case "object" if told.get("properties"):
                return self._struct(told)
            case "object":
                _only(told, {"additionalProperties"})
                return dict[str, self.build(told.get("additionalProperties"))]  # type: ignore[misc]
            case "array":
                _only(told, {"items", *_LIST})
                return _limited(list[self.build(told.get("items"))], told, _LIST)  # type: ignore[misc]
            case "string":
                return _text(told)
            case "integer" | "number":
                return _number(told, kind)
            case "boolean":
                _only(told, set())
                return bool
        raise _NoShortcutError

    def _struct(self, told: dict[str, Any]) -> Any:
        _only(told, {"properties", "required", "additionalProperties"})
        members, required = told["properties"], set(told.get("required") or ())
        extra = told.get("additionalProperties", True)
        if not isinstance(extra, bool) or not required <= set(members):
            raise _NoShortcutError
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


def _only(told: Mapping[str, Any], known: set[str]) -> None:
    if set(told) - known:
        raise _NoShortcutError


def _limited(kind: Any, told: Mapping[str, Any], names: Mapping[str, str]) -> Any:
    limits: dict[str, Any] = {names[key]: value for key, value in told.items() if key in names}
    return Annotated[kind, msgspec.Meta(**limits)] if limits else kind


def _text(told: dict[str, Any]) -> Any:
    _only(told, {*_TEXT, "format"})
    form = told.get("format")
    if form == "uuid" and "pattern" not in told:
        told = {**told, "pattern": UUID_PATTERN}
    elif form is not None and form not in _FREE_FORMATS:
        raise _NoShortcutError
    return _limited(str, told, _TEXT)


def _number(told: dict[str, Any], kind: str) -> Any:
    _only(told, set(_BOUNDS))
    if any(isinstance(value, bool) for value in told.values()):
        raise _NoShortcutError
    if kind == "number":
        return _limited(float, told, _BOUNDS)
    if not all(isinstance(value, int) and abs(value) < _INT64 for value in told.values()):
        raise _NoShortcutError
    return _limited(int, told, _BOUNDS)


def _literal(told: dict[str, Any]) -> Any:
    values = told["enum"] if "enum" in told else [told["const"]]
    kinds = {type(value) for value in values} - {type(None)}
    _only(told, {"enum", "type"} if "enum" in told else {"const", "type"})
    if kinds not in ({str}, {int}) or not all(isinstance(v, str | None) or abs(v) < _INT64 for v in values):
        raise _NoShortcutError
    named = told.get("type", [])
    expected = {"string"} if kinds == {str} else {"integer", "number"}
    if "type" in told and not expected & set([named] if isinstance(named, str) else named):
        raise _NoShortcutError
    if "type" in told and None in values and "null" not in named:
        raise _NoShortcutError
    return Literal[tuple(values)]
