"""Keep the journal of all API calls, in the store's database."""

from __future__ import annotations

from typing import Any

from airflow_provider_batch.emulator.batches.database import Database


class CallJournal:
    """
    Calls that the emulator has got, whatever it answered.

    :param database: Database of the store.
    """

    def __init__(self, database: Database) -> None:
        self._db = database

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
        statement = "INSERT INTO calls (time, method, path, status, seconds, fault) VALUES (?, ?, ?, ?, ?, ?)"
        self._db.rows(statement, time, method, path, status, seconds, fault)

    def calls(self) -> list[dict[str, Any]]:
        """Return the journal, oldest first: time, method, path, status, seconds, fault."""
        names = ("time", "method", "path", "status", "seconds", "fault")
        rows = self._db.rows(f"SELECT {', '.join(names)} FROM calls ORDER BY seq")
        return [dict(zip(names, row, strict=True)) for row in rows]

    def uploads(self) -> int:
        """Count the uploads that succeeded, those whose answer was lost included."""
        return int(
            self._db.value(
                "SELECT count(*) FROM calls WHERE method = 'POST' AND status = 200 "
                "AND (path = '/v1/files' OR path LIKE '/v1/uploads/%/complete')"
            )
        )
