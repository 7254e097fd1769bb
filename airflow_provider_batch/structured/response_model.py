"""
The form of an answer: a Pydantic model or a JSON Schema, in one type for requests, ledger and landing.

The schema is decisive: the fingerprint compares it, the ledger stores it, and every column is made from it. A class is
a second, stricter validator of answers while it is available. The schema of a class is made here, so that it describes
a `Decimal` with its digits; a schema that was given as a dict is never changed.
"""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from airflow_provider_batch.exceptions import ConfigurationError
from airflow_provider_batch.structured.strict_mode import loose_form, resolved, strict_form, strict_problem

_NO_NAME = re.compile(r"[^A-Za-z0-9_-]+")
_MAX_NAME = 64
#: Keywords that hold values, not schemas.
_VALUES = frozenset({"enum", "const", "default", "examples"})


@dataclass(frozen=True, eq=False)
class ResponseModel:
    """
    The form of an answer.

    :param name: Name for the API and for error messages.
    :param schema: JSON Schema that answers are validated with.
    :param model: The Pydantic class; None where there is only a schema.
    """

    name: str
    schema: Mapping[str, Any]
    model: Any = None

    @classmethod
    def of(cls, given: Any) -> ResponseModel:
        """
        Return the response model for a user's argument.

        :param given: A Pydantic model class, or a JSON Schema as a mapping.
        :raises ConfigurationError: The argument is neither, or the schema is not valid.
        """
        if isinstance(given, ResponseModel):
            return given
        if isinstance(given, type) and hasattr(given, "model_json_schema"):
            return cls(_name(given.__name__), pydantic_schema(given), given)
        if not isinstance(given, Mapping):
            hint = " Give the class itself." if hasattr(given, "model_json_schema") else ""
            raise ConfigurationError(
                "response_model: expected a Pydantic model class or a JSON Schema as a dict, found "
                f"{type(given).__name__}.{hint}"
            )
        schema = _plain(given)
        _check(schema)
        return cls(_name(str(schema.get("title") or "response")), schema)

    @classmethod
    def recorded(cls, schema: Mapping[str, Any]) -> ResponseModel:
        """
        Return the response model for a schema from a ledger, which was checked when its job began.

        Patterns that only Pydantic can read are left out: without the class they cannot be checked.

        :param schema: JSON Schema.
        """
        return cls(_name(str(schema.get("title") or "response")), _readable(schema))

    @cached_property
    def not_strict(self) -> str | None:
        """Why the API's strict mode does not take this schema; None where it does."""
        return strict_problem(self._candidate)

    @property
    def asked(self) -> Mapping[str, Any]:
        """The schema that is sent: a dict unchanged, the schema of a class in its strict form where it has one."""
        if self.model is None or self.not_strict is None:
            return self._candidate
        return loose_form(self.schema)

    @property
    def text(self) -> str:
        """Name and schema as text, for the fingerprint; the order of members counts, since models write in it."""
        return json.dumps([self.name, self.schema])

    @cached_property
    def _candidate(self) -> Mapping[str, Any]:
        return self.schema if self.model is None else strict_form(self.schema)


def load_response_model(text: str) -> ResponseModel:
    """
    Return the response model that a command line names.

    :param text: A `.json` file with a JSON Schema, or `module:Class`; modules in the current folder are found too.
    :raises ConfigurationError: The file or the class does not exist, or is not a valid model.
    """
    module, colon, name = text.partition(":")
    if text.endswith(".json") or not colon:
        return ResponseModel.of(_schema_in(Path(text)))
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        found: Any = importlib.import_module(module)
    except Exception as error:
        raise ConfigurationError(f"response_model: {module} cannot be imported ({error}).") from error
    for part in name.split("."):
        if not hasattr(found, part):
            raise ConfigurationError(f"response_model: {module} has no {name}.")
        found = getattr(found, part)
    return ResponseModel.of(found)


def _schema_in(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise ConfigurationError(
            f"response_model: expected a .json file or module:Class, and {path} cannot be read ({error})."
        ) from error
    except ValueError as error:
        raise ConfigurationError(f"response_model: {path}: expected a JSON Schema ({error}).") from error


def pydantic_schema(model: Any, mode: str = "validation") -> dict[str, Any]:
    """
    Return the JSON Schema of a Pydantic class.

    :param model: The class.
    :param mode: `validation` for the values that it reads, `serialization` for the values that it writes.
    :raises ConfigurationError: A field of the class has no JSON form.
    """
    from pydantic.errors import PydanticUserError

    try:
        return _plain(model.model_json_schema(mode=mode, schema_generator=_generator()))
    except PydanticUserError as error:
        raise ConfigurationError(f"response_model: {model.__name__} has no JSON Schema: {error.message}") from error


@lru_cache(maxsize=1)
def _generator() -> Any:
    from pydantic.json_schema import GenerateJsonSchema

    class Generator(GenerateJsonSchema):
        """Describes decimals with their digits: Pydantic's own schema is a union of number and text without them."""

        def decimal_schema(self, schema: Any) -> dict[str, Any]:
            digits, places = schema.get("max_digits"), schema.get("decimal_places")
            known = {} if digits is None or places is None else {"maxDigits": digits, "decimalPlaces": places}
            return {"type": ["string", "number"], "format": "decimal", **known}

    return Generator


def _plain(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy that consists of JSON values only."""
    try:
        text = json.dumps(schema, allow_nan=False)
        text.encode("utf-8")
        json.dumps(schema, ensure_ascii=False).encode("utf-8")
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigurationError(
            f"response_model: expected a JSON Schema, and it has no JSON form ({error})."
        ) from error
    plain: dict[str, Any] = json.loads(text)
    return plain


def _check(schema: dict[str, Any]) -> None:
    from jsonschema import Draft202012Validator, SchemaError
    from jsonschema.validators import validator_for

    try:
        validator_for(schema, default=Draft202012Validator).check_schema(schema)
    except SchemaError as error:
        where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path)
        raise ConfigurationError(
            f"response_model: not a valid JSON Schema{' at ' + where.removeprefix('.') if where else ''}: "
            f"{error.message}"
        ) from error
    except RecursionError as error:
        raise ConfigurationError("response_model: the schema is nested too deeply. Make it flatter.") from error
    for ref, place in _references(schema, "response"):
        if resolved(ref, schema) is None:
            raise ConfigurationError(
                f"response_model: {place}: {ref} is not defined in the schema. Define it under $defs."
            )
    for pattern in _patterns(schema):
        if not _can_read(pattern):
            raise ConfigurationError(f"response_model: the pattern {pattern!r} is not a valid regular expression.")


def _patterns(node: Any) -> list[str]:
    if isinstance(node, list):
        return [pattern for item in node for pattern in _patterns(item)]
    if not isinstance(node, dict):
        return []
    own = [node["pattern"]] if isinstance(node.get("pattern"), str) else []
    keys = node.get("patternProperties")
    return own + list(keys if isinstance(keys, dict) else ()) + _patterns(list(node.values()))


def _references(node: Any, place: str) -> Iterator[tuple[str, str]]:
    """Yield all references of a schema, each with its place; values such as defaults are not searched."""
    if isinstance(node, list):
        for item in node:
            yield from _references(item, place)
    if not isinstance(node, dict):
        return
    for key, value in node.items():
        if key in ("$ref", "$dynamicRef") and isinstance(value, str):
            yield value, place
        elif key == "properties" and isinstance(value, dict):
            for name, inner in value.items():
                yield from _references(inner, f"{place}.{name}")
        elif key not in _VALUES:
            yield from _references(value, f"{place}[]" if key == "items" else place)


def _readable(node: Any) -> Any:
    """Return a schema without patterns that are not regular expressions of Python."""
    if isinstance(node, list):
        return [_readable(item) for item in node]
    if not isinstance(node, Mapping):
        return node
    made = {key: _readable(value) for key, value in node.items()}
    if isinstance(made.get("pattern"), str) and not _can_read(made["pattern"]):
        del made["pattern"]
    if isinstance(keys := made.get("patternProperties"), dict):
        made["patternProperties"] = {key if _can_read(key) else ".*": value for key, value in keys.items()}
    return made


def _can_read(pattern: str) -> bool:
    try:
        re.compile(pattern)
    except re.error:
        return False
    return True


def _name(text: str) -> str:
    return _NO_NAME.sub("_", text)[:_MAX_NAME].strip("_") or "response"
