"""Files of one source may differ in columns that a job does not use; a difference in a used column is an error."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_provider_batch.api.endpoints import Endpoint
from airflow_provider_batch.exceptions import InputError, SourceError
from airflow_provider_batch.requests.prepare import Prepared, RequestSpec, prepare
from airflow_provider_batch.requests.shards import Shard
from airflow_provider_batch.requests.sidecar import read_sidecar
from airflow_provider_batch.sources.open_source import open_source
from tests.sources.test_source import rows_of, write_csv, write_jsonl, write_parquet

BODY = {"model": "m", "input": "Say {text}"}
WRITERS = {"parquet": write_parquet, "csv": write_csv, "jsonl": write_jsonl}


def made(folder: Path, source: Any = None, **more: Any) -> tuple[Prepared, list[dict[str, Any]]]:
    """Return what was prepared of the folder `in`, and the carried values of each row."""
    shards: list[Shard] = []
    spec = RequestSpec(Endpoint.RESPONSES, **{"body": BODY, "null_text": "-", **more})
    prepared = prepare(open_source(source or str(folder / "in")), spec, folder / "out", shards.append)
    carried = [
        row.get("carried") for shard in shards for batch in read_sidecar(shard.rows) for row in batch.to_pylist()
    ]
    return prepared, carried


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path


class TestFilesWithoutAByte:
    @pytest.mark.parametrize("ending", ["parquet", "csv", "jsonl", "csv.gz", "jsonl.gz", "jsonl.zst", "csv.zst"])
    def test_have_no_rows(self, folder: Path, ending: str) -> None:
        kind, _, codec = ending.partition(".")
        WRITERS[kind](folder / f"b.{kind}", [{"text": "x"}, {"text": "y"}])
        data = (folder / f"b.{kind}").read_bytes()
        packed = {"gz": gzip.compress, "zst": lambda raw: pa.compress(raw, "zstd", asbytes=True)}.get(codec, bytes)
        (folder / "in" / f"b.{ending}").write_bytes(packed(data))
        (folder / "in" / f"a.{ending}").touch()
        (folder / "in" / f"c.{ending}").write_bytes(packed(b"") if codec else b"")
        prepared, carried = made(folder, filters=[("text", "!=", "z")])
        assert (prepared.row_count, carried) == (2, [{"text": "x"}, {"text": "y"}])

    @pytest.mark.parametrize("ending", ["parquet", "csv", "jsonl", "csv.gz"])
    @pytest.mark.parametrize("more", [{}, {"carry": ["text"]}, {"filters": [("id", "=", "1")]}, {"custom_id": "{id}"}])
    def test_alone_are_the_empty_table(self, folder: Path, ending: str, more: dict[str, Any]) -> None:
        for name in "ab":
            (folder / "in" / f"{name}.{ending}").touch()
        assert not open_source(str(folder / "in")).columns_known
        assert made(folder, **more)[0].row_count == 0

    @pytest.mark.parametrize("content", [b"\n\n", b"\xef\xbb\xbf", b"\r\n"])
    def test_or_with_nothing_but_line_breaks(self, folder: Path, content: bytes) -> None:
        (folder / "in" / "a.csv").write_bytes(content)
        assert made(folder)[0].row_count == 0


class TestColumnsThatNobodyAskedFor:
    def test_of_conflicting_types_are_carried_as_text(self, folder: Path) -> None:
        values: list[Any] = [[1, None], ["x"], [{"k": [1.5]}], [True]]
        for number, column in enumerate(values):
            table = pa.table({"text": ["t"] * len(column), "odd": column})
            pq.write_table(table, folder / "in" / f"{number}.parquet")
        _, carried = made(folder)
        assert [row["odd"] for row in carried] == ["1", None, "x", '{"k":[1.5]}', "true"]
        assert [row["odd"] for row in made(folder, carry=["text"])[1] if "odd" in row] == []

    def test_have_any_type_in_a_file_without_rows(self, folder: Path) -> None:
        for number, column in enumerate([pa.array([], pa.float64()), pa.array(["a"]), pa.array([], pa.int8())]):
            pq.write_table(pa.table({"text": column, "own": column}), folder / "in" / f"{number}.parquet")
        assert made(folder)[1] == [{"text": "a", "own": "a"}]

    def test_are_carried_as_text_where_a_float_does_not_hold_an_integer(self, folder: Path) -> None:
        pq.write_table(pa.table({"text": ["t"], "n": [2**53 + 1], "m": [7]}), folder / "in" / "1.parquet")
        pq.write_table(pa.table({"text": ["t"], "n": [0.5], "m": [0.5]}), folder / "in" / "2.parquet")
        assert [(row["n"], row["m"]) for row in made(folder)[1]] == [("9007199254740993", 7.0), ("0.5", 0.5)]

    @pytest.mark.parametrize(
        "named",
        [
            {"body": {"model": "m", "input": "{odd}"}},
            {"custom_id": "c{odd}"},
            {"filters": [("odd", "=", "x")]},
            {"carry": ["odd"]},
        ],
    )
    def test_are_an_error_where_they_are_named(self, folder: Path, named: dict[str, Any]) -> None:
        pq.write_table(pa.table({"text": ["t"], "odd": [1]}), folder / "in" / "1.parquet")
        pq.write_table(pa.table({"text": ["t"], "odd": ["x"]}), folder / "in" / "2.parquet")
        with pytest.raises(SourceError, match=r"2\.parquet, column 'odd': expected int64, as in .*1\.parquet"):
            made(folder, **named)

    @pytest.mark.parametrize("ending", ["csv", "parquet"])
    def test_of_one_name_are_carried_under_names_of_their_own(self, folder: Path, ending: str) -> None:
        path = folder / "in" / f"a.{ending}"
        if ending == "csv":
            path.write_text("text,b,b,b_2,,\nt,1,2,3,4,5\n")
            expected = {"text": "t", "b": "1", "b_2_": "2", "b_2": "3", "": "4", "_2": "5"}
        else:
            pq.write_table(pa.table([["t"], [1], ["2"], [3]], names=["text", "b", "b", "b_2"]), path)
            expected = {"text": "t", "b": 1, "b_2_": "2", "b_2": 3}  # type: ignore[dict-item]
        assert made(folder)[1] == [expected]
        assert rows_of(open_source(str(path)), ["b_2_"]) == [{"b_2_": "2"}]
        with pytest.raises(SourceError, match=rf"a\.{ending}, column 'b': expected one column of this name"):
            made(folder, body={"model": "m", "input": "{b}"})
        with pytest.raises(SourceError, match=r"column 'b': expected one column of this name"):
            made(folder, carry=["b"])


@pytest.mark.parametrize("ending", WRITERS)
class TestColumnsThatAFileLacks:
    def write(self, folder: Path, ending: str, *tables: dict[str, Any]) -> None:
        for number, row in enumerate(tables):
            WRITERS[ending](folder / "in" / f"{number}.{ending}", [row])

    @pytest.mark.parametrize("other", ["Text", "TEXT", " text"])
    def test_are_an_error_where_its_name_differs_in_case_or_spaces(self, folder: Path, ending: str, other: str) -> None:
        self.write(folder, ending, {"id": "1", "text": "a"}, {"id": "2", other: "b"})
        with pytest.raises(InputError, match=rf"1\.{ending}, column 'text': expected this column, found '{other}'"):
            made(folder)

    def test_are_an_error_where_it_shares_none_with_the_others(self, folder: Path, ending: str) -> None:
        self.write(folder, ending, {"id": "1", "text": "a"}, {"id": "2", "text": "b"}, {"k": "1", "v": "2"})
        with pytest.raises(InputError, match=rf"2\.{ending}: this file has no column in common .*found 'k', 'v'"):
            made(folder)

    def test_are_null_where_it_shares_others(self, folder: Path, ending: str) -> None:
        self.write(folder, ending, {"id": "1", "text": "a"}, {"id": "2"}, {"id": "3", "Id": "4"})
        assert [row["text"] for row in made(folder)[1]] == ["a", None, None]

    def test_differ_in_case_without_harm_where_nobody_named_them(self, folder: Path, ending: str) -> None:
        self.write(folder, ending, {"text": "1", "x": "a"}, {"text": "2", "X": "b"})
        assert [row["X"] for row in made(folder)[1]] == [None, "b"]


@pytest.mark.parametrize("kind", ["jsonl", "list"])
def test_a_row_that_has_a_named_column_in_another_case_is_an_error(folder: Path, kind: str) -> None:
    rows = [{"id": "1", "text": "a"}, {"id": "2", "Text": "b"}]
    write_jsonl(folder / "in" / "a.jsonl", rows)
    source = str(folder / "in") if kind == "jsonl" else rows
    with pytest.raises(SourceError, match=r"row 1, column 'text': expected this column, found 'Text'"):
        made(folder, source)
    both = [{"text": "a", "Text": "b"}, {"text": "c"}, {"id": "1"}]
    assert [row["Text"] for row in made(folder, both)[1]] == ["b", None, None]


def test_objects_without_members_share_no_column_and_are_rows(folder: Path) -> None:
    (folder / "in" / "a.jsonl").write_text("{}\n")
    (folder / "in" / "b.jsonl").write_text(json.dumps({"text": "x"}))
    assert made(folder)[0].row_count == 2
