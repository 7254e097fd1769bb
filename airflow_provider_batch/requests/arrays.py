"""
Arrow arrays from Python lists without ``pa.array``.

The first ``pa.array(list)`` of a process imports pandas wherever that is installed: two seconds and 60 MB that
preparing a small table would pay for nothing. The types that rows of JSON have are built from buffers here; all
others go the usual way.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate, chain
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc


def int64_array(values: Iterable[int]) -> pa.Array:
    """Return an int64 array without nulls."""
    data = array("q", values)
    return pa.Array.from_buffers(pa.int64(), len(data), [None, pa.py_buffer(data)])


def consecutive(first: int, count: int) -> pa.Array:
    """Return the whole numbers from ``first`` on as an int64 array."""
    if count > len(_NUMBERS):
        return int64_array(range(first, first + count))
    return pc.add(_NUMBERS.slice(0, count), int64_array([first])[0])


def string_array(texts: Sequence[str]) -> pa.Array:
    """Return a string array without nulls."""
    whole = "".join(texts)
    data = whole.encode("utf-8")
    lengths = map(len, texts) if len(data) == len(whole) else (len(text.encode("utf-8")) for text in texts)
    offsets = array("i", accumulate(lengths, initial=0))
    return pa.Array.from_buffers(pa.string(), len(texts), [None, pa.py_buffer(offsets), pa.py_buffer(data)])


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
        return _booleans(values)
    if pa.types.is_int64(kind) or pa.types.is_float64(kind):
        return _numbers(values, kind)
    if pa.types.is_string(kind):
        return _strings(values)
    return pa.array(values, kind)


def list_array(values: Sequence[Any], build_items: Callable[[list[Any]], pa.Array]) -> pa.Array:
    """Return lists, None among them; ``build_items`` makes one array of all their items."""
    valid, nulls = _validity(values)
    plain = values if valid is None else [() if value is None else value for value in values]
    offsets = array("i", accumulate(map(len, plain), initial=0))
    items = build_items(list(chain.from_iterable(plain)))
    buffers = [valid, pa.py_buffer(offsets)]
    return pa.Array.from_buffers(pa.list_(items.type), len(values), buffers, nulls, children=[items])


def struct_array(values: Sequence[Any], build_fields: Callable[[list[Any]], dict[str, pa.Array]]) -> pa.Array:
    """Return mappings, None among them, as structs; ``build_fields`` makes the array of each field."""
    valid, nulls = _validity(values)
    children = build_fields([{} if value is None else value for value in values])
    kind = pa.struct([(name, child.type) for name, child in children.items()])
    return pa.Array.from_buffers(kind, len(values), [valid], nulls, children=list(children.values()))


def _validity(values: Sequence[Any]) -> tuple[pa.Buffer | None, int]:
    """Return the validity bitmap, None where all are valid, and the number of nulls."""
    flags = bytes([value is not None for value in values])
    nulls = flags.count(0)
    return (_bitmap(flags) if nulls else None), nulls


def _bitmap(flags: bytes) -> pa.Buffer:
    """Pack one byte per value, 0 or 1, into bits."""
    packed = pa.Array.from_buffers(pa.int8(), len(flags), [None, pa.py_buffer(flags)]).cast(pa.bool_())
    bits: pa.Buffer = packed.buffers()[1]
    return bits


def _booleans(values: Sequence[Any]) -> pa.Array:
    valid, nulls = _validity(values)
    bits = _bitmap(bytes([value is True for value in values]))
    return pa.Array.from_buffers(pa.bool_(), len(values), [valid, bits], nulls)


def _numbers(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    valid, nulls = _validity(values)
    plain = values if valid is None else [0 if value is None else value for value in values]
    data = array("d" if pa.types.is_float64(kind) else "q", plain)
    return pa.Array.from_buffers(kind, len(values), [valid, pa.py_buffer(data)], nulls)


def _strings(values: Sequence[Any]) -> pa.Array:
    valid, nulls = _validity(values)
    encoded = string_array(values if valid is None else ["" if value is None else value for value in values])
    return pa.Array.from_buffers(pa.string(), len(values), [valid, *encoded.buffers()[1:]], nulls)


#: Reckoning with these is faster than making as many Python numbers anew.
_NUMBERS = int64_array(range(4_096))
