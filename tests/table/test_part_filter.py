"""A part without the rows that are sent again."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq

from airflow_provider_batch.table.part_filter import keep_succeeded, rows_without_success
from tests.results.support import http_error, land, success


def test_only_the_succeeded_rows_stay_with_schema_and_provenance(tmp_path: Path) -> None:
    carried = [{"word": str(number)} for number in range(3)]
    landed = land(tmp_path, ["0", "1", "2"], [success("0"), success("2")], [http_error("1")], carried=carried)
    assert list(rows_without_success(landed.part)) == [1]
    kept = tmp_path / "kept.parquet"
    assert keep_succeeded(landed.part, kept) == 2
    assert pq.read_table(kept).to_pylist() == [landed.rows[0], landed.rows[2]]
    before, after = pq.ParquetFile(landed.part), pq.ParquetFile(kept)
    assert after.schema_arrow.equals(before.schema_arrow)
    assert after.metadata.metadata[b"openai_batch.batch_id"] == b"batch_1"


def test_a_part_in_which_nothing_succeeded_is_empty(tmp_path: Path) -> None:
    landed = land(tmp_path, ["0"], [http_error("0")])
    kept = tmp_path / "kept.parquet"
    assert keep_succeeded(landed.part, kept) == 0
    assert pq.read_table(kept).num_rows == 0
