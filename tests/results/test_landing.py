"""Each input row becomes one row of the part, whatever the results contain; and readers can read the part."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from array import array
from collections import Counter
from dataclasses import replace
from decimal import Decimal
from itertools import accumulate
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_batch.api.endpoints import Endpoint
from airflow_provider_batch.api.objects import FileError
from airflow_provider_batch.exceptions import ConfigurationError, StorageError
from airflow_provider_batch.results.landing import RowOutcome, ShardResults, land_shard
from airflow_provider_batch.results.lines import line_index
from airflow_provider_batch.table import part_writer
from airflow_provider_batch.table.schema import (
    EmbeddingSizes,
    TableSpec,
    carried_names,
    embedding_sizes,
    result_columns,
)
from tests.results.recorded import VECTOR, embeddings_body
from tests.results.support import (
    chat_body,
    chat_choice,
    encoded,
    http_error,
    land,
    not_run,
    success,
    write_sidecar,
)
from tests.results.test_fast_path import USUAL

IDS = [str(number) for number in range(5)]
EMBEDDINGS = TableSpec(Endpoint.EMBEDDINGS)
CHAT = TableSpec(Endpoint.CHAT_COMPLETIONS)
PROPERTY = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def never(outcome: RowOutcome) -> bool:
    return False


class TestMerging:
    def test_rows_of_both_files_are_in_input_order(self, tmp_path: Path) -> None:
        output = [success(custom_id, chat_body(f"text {custom_id}")) for custom_id in ("3", "0", "4")]
        landed = land(tmp_path, IDS, output, [http_error("2"), not_run("1")], first_row=100)
        assert [row["custom_id"] for row in landed.rows] == IDS
        assert [row["row_number"] for row in landed.rows] == list(range(100, 105))
        assert [row["status"] for row in landed.rows] == ["succeeded", "expired", "failed", "succeeded", "succeeded"]
        assert [row["text"] for row in landed.rows] == ["text 0", None, None, "text 3", "text 4"]

    def test_the_status_code_of_a_line_counts_and_not_its_file(self, tmp_path: Path) -> None:
        landed = land(tmp_path, ["0", "1"], [http_error("0", 500)], [success("1")])
        assert [row["status"] for row in landed.rows] == ["failed", "succeeded"]

    @pytest.mark.parametrize("status", ["completed", "failed", "expired", "cancelled"])
    def test_both_files_are_read_in_every_terminal_state(self, status: str, tmp_path: Path) -> None:
        """Invariant 4."""
        landed = land(tmp_path, ["0", "1"], [success("0")], [http_error("1")], batch_status=status)
        assert landed.report.statuses == {"succeeded": 1, "failed": 1}

    @pytest.mark.parametrize("first", [True, False])
    def test_of_two_lines_the_success_is_preferred(self, first: bool, tmp_path: Path) -> None:
        lines = [success("0"), http_error("0")]
        landed = land(tmp_path, ["0"], lines if first else lines[::-1])
        assert (landed.rows[0]["status"], landed.report.duplicates) == ("succeeded", 1)

    @pytest.mark.parametrize("make", [lambda text: success("0", chat_body(text)), lambda text: not_run("0", text)])
    def test_of_two_equal_lines_the_first_is_kept(self, make: Any, tmp_path: Path) -> None:
        landed = land(tmp_path, ["0"], [make("a")], [make("b")])
        (row,) = landed.rows
        assert "a" in (row["text"], row["error_code"])
        assert landed.report.duplicates == 1

    def test_a_readable_line_is_preferred_to_a_truncated_one(self, tmp_path: Path) -> None:
        landed = land(tmp_path, ["0"], [encoded(success("0"))[:-30], success("0")])
        assert landed.rows[0]["status"] == "succeeded"

    def test_foreign_and_unreadable_lines_are_counted_and_cost_nothing(self, tmp_path: Path) -> None:
        noise = [success("no such"), b"<html>", b"[1]", b'{"custom_id": null}', b"", b"   ", b'{"x": 1}']
        landed = land(tmp_path, ["0"], [*noise, success("0")])
        assert landed.report.statuses == {"succeeded": 1}
        assert (landed.report.foreign, landed.report.unreadable) == (1, 4)
        assert landed.unreadable == [b"<html>", b"[1]", b'{"custom_id": null}', b'{"x": 1}']

    def test_a_truncated_line_with_an_id_is_a_failed_row_and_kept(self, tmp_path: Path) -> None:
        cut = encoded(success("0"))[:-30]
        landed = land(tmp_path, ["0"], [cut])
        assert landed.rows[0]["error_code"] == "unreadable_line"
        assert cut.decode()[:40] in landed.rows[0]["error_message"]
        assert landed.unreadable == [cut]

    def test_line_ends_of_windows_and_a_missing_last_one_are_fine(self, tmp_path: Path) -> None:
        output = encoded(success("0")) + b"\r\n\r\n" + encoded(success("1"))
        assert land(tmp_path, ["0", "1"], output).report.statuses == {"succeeded": 2}

    @pytest.mark.parametrize("custom_id", ["größe", 'a"b', "back\\slash", "\u2028", " ", "1.0", "\U0001f600"])
    @pytest.mark.parametrize("ascii_only", [True, False])
    def test_ids_of_any_kind_find_their_rows(self, custom_id: str, ascii_only: bool, tmp_path: Path) -> None:
        line = encoded(success(custom_id), ascii_only=ascii_only)
        assert land(tmp_path, [custom_id], [line]).report.statuses == {"succeeded": 1}

    def test_an_id_that_is_a_number_in_the_results_finds_its_row(self, tmp_path: Path) -> None:
        assert land(tmp_path, ["7"], [{**success("7"), "custom_id": 7}]).report.statuses == {"succeeded": 1}

    @PROPERTY
    @given(data=st.data())
    def test_any_partition_of_the_rows_gives_each_row_once_and_in_order(
        self, data: st.DataObject, tmp_path: Path
    ) -> None:
        """Invariant 1."""
        places = data.draw(st.lists(st.sampled_from(["output", "error", "neither", "both", "twice"]), max_size=12))
        again = data.draw(st.sets(st.sampled_from(["succeeded", "failed", "missing"])))
        output, error, expected = [success("foreign")], [], []
        for number, place in enumerate(places):
            custom_id = str(number)
            output += [success(custom_id)] * {"output": 1, "both": 1, "twice": 2}.get(place, 0)
            error += [http_error(custom_id)] * {"error": 1, "both": 1}.get(place, 0)
            expected.append({"error": "failed", "neither": "missing"}.get(place, "succeeded"))
        for lines in (output, error):
            data.draw(st.randoms()).shuffle(lines)
        landed = land(
            tmp_path,
            [str(number) for number in range(len(places))],
            output,
            error,
            is_final=lambda outcome: outcome.status not in again,
            batch_rows=data.draw(st.integers(1, 5)),
        )
        final = [(number, status) for number, status in enumerate(expected) if status not in again]
        assert [(row["row_number"], row["status"]) for row in landed.rows] == final
        others = [(number, status) for number, status in enumerate(expected) if status in again]
        assert [(row["position"], row["state"]["status"]) for row in landed.retry] == others
        assert landed.report.statuses == Counter(status for _, status in final)
        assert landed.report.duplicates == places.count("both") + places.count("twice")
        assert landed.report.foreign == 1

    @PROPERTY
    @given(output=st.binary(max_size=80), error=st.binary(max_size=80), data=st.data())
    def test_no_bytes_lose_a_row_or_stop_the_landing(
        self, output: bytes, error: bytes, data: st.DataObject, tmp_path: Path
    ) -> None:
        """Invariants 1 and 10."""
        good = encoded(success("1"))
        at = data.draw(st.integers(0, len(good)))
        output = data.draw(st.sampled_from([output, good[:at] + output + good[at:], good + b"\n" + output]))
        landed = land(tmp_path, IDS, output, error, is_final=lambda outcome: outcome.status != "missing")
        assert landed.report.rows + landed.report.retry_rows == len(IDS)
        assert sorted(row["row_number"] for row in landed.rows + landed.retry) == list(range(len(IDS)))


class TestRowsWithoutALine:
    @pytest.mark.parametrize(
        ("batch_status", "status", "code"),
        [
            ("completed", "missing", "missing_result"),
            ("expired", "expired", "batch_expired"),
            ("cancelled", "cancelled", "batch_cancelled"),
            ("failed", "failed", "batch_failed"),
            ("", "cancelled", "not_submitted"),
        ],
    )
    def test_they_have_the_status_of_their_batch(
        self, batch_status: str, status: str, code: str, tmp_path: Path
    ) -> None:
        landed = land(tmp_path, ["0"], None, None, batch_status=batch_status)
        (row,) = landed.rows
        assert (row["status"], row["error_code"], row["status_code"]) == (status, code, None)
        assert row["error_message"]

    def test_a_refused_file_names_its_bad_lines_and_the_others_were_not_run(self, tmp_path: Path) -> None:
        refused = {1: FileError("invalid_url", "Wrong URL.", param="url", line=2)}
        landed = land(tmp_path, IDS[:3], None, None, batch_status="failed", refused=refused)
        assert [row["error_code"] for row in landed.rows] == ["not_run", "invalid_url", "not_run"]
        assert landed.rows[1]["error_message"] == "Wrong URL. (param url)"

    def test_a_row_that_was_not_submitted_keeps_the_status_of_its_last_round(self, tmp_path: Path) -> None:
        state = {
            "attempts": 2,
            "status": "failed",
            "status_code": 500,
            "error_code": "x",
            "error_message": "m",
            "batch_id": "batch_0",
        }
        seen: list[RowOutcome] = []
        landed = land(
            tmp_path,
            ["0", "1"],
            None,
            None,
            batch_status="",
            batch_id=None,
            round_number=3,
            states=[state, None],
            is_final=lambda outcome: seen.append(outcome) is None,
        )
        first, second = landed.rows
        assert {name: first[name] for name in state if name != "attempts"} == {
            k: v for k, v in state.items() if k != "attempts"
        }
        assert first["round"] == 3
        assert (second["status"], second["batch_id"]) == ("cancelled", None)
        assert seen == [RowOutcome("failed", 500, "x", 2), RowOutcome("cancelled", None, "not_submitted", 0)]


class TestRetry:
    def test_rows_that_are_not_final_keep_their_columns_and_their_state(self, tmp_path: Path) -> None:
        states = [None, {"attempts": 1, "status": "failed"}, None]
        landed = land(
            tmp_path,
            IDS[:3],
            [success("0")],
            [http_error("1", 500, "boom"), not_run("2")],
            is_final=lambda outcome: outcome.status == "succeeded",
            states=states,
            carried=[{"word": "a"}, {"word": "b"}, {"word": "c"}],
            first_row=10,
        )
        failed, expired = landed.retry
        assert failed == {
            "row_number": 11,
            "custom_id": "1",
            "state": {
                "attempts": 2,
                "status": "failed",
                "status_code": 500,
                "error_code": "boom",
                "error_message": "Too many.",
                "batch_id": "batch_1",
            },
            "carried": {"word": "b"},
            "position": 1,
        }
        assert (expired["state"]["attempts"], expired["state"]["status"], expired["position"]) == (0, "expired", 2)
        assert [row["word"] for row in landed.rows] == ["a"]

    def test_only_own_failed_executions_count_as_attempts(self, tmp_path: Path) -> None:
        ids = ["ok", "http", "timeout", "expired", "cancelled", "refused", "cut", "missing"]
        seen: dict[str, int] = {}
        cut_off = success("cut", chat_body(choices=[chat_choice("Hel", "length")]))
        refusal = success("refused", chat_body(choices=[chat_choice(None, refusal="No.")]))
        error = [
            http_error("http"),
            not_run("timeout", "request_timeout"),
            not_run("expired"),
            not_run("cancelled", "batch_cancelled"),
        ]

        landed = land(
            tmp_path, ids, [success("ok"), cut_off, refusal], error, is_final=never, states=[{"attempts": 1}] * len(ids)
        )
        for row in landed.retry:
            seen[row["custom_id"]] = row["state"]["attempts"]
        assert seen == {**dict.fromkeys(ids, 1), "http": 2, "timeout": 2}

    @pytest.mark.parametrize(
        "response",
        [
            None,
            {},
            {"status_code": 0},
            {"status_code": None, "body": None},
            {"status_code": "0", "body": ""},
            {"status_code": 0, "request_id": "", "body": {}},
            {"status_code": 0, "body": {"error": {"message": ""}}},
        ],
    )
    @pytest.mark.parametrize("error", [None, {}, {"code": None, "message": ""}, "absent"])
    @pytest.mark.parametrize("in_output", [True, False])
    def test_a_line_without_a_result_does_not_count_as_an_attempt(
        self, response: Any, error: Any, in_output: bool, tmp_path: Path
    ) -> None:
        line = {"id": "batch_req_1", "custom_id": "0", "response": response, "error": error}
        given = {name: value for name, value in line.items() if value != "absent"}
        seen: list[RowOutcome] = []
        lines = ([given], []) if in_output else ([], [given])
        land(tmp_path, ["0"], *lines, is_final=lambda outcome: seen.append(outcome) is None)
        assert [(outcome.error_code, outcome.attempts) for outcome in seen] == [("not_run", 0)]

    @pytest.mark.parametrize("name", ["result", "output", "response_body"])
    def test_a_line_with_a_result_in_an_unknown_field_does_not_count_as_not_run(
        self, name: str, tmp_path: Path
    ) -> None:
        """Invariant 2: its content may be charged."""
        lines = [{"custom_id": one, name: success(one)["response"]} for one in IDS]
        landed = land(tmp_path, IDS, lines)
        assert {row["error_code"] for row in landed.rows} == {"unreadable_line"}
        assert landed.report.matching.unreadable_rows == len(IDS)

    def test_a_second_retry_replaces_state_and_position(self, tmp_path: Path) -> None:
        first = land(tmp_path, IDS, None, None, is_final=never)
        table = pa.ipc.open_file(str(tmp_path / "retry.arrow")).read_all()
        rows = tmp_path / "again.arrow"
        with pa.ipc.new_file(str(rows), table.schema) as writer:
            writer.write_table(table.slice(2))
        again = tmp_path / "retry-2.arrow"
        report = land_shard(ShardResults(rows, None, None, "batch_2", "expired", 2), CHAT, never, tmp_path / "p", again)
        (state, position) = (
            pa.ipc.open_file(str(again)).read_all().column(name).to_pylist() for name in ("state", "position")
        )
        assert (first.report.retry_rows, report.retry_rows) == (5, 3)
        assert position == [0, 1, 2]
        assert {row["status"] for row in state} == {"expired"}


class TestSums:
    def test_count_values_that_are_equal_in_all_rows(self, tmp_path: Path) -> None:
        usage = {"prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 25}
        body = chat_body(usage={**usage, "prompt_tokens_details": {"cached_tokens": 4}})
        report = land(tmp_path, IDS, [success(custom_id, body) for custom_id in IDS]).report
        found = [report.usage[name] for name in ("input_tokens", "output_tokens", "total_tokens", "cached_tokens")]
        assert found == [20 * len(IDS), 5 * len(IDS), 25 * len(IDS), 4 * len(IDS)]

    def test_usage_and_cost_are_summed_over_all_answers(self, tmp_path: Path) -> None:
        landed = land(
            tmp_path, IDS, [success("0"), success("1")], [http_error("2")], is_final=lambda o: o.status == "missing"
        )
        assert landed.report.usage["input_tokens"] == 40
        assert landed.report.usage["cached_tokens"] == 8
        # 16 + 4 cached input tokens at 0.075 and 10 output tokens at 0.3 dollars a million, twice
        assert landed.report.cost_usd == Decimal("0.000009")
        assert landed.report.unpriced == 0

    def test_the_cost_column_sums_to_the_report(self, tmp_path: Path) -> None:
        landed = land(tmp_path, IDS, [success(custom_id) for custom_id in IDS])
        assert sum(row["cost_usd"] for row in landed.rows) == landed.report.cost_usd

    def test_an_unknown_price_is_unknown(self, tmp_path: Path) -> None:
        """Invariant 10."""
        unknown = chat_body(model="no-such-model")
        landed = land(tmp_path, IDS[:2], [success("0", unknown), success("1")])
        assert [row["cost_usd"] for row in landed.rows] == [None, Decimal("0.0000045")]
        assert landed.report.unpriced == 1
        alone = land(tmp_path, IDS[:1], [success("0", unknown)])
        assert (alone.report.cost_usd, alone.report.unpriced) == (None, 1)

    def test_failures_cost_nothing(self, tmp_path: Path) -> None:
        landed = land(tmp_path, IDS[:2], [], [http_error("0"), not_run("1")])
        assert (landed.report.cost_usd, landed.report.unpriced) == (0, 0)


SMALL, LARGE = "text-embedding-3-small", "text-embedding-3-large"


class TestEmbeddings:
    def test_the_size_is_that_of_the_first_vector(self, tmp_path: Path) -> None:
        output = [success("2", embeddings_body([1.0])), success("1", embeddings_body(VECTOR))]
        landed = land(tmp_path, IDS[:3], output, [http_error("0")], spec=EMBEDDINGS)
        assert landed.report.embedding_size == 3
        assert [row["error_code"] for row in landed.rows] == ["rate_limit_exceeded", None, "embedding_size"]
        assert landed.rows[2]["error_message"] == (
            "Expected an embedding of 3 numbers, as in the first answers of this table, found 1. All embeddings of a "
            "table have the same size: set the same `dimensions` in every request, or run a job for each size."
        )
        assert json.loads(landed.rows[2]["response"]) == embeddings_body([1.0])
        assert pq.read_schema(landed.part).field("embedding").type == pa.list_(pa.float32(), 3)

    def test_embeddings_are_plain_lists_where_pyarrow_has_no_nulls_in_fixed_size_lists(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(part_writer, "_TAKES_NULL_VECTORS", False)
        lines = [success(custom_id, embeddings_body(VECTOR)) for custom_id in ("1", "3")]
        landed = land(tmp_path, IDS, [*lines, http_error("2")], spec=EMBEDDINGS, batch_rows=2)
        assert [row["embedding"] for row in landed.rows] == [None, VECTOR, None, VECTOR, None]
        assert pq.read_schema(landed.part).field("embedding").type == pa.list_(pa.float32())

    def test_without_any_vector_the_size_stays_unknown(self, tmp_path: Path) -> None:
        landed = land(tmp_path, ["0"], [], [http_error("0")], spec=EMBEDDINGS)
        assert landed.report.embedding_size is None
        assert landed.rows[0]["embedding"] is None

    def test_a_size_that_the_requests_ask_for_is_checked_and_a_usual_one_is_not(self, tmp_path: Path) -> None:
        output = [success(custom_id, embeddings_body(VECTOR)) for custom_id in ("0", "1")]
        usual = replace(EMBEDDINGS, usual_embedding_size=1536)
        landed = land(tmp_path, ["0", "1"], output, spec=usual)
        assert [row["embedding"] for row in landed.rows] == [VECTOR, VECTOR]
        assert landed.report.embedding_size == 3
        asked = land(tmp_path, ["0"], output[:1], spec=replace(EMBEDDINGS, embedding_size=256, size_from="dimensions"))
        assert "Expected an embedding of 256 numbers, as `dimensions` in the request asks for, found 3." in str(
            asked.rows[0]["error_message"]
        )

    def test_a_part_without_a_vector_has_the_usual_type(self, tmp_path: Path) -> None:
        usual = replace(EMBEDDINGS, usual_embedding_size=1536)
        landed = land(tmp_path, ["0"], [], [http_error("0")], spec=usual)
        assert landed.report.embedding_size is None
        assert pq.read_schema(landed.part).field("embedding").type == pa.list_(pa.float32(), 1536)

    def test_several_inputs_have_a_column_of_their_own(self, tmp_path: Path) -> None:
        landed = land(tmp_path, ["0"], [success("0", embeddings_body(VECTOR, VECTOR))], spec=EMBEDDINGS)
        found = duckdb.sql(f"SELECT embedding, embeddings FROM '{landed.part}'").fetchall()
        assert found == [(None, [VECTOR, VECTOR])]

    @pytest.mark.parametrize(
        ("body", "models", "sizes"),
        [
            ({}, [LARGE], EmbeddingSizes(usual=3072)),
            ({}, [SMALL, "text-embedding-ada-002"], EmbeddingSizes(usual=1536)),
            ({"dimensions": 256}, [SMALL, LARGE], EmbeddingSizes(requested=256)),
            ({}, ["other"], EmbeddingSizes()),
            ({}, ["other", SMALL], EmbeddingSizes()),
            ({}, [None], EmbeddingSizes()),
        ],
    )
    def test_the_size_is_known_where_the_requests_ask_for_it_and_usual_where_models_have_one(
        self, body: dict[str, Any], models: list[str | None], sizes: EmbeddingSizes
    ) -> None:
        assert embedding_sizes(body, models) == sizes

    def test_models_of_different_sizes_are_refused(self) -> None:
        with pytest.raises(ConfigurationError, match=r"3-small: 1,536, text-embedding-3-large: 3,072 .* 'dimensions'"):
            embedding_sizes({}, [SMALL, "other", LARGE])

    def test_a_size_for_each_row_is_refused(self) -> None:
        with pytest.raises(ConfigurationError, match=r"body.dimensions: expected one integer .* '{size}'"):
            embedding_sizes({"dimensions": "{size}"}, [SMALL])


class TestPart:
    def test_pyarrow_and_duckdb_read_the_same(self, tmp_path: Path) -> None:
        carried = [
            {"word": "ü", "n": 1, "tags": ["a"], "text": "mine"},
            {"word": None, "n": 2, "tags": None, "text": "too"},
        ]
        landed = land(tmp_path, ["0", "1"], [success("0"), success("1")], carried=carried)
        columns = "input_text, word, n, tags, row_number, status, text, cost_usd"
        found = duckdb.sql(f"SELECT {columns} FROM '{landed.part}' ORDER BY row_number").fetchall()
        assert found[0] == ("mine", "ü", 1, ["a"], 0, "succeeded", "Hello.", Decimal("0.0000045"))
        assert [tuple(row[name] for name in columns.split(", ")) for row in landed.rows] == found

    def test_carried_columns_are_first_and_are_renamed_on_conflict(self) -> None:
        names = carried_names(["text", "input_text", "status", "mine"], CHAT)
        assert names == ["input_input_text", "input_text", "input_status", "mine"]

    def test_a_name_in_another_case_hides_no_result_from_sql(self, tmp_path: Path) -> None:
        row = {"Status": "open", "TEXT": "mine", "Input_Text": "x"}
        landed = land(tmp_path, ["a"], [success("a")], carried=[row])
        (found,) = duckdb.sql(f"select status, text, * from '{landed.part}'").fetchall()
        assert found[:5] == ("succeeded", "Hello.", "open", "mine", "x")
        assert list(landed.rows[0])[:3] == ["input_Status", "input_input_TEXT", "Input_Text"]

    def test_a_part_names_its_batch_in_its_footer(self, tmp_path: Path) -> None:
        landed = land(tmp_path, ["0"], [success("0")], round_number=2)
        metadata = pq.ParquetFile(landed.part).metadata.metadata
        assert metadata[b"openai_batch.batch_id"] == b"batch_1"
        assert metadata[b"openai_batch.round"] == b"2"

    @pytest.mark.parametrize("endpoint", Endpoint, ids=lambda endpoint: endpoint.value)
    def test_every_endpoint_has_the_same_columns_with_and_without_answers(
        self, endpoint: Endpoint, tmp_path: Path
    ) -> None:
        landed = land(tmp_path, ["0"], None, None, spec=TableSpec(endpoint))
        assert pq.read_schema(landed.part).names == list(result_columns(TableSpec(endpoint)))

    def test_batches_are_collected_into_row_groups_and_embeddings_have_no_dictionary(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(part_writer, "ROW_GROUP_BYTES", 100_000)
        monkeypatch.setattr(line_index, "CHUNK_BYTES", 10_000)
        ids = [str(number) for number in range(600)]
        vector = [number / 64 for number in range(64)]
        landed = land(
            tmp_path, ids, [success(custom_id, embeddings_body(vector)) for custom_id in ids], spec=EMBEDDINGS
        )
        metadata = pq.ParquetFile(landed.part).metadata
        assert 1 < metadata.num_row_groups < 10
        group = metadata.row_group(0)
        columns = {group.column(at).path_in_schema: group.column(at) for at in range(group.num_columns)}
        assert not columns["embedding.list.element"].has_dictionary_page
        assert not columns["embedding.list.element"].is_stats_set
        assert columns["status"].has_dictionary_page
        assert columns["row_number"].statistics.min == 0
        assert {column.compression for column in columns.values()} == {"ZSTD"}
        assert [row["row_number"] for row in landed.rows] == list(range(600))


class TestFailures:
    def test_a_part_that_cannot_be_written_leaves_nothing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*args: Any, **kwargs: Any) -> None:
            raise OSError("No space left on device")

        monkeypatch.setattr(pq.ParquetWriter, "write_table", full)
        with pytest.raises(OSError, match="No space left"):
            land(tmp_path, IDS, [success("0")], is_final=lambda outcome: outcome.status == "succeeded")
        assert not (tmp_path / "part.parquet").exists()
        assert not (tmp_path / "retry.arrow").exists()

    def test_an_error_of_an_early_row_group_is_not_forgotten(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        calls: list[int] = []

        def full_once(writer: Any, table: pa.Table, *args: Any) -> None:
            calls.append(table.num_rows)
            if len(calls) == 1:
                raise OSError("No space left on device")

        monkeypatch.setattr(pq.ParquetWriter, "write_table", full_once)
        monkeypatch.setattr(part_writer, "ROW_GROUP_BYTES", 1)
        with pytest.raises(OSError, match="No space left"):
            land(tmp_path, IDS, [], batch_rows=1)

    def test_an_error_of_the_caller_leaves_nothing(self, tmp_path: Path) -> None:
        def broken(outcome: RowOutcome) -> bool:
            if outcome.status == "missing":
                raise RuntimeError("no")
            return True

        with pytest.raises(RuntimeError, match="no"):
            land(tmp_path, IDS, [success("0")], is_final=broken, batch_rows=1)
        assert not (tmp_path / "part.parquet").exists()

    def test_a_file_that_is_no_sidecar_is_named_in_the_error(self, tmp_path: Path) -> None:
        rows = tmp_path / "shard.arrow"
        rows.write_bytes(b"nothing of the kind")
        with pytest.raises(StorageError, match=r"shard\.arrow: expected a shard's sidecar"):
            land_shard(ShardResults(rows, None, None, None, "", 1), CHAT, never, tmp_path / "p", tmp_path / "r")


PEAK = """
import sys
from pathlib import Path
from airflow_provider_batch.api.endpoints import Endpoint
from airflow_provider_batch.results.landing import ShardResults, land_shard
from airflow_provider_batch.table.schema import TableSpec
folder = Path(sys.argv[1])
report = land_shard(
    ShardResults(folder / "shard.arrow", folder / "output.jsonl", None, "b", "completed", 1),
    TableSpec(Endpoint.CHAT_COMPLETIONS), lambda outcome: True, folder / "p.parquet", folder / "r.arrow",
)
assert report.statuses == {"succeeded": report.rows}, report
print(next(int(line.split()[1]) // 1024 for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def peak_memory(folder: Path, rows: int) -> int:
    """Return the megabytes that landing so many answers of 0.4 MB takes in a process of its own."""
    folder.mkdir()
    ids = [str(number) for number in range(rows)]
    letters = "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz ", k=400_000))
    with (folder / "output.jsonl").open("wb") as file:
        for number in reversed(ids):
            file.write(encoded(success(number, chat_body(number + letters))) + b"\n")
    write_sidecar(folder / "shard.arrow", ids)
    done = subprocess.run([sys.executable, "-c", PEAK, str(folder)], check=True, capture_output=True, text=True)
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
def test_memory_does_not_grow_with_the_results(tmp_path: Path) -> None:
    """Invariant 8: four times the bytes, the same peak."""
    small, large = peak_memory(tmp_path / "small", 200), peak_memory(tmp_path / "large", 800)
    assert large < small + 40
    assert large < 350


@given(st.lists(st.integers(0, 400), max_size=20), st.integers(1, 300))
def test_chunks_contain_all_rows_and_about_the_same_bytes(lengths: list[int], limit: int) -> None:
    class Lines(line_index.LineIndex):
        def __init__(self) -> None:
            self._starts = array("q", [0, *accumulate(lengths, initial=0)][:-1])
            self._ends = array("q", [0, *accumulate(lengths)])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(line_index, "CHUNK_BYTES", limit)
        counts = list(Lines().chunk_sizes(1, len(lengths)))
    assert sum(counts) == len(lengths)
    assert 0 not in counts
    longest = max(lengths, default=0)
    start = 0
    for count in counts:
        assert sum(lengths[start : start + count]) <= limit + longest
        start += count


NO_PANDAS = """
import sys
from pathlib import Path

asked = []

class Noting:
    def find_spec(self, name, path=None, target=None):
        asked.append(name)

from airflow_provider_batch.api.endpoints import Endpoint
from airflow_provider_batch.arrow import builders
from airflow_provider_batch.results.landing import ShardResults, land_shard
from airflow_provider_batch.table.schema import TableSpec
builders.find_spec = lambda name: object()  # as if pandas were installed
sys.meta_path.insert(0, Noting())
folder = Path(sys.argv[1])
results = ShardResults(folder / "shard.arrow", folder / "output.jsonl", None, "b", "completed", 1)
again = lambda outcome: outcome.status == "succeeded"
report = land_shard(results, TableSpec(Endpoint(sys.argv[2])), again, folder / "p.parquet", folder / "r.arrow")
assert (report.rows, report.retry_rows) == (2, 2), report
assert not {"pandas", "dateutil"} & set(asked), asked
"""


@pytest.mark.parametrize("endpoint", USUAL, ids=lambda endpoint: endpoint.value)
def test_landing_does_not_import_pandas(endpoint: Endpoint, tmp_path: Path) -> None:
    """Arrow imports it for `pa.array` and for numbers given to its functions: two seconds and 60 MB for a small job."""
    write_sidecar(tmp_path / "shard.arrow", [*"abcd"])
    lines = [success("a", USUAL[endpoint][0]), success("c", USUAL[endpoint][-1]), http_error("b")]
    (tmp_path / "output.jsonl").write_bytes(b"".join(encoded(line) + b"\n" for line in lines))
    done = subprocess.run(
        [sys.executable, "-c", NO_PANDAS, str(tmp_path), endpoint.value], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
