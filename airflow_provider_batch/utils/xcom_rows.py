"""Read rows that a task or a function returned, and keep them out of Jinja and of the metadata database."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import SET_DURING_EXECUTION

from airflow_provider_batch.exceptions import SourceError

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

#: Bytes of the rows as JSON, at most: every attempt reads a whole XCom, so larger tables belong in a file.
MAX_BYTES = 10_000_000
#: Matches a rendered template whose value was no text.
_RENDERED = re.compile(r"\s*([\[{(]\s*([{\['\"]|[\])}]|None\b)|<|None$|$)|.*\n", re.DOTALL)


def rows_of(source: Any, context: Context, *, format_is_stated: bool = False) -> list[Mapping[str, Any]] | None:
    """
    Return the rows of a source; None if it is one or more URIs, or templates of them.

    :param source: The argument: URIs, a table as in `sources/python_tables.py`, or an XCom of any of these.
    :param context: Context of the task instance, to read the XCom.
    :param format_is_stated: Whether the task has an argument ``format``, so that texts are URIs of files.
    :raises SourceError: The source is no table, or has more than 10 MB.
    """
    if hasattr(source, "resolve") and hasattr(source, "iter_references"):
        returned = source.resolve(context)
        return _rows(given(returned, "the upstream task returned", format_is_stated=format_is_stated))
    if source is None or isinstance(source, str | PathLike | type(SET_DURING_EXECUTION)):
        return None
    if isinstance(source, list | tuple) and source and all(isinstance(one, str | PathLike) for one in source):
        return None
    return _rows(given(source, "the argument is"))


def given(
    value: Any, giver: str, *, argument: bool = False, format_is_stated: bool = False
) -> list[Mapping[str, Any]] | list[str] | str:
    """
    Return the rows of a value, or its URI or URIs.

    :param value: A table as in `sources/python_tables.py`, or one or more URIs.
    :param giver: Where it is from, for messages: ``"the function returned"``.
    :param argument: Whether it is a rendered argument of the operator, in which plain texts are URIs.
    :param format_is_stated: Whether the task has an argument ``format``, so that texts are URIs of files.
    :raises SourceError: The value is neither, or a table of more than 10 MB.
    """
    from airflow_provider_batch.sources.python_tables import table_of

    if argument and isinstance(value, str) and _RENDERED.match(value):
        raise SourceError(
            f"source: the template rendered to {value[:60]!r}, which is no URI of a file. Pass the task's result "
            "itself, source=rows() or source=task.output, instead of a template."
        )
    return table_of(value, giver, MAX_BYTES, words_are_addresses=argument, addresses_are_files=format_is_stated)


def _rows(value: list[Mapping[str, Any]] | list[str] | str) -> list[Mapping[str, Any]] | None:
    return value if isinstance(value, list) and not (value and isinstance(value[0], str)) else None  # type: ignore[return-value]


def shown(rows: Sequence[Mapping[str, Any]]) -> str:
    """
    Return the text that replaces the rows in Airflow's rendered fields.

    :param rows: The rows.
    """
    return f"<{len(rows):,} rows>"
