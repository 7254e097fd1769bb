"""
Arrow arrays from Python lists without ``pa.array``.

The first ``pa.array(list)`` of a process imports pandas where that is installed, and so does the first ``pa.scalar``,
or a number given to ``pyarrow.compute``: two seconds and 60 MB for a job that does not need it. The types of JSON
values are built from buffers here; all others by ``pa.array``.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from itertools import accumulate, chain
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

#: Arrow type → type code of a Python `array` with the same memory layout.
NUMBERS = {pa.int64(): "q", pa.int32(): "i", pa.int16(): "h", pa.float64(): "d", pa.float32(): "f"}


def int64_array(values: Iterable[int]) -> pa.Array:
    """
    Return an int64 array without nulls.

    :param values: Whole numbers of at most 64 bits; no None.
    """
    data = array("q", values)
    return pa.Array.from_buffers(pa.int64(), len(data), [None, pa.py_buffer(data)])


def whole_number(value: int) -> pa.Scalar:
    """
    Return an int64 scalar.

    :param value: A whole number of at most 64 bits.
    """
    return int64_array([value])[0]


def consecutive(first: int, count: int) -> pa.Array:
    """
    Return consecutive whole numbers as an int64 array.

    :param first: The first number.
    :param count: How many numbers.
    """
    if count > len(_CONSECUTIVE):
        return int64_array(range(first, first + count))
    return pc.add(_CONSECUTIVE.slice(0, count), whole_number(first))


def binary_array(values: Sequence[bytes], *, after: bytes = b"") -> pa.Array:
    """
    Return a large_binary array without nulls.

    :param values: The bytes of each value; no None.
    :param after: Bytes that are appended to each value.
    """
    data = after.join((*values, b"")) if after else b"".join(values)
    lengths = (len(value) + len(after) for value in values) if after else map(len, values)
    offsets = array("q", accumulate(lengths, initial=0))
    return pa.Array.from_buffers(pa.large_binary(), len(values), [None, pa.py_buffer(offsets), pa.py_buffer(data)])


def joined(parts: Iterable[bytes | pa.Array], count: int) -> pa.Array:
    """
    Concatenate parts row by row, as a large_binary array.

    :param parts: Bytes that all rows share, and arrays of strings or bytes without nulls with one value for each row.
    :param count: Number of rows.
    """
    columns = [_shared(part) if isinstance(part, bytes) else part.cast(pa.large_binary()) for part in parts]
    if not any(isinstance(column, pa.Array) for column in columns):
        return binary_array([b"".join(column.as_py() for column in columns)] * count)
    return pc.binary_join_element_wise(*columns, _shared(b""))


def _shared(value: bytes) -> pa.Scalar:
    return binary_array([value])[0]


def array_of(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """
    Return Python values as an array of a given type.

    :param values: Values that all have that type; None becomes null.
    :param kind: Arrow type.
    """
    if pa.types.is_boolean(kind):
        return _boolean_array(values)
    if kind in NUMBERS:
        return number_array(values, kind, NUMBERS[kind])
    if pa.types.is_string(kind):
        return string_array(values)
    return pa.array(values, kind)


def _boolean_array(values: Sequence[Any]) -> pa.Array:
    """Return booleans as an array; None becomes null."""
    flags = bytes(1 if value else 0 for value in values)
    return pa.Array.from_buffers(pa.bool_(), len(values), [validity(values), _bits(flags)])


def number_array(values: Sequence[Any], kind: pa.DataType, code: str) -> pa.Array:
    """
    Return numbers as an array, with the memory layout of a Python `array`.

    :param values: Numbers; None becomes null.
    :param kind: Arrow type.
    :param code: Type code of the Python `array` with the same memory layout.
    """
    try:
        data, valid = array(code, values), None
    except TypeError:
        data, valid = array(code, [0 if value is None else value for value in values]), validity(values)
    return pa.Array.from_buffers(kind, len(values), [valid, pa.py_buffer(data)])


def string_array(values: Sequence[str | None]) -> pa.Array:
    """
    Return strings as an array; encoding them one by one is faster for long strings.

    :param values: Strings; None becomes null.
    :raises UnicodeEncodeError: A string has no UTF-8 form.
    """
    encoded = [value.encode() if value else b"" for value in values]
    offsets = array("i", accumulate(map(len, encoded), initial=0))
    buffers = [validity(values), pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded))]
    return pa.Array.from_buffers(pa.string(), len(values), buffers)


def validity(values: Sequence[Any]) -> pa.Buffer | None:
    """
    Return the validity bitmap of values, or None, which Arrow reads as "no nulls".

    :param values: Python values; None is null.
    """
    if None not in values:
        return None
    return _bits(bytes(value is not None for value in values))


def mask(flags: bytes | bytearray) -> pa.Array:
    """
    Return a boolean array.

    :param flags: One byte for each row, 0 or 1.
    """
    return pa.Array.from_buffers(pa.uint8(), len(flags), [None, pa.py_buffer(flags)]).cast(pa.bool_())


def _bits(flags: bytes) -> pa.Buffer:
    bits: pa.Buffer = mask(flags).buffers()[1]
    return bits


def list_array(values: Sequence[Any], build_items: Callable[[list[Any]], pa.Array]) -> pa.Array:
    """
    Return Python lists as a list array.

    :param values: Lists; None becomes null.
    :param build_items: Builds one array of the items of all lists.
    """
    items = build_items(list(chain.from_iterable(filter(None, values))))
    return pa.Array.from_buffers(pa.list_(items.type), len(values), list_buffers(values), children=[items])


def list_buffers(values: Sequence[Any]) -> list[pa.Buffer | None]:
    """
    Return the buffers of a list array without its items: validity bitmap and offsets.

    :param values: Lists; None is null.
    """
    offsets = array("i", accumulate([len(value) if value else 0 for value in values], initial=0))
    return [validity(values), pa.py_buffer(offsets)]


def struct_array(values: Sequence[Any], build_fields: Callable[[list[Any]], dict[str, pa.Array]]) -> pa.Array:
    """
    Return mappings as a struct array.

    :param values: Mappings from field name to value; None becomes null.
    :param build_fields: Builds the array of each field from the mappings.
    """
    children = build_fields([{} if value is None else value for value in values])
    kind = pa.struct([(name, child.type) for name, child in children.items()])
    return pa.Array.from_buffers(kind, len(values), [validity(values)], children=list(children.values()))


#: An addition to these is faster than making new Python numbers.
_CONSECUTIVE = int64_array(range(4_096))


#: The fraction of the golden ratio in 64 bits, the step of SplitMix64.
GOLDEN_RATIO = 0x9E3779B97F4A7C15


def mixed(values: pa.Array[Any]) -> pa.Array[Any]:
    """
    Return the hash of each number by SplitMix64: equal on every machine.

    :param values: Array of uint64.
    """
    state: Any = pc.add(values, unsigned(GOLDEN_RATIO))
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        state = pc.multiply(pc.bit_wise_xor(state, pc.shift_right(state, unsigned(shift))), unsigned(factor))
    return pc.bit_wise_xor(state, pc.shift_right(state, unsigned(31)))


@cache
def unsigned(value: int) -> pa.Scalar[Any]:
    """
    Return a uint64 scalar without `pa.scalar`, which would import pandas.

    :param value: The number, below 2**64.
    """
    return pa.Array.from_buffers(pa.uint64(), 1, [None, pa.py_buffer(array("Q", [value]))])[0]
