"""
Run a query over an Airflow connection with a DB-API hook (`apache-airflow-providers-common-sql`).

Rows are fetched from the server in chunks if the driver can do that: with a named cursor for psycopg2 and psycopg, and
an `SSCursor` for MySQLdb and PyMySQL. Other drivers stream by themselves, or keep the whole result in memory.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from typing import Any

from airflow_provider_batch.exceptions import ConfigurationError
from airflow_provider_batch.sources.query import Query, Rows

#: Name of the server-side cursor.
CURSOR = "openai_batch"
#: Rows of the first fetch: a named cursor has no column names before it.
_FIRST_ROWS = 256


def query(text: str, conn_id: str | None, parameters: Sequence[Any] | Mapping[str, Any] | None = None) -> Query:
    """
    Return a query that runs over an Airflow connection when its rows are read.

    :param text: SQL text.
    :param conn_id: Id of the Airflow connection.
    :param parameters: Values for the placeholders of the query; None for none.
    :raises ConfigurationError: The text or the connection id is missing.
    """
    if not isinstance(text, str) or not text.strip():
        raise ConfigurationError("sql: expected a query, found none.")
    if not conn_id:
        raise ConfigurationError("sql needs sql_conn_id, the id of the connection for the query.")

    @contextmanager
    def run() -> Iterator[Rows]:
        hook = _hook(conn_id)
        with closing(hook.get_conn()) as connection, closing(_cursor(connection)) as cursor:
            with suppress(AttributeError, TypeError):
                cursor.arraysize = _FIRST_ROWS  # some drivers fetch so many rows at a time
            cursor.execute(text, parameters) if parameters else cursor.execute(text)
            yield _CursorRows(cursor)

    return Query(text, conn_id, run, parameters)


class _CursorRows:
    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor
        self._first: Sequence[Sequence[Any]] | None = None
        if cursor.description is None:  # a named cursor has it after the first fetch; a statement without rows never
            self._first = list(cursor.fetchmany(_FIRST_ROWS))

    @property
    def names(self) -> Sequence[str]:
        return [column[0] for column in self._cursor.description or ()]

    def fetch(self, count: int) -> Sequence[Sequence[Any]]:
        first, self._first = self._first, None
        return first if first else list(self._cursor.fetchmany(count))


def _hook(conn_id: str) -> Any:
    from airflow.providers.common.compat.sdk import BaseHook

    try:
        connection = BaseHook.get_connection(conn_id)
        hook = connection.get_hook()  # type: ignore[no-untyped-call]
    except Exception as error:  # a missing connection, an unknown type, a provider that is not installed
        raise ConfigurationError(
            f"sql_conn_id: {conn_id!r} cannot be used ({type(error).__name__}: {error})."
        ) from error
    if not callable(getattr(hook, "get_conn", None)) or not hasattr(hook, "placeholder"):
        raise ConfigurationError(
            f"sql_conn_id: expected a connection to a database, found {conn_id!r}, which is of type "
            f"{connection.conn_type!r}."
        )
    return hook


def _cursor(connection: Any) -> Any:
    """Return a server-side cursor if the driver has one, else a plain cursor."""
    driver = type(connection).__module__.partition(".")[0]
    if driver in ("psycopg2", "psycopg"):
        return connection.cursor(name=CURSOR)
    if driver in ("MySQLdb", "pymysql"):
        return connection.cursor(importlib.import_module(f"{driver}.cursors").SSCursor)
    return connection.cursor()
