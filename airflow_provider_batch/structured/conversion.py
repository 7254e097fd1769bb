"""
JSON values as values of the column `parsed`, in the forms that `arrow.builders.column` takes.

No value is changed silently: a value that its column cannot hold is an error that names the place. Times are in UTC, to
the microsecond: an offset is converted, and a time without an offset counts as UTC.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from airflow_provider_batch.structured.column_type import Shape

Converter = Callable[[Any], Any]

_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_TIME = re.compile(r"\d\d:\d\d(:\d\d(\.\d+)?)?([Zz]|[+-]\d\d:?\d\d)?", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY = _EPOCH.toordinal()
_MICROSECOND, _DAY = timedelta(microseconds=1), 86_400_000_000
#: Years 1 to 9999, the range of Python and most query engines.
_FIRST = (datetime(1, 1, 1, tzinfo=UTC) - _EPOCH) // _MICROSECOND
_LAST = (datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC) - _EPOCH) // _MICROSECOND
_SHOWN = 80


class UnfitError(ValueError):
    """
    A value that its column cannot hold; `path` is the value's place within the answer.

    :param expected: What the column holds, for the message.
    :param found: The value.
    """

    def __init__(self, expected: str, found: Any) -> None:
        super().__init__(f"expected {expected}, found {shown(found)}")
        self.path = ""

    def within(self, step: str) -> UnfitError:
        """
        Return the same error with a step before its path.

        :param step: Member or index that contains the value, such as ``.name`` or ``[0]``.
        """
        self.path = step + self.path
        return self


def shown(value: Any) -> str:
    """
    Return a value for a message, cut to 80 characters.

    :param value: Any JSON value.
    """
    try:
        text = repr(value)
    except ValueError:  # Python does not write numbers of more than 4,300 digits
        return f"a {type(value).__name__} of very many digits"
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def converter(shape: Shape) -> Converter:
    """
    Return the function that converts values of a shape; it raises UnfitError. None is null at every depth.

    :param shape: Shape of the values.
    """
    if shape.kind == "object":
        return _object([(name, converter(inner)) for name, inner in shape.fields])
    if shape.kind == "decimal":
        return decimal_text if shape.digits is None else _decimal(*shape.digits)
    if shape.item is not None:
        return _map(converter(shape.item)) if shape.kind == "map" else _list(converter(shape.item))
    return _SCALARS[shape.kind]


def _object(fields: list[tuple[str, Converter]]) -> Converter:
    def convert(value: Any) -> Any:
        if type(value) is not dict:
            raise UnfitError("an object", value)
        made: dict[str, Any] = {}
        for name, inner in fields:
            item = value.get(name)
            try:
                made[name] = None if item is None else inner(item)
            except UnfitError as error:
                raise error.within(f".{name}") from None
        return made

    return convert


def _list(item: Converter) -> Converter:
    def convert(value: Any) -> Any:
        if type(value) is not list:
            raise UnfitError("a list", value)
        made = []
        for index, one in enumerate(value):
            try:
                made.append(None if one is None else item(one))
            except UnfitError as error:
                raise error.within(f"[{index}]") from None
        return made

    return convert


def _map(item: Converter) -> Converter:
    def convert(value: Any) -> Any:
        if type(value) is not dict:
            raise UnfitError("an object", value)
        made = []
        for key, one in value.items():
            try:
                made.append((text(key), None if one is None else item(one)))
            except UnfitError as error:
                raise error.within(f".{key}") from None
        return made

    return convert


def text(value: Any) -> str:
    """
    Return a string that has a UTF-8 form.

    :param value: Any JSON value.
    :raises UnfitError: The value is not such a string.
    """
    if type(value) is not str:
        raise UnfitError("text", value)
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise UnfitError("text", value) from None
    return value


def _boolean(value: Any) -> bool:
    if type(value) is not bool:
        raise UnfitError("true or false", value)
    return value


def _integer(value: Any) -> int:
    if type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is not int:
        raise UnfitError("a whole number", value)
    if not -(2**63) <= value < 2**63:
        raise UnfitError("a whole number of at most 64 bits", value)
    return value


def _number(value: Any) -> float:
    if type(value) not in (int, float):
        raise UnfitError("a number", value)
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise UnfitError("a finite number", value)
    return number


def days(value: Any) -> int:
    """
    Return a date such as `2026-01-31` as days since 1970-01-01.

    :param value: Any JSON value.
    :raises UnfitError: The value is not a date.
    """
    try:
        if _DATE.fullmatch(value):
            return date.fromisoformat(value).toordinal() - _EPOCH_DAY
    except (TypeError, ValueError):
        pass
    raise UnfitError("a date such as '2026-01-31'", value)


def microseconds(value: Any) -> int:
    """
    Return a timestamp such as `2026-01-31T12:00:00Z` as microseconds since 1970-01-01, UTC.

    :param value: Any JSON value.
    :raises UnfitError: The value is not a timestamp.
    """
    try:
        if _DATE.fullmatch(value[:10]) and value[10] in "Tt " and _TIME.fullmatch(value[11:]):
            moment = datetime.fromisoformat(value.upper())
            if moment.tzinfo is None:
                moment = moment.replace(tzinfo=UTC)
            count = (moment - _EPOCH) // _MICROSECOND
            if _FIRST <= count <= _LAST:
                return count
    except (TypeError, ValueError, IndexError, OverflowError):
        pass
    raise UnfitError("a timestamp such as '2026-01-31T12:00:00Z'", value)


def time_of_day(value: Any) -> int:
    """
    Return a time of day such as `12:00:00` as microseconds since midnight, UTC.

    :param value: Any JSON value.
    :raises UnfitError: The value is not a time of day.
    """
    try:
        if _TIME.fullmatch(value):
            moment = time.fromisoformat(value.upper())
            count = ((moment.hour * 60 + moment.minute) * 60 + moment.second) * 1_000_000 + moment.microsecond
            return (count - (moment.utcoffset() or timedelta()) // _MICROSECOND) % _DAY
    except (TypeError, ValueError):
        pass
    raise UnfitError("a time such as '12:00:00'", value)


def decimal_text(value: Any) -> str:
    """
    Return a decimal number as text, exactly.

    :param value: Any JSON value.
    :raises UnfitError: The value is not a finite number.
    """
    number = _decimal_of(value)
    return value if type(value) is str else str(number)


def _decimal_of(value: Any) -> Decimal:
    if type(value) in (str, int, float):
        try:
            number = Decimal(text(value).strip() if type(value) is str else repr(value))
            if number.is_finite():
                return number
        except (InvalidOperation, ValueError):
            pass
    raise UnfitError("a decimal number", value)


def _decimal(digits: int, places: int) -> Converter:
    limit = 10**digits
    plain = re.compile(rf"-?\d{{1,{max(1, digits - places)}}}(?:\.(\d{{1,{max(1, places)}}}))?", re.ASCII)
    tail = "0" * places

    def convert(value: Any) -> int:
        if places and type(value) is str and (found := plain.fullmatch(value)):
            fraction = found[1] or ""
            whole = int(value.replace(".", "") + tail[len(fraction) :])
            if abs(whole) < limit:
                return whole
        number = _decimal_of(value)
        if abs(number.adjusted()) <= 2 * digits:
            unscaled = number.scaleb(places)
            whole = int(unscaled)
            if whole == unscaled and abs(whole) < limit:
                return whole
        elif number == 0:
            return 0
        raise UnfitError(f"a decimal number of {digits} digits, {places} of them after the point", value)

    return convert


_SCALARS: dict[str, Converter] = {
    "string": text,
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
    "date": days,
    "date-time": microseconds,
    "time": time_of_day,
}
