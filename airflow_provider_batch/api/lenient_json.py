"""
JSON and its values as servers send them, read so that one odd value hides nothing beside it.

What cannot be made to fit is None, alone: a time that is no time, a count of 400 digits, a member that is nested a
hundred thousand levels deep.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

#: Levels of nesting that are read where a text is nested too deeply for a parser; what lies deeper becomes null.
MAX_DEPTH = 32
#: Digits of a number; longer ones are read as a float, which may be infinite. Python itself refuses past 4,300.
_LONGEST_INT = 400
#: The largest count: it fits 64 bits, also when thousands are added up.
_LARGEST_COUNT = 2**53
#: Epoch seconds past which a moment must be in milliseconds: the year 5138.
_MILLISECONDS_FROM = 1e11
_LONGEST_TEXT = 2_000
#: Characters of a text that is looked through for its nesting, a tenth of a second's work: an event loop waits for it.
_LONGEST_DEEP = 1 << 20
#: Strings, and what opens and closes objects and lists outside of them.
_TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+"|[{}\[\]]', re.DOTALL)


def decode(content: bytes) -> Any:
    """
    Return the JSON value of an answer; NaN, a byte order mark and any nesting are no reason not to.

    :raises ValueError: It is no JSON.
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
    """Return a JSON text with null in place of each object and list below `MAX_DEPTH`."""
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
    """Return a text, or a whole number as one, such as an id; None for anything else and for an empty text."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value) if abs(value) < _LARGEST_COUNT else None
    if not isinstance(value, str):
        return None
    return value.strip().encode("utf-8", "replace").decode() or None  # half a surrogate pair has no UTF-8


def words_in(value: Any) -> str:
    """Return what a value says, for people: a text as it is, anything else as JSON; empty for nothing."""
    if value is None or isinstance(value, str):
        return (text_in(value) or "")[:_LONGEST_TEXT]
    try:
        return json.dumps(value, ensure_ascii=False, default=str)[:_LONGEST_TEXT]
    except (ValueError, RecursionError, TypeError):
        return ""


def count_in(value: Any) -> int:
    """Return a count, 0 where there is none."""
    number = _number_in(value)
    return 0 if number is None or number < 0 else int(min(number, _LARGEST_COUNT))


def moment_in(value: Any) -> float | None:
    """Return epoch seconds: from seconds, milliseconds, or an ISO text, which is UTC where it names no zone."""
    moment = _number_in(value)
    if moment is None and isinstance(value, str) and ":" in value:  # a date alone is no moment
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
    """Return an object, an empty one where there is none."""
    return value if isinstance(value, dict) else {}


def flag_in(value: Any) -> bool:
    """Return whether a value says yes."""
    return value.strip().lower() in ("true", "1", "yes") if isinstance(value, str) else value is True or value == 1
