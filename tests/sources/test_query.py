"""Queries as a table: read in chunks, typed by their values, on disk until the job has its shards."""

from __future__ import annotations

import datetime as dt
import sqlite3
import subprocess
import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_batch.api.endpoints import Endpoint
from airflow_provider_batch.exceptions import SourceError, StorageError
from airflow_provider_batch.requests.prepare import RequestSpec, prepare
from airflow_provider_batch.sources.filters import Selection
from airflow_provider_batch.sources.open_source import open_source
from airflow_provider_batch.sources.query import Query


class Rows:
    """Rows that come from Python, a few at a time."""

    def __init__(self, names: Sequence[str], rows: Sequence[Sequence[Any]], most: int = 10**9) -> None:
        self.names, self._rows, self._most = names, list(rows), most

    def fetch(self, count: int) -> Sequence[Sequence[Any]]:
        count = min(count, self._most)
        taken, self._rows = self._rows[:count], self._rows[count:]
        return taken


def query(rows: Sequence[Sequence[Any]], names: Sequence[str] = ("x",), most: int = 10**9) -> Query:
    @contextmanager
    def run() -> Iterator[Rows]:
        yield Rows(names, rows, most)

    return Query("SELECT x", "wh", run)


def values(given: Sequence[Any], most: int = 10**9) -> tuple[pa.DataType, list[Any]]:
    with open_source(query([(value,) for value in given], most=most)) as source:
        found = [value for batch in source.batches() for value in batch.rows.column("x").to_pylist()]
        return source.schema.field("x").type, found


MOMENT = dt.datetime(2026, 11, 1, 9, 30)


class TestTypes:
    @pytest.mark.parametrize(
        ("given", "kind", "expected"),
        [
            ([1, None, 2], pa.int64(), None),
            ([1, 2**63], pa.decimal128(19, 0), [Decimal(1), Decimal(2**63)]),
            ([1, 0.5], pa.float64(), [1.0, 0.5]),
            ([Decimal("1.5"), Decimal("100.25")], pa.decimal128(5, 2), [Decimal("1.50"), Decimal("100.25")]),
            ([1, Decimal("1.5")], None, [Decimal("1.0"), Decimal("1.5")]),
            (["a", None], pa.string(), None),
            ([b"a", memoryview(b"b"), bytearray(b"c")], pa.binary(), [b"a", b"b", b"c"]),
            ([True, False], pa.bool_(), None),
            ([dt.date(2026, 11, 1)], pa.date32(), None),
            ([dt.time(9, 30)], pa.time64("us"), None),
            ([MOMENT], pa.timestamp("us"), None),
            ([MOMENT.replace(tzinfo=dt.UTC)], pa.timestamp("us", "UTC"), None),
            ([dt.timedelta(hours=1)], pa.duration("us"), None),
            ([uuid.UUID(int=1)], pa.string(), [str(uuid.UUID(int=1))]),
            ([{"a": [1]}, [1, "x"]], pa.string(), ['{"a":[1]}', '[1,"x"]']),
            ([None, None], pa.string(), None),
        ],
    )
    @pytest.mark.parametrize("most", [1, 1000])
    def test_follow_the_values_over_all_chunks(
        self, given: list[Any], kind: pa.DataType | None, expected: list[Any] | None, most: int
    ) -> None:
        found, rows = values(given, most)
        assert kind is None or found == kind
        assert rows == (given if expected is None else expected)

    @pytest.mark.parametrize(
        ("given", "row", "expected"),
        [
            ([1, 2, "three"], 2, "expected int64, as in earlier rows, found str 'three'"),
            (["a", 1], 1, "expected string, .* found int '1'"),
            ([dt.date(2026, 1, 1), "2026"], 1, r"expected date32\[day\], .* found str '2026'"),
            ([MOMENT, MOMENT.replace(tzinfo=dt.UTC)], 1, r"expected timestamp\[us\], .* found datetime"),
            ([None, b"a", "a"], 2, "expected binary, .* found str"),
            (
                [None, dt.time(9, tzinfo=dt.UTC)],
                1,
                "expected a value of a type that Arrow knows, .* found time '09:00:00.0",
            ),
            ([1, object()], 1, "a object is not a value of a table. Convert it to text with CAST"),
        ],
    )
    @pytest.mark.parametrize("most", [1, 1000])
    def test_that_do_not_go_together_name_row_and_column(
        self, given: list[Any], row: int, expected: str, most: int
    ) -> None:
        with pytest.raises(SourceError, match=rf"query over connection 'wh', row {row}, column 'x': {expected}"):
            values(given, most)

    @settings(max_examples=60, deadline=None)
    @given(
        st.lists(st.none() | st.integers(-(2**40), 2**40) | st.floats(-1e6, 1e6) | st.just(None), max_size=12),
        st.integers(1, 4),
    )
    def test_numbers_are_never_changed_by_widening(self, given: list[Any], most: int) -> None:
        assert values(given, most)[1] == given


class TestReading:
    def test_rows_are_numbered_filtered_and_projected_like_those_of_a_file(self) -> None:
        rows = [(number, f"t{number}") for number in range(1_000)]
        with open_source(query(rows, ("id", "text"), most=64)) as source:
            picked = source.select(Selection.of([("id", ">", 990)], None, 2))
            batches = list(picked.batches(["text"]))
        assert [value for batch in batches for value in batch.values(("text",))] == ["t991", "t992"]
        assert [row for batch in batches for row in batch.row_numbers] == [991, 992]

    def test_a_query_without_rows_keeps_its_columns(self) -> None:
        with open_source(query([], ("id", "text"))) as source:
            assert source.names == ["id", "text"]
            assert list(source.batches()) == []

    def test_it_runs_once_and_leaves_nothing_behind(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        runs = 0

        @contextmanager
        def run() -> Iterator[Rows]:
            nonlocal runs
            runs += 1
            yield Rows(["x"], [(1,), (2,)])

        with open_source(Query("SELECT x", "wh", run)) as source:
            assert runs == 0
            assert source.names == ["x"]
            assert sum(len(batch) for batch in source.select(Selection(limit=1)).batches()) == 1
            assert sum(len(batch) for batch in source.batches()) == 2
            assert list(tmp_path.iterdir()) != []
        assert runs == 1
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        ("asked", "fetched"),
        [({"limit": 5}, 256), ({"limit": 0}, 256), ({"limit": 5, "sample": 0.9}, 5000), ({}, 5000)],
    )
    def test_rows_past_a_limit_stay_where_they_are(self, tmp_path: Path, asked: dict[str, Any], fetched: int) -> None:
        rows = Rows(["x"], [(number,) for number in range(5000)])

        @contextmanager
        def run() -> Iterator[Rows]:
            yield rows

        spec = RequestSpec(Endpoint.COMPLETIONS, {"model": "m", "prompt": "n {x}"}, **asked)
        with open_source(Query("SELECT x", "wh", run)) as source:
            made = prepare(source, spec, tmp_path, lambda shard: None)
        assert made.row_count == asked.get("limit", 5000)
        assert len(rows.fetch(10_000)) == 5000 - fetched

    def test_all_rows_are_there_after_a_look_at_the_first(self) -> None:
        with open_source(query([(number,) for number in range(5000)])) as source:
            assert sum(len(batch) for batch in source.select(Selection(limit=1)).batches()) == 1
            assert sum(len(batch) for batch in source.batches()) == 5000

    def test_two_columns_of_one_name_are_refused(self) -> None:
        with pytest.raises(SourceError, match=r"column 'x': expected one column of this name, .* with AS"):
            _ = open_source(query([], ("x", "x"))).schema

    def test_a_statement_without_rows_is_refused(self) -> None:
        with pytest.raises(SourceError, match=r"found a statement without a result\. Write a SELECT"):
            _ = open_source(query([], ())).schema

    @pytest.mark.parametrize(
        ("name", "expected"), [("ProgrammingError", SourceError), ("OperationalError", StorageError)]
    )
    def test_what_the_driver_raises_says_whether_trying_again_can_help(self, name: str, expected: type) -> None:
        @contextmanager
        def run() -> Iterator[Rows]:
            raise getattr(sqlite3, name)("no such table: tickets")
            yield

        with pytest.raises(expected, match=f"query over connection 'wh': .*{name}: no such table: tickets"):
            _ = open_source(Query("SELECT x", "wh", run)).schema

    def test_the_listing_is_text_parameters_and_connection(self) -> None:
        def listing(*, text: str = "SELECT 1", conn_id: str = "wh", parameters: Any = None) -> Any:
            return open_source(Query(text, conn_id, lambda: pytest.fail("not run"), parameters)).listing

        assert listing() == listing()
        others = [listing(text="SELECT 2"), listing(conn_id="other"), listing(parameters=[1])]
        assert all(listing() != other for other in others)
        assert listing(parameters={"a": 1, "b": 2}) == listing(parameters={"b": 2, "a": 1})


def sqlite_query(path: Path, text: str) -> Query:
    @contextmanager
    def run() -> Iterator[Rows]:
        with closing(sqlite3.connect(path)) as connection, closing(connection.execute(text)) as cursor:
            rows = Rows([column[0] for column in cursor.description], [])
            rows.fetch = cursor.fetchmany  # type: ignore[method-assign]
            yield rows

    return Query(text, "wh", run)


def test_a_database_becomes_shards(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "a.db")) as connection:
        connection.execute("CREATE TABLE t (id INTEGER, text TEXT)")
        connection.executemany("INSERT INTO t VALUES (?, ?)", [(number, f"t{number}") for number in range(5_000)])
        connection.commit()
    spec = RequestSpec(Endpoint.RESPONSES, {"model": "m", "input": "{text}"}, custom_id="{id}")
    with open_source(sqlite_query(tmp_path / "a.db", "SELECT * FROM t ORDER BY id")) as source:
        prepared = prepare(source, spec, tmp_path / "out", lambda shard: None)
    assert prepared.row_count == 5_000
    last = prepared.shards[0].lines.read_bytes().splitlines()[-1]
    assert last.startswith(b'{"custom_id":"4999"')


MEMORY = """
import sqlite3, sys
from contextlib import closing, contextmanager
from pathlib import Path
from tests.sources.test_query import sqlite_query
from airflow_provider_batch.api.endpoints import Endpoint
from airflow_provider_batch.requests.prepare import RequestSpec, prepare
from airflow_provider_batch.sources.open_source import open_source

rows = int(sys.argv[1])
numbers = f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})"
text = f"{numbers} SELECT i, hex(zeroblob(500)) AS text FROM n"
spec = RequestSpec(Endpoint.RESPONSES, {"model": "m", "input": "{text}"}, carry=["i"])
with open_source(sqlite_query(Path(":memory:"), text)) as source:
    prepared = prepare(source, spec, Path(sys.argv[2]), lambda shard: (shard.lines.unlink(), shard.rows.unlink()))
assert prepared.row_count == rows
print(int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) // 1024)
"""


def test_memory_does_not_grow_with_the_rows_of_a_query(tmp_path: Path) -> None:
    def peak(rows: int) -> int:
        command = [sys.executable, "-c", MEMORY, str(rows), str(tmp_path / str(rows))]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        return int(done.stdout)

    small, large = peak(20_000), peak(200_000)  # 20 MB and 200 MB of text
    print(small, large)
    assert large < small + 60
