"""Hive-partitioned folders: their keys are columns, and files of other partitions are left out."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_provider_batch.api.endpoints import Endpoint
from airflow_provider_batch.exceptions import SourceError
from airflow_provider_batch.requests.prepare import RequestSpec, prepare
from airflow_provider_batch.requests.shards import Shard
from airflow_provider_batch.requests.sidecar import read_sidecar
from airflow_provider_batch.sources.filters import Selection
from airflow_provider_batch.sources.open_source import open_source
from tests.sources.test_source import rows_of, write_csv, write_jsonl, write_parquet

WRITERS = {"parquet": write_parquet, "jsonl": write_jsonl, "csv": write_csv}


def lay_out(root: Path, ending: str = "jsonl", **folders: list[str]) -> None:
    """Write one file of two rows below each folder."""
    for number, folder in enumerate(folders["below"]):
        (root / folder).mkdir(parents=True)
        WRITERS[ending](root / folder / f"a.{ending}", [{"text": f"{number}.{row}"} for row in range(2)])


def keys(source: Any, *names: str) -> list[tuple[Any, ...]]:
    return list(dict.fromkeys(tuple(row[name] for name in names) for row in rows_of(open_source(str(source)))))


@pytest.mark.parametrize("ending", WRITERS)
class TestEveryFormat:
    def test_the_keys_are_columns_wherever_the_source_begins(self, tmp_path: Path, ending: str) -> None:
        lay_out(
            tmp_path / "t", ending, below=["dt=2026-11-01/lang=de", "dt=2026-11-01/lang=en", "dt=2026-11-02/lang=de"]
        )
        expected = [(dt.date(2026, 11, 1), "de"), (dt.date(2026, 11, 1), "en"), (dt.date(2026, 11, 2), "de")]
        assert keys(tmp_path / "t", "dt", "lang") == expected
        assert keys(tmp_path / "t" / "dt=*" / "lang=*" / f"*.{ending}", "dt", "lang") == expected
        assert keys(tmp_path / "t" / "dt=2026-11-01", "dt", "lang") == expected[:2]
        assert keys(tmp_path / "t" / "dt=2026-11-01" / "lang=en" / f"a.{ending}", "dt", "lang") == expected[1:2]
        assert open_source(str(tmp_path / "t")).names == ["text", "dt", "lang"]

    def test_a_key_may_begin_with_an_underscore(self, tmp_path: Path, ending: str) -> None:
        lay_out(tmp_path / "t", ending, below=["_loaded=2026-11-01/_run=1", "_loaded=2026-11-02/_run=2", "_old/_run=3"])
        expected = [(dt.date(2026, 11, 1), 1), (dt.date(2026, 11, 2), 2)]
        assert keys(tmp_path / "t", "_loaded", "_run") == expected

    def test_they_fill_templates_ids_and_carried_columns(self, tmp_path: Path, ending: str) -> None:
        lay_out(tmp_path / "t", ending, below=["dt=2026-11-01/n=7", "dt=2026-11-02/n=8"])
        spec = RequestSpec(
            Endpoint.RESPONSES,
            {"model": "m", "input": "{dt}: {text}", "max_output_tokens": "{n}"},
            custom_id="{dt}/{text}",
            carry=["n", "dt"],
            filters=[("dt", "=", "2026-11-02")],
        )
        shards: list[Shard] = []
        prepare(open_source(str(tmp_path / "t")), spec, tmp_path / "out", shards.append)
        lines = [json.loads(line) for line in shards[0].lines.read_bytes().splitlines()]
        assert [line["custom_id"] for line in lines] == ["2026-11-02/1.0", "2026-11-02/1.1"]
        assert lines[0]["body"] == {"model": "m", "input": "2026-11-02: 1.0", "max_output_tokens": 8}
        (batch,) = read_sidecar(shards[0].rows)
        rows = batch.to_pylist()
        assert [row["row_number"] for row in rows] == [2, 3]
        assert rows[0]["carried"] == {"n": 8, "dt": dt.date(2026, 11, 2)}

    def test_files_of_other_partitions_are_not_opened(
        self, tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        lay_out(tmp_path / "t", ending, below=["day=1", "day=2", "day=3"])
        source = open_source(str(tmp_path / "t"))
        read: list[str] = []
        reader = source._reader  # type: ignore[attr-defined]
        original = reader.read
        monkeypatch.setattr(reader, "read", lambda file, *more: (read.append(file.uri), original(file, *more))[1])
        selected = source.select(Selection.of([[("day", "=", 2), ("text", "!=", "")], [("day", "<", "2")]]))
        assert [row["day"] for row in rows_of_all(selected)] == [1, 1, 2, 2]
        assert {Path(uri).parent.name for uri in read} == {"day=1", "day=2"}

    def test_a_filter_may_leave_no_file(self, tmp_path: Path, ending: str) -> None:
        lay_out(tmp_path / "t", ending, below=["day=1", "day=2"])
        assert rows_of_all(open_source(str(tmp_path / "t")).select(Selection.of([("day", ">", 5)]))) == []


def rows_of_all(source: Any) -> list[dict[str, Any]]:
    return [row for batch in source.batches() for row in batch.rows.to_pylist()]


class TestTypes:
    @pytest.mark.parametrize(
        ("values", "expected"),
        [
            (["1", "-20"], [1, -20]),
            (["01", "09", "10"], [1, 9, 10]),
            (["007", "123"], ["007", "123"]),
            (["1", "x"], ["1", "x"]),
            (["1.5"], ["1.5"]),
            (["2026-11-01"], [dt.date(2026, 11, 1)]),
            (["2026-11-01", "2026-13-01"], ["2026-11-01", "2026-13-01"]),
            (["2026-11-01", "__HIVE_DEFAULT_PARTITION__"], [dt.date(2026, 11, 1), None]),
            (["1", "__HIVE_DEFAULT_PARTITION__"], [1, None]),
            (["__HIVE_DEFAULT_PARTITION__"], [None]),
            (["a%2Fb", "S%C3%A3o Paulo"], ["a/b", "São Paulo"]),
            ([""], [""]),
            (["a=b"], ["a=b"]),
        ],
    )
    def test_are_told_by_all_values_of_a_key(self, tmp_path: Path, values: list[str], expected: list[Any]) -> None:
        lay_out(tmp_path, below=[f"k={value}" for value in values])
        assert sorted((key for (key,) in keys(tmp_path, "k")), key=repr) == sorted(expected, key=repr)

    def test_only_the_folders_right_above_a_file_count(self, tmp_path: Path) -> None:
        lay_out(tmp_path, below=["run=7/tables/day=1"])
        assert open_source(str(tmp_path)).names == ["text", "day"]

    def test_the_folder_wins_over_a_column_of_its_name(self, tmp_path: Path) -> None:
        for day in ("1", "2"):
            (tmp_path / f"day={day}").mkdir()
            pq.write_table(pa.table({"day": [99], "x": [day]}), tmp_path / f"day={day}" / "a.parquet")
        source = open_source(str(tmp_path))
        assert rows_of(source) == [{"x": "1", "day": 1}, {"x": "2", "day": 2}]
        assert rows_of_all(source.select(Selection.of([("day", "=", 2)]))) == [{"x": "2", "day": 2}]
        assert rows_of_all(source.select(Selection.of([[("day", "=", 2)], [("x", "=", "1")]]))) == rows_of(source)


class TestWhatIsNoLayout:
    def test_files_with_other_keys_are_named(self, tmp_path: Path) -> None:
        lay_out(tmp_path, below=["day=1", "month=1"])
        expected = r"month=1/a\.jsonl: expected a file below the folders day=…, as .*day=1/a\.jsonl is, found month=…"
        with pytest.raises(SourceError, match=expected):
            open_source(str(tmp_path))

    def test_a_file_beside_the_partitions_is_named(self, tmp_path: Path) -> None:
        lay_out(tmp_path, below=["day=1"])
        write_jsonl(tmp_path / "z.jsonl", [{"text": "x"}])
        with pytest.raises(SourceError, match=r"z\.jsonl: expected .* found without key=value"):
            open_source(str(tmp_path))

    def test_hidden_files_and_folders_are_left_out(self, tmp_path: Path) -> None:
        lay_out(tmp_path, "parquet", below=["day=1", "_temporary/day=2", ".hidden/day=3", "day=1/_delta_log"])
        write_parquet(tmp_path / "day=1" / "_metadata.parquet", [{"text": "no"}])
        assert keys(tmp_path, "text", "day") == [("0.0", 1), ("0.1", 1)]
        assert keys(tmp_path / "**" / "*.parquet", "text", "day") == [("0.0", 1), ("0.1", 1)]
        assert keys(tmp_path / "_temporary" / "*" / "*.parquet", "day") == [(2,)]

    def test_a_key_that_cannot_be_compared_names_the_file(self, tmp_path: Path) -> None:
        lay_out(tmp_path, below=["k=a"])
        with pytest.raises(SourceError, match=r"k=a/a\.jsonl: filters: a partition key of this file"):
            rows_of_all(open_source(str(tmp_path)).select(Selection.of([("k", ">", 1)])))
