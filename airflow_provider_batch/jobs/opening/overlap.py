"""
A source that covers what the job itself writes: the next reading would take answers for input, and pay for them.

Checked where a job begins, before anything is sent, on the paths alone: a folder covers what stands below it, a pattern
what it matches, as `sources/files/listing.py` reads them. So a table beside its source is fine wherever the pattern,
or a leading ``_`` in a folder's name, keeps the two apart.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from airflow_provider_batch.exceptions import ConfigurationError
from airflow_provider_batch.jobs.job_request import JobRequest, Tools
from airflow_provider_batch.jobs.ledger.store import job_folder
from airflow_provider_batch.sources.files.listing import is_hidden
from airflow_provider_batch.storage import Location

_WILD = re.compile(r"[*?\[]")
#: Where S3 is when nobody says so.
_AWS = "amazonaws.com"


@dataclass(frozen=True)
class _Written:
    """A file as a job writes it: the folder that was asked for, as messages name it, and the parts of its path."""

    what: str
    folder: Location
    path: tuple[str, ...]


def check_overlap(request: JobRequest, tools: Tools) -> None:
    """
    Check that no part of the table and no file of the state path is read as input.

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
        for file in written:
            if _is_same_store(location, file.folder) and _covers(location, file.path):
                raise ConfigurationError(
                    f"source: {uri} covers the {file.what} {file.folder}: what this task writes there would be read as "
                    "input, and paid for, the next time. Name the source more narrowly, by a pattern such as *.csv or "
                    f"a folder of its own, or choose another {file.what}. Nothing was sent."
                )


def _written(request: JobRequest, tools: Tools) -> Iterator[_Written]:
    """Give one file of each kind that has an ending which a source may have."""
    job = request.identity.job
    if request.table.destination is not None:
        table = tools.resolve(request.table.destination)
        folders = [f"{column}=" for column in request.table.partition_by]
        for name in (f"part-{job}-00001-01-g1a1.parquet", f"part-{job}-00001-01.parquet"):
            yield _Written("destination", table, (*_parts(table), *folders, name))
    shards = job_folder(request.state, request.identity) / "g1"
    for name in ("r01-s00001.jsonl", f"r01-s00001-{job}.jsonl"):
        yield _Written("state_path", request.state, (*_parts(shards), name))


def _covers(source: Location, file: tuple[str, ...]) -> bool:
    """Return whether a file that is written is, or stands below, what a source names."""
    asked = _parts(source)
    for depth in range(1, len(file) + 1):
        found, below = file[:depth], file[depth:]
        if any(map(is_hidden, below)):
            continue
        if len(asked) == depth and all(map(_is_named, asked, found)):
            return True
        if _WILD.search(source.path) and _matches(asked, found):
            return not any(is_hidden(name) and name not in asked for name in found)
    return False


def _matches(pattern: Sequence[str], path: Sequence[str]) -> bool:
    """Return whether a glob matches a path, part by part; ``**`` stands for any number of folders."""
    if not pattern:
        return not path
    if pattern[0] == "**":
        return any(_matches(pattern[1:], path[start:]) for start in range(len(path) + 1))
    return bool(path) and _may_match(pattern[0], path[0]) and _matches(pattern[1:], path[1:])


def _is_named(asked: str, part: str) -> bool:
    return asked.startswith(part) if part.endswith("=") else asked == part


def _may_match(pattern: str, part: str) -> bool:
    """A part ``column=`` is a partition of any value."""
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
