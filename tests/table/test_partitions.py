"""A part split into folders `column=value`: each row is in one file, and common engines read the table back."""

from __future__ import annotations

import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_batch.api.endpoints import Endpoint
from airflow_provider_batch.exceptions import ConfigurationError, JobError
from airflow_provider_batch.results.lines import line_index
from airflow_provider_batch.table import part_writer, partitions
from airflow_provider_batch.table.part_filter import keep_succeeded, rows_without_success
from airflow_provider_batch.table.partitions import NULL, check_columns, check_values, folder_name, split_part
from airflow_provider_batch.table.schema import TableSpec
from tests.results.every_endpoint import lines
from tests.results.support import chat_body, http_error, land, success, write_sidecar

CHAT = TableSpec(Endpoint.CHAT_COMPLETIONS)
CARRIED = pa.schema(
    [
        ("day", pa.date32()),
        ("region", pa.string()),
        ("amount", pa.decimal128(5, 2)),
        ("open", pa.bool_()),
        ("score", pa.float64()),
        ("tags", pa.list_(pa.string())),
        ("status", pa.string()),
        ("_hidden", pa.string()),
        (".dotted", pa.string()),
    ]
)


def split(folder: Path, partition_by: list[str], **given: Any) -> tuple[list[dict[str, Any]], Path]:
    """Land rows, split the part into a table's folder, and return the rows and the folder."""
    landed = land(folder, **given)
    work = folder / "cut"
    work.mkdir(exist_ok=True)
    for file in split_part(landed.part, partition_by, work):
        to = folder / "table" / file.folder / "part-0123456789ab-00001-01.parquet"
        to.parent.mkdir(parents=True, exist_ok=True)
        file.path.rename(to)
        assert pq.read_metadata(to).num_rows == file.rows
    return landed.rows, folder / "table"


class TestFolders:
    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            ("eu", "c=eu"),
            (None, f"c={NULL}"),
            ("", f"c={NULL}"),
            ("a/b=c%d", "c=a%2Fb%3Dc%25d"),
            ("..", "c=.."),
            ("größe 1", "c=größe 1"),
            ("x\"#'*:?\\{[]^\n\x7f", "c=x%22%23%27%2A%3A%3F%5C%7B%5B%5D%5E%0A%7F"),
            (7, "c=7"),
            (True, "c=true"),
            (datetime.date(2026, 11, 22), "c=2026-11-22"),
            (Decimal("1.50"), "c=1.50"),
        ],
    )
    def test_are_named_as_hive_names_them(self, value: Any, expected: str) -> None:
        assert folder_name("c", value) == expected

    @given(st.text(max_size=20), st.text(min_size=1, max_size=20))
    def test_are_one_segment_that_says_the_value(self, name: str, value: str) -> None:
        column, _, text = folder_name(name, value).partition("=")
        assert (unquote(column), unquote(text)) == (name, value)
        assert "/" not in column + text


class TestChecks:
    """Before anything is sent."""

    @pytest.mark.parametrize(
        ("partition_by", "message"),
        [
            (["nope"], "expected a carried column .*'day'.* or one of status, .*, found 'nope'"),
            (["text"], "found 'text'"),
            (["row_number"], "found 'row_number'"),
            (["cost_usd"], "found 'cost_usd'"),
            (["score"], "column 'score' has the type double"),
            (["tags"], "column 'tags' has the type list"),
            (["day", "day"], "found 'day' twice"),
            (["video_status"], "found 'video_status'"),
            (["_hidden"], "column '_hidden' starts with '_', and readers ignore folders"),
            ([".dotted"], "column '.dotted'"),
            ([f"c{number}" for number in range(9)], "at most 8 columns, found 9"),
        ],
    )
    def test_a_column_that_makes_no_folders_is_named(self, partition_by: list[str], message: str) -> None:
        with pytest.raises(ConfigurationError, match=f"partition_by: .*{message}"):
            check_columns(partition_by, CHAT, CARRIED)

    def test_columns_are_known_by_the_names_they_land_under(self) -> None:
        check_columns(["input_status", "status", "day", "region", "amount", "open", "model", "round"], CHAT, CARRIED)
        check_columns(["video_status"], TableSpec(Endpoint.VIDEOS), CARRIED)

    def test_too_many_values_of_a_shard_are_counted(self, tmp_path: Path) -> None:
        ids = [str(number) for number in range(501)]
        rows = write_sidecar(tmp_path / "a", ids, carried=[{"k": n, "h": n // 2} for n in range(501)])
        check_values(rows, ["h", "status"], CHAT)
        with pytest.raises(ConfigurationError, match="k have 501 combinations of values in one batch; at most 500"):
            check_values(rows, ["k", "status"], CHAT)

    def test_a_value_that_is_too_long_for_a_name_is_shown(self, tmp_path: Path) -> None:
        rows = write_sidecar(tmp_path / "a", ["0"], carried=[{"k": "ü" * 130}])
        with pytest.raises(ConfigurationError, match="column 'k' has a value of 130 characters"):
            check_values(rows, ["k"], CHAT)

    def test_columns_are_checked_before_their_values(self, tmp_path: Path) -> None:
        at = pa.array([1], pa.timestamp("ns"))
        rows = write_sidecar(tmp_path / "a", ["0"], carried=[{"at": at[0], "time": datetime.time(1)}])
        for name in ("at", "time"):
            with pytest.raises(ConfigurationError, match=f"column '{name}' has the type"):
                check_values(rows, [name], CHAT)

    def test_a_date_that_python_cannot_hold_is_named(self, tmp_path: Path) -> None:
        rows = write_sidecar(
            tmp_path / "a", ["0"], carried=[{"day": pa.array([2**30], pa.int32()).view(pa.date32())[0]}]
        )
        with pytest.raises(ConfigurationError, match="column 'day' has a value without a folder name"):
            check_values(rows, ["day"], CHAT)

    def test_a_shard_without_carried_columns_is_fine(self, tmp_path: Path) -> None:
        check_values(write_sidecar(tmp_path / "a", ["0"]), ["status"], CHAT)


class TestSplitting:
    def test_each_row_is_in_the_folder_of_its_values(self, tmp_path: Path) -> None:
        carried = [{"day": "2026-11-20"}, {"day": "2026-11-21"}, {"day": None}, {"day": "2026-11-20"}]
        given = [success("0"), http_error("1"), success("2"), success("3")]
        rows, table = split(tmp_path, ["day", "status"], custom_ids=list("0123"), output=given, carried=carried)
        found = {
            str(path.parent.relative_to(table)): pq.ParquetFile(path).read().column("row_number").to_pylist()
            for path in table.rglob("*.parquet")
        }
        assert found == {
            "day=2026-11-20/status=succeeded": [0, 3],
            "day=2026-11-21/status=failed": [1],
            f"day={NULL}/status=succeeded": [2],
        }
        file = next(table.rglob("*.parquet"))
        assert not {"day", "status"} & set(pq.ParquetFile(file).schema_arrow.names)
        assert b"openai_batch.batch_id" in pq.read_metadata(file).metadata
        assert len(rows) == 4

    def test_the_engines_read_the_whole_table_back(self, tmp_path: Path) -> None:
        regions = ["eu", "a/b", None, "größe", "x=1", "50%"]
        given = [success(str(at), chat_body(f"t{at}")) for at in range(5)] + [http_error("5")]
        carried = [{"region": region, "n": at} for at, region in enumerate(regions)]
        rows, table = split(
            tmp_path, ["status", "region"], custom_ids=[str(at) for at in range(6)], output=given, carried=carried
        )
        names = ["row_number", "n", "status", "region", "text"]
        expected = [tuple(row[name] for name in names) for row in rows]
        query = f"select {', '.join(names)} from read_parquet('{table}/**/*.parquet') order by row_number"
        assert duckdb.sql(query).fetchall() == expected
        frame = pl.read_parquet(f"{table}/**/*.parquet", hive_partitioning=True).sort("row_number")
        assert frame.select(names).rows() == expected
        whole = ds.dataset(table, partitioning="hive").to_table(columns=names).sort_by("row_number")
        assert [tuple(row.values()) for row in whole.to_pylist()] == expected

    @pytest.mark.parametrize("endpoint", Endpoint, ids=lambda endpoint: endpoint.value)
    def test_the_rows_of_every_endpoint_come_out_as_they_went_in(self, endpoint: Endpoint, tmp_path: Path) -> None:
        given = lines(endpoint)
        ids = [line["custom_id"] for line in given]
        spec = TableSpec(endpoint, embedding_size=3 if endpoint is Endpoint.EMBEDDINGS else None)
        rows, table = split(tmp_path, ["status"], custom_ids=ids, output=given, spec=spec)
        found = []
        for path in table.rglob("*.parquet"):
            status = path.parent.name.partition("=")[2]
            found += [{**row, "status": status} for row in pq.ParquetFile(path).read().to_pylist()]
        assert sorted(found, key=lambda row: row["row_number"]) == [
            {**{name: value for name, value in row.items() if name != "status"}, "status": row["status"]}
            for row in rows
        ]

    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(values=st.lists(st.sampled_from(["a", "b", "c/", "", None]), min_size=1, max_size=40), data=st.data())
    def test_any_values_put_each_row_in_one_file_and_in_order(
        self, values: list[str | None], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        """Invariant 1, for any number of row groups and of open files."""
        folder = tmp_path_factory.mktemp("cut")
        ids = [str(number) for number in range(len(values))]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(part_writer, "ROW_GROUP_BYTES", 1)
            patch.setattr(line_index, "CHUNK_BYTES", data.draw(st.sampled_from([500, 5_000])))
            patch.setattr(partitions, "OPEN_FILES", data.draw(st.integers(1, 3)))
            patch.setattr(partitions, "BUFFERED_BYTES", data.draw(st.sampled_from([1, 1 << 20])))
            _, table = split(
                folder,
                ["k"],
                custom_ids=ids,
                output=[success(one) for one in ids],
                carried=[{"k": value} for value in values],
                batch_rows=data.draw(st.integers(1, 7)),
            )
        found: dict[str, list[int]] = {}
        for path in table.rglob("*.parquet"):
            found[path.parent.name] = pq.ParquetFile(path).read().column("row_number").to_pylist()
        expected: dict[str, list[int]] = {}
        for number, value in enumerate(values):
            expected.setdefault(folder_name("k", value), []).append(number)
        assert found == expected

    def test_too_many_files_are_an_error_that_says_what_to_do(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(partitions, "MAX_FILES", 3)
        landed = land(tmp_path, list("01234"), [], carried=[{"k": n} for n in range(5)])
        with pytest.raises(JobError, match="k have more than 3 combinations of values in one part"):
            split_part(landed.part, ["k"], tmp_path)

    def test_a_value_of_the_answer_that_is_too_long_is_an_error_that_says_what_to_do(self, tmp_path: Path) -> None:
        landed = land(tmp_path, ["0"], [http_error("0", 400, "x" * 300)])
        with pytest.raises(JobError, match=r"'error_code' has a value of 300 .* land the table again, which is free"):
            split_part(landed.part, ["status", "error_code"], tmp_path)


class TestPartFilter:
    """A rerun removes the rows without success from a part; the status may be in the folder name only."""

    @pytest.mark.parametrize("partition_by", [["status"], ["k"], ["k", "status"]])
    def test_removes_the_rows_without_success(self, partition_by: list[str], tmp_path: Path) -> None:
        given = [success("0"), http_error("1"), success("2"), http_error("3")]
        carried = [{"k": n % 2} for n in (0, 0, 1, 1)]
        _, table = split(tmp_path, partition_by, custom_ids=list("0123"), output=given, carried=carried)
        without, kept = [], []
        for path in table.rglob("*.parquet"):
            name = str(path.relative_to(table))
            without += list(rows_without_success(path, name))
            count = keep_succeeded(path, tmp_path / "kept.parquet", name)
            numbers = pq.read_table(tmp_path / "kept.parquet").column("row_number").to_pylist()
            assert len(numbers) == count
            kept += numbers
        assert (sorted(without), sorted(kept)) == ([1, 3], [0, 2])
