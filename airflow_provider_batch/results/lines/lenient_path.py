"""
The lenient path: read a result line that the typed decoder rejects into the same structs.

No paid answer is lost because a field has an unexpected type.
`json.loads` accepts more than the decoder (NaN, lone surrogates, a byte order mark). A coercer for each field converts
the value: text from a list of parts or a number, a count from ``"12"`` or ``12.0``, an object from a JSON string. A
value that cannot be converted becomes null, and the other fields are kept. For lines that the typed decoder accepts,
both return equal structs.
"""

from __future__ import annotations

import binascii
import json
import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeVar

from msgspec import inspect

from airflow_provider_batch.arrow.utf8 import scrub

T = TypeVar("T")
Coercer = Callable[[Any], Any]

_BIGGEST_EXACT = 2**63
#: The largest number of digits of an integer; Python's own limit is 4,300.
_LONGEST_INT = 4_000
_TOO_DEEP = "nested too deeply"


def read_json(raw: bytes) -> Any:
    """
    Return the JSON value of a line; bytes that are not UTF-8 become U+FFFD.

    :param raw: The line.
    :raises ValueError: The line is not JSON.
    """
    text = raw.decode("utf-8", "replace").removeprefix("\ufeff")
    try:
        return json.loads(text, parse_int=_bounded_int)
    except RecursionError as error:
        raise ValueError(_TOO_DEEP) from error


def read_as(raw: bytes, shape: type[T]) -> T:
    """
    Return a line as a struct.

    :param raw: The line.
    :param shape: Type of the struct.
    :raises ValueError: The line is not a JSON object.
    """
    value = read_json(raw)
    if not isinstance(value, dict):
        raise ValueError(f"expected a JSON object, found {type(value).__name__}")
    try:
        result: T = _coercer_of(shape)(value)
    except RecursionError as error:
        raise ValueError(_TOO_DEEP) from error
    return result


def _bounded_int(digits: str) -> int | float:
    # Python raises an error for very long integers, and the whole line would be lost.
    return int(digits) if len(digits) < _LONGEST_INT else float(digits)


def _coercer(kind: inspect.Type) -> Coercer:
    """Return a function that converts any JSON value to this type, or returns None."""
    match kind:
        case inspect.UnionType(types=types):
            return _union([_coercer(one) for one in types if not isinstance(one, inspect.NoneType)])
        case inspect.StructType(cls=cls, fields=fields):
            return _struct(cls, {field.encode_name: _coercer(field.type) for field in fields})
        case inspect.ListType(item_type=item):
            keep_null = isinstance(item, inspect.UnionType)
            whole = isinstance(item, inspect.FloatType)
            alone = (dict, str) if isinstance(item, inspect.StructType) else (dict,)
            return _list(_coercer(item), keep_null=keep_null, whole=whole, alone=alone)
        case inspect.DictType(value_type=item):
            return _dict(_coercer(item))
        case inspect.IntType(ge=low, le=high):
            return _int(low or 0, high or _BIGGEST_EXACT)
    return _PLAIN[type(kind)]


def _union(members: list[Coercer]) -> Coercer:
    if len(members) == 1:
        return members[0]

    def coerce(value: Any) -> Any:
        return next((made for member in members if (made := member(value)) is not None), None)

    return coerce


def _struct(cls: type, fields: dict[str, Coercer]) -> Coercer:
    def coerce(value: Any) -> Any:
        if isinstance(value, str):
            value = _object_in(value) or _as_message(value, fields)
        if not isinstance(value, dict):
            return None
        return cls(**{name: fields[name](value[name]) for name in fields.keys() & value.keys()})

    return coerce


def _object_in(text: str) -> dict[str, Any] | None:
    """Return the object in a JSON string, because some servers encode bodies twice; else None."""
    try:
        value = read_json(text.encode("utf-8", "surrogatepass"))
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _as_message(text: str, fields: dict[str, Coercer]) -> dict[str, Any] | None:
    """Return a text as an object: the message of an error, the text of a part, or the error of a body."""
    if "message" in fields:
        return {"message": text}
    if "text" in fields:
        return {"text": text}
    return {"error": {"message": text}} if "error" in fields else None


def _list(item: Coercer, *, keep_null: bool, whole: bool, alone: tuple[type, ...]) -> Coercer:
    def coerce(value: Any) -> Any:
        if isinstance(value, alone):
            value = [value]
        if not isinstance(value, list):
            return None
        made = [item(one) for one in value]
        if keep_null:
            return made
        if whole and any(one is None for one in made):
            return None  # an embedding with a missing number is useless
        return [one for one in made if one is not None]

    return coerce


def _dict(item: Coercer) -> Coercer:
    def coerce(value: Any) -> Any:
        return {scrub(key): item(one) for key, one in value.items()} if isinstance(value, dict) else None

    return coerce


def _int(low: int, high: int) -> Coercer:
    def coerce(value: Any) -> Any:
        number = _float(value)
        if number is None or not math.isfinite(number) or number != int(number):
            return None
        exact = value if type(value) is int else int(number)
        return exact if low <= exact <= high else None

    return coerce


def _float(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def _bool(value: Any) -> bool | None:
    if isinstance(value, bool):
        return value
    return {"true": True, "false": False}.get(value.lower()) if isinstance(value, str) else None


def _bytes(value: Any) -> bytes | None:
    try:
        return binascii.a2b_base64(value, strict_mode=True) if isinstance(value, str) else None
    except ValueError:
        return None


def _str(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, str):
        return scrub(value)
    if isinstance(value, list):
        parts = [_part(one) for one in value]
        return None if all(part is None for part in parts) else "".join(part or "" for part in parts)
    if isinstance(value, dict) and isinstance(value.get("text"), str):
        return scrub(value["text"])
    return scrub(json.dumps(value, ensure_ascii=False))


def _any(value: Any) -> Any:
    return scrub(value) if isinstance(value, str) else value


def _part(value: Any) -> str | None:
    """Return the text of one content part."""
    if isinstance(value, dict):
        value = value.get("text")
    return scrub(value) if isinstance(value, str) else None


_PLAIN: dict[type[inspect.Type], Coercer] = {
    inspect.FloatType: _float,
    inspect.BoolType: _bool,
    inspect.BytesType: _bytes,
    inspect.StrType: _str,
    inspect.AnyType: _any,
}


def _build(shape: Any) -> Coercer:
    return _coercer(inspect.type_info(shape))


_coercer_of: Callable[[Any], Coercer] = lru_cache(maxsize=64)(_build)
