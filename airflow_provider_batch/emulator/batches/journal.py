"""Keep the journal of all API calls, in the store's database."""

from __future__ import annotations

import sqlite3
from threading import RLock
from typing import Any


class CallJournal:
    """
    Calls that the emulator has got, whatever it answered.

    :param database: Connection of the store.
    :param lock: Guards the connection.
    """

    def __init__(self, database: sqlite3.Connection, lock: RLock) -> None:
        self._db, self._lock = database, lock

    def add(self, time: float, method: str, path: str, status: int, seconds: float, fault: str | None) -> None:
        """
        Add a call to the journal.

        :param time: Start, in epoch seconds.
        :param method: HTTP method.
        :param path: Path of the URL.
        :param status: HTTP status; 0 where none was sent.
        :param seconds: Duration.
        :param fault: Kinds of the faults that changed the call, separated by commas; None without faults.
        """
        with self._lock:
            self._db.execute(
                "INSERT INTO calls (time, method, path, status, seconds, fault) VALUES (?, ?, ?, ?, ?, ?)",
                (time, method, path, status, seconds, fault),
            )

    def calls(self) -> list[dict[str, Any]]:
        """Return the journal, oldest first: time, method, path, status, seconds, fault."""
        names = ("time", "method", "path", "status", "seconds", "fault")
        with self._lock:
            rows = self._db.execute(f"SELECT {', '.join(names)} FROM calls ORDER BY seq").fetchall()
        return [dict(zip(names, row, strict=True)) for row in rows]

    def uploads(self) -> int:
        """Count the uploads that succeeded, those whose answer was lost included."""
        query = (
            "SELECT count(*) FROM calls WHERE method = 'POST' AND status = 200 "
            "AND (path = '/v1/files' OR path LIKE '/v1/uploads/%/complete')"
        )
        with self._lock:
            return int(self._db.execute(query).fetchone()[0])
