"""
Python values as Arrow arrays, without the cost of importing pandas (one to two seconds, 60 MB).

`pa.array(list)` imports pandas where it is installed, which is so in most Airflow images. There the buffers are built
here. Where pandas is absent or already imported, `pa.array` does the same a little faster.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterator, Sequence
from functools import lru_cache
from importlib.util import find_spec
from itertools import chain, repeat
from typing import Any

import pyarrow as pa

from airflow_provider_batch.arrow import arrays

#: Arrow type → code of a Python array; dates and times are whole numbers of their unit.
_CODES = {
    **arrays.NUMBERS,
    pa.date32(): "i",
    pa.time64("us"): "q",
    pa.timestamp("us", tz="UTC"): "q",
}

#: Rows of the cached arrays of one repeated value: a record batch of a sidecar has no more rows.
_REPEATED = 2048
#: Longest value, in characters, whose repeated array is cached.
_SHORT = 64


class Same(Sequence[Any]):
    """
    A column with the same value in every row, such as status, model or round: nothing is computed for each row.

    :param value: The value.
    :param length: Number of rows.
    """

    __slots__ = ("_length", "value")

    def __init__(self, value: Any, length: int) -> None:
        self.value, self._length = value, length

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Any]:
        return repeat(self.value, self._length)

    def __getitem__(self, at: Any) -> Any:
        picked = range(self._length)[at]
        return Same(self.value, len(picked)) if isinstance(picked, range) else self.value

    def count(self, value: Any) -> int:
        """
        Return how many rows have a value.

        :param value: The value to count.
        """
        return self._length if value == self.value else 0


def same(values: Sequence[Any]) -> Sequence[Any]:
    """
    Return a column as `Same` where all its values are equal, else unchanged.

    Floats are never merged, because -0.0 equals 0.0.

    :param values: Column with values of one type.
    """
    if isinstance(values, Same) or not values:
        return values
    first, count = values[0], len(values)
    is_same = first == values[-1] == values[count // 2] and type(first) is not float and values.count(first) == count
    return Same(first, count) if is_same else values


def distinct(values: Sequence[Any]) -> set[Any]:
    """
    Return the different values of a column.

    :param values: The column.
    """
    return {values.value} if isinstance(values, Same) else set(values)


def column(values: Sequence[Any], kind: Any) -> pa.Array[Any]:
    """
    Return Python values as an Arrow array; None is null.

    :param values: Structs as mappings, maps as lists of pairs, decimals as whole numbers of their last digit,
        fixed-size lists as their bytes, dates and times as whole numbers of their unit.
    :param kind: Arrow type of the array.
    """
    count = len(values)
    if count == 0 or (values[0] is None and values.count(None) == count):
        nothing: pa.Array[Any] = pa.nulls(count, kind)
        return nothing
    if (kind in _CODES and not pa.types.is_floating(kind)) or pa.types.is_string(kind):
        values = same(values)
    if isinstance(values, Same):
        if count <= _REPEATED and len(str(values.value)) <= _SHORT and not pa.types.is_nested(kind):
            return _repeated(values.value, kind).slice(0, count)
        values = list(values)
    return _converted(values, kind)


@lru_cache(maxsize=128)
def _repeated(value: Any, kind: pa.DataType) -> pa.Array[Any]:
    return _converted([value] * _REPEATED, kind)


def _converted(values: Sequence[Any], kind: Any) -> pa.Array[Any]:
    if pa.types.is_decimal(kind):
        return _decimals(values, kind)
    if pa.types.is_fixed_size_list(kind):
        return _vectors(values, kind)
    if _pandas_costs_nothing() and not _has_own_value_forms(kind):
        converted: pa.Array[Any] = pa.array(values, kind)
        return converted
    return laid_out(values, kind)


def laid_out(values: Sequence[Any], kind: Any) -> pa.Array[Any]:
    """
    Return the same as `pa.array(values, kind)`, built from buffers.

    :param values: Python values in the forms that `column` takes.
    :param kind: Arrow type of the array.
    :raises TypeError: No layout is known for the type.
    """
    if kind in _CODES:
        return arrays.number_array(values, kind, _CODES[kind])
    if pa.types.is_string(kind) or pa.types.is_boolean(kind):
        return arrays.array_of(values, kind)
    if pa.types.is_struct(kind):
        return _structs(values, kind)
    if pa.types.is_map(kind):
        pairs = [pair for value in values for pair in value or ()]
        parts = [
            column([key for key, _ in pairs], kind.key_type),
            column([item for _, item in pairs], kind.item_type),
        ]
        entries = pa.StructArray.from_arrays(parts, fields=[kind.key_field, kind.item_field])
        return pa.Array.from_buffers(kind, len(values), arrays.list_buffers(values), children=[entries])
    if pa.types.is_list(kind):
        items = column(list(chain.from_iterable(filter(None, values))), kind.value_type)
        return pa.Array.from_buffers(kind, len(values), arrays.list_buffers(values), children=[items])
    raise TypeError(f"No layout for {kind}.")


@lru_cache(maxsize=1)
def _pandas_installed() -> bool:
    return find_spec("pandas") is not None and find_spec("numpy") is not None


def _pandas_costs_nothing() -> bool:
    return "pandas" in sys.modules or not _pandas_installed()


@lru_cache(maxsize=64)
def _has_own_value_forms(kind: Any) -> bool:
    """
    Return whether a nested type has vectors or decimals, whose values are given here in other forms than Arrow takes.
    """
    if pa.types.is_fixed_size_list(kind) or pa.types.is_decimal(kind):
        return True
    return any(_has_own_value_forms(kind.field(at).type) for at in range(kind.num_fields))


def _structs(values: Sequence[Any], kind: pa.StructType) -> pa.Array[Any]:
    parts = [
        column([None if value is None else value.get(field.name) for value in values], field.type) for field in kind
    ]
    return pa.Array.from_buffers(kind, len(values), [arrays.validity(values)], children=parts)


def _decimals(values: Sequence[Any], kind: pa.DataType) -> pa.Array[Any]:
    """Build 128-bit decimals: the value, then its sign, where all of them fit into 64 bits."""
    bitmap = arrays.validity(values)
    filled = values if bitmap is None else [value or 0 for value in values]
    halves = array("q", bytes(16 * len(values)))
    try:
        halves[::2] = array("q", filled)
    except OverflowError:
        data = b"".join(value.to_bytes(16, "little", signed=True) for value in filled)
        return pa.Array.from_buffers(kind, len(values), [bitmap, pa.py_buffer(data)])
    if min(filled) < 0:
        halves[1::2] = array("q", [-1 if value < 0 else 0 for value in filled])
    return pa.Array.from_buffers(kind, len(values), [bitmap, pa.py_buffer(halves)])


def _vectors(values: Sequence[bytes | None], kind: Any) -> pa.Array[Any]:
    """Build fixed-size lists of 32-bit floats, each given as its bytes."""
    zeros = bytes(4 * kind.list_size)
    data = pa.py_buffer(b"".join(zeros if value is None else value for value in values))
    items = pa.Array.from_buffers(kind.value_type, kind.list_size * len(values), [None, data])
    return pa.Array.from_buffers(kind, len(values), [arrays.validity(values)], children=[items])
