"""Every recorded line becomes its row, by the typed and by the tolerant reader, and in a landing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from airflow_provider_batch.results.line_reader import LineReader, Row
from airflow_provider_batch.results.lines.raw_body import read_raw_body
from airflow_provider_batch.table.schema import TableSpec
from tests.results.recorded import LINES, VECTOR, Recorded
from tests.results.support import land

SIZE = len(VECTOR)


@pytest.mark.parametrize("case", LINES, ids=lambda case: f"{case.endpoint.value}: {case.name}")
def test_a_recorded_line_lands_as_its_row(case: Recorded, tmp_path: Path) -> None:
    spec = TableSpec(case.endpoint, embedding_size=SIZE)
    landed = land(tmp_path, ["1"], [case.line], spec=spec)
    (row,) = landed.rows
    assert row["status"] == case.status
    assert {name: row[name] for name in case.columns} == case.columns
    assert landed.report.statuses == {case.status: 1}


@pytest.mark.parametrize("case", LINES, ids=lambda case: f"{case.endpoint.value}: {case.name}")
def test_both_readers_make_the_same_row_of_a_recorded_line(case: Recorded) -> None:
    reader = LineReader(TableSpec(case.endpoint, embedding_size=SIZE))
    row = reader.read(case.line)
    assert row == reader.read_leniently(case.line)
    assert row.own_failure == case.own_failure


@pytest.mark.parametrize("case", LINES, ids=lambda case: f"{case.endpoint.value}: {case.name}")
def test_the_typed_decoder_reads_what_it_is_said_to_read(case: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    tolerant: list[bytes] = []
    read_leniently = LineReader.read_leniently

    def spy(self: LineReader, raw: bytes) -> Row:
        tolerant.append(raw)
        return read_leniently(self, raw)

    monkeypatch.setattr(LineReader, "read_leniently", spy)
    LineReader(TableSpec(case.endpoint, embedding_size=SIZE)).read(case.line)
    assert (not tolerant) == case.typed


@pytest.mark.parametrize(
    ("raw", "kept"), [("errors", [None, '{"error": {"code": "x"}}']), ("none", [None, None]), ("all", None)]
)
def test_the_response_is_kept_for_the_rows_that_raw_names(raw: Any, kept: Any, tmp_path: Path) -> None:
    body = '{"choices": [{"message": {"content": "a"}}], "z": "\\u00e9"}'
    line = f'{{"custom_id": "1", "response": {{"status_code": 200, "body": {body}}}}}'.encode()
    failed = b'{"custom_id": "2", "response": {"status_code": 400, "body": {"error": {"code": "x"}}}}'
    landed = land(tmp_path, ["1", "2"], [line, failed], spec=TableSpec(LINES[0].endpoint, raw=raw))
    expected = kept or [body, '{"error": {"code": "x"}}']
    assert [row["response"] for row in landed.rows] == expected


def test_a_body_is_kept_as_it_stands_without_being_parsed() -> None:
    line = b'{"response": {"body": {"z":  1.0, "\\u00e9": [null]}}}'
    assert read_raw_body(line) == '{"z":  1.0, "\\u00e9": [null]}'
    assert read_raw_body(b'{"response": {"body": null}}') is None
    assert read_raw_body(b'{"response": null}') is None
    assert read_raw_body(b"no JSON") is None


def test_a_body_that_was_encoded_twice_is_kept_as_the_json_that_it_holds(tmp_path: Path) -> None:
    line = b'{"custom_id": "1", "response": {"status_code": 400, "body": "{\\"error\\": {\\"code\\": \\"x\\"}}"}}'
    (row,) = land(tmp_path, ["1"], [line]).rows
    assert msgspec.json.decode(row["response"]) == {"error": {"code": "x"}}
    assert row["error_code"] == "x"
