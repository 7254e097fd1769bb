"""
Store what a restart must keep: one SQLite file and a folder of files.

One lock guards one connection. Every call is short. A change of a batch is read, changed and written under the lock,
so that a route and a worker thread cannot overwrite each other. `synchronous=OFF` is enough: a killed process loses
nothing that it has committed, only a power cut could.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from airflow_provider_batch.emulator.batches.database import Database
from airflow_provider_batch.emulator.batches.journal import CallJournal
from airflow_provider_batch.emulator.batches.upload_store import UploadStore
from airflow_provider_batch.emulator.faults import FaultBook, FaultRule
from airflow_provider_batch.emulator.records import BatchRecord, FileRecord
from airflow_provider_batch.emulator.services.table import new_id

_TABLES = """
CREATE TABLE IF NOT EXISTS files (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE, purpose TEXT, expires REAL, creates INTEGER DEFAULT 0,
  record BLOB);
CREATE TABLE IF NOT EXISTS batches (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE, active INTEGER, input TEXT, created REAL,
  list_reads INTEGER DEFAULT 0, record BLOB);
CREATE INDEX IF NOT EXISTS active_batches ON batches (active) WHERE active;
CREATE TABLE IF NOT EXISTS executions (
  custom_id TEXT, body BLOB, attempts INTEGER, billed INTEGER, PRIMARY KEY (custom_id, body)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS calls (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, time REAL, method TEXT, path TEXT, status INTEGER, seconds REAL, fault TEXT);
CREATE TABLE IF NOT EXISTS uploads (id TEXT PRIMARY KEY, expires REAL, record BLOB);
CREATE TABLE IF NOT EXISTS parts (id TEXT PRIMARY KEY, upload TEXT, size INTEGER);
CREATE TABLE IF NOT EXISTS faults (seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE, rule TEXT, matches INTEGER);
"""
_NAMES = ("files", "batches", "executions", "calls", "uploads", "parts", "faults")

_batch_decoder = msgspec.msgpack.Decoder(BatchRecord)
_file_decoder = msgspec.msgpack.Decoder(FileRecord)
_encode = msgspec.msgpack.Encoder().encode


def body_key(body: Any) -> bytes:
    """
    Return a hash of a request body; the order of keys does not change it.

    :param body: Request body.
    """
    return hashlib.blake2b(msgspec.json.encode(body, order="sorted"), digest_size=8).digest()


class Store:
    """
    Files, batches, executions, calls and faults of one emulator.

    :param folder: Folder of the database and the files; created where it does not exist.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files_folder = folder / "files"
        self.files_folder.mkdir(parents=True, exist_ok=True)
        self._db = Database(folder / "emulator.sqlite3", _TABLES)
        self.lock = self._db.lock
        self.journal = CallJournal(self._db)
        self.uploads = UploadStore(self._db, self.files_folder)
        stored = self._db.rows("SELECT rule, matches FROM faults ORDER BY seq")
        self.book = FaultBook((FaultRule.model_validate_json(rule), matches) for rule, matches in stored)

    def close(self) -> None:
        """Close the database."""
        self._db.close()

    def reset(self) -> None:
        """Remove all records and all files."""
        with self.lock:
            for name in _NAMES:
                self._db.rows(f"DELETE FROM {name}")
            self.book = FaultBook()
            shutil.rmtree(self.files_folder, ignore_errors=True)
            self.files_folder.mkdir(parents=True, exist_ok=True)

    # Files

    def path_of(self, file_id: str) -> Path:
        """
        Return the path of a file's bytes.

        :param file_id: Id of the file.
        """
        return self.files_folder / file_id

    def new_file_id(self, form: str = "file-{hex}") -> str:
        """
        Return a new file id.

        :param form: Form of the service's ids.
        """
        return new_id(form)

    def add_file(self, record: FileRecord) -> None:
        """
        Add the record of a file whose bytes are already stored, and remove files that have expired.

        :param record: Record of the file.
        """
        with self.lock:
            statement = "INSERT OR REPLACE INTO files (id, purpose, expires, record) VALUES (?, ?, ?, ?)"
            self._db.rows(statement, record.id, record.purpose, record.expires_at, _encode(record))
            for (expired,) in self._db.rows("SELECT id FROM files WHERE expires <= ?", record.created_at):
                self.remove_file(expired)

    def file(self, file_id: str, now: float) -> FileRecord | None:
        """
        Return the record of a file; None where it does not exist or has expired.

        :param file_id: Id of the file.
        :param now: Epoch seconds.
        """
        query = "SELECT record FROM files WHERE id = ? AND (expires IS NULL OR expires > ?)"
        record = self._db.value(query, file_id, now)
        return None if record is None else _file_decoder.decode(record)

    def files(
        self, *, now: float, purpose: str | None, after: str | None, limit: int, descending: bool
    ) -> list[FileRecord]:
        """
        Return records of files that have not expired, in the order of their creation.

        :param now: Epoch seconds.
        :param purpose: Only files with this purpose; None for all.
        :param after: Start behind the file with this id; None starts at the first.
        :param limit: Maximum number of records.
        :param descending: Newest first.
        """
        order, sign = ("DESC", "<") if descending else ("ASC", ">")
        where, values = ["(expires IS NULL OR expires > ?)"], [now]  # type: list[str], list[Any]
        if purpose:
            where.append("purpose = ?")
            values.append(purpose)
        if after:
            where.append(f"seq {sign} (SELECT seq FROM files WHERE id = ?)")
            values.append(after)
        query = f"SELECT record FROM files WHERE {' AND '.join(where)} ORDER BY seq {order} LIMIT ?"
        return [_file_decoder.decode(record) for (record,) in self._db.rows(query, *values, limit)]

    def remove_file(self, file_id: str) -> None:
        """
        Remove a file; its bytes are kept as long as an unfinished batch reads them.

        :param file_id: Id of the file.
        """
        with self.lock:
            self._db.rows("DELETE FROM files WHERE id = ?", file_id)
            self.drop_unlisted_input(file_id)

    def drop_unlisted_input(self, file_id: str) -> None:
        """
        Remove the bytes of an input file whose record was removed while a batch read it.

        :param file_id: Id of the file.
        """
        with self.lock:
            listed = self._db.rows("SELECT 1 FROM files WHERE id = ?", file_id)
            used = self._db.rows("SELECT 1 FROM batches WHERE active AND input = ?", file_id)
            if not listed and not used:
                self.path_of(file_id).unlink(missing_ok=True)

    def count_create(self, file_id: str) -> int:
        """
        Count a create call that names a file; return the number of such calls, this one included.

        :param file_id: Id of the input file.
        """
        with self.lock:
            self._db.rows("UPDATE files SET creates = creates + 1 WHERE id = ?", file_id)
            return int(self._db.value("SELECT creates FROM files WHERE id = ?", file_id) or 0)

    # Batches

    def add_batch(self, record: BatchRecord) -> None:
        """
        Add the record of a new batch.

        :param record: Record of the batch.
        """
        statement = "INSERT INTO batches (id, active, input, created, record) VALUES (?, ?, ?, ?, ?)"
        file_id, at = record.input_file_id, record.created_at
        self._db.rows(statement, record.id, not record.has_ended, file_id, at, _encode(record))

    def batch(self, batch_id: str) -> BatchRecord | None:
        """
        Return the record of a batch; None where it does not exist.

        :param batch_id: Id of the batch.
        """
        record = self._db.value("SELECT record FROM batches WHERE id = ?", batch_id)
        return None if record is None else _batch_decoder.decode(record)

    def batches(self, *, after: str | None = None, limit: int = -1) -> list[BatchRecord]:
        """
        Return records of batches, newest first.

        :param after: Start behind the batch with this id; None starts at the newest.
        :param limit: Maximum number of records; -1 for all.
        """
        where = "WHERE seq < (SELECT seq FROM batches WHERE id = ?)" if after else ""
        values: tuple[Any, ...] = (after, limit) if after else (limit,)
        rows = self._db.rows(f"SELECT record FROM batches {where} ORDER BY seq DESC LIMIT ?", *values)
        return [_batch_decoder.decode(record) for (record,) in rows]

    def active_batches(self) -> list[BatchRecord]:
        """Return the batches that have not ended, oldest first."""
        rows = self._db.rows("SELECT record FROM batches WHERE active ORDER BY seq")
        return [_batch_decoder.decode(record) for (record,) in rows]

    def created_since(self, time: float) -> int:
        """
        Count the batches that were created after a time.

        :param time: Epoch seconds.
        """
        return int(self._db.value("SELECT count(*) FROM batches WHERE created > ?", time))

    def count_list_read(self, batch_id: str) -> int:
        """
        Count a list call that could have shown a batch; return the number of such calls, this one included.

        :param batch_id: Id of the batch.
        """
        with self.lock:
            self._db.rows("UPDATE batches SET list_reads = list_reads + 1 WHERE id = ?", batch_id)
            return int(self._db.value("SELECT list_reads FROM batches WHERE id = ?", batch_id))

    def update(self, batch_id: str, change: Callable[[BatchRecord], None]) -> BatchRecord | None:
        """
        Change the record of a batch under the lock; return it, or None where the batch does not exist.

        :param batch_id: Id of the batch.
        :param change: Changes the record in place.
        """
        with self.lock:
            record = self.batch(batch_id)
            if record is not None:
                change(record)
                statement = "UPDATE batches SET active = ?, record = ? WHERE id = ?"
                self._db.rows(statement, not record.has_ended, _encode(record), record.id)
        return record

    # Executions

    def attempts(self, custom_id: str, key: bytes) -> int:
        """
        Return how often a line was executed before.

        :param custom_id: Custom id of the line.
        :param key: Body key of the line.
        """
        query = "SELECT attempts FROM executions WHERE custom_id = ? AND body = ?"
        return int(self._db.value(query, custom_id, key) or 0)

    def commit_lines(
        self, batch_id: str, executed: Iterable[tuple[str, bytes, int]], change: Callable[[BatchRecord], None]
    ) -> None:
        """
        Record executed lines and the progress of their batch in one transaction; nothing for a batch that is gone.

        :param batch_id: Id of the batch.
        :param executed: `(custom_id, body key, 1 where it was billed)` for each line.
        :param change: Changes the batch's record in place.
        """
        with self._db.transaction():
            if self.update(batch_id, change) is not None:
                self._db.each(
                    "INSERT INTO executions VALUES (?, ?, 1, ?) ON CONFLICT DO UPDATE SET "
                    "attempts = attempts + 1, billed = billed + excluded.billed",
                    executed,
                )

    def repeated_executions(self) -> list[dict[str, Any]]:
        """Return the lines that were executed more than once: custom_id, body (hash), attempts, billed."""
        query = "SELECT custom_id, hex(body), attempts, billed FROM executions WHERE attempts > 1 ORDER BY custom_id"
        rows = self._db.rows(query)
        return [{"custom_id": r[0], "body": r[1].lower(), "attempts": r[2], "billed": r[3]} for r in rows]

    def execution_totals(self) -> dict[str, int]:
        """Return the numbers of distinct lines, executions, billed executions, and lines billed again."""
        names = ("distinct_lines", "executed", "billed", "billed_again")
        (row,) = self._db.rows(
            "SELECT count(*), coalesce(sum(attempts), 0), coalesce(sum(billed), 0), "
            "coalesce(sum(max(billed - 1, 0)), 0) FROM executions"
        )
        return dict(zip(names, row, strict=True))

    # Faults

    def set_fault(self, rule: FaultRule) -> FaultRule:
        """
        Add a fault rule, or replace the one with the same id; return it with its id.

        :param rule: Rule; one without an id gets one.
        """
        with self.lock:
            named = self.book.add(rule)
            statement = "INSERT OR REPLACE INTO faults (id, rule, matches) VALUES (?, ?, 0)"
            self._db.rows(statement, named.id, named.model_dump_json(exclude_none=True))
        return named

    def remove_faults(self, rule_id: str | None = None) -> None:
        """
        Remove one fault rule, or all.

        :param rule_id: Id of the rule; None for all.
        """
        with self.lock:
            self.book.remove(rule_id)
            self._db.rows("DELETE FROM faults WHERE id = ?1 OR ?1 IS NULL", rule_id)

    def faults(self) -> list[tuple[FaultRule, int]]:
        """Return the fault rules, each with the number of its matches."""
        with self.lock:
            return [(rule, self.book.matches[rule.id]) for rule in self.book.rules]

    def faults_of(self, kinds: frozenset[str]) -> Sequence[FaultRule]:
        """
        Return the fault rules of some kinds, oldest first.

        :param kinds: Kinds of rules.
        """
        with self.lock:
            return self.book.of(kinds)

    def hit(self, rule: FaultRule) -> bool:
        """
        Count a match of a fault rule, and say whether the rule acts on it.

        :param rule: Rule whose selectors match.
        """
        with self.lock:
            acts = self.book.hit(rule)
            self._db.rows("UPDATE faults SET matches = ? WHERE id = ?", self.book.matches.get(rule.id, 0), rule.id)
        return acts
