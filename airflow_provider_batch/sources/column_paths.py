"""The columns of a table by the names that people write: an exact name, or a dotted path into a struct."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

#: What looks like a name, or a dotted path of names.
NAME = re.compile(r"[^\W\d]\w*(?:\.\w+)*")


@dataclass(frozen=True)
class Columns:
    """
    What a template or a filter may name.

    :param known: False where a source without rows says nothing about its columns; every name is then taken.
    """

    schema: pa.Schema
    known: bool = True

    def find(self, name: str) -> tuple[str, ...] | None:
        """Return the path that a name stands for, an exact column before a way into a struct, or None."""
        if self.schema.get_field_index(name) >= 0:
            return (name,)
        head, dot, rest = name.partition(".")
        while dot:  # a column may have a dot in its name too
            index = self.schema.get_field_index(head)
            if index >= 0 and _has_path(self.schema.field(index).type, rest.split(".")):
                return (head, *rest.split("."))
            more, dot, rest = rest.partition(".")
            head = f"{head}.{more}"
        return (name,) if not self.known and NAME.fullmatch(name) else None

    def type_of(self, path: Sequence[str]) -> pa.DataType:
        """Return the type of what a path leads to."""
        if self.schema.get_field_index(path[0]) < 0:
            return pa.null()
        kind = self.schema.field(path[0]).type
        for name in path[1:]:
            kind = kind.field(kind.get_field_index(name)).type
        return kind


def each_once(names: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names with the second of a kind called ``name_2``, and the names that several columns have."""
    counts, taken, found = Counter(names), set(names), list[str]()
    seen: Counter[str] = Counter()
    for name in names:
        seen[name] += 1
        own = name if seen[name] == 1 else f"{name}_{seen[name]}"
        while seen[name] > 1 and own in taken:
            own += "_"
        taken.add(own)
        found.append(own)
    return tuple(found), tuple(name for name, count in counts.items() if count > 1)


def columns_hint(name: str, names: Sequence[str]) -> str:
    """Return the sentence that lists the columns, and the one that was probably meant."""
    close = difflib.get_close_matches(name, names, n=1)
    shown = ", ".join(names[:30]) + (f" and {len(names) - 30} more" if len(names) > 30 else "")
    return (f"Did you mean '{close[0]}'? " if close else "") + f"The columns are: {shown or 'none'}."


def _has_path(kind: pa.DataType, names: Sequence[str]) -> bool:
    for name in names:
        if not pa.types.is_struct(kind) or kind.get_field_index(name) < 0:
            return False
        kind = kind.field(kind.get_field_index(name)).type
    return True
