"""
Checks that a source does not cover the job's own files: the next run would read results as input, and pay for them.

The check is made when a job begins, before anything is sent, by paths alone: a folder covers the files below it, a
pattern the files that it matches, as `sources/files/listing.py` reads them. So a table beside its source is fine where
the pattern, or a leading ``_`` in a folder's name, separates the two.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any

from airflow_provider_batch.exceptions import ConfigurationError
from airflow_provider_batch.jobs.job_request import JobRequest, Tools
from airflow_provider_batch.jobs.ledger.store import job_folder
from airflow_provider_batch.sources.files.listing import is_hidden
from airflow_provider_batch.storage import Location

_WILD = re.compile(r"[*?\[]")
#: S3's address when none is configured.
_AWS = "amazonaws.com"


def check_overlap(request: JobRequest, tools: Tools) -> None:
    """
    Check that no part of the table and no file of the state path is read as input.

    :param request: The job.
    :param tools: Its client, clock and functions.
    :raises ConfigurationError: One would be; the message names both places.
    """
    source = request.input.source
    uris = [source] if isinstance(source, str) else source if isinstance(source, Sequence) else []
    uris = [uri for uri in uris if isinstance(uri, str)]
    if not uris:
        return
    written = list(_written(request, tools))
    for uri in uris:
        location = tools.resolve(uri)
        for what, folder, path in written:
            if _is_same_store(location, folder) and _covers(location, path):
                raise ConfigurationError(
                    f"source: {uri} covers the {what} {folder}: the next run would read this task's own "
                    "files as input, and pay for them. Nothing was sent. Restrict the source, by a pattern such as "
                    f"*.csv or a folder of its own, or choose another {what}."
                )


def _written(request: JobRequest, tools: Tools) -> Iterator[tuple[str, Location, tuple[str, ...]]]:
    """Yield one file of each kind whose ending a source may have."""
    job = request.identity.job
    if request.table.destination is not None:
        table = tools.resolve(request.table.destination)
        folders = [f"{column}=" for column in request.table.partition_by]
        for name in (f"part-{job}-00001-01-g1a1.parquet", f"part-{job}-00001-01.parquet"):
            yield "destination", table, (*_parts(table), *folders, name)
    shards = job_folder(request.state, request.identity) / "g1"
    for name in ("r01-s00001.jsonl", f"r01-s00001-{job}.jsonl"):
        yield "state_path", request.state, (*_parts(shards), name)


def _covers(source: Location, file: tuple[str, ...]) -> bool:
    """Return whether a file of the job is, or is below, what a source names."""
    named = _parts(source)
    for depth in range(1, len(file) + 1):
        found, below = file[:depth], file[depth:]
        if any(map(is_hidden, below)):
            continue
        if len(named) == depth and all(map(_is_named, named, found)):
            return True
        if _WILD.search(source.path) and _matches(named, found):
            return not any(is_hidden(name) and name not in named for name in found)
    return False


def _matches(pattern: Sequence[str], path: Sequence[str]) -> bool:
    """Return whether a glob matches a path, part by part; ``**`` stands for any number of folders."""
    if not pattern:
        return not path
    if pattern[0] == "**":
        return any(_matches(pattern[1:], path[start:]) for start in range(len(path) + 1))
    return bool(path) and _may_match(pattern[0], path[0]) and _matches(pattern[1:], path[1:])


def _is_named(named: str, part: str) -> bool:
    return named.startswith(part) if part.endswith("=") else named == part


def _may_match(pattern: str, part: str) -> bool:
    """Return whether one part of a path can match; a part ``column=`` is a partition of any value."""
    if not part.endswith("="):
        return fnmatchcase(part, pattern)
    literal = _WILD.split(pattern)[0]
    return literal.startswith(part) or (part.startswith(literal) and literal != pattern)


def _parts(location: Location) -> tuple[str, ...]:
    """Return the parts of a path without ``.``, ``..`` and, on a local disk, symbolic links."""
    path = location.path
    if location.is_local:
        wild = _WILD.search(path)
        head, _, tail = path[: wild.start()].rpartition("/") if wild else (path, "", "")
        path = os.path.realpath(head or "/") + (f"/{tail}{path[wild.start() :]}" if wild else "")
    return tuple(part for part in posixpath.normpath(path).split("/") if part)


def _is_same_store(one: Location, other: Location) -> bool:
    return bool(_protocols(one) & _protocols(other)) and _address(one.fs) == _address(other.fs)


def _protocols(location: Location) -> set[str]:
    protocol = location.fs.protocol
    return {protocol} if isinstance(protocol, str) else set(protocol)


def _address(fs: Any) -> tuple[str, str, str]:
    """Return what tells two stores of one kind apart; credentials do not."""
    options: dict[str, Any] = dict(getattr(fs, "storage_options", None) or {})
    client: dict[str, Any] = dict(getattr(fs, "client_kwargs", None) or options.get("client_kwargs") or {})
    endpoint = str(getattr(fs, "endpoint_url", None) or client.get("endpoint_url") or "").rstrip("/")
    account = str(getattr(fs, "account_name", None) or "")
    return "" if _AWS in endpoint else endpoint, account, str(options.get("host") or "")
