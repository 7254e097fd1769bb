"""Rows that a task or a function returned: resolved, bounded, and kept out of Jinja and of the metadata database."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import SET_DURING_EXECUTION

from airflow_provider_batch.exceptions import SourceError

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

#: Bytes of JSON. An XCom is read whole by every attempt: above this a file is the way.
MAX_BYTES = 10_000_000
#: How a template writes what is no text.
_RENDERED = re.compile(r"\s*([\[{(]\s*([{\['\"]|[\])}]|None\b)|<|None$|$)|.*\n", re.DOTALL)


def rows_of(source: Any, context: Context, *, format_is_stated: bool = False) -> list[Mapping[str, Any]] | None:
    """
    Return the rows, or None where the source is an address or several, or templates of them.

    :param source: An argument as given: an address, addresses, a table as `sources/python_tables.py` says, or an
        upstream task's result that stands for any of these.
    :param format_is_stated: Whether the task says how its files are written, so that addresses are files.
    :raises SourceError: It is no table, or a larger one than 10 MB.
    """
    if hasattr(source, "resolve") and hasattr(source, "iter_references"):
        found = source.resolve(context)
        return _rows(given(found, "the upstream task returned", format_is_stated=format_is_stated))
    if source is None or isinstance(source, str | PathLike | type(SET_DURING_EXECUTION)):
        return None
    if isinstance(source, list | tuple) and source and all(isinstance(one, str | PathLike) for one in source):
        return None
    return _rows(given(source, "the argument is"))


def given(
    value: Any, giver: str, *, argument: bool = False, format_is_stated: bool = False
) -> list[Mapping[str, Any]] | list[str] | str:
    """
    Return rows, or the address or addresses that a value is.

    :param giver: Who gave it, and the verb: "the function returned".
    :param argument: Whether it is an argument of the operator after rendering, whose texts are addresses in doubt.
    :param format_is_stated: Whether the task says how its files are written, so that addresses are files.
    :raises SourceError: It is neither, or a table of more than 10 MB.
    """
    from airflow_provider_batch.sources.python_tables import table_of

    if argument and isinstance(value, str) and _RENDERED.match(value):
        raise SourceError(
            f"source: the template gave {value[:60]!r}, which is no address of a file. Give a task's result itself, "
            "source=rows() or source=task.output, rather than a template of it."
        )
    return table_of(value, giver, MAX_BYTES, words_are_addresses=argument, addresses_are_files=format_is_stated)


def _rows(found: list[Mapping[str, Any]] | list[str] | str) -> list[Mapping[str, Any]] | None:
    return found if isinstance(found, list) and not (found and isinstance(found[0], str)) else None  # type: ignore[return-value]


def shown(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return what stands for the rows in Airflow's table of rendered fields."""
    return f"<{len(rows):,} rows>"
