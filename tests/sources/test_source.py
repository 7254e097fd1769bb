"""Sources: the same rows from every format and place, and one clear error for what is no table."""

from __future__ import annotations

import datetime as dt
import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_batch.exceptions import ConfigurationError, SourceError
from airflow_provider_batch.sources.filters import Selection
from airflow_provider_batch.sources.open_source import open_source
from airflow_provider_batch.sources.row_chunk import BATCH_ROWS
from airflow_provider_batch.sources.source import Source
from airflow_provider_batch.sources.type_inference import InferredColumn

NAN = float("nan")
ROWS = [{"id": str(number), "text": f'line "{number}"\nnext, é'} for number in range(5)]


def rows_of(source: Source, columns: list[str] | None = None, limit: int | None = None) -> list[dict[str, Any]]:
    return [row for batch in source.select(Selection(limit=limit)).batches(columns) for row in batch.rows.to_pylist()]


def write_parquet(path: Path, rows: list[dict[str, Any]]) -> None:
    pq.write_table(pa.Table.from_pylist(rows), path)


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    quoted = [",".join('"' + str(value).replace('"', '""') + '"' for value in row.values()) for row in rows]
    path.write_text("\n".join([",".join(rows[0]), *quoted]) + "\n")


def compressed(write: Callable[..., None], codec: str) -> Callable[..., None]:
    def write_both(path: Path, rows: list[dict[str, Any]]) -> None:
        write(path, rows)
        data = path.read_bytes()
        path.write_bytes(gzip.compress(data) if codec == "gzip" else pa.compress(data, codec=codec, asbytes=True))

    return write_both


WRITERS = {
    "a.parquet": write_parquet,
    "a.jsonl": write_jsonl,
    "a.NDJSON": write_jsonl,
    "a.csv": write_csv,
    "a.jsonl.gz": compressed(write_jsonl, "gzip"),
    "a.jsonl.zst": compressed(write_jsonl, "zstd"),
    "a.csv.gz": compressed(write_csv, "gzip"),
    "a.csv.zst": compressed(write_csv, "zstd"),
}


class TestEveryFormat:
    @pytest.mark.parametrize("name", WRITERS)
    def test_gives_the_rows_that_were_written(self, tmp_path: Path, name: str) -> None:
        WRITERS[name](tmp_path / name, ROWS)
        assert rows_of(open_source(str(tmp_path / name))) == ROWS

    @pytest.mark.parametrize("name", WRITERS)
    def test_gives_the_columns_asked_for_and_the_first_rows(self, tmp_path: Path, name: str) -> None:
        WRITERS[name](tmp_path / name, ROWS)
        source = open_source(str(tmp_path / name))
        assert rows_of(source, ["text"], 3) == [{"text": row["text"]} for row in ROWS[:3]]
        assert sum(len(batch) for batch in source.batches([])) == 5
        assert rows_of(source, None, 0) == []

    @pytest.mark.parametrize("name", WRITERS)
    def test_can_be_read_from_a_remote_file_system(self, tmp_path: Path, name: str) -> None:
        WRITERS[name](tmp_path / name, ROWS)
        with fsspec.open(f"memory://bucket/in/{name}", "wb") as file:
            file.write((tmp_path / name).read_bytes())
        try:
            for uri in (f"memory://bucket/in/{name}", "memory://bucket/in", "memory://bucket/*/a.*"):
                source = open_source(uri)
                assert rows_of(source) == ROWS
                assert source.listing[0].uri == f"memory://bucket/in/{name}"
                assert source.listing[0].size == (tmp_path / name).stat().st_size
        finally:
            fsspec.filesystem("memory").rm("/bucket", recursive=True)

    @pytest.mark.parametrize("name", WRITERS)
    def test_numbers_rows_over_all_files(self, tmp_path: Path, name: str) -> None:
        ending = name.removeprefix("a")
        WRITERS[name](tmp_path / f"1{ending}", ROWS[:2])
        WRITERS[name](tmp_path / f"2{ending}", ROWS[2:])
        batches = list(open_source(str(tmp_path)).batches())
        assert [(batch.first_row, len(batch)) for batch in batches] == [(0, 2), (2, 3)]
        assert batches[1].place(1)["row"] == 3
        assert batches[1].place(1)["file"] == str(tmp_path / f"2{ending}")
        assert rows_of(open_source(str(tmp_path)), None, 3) == ROWS[:3]

    @pytest.mark.parametrize("name", [name for name in WRITERS if "parquet" not in name])
    def test_a_row_of_a_text_file_knows_its_line(self, tmp_path: Path, name: str) -> None:
        WRITERS[name](tmp_path / name, ROWS)
        (batch,) = open_source(str(tmp_path / name)).batches()
        expected = [1, 2, 3] if "csv" not in name.lower() else [2, 4, 6]  # each quoted text spans two lines
        assert [batch.place(index)["line"] for index in range(3)] == expected


class TestListing:
    def test_a_folder_is_read_at_any_depth_in_order_without_hidden_names(self, tmp_path: Path) -> None:
        for name in (
            "b/2.jsonl",
            "a.jsonl",
            "b/1.jsonl",
            "_x.jsonl",
            "_openai_batch/s.jsonl",
            "b/.t.jsonl",
            ".c/u.jsonl",
        ):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            write_jsonl(tmp_path / name, [{"name": name}])
        (tmp_path / "README.txt").write_text("no data")
        (tmp_path / "_SUCCESS").touch()
        assert [row["name"] for row in rows_of(open_source(str(tmp_path)))] == ["a.jsonl", "b/1.jsonl", "b/2.jsonl"]

    def test_a_glob_and_several_uris_are_read_in_order(self, tmp_path: Path) -> None:
        for name in ("x1.jsonl", "x2.jsonl", "y1.jsonl", "_x3.jsonl"):
            write_jsonl(tmp_path / name, [{"name": name}])
        source = open_source([str(tmp_path / "y1.jsonl"), str(tmp_path / "*x*.jsonl")])
        assert [row["name"] for row in rows_of(source)] == ["y1.jsonl", "x1.jsonl", "x2.jsonl"]

    def test_a_glob_may_match_folders(self, tmp_path: Path) -> None:
        for day in ("day=1", "day=2"):
            (tmp_path / day).mkdir()
            write_jsonl(tmp_path / day / "p.jsonl", [{"own": day}])
        assert [row["own"] for row in rows_of(open_source(str(tmp_path / "day=*")))] == ["day=1", "day=2"]
        assert [row["own"] for row in rows_of(open_source(str(tmp_path / "**")))] == ["day=1", "day=2"]

    def test_a_name_with_brackets_is_a_name_where_such_a_file_is(self, tmp_path: Path) -> None:
        write_jsonl(tmp_path / "a[1].jsonl", [{"n": 1}])
        assert rows_of(open_source(str(tmp_path / "a[1].jsonl"))) == [{"n": 1}]

    def test_the_version_of_a_file_changes_with_the_file(self, tmp_path: Path) -> None:
        path = tmp_path / "a.jsonl"
        write_jsonl(path, ROWS)
        os.utime(path, (1, 1))
        before = open_source(str(path)).listing
        assert before == open_source(str(path)).listing
        os.utime(path, (2, 2))
        assert before != open_source(str(path)).listing

    def test_the_listing_of_mappings_is_their_content(self) -> None:
        assert open_source(ROWS).listing == open_source([dict(row) for row in ROWS]).listing
        assert open_source(ROWS).listing != open_source(ROWS[:-1]).listing

    @pytest.mark.parametrize(
        ("uri", "expected"),
        [
            ("missing.parquet", "missing.parquet: no such file or folder"),
            ("missing/*.csv", "this pattern matches no file"),
            ("empty", "no file to read in this folder"),
            ("notes.txt", "cannot tell the format by this name"),
            ("a.parquet.gz", "cannot tell the format by this name"),
            ("mixed", "expected files of one format, found 2"),
        ],
    )
    def test_what_is_no_source_is_an_error(self, tmp_path: Path, uri: str, expected: str) -> None:
        (tmp_path / "empty").mkdir()
        (tmp_path / "notes.txt").touch()
        (tmp_path / "a.parquet.gz").touch()
        (tmp_path / "mixed").mkdir()
        (tmp_path / "mixed" / "a.jsonl").touch()
        (tmp_path / "mixed" / "b.csv").touch()
        with pytest.raises(SourceError, match=expected):
            open_source(str(tmp_path / uri))

    def test_a_file_that_is_named_twice_is_an_error(self, tmp_path: Path) -> None:
        write_jsonl(tmp_path / "a.jsonl", ROWS)
        with pytest.raises(SourceError, match="named twice"):
            open_source([str(tmp_path), str(tmp_path / "a.jsonl")])

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
    def test_a_file_without_permission_is_an_error(self, tmp_path: Path) -> None:
        write_jsonl(tmp_path / "a.jsonl", ROWS)
        (tmp_path / "a.jsonl").chmod(0)
        with pytest.raises(SourceError, match="cannot be read"):
            rows_of(open_source(str(tmp_path / "a.jsonl")))

    def test_an_unknown_scheme_is_an_error(self) -> None:
        with pytest.raises(ConfigurationError, match="nosuch://a/b"):
            open_source("nosuch://a/b.csv")


class TestParquet:
    def test_files_are_unified_where_nothing_is_lost(self, tmp_path: Path) -> None:
        pq.write_table(pa.table({"a": pa.array([1], pa.int32()), "b": ["x"]}), tmp_path / "1.parquet")
        pq.write_table(pa.table({"c": [True], "a": [1.5]}), tmp_path / "2.parquet")
        pq.write_table(pa.table({"b": pa.array(["y"]).dictionary_encode(), "a": [None]}), tmp_path / "3.parquet")
        source = open_source(str(tmp_path))
        assert source.schema == pa.schema([("a", pa.float64()), ("b", pa.string()), ("c", pa.bool_())])
        assert [tuple(row.values()) for row in rows_of(source)] == [
            (1.0, "x", None),
            (1.5, None, True),
            (None, "y", None),
        ]

    @pytest.mark.parametrize("content", [b"PAR1", b"id,text\n1,2\n", b"PAR1" + b"\x00" * 50 + b"PAR1"])
    def test_what_is_no_parquet_is_an_error(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "a.parquet").write_bytes(content)
        with pytest.raises(SourceError, match=r"a\.parquet: "):
            open_source(str(tmp_path / "a.parquet"))

    def test_a_truncated_file_is_an_error(self, tmp_path: Path) -> None:
        write_parquet(tmp_path / "a.parquet", ROWS * 100)
        data = bytearray((tmp_path / "a.parquet").read_bytes())
        data[4:60] = b"\xff" * 56
        (tmp_path / "a.parquet").write_bytes(data)
        with pytest.raises(SourceError, match="content cannot be read"):
            rows_of(open_source(str(tmp_path / "a.parquet")))

    def test_names_with_dots_and_structs_are_told_apart(self, tmp_path: Path) -> None:
        pq.write_table(pa.table({"a.b": [1], "a": [{"b": 2, "c": 3}]}), tmp_path / "a.parquet")
        source = open_source(str(tmp_path / "a.parquet"))
        assert rows_of(source, ["a.b"]) == [{"a.b": 1}]
        (batch,) = source.batches(["a"])
        assert (batch.rows.to_pylist(), batch.values(("a", "b"))) == ([{"a": {"b": 2, "c": 3}}], [2])

    def test_batches_are_small_whatever_the_row_group_and_the_width(self, tmp_path: Path) -> None:
        pq.write_table(pa.table({"a": range(5_000), "t": ["x" * 10] * 5_000}), tmp_path / "a.parquet")
        assert max(len(batch) for batch in open_source(str(tmp_path / "a.parquet")).batches()) <= BATCH_ROWS
        wide = pa.table({"t": [str(number) + "y" * 1_000_000 for number in range(40)]})
        pq.write_table(wide, tmp_path / "w.parquet", use_dictionary=False)
        assert max(len(batch) for batch in open_source(str(tmp_path / "w.parquet")).batches()) <= 8

    def test_an_empty_table_has_columns_and_no_rows(self, tmp_path: Path) -> None:
        pq.write_table(pa.table({"a": pa.array([], pa.int64())}), tmp_path / "a.parquet")
        source = open_source(str(tmp_path / "a.parquet"))
        assert (source.names, rows_of(source), source.columns_known) == (["a"], [], True)

    def test_a_column_that_is_not_there_is_an_error(self, tmp_path: Path) -> None:
        write_parquet(tmp_path / "a.parquet", ROWS)
        with pytest.raises(SourceError, match=r"column 'txt': no such column\. Did you mean 'text'\?"):
            rows_of(open_source(str(tmp_path / "a.parquet")), ["txt"])


class TestCsv:
    def read(self, tmp_path: Path, content: bytes) -> list[dict[str, Any]]:
        (tmp_path / "a.csv").write_bytes(content)
        return rows_of(open_source(str(tmp_path / "a.csv")))

    def test_every_column_is_text_and_only_an_unquoted_empty_field_is_null(self, tmp_path: Path) -> None:
        content = b'a,b\n01234,\n"",NULL\n1e5,"line\r\nbreak ""q"", x"\n'
        assert self.read(tmp_path, content) == [
            {"a": "01234", "b": None},
            {"a": "", "b": "NULL"},
            {"a": "1e5", "b": 'line\r\nbreak "q", x'},
        ]

    @pytest.mark.parametrize("rows", [1, 50])
    @pytest.mark.parametrize("end", [b"", b"\n"])
    def test_an_empty_last_field_is_null_with_and_without_a_line_break_behind_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int, end: bytes
    ) -> None:
        monkeypatch.setattr("airflow_provider_batch.sources.files.csv.BLOCK_BYTES", 64)
        content = b"a,b\n" + b"\n".join([b'"some text, quoted",'] * rows) + end
        assert self.read(tmp_path, content) == [{"a": "some text, quoted", "b": None}] * rows

    @pytest.mark.parametrize("content", [b"a,b\n", b"a,b", b"\xef\xbb\xbfa,b\r\n", b'"a","b"\n\n'])
    def test_a_header_alone_is_an_empty_table(self, tmp_path: Path, content: bytes) -> None:
        assert self.read(tmp_path, content) == []
        assert open_source(str(tmp_path / "a.csv")).names == ["a", "b"]

    def test_a_byte_order_mark_is_no_part_of_a_name(self, tmp_path: Path) -> None:
        assert self.read(tmp_path, b"\xef\xbb\xbfa,b\r\n1,2\r\n") == [{"a": "1", "b": "2"}]

    @pytest.mark.parametrize(
        ("content", "expected"),
        [
            (b'a,b\n"x\ny",1\n1,2,3\n', r"a\.csv, line 4: expected 2 fields, as in the header, found 3"),
            (b"a,b\n1,2\n3\n", r"a\.csv, line 3: expected 2 fields, as in the header, found 1"),
            (b"a,b\n1,2\n3,\xff\n", r"a\.csv, line 3: expected UTF-8, found byte 0xff at position 3"),
            (b"a,\xe9\n1,2\n", r"a\.csv, line 1: expected UTF-8, found byte 0xe9"),
            (b'a,b\n1,"x\ny"\n2,"z\n3,z\n', r"a\.csv, line 4: expected a quote that closes the one in this row"),
            (b'a,b\n1,"x""\n', r"a\.csv, line 2: expected a quote that closes"),
            (b'a,b\n1,"x\ny"\n2,"x"y"', r"a\.csv, line 4: .* after the closing quote"),
        ],
    )
    def test_what_is_no_csv_is_an_error_with_file_and_line(self, tmp_path: Path, content: bytes, expected: str) -> None:
        with pytest.raises(SourceError, match=expected):
            self.read(tmp_path, content)

    @pytest.mark.parametrize("content", [b'a,b\n5" disk,1\n"x",2\n', b'a,b\n1,"x\ny"\n2,x"y'])
    def test_an_odd_quote_within_a_field_is_text(self, tmp_path: Path, content: bytes) -> None:
        assert len(self.read(tmp_path, content)) == 2

    def test_files_with_other_columns_are_unified(self, tmp_path: Path) -> None:
        (tmp_path / "1.csv").write_bytes(b"a,b\n1,2\n")
        (tmp_path / "2.csv").write_bytes(b"c,a\n3,4\n")
        assert rows_of(open_source(str(tmp_path))) == [{"a": "1", "b": "2", "c": None}, {"a": "4", "b": None, "c": "3"}]

    @pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
    def test_a_quoted_line_break_may_stand_where_one_piece_ends(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str
    ) -> None:
        monkeypatch.setattr("airflow_provider_batch.sources.files.csv.BLOCK_BYTES", 64)
        rows = [{"a": f"{number}{end}{number}{end}", "b": "x" * (number % 7)} for number in range(200)]
        write_csv(tmp_path / "a.csv", rows)
        source = open_source(str(tmp_path / "a.csv"))
        assert rows_of(source) == rows
        assert [batch.first_row for batch in source.batches()][1] > 0

    def test_a_row_may_be_larger_than_what_is_read_at_a_time(self, tmp_path: Path) -> None:
        long = "x" * 3_000_000
        assert self.read(tmp_path, f'a,b\n"{long}",1\n2,3\n'.encode())[0]["a"] == long


class TestJsonl:
    def read(self, tmp_path: Path, content: bytes) -> list[dict[str, Any]]:
        (tmp_path / "a.jsonl").write_bytes(content)
        return rows_of(open_source(str(tmp_path / "a.jsonl")))

    def test_columns_have_one_type_over_the_whole_input(self, tmp_path: Path) -> None:
        rows: list[dict[str, Any]] = [{"n": 1, "m": 1, "o": {"a": 1}}] * (BATCH_ROWS + 1)
        rows += [{"n": 1.5, "m": "x", "o": {"b": None}, "late": [1]}]
        write_jsonl(tmp_path / "a.jsonl", rows)
        source = open_source(str(tmp_path / "a.jsonl"))
        struct = pa.struct([("a", pa.int64()), ("b", pa.string())])
        assert [field.type for field in source.schema] == [pa.float64(), pa.string(), struct, pa.list_(pa.int64())]
        assert {batch.rows.schema for batch in source.batches()} == {source.schema}
        read = rows_of(source)
        assert read[0] == {"n": 1.0, "m": "1", "o": {"a": 1, "b": None}, "late": None}
        assert read[-1] == {"n": 1.5, "m": '"x"', "o": {"a": None, "b": None}, "late": [1]}

    @pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\u0085", "\x7f"])
    def test_only_a_newline_byte_ends_a_line(self, tmp_path: Path, separator: str) -> None:
        row = {"t": f"a{separator}b"}
        content = json.dumps(row, ensure_ascii=False).encode() + b"\r\n\n  \n" + b'{"t":"c"}'
        assert self.read(tmp_path, content) == [row, {"t": "c"}]
        (batch,) = open_source(str(tmp_path / "a.jsonl")).batches()
        assert [batch.place(index)["line"] for index in range(2)] == [1, 4]

    @pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf"])
    def test_an_empty_file_is_an_empty_table(self, tmp_path: Path, content: bytes) -> None:
        assert self.read(tmp_path, content) == []
        assert not open_source(str(tmp_path / "a.jsonl")).columns_known

    @pytest.mark.parametrize(
        ("line", "expected"),
        [
            (b'{"a":1', "invalid JSON"),
            (b'{"a":1}{"a":2}', "invalid JSON"),
            (b'{"a":NaN}', "found NaN, an infinity or half of a surrogate pair"),
            (b'{"a":"\\ud83d"}', "found NaN, an infinity or half of a surrogate pair"),
            (b"[1]", "found an array"),
            (b"null", "found null"),
            (b'"x"', "found a string"),
            (b"7", "found a number"),
            (b'{"a":"\xff"}', "expected UTF-8, found byte 0xff at position 7"),
        ],
    )
    def test_an_invalid_line_is_named(self, tmp_path: Path, line: bytes, expected: str) -> None:
        with pytest.raises(SourceError, match=rf"a\.jsonl, line 3: .*{expected}"):
            self.read(tmp_path, b'{"a":1}\n\n' + line + b"\n")

    @pytest.mark.parametrize("ending", ["gz", "zst"])
    def test_a_stream_that_is_cut_off_or_not_compressed_is_an_error(self, tmp_path: Path, ending: str) -> None:
        path = tmp_path / f"a.jsonl.{ending}"
        compressed(write_jsonl, "gzip" if ending == "gz" else "zstd")(path, ROWS * 1000)
        for content in (path.read_bytes()[:-9], b'{"a": "plain text"}\n'):
            path.write_bytes(content)
            with pytest.raises(SourceError, match=f"a.jsonl.{ending}: the content cannot be read"):
                rows_of(open_source(str(path)))

    def test_several_compressed_pieces_in_one_file_are_all_read(self, tmp_path: Path) -> None:
        (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(b'{"a":1}\n') + gzip.compress(b'{"a":2}\n'))
        assert rows_of(open_source(str(tmp_path / "a.jsonl.gz"))) == [{"a": 1}, {"a": 2}]

    def test_a_line_may_be_longer_than_what_is_read_at_a_time(self, tmp_path: Path) -> None:
        long = "x" * 3_500_000
        assert self.read(tmp_path, json.dumps({"a": long}).encode() + b'\n{"a":"y"}\n') == [{"a": long}, {"a": "y"}]


class TestMappings:
    def test_python_values_have_arrow_types(self) -> None:
        class Text(str):
            pass

        row = {
            "date": dt.date(2026, 1, 2),
            "time": dt.datetime(2026, 1, 2, tzinfo=dt.UTC),
            "local": dt.datetime(2026, 1, 2),
            "clock": dt.time(1, 2),
            "span": dt.timedelta(seconds=5),
            "bytes": b"\x00",
            "decimal": Decimal("1.50"),
            "tuple": (1, 2),
            "sub": Text("x"),
        }
        source = open_source([row, dict.fromkeys(row)])
        assert rows_of(source)[0] == {**row, "decimal": "1.50", "tuple": [1, 2]}
        assert rows_of(source)[1] == dict.fromkeys(row)

    @pytest.mark.parametrize(
        ("values", "expected"),
        [
            (["x", NAN], ["x", None]),
            ([NAN, NAN, b"x"], [None, None, b"x"]),
            ([True, NAN], [True, None]),
            ([dt.date(2026, 1, 2), NAN], [dt.date(2026, 1, 2), None]),
            ([{"a": 1}, NAN], [{"a": 1}, None]),
            ([[1], NAN], [[1], None]),
            ([Decimal("1.50"), NAN], ["1.50", None]),
            (["x", NAN, 1.5], ['"x"', "null", "1.5"]),
        ],
    )
    def test_nan_beside_no_numbers_is_null_as_pandas_means_it(self, values: list[Any], expected: list[Any]) -> None:
        assert [row["a"] for row in rows_of(open_source([{"a": value} for value in values]))] == expected

    def test_nan_beside_numbers_stays(self) -> None:
        assert str(rows_of(open_source([{"a": 1}, {"a": NAN}]))) == "[{'a': 1.0}, {'a': nan}]"

    def test_missing_values_and_arrays_as_pandas_gives_them(self) -> None:
        class NaTType(dt.datetime):
            def date(self) -> dt.date:
                raise ValueError("no date")

        class Array:
            def tolist(self) -> list[int]:
                return [1, 2]

        (row,) = rows_of(open_source([{"time": NaTType(2026, 1, 1), "list": Array()}]))
        assert row == {"time": None, "list": [1, 2]}

    def test_no_rows_is_an_empty_table_of_unknown_columns(self) -> None:
        source = open_source([])
        assert (source.names, rows_of(source), source.columns_known) == ([], [], False)

    @pytest.mark.parametrize(
        ("rows", "expected"),
        [
            ([{"a": 1}, 7], "row 1: expected a mapping of column to value, found a int"),
            ([{"a": 1}, {"a": {1}}], "row 1, column 'a': a set is not a value of a table"),
            ([{"a": {"b": object()}}], "row 0, column 'a': a object"),
            ([{1: "a"}], "row 0: expected text as a column's name, found 1"),
            ([{"a": "\ud83d"}], "row 0: expected text, found half of a surrogate pair"),
        ],
    )
    def test_what_is_no_row_is_an_error(self, rows: Any, expected: str) -> None:
        with pytest.raises(SourceError, match=expected):
            open_source(rows)

    def test_uris_and_rows_together_are_an_error(self) -> None:
        with pytest.raises(ConfigurationError, match="a list of both"):
            open_source(["a.csv", {"a": 1}])  # type: ignore[list-item]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**66), 2**66)
    | st.floats(allow_nan=False)
    | st.text("ab\u2028é", max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["x", "y", ""]), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(pieces=st.lists(st.lists(JSON, max_size=5), max_size=4))
def test_any_column_is_built_as_the_type_that_was_inferred(pieces: list[list[Any]]) -> None:
    column = InferredColumn()
    for piece in pieces:
        column.observe(piece)
    for piece in pieces:
        array = column.build(piece)
        array.validate(full=True)
        assert array.type == column.arrow_type
        assert [value is None for value in array.to_pylist()] == [value is None for value in piece]


@settings(max_examples=150, deadline=None)
@given(values=st.lists(st.none() | st.dictionaries(st.sampled_from("xy"), st.lists(st.integers(-9, 9)), min_size=1)))
def test_values_of_one_kind_come_back_from_their_column(values: list[Any]) -> None:
    column = InferredColumn()
    column.observe(values)
    names = list(column.fields)
    expected = [None if value is None else {name: value.get(name) for name in names} for value in values]
    assert column.build(values).to_pylist() == (expected if names else [None] * len(values))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2.5], pa.float64()),
        ([2**53, 0.5], pa.float64()),
        ([2**53 + 1, 0.5], pa.string()),
        ([2**63 - 1, -(2**63)], pa.int64()),
        ([2**63], pa.string()),
        ([None, None], pa.string()),
        ([[], None], pa.list_(pa.string())),
        ([{}, None], pa.string()),
        ([[1, "a"]], pa.list_(pa.string())),
        ([True, 1], pa.string()),
    ],
)
def test_a_type_is_chosen_that_loses_nothing(values: list[Any], expected: pa.DataType) -> None:
    column = InferredColumn()
    column.observe(values)
    assert column.arrow_type == expected


def test_an_object_with_data_for_keys_is_json_text() -> None:
    column = InferredColumn()
    value = {f"k{number}": number for number in range(2_000)}
    column.observe([value])
    assert column.arrow_type == pa.string()
    assert json.loads(column.build([value])[0].as_py()) == value


def test_reading_imports_no_pandas(tmp_path: Path) -> None:
    """The first use of pyarrow's own conversion would import it, two seconds for every worker process."""
    (tmp_path / "pandas").mkdir()
    (tmp_path / "pandas" / "__init__.py").write_text("raise RuntimeError('pandas was imported')")
    write_parquet(tmp_path / "a.parquet", ROWS)
    write_csv(tmp_path / "a.csv", ROWS)
    write_jsonl(tmp_path / "a.jsonl", [{**row, "n": 1.5, "o": {"l": [True, None]}} for row in ROWS])
    code = """
import sys
from pathlib import Path
import pyarrow as pa

def refused(*args, **kwargs):
    raise RuntimeError("converts Python values, which imports pandas where NumPy is installed")

pa.array = pa.scalar = refused
from airflow_provider_batch.api.endpoints import Endpoint
from airflow_provider_batch.requests.prepare import RequestSpec, prepare
from airflow_provider_batch.sources.open_source import open_source
from airflow_provider_batch.requests.sidecar import read_sidecar
for name in ("a.parquet", "a.csv", "a.jsonl"):
    shards = []
    spec = RequestSpec(Endpoint.RESPONSES, {"model": "{id}", "input": "{text}"}, custom_id="x{id}")
    prepare(open_source(name), spec, Path("out", name), shards.append)
    assert len(shards) == 5
    assert [batch.num_rows for shard in shards for batch in read_sidecar(shard.rows)] == [1] * 5
assert "pandas" not in sys.modules
"""
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, env=environment)
