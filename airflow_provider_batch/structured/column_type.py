"""
The Arrow type of the column `parsed` for a JSON Schema.

| in the schema | in the table |
|---|---|
| object with properties | struct, fields in the schema's order; other members are dropped |
| object with values of one type (`additionalProperties`, `patternProperties`) | map<string, …> |
| array; tuple of one type | list |
| integer, number, boolean | int64, float64, bool |
| string; enum or const of strings | string |
| string with format `date`, `date-time`, `time` | date32, timestamp[us, UTC], time64[us] |
| format `decimal` with `maxDigits` and `decimalPlaces` (a Pydantic `Decimal` with both) | decimal128 |
| any other `Decimal`, other formats (uuid, duration, email …) | string |
| anyOf or a type list with null, members that are not required | the same type; every field is nullable |
| integer or number | float64 |

A schema without one type for each place is an error that names the place: a model that contains itself, a union of
different types, `Any`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa

from airflow_provider_batch.exceptions import ConfigurationError
from airflow_provider_batch.structured.response_model import ResponseModel
from airflow_provider_batch.structured.strict_mode import resolved

Kind = Literal[
    "object",
    "map",
    "list",
    "string",
    "integer",
    "number",
    "boolean",
    "date",
    "date-time",
    "time",
    "decimal",
    "null",
]
_SCALARS: Mapping[str, pa.DataType] = {
    "string": pa.string(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "date-time": pa.timestamp("us", tz="UTC"),
    "time": pa.time64("us"),
}
_MAX_DIGITS = 38
#: Keywords that say which type a value has; the others only restrict it.
_TYPE_KEYWORDS = ("$ref", "allOf", "anyOf", "oneOf", "enum", "const", "type", "properties", "items", "prefixItems")


@dataclass(frozen=True)
class Shape:
    """
    The type of a value in a JSON Schema.

    :param kind: Kind of the value.
    :param fields: Members of an object with their shapes, in order.
    :param item: Shape of the values of a list or a map.
    :param digits: Precision and scale of a decimal; None where the schema does not have both.
    """

    kind: Kind
    fields: tuple[tuple[str, Shape], ...] = ()
    item: Shape | None = None
    digits: tuple[int, int] | None = None

    @property
    def type(self) -> pa.DataType:
        """The Arrow type of a column of such values."""
        if self.kind == "object":
            return pa.struct([pa.field(name, inner.type) for name, inner in self.fields])
        if self.kind == "decimal":
            return pa.string() if self.digits is None else pa.decimal128(*self.digits)
        if self.item is None:
            return _SCALARS[self.kind]
        return pa.map_(pa.string(), self.item.type) if self.kind == "map" else pa.list_(self.item.type)

    def covers(self, other: Shape) -> bool:
        """
        Return whether this shape has every member of another shape, with the same names and types.

        :param other: The other shape.
        """
        if (self.kind, self.digits, self.item is None) != (other.kind, other.digits, other.item is None):
            return False
        if self.item is not None and other.item is not None:
            return self.item.covers(other.item)
        mine = dict(self.fields)
        return all(name in mine and mine[name].covers(inner) for name, inner in other.fields)

    def __str__(self) -> str:
        return {"object": "an object", "map": "a map", "list": "a list"}.get(self.kind, self.kind)


@dataclass(frozen=True)
class ParsedColumn:
    """
    The column `parsed`.

    :param model: The model that validates answers.
    :param shape: Shape of an answer.
    :param type: Arrow type of the column.
    """

    model: ResponseModel
    shape: Shape
    type: pa.DataType

    @classmethod
    def of(cls, model: ResponseModel) -> ParsedColumn:
        """
        Return the column of a model.

        :param model: The response model.
        :raises ConfigurationError: No column can hold the model's answers.
        """
        shape = shape_of(model)
        return cls(model, shape, shape.type)


def shape_of(model: ResponseModel) -> Shape:
    """
    Return the shape of a model's answers.

    :param model: The response model.
    :raises ConfigurationError: No column can hold the answers; names the place in the model.
    """
    shape = _Reader(model).read(model.schema, model.name, ())
    if shape.kind != "object":
        raise _unfit(model.name, f"an answer must be an object, and this is {shape}", "Put it into a field.")
    return shape


class _Reader:
    def __init__(self, model: ResponseModel) -> None:
        self._root = model.schema

    def read(self, node: Any, path: str, refs: tuple[str, ...]) -> Shape:
        """
        Return the shape of one schema.

        :param path: Place in the model, as in messages.
        :param refs: The references that were followed to this schema.
        """
        if not isinstance(node, Mapping) or not any(key in node for key in (*_TYPE_KEYWORDS, *_MAPS)):
            raise _unfit(path, "any value is allowed here", "Give it a type.")
        if "$ref" in node or "allOf" in node:
            return self._of_all(node, path, refs)
        if "const" in node or "enum" in node:
            return _of_values([node["const"]] if "const" in node else node["enum"], node, path)
        if "type" in node or not ("anyOf" in node or "oneOf" in node):
            return self._of_types(node, path, refs)
        branches = [*node.get("anyOf", ()), *node.get("oneOf", ())]
        return _one_of([self.read(branch, path, refs) for branch in branches], path)

    def _of_all(self, node: Mapping[str, Any], path: str, refs: tuple[str, ...]) -> Shape:
        """Return the shape of `allOf`: one schema says the type and the others restrict it."""
        rest = {key: value for key, value in node.items() if key not in ("$ref", "allOf")}
        parts = [part for part in (rest, *node.get("allOf", ())) if _says_type(part)]
        found = [self.read(part, path, refs) for part in parts]
        if "$ref" in node:
            found.append(self._referenced(str(node["$ref"]), path, refs))
        if not found:
            raise _unfit(path, "any value is allowed here", "Give it a type.")
        if any(shape != found[0] for shape in found):
            raise _unfit(path, "allOf joins several different types", "Write one schema with all members.")
        return found[0]

    def _referenced(self, ref: str, path: str, refs: tuple[str, ...]) -> Shape:
        if ref in refs:
            raise _unfit(
                path, "the model contains itself, and a column has a fixed depth", "Use a list of flat items, with ids."
            )
        found = resolved(ref, self._root)
        if found is None:
            raise _unfit(path, f"{ref} is not defined in the schema", "Define it under $defs.")
        return self.read(found, path, (*refs, ref))

    def _of_types(self, node: Mapping[str, Any], path: str, refs: tuple[str, ...]) -> Shape:
        kinds = node.get("type", "object" if _is_object(node) else "array")
        kinds = [kinds] if isinstance(kinds, str) else list(kinds)
        if node.get("format") == "decimal" and not set(kinds) - {"string", "number", "integer", "null"}:
            return _decimal(node)
        return _one_of([self._of_type(kind, node, path, refs) for kind in kinds], path)

    def _of_type(self, kind: str, node: Mapping[str, Any], path: str, refs: tuple[str, ...]) -> Shape:
        if kind == "object":
            return self._object(node, path, refs)
        if kind == "array":
            return self._list(node, path, refs)
        formatted: Any = node.get("format")
        if kind == "string" and formatted in ("date", "date-time", "time"):
            return Shape(formatted)
        known: Any = kind
        return Shape(known)

    def _object(self, node: Mapping[str, Any], path: str, refs: tuple[str, ...]) -> Shape:
        members = node.get("properties")
        if members:
            fields = [(name, self._field_of([inner], f"{path}.{name}", refs)) for name, inner in members.items()]
            return Shape("object", fields=tuple(fields))
        values = [*(node.get("patternProperties") or {}).values()]
        values += [node["additionalProperties"]] if isinstance(node.get("additionalProperties"), Mapping) else []
        if not values:
            raise _unfit(
                path, "an object without members cannot be a column", "Give it properties, or a type for its values."
            )
        return Shape("map", item=self._field_of(values, f"{path}{{}}", refs))

    def _list(self, node: Mapping[str, Any], path: str, refs: tuple[str, ...]) -> Shape:
        kinds = [*(node.get("prefixItems") or ())]
        if isinstance(node.get("items"), Mapping) or not kinds:
            kinds.append(node.get("items", True))
        return Shape("list", item=self._field_of(kinds, f"{path}[]", refs))

    def _field_of(self, nodes: Iterable[Any], path: str, refs: tuple[str, ...]) -> Shape:
        shape = _one_of([self.read(node, path, refs) for node in nodes], path)
        if shape.kind == "null":
            raise _unfit(path, "it is always null", "Leave it out.")
        return shape


_MAPS = ("additionalProperties", "patternProperties")


def _is_object(node: Mapping[str, Any]) -> bool:
    return any(key in node for key in ("properties", *_MAPS))


def _says_type(node: Any) -> bool:
    return isinstance(node, Mapping) and any(key in node for key in _TYPE_KEYWORDS)


def _decimal(node: Mapping[str, Any]) -> Shape:
    digits, places = node.get("maxDigits"), node.get("decimalPlaces")
    if isinstance(digits, int) and isinstance(places, int) and 0 <= places <= digits <= _MAX_DIGITS and digits:
        return Shape("decimal", digits=(digits, places))
    return Shape("decimal")


def _of_values(values: Iterable[Any], node: Mapping[str, Any], path: str) -> Shape:
    shapes = []
    for value in values:
        match value:
            case None:
                shapes.append(Shape("null"))
            case bool():
                shapes.append(Shape("boolean"))
            case int() if node.get("type") != "number":
                shapes.append(Shape("integer"))
            case int() | float():
                shapes.append(Shape("number"))
            case str():
                shapes.append(Shape("string"))
            case _:
                raise _unfit(path, "an enum holds lists or objects", "Use numbers or texts.")
    return _one_of(shapes, path)


def _one_of(shapes: list[Shape], path: str) -> Shape:
    """Return the one shape that all shapes have, ignoring null; integers among numbers are numbers."""
    found = list(dict.fromkeys(shape for shape in shapes if shape.kind != "null"))
    if {shape.kind for shape in found} == {"integer", "number"}:
        return Shape("number")
    if len(found) > 1:
        names = list(dict.fromkeys(map(str, found)))
        kinds = " or ".join(names) if len(names) > 1 else f"one of {len(found)} kinds of {names[0]}"
        raise _unfit(
            path, f"it is {kinds}, and a column has one type", "Use one field for each of them; the others are null."
        )
    return found[0] if found else Shape("null")


def _unfit(path: str, problem: str, advice: str) -> ConfigurationError:
    return ConfigurationError(f"response_model: {path}: {problem}. {advice}")
