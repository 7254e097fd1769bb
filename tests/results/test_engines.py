"""The tables of all eight endpoints as pyarrow, DuckDB and Polars read them: the same columns, types and values."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_provider_batch import __version__, storage
from airflow_provider_batch.api.endpoints import Endpoint
from airflow_provider_batch.results.landing import ShardResults, land_shard
from airflow_provider_batch.results.lines import line_index
from airflow_provider_batch.results.media import MEDIA, MediaFiles
from airflow_provider_batch.table import part_writer
from airflow_provider_batch.table.columns import STATISTICS_COLUMNS
from airflow_provider_batch.table.part_footer import Origin
from airflow_provider_batch.table.schema import TableSpec, describe, own_columns, result_columns
from tests.results.every_endpoint import lines
from tests.results.support import chat_body, encoded, http_error, success, write_sidecar

#: What the emulator never says; the recorded lines do.
NOT_EMULATED = {Endpoint.RESPONSES: {"logprobs", "images"}}

ENDPOINTS = pytest.mark.parametrize("endpoint", Endpoint, ids=lambda endpoint: endpoint.value)


def land(folder: Path, endpoint: Endpoint, result_lines: Sequence[dict[str, Any]], **sidecar: Any) -> Path:
    """Land result lines and return the part."""
    table = folder / "table"
    table.mkdir()
    output = folder / "output.jsonl"
    output.write_bytes(b"".join(encoded(line) + b"\n" for line in result_lines))
    rows = write_sidecar(folder / "shard.arrow", [line["custom_id"] for line in result_lines], **sidecar)
    media = None
    if endpoint in MEDIA:
        place = storage.resolve(str(table))
        media = MediaFiles(place, "_files-0/1", endpoint, lambda _, to: to.write_bytes(b"x"))
    part = table / "part-0123456789ab-00001-01.parquet"
    size = 3 if endpoint is Endpoint.EMBEDDINGS else None
    spec = TableSpec(endpoint, raw="all", embedding_size=size)
    results = ShardResults(rows, output, None, "batch_1", "completed", 1)
    land_shard(results, spec, lambda _: True, part, folder / "r", media=media, origin=Origin("0123456789ab", 2))
    return part


def duckdb_type(kind: Any) -> str:
    """Return DuckDB's name for an Arrow type."""
    if pa.types.is_fixed_size_list(kind):
        return f"{duckdb_type(kind.value_type)}[]"
    if pa.types.is_map(kind):
        return f"MAP({duckdb_type(kind.key_type)}, {duckdb_type(kind.item_type)})"
    if pa.types.is_list(kind):
        return f"{duckdb_type(kind.value_type)}[]"
    if pa.types.is_struct(kind):
        fields = (f"{field.name} {duckdb_type(field.type)}" for field in kind)
        return f"STRUCT({', '.join(fields)})"
    if pa.types.is_decimal(kind):
        return f"DECIMAL({kind.precision},{kind.scale})"
    return {
        pa.string(): "VARCHAR",
        pa.int64(): "BIGINT",
        pa.int16(): "SMALLINT",
        pa.bool_(): "BOOLEAN",
        pa.float64(): "DOUBLE",
        pa.float32(): "FLOAT",
    }[kind]


def polars_type(kind: Any) -> Any:
    """Return Polars' type for an Arrow type."""
    if pa.types.is_fixed_size_list(kind):
        return pl.Array(polars_type(kind.value_type), kind.list_size)
    if pa.types.is_map(kind):
        return pl.Map(polars_type(kind.key_type), polars_type(kind.item_type))
    if pa.types.is_list(kind):
        return pl.List(polars_type(kind.value_type))
    if pa.types.is_struct(kind):
        return pl.Struct({field.name: polars_type(field.type) for field in kind})
    if pa.types.is_decimal(kind):
        return pl.Decimal(kind.precision, kind.scale)
    return {
        pa.string(): pl.String(),
        pa.int64(): pl.Int64(),
        pa.int16(): pl.Int16(),
        pa.bool_(): pl.Boolean(),
        pa.float64(): pl.Float64(),
        pa.float32(): pl.Float32(),
    }[kind]


def plain(value: Any) -> Any:
    """Return a value in the form of all engines: embeddings and pairs as lists."""
    if isinstance(value, Mapping):
        return {name: plain(one) for name, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, list | tuple) else value


def duckdb_rows(part: Path) -> list[dict[str, Any]]:
    """Read a part with DuckDB."""
    with duckdb.connect() as connection:
        found = connection.execute(f"from '{part}' order by row_number")
        names = [column[0] for column in found.description or ()]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def paired(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows whose maps are lists of pairs, as pyarrow returns them."""
    for row in rows:
        for holder in (row, *(row.get("results") or ())):
            if isinstance(holder.get("category_scores"), Mapping):
                holder["category_scores"] = list(holder["category_scores"].items())
    return [plain(row) for row in rows]


@ENDPOINTS
def test_all_three_engines_read_the_same_schema_and_the_same_values(endpoint: Endpoint, tmp_path: Path) -> None:
    part = land(tmp_path, endpoint, lines(endpoint))
    table = pq.read_table(part)
    kinds = dict(zip(table.schema.names, table.schema.types, strict=True))
    expected = result_columns(TableSpec(endpoint, embedding_size=3 if endpoint is Endpoint.EMBEDDINGS else None))
    assert list(kinds) == list(expected)
    assert all(kinds[name].equals(kind) for name, kind in expected.items())
    assert "succeeded" in table.column("status").to_pylist()

    described = duckdb.sql(f"describe from '{part}'").fetchall()
    assert {name: kind.replace('"', "") for name, kind, *_ in described} == {
        name: duckdb_type(kind) for name, kind in kinds.items()
    }
    frame = pl.read_parquet(part).sort("row_number")
    assert dict(frame.schema) == {name: polars_type(kind) for name, kind in kinds.items()}

    values = [plain(row) for row in table.to_pylist()]
    assert paired(duckdb_rows(part)) == values
    assert paired(frame.to_dicts()) == values


@ENDPOINTS
def test_every_own_column_has_a_value_in_some_row(endpoint: Endpoint, tmp_path: Path) -> None:
    """A column that no answer of the emulator fills would be untested everywhere."""
    part = land(tmp_path, endpoint, lines(endpoint))
    rows = pq.read_table(part).to_pylist()
    own = own_columns(TableSpec(endpoint))
    empty = {name for name in own if all(row[name] in (None, []) for row in rows)}
    assert empty <= {"refusal", "reasoning"} | NOT_EMULATED.get(endpoint, set())


def test_readers_skip_row_groups_by_row_number_and_status(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(part_writer, "ROW_GROUP_BYTES", 50_000)
    monkeypatch.setattr(line_index, "CHUNK_BYTES", 20_000)
    ids = [str(number) for number in range(600)]
    some = [success(one, chat_body("x" * 500)) if int(one) < 400 else http_error(one) for one in ids]
    part = land(tmp_path, Endpoint.CHAT_COMPLETIONS, some, carried=[{"day": f"d{int(one) // 300}"} for one in ids])
    metadata = pq.ParquetFile(part).metadata
    assert metadata.num_row_groups > 3
    seen = set()
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        columns = {group.column(at).path_in_schema: group.column(at) for at in range(group.num_columns)}
        for name in STATISTICS_COLUMNS & columns.keys():
            assert columns[name].is_stats_set, name
        assert columns["day"].is_stats_set
        assert {column.compression for column in columns.values()} == {"ZSTD"}
        low, high = columns["row_number"].statistics.min, columns["row_number"].statistics.max
        assert high - low + 1 == group.num_rows
        seen.add((columns["status"].statistics.min, columns["status"].statistics.max))
    assert ("succeeded", "succeeded") in seen
    assert ("failed", "failed") in seen


class TestFooter:
    def test_has_the_provenance_of_the_part(self, tmp_path: Path) -> None:
        other = success("1", chat_body(model="gpt-4o-mini-2025-01-01"))
        part = land(tmp_path, Endpoint.CHAT_COMPLETIONS, [success("0"), other, http_error("2")])
        found = pq.read_metadata(part).metadata
        assert {key.decode().removeprefix("openai_batch."): value.decode() for key, value in found.items()}.items() >= {
            "job": "0123456789ab",
            "generation": "2",
            "batch_id": "batch_1",
            "round": "1",
            "endpoint": "/v1/chat/completions",
            "models": "gpt-4o-mini-2024-07-18,gpt-4o-mini-2025-01-01",
            "version": __version__,
            "pyarrow": pa.__version__,
        }.items()
        assert json.loads(found[b"openai_batch.columns"])["finish_reason"] == "why the model stopped"
        same = dict(duckdb.sql(f"select key, value from parquet_kv_metadata('{part}')").fetchall())
        assert same[b"openai_batch.job"] == b"0123456789ab"
        assert pl.read_parquet_metadata(part)["openai_batch.generation"] == "2"

    @ENDPOINTS
    def test_describes_every_column(self, endpoint: Endpoint) -> None:
        described = describe(TableSpec(endpoint))
        assert [name for name, text in described.items() if not text] == []


def test_an_embedding_keeps_its_precision(tmp_path: Path) -> None:
    part = land(tmp_path, Endpoint.EMBEDDINGS, lines(Endpoint.EMBEDDINGS))
    first, second, *_ = pq.read_table(part).to_pylist()
    assert first["embedding"] == second["embeddings"][0]
    assert math.isclose(sum(x * x for x in first["embedding"]), 1.0, rel_tol=1e-5)
