"""Rows that an upstream task returned: resolved, bounded, and kept out of Jinja and of the metadata database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_batch.exceptions import SourceError

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

#: Bytes of JSON. An XCom is read whole by every attempt: above this a file is the way.
MAX_BYTES = 10_000_000


def rows_of(source: Any, context: Context) -> list[Mapping[str, Any]] | None:
    """
    Return the rows, or None where the source is one URI or several.

    :param source: An argument as given: a URI, URIs, mappings, or an upstream task's result that stands for any of
        these.
    :raises SourceError: The rows are larger than 10 MB.
    """
    value = source.resolve(context) if hasattr(source, "resolve") and hasattr(source, "iter_references") else source
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Sequence):
        return None
    items = list(value)
    if not items or not all(isinstance(item, Mapping) for item in items):
        return None if items else []
    _check_size(items)
    return items


def shown(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return what stands for the rows in Airflow's table of rendered fields."""
    return f"<{len(rows):,} rows>"


def _check_size(rows: list[Mapping[str, Any]]) -> None:
    import msgspec

    size = 0
    for row in rows:
        size += len(msgspec.json.encode(row, enc_hook=str))
        if size > MAX_BYTES:
            raise SourceError(
                f"source: the upstream task returned more than {MAX_BYTES // 1_000_000} MB of rows. Let it write a "
                "Parquet, JSONL or CSV file and return its address: every attempt of this task reads an XCom whole."
            )
