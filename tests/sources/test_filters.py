"""Filters, samples and limits: which rows are left, whatever the format, and what is not read for them."""

from __future__ import annotations

import datetime as dt
import json
import operator
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_batch.exceptions import ConfigurationError, SourceError
from airflow_provider_batch.sources.files import csv, jsonl, parquet
from airflow_provider_batch.sources.files.parquet_statistics import may_be_true
from airflow_provider_batch.sources.filters import Selection
from airflow_provider_batch.sources.open_source import open_source
from airflow_provider_batch.sources.source import Source
from tests.sources.test_source import write_csv, write_jsonl

ROWS = [
    {"id": number, "lang": ["de", "en", None][number % 3], "score": number / 2, "meta": {"n": number % 5}}
    for number in range(30)
]


def ids(source: Source, filters: Any = None, sample: float | None = None, limit: int | None = None) -> list[int]:
    selected = source.select(Selection.of(filters, sample, limit))
    return [int(value) for batch in selected.batches(["id"]) for value in batch.rows.column("id").to_pylist()]


@pytest.fixture(params=["rows", "parquet", "jsonl"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Source:
    if request.param == "rows":
        return open_source(ROWS)
    if request.param == "parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "a.parquet", row_group_size=7)
        return open_source(str(tmp_path / "a.parquet"))
    write_jsonl(tmp_path / "a.jsonl", ROWS)
    return open_source(str(tmp_path / "a.jsonl"))


class TestFilters:
    @pytest.mark.parametrize(
        ("filters", "expected"),
        [
            ([("id", "=", 4)], [4]),
            ([("id", "==", 4)], [4]),
            ([("id", "<", 2)], [0, 1]),
            ([("id", "<=", 2)], [0, 1, 2]),
            ([("id", ">", 27)], [28, 29]),
            ([("id", ">=", "28")], [28, 29]),
            ([("id", "in", [29, 3, 99])], [3, 29]),
            ([("id", "in", {"29", "3"})], [3, 29]),
            ([("id", "in", list(range(28, 99)))], [28, 29]),
            ([("id", "in", [])], []),
            ([("id", "not in", list(range(1, 30)))], [0]),
            ([("lang", "=", "de"), ("id", "<", 5)], [0, 3]),
            ([("lang", "!=", "de"), ("id", "<", 5)], [1, 4]),
            ([("lang", "not in", ["de"]), ("id", "<", 5)], [1, 4]),
            ([("lang", "is null"), ("id", "<", 6)], [2, 5]),
            ([("lang", "IS NOT  NULL", None), ("id", "<", 4)], [0, 1, 3]),
            ([("score", ">", Decimal("14.2"))], [29]),
            ([("score", "=", 7)], [14]),
            ([[("id", "=", 1)], [("id", ">", 27), ("lang", "=", "en")]], [1, 28]),
            ([("meta.n", "=", 4), ("id", "<", 10)], [4, 9]),
            ([], list(range(30))),
        ],
    )
    def test_leave_the_rows_they_say(self, source: Source, filters: Any, expected: list[int]) -> None:
        assert ids(source, filters) == expected

    def test_a_row_keeps_its_number_and_its_line(self, source: Source) -> None:
        batches = list(source.select(Selection.of([("id", "in", [3, 5, 29])])).batches(["id"]))
        assert [row for batch in batches for row in batch.row_numbers] == [3, 5, 29]
        assert batches[0].place(1)["row"] == 5
        assert batches[0].place(1)["line"] == (6 if batches[0].raw else None)
        assert [value for batch in batches for value in batch.values(("id",))] == [3, 5, 29]

    def test_their_columns_are_not_given_with_the_others(self, source: Source) -> None:
        (batch,) = source.select(Selection.of([("lang", "=", "de")], None, 1)).batches(["id"])
        assert batch.rows.schema.names == ["id"]

    @pytest.mark.parametrize(
        ("filters", "expected"),
        [
            ([("lnag", "=", "de")], r"filters: 'lnag' is not a column. Did you mean 'lang'"),
            (
                [("id", "=", "x")],
                r"filters: id = 'x': expected a value that can be compared with column 'id', .* int64",
            ),
            ([("meta", "=", "x")], r"compared with column 'meta', which is struct"),
            ([("id", "=", dt.date(2026, 1, 1))], r"compared with column 'id', which is int64"),
            ([("id", "=", True)], r"compared with column 'id', which is int64"),
        ],
    )
    def test_that_cannot_be_right_are_one_clear_error(self, source: Source, filters: Any, expected: str) -> None:
        with pytest.raises(ConfigurationError, match=expected):
            ids(source, filters)

    @pytest.mark.parametrize(
        ("filters", "expected"),
        [
            ("lang = de", r"expected \(column, operator, value\), such as \('lang', '=', 'de'\), in a list"),
            (["lang", "=", "de"], r"expected .* in a list or in lists of them, found \['lang'"),
            ([("lang", "like", "d%")], r"expected one of =, !=, .*, found 'like'"),
            ([("lang",)], r"expected \(column, operator, value\)"),
            ([("lang", "=")], r"expected \(column, operator, value\)"),
            ([("lang", "=", None)], r"no value equals null; write \('lang', 'is null'\)"),
            ([("lang", "in", "de")], r"'in' takes a list of values"),
            ([("lang", "in", ["de", 1])], r"expected values of one kind"),
            ([("lang", "is null", 1)], r"'is null' takes no value"),
            ([("lang", "=", {"a": 1})], r"a column cannot be compared with a dict"),
            ([[]], r"expected \(column, operator, value\)"),
        ],
    )
    def test_that_cannot_be_read_are_one_clear_error(self, filters: Any, expected: str) -> None:
        with pytest.raises(ConfigurationError, match=f"filters: {expected}"):
            Selection.of(filters)


def test_a_set_of_values_has_one_order() -> None:
    wanted = {f"v{number}" for number in range(50)}
    (group,) = Selection.of([("x", "in", wanted)]).groups
    assert list(group[0].values) == sorted(wanted)


class TestKindsOfValues:
    @pytest.mark.parametrize(
        ("values", "wanted"),
        [
            ([dt.date(2026, 1, 1), dt.date(2026, 1, 2)], "2026-01-02"),
            ([dt.date(2026, 1, 1), dt.date(2026, 1, 2)], dt.date(2026, 1, 2)),
            ([dt.datetime(2026, 1, 1), dt.datetime(2026, 1, 2)], "2026-01-02"),
            ([dt.datetime(2026, 1, 1), dt.datetime(2026, 1, 2)], dt.date(2026, 1, 2)),
            ([dt.datetime(2026, 1, 1, tzinfo=dt.UTC), dt.datetime(2026, 1, 2, tzinfo=dt.UTC)], "2026-01-02T00:00:00Z"),
            ([dt.datetime(2026, 1, 1, tzinfo=dt.UTC), dt.datetime(2026, 1, 2, tzinfo=dt.UTC)], "2026-01-02"),
            ([Decimal("1.50"), Decimal("2.50")], "2.5"),
            ([Decimal("1.50"), Decimal("2.50")], 2.5),
            ([b"a", b"b"], b"b"),
            ([False, True], True),
            ([False, True], "true"),
            ([dt.time(9), dt.time(10)], "10:00:00"),
        ],
    )
    def test_are_compared_as_what_the_column_is(self, tmp_path: Path, values: list[Any], wanted: Any) -> None:
        pq.write_table(pa.table({"id": [0, 1], "x": values}), tmp_path / "a.parquet")
        assert ids(open_source(str(tmp_path / "a.parquet")), [("x", "=", wanted)]) == [1]
        assert ids(open_source(str(tmp_path / "a.parquet")), [("x", ">=", wanted)]) == [1]

    @pytest.mark.parametrize("kind", [pa.dictionary(pa.int8(), pa.string()), pa.string_view(), pa.large_string()])
    def test_text_is_text_however_it_is_kept(self, tmp_path: Path, kind: pa.DataType) -> None:
        pq.write_table(pa.table({"id": [0, 1], "x": pa.array(["a", "b"]).cast(kind)}), tmp_path / "a.parquet")
        assert ids(open_source(str(tmp_path / "a.parquet")), [("x", "=", "b")]) == [1]

    def test_text_is_read_as_the_number_or_date_it_is_compared_with(self, tmp_path: Path) -> None:
        rows = [{"id": "0", "n": " 9", "day": "2026-01-09"}, {"id": "1", "n": "10.5", "day": "2026-01-10"}]
        write_csv(tmp_path / "a.csv", rows)
        source = open_source(str(tmp_path / "a.csv"))
        assert ids(source, [("n", ">", 9)]) == [1]
        assert ids(source, [("n", "<", 9.5)]) == [0]
        assert ids(source, [("day", ">", dt.date(2026, 1, 9))]) == [1]
        assert ids(source, [("day", "=", "2026-01-09")]) == [0]

    @pytest.mark.parametrize(
        ("values", "kind", "filters", "expected"),
        [
            ([1, 2**63, 2**64 - 1], pa.uint64(), [("x", ">", 5)], [1, 2]),
            ([1, 2**63, 2**64 - 1], pa.uint64(), [("x", "=", 2**64 - 1)], [2]),
            ([1, 2**63, 2**64 - 1], pa.uint64(), [("x", ">", -1)], [0, 1, 2]),
            ([1, 2**63, 2**64 - 1], pa.uint64(), [("x", "in", [2**63, 2**64])], [1]),
            ([1, -(2**63)], pa.int64(), [("x", "<", 2**64)], [0, 1]),
            ([1, -(2**63)], pa.int64(), [("x", "=", 10**30)], []),
            ([1.5, 1e30], pa.float64(), [("x", ">", 10**20)], [1]),
            (["1", "99999999999999999999"], pa.string(), [("x", ">", 10**19)], [1]),
            ([1, 2], pa.int8(), [("x", "<", 1000)], [0, 1]),
            ([1, 2**60 + 1], pa.int64(), [("x", ">", 5.0)], [1]),
            ([1, 2], pa.int8(), [("x", "in", list(range(2, 1000)))], [1]),
            ([1, 2], pa.int8(), [("x", "not in", [1, *range(300, 400)])], [1]),
        ],
    )
    def test_whole_numbers_may_be_of_any_size(
        self, tmp_path: Path, values: list[Any], kind: pa.DataType, filters: Any, expected: list[int]
    ) -> None:
        column = pa.array(values, kind)
        pq.write_table(pa.table({"x": column, "id": range(len(values))}), tmp_path / "a.parquet", row_group_size=1)
        assert ids(open_source(str(tmp_path / "a.parquet")), filters) == expected

    @pytest.mark.parametrize("value", [10**80, -(10**400), dt.time(1)])
    def test_that_cannot_be_compared_are_one_clear_error(self, tmp_path: Path, value: Any) -> None:
        pq.write_table(pa.table({"x": ["a"], "id": [0]}), tmp_path / "a.parquet")
        with pytest.raises(ConfigurationError, match="can be compared with column 'x'"):
            ids(open_source(str(tmp_path / "a.parquet")), [("x", "=", value)])

    def test_text_that_is_no_number_is_named_with_its_row(self, tmp_path: Path) -> None:
        write_csv(tmp_path / "a.csv", [{"id": "0", "n": "9"}, {"id": "1", "n": "nine"}])
        with pytest.raises(SourceError, match=r"a\.csv, line 3, row 1, column 'n': filters: n > 1: .*found 'nine'"):
            ids(open_source(str(tmp_path / "a.csv")), [("n", ">", 1)])


def test_values_of_several_kinds_in_a_column_are_named(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a.jsonl", [{"id": 1, "x": 1}, {"id": 2, "x": 1.5}, {"id": 3, "x": "one"}])
    source = open_source(str(tmp_path / "a.jsonl"))
    with pytest.raises(SourceError, match=r"a\.jsonl, line 3, row 2, column 'x': filters: x > 0: .* found 1 and 'one'"):
        ids(source, [("x", ">", 0)])
    assert ids(source, [("x", "is not null")]) == [1, 2, 3]


def conditions() -> st.SearchStrategy[tuple[str, str, Any]]:
    numbers = st.integers(-3, 3) | st.floats(-3, 3).map(lambda value: round(value, 1))
    return st.one_of(
        st.tuples(st.sampled_from(["i", "f"]), st.sampled_from(["=", "!=", "<", "<=", ">", ">="]), numbers),
        st.tuples(st.just("s"), st.sampled_from(["=", "!=", "<", "<=", ">", ">="]), st.text("abc", max_size=2)),
        st.tuples(st.just("i"), st.sampled_from(["in", "not in"]), st.lists(st.integers(-3, 3), max_size=3)),
        st.tuples(st.sampled_from(["i", "f", "s"]), st.sampled_from(["is null", "is not null"])),
    )


def is_true(row: dict[str, Any], condition: Any) -> bool:
    value, name = row[condition[0]], condition[1]
    if name.endswith("null"):
        return (value is None) == (name == "is null")
    if value is None:
        return False
    if name.endswith("in"):
        return (value in condition[2]) == (name == "in")
    compare = {"=": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt}
    return bool(compare.get(name, operator.ge)(value, condition[2]))


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(
        st.fixed_dictionaries(
            {
                "i": st.none() | st.integers(-3, 3),
                "f": st.none() | st.floats(-3, 3) | st.just(float("nan")),
                "s": st.none() | st.text("abc", max_size=2),
            }
        ),
        min_size=1,
        max_size=20,
    ),
    filters=st.lists(st.lists(conditions(), min_size=1, max_size=3), max_size=3),
)
def test_statistics_never_hide_a_row(tmp_path: Path, rows: list[dict[str, Any]], filters: Any) -> None:
    schema = pa.schema([("i", pa.int64()), ("f", pa.float64()), ("s", pa.string())])
    table = pa.Table.from_pylist(rows, schema).append_column("id", pa.array(range(len(rows))))
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=3)
    expected = [n for n, row in enumerate(rows) if not filters or any(all(is_true(row, c) for c in g) for g in filters)]
    assert ids(open_source(str(tmp_path / "a.parquet")), filters) == expected


@pytest.mark.parametrize("operator_", ["=", "<=", ">=", "in"])
@pytest.mark.parametrize("value", [1, 3, 4, 6])
def test_the_ends_of_a_row_group_belong_to_it(tmp_path: Path, operator_: str, value: int) -> None:
    pq.write_table(pa.table({"id": [1, 2, 3, 4, 5, 6]}), tmp_path / "a.parquet", row_group_size=3)
    compare = {"=": operator.eq, "<=": operator.le, ">=": operator.ge, "in": operator.eq}[operator_]
    filters = [("id", operator_, [value] if operator_ == "in" else value)]
    expected = [number for number in range(1, 7) if compare(number, value)]
    assert ids(open_source(str(tmp_path / "a.parquet")), filters) == expected


@pytest.mark.parametrize("order", [["a", "a.b", "id"], ["a.b", "a", "id"]])
def test_statistics_of_a_column_are_not_those_of_a_struct_that_is_spelled_alike(
    tmp_path: Path, order: list[str]
) -> None:
    columns = {"a": [{"b": n} for n in range(8)], "a.b": [100 + n for n in range(8)], "id": list(range(8))}
    pq.write_table(pa.table(columns).select(order), tmp_path / "a.parquet", row_group_size=2)
    assert ids(open_source(str(tmp_path / "a.parquet")), [("a.b", ">=", 106)]) == [6, 7]


def test_statistics_of_a_file_that_lacks_a_column_are_not_those_of_a_struct_in_its_place(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": [0, 1], "a.b": [None, 5]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"id": [2, 3], "a": [{"b": 5}, {"b": 6}]}), tmp_path / "b.parquet")
    assert ids(open_source(str(tmp_path)), [("a.b", "is null")]) == [0, 2, 3]


def test_statistics_that_hold_no_numbers_hide_no_row() -> None:
    """Some writers let NaN be the lowest or the highest value."""

    class Statistics:
        has_null_count, null_count, has_min_max, min, max = True, 0, True, float("nan"), 5.0

    ((condition,),) = Selection.of([("x", "=", 3.0)]).groups
    assert may_be_true(condition, Statistics(), pa.float64(), 10)


class Reads:
    """What is read of files, seen at the file system."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
        self.ranges: list[tuple[int, int]] = []
        original = pq.ParquetFile
        outer = self

        class Recorded:
            def __init__(self) -> None:
                self._file = path.open("rb")

            def read(self, size: int = -1) -> bytes:
                start = self._file.tell()
                data = self._file.read(size)
                outer.ranges.append((start, start + len(data)))
                return data

            def __getattr__(self, name: str) -> Any:
                return getattr(self._file, name)

        monkeypatch.setattr(pq, "ParquetFile", lambda handle, **options: original(Recorded(), **options))

    def touch(self, start: int, end: int) -> bool:
        return any(first < end and start < last for first, last in self.ranges)


def chunk_ranges(path: Path) -> dict[tuple[int, str], tuple[int, int]]:
    metadata = pq.ParquetFile(path).metadata
    found = {}
    for group in range(metadata.num_row_groups):
        for index in range(metadata.num_columns):
            column = metadata.row_group(group).column(index)
            start = column.dictionary_page_offset or column.data_page_offset
            found[group, column.path_in_schema] = (start, start + column.total_compressed_size)
    return found


class TestWhatIsNotRead:
    def test_column_chunks_and_row_groups_that_nothing_needs(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "a.parquet"
        # Larger than the footer's read-ahead, so that its end does not touch the chunks by chance.
        table = pa.table({name: [f"{name}{n:07d}" for n in range(40_000)] for name in ("a", "b", "c", "pad")})
        pq.write_table(table, path, row_group_size=10_000, use_dictionary=False, compression="none")
        chunks = chunk_ranges(path)
        reads = Reads(monkeypatch, path)
        source = open_source(str(path)).select(Selection.of([("b", ">=", "b0015000"), ("b", "<", "b0025000")]))
        numbers = [number for batch in source.batches(["a"]) for number in batch.row_numbers]
        assert numbers == list(range(15_000, 25_000))
        read = {key for key, (start, end) in chunks.items() if reads.touch(start + 8, end - 8)}
        assert read - {(3, "pad")} == {(1, "a"), (1, "b"), (2, "a"), (2, "b")}

    def test_fields_of_a_csv_file_that_nothing_needs(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write_csv(tmp_path / "a.csv", [{"id": "1", "b": "x", "c": "y"}])
        asked: list[list[str]] = []
        original = csv.pcsv.open_csv

        def opened(stream: Any, **options: Any) -> Any:
            asked.append(options["convert_options"].include_columns)
            return original(stream, **options)

        monkeypatch.setattr(csv.pcsv, "open_csv", opened)
        assert ids(open_source(str(tmp_path / "a.csv")), [("c", "=", "y")]) == [1]
        assert asked == [["id", "c"]]

    @pytest.mark.parametrize("ending", ["jsonl", "csv"])
    def test_the_rest_of_a_text_file_once_the_limit_is_reached(self, tmp_path: Path, ending: str) -> None:
        good = [{"id": str(n), "text": "x" * 400} for n in range(60_000)]
        path = tmp_path / f"a.{ending}"
        (write_jsonl if ending == "jsonl" else write_csv)(path, good)
        with path.open("ab") as file:
            file.write(b"\xff\xff this is neither UTF-8 nor a row\n")
        assert ids(open_source(str(path)), None, None, 3) == [0, 1, 2]
        assert ids(open_source(str(path)), [("id", "in", ["5", "7"])], None, 2) == [5, 7]
        with pytest.raises(SourceError):
            ids(open_source(str(path)))

    def test_footers_are_read_side_by_side(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        import threading

        for number in range(8):
            pq.write_table(pa.table({"id": [number]}), tmp_path / f"{number}.parquet")
        meeting, read = threading.Barrier(8), parquet._footer

        def footer(file: Any) -> Any:
            meeting.wait(timeout=600)
            return read(file)

        monkeypatch.setattr(parquet, "_footer", footer)
        assert ids(open_source(str(tmp_path))) == list(range(8))


class TestSample:
    def test_is_the_same_at_every_attempt_and_of_the_size_asked_for(self, tmp_path: Path) -> None:
        pq.write_table(pa.table({"id": range(20_000)}), tmp_path / "a.parquet")
        first, again = (ids(open_source(str(tmp_path / "a.parquet")), None, 0.1) for _ in range(2))
        assert first == again
        assert 1_800 < len(first) < 2_200

    def test_does_not_depend_on_pieces_or_filters(self, tmp_path: Path) -> None:
        pq.write_table(pa.table({"id": range(5_000)}), tmp_path / "a.parquet", row_group_size=313)
        source = open_source(str(tmp_path / "a.parquet"))
        whole = ids(source, None, 0.2)
        assert ids(source, [("id", ">", 4_000)], 0.2) == [number for number in whole if number > 4_000]
        assert ids(open_source([{"id": number} for number in range(5_000)]), None, 0.2) == whole
        assert ids(source, None, 0.2, 7) == whole[:7]

    @pytest.mark.parametrize("share", [0, -1, 1.5, 100])
    def test_is_a_share(self, share: float) -> None:
        with pytest.raises(ConfigurationError, match=r"sample: expected a share .* For a count use limit"):
            Selection.of(sample=share)

    def test_is_the_same_in_every_version(self) -> None:
        rows = open_source([{"id": number} for number in range(100)])
        assert ids(rows, None, 0.1) == [2, 32, 33, 41, 42, 43, 53, 94, 95]

    def test_a_larger_share_holds_the_smaller_one(self) -> None:
        rows = open_source([{"id": number} for number in range(3_000)])
        assert set(ids(rows, None, 0.1)) < set(ids(rows, None, 0.3))
        assert ids(rows, None, 1) == list(range(3_000))


@pytest.mark.parametrize("limit", [0, 1, 5, 29, 30, 31])
def test_the_limit_counts_the_rows_that_filters_leave(source: Source, limit: int) -> None:
    assert ids(source, [("id", ">=", 1)], None, limit) == list(range(1, 30))[:limit]


def test_text_files_are_counted_once_where_they_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for day in ("1", "2", "3"):
        folder = tmp_path / f"day={day}"
        folder.mkdir()
        (folder / "a.jsonl").write_text("".join(json.dumps({"id": n}) + "\n\n" for n in range(4)))
        (folder / "a.csv").write_text('id,x\n0,"a\nb"\n1,c\n')
    for module, ending, per_file in ((jsonl, "jsonl", 4), (csv, "csv", 2)):
        counted: list[str] = []
        count = module._count

        def noted(file: Any, *more: Any, count: Any = count, counted: list[str] = counted) -> int:
            counted.append(file.uri)
            return count(file, *more)

        monkeypatch.setattr(module, "_count", noted)
        source = open_source(str(tmp_path / f"*/*.{ending}")).select(Selection.of([("day", "=", 2)]))
        assert list(numbers(source)) == list(range(per_file, 2 * per_file))
        assert list(numbers(source)) == list(range(per_file, 2 * per_file))
        assert counted == [str(tmp_path / f"day=1/a.{ending}")]


def numbers(source: Source) -> Iterator[int]:
    for batch in source.batches():
        yield from batch.row_numbers
