"""Queries over Airflow connections: chunks from the server, and one clear error for a connection that is none."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from airflow_provider_batch.exceptions import ConfigurationError, SourceError
from airflow_provider_batch.sources.open_source import open_source
from airflow_provider_batch.utils import sql_source
from tests.sources.test_source import rows_of

Define = Callable[..., str]


@pytest.fixture
def database(tmp_path: Path, connection: Define) -> Iterator[sqlite3.Connection]:
    """A database on disk, and the connection `wh` to it."""
    connection("wh", conn_type="sqlite", host=str(tmp_path / "a.db"), password=None)
    with closing(sqlite3.connect(tmp_path / "a.db")) as opened:
        opened.execute("CREATE TABLE t (id INTEGER, text TEXT)")
        opened.executemany("INSERT INTO t VALUES (?, ?)", [(number, f"t{number}") for number in range(2_000)])
        opened.commit()
        yield opened


@pytest.mark.usefixtures("database")
class TestQueries:
    def test_give_the_rows_of_a_database(self) -> None:
        with open_source(sql_source.query("SELECT * FROM t ORDER BY id", "wh")) as source:
            assert rows_of(source) == [{"id": number, "text": f"t{number}"} for number in range(2_000)]

    @pytest.mark.parametrize(
        ("text", "parameters"),
        [("SELECT id FROM t WHERE id < ?", [2]), ("SELECT id FROM t WHERE id < :most", {"most": 2})],
    )
    def test_take_parameters(self, text: str, parameters: Any) -> None:
        with open_source(sql_source.query(text, "wh", parameters)) as source:
            assert rows_of(source) == [{"id": 0}, {"id": 1}]

    def test_without_rows_keep_their_columns(self) -> None:
        with open_source(sql_source.query("SELECT id, text FROM t WHERE id < 0", "wh")) as source:
            assert source.names == ["id", "text"]

    def test_that_are_no_select_are_refused(self) -> None:
        with pytest.raises(SourceError, match="found a statement without a result"):
            _ = open_source(sql_source.query("UPDATE t SET id = 1", "wh")).schema

    def test_hold_no_secret(self, connection: Define) -> None:
        connection("wh", conn_type="sqlite", host="x", password="sk-hidden")
        assert "sk-hidden" not in repr(sql_source.query("SELECT 1", "wh")) + repr(
            open_source(sql_source.query("SELECT 1", "wh")).listing
        )


class TestConnections:
    def test_that_are_not_defined_are_named(self) -> None:
        with pytest.raises(ConfigurationError, match="sql_conn_id: 'nowhere' cannot be used"):
            _ = open_source(sql_source.query("SELECT 1", "nowhere")).schema

    def test_that_are_no_database_are_refused(self, connection: Define) -> None:
        connection("openai_default")
        with pytest.raises(ConfigurationError, match=r"expected a connection to a database, .* of type 'openai_batch'"):
            _ = open_source(sql_source.query("SELECT 1", "openai_default")).schema

    @pytest.mark.parametrize("conn_id", [None, ""])
    def test_have_to_be_named(self, conn_id: str | None) -> None:
        with pytest.raises(ConfigurationError, match="sql needs sql_conn_id"):
            sql_source.query("SELECT 1", conn_id)

    @pytest.mark.parametrize("text", ["", "  "])
    def test_need_a_query(self, text: str) -> None:
        with pytest.raises(ConfigurationError, match="sql: expected a query, found none"):
            sql_source.query(text, "wh")


class Cursor:
    """A cursor that says what it was made with, and like a server-side one knows no columns before the first fetch."""

    def __init__(self, made_with: Any) -> None:
        self.made_with, self.description, self.closed = made_with, None, False
        self._rows = [(number,) for number in range(1_000)]
        self.fetched: list[int] = []

    def execute(self, text: str, *parameters: Any) -> None:
        pass

    def fetchmany(self, count: int) -> list[Any]:
        self.description = [("x", None)]  # type: ignore[assignment]
        self.fetched.append(count)
        taken, self._rows = self._rows[:count], self._rows[count:]
        return taken

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize(
    "driver", ["psycopg2.extensions", "psycopg", "MySQLdb.connections", "pymysql.connections", "other"]
)
def test_the_result_stays_on_the_server_where_the_driver_can(driver: str, monkeypatch: pytest.MonkeyPatch) -> None:
    root = driver.partition(".")[0]
    cursors = ModuleType(f"{root}.cursors")
    cursors.SSCursor = "a streaming cursor"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, root, ModuleType(root))
    monkeypatch.setitem(sys.modules, f"{root}.cursors", cursors)
    made: list[Cursor] = []

    def cursor(self: Any, kind: Any = None, *, name: str | None = None) -> Cursor:
        made.append(Cursor(name or kind))
        return made[0]

    connected = type("Connection", (), {"__module__": driver, "cursor": cursor, "close": lambda self: None})()
    hook = type("Hook", (), {"get_conn": lambda self: connected})()
    monkeypatch.setattr(sql_source, "_hook", lambda conn_id: hook)
    with open_source(sql_source.query("SELECT x FROM t", "wh")) as source:
        assert [row["x"] for row in rows_of(source)] == list(range(1_000))
    expected = {"psycopg2": sql_source.CURSOR, "psycopg": sql_source.CURSOR, "other": None}
    assert made[0].made_with == expected.get(root, "a streaming cursor")
    assert made[0].fetched[0] < 1_000
    assert made[0].closed
