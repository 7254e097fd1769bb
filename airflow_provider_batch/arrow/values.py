"""
Values of rows as text inside a longer string, and as JSON where a value is alone; `JSON_FORMS` lists both.

Alone, numbers, booleans, lists, structs and null keep their JSON type; every other value becomes a string with the text
that it has inside a longer one. NaN and infinity have no JSON form: they are an error that names row and column. A NaN
inside a text counts as null. Times are read to the microsecond.
"""

from __future__ import annotations

import base64
import decimal
import math
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

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
    """
    Return the text of a value inside a longer string.

    :param value: Python value of a row; not None.
    """
    known = _AS_TEXT.get(type(value))
    if known is not None:
        return known(value)
    encoded = to_json(value).decode("utf-8")
    return encoded[1:-1] if encoded.startswith('"') else encoded


def is_number_without_json(value: Any) -> bool:
    """
    Return whether a value is a NaN or an infinity, or contains one.

    :param value: Python value of a row.
    """
    if isinstance(value, float):
        return not math.isfinite(value)
    if isinstance(value, decimal.Decimal):
        return not value.is_finite()
    if isinstance(value, Mapping):
        return any(map(is_number_without_json, value.values()))
    if isinstance(value, list | tuple):
        return any(map(is_number_without_json, value))
    return False


#: Arrow types → their form inside a text, and their form alone.
JSON_FORMS: Mapping[str, tuple[str, str]] = {
    "null": ("an error, or `null_text`", "`null`"),
    "bool": ("`true`, `false`", "boolean"),
    "int8 … int64, uint8 … uint64": ("`-12`", "number"),
    "float16, float32, float64": (
        "`0.5`; NaN is a null, an infinity an error",
        "number; NaN or an infinity is an error",
    ),
    "decimal32 … decimal256": ("all digits: `12.50`", "number with all digits: `12.50`"),
    "string, large_string, string_view": ("as it is", "string"),
    "binary, large_binary, fixed_size_binary, binary_view": ("base64", "string of base64"),
    "date32, date64": ("`2026-11-01`", "string"),
    "time32, time64": ("`09:30:00.250000`", "string"),
    "timestamp": ("`2026-11-01T09:30:00`", "string"),
    "timestamp with a zone": ("`2026-11-01T09:30:00+01:00`, UTC as `Z`", "string"),
    "duration": ("`P1DT3600S`", "string"),
    "month_day_nano_interval": ("`P1M2DT3.5S`", "string"),
    "list, large_list, fixed_size_list, list_view, large_list_view": ("compact JSON: `[1,2]`", "array"),
    "struct": ('compact JSON: `{"a":1}`', "object"),
    "map": ("compact JSON, keys as text", "object, keys as text"),
    "dictionary, run_end_encoded": ("that of their values", "that of their values"),
    "arrow.uuid": ("`01234567-89ab-…`", "string"),
    "arrow.bool8": ("`true`, `false`", "boolean"),
    "other extension types": ("that of their storage type", "that of their storage type"),
    "union": ("none: an error before anything is sent", "none: an error before anything is sent"),
}


def python_values(array: pa.Array) -> list[Any]:
    """
    Return an Arrow array as plain Python values.

    A map becomes a dict, an interval becomes text, times are cut to the microsecond.

    :param array: Array of any type.
    :raises ValueError: Python has no such value, for example a date after the year 9999.
    """
    array = without_encoding(array, halves=False)
    if not _holds(array.type, lambda kind: _has_own_form(kind) or _is_nanoseconds(kind)):
        values: list[Any] = array.to_pylist()
        return values
    kind = _readable(array.type)
    plain = array if kind == array.type else array.cast(kind, safe=False)
    if not _holds(kind, _has_own_form):
        return list(plain.to_pylist())
    return [_formed(value, kind) for value in plain.to_pylist()]


def plain_column(array: pa.Array) -> pa.Array | None:
    """
    Return a column of strings as large_string, or of whole numbers as it is; None for any other column.

    A column with invalid UTF-8 gives None too. Columns that give None are read value by value, for their forms and
    errors.

    :param array: Column of a source.
    """
    array = without_encoding(array, halves=False)
    if pa.types.is_integer(array.type):
        return array
    if not (pa.types.is_string(array.type) or pa.types.is_large_string(array.type)):
        return None
    try:
        array.validate(full=True)
    except pa.ArrowInvalid:
        return None
    return array.cast(pa.large_string())


def without_encoding(array: pa.Array, *, halves: bool = True) -> pa.Array:
    """
    Return an array without dictionaries, runs, views or extension types: with the values that they encode.

    :param array: Array of any type.
    :param halves: Whether 16-bit floats become 32-bit floats, which more functions can compute with.
    """
    kind = array.type
    if pa.types.is_dictionary(kind):
        if plain_type(kind.value_type) == kind.value_type:
            return array.dictionary_decode()
        plain = without_encoding(array.dictionary, halves=halves)  # Arrow cannot decode one of views
        return pa.DictionaryArray.from_arrays(array.indices, plain).dictionary_decode()
    if pa.types.is_run_end_encoded(kind):
        return without_encoding(pc.run_end_decode(array), halves=halves)
    if isinstance(kind, pa.BaseExtensionType):
        if kind.extension_name == "arrow.bool8":
            return array.storage.cast(pa.bool_())
        return array if kind.extension_name == "arrow.uuid" else without_encoding(array.storage, halves=halves)
    if halves and pa.types.is_float16(kind):
        return array.cast(pa.float32())
    if pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind):
        return without_encoding(_as_list(array), halves=halves)
    plain = plain_type(kind)
    return array if plain == kind else array.cast(plain)


def plain_type(kind: pa.DataType) -> pa.DataType:
    """
    Return a type with dictionaries and views replaced, at any depth, by the type of their values.

    An Arrow file cannot hold a dictionary that changes from batch to batch, and not every function knows views.

    :param kind: Arrow type.
    """
    if pa.types.is_dictionary(kind):
        return plain_type(kind.value_type)
    if kind in _VIEWS:
        return _VIEWS[kind]
    return _rebuilt(kind, plain_type)


def unsupported_type(kind: pa.DataType) -> str | None:
    """
    Return the name of the first type within a type that has no JSON form, or None.

    :param kind: Arrow type.
    """
    return _first_type(kind, pa.types.is_union)


def unstorable_type(kind: pa.DataType) -> str | None:
    """
    Return the name of the first type within a type that a Parquet file cannot hold, or None.

    :param kind: Arrow type.
    """
    return _first_type(
        kind, lambda part: pa.types.is_union(part) or pa.types.is_interval(part) or pa.types.is_run_end_encoded(part)
    )


def _as_list(view: pa.Array) -> pa.Array:
    """Return a view of lists as lists; the cast of pyarrow 26 makes an invalid array of it."""
    lengths = pc.fill_null(view.value_lengths(), 0)
    ends = pc.cumulative_sum(lengths)
    offsets = pa.concat_arrays([pa.nulls(1, ends.type).fill_null(0), ends])
    kind = pa.LargeListArray if pa.types.is_large_list_view(view.type) else pa.ListArray
    return kind.from_arrays(offsets, view.flatten(), mask=view.is_null())


#: View type → type of its values.
_VIEWS = {pa.string_view(): pa.string(), pa.binary_view(): pa.binary()}


def _first_type(kind: pa.DataType, test: Callable[[pa.DataType], bool]) -> str | None:
    found: list[str] = []

    def note_first(part: pa.DataType) -> bool:
        if test(part):
            found.append(str(part))
        return bool(found)

    return found[0] if _holds(kind, note_first) else None


def _children(kind: pa.DataType) -> list[pa.DataType]:
    if isinstance(kind, pa.BaseExtensionType):
        return [kind.storage_type]
    if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        return [kind.value_type]
    return [kind.field(index).type for index in range(kind.num_fields)]


def _holds(kind: pa.DataType, test: Callable[[pa.DataType], bool]) -> bool:
    return test(kind) or any(_holds(child, test) for child in _children(kind))


def _has_own_form(kind: pa.DataType) -> bool:
    return bool(pa.types.is_map(kind) or pa.types.is_interval(kind))


def _is_nanoseconds(kind: pa.DataType) -> bool:
    temporal = pa.types.is_timestamp(kind) or pa.types.is_time64(kind) or pa.types.is_duration(kind)
    return bool(temporal and kind.unit == "ns")


def _readable(kind: pa.DataType) -> pa.DataType:
    """Return the type with nanoseconds turned into microseconds, at any depth."""
    if _is_nanoseconds(kind):
        if pa.types.is_timestamp(kind):
            return pa.timestamp("us", kind.tz)
        return pa.time64("us") if pa.types.is_time64(kind) else pa.duration("us")
    return _rebuilt(kind, _readable)


def _rebuilt(kind: pa.DataType, change: Callable[[pa.DataType], pa.DataType]) -> pa.DataType:
    """Return a nested type with its children changed, a list view as a list; any other type unchanged."""
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(change(field.type)) for field in kind])
    if pa.types.is_map(kind):
        return pa.map_(change(kind.key_type), change(kind.item_type))
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(change(kind.value_type), kind.list_size)
    if pa.types.is_large_list(kind) or pa.types.is_large_list_view(kind):
        return pa.large_list(kind.value_field.with_type(change(kind.value_type)))
    if pa.types.is_list(kind) or pa.types.is_list_view(kind):
        return pa.list_(kind.value_field.with_type(change(kind.value_type)))
    return kind


def _formed(value: Any, kind: pa.DataType) -> Any:
    """Turn the pairs that Arrow gives for a map into a dict, and an interval into text, at any depth."""
    if value is None:
        return None
    if pa.types.is_map(kind):
        return {_key(_formed(key, kind.key_type)): _formed(item, kind.item_type) for key, item in value}
    if pa.types.is_interval(kind):
        return _interval(*value)
    if pa.types.is_struct(kind):
        return {field.name: _formed(value[field.name], field.type) for field in kind}
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return [_formed(item, kind.value_type) for item in value]
    return value


def _interval(months: int, days: int, nanoseconds: int) -> str:
    seconds = format(decimal.Decimal(nanoseconds).scaleb(-9).normalize(), "f")
    day_part = "".join(f"{count}{letter}" for count, letter in ((months, "M"), (days, "D")) if count)
    time_part = f"T{seconds}S" if nanoseconds or not day_part else ""
    return f"P{day_part}{time_part}"


def _key(key: Any) -> str:
    return key if isinstance(key, str) else to_text(key)
