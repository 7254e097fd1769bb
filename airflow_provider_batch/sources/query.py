"""A SQL query as a source of rows: what a job needs to know of it. Who opens connections is not its business."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from airflow_provider_batch.sources.files.listing import SourceFile


class Rows(Protocol):
    """The rows of a query that runs: a cursor of the Python database API, as far as it is used."""

    @property
    def names(self) -> Sequence[str]:
        """The columns' names, in order."""

    def fetch(self, count: int) -> Sequence[Sequence[Any]]:
        """Return the next rows, ``count`` at most; none at the end."""


@dataclass(frozen=True)
class Query:
    """
    A query.

    :param text: SQL.
    :param conn_id: Name of the connection; says where, and holds no secret.
    :param run: Opens the connection and runs the query; what it gives is closed by the context manager.
    """

    text: str
    conn_id: str
    run: Callable[[], AbstractContextManager[Rows]]
    parameters: Sequence[Any] | Mapping[str, Any] | None = None

    @property
    def listed(self) -> SourceFile:
        """What a fingerprint is made of: connection, text and parameters. What the tables hold is no part of it."""
        asked = msgspec.json.encode([self.text, self.parameters], order="sorted", enc_hook=repr)
        return SourceFile(self.uri, 0, hashlib.sha256(asked).hexdigest())

    @property
    def uri(self) -> str:
        """What stands for the query in messages."""
        return f"query over connection '{self.conn_id}'"
