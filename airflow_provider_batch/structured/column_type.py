"""
From a JSON Schema to the type of the column `parsed`.

| in the schema | in the table |
|---|---|
| object with properties | struct, members in the schema's order; others are dropped |
| object of one kind of values (`additionalProperties`, `patternProperties`) | map<string, …> |
| array; tuple of one type | list |
| integer, number, boolean | int64, float64, bool |
| string; enum or const of texts | string |
| string with format `date`, `date-time`, `time` | date32, timestamp[us, UTC], time64[us] |
| format `decimal` with `maxDigits` and `decimalPlaces` (a Pydantic `Decimal` with both) | decimal128 |
| any other `Decimal`, other formats (uuid, duration, email …) | string |
| anyOf or a type list with null, members that are not required | the same type; every field takes nulls |
| integer or number | float64 |

What has no one type there is an error that names the place: a model that contains itself, a union of different types,
`Any`.
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
#: Keywords that say what a value is; the others only narrow it.
_TELLING = ("$ref", "allOf", "anyOf", "oneOf", "enum", "const", "type", "properties", "items", "prefixItems")


@dataclass(frozen=True)
class Shape:
    """
    What a value is.

    :param fields: Members of an object, in order.
    :param item: What a list or a map holds.
    :param digits: Precision and scale of a decimal, where both are known.
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
        """Whether a value of this shape has everything that one of the other has, by the same names and types."""
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
    """The column `parsed`: the model that judges, and the type it gives."""

    model: ResponseModel
    shape: Shape
    type: pa.DataType

    @classmethod
    def of(cls, model: ResponseModel) -> ParsedColumn:
        """
        Return the column of a model.

        :raises ConfigurationError: No column can hold its answers.
        """
        shape = shape_of(model)
        return cls(model, shape, shape.type)


def shape_of(model: ResponseModel) -> Shape:
    """
    Return the shape of a model's answers.

    :raises ConfigurationError: A column cannot hold them; names the place in the model.
    """
    shape = _Reader(model).read(model.schema, model.name, ())
    if shape.kind != "object":
        raise _unfit(model.name, f"an answer is an object at its top, and this is {shape}", "Put it into a field.")
    return shape


class _Reader:
    def __init__(self, model: ResponseModel) -> None:
        self._root = model.schema

    def read(self, node: Any, path: str, refs: tuple[str, ...]) -> Shape:
        """
        Return the shape of one schema.

        :param path: Its place in the model, as messages write it.
        :param refs: The references that led here.
        """
        if not isinstance(node, Mapping) or not any(key in node for key in (*_TELLING, *_MAPS)):
            raise _unfit(path, "any value may stand here", "Give it a type.")
        if "$ref" in node or "allOf" in node:
            return self._of_all(node, path, refs)
        if "const" in node or "enum" in node:
            return _of_values([node["const"]] if "const" in node else node["enum"], node, path)
        if "type" in node or not ("anyOf" in node or "oneOf" in node):
            return self._of_types(node, path, refs)
        branches = [*node.get("anyOf", ()), *node.get("oneOf", ())]
        return _one_of([self.read(branch, path, refs) for branch in branches], path)

    def _of_all(self, node: Mapping[str, Any], path: str, refs: tuple[str, ...]) -> Shape:
        """Of several schemas that all hold, one says what the value is and the others narrow it."""
        rest = {key: value for key, value in node.items() if key not in ("$ref", "allOf")}
        parts = [part for part in (rest, *node.get("allOf", ())) if _tells(part)]
        found = [self.read(part, path, refs) for part in parts]
        if "$ref" in node:
            found.append(self._behind(str(node["$ref"]), path, refs))
        if not found:
            raise _unfit(path, "any value may stand here", "Give it a type.")
        if any(shape != found[0] for shape in found):
            raise _unfit(path, "allOf joins several different types", "Write the joined one out.")
        return found[0]

    def _behind(self, ref: str, path: str, refs: tuple[str, ...]) -> Shape:
        if ref in refs:
            raise _unfit(
                path, "the model contains itself, and a column has a fixed depth", "Use a list of flat items, with ids."
            )
        found = resolved(ref, self._root)
        if found is None:
            raise _unfit(path, f"{ref} leads nowhere in the schema", "Put what it names under $defs.")
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
            fields = [(name, self._field(inner, f"{path}.{name}", refs)) for name, inner in members.items()]
            return Shape("object", fields=tuple(fields))
        values = [*(node.get("patternProperties") or {}).values()]
        values += [node["additionalProperties"]] if isinstance(node.get("additionalProperties"), Mapping) else []
        if not values:
            raise _unfit(
                path, "an object without members is no column", "Give it properties, or a type for its values."
            )
        return Shape("map", item=self._field_of(values, f"{path}{{}}", refs))

    def _list(self, node: Mapping[str, Any], path: str, refs: tuple[str, ...]) -> Shape:
        kinds = [*(node.get("prefixItems") or ())]
        if isinstance(node.get("items"), Mapping) or not kinds:
            kinds.append(node.get("items", True))
        return Shape("list", item=self._field_of(kinds, f"{path}[]", refs))

    def _field(self, node: Any, path: str, refs: tuple[str, ...]) -> Shape:
        return self._field_of([node], path, refs)

    def _field_of(self, nodes: Iterable[Any], path: str, refs: tuple[str, ...]) -> Shape:
        shape = _one_of([self.read(node, path, refs) for node in nodes], path)
        if shape.kind == "null":
            raise _unfit(path, "it is always null", "Leave it out.")
        return shape


_MAPS = ("additionalProperties", "patternProperties")


def _is_object(node: Mapping[str, Any]) -> bool:
    return any(key in node for key in ("properties", *_MAPS))


def _tells(node: Any) -> bool:
    return isinstance(node, Mapping) and any(key in node for key in _TELLING)


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
    """Return the one shape that all are, or null; integers among numbers are numbers."""
    found = list(dict.fromkeys(shape for shape in shapes if shape.kind != "null"))
    if {shape.kind for shape in found} == {"integer", "number"}:
        return Shape("number")
    if len(found) > 1:
        names = list(dict.fromkeys(map(str, found)))
        kinds = " or ".join(names) if len(names) > 1 else f"one of {len(found)} kinds of {names[0]}"
        raise _unfit(
            path, f"it is {kinds}, and a column has one type", "Use a field for each of them, all but one of them null."
        )
    return found[0] if found else Shape("null")


def _unfit(path: str, problem: str, advice: str) -> ConfigurationError:
    return ConfigurationError(f"response_model: {path}: {problem}. {advice}")
