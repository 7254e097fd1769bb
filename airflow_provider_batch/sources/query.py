"""A SQL query as a source of rows; the caller opens the connection."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from airflow_provider_batch.sources.files.listing import SourceFile


class Rows(Protocol):
    """The rows of a running query: the methods of a Python database cursor (DB-API 2.0) that are used here."""

    @property
    def names(self) -> Sequence[str]:
        """Names of the columns, in order."""

    def fetch(self, count: int) -> Sequence[Sequence[Any]]:
        """
        Return the next rows; no rows at the end.

        :param count: Highest number of rows.
        """


@dataclass(frozen=True)
class Query:
    """
    A SQL query.

    :param text: SQL.
    :param conn_id: Id of the Airflow connection; holds no secret.
    :param run: Opens the connection and runs the query; its context manager closes both.
    :param parameters: Parameters of the query; None means that it has none.
    """

    text: str
    conn_id: str
    run: Callable[[], AbstractContextManager[Rows]]
    parameters: Sequence[Any] | Mapping[str, Any] | None = None

    @property
    def listed(self) -> SourceFile:
        """Connection, text and parameters for the fingerprint of a job; the content of the tables is not part of it."""
        asked = msgspec.json.encode([self.text, self.parameters], order="sorted", enc_hook=repr)
        return SourceFile(self.uri, 0, hashlib.sha256(asked).hexdigest())

    @property
    def uri(self) -> str:
        """Name of the query in messages."""
        return f"query over connection '{self.conn_id}'"
