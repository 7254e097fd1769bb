"""Columns of a table by name: an exact column name, or a dotted path into a struct."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

#: A name, or a dotted path of names.
NAME = re.compile(r"[^\W\d]\w*(?:\.\w+)*")


@dataclass(frozen=True)
class Columns:
    """
    The columns that a template or a filter may name.

    :param schema: Columns with their types.
    :param known: False for a source without rows and without a schema: then every name is accepted.
    """

    schema: pa.Schema
    known: bool = True

    def find(self, name: str) -> tuple[str, ...] | None:
        """
        Return the path that a name stands for, or None. An exact column name goes before a path into a struct.

        :param name: Column name, or dotted path into a struct.
        """
        if self.schema.get_field_index(name) >= 0:
            return (name,)
        head, dot, rest = name.partition(".")
        while dot:  # a column name may contain a dot too
            index = self.schema.get_field_index(head)
            if index >= 0 and _has_path(self.schema.field(index).type, rest.split(".")):
                return (head, *rest.split("."))
            more, dot, rest = rest.partition(".")
            head = f"{head}.{more}"
        return (name,) if not self.known and NAME.fullmatch(name) else None

    def type_of(self, path: Sequence[str]) -> pa.DataType:
        """
        Return the type of the column or field at a path; null where the column is not known.

        :param path: Column name, then the names of fields within its struct.
        """
        if self.schema.get_field_index(path[0]) < 0:
            return pa.null()
        kind = self.schema.field(path[0]).type
        for name in path[1:]:
            kind = kind.field(kind.get_field_index(name)).type
        return kind


def distinct_names(names: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """
    Return names that differ: a repeated name gets a suffix, such as ``name_2``.

    :param names: Column names of a file, in order.
    :return: The names in order, each different; and the names that several columns have.
    """
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
    """
    Return the sentence of an error message that lists the columns and suggests the closest one.

    :param name: The name that was not found.
    :param names: The columns that exist.
    """
    close = difflib.get_close_matches(name, names, n=1)
    shown = ", ".join(names[:30]) + (f" and {len(names) - 30} more" if len(names) > 30 else "")
    return (f"Did you mean '{close[0]}'? " if close else "") + f"The columns are: {shown or 'none'}."


def _has_path(kind: pa.DataType, names: Sequence[str]) -> bool:
    for name in names:
        if not pa.types.is_struct(kind) or kind.get_field_index(name) < 0:
            return False
        kind = kind.field(kind.get_field_index(name)).type
    return True
