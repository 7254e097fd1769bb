"""
The files of a shard on storage. Their names say what they hold, and their hash is checked wherever they are read.

| name | content |
|---|---|
| ``<key>-<12 hex digits>.jsonl`` | the request lines, as they are uploaded |
| ``<key>-<12 hex digits>.arrow`` | the sidecar: the rows that the lines were made from |
| ``<key>-<12 hex digits>.retry.arrow`` | the sidecar rows that a landing left for another round |

The digits are the first of the content's SHA-256. So two attempts that prepare different shards, for example from a
query that returns its rows in another order, do not overwrite each other's files, and the ledger says which files are
the job's. Ledgers of release 0.1 have files without digits; these are read as well.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from airflow_provider_batch.exceptions import StorageError
from airflow_provider_batch.jobs.ledger.shard_record import ShardRecord
from airflow_provider_batch.requests.shards import Shard
from airflow_provider_batch.storage import Location, finished_name

#: Endings of the names.
LINES, ROWS, RETRY = ".jsonl", ".arrow", ".retry.arrow"
_DIGITS = 12
_NAME = re.compile(rf"(r\d{{2,}}-s\d{{5,}})(?:-[0-9a-f]{{{_DIGITS}}})?({re.escape(RETRY)}|{LINES}|{ROWS})")


def publish_shard(shard: Shard, folder: Location) -> None:
    """
    Move a finished shard's two files to storage, the lines last: a shard with lines is complete.

    :param shard: The finished shard.
    :param folder: Folder of the generation's shards.
    """
    (folder / _name(str(shard.key), shard.rows_sha256, ROWS)).put(shard.rows)
    (folder / _name(str(shard.key), shard.sha256, LINES)).put(shard.lines)
    shard.rows.unlink()
    shard.lines.unlink()


def missing_shards(folder: Location, records: Sequence[ShardRecord]) -> list[ShardRecord]:
    """
    Return the shards that miss a file, by one listing of the folder.

    :param folder: Folder of the generation's shards.
    :param records: The shards to check.
    """
    stored = set(folder.list()) if records else set()
    return [record for record in records if not all(names & stored for names in _names(record))]


def has_rows(folder: Location, record: ShardRecord) -> bool:
    """
    Return whether a shard's sidecar is stored.

    :param folder: Folder of the generation's shards.
    :param record: The shard.
    """
    return _stored(folder, record.key, _hashes(record)[1], ROWS).exists()


def request_lines_of(folder: Location, record: ShardRecord) -> AbstractContextManager[Path]:
    """
    Open a local copy of a shard's request lines, and yield its path.

    :param folder: Folder of the generation's shards.
    :param record: The shard.
    :raises StorageError: The file is not the one that the ledger records; it is removed, so that the next attempt
        writes it again.
    """
    sha256, _ = _hashes(record)
    return _checked(_stored(folder, record.key, sha256, LINES), sha256, removes=True)


def rows_of(folder: Location, record: ShardRecord) -> AbstractContextManager[Path]:
    """
    Open a local copy of a shard's sidecar, and yield its path.

    :param folder: Folder of the generation's shards.
    :param record: The shard.
    :raises StorageError: The file is not the one that the ledger records; it is removed, so that the next attempt
        writes it again.
    """
    _, sha256 = _hashes(record)
    return _checked(_stored(folder, record.key, sha256, ROWS), sha256, removes=True)


def keep_retry_rows(folder: Location, key: str, rows: Path) -> str:
    """
    Store the rows that a landing left for another round, and return their SHA-256, which names the file.

    :param folder: Folder of the generation's shards.
    :param key: Key of the shard.
    :param rows: Local path of the rows.
    """
    sha256 = _sha256(rows)
    (folder / _name(key, sha256, RETRY)).put(rows)
    return sha256


def retry_rows_of(folder: Location, record: ShardRecord) -> AbstractContextManager[Path]:
    """
    Open a local copy of the rows that a shard's landing left for another round, and yield its path.

    :param folder: Folder of the generation's shards.
    :param record: The shard.
    :raises StorageError: The file is not the one that the ledger records; nothing is removed.
    """
    assert record.landing is not None
    sha256 = record.landing.retry_sha256
    return _checked(_stored(folder, record.key, sha256, RETRY), sha256, removes=False)


def shard_key_of(name: str) -> str | None:
    """
    Return the key of the shard that a file belongs to, finished or left by a killed writer; None for other files.

    :param name: Name without its folder.
    """
    found = _NAME.fullmatch(finished_name(name) or name)
    return found[1] if found else None


def _hashes(record: ShardRecord) -> tuple[str, str]:
    """Return the SHA-256 of the lines and of the sidecar; empty where the ledger has none."""
    lines, _, rows = record.sha256.partition("-")
    return lines, rows


def _name(key: str, sha256: str, ending: str) -> str:
    return f"{key}-{sha256[:_DIGITS]}{ending}"


def _names(record: ShardRecord) -> list[set[str]]:
    """Return the names that the lines may have, and those that the sidecar may have."""
    pairs = zip(_hashes(record), (LINES, ROWS), strict=True)
    return [{_name(record.key, sha256, ending), f"{record.key}{ending}"} for sha256, ending in pairs]


def _stored(folder: Location, key: str, sha256: str, ending: str) -> Location:
    """Return the location of a file: under its content's name, or as release 0.1 named it."""
    named = folder / _name(key, sha256, ending)
    before = folder / f"{key}{ending}"
    if not sha256:
        return before
    return before if not named.exists() and before.exists() else named


@contextmanager
def _checked(stored: Location, sha256: str, *, removes: bool) -> Iterator[Path]:
    with stored.as_local() as path:
        if sha256 and _sha256(path) != sha256:
            if removes:
                stored.delete()
            raise StorageError(
                f"{stored}: this was not the shard that the ledger records: an attempt with another input had begun at "
                f"the same time, or the file was damaged. {'The next attempt writes it again.' if removes else ''}"
            )
        yield path


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
