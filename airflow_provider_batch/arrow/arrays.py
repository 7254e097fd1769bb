"""
Arrow arrays from Python lists without ``pa.array``.

The first ``pa.array(list)`` of a process imports pandas wherever that is installed, and so does the first
``pa.scalar``, or a number given to ``pyarrow.compute``: two seconds and 60 MB that a small job would pay for nothing.
The types that rows of JSON have are built from buffers here; all others go the usual way.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate, chain
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

#: Arrow type → code of a Python array, for numbers that are laid out as they are.
NUMBERS = {pa.int64(): "q", pa.int32(): "i", pa.int16(): "h", pa.float64(): "d", pa.float32(): "f"}


def int64_array(values: Iterable[int]) -> pa.Array:
    """Return an int64 array without nulls."""
    data = array("q", values)
    return pa.Array.from_buffers(pa.int64(), len(data), [None, pa.py_buffer(data)])


def whole_number(value: int) -> pa.Scalar:
    """Return an int64 scalar."""
    return int64_array([value])[0]


def consecutive(first: int, count: int) -> pa.Array:
    """Return the whole numbers from ``first`` on as an int64 array."""
    if count > len(_CONSECUTIVE):
        return int64_array(range(first, first + count))
    return pc.add(_CONSECUTIVE.slice(0, count), whole_number(first))


def binary_array(values: Sequence[bytes], *, after: bytes = b"") -> pa.Array:
    """
    Return a large_binary array without nulls.

    :param after: What each value ends with besides.
    """
    data = after.join((*values, b"")) if after else b"".join(values)
    lengths = (len(value) + len(after) for value in values) if after else map(len, values)
    offsets = array("q", accumulate(lengths, initial=0))
    return pa.Array.from_buffers(pa.large_binary(), len(values), [None, pa.py_buffer(offsets), pa.py_buffer(data)])


def joined(parts: Iterable[bytes | pa.Array], count: int) -> pa.Array:
    """
    Return for each row its parts one after the other, as a large_binary array.

    :param parts: Bytes that all rows share, and arrays of texts or bytes without nulls that hold one value a row.
    :param count: The number of rows.
    """
    columns = [_shared(part) if isinstance(part, bytes) else part.cast(pa.large_binary()) for part in parts]
    if not any(isinstance(column, pa.Array) for column in columns):
        return binary_array([b"".join(column.as_py() for column in columns)] * count)
    return pc.binary_join_element_wise(*columns, _shared(b""))


def _shared(value: bytes) -> pa.Scalar:
    return binary_array([value])[0]


def array_of(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """Return the values, None among them, as an array of the given type, which all of them have."""
    if pa.types.is_boolean(kind):
        return _boolean_array(values)
    if kind in NUMBERS:
        return number_array(values, kind, NUMBERS[kind])
    if pa.types.is_string(kind):
        return string_array(values)
    return pa.array(values, kind)


def _boolean_array(values: Sequence[Any]) -> pa.Array:
    """Return truths, None among them."""
    flags = bytes(1 if value else 0 for value in values)
    return pa.Array.from_buffers(pa.bool_(), len(values), [validity(values), _bits(flags)])


def number_array(values: Sequence[Any], kind: pa.DataType, code: str) -> pa.Array:
    """
    Return numbers, None among them, laid out as they are.

    :param code: The type code that a Python array has for them.
    """
    try:
        data, valid = array(code, values), None
    except TypeError:
        data, valid = array(code, [0 if value is None else value for value in values]), validity(values)
    return pa.Array.from_buffers(kind, len(values), [valid, pa.py_buffer(data)])


def string_array(values: Sequence[str | None]) -> pa.Array:
    """Return texts, None among them: encoded one by one, which long ones gain from."""
    encoded = [value.encode() if value else b"" for value in values]
    offsets = array("i", accumulate(map(len, encoded), initial=0))
    buffers = [validity(values), pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded))]
    return pa.Array.from_buffers(pa.string(), len(values), buffers)


def validity(values: Sequence[Any]) -> pa.Buffer | None:
    """Return the bitmap of what is not None; None, which Arrow reads as "all valid", where nothing is null."""
    if None not in values:
        return None
    return _bits(bytes(value is not None for value in values))


def mask(flags: bytes | bytearray) -> pa.Array:
    """Return a boolean array of bytes that are 0 or 1."""
    return pa.Array.from_buffers(pa.uint8(), len(flags), [None, pa.py_buffer(flags)]).cast(pa.bool_())


def _bits(flags: bytes) -> pa.Buffer:
    bits: pa.Buffer = mask(flags).buffers()[1]
    return bits


def list_array(values: Sequence[Any], build_items: Callable[[list[Any]], pa.Array]) -> pa.Array:
    """Return lists, None among them; ``build_items`` makes one array of all their items."""
    items = build_items(list(chain.from_iterable(filter(None, values))))
    return pa.Array.from_buffers(pa.list_(items.type), len(values), list_buffers(values), children=[items])


def list_buffers(values: Sequence[Any]) -> list[pa.Buffer | None]:
    """Return what an array of lists has beside their items: which are null, and where each begins."""
    offsets = array("i", accumulate([len(value) if value else 0 for value in values], initial=0))
    return [validity(values), pa.py_buffer(offsets)]


def struct_array(values: Sequence[Any], build_fields: Callable[[list[Any]], dict[str, pa.Array]]) -> pa.Array:
    """Return mappings, None among them, as structs; ``build_fields`` makes the array of each field."""
    children = build_fields([{} if value is None else value for value in values])
    kind = pa.struct([(name, child.type) for name, child in children.items()])
    return pa.Array.from_buffers(kind, len(values), [validity(values)], children=list(children.values()))


#: Reckoning with these is faster than making as many Python numbers anew.
_CONSECUTIVE = int64_array(range(4_096))
