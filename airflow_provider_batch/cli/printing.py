"""
Format the results of the command line: names and values, then a table for each list of records.

No value is cut off. A pipe gets whole lines. In a terminal, columns that do not fit are printed below their row with
their names, and lines break only at spaces, so that ids and URIs can be copied.
"""

from __future__ import annotations

import math
import shutil
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, TextIO

_GAP = "  "
#: Smallest width in columns; a narrower terminal is treated as this wide.
_NARROWEST = 40


def width_of(stream: TextIO) -> int | None:
    """
    Return the width of a terminal in columns; None if the stream is no terminal.

    :param stream: Output stream.
    """
    return shutil.get_terminal_size().columns if stream.isatty() else None


def as_text(values: Mapping[str, Any], width: int | None) -> str:
    """
    Return a result as lines of text.

    :param values: The result: values by name; a list of mappings becomes a table.
    :param width: Width of the terminal in columns; None for lines of any length.
    """
    limit = None if width is None else max(width, _NARROWEST)
    tables = {name: value for name, value in values.items() if _is_table(value)}
    facts = {name: shown(value) for name, value in values.items() if name not in tables}
    lines = list(_facts(facts, limit))
    for name, rows in tables.items():
        lines += ["", f"{name}:", *_table(rows, limit)]
    return "\n".join(lines)


def shown(value: Any) -> str:
    """
    Return one value as text, ``-`` for None and for an empty list or mapping.

    :param value: A plain value, a list or a mapping.
    """
    if value is None:
        return "-"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {shown(entry)}" for key, entry in value.items()) or "-"
    if isinstance(value, list | tuple):
        return ", ".join(map(shown, value)) or "-"
    if isinstance(value, float) and math.isfinite(value):
        return format(Decimal(repr(value)), "f")
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else " ".join(str(value).split())


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, Mapping) for row in value)


def _facts(facts: Mapping[str, str], limit: int | None, indent: str = "") -> Iterator[str]:
    """Yield a line for each name and value, with the values in one column."""
    width = max(map(len, facts), default=0)
    for name, value in facts.items():
        before = f"{indent}{name:<{width}}{_GAP}"
        for line in _wrapped(value, None if limit is None else limit - len(before)):
            yield f"{before}{line}".rstrip()
            before = " " * len(before)


def _wrapped(text: str, limit: int | None) -> list[str]:
    if limit is None or len(text) <= limit:
        return [text]
    return textwrap.wrap(text, max(limit, 1), break_long_words=False, break_on_hyphens=False)


def _table(rows: Sequence[Mapping[str, Any]], limit: int | None) -> Iterator[str]:
    names = list(dict.fromkeys(str(name) for row in rows for name in row))
    cells = [{name: shown(row.get(name)) for name in names} for row in rows]
    widths = {name: max(len(name), *(len(row[name]) for row in cells)) for name in names}
    beside, below = _placed(widths, limit)
    right = {name for name in names if _are_numbers([row.get(name) for row in rows])}

    def line(row: Mapping[str, str]) -> str:
        parts = (row[name].rjust(widths[name]) if name in right else row[name].ljust(widths[name]) for name in beside)
        return _GAP.join(parts).rstrip()

    yield line({name: name for name in names})
    for row in cells:
        yield line(row)
        yield from _facts({name: row[name] for name in below if row[name] != "-"}, limit, _GAP * 2)


def _placed(widths: Mapping[str, int], limit: int | None) -> tuple[list[str], list[str]]:
    """Return the columns of the table, always with the first, and the widest ones, which are printed below the row."""
    beside = list(widths)
    while limit is not None and len(beside) > 1 and sum(widths[name] + len(_GAP) for name in beside) - 2 > limit:
        beside.remove(max(beside[1:], key=lambda name: widths[name]))
    return beside, [name for name in widths if name not in beside]


def _are_numbers(values: Sequence[Any]) -> bool:
    known = [value for value in values if value is not None]
    return bool(known) and all(isinstance(value, int | float) and not isinstance(value, bool) for value in known)
