"""One SQLite file with one connection, which a lock guards."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class Database:
    """
    The connection of one emulator; each method can be called from any thread.

    :param path: Path of the SQLite file.
    :param tables: Statements that create what is missing.
    """

    def __init__(self, path: Path, tables: str) -> None:
        self.lock = threading.RLock()
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=OFF")
        self._connection.executescript(tables)

    def close(self) -> None:
        """Close the connection."""
        with self.lock:
            self._connection.close()

    def rows(self, statement: str, *values: Any) -> list[Any]:
        """
        Run a statement; return its rows.

        :param statement: SQL.
        :param values: Values of its placeholders.
        """
        with self.lock:
            return self._connection.execute(statement, values).fetchall()

    def value(self, statement: str, *values: Any) -> Any:
        """
        Run a statement; return the first value of its first row, None without rows.

        :param statement: SQL.
        :param values: Values of its placeholders.
        """
        return next((row[0] for row in self.rows(statement, *values)), None)

    def each(self, statement: str, values: Iterable[tuple[Any, ...]]) -> None:
        """
        Run a statement for each tuple of values.

        :param statement: SQL.
        :param values: Values of its placeholders.
        """
        with self.lock:
            self._connection.executemany(statement, values)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Hold the lock; commit at the end, and roll back on an error."""
        with self.lock, self._connection:
            self._connection.execute("BEGIN")
            yield
