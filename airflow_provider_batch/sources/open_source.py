"""Open a table: files, rows or a query, told apart by what was given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from airflow_provider_batch import storage
from airflow_provider_batch.exceptions import ConfigurationError
from airflow_provider_batch.sources.file_source import FileSource, Reader
from airflow_provider_batch.sources.files.formats import InputFormat
from airflow_provider_batch.sources.files.listing import FoundFile, find_files
from airflow_provider_batch.sources.query import Query
from airflow_provider_batch.sources.row_source import RowsSource
from airflow_provider_batch.sources.source import Source


def open_source(
    source: str | Sequence[str] | Sequence[Mapping[str, Any]] | Query,
    *,
    resolve: Callable[[str], storage.Location] = storage.resolve,
    form: InputFormat = InputFormat(),  # noqa: B008
) -> Source:
    """
    Open a table.

    Parquet, JSONL (``.jsonl``, ``.ndjson``), CSV and TSV, told apart by their names where the format is not stated; all
    but Parquet also compressed (``.gz``, ``.zst``). The keys of hive-partitioned folders are columns too, see
    `partitions`. CSV columns are always text, so that ``01234`` keeps its zero; an empty field without quotes is null.
    JSONL columns get one type over the whole input (with a limit: over what is read for it): integers beside floats
    become floats, other mixed kinds JSON text; a template still sees each row's own value.

    :param source: A file, a folder or a glob, several of them, rows as mappings, or a query. A folder means all its
        files at any depth, of one format; names that start with ``_`` or ``.`` are left out, but
        for partitions such as ``_dt=1``.
    :param resolve: Turns a URI into a place on a file system.
    :param form: How the files are written, as far as it was stated.
    :raises SourceError: Nothing is there, or it cannot be read as a table.
    """
    if isinstance(source, Query):
        form.check_no_file()
        from airflow_provider_batch.sources.query_spool import QuerySource

        return QuerySource(source)
    if isinstance(source, str):
        return _open_files([source], resolve, form)
    uris = [item for item in source if isinstance(item, str)]
    if not uris:
        form.check_no_file()
        return RowsSource(item for item in source if not isinstance(item, str))
    if len(uris) < len(source):
        raise ConfigurationError("source: expected URIs or rows, found a list of both.")
    return _open_files(uris, resolve, form)


def _open_files(uris: Sequence[str], resolve: Callable[[str], storage.Location], form: InputFormat) -> Source:
    files = find_files(uris, resolve, form.name)
    form.check_fits(files[0].format)
    return FileSource(files, _reader_for(files, form))


def _reader_for(files: Sequence[FoundFile], form: InputFormat) -> Reader:
    """Return the reader of the files' format; each imports its own part of pyarrow."""
    if files[0].format == "parquet":
        from airflow_provider_batch.sources.files.parquet import ParquetReader

        return ParquetReader(files)
    if files[0].format in ("csv", "tsv"):
        from airflow_provider_batch.sources.files.csv import CsvReader

        return CsvReader(files, form)
    from airflow_provider_batch.sources.files.jsonl import JsonlReader

    return JsonlReader(files, form)
