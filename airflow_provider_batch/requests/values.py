"""
How a value of a row becomes text inside a string, and JSON when it stands alone.

Inside a longer string: text as it is; integers and floats as Python writes them; booleans ``true`` and ``false``;
decimals in plain digits; dates, times and durations in ISO 8601; binary as base64; lists and structs as compact JSON;
UUIDs as usual. Alone, numbers, booleans, lists, structs and null keep their JSON type (a decimal is a number), all
else is a string of the text above. NaN and infinity have no JSON form and are never written. Times are read to the
microsecond.
"""

from __future__ import annotations

import base64
import decimal
import math
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import pyarrow as pa

#: Compact UTF-8 JSON; dates in ISO 8601, bytes in base64, decimals as numbers.
to_json: Callable[[Any], bytes] = msgspec.json.Encoder(decimal_format="number").encode

_AS_TEXT: dict[type, Callable[[Any], str]] = {
    str: str,
    bool: lambda value: "true" if value else "false",
    int: str,
    float: repr,
    decimal.Decimal: lambda value: format(value, "f"),
    bytes: lambda value: base64.b64encode(value).decode("ascii"),
}


def to_text(value: Any) -> str:
    """Return what stands for a value inside a longer string; the value is not None."""
    known = _AS_TEXT.get(type(value))
    if known is not None:
        return known(value)
    encoded = to_json(value).decode("utf-8")
    return encoded[1:-1] if encoded.startswith('"') else encoded


def is_number_without_json(value: Any) -> bool:
    """Return whether a value is, or holds, a NaN or an infinity."""
    if isinstance(value, float):
        return not math.isfinite(value)
    if isinstance(value, decimal.Decimal):
        return not value.is_finite()
    if isinstance(value, Mapping):
        return any(map(is_number_without_json, value.values()))
    if isinstance(value, list | tuple):
        return any(map(is_number_without_json, value))
    return False


def python_values(array: pa.Array) -> list[Any]:
    """Return an Arrow array as plain Python values: a map as a dict, times to the microsecond."""
    if not _holds(array.type, lambda kind: pa.types.is_map(kind) or _is_nanoseconds(kind)):
        values: list[Any] = array.to_pylist()
        return values
    kind = _readable(array.type)
    plain = array if kind == array.type else array.cast(kind, safe=False)
    if not _holds(kind, pa.types.is_map):
        return list(plain.to_pylist())
    return [_with_dicts(value, kind) for value in plain.to_pylist()]


def unsupported_type(kind: pa.DataType) -> str | None:
    """Return the name of the first type in ``kind`` that has no stated JSON form, or None."""
    found: list[str] = []

    def look(part: pa.DataType) -> bool:
        bad = pa.types.is_interval(part) or pa.types.is_union(part)
        if bad:
            found.append(str(part))
        return bool(bad)

    return found[0] if _holds(kind, look) else None


def _children(kind: pa.DataType) -> list[pa.DataType]:
    if pa.types.is_dictionary(kind):
        return [kind.value_type]
    return [kind.field(index).type for index in range(kind.num_fields)]


def _holds(kind: pa.DataType, test: Callable[[pa.DataType], bool]) -> bool:
    return test(kind) or any(_holds(child, test) for child in _children(kind))


def _is_nanoseconds(kind: pa.DataType) -> bool:
    temporal = pa.types.is_timestamp(kind) or pa.types.is_time64(kind) or pa.types.is_duration(kind)
    return bool(temporal and kind.unit == "ns")


def _readable(kind: pa.DataType) -> pa.DataType:
    """Return the type with nanoseconds turned into microseconds, at any depth."""
    if _is_nanoseconds(kind):
        if pa.types.is_timestamp(kind):
            return pa.timestamp("us", kind.tz)
        return pa.time64("us") if pa.types.is_time64(kind) else pa.duration("us")
    if pa.types.is_struct(kind):
        return pa.struct([(field.name, _readable(field.type)) for field in kind])
    if pa.types.is_map(kind):
        return pa.map_(_readable(kind.key_type), _readable(kind.item_type))
    if pa.types.is_large_list(kind):
        return pa.large_list(_readable(kind.value_type))
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(_readable(kind.value_type), kind.list_size)
    if pa.types.is_list(kind):
        return pa.list_(_readable(kind.value_type))
    return kind


def _with_dicts(value: Any, kind: pa.DataType) -> Any:
    """Turn the pairs that Arrow gives for a map into a dict, at any depth."""
    if value is None:
        return None
    if pa.types.is_map(kind):
        return {_key(key): _with_dicts(item, kind.item_type) for key, item in value}
    if pa.types.is_struct(kind):
        return {field.name: _with_dicts(value[field.name], field.type) for field in kind}
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return [_with_dicts(item, kind.value_type) for item in value]
    return value


def _key(key: Any) -> str:
    return key if isinstance(key, str) else to_text(key)
