"""Shards: every row in exactly one, in order, within every limit; and both files read back as they were written."""

from __future__ import annotations

import hashlib
import json
import resource
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_batch.api.endpoints import Endpoint
from airflow_provider_batch.exceptions import RequestError
from airflow_provider_batch.requests import shards as shards_module
from airflow_provider_batch.requests.request_lines import Lines
from airflow_provider_batch.requests.shards import SIDECAR_ROWS, Shard, ShardKey, ShardWriter, request_lines
from airflow_provider_batch.requests.sidecar import STATE, read_sidecar, sidecar_schema

SCHEMA = sidecar_schema(pa.schema([("text", pa.string())]))


def sidecar_rows(first: int, texts: list[str]) -> pa.RecordBatch:
    state = dict.fromkeys(field.name for field in STATE)
    rows = [
        {"row_number": number, "custom_id": f"c{number}", "state": {**state, "attempts": 0}, "carried": {"text": text}}
        for number, text in enumerate(texts, first)
    ]
    return pa.RecordBatch.from_pylist(rows, schema=SCHEMA)


def write(
    folder: Path, batches: list[list[tuple[bytes, str | None, int]]], endpoint: Endpoint, **limits: int
) -> list[Shard]:
    """Write batches of (line, model, inputs)."""
    written: list[Shard] = []
    first = 0
    with ShardWriter(folder, 1, endpoint, written.append, **limits) as writer:
        for batch in batches:
            rows = sidecar_rows(first, [line[:100].decode() for line, _, _ in batch])
            first += len(batch)
            writer.add(
                Lines.of([item[0] for item in batch]), rows, [item[1] for item in batch], [item[2] for item in batch]
            )
    return written


def lines_of(shard: Shard) -> list[bytes]:
    return [line for _, line in request_lines(shard.lines)]


def rows_of(shard: Shard) -> list[dict[str, Any]]:
    return [row for batch in read_sidecar(shard.rows) for row in batch.to_pylist()]


ITEMS = st.tuples(
    st.integers(1, 30).map(lambda size: b"x" * size), st.sampled_from(["a", "b", None, "c"]), st.integers(1, 9)
)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    batches=st.lists(st.lists(ITEMS, max_size=12), max_size=6),
    max_rows=st.integers(1, 9),
    max_bytes=st.integers(31, 90),
    max_inputs=st.integers(9, 20),
    open_shards=st.sampled_from([1, 2, 64]),
)
def test_every_row_stands_in_one_shard_in_order_and_within_the_limits(
    tmp_path_factory: pytest.TempPathFactory,
    batches: list[list[tuple[bytes, str | None, int]]],
    max_rows: int,
    max_bytes: int,
    max_inputs: int,
    open_shards: int,
) -> None:
    folder = tmp_path_factory.mktemp("shards")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards_module, "OPEN_SHARDS", open_shards)
        limits = {"max_rows": max_rows, "max_bytes": max_bytes, "max_inputs": max_inputs}
        written = write(folder, batches, Endpoint.EMBEDDINGS, **limits)
    items = [item for batch in batches for item in batch]
    placed: list[int] = []
    for shard in written:
        numbers = [row["row_number"] for row in rows_of(shard)]
        assert numbers == sorted(numbers)
        assert lines_of(shard) == [items[number][0] for number in numbers]
        assert [row["carried"]["text"].encode() for row in rows_of(shard)] == lines_of(shard)
        assert {items[number][1] for number in numbers} == {shard.model}
        assert shard.lines.stat().st_size == shard.byte_count <= max_bytes
        assert len(numbers) == shard.row_count <= max_rows
        assert sum(items[number][2] for number in numbers) == shard.input_count <= max_inputs
        placed += numbers
    assert sorted(placed) == list(range(len(items)))
    assert sorted(shard.key.number for shard in written) == list(range(1, len(written) + 1))
    for _, own in groupby(sorted(written, key=lambda shard: str(shard.model)), key=lambda shard: shard.model):
        firsts = [rows_of(shard)[0]["row_number"] for shard in sorted(own, key=lambda shard: shard.key)]
        assert firsts == sorted(firsts)


def test_shards_are_as_full_as_the_limits_allow(tmp_path: Path) -> None:
    items = [(b"x" * 9, "m", 1)] * 25
    by_rows = write(tmp_path / "a", [items], Endpoint.RESPONSES, max_rows=10)
    by_bytes = write(tmp_path / "b", [items], Endpoint.RESPONSES, max_bytes=100)
    by_inputs = write(tmp_path / "c", [[(b"x", "m", 5)] * 25], Endpoint.EMBEDDINGS, max_inputs=50)
    assert [[shard.row_count for shard in shards] for shards in (by_rows, by_bytes, by_inputs)] == [[10, 10, 5]] * 3


def test_a_shard_is_handed_over_as_soon_as_it_is_full(tmp_path: Path) -> None:
    written: list[Shard] = []
    writer = ShardWriter(tmp_path, 3, Endpoint.RESPONSES, written.append, max_rows=2)
    writer.add(Lines.of([b"1", b"2", b"3"]), sidecar_rows(0, ["1", "2", "3"]), ["m"] * 3, [1] * 3)
    assert [str(shard.key) for shard in written] == ["r03-s00001"]
    written[0].lines.unlink()
    written[0].rows.unlink()
    writer.close()
    assert [str(shard.key) for shard in written] == ["r03-s00001", "r03-s00002"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r03-s00002.arrow", "r03-s00002.jsonl"]


def test_a_line_that_fits_no_file_names_its_row(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"row 1: this request alone has 101 bytes; a file takes at most 100"):
        write(tmp_path, [[(b"x", "m", 1), (b"x" * 100, "m", 1)]], Endpoint.RESPONSES, max_bytes=100)
    assert {path.stem for path in tmp_path.iterdir()} <= {"r01-s00001"}  # finished before, and handed over


def test_a_line_with_too_many_inputs_names_its_row(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"row 1: this request has 50,001 inputs"):
        write(tmp_path, [[(b"x", "m", 1), (b"x", "m", 50_001)]], Endpoint.EMBEDDINGS)


def test_a_failure_leaves_no_unfinished_file(tmp_path: Path) -> None:
    def fail() -> None:
        with ShardWriter(tmp_path, 1, Endpoint.RESPONSES, lambda shard: None) as writer:
            writer.add(Lines.of([b"1"]), sidecar_rows(0, ["1"]), ["m"], [1])
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_hashes_notice_a_changed_line_and_a_changed_carried_value(tmp_path: Path) -> None:
    def hashes(line: bytes, carried: str) -> tuple[str, str]:
        written: list[Shard] = []
        with ShardWriter(tmp_path, 1, Endpoint.RESPONSES, written.append) as writer:
            writer.add(Lines.of([line]), sidecar_rows(0, [carried]), ["m"], [1])
        assert written[0].sha256 == hashlib.sha256(line + b"\n").hexdigest()
        return written[0].sha256, written[0].rows_sha256

    first = hashes(b"a", "a")
    assert first == hashes(b"a", "a")
    assert first[0] != hashes(b"b", "a")[0]
    assert first[1] != hashes(b"a", "b")[1]


@pytest.mark.parametrize("sizes", [[5_000], [1] * 5_000, [1_500, 1_500, 2_000]])
def test_the_files_do_not_depend_on_how_the_rows_were_cut(tmp_path: Path, sizes: list[int]) -> None:
    items = [(b"%d" % number, "m", 1) for number in range(5_000)]
    cut, start = [], 0
    for size in sizes:
        cut.append(items[start : start + size])
        start += size
    (shard,) = write(tmp_path / "cut", cut, Endpoint.RESPONSES)
    (whole,) = write(tmp_path / "whole", [items], Endpoint.RESPONSES)
    assert (shard.sha256, shard.rows_sha256) == (whole.sha256, whole.rows_sha256)
    assert [batch.num_rows for batch in read_sidecar(shard.rows)] == [SIDECAR_ROWS, SIDECAR_ROWS, 904]


def test_wide_rows_make_small_record_batches(tmp_path: Path) -> None:
    items = [(b"x", "m", 1)] * 40
    written: list[Shard] = []
    with ShardWriter(tmp_path, 1, Endpoint.RESPONSES, written.append) as writer:
        writer.add(Lines.of([item[0] for item in items]), sidecar_rows(0, ["y" * 1_000_000] * 40), ["m"] * 40, [1] * 40)
    batches = list(read_sidecar(written[0].rows))
    assert sum(batch.num_rows for batch in batches) == 40
    assert max(batch.num_rows for batch in batches) <= 9


def test_a_disk_that_takes_a_part_of_the_last_lines_is_an_error(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            write(tmp_path, [[(b"x" * 60_000, "m", 1)]], Endpoint.RESPONSES)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


def test_rows_that_were_read_back_can_be_written_again(tmp_path: Path) -> None:
    (first,) = write(tmp_path / "1", [[(b"%d" % number, "m", 1) for number in range(5)]], Endpoint.RESPONSES)
    written: list[Shard] = []
    with ShardWriter(tmp_path / "2", 2, Endpoint.RESPONSES, written.append) as writer:
        for batch in read_sidecar(first.rows):
            retried = batch.append_column("position", pa.array(range(5))).take(pa.array([1, 3]))
            writer.add(Lines.of([b"1", b"3"]), retried, ["m", "m"], [1, 1])
    assert [row["row_number"] for row in rows_of(written[0])] == [1, 3]
    assert next(read_sidecar(written[0].rows)).schema == SCHEMA


def test_lines_end_at_newline_bytes_only(tmp_path: Path) -> None:
    lines = [json.dumps({"t": f"a{mark}b"}, ensure_ascii=False).encode() for mark in "\u2028\u2029\u0085\x0b\x1c\r"]
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(lines))
    assert list(request_lines(tmp_path / "a.jsonl")) == list(enumerate(lines))


@given(round_number=st.integers(1, 10**4), number=st.integers(1, 10**7))
def test_a_key_is_read_back_from_its_text(round_number: int, number: int) -> None:
    key = ShardKey(round_number, number)
    assert ShardKey.parse(str(key)) == key


def test_a_key_reads_as_documented() -> None:
    assert str(ShardKey(1, 1)) == "r01-s00001"


@pytest.mark.parametrize("text", ["", "r1-s1", "r01-s00001.jsonl", "r01s00001", "rr01-s00001", "r٠١-s00001"])
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a shard key"):
        ShardKey.parse(text)
