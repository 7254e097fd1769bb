"""
One Arrow type for a column whose values are read chunk by chunk.

Rows of JSON and mappings from Python have no schema. All values of a column are observed before the first row is used,
so that its type does not depend on where a chunk ends. Integers and floats together become float64; any other mix of
kinds becomes JSON text. A struct without fields, or with too many fields, becomes JSON text too. A column that is
always null is text. NaN in a column of other values than numbers is pandas' form of a missing value, and counts as
null.
"""

from __future__ import annotations

import datetime
import decimal
import enum
import uuid
from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa

from airflow_provider_batch.arrow.arrays import array_of, list_array, struct_array
from airflow_provider_batch.arrow.values import to_json, to_text

#: A JSON object with more fields than this is a dictionary whose keys are data, and becomes JSON text.
MAX_FIELDS = 500
#: Larger integers are not exact as float64.
_EXACT = 1 << 53
_NULL = type(None)
_TIMES = {
    datetime.date: pa.date32(),
    datetime.time: pa.time64("us"),
    datetime.timedelta: pa.duration("us"),
    bytes: pa.binary(),
}
#: Kinds that are carried as the text that a template writes for them.
_TEXTS = (str, decimal.Decimal, uuid.UUID)


class InferredColumn:
    """
    The type of a column as far as its values are known, and the way to build its arrays.

    :param max_fields: An object with more fields than this becomes JSON text.
    """

    def __init__(self, max_fields: int = MAX_FIELDS) -> None:
        self.fields: dict[str, InferredColumn] = {}
        self._kinds: set[type] = set()
        self._items: InferredColumn | None = None
        self._lowest = self._highest = 0
        self._zones: set[bool] = set()
        self._has_floats = False
        self._max_fields = max_fields

    def observe(self, values: Sequence[Any]) -> None:
        """
        Include values in the inferred type.

        :param values: Values of the column, of types of JSON or plain Python types (see ``plain``); None is null.
        """
        kinds = set(map(type, values))
        self._kinds |= kinds
        if float in kinds and not self._has_floats:
            self._has_floats = any(value == value for value in values if type(value) is float)
        if int in kinds:
            numbers = [value for value in values if type(value) is int]
            self._lowest, self._highest = min(self._lowest, *numbers), max(self._highest, *numbers)
        if datetime.datetime in kinds:
            self._zones |= {value.tzinfo is None for value in values if type(value) is datetime.datetime}
        if dict in kinds and len(self.fields) <= self._max_fields:
            self._observe_fields([value for value in values if type(value) is dict])
        if list in kinds:
            self._items = self._items or InferredColumn()
            self._items.observe([item for value in values if type(value) is list for item in value])

    def build(self, values: Sequence[Any]) -> pa.Array:
        """
        Return values as an array of ``arrow_type``.

        :param values: Values of the column, all observed before.
        """
        kind = self._kind()
        if float in self._kinds - self._value_kinds():
            values = [None if type(value) is float else value for value in values]
        if kind is dict:
            return struct_array(values, self.build_fields)
        if kind is list and self._items is not None:
            return list_array(values, self._items.build)
        if kind is None:
            return array_of(
                [None if value is None else to_json(value).decode("utf-8") for value in values], pa.string()
            )
        if self._value_kinds() - {str} and kind == pa.string():
            return array_of([None if value is None else to_text(value) for value in values], kind)
        return array_of(values, kind)

    def build_fields(self, rows: Sequence[dict[str, Any]]) -> dict[str, pa.Array]:
        """
        Return the array of each field; a row without a field has null there.

        :param rows: Objects of the column, all observed before.
        """
        return {name: field.build([row.get(name) for row in rows]) for name, field in self.fields.items()}

    @property
    def arrow_type(self) -> pa.DataType:
        """The Arrow type that fits all observed values."""
        kind = self._kind()
        if kind is dict:
            return pa.struct([(name, field.arrow_type) for name, field in self.fields.items()])
        if kind is list and self._items is not None:
            return pa.list_(self._items.arrow_type)
        return pa.string() if kind is None else kind

    def _observe_fields(self, rows: list[dict[str, Any]]) -> None:
        layouts = dict.fromkeys(map(tuple, rows))
        if len(layouts) == 1:  # most tables: every row has the same keys in the same order
            columns: Iterable[tuple[str, Sequence[Any]]] = zip(
                next(iter(layouts)), zip(*map(dict.values, rows), strict=True), strict=True
            )
        else:
            names = dict.fromkeys(name for layout in layouts for name in layout)
            columns = ((name, [row[name] for row in rows if name in row]) for name in names)
        for name, values in columns:
            self.fields.setdefault(name, InferredColumn()).observe(values)

    def _kind(self) -> Any:
        """Return an Arrow type, ``dict``, ``list``, or None for JSON text."""
        kinds = self._value_kinds()
        if not kinds or kinds <= set(_TEXTS):
            return pa.string() if len(kinds) <= 1 else None
        if kinds <= {int, float}:
            return self._number(kinds)
        if kinds == {dict}:
            return dict if 0 < len(self.fields) <= self._max_fields else None
        if len(kinds) > 1:
            return None
        (only,) = kinds
        if only is datetime.datetime:
            return None if len(self._zones) > 1 else pa.timestamp("us", None if True in self._zones else "UTC")
        return {list: list, bool: pa.bool_()}.get(only, _TIMES.get(only))

    def _value_kinds(self) -> set[type]:
        """Return the kinds of the values that are not null."""
        kinds = self._kinds - {_NULL}
        return kinds if self._has_floats or kinds <= {int, float} else kinds - {float}

    def _number(self, kinds: set[type]) -> pa.DataType | None:
        if kinds == {int}:
            return pa.int64() if self._lowest >= -(1 << 63) and self._highest < 1 << 63 else None
        return pa.float64() if max(-self._lowest, self._highest) <= _EXACT else None


def plain(value: Any) -> Any:
    """
    Return a value in the types that columns have, at any depth; subclasses become their base type.

    :param value: Value of a row, as Python, NumPy or pandas gives it.
    :raises TypeError: The value is of another type; the message names it.
    """
    if type(value) in _PLAIN:
        return value
    if type(value).__name__ in _MISSING:
        return None
    if isinstance(value, enum.Enum):
        return plain(value.value)
    if isinstance(value, dict):
        return {_name(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    for base, convert in _BASES.items():
        if isinstance(value, base):
            return convert(value)
    if callable(getattr(value, "tolist", None)):  # an array, or a scalar, of NumPy
        return plain(value.tolist())
    raise TypeError(f"a {type(value).__name__} is not a value of a table")


def _name(key: Any) -> str:
    if not isinstance(key, str):
        raise TypeError(f"the name {key!r} is not text")
    return str(key)


_PLAIN = frozenset(
    {_NULL, bool, int, float, str, bytes, datetime.datetime, datetime.date, datetime.time, datetime.timedelta}
    | {decimal.Decimal, uuid.UUID}
)
#: Types of pandas' missing time and missing value.
_MISSING = frozenset({"NaTType", "NAType"})
_BASES: dict[type, Any] = {
    str: lambda value: str.__str__(value),
    int: int,
    float: float,
    bytes: bytes,
    datetime.datetime: lambda value: datetime.datetime.combine(value.date(), value.timetz()),
    datetime.date: lambda value: datetime.date(value.year, value.month, value.day),
    datetime.timedelta: lambda value: datetime.timedelta(value.days, value.seconds, value.microseconds),
    decimal.Decimal: decimal.Decimal,
}
