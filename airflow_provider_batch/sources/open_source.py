"""Open a table from files, rows or a query; the type of the argument says which."""

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

    Files are Parquet, JSONL (``.jsonl``, ``.ndjson``), CSV or TSV; the file names say which where the format is not
    stated. All but Parquet may be compressed (``.gz``, ``.zst``). The keys of hive-partitioned folders become columns
    too, see `hive_partitions`. CSV columns are always text, so that ``01234`` keeps its zero; an empty field without
    quotes is null. JSONL columns get one type over the whole input (with a limit: over the rows that are read for it):
    integers beside floats become floats, other mixed kinds become JSON text; a template still gets each row's own
    value.

    :param source: A file, a folder or a glob, several of them, rows as mappings, or a query. A folder means all its
        files at any depth, of one format, without names that start with ``_`` or ``.`` (partitions such as ``_dt=1``
        are read).
    :param resolve: Turns a URI into a `Location`.
    :param form: Stated format of the files; by default the file names say it.
    :raises SourceError: No file exists, or it cannot be read as a table.
    :raises ConfigurationError: The source mixes URIs and rows, or has a format option that it cannot have.
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
    """Return the reader for the files' format; each reader imports only the parts of pyarrow that it needs."""
    if files[0].format == "parquet":
        from airflow_provider_batch.sources.files.parquet import ParquetReader

        return ParquetReader(files)
    if files[0].format in ("csv", "tsv"):
        from airflow_provider_batch.sources.files.csv import CsvReader

        return CsvReader(files, form)
    from airflow_provider_batch.sources.files.jsonl import JsonlReader

    return JsonlReader(files, form)
