"""
Read JSON of OpenAI and of compatible servers, so that one invalid value does not make the others unreadable.

An invalid value becomes None (or 0, or an empty value): a time that is no time, a count of 400 digits, a member that is
nested a hundred thousand levels deep.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

#: Levels of nesting that are kept of a text that is nested too deeply for the parser; deeper values become null.
MAX_DEPTH = 32
#: Digits of a number; longer ones become a float, maybe infinite. Python refuses integers of more than 4,300 digits.
_LONGEST_INT = 400
#: The largest count: the sum of thousands of these still has 64 bits.
_LARGEST_COUNT = 2**53
#: A larger number of epoch seconds (after the year 5138) must be in milliseconds.
_MILLISECONDS_FROM = 1e11
_LONGEST_TEXT = 2_000
#: Characters of a text whose nesting is cut. It takes 0.1 s, during which an event loop is blocked.
_LONGEST_DEEP = 1 << 20
#: Strings, and the brackets of objects and lists outside of strings.
_TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+"|[{}\[\]]', re.DOTALL)


def decode(content: bytes) -> Any:
    """
    Return the JSON value of a response; NaN, a byte order mark and deep nesting are accepted.

    :param content: Bytes of the response.
    :raises ValueError: They are no JSON.
    """
    try:
        return msgspec.json.decode(content)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        text = content.decode("utf-8", "replace").removeprefix("\ufeff")
    try:
        return _loads(text)
    except RecursionError as error:
        if len(text) > _LONGEST_DEEP:
            raise ValueError("nested too deeply") from error
        return _loads(_cut_at_depth(text))


def _loads(text: str) -> Any:
    return json.loads(text, parse_int=_bounded_int, strict=False)


def _bounded_int(digits: str) -> int | float:
    return int(digits) if len(digits) < _LONGEST_INT else float(digits)


def _cut_at_depth(text: str) -> str:
    """Return a JSON text in which null replaces each object and list below `MAX_DEPTH`."""
    kept, depth, start = [], 0, 0
    for token in _TOKEN.finditer(text):
        kind = token[0][0]
        if kind in "{[":
            depth += 1
            if depth == MAX_DEPTH + 1:
                kept += [text[start : token.start()], "null"]
        elif kind in "}]":
            if depth == MAX_DEPTH + 1:
                start = token.end()
            depth -= 1
    return "".join([*kept, text[start:] if depth <= MAX_DEPTH else ""])


def text_in(value: Any) -> str | None:
    """
    Return a text, or a whole number (such as an id) as text; None for any other value and for an empty text.

    :param value: Decoded JSON.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value) if abs(value) < _LARGEST_COUNT else None
    if not isinstance(value, str):
        return None
    return value.strip().encode("utf-8", "replace").decode() or None  # a lone surrogate has no UTF-8 form


def readable_text(value: Any) -> str:
    """
    Return a value for display: a text as it is, any other value as JSON, at most 2,000 characters; "" for None.

    :param value: Decoded JSON.
    """
    if value is None or isinstance(value, str):
        return (text_in(value) or "")[:_LONGEST_TEXT]
    try:
        return json.dumps(value, ensure_ascii=False, default=str)[:_LONGEST_TEXT]
    except (ValueError, RecursionError, TypeError):
        return ""


def count_in(value: Any) -> int:
    """
    Return a count; 0 for a negative number and for any value that is no number.

    :param value: Decoded JSON: a number, or a text with one.
    """
    number = _number_in(value)
    return 0 if number is None or number < 0 else int(min(number, _LARGEST_COUNT))


def moment_in(value: Any) -> float | None:
    """
    Return a moment in epoch seconds; None for a value that is no moment.

    :param value: Decoded JSON: epoch seconds or milliseconds, or an ISO 8601 text, which is UTC if it names no zone.
    """
    moment = _number_in(value)
    if moment is None and isinstance(value, str) and ":" in value:  # a date without a time is no moment
        try:
            read = datetime.fromisoformat(value.strip())
            moment = (read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError, OSError):
            return None
    if moment is None or not 0 < moment < _MILLISECONDS_FROM * 1000:
        return None
    return moment if moment < _MILLISECONDS_FROM else moment / 1000


def _number_in(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def mapping_in(value: Any) -> Mapping[str, Any]:
    """
    Return a JSON object; an empty one for any other value.

    :param value: Decoded JSON.
    """
    return value if isinstance(value, dict) else {}


def flag_in(value: Any) -> bool:
    """
    Return whether a value means true: ``true``, 1, or a text such as "yes".

    :param value: Decoded JSON.
    """
    return value.strip().lower() in ("true", "1", "yes") if isinstance(value, str) else value is True or value == 1
