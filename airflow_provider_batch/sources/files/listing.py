"""
The files of a source.

A folder means all files of one supported format in it, at any depth, without names that start with ``_`` or ``.``
(partitions such as ``_dt=1`` count). A glob means everything it matches, folders too. Where the format is stated, a
folder means all its files except those whose names say another format. The files are in the order of their paths, so
that row numbers are the same at every reading.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from airflow_provider_batch.exceptions import SourceError, StorageError
from airflow_provider_batch.storage import Location, Resolver
from airflow_provider_batch.storage.errors import is_of_a_store, is_refused, reason
from airflow_provider_batch.storage.stores import NoContainerError

#: Ending of a file name → format; an ending of `COMPRESSIONS` may follow.
FORMATS = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
}
#: Ending of a file name → compression.
COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
_SUPPORTED = "expected .parquet, .jsonl, .ndjson, .csv or .tsv, all but the first also with .gz or .zst"
_STATE_IT = "Give format='csv', 'tsv', 'jsonl' or 'parquet' for files with other names"
#: Fields of a store's listing that change with the content, the best first.
_VERSION_KEYS = ("ETag", "etag", "md5Hash", "content_md5", "checksum", "generation", "mtime", "LastModified", "updated")


@dataclass(frozen=True)
class SourceFile:
    """
    One file as the listing of its store shows it.

    :param uri: URI, or a description of rows or of a query.
    :param size: Bytes.
    :param version: ETag, checksum or time of change: what the store has that changes with the content.
    """

    uri: str
    size: int
    version: str


@dataclass(frozen=True)
class FoundFile:
    """
    A file to read.

    :param location: Place of the file.
    :param listed: The file in the listing of its store.
    :param format: ``csv``, ``tsv``, ``jsonl`` or ``parquet``.
    :param compression: ``gzip``, ``zstd``, or None.
    """

    location: Location
    listed: SourceFile
    format: str
    compression: str | None

    @property
    def uri(self) -> str:
        """The file's URI, as messages show it."""
        return self.listed.uri


def find_files(uris: Sequence[str], resolve: Resolver, stated: str | None = None) -> list[FoundFile]:
    """
    Return the files that URIs name, all of one format.

    :param uris: Files, folders or globs.
    :param resolve: Turns a URI into a `Location`.
    :param stated: Format of all files; None means that the file names say it.
    :raises SourceError: No file exists or matches, a file is named twice, or formats are mixed or unknown.
    :raises StorageError: The store does not respond.
    """
    found = [file for uri in uris for file in _files_of(resolve(uri), stated)]
    seen: set[str] = set()
    for file in found:
        if file.uri in seen:
            problem = (
                "this file is named twice by the source: every row would be sent and paid for twice. Name it once."
            )
            raise SourceError(problem, file=file.uri)
        seen.add(file.uri)
    by_format = {file.format: file for file in found}
    if len(by_format) > 1:
        examples = "; ".join(f"{name}: {file.uri}" for name, file in sorted(by_format.items()))
        raise SourceError(
            f"expected files of one format, found {len(by_format)} ({examples}). Name the files of one format, for "
            "example with a pattern such as *.csv."
        )
    return found


@contextmanager
def reading(uri: str) -> Iterator[None]:
    """
    Turn the error of a file system into SourceError where another try cannot help, else into StorageError.

    :param uri: The file that the block reads, for messages.
    :raises SourceError: The file is absent, is not readable, or has invalid content.
    :raises StorageError: The file system reports another error.
    """
    try:
        yield
    except (SourceError, StorageError) as error:
        cause = error.__cause__
        if cause is not None and _is_final(cause):
            raise _unreadable(uri, cause) from cause
        raise
    except Exception as error:
        if not is_of_a_store(error):
            raise
        if _is_final(error):
            raise _unreadable(uri, error) from error
        if type(error) is OSError and error.errno is None:  # Arrow's error about the content, not about access
            raise SourceError(f"the content cannot be read ({error}). Is the file complete?", file=uri) from error
        raise StorageError(f"{uri}: cannot read it ({reason(error)}).") from error


def _is_final(error: BaseException) -> bool:
    """Return whether another try cannot help."""
    return isinstance(error, FileNotFoundError | IsADirectoryError | NoContainerError) or is_refused(error)


def _unreadable(uri: str, error: BaseException) -> SourceError:
    if isinstance(error, FileNotFoundError):
        return SourceError("no such file or folder.", file=uri)
    if isinstance(error, NoContainerError):
        return SourceError(f"{error}.", file=uri)
    return SourceError(f"cannot be read ({reason(error)}).", file=uri)


def _files_of(location: Location, stated: str | None) -> list[FoundFile]:
    with reading(location.uri):
        try:
            return _listed(location, stated)
        except (FileNotFoundError, SourceError):
            location.store.check_container(location.path)
            raise
        except OSError:
            raise
        except Exception as error:
            raise StorageError(f"{location}: cannot list it ({reason(error)}).") from error


def _listed(location: Location, stated: str | None) -> list[FoundFile]:
    fs = location.fs
    fs.invalidate_cache()
    is_glob = re.search(r"[*?\[]", location.path) is not None
    try:
        info = fs.info(location.path)
    except FileNotFoundError:
        if not is_glob:
            raise
        return _matches(location, stated)
    if info.get("type") == "directory":
        return _within(location, stated)
    return [_found(location, info, stated)]


def _matches(location: Location, stated: str | None) -> list[FoundFile]:
    matched: Mapping[str, dict[str, Any]] = location.fs.glob(location.path, detail=True)
    asked = set(location.path.split("/"))  # hidden names that the pattern itself contains are wanted
    visible = {
        path: info
        for path, info in sorted(matched.items())
        if not any(is_hidden(name) and name not in asked for name in path.rstrip("/").split("/"))
    }
    if not visible:
        raise SourceError("this pattern matches no file.", file=location.uri)
    found: list[FoundFile] = []
    folders = [f"{path.rstrip('/')}/" for path, info in visible.items() if info.get("type") == "directory"]
    for path, info in visible.items():
        if any(path.startswith(folder) for folder in folders):
            continue  # is in a matched folder, whose files are all read
        if info.get("type") == "directory":
            found += _within(location.at(path.rstrip("/")), stated)
        else:
            found.append(_found(location.at(path), info, stated))
    return found


def _within(folder: Location, stated: str | None) -> list[FoundFile]:
    root = folder.path.rstrip("/")
    listed: Mapping[str, dict[str, Any]] = folder.fs.find(folder.path, detail=True)
    files = {
        path: info
        for path, info in sorted(listed.items())
        if not any(map(is_hidden, path[len(root) :].strip("/").split("/")))
    }
    found = [_found(folder.at(path), info, stated) for path, info in files.items() if _is_read(path, stated)]
    if not found:
        others = f"; it has {len(files)} other files, such as {next(iter(files))}. {_STATE_IT}" if files else ""
        raise SourceError(f"no file to read in this folder ({_SUPPORTED}{others}).", file=folder.uri)
    return found


def _is_read(path: str, stated: str | None) -> bool:
    """Return whether a file of a folder belongs to the source."""
    kind = _kind(path)[0]
    return kind is not None if stated is None else kind in (None, stated)


def _found(location: Location, info: Mapping[str, Any], stated: str | None) -> FoundFile:
    kind, compression = _kind(location.path)
    kind = stated or kind
    if kind is None:
        raise SourceError(f"cannot tell the format by this name: {_SUPPORTED}. {_STATE_IT}.", file=location.uri)
    if kind == "parquet" and compression is not None:
        raise SourceError("a Parquet file is compressed within; expected one without .gz or .zst.", file=location.uri)
    version = next((str(info[key]) for key in _VERSION_KEYS if info.get(key) is not None), "")
    return FoundFile(location, SourceFile(location.uri, int(info.get("size") or 0), version), kind, compression)


def _kind(path: str) -> tuple[str | None, str | None]:
    """Return format and compression by the endings of a name; None for an unknown format."""
    name = path.lower()
    for ending, compression in COMPRESSIONS.items():
        if name.endswith(ending):
            inner = next((kind for end, kind in FORMATS.items() if name.removesuffix(ending).endswith(end)), None)
            return (None if inner == "parquet" else inner), compression
    return next((kind for end, kind in FORMATS.items() if name.endswith(end)), None), None


def is_hidden(name: str) -> bool:
    """
    Return whether readers skip a name; as for Spark, `_dt=2026-11-01` is a partition and not hidden.

    :param name: Name of a file or folder, without its path.
    """
    return name.startswith(".") or (name.startswith("_") and "=" not in name)
