"""
Forms of a placeholder: ``{price:number}`` is the column's value as a number, whatever type the column has.

A null or a NaN is null in every form.
"""

from __future__ import annotations

import decimal
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from airflow_provider_batch.arrow.values import to_text
from airflow_provider_batch.exceptions import TemplateError
from airflow_provider_batch.requests.accepted_values import shown
from airflow_provider_batch.sources.row_chunk import SourceBatch

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
#: Highest number of digits before or after the point, as a 64-bit number has them.
_MOST_DIGITS = 307
_BOOLEANS = {"true": True, "false": False, "1": True, "0": False}
_decode = msgspec.json.Decoder().decode


def _number(value: Any) -> Any:
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        number = decimal.Decimal(value.strip())
        if number and abs(number.adjusted()) > _MOST_DIGITS:  # JSON readers cannot hold it
            raise ValueError
        return int(number) if number == number.to_integral_value() and abs(number) < 1 << 63 else number
    if isinstance(value, int | float | decimal.Decimal) and not isinstance(value, bool):
        return value
    raise ValueError


def _integer(value: Any) -> int:
    number = _number(value)
    if number != int(number):
        raise ValueError
    return int(number)


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    known = _BOOLEANS.get(to_text(value).strip().lower())
    if known is None:
        raise ValueError
    return known


def _json(value: Any) -> Any:
    return _decode(value) if isinstance(value, str) else value


#: Name of a form → its conversion, and what it expects, for messages.
FORMS: Mapping[str, tuple[Callable[[Any], Any], str]] = {
    "text": (to_text, "a value"),
    "number": (_number, "a number such as 0.5"),
    "integer": (_integer, "a whole number"),
    "boolean": (_boolean, "true, false, 1 or 0"),
    "json": (_json, "JSON"),
}


def converted(batch: SourceBatch, path: Sequence[str], form: str) -> list[Any]:
    """
    Return the values of a column, or of a field within its struct, converted to a form; None where it is null.

    :param batch: Rows of the source.
    :param path: Column name, then the names of fields.
    :param form: Key of `FORMS`.
    :raises TemplateError: A value cannot be converted; names row and column.
    """
    key = (*path, f":{form}")
    if key not in batch.forms:
        convert, expected = FORMS[form]
        found = []
        for index, value in enumerate(batch.values(path)):
            try:
                found.append(None if value is None or value != value else convert(value))
            except (ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
                name = ".".join(path)
                problem = f"expected {expected} for {{{name}:{form}}}, found {shown(value)}."
                raise TemplateError(problem, **batch.place(index), column=name) from error
        batch.forms[key] = found
    return batch.forms[key]
