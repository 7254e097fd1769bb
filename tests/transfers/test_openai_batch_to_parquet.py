"""The loader: any batches that have ended become a table, whoever submitted them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai
import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from airflow_provider_batch.emulator.testing import Emulator
from airflow_provider_batch.operators.openai_batch import OpenAIBatchOperator
from airflow_provider_batch.transfers.openai_batch_to_parquet import OpenAIBatchToParquetOperator
from tests.jobs.support import BODY, check_table, some_rows, statuses, table
from tests.operators.support import FakeTaskInstance, a_context

Define = Callable[..., str]


@pytest.fixture
def api(emulator: Emulator, connection: Define) -> openai.OpenAI:
    """The official SDK: the other tool that submits batches."""
    connection(host=emulator.base_url)
    return openai.OpenAI(base_url=emulator.base_url, api_key="any")


def foreign_batch(api: openai.OpenAI, count: int = 5) -> str:
    lines = [
        {
            "custom_id": f"theirs-{n}",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": f"Number {n}"}]},
        }
        for n in range(count)
    ]
    data = "\n".join(json.dumps(line) for line in lines).encode()
    file = api.files.create(file=("theirs.jsonl", data), purpose="batch")
    batch = api.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
    while api.batches.retrieve(batch.id).status not in ("completed", "failed", "expired", "cancelled"):
        pass
    return batch.id


def load(tmp_path: Path, batch_id: Any, **changes: Any) -> dict[str, Any]:
    task = OpenAIBatchToParquetOperator(
        task_id="load", batch_id=batch_id, destination=str(tmp_path / "table"), **changes
    )
    return task.execute(a_context(FakeTaskInstance()))


def test_a_batch_of_other_tools_is_landed_with_the_ids_of_its_input_file(api: openai.OpenAI, tmp_path: Path) -> None:
    summary = load(tmp_path, foreign_batch(api))
    assert table(tmp_path, "row_number, custom_id, status") == [(n, f"theirs-{n}", "succeeded") for n in range(5)]
    assert summary["rows"] == 5


@pytest.mark.parametrize("kind", ["null_endpoint", "short_endpoint"])
@pytest.mark.parametrize("whose", ["theirs", "ours"])
def test_a_batch_that_does_not_say_its_endpoint_is_landed(
    emulator: Emulator, api: openai.OpenAI, tmp_path: Path, kind: str, whose: str
) -> None:
    emulator.fault(kind=kind)
    summary = load(tmp_path, foreign_batch(api) if whose == "theirs" else submit(tmp_path))
    assert summary["statuses"] == {"succeeded": 5 if whose == "theirs" else 25}


@pytest.mark.parametrize("partition_by", ["status", ["status"]])
def test_a_table_is_partitioned_when_asked_for(api: openai.OpenAI, tmp_path: Path, partition_by: Any) -> None:
    assert load(tmp_path, foreign_batch(api), partition_by=partition_by)["parts"] == 1
    (part,) = (tmp_path / "table").rglob("*.parquet")
    assert part.parent.name == "status=succeeded"


def test_several_batches_make_one_table_with_rows_that_are_numbered_through(api: openai.OpenAI, tmp_path: Path) -> None:
    load(tmp_path, [foreign_batch(api, 3), foreign_batch(api, 2)])
    assert table(tmp_path, "row_number") == [(n,) for n in range(5)]


def test_rows_that_no_file_holds_are_landed_as_missing_and_fail_the_task(
    emulator: Emulator, api: openai.OpenAI, tmp_path: Path
) -> None:
    emulator.fault(kind="missing_line", custom_id="theirs-2")
    batch_id = foreign_batch(api)
    with pytest.raises(AirflowFailException, match="1 rows are in neither result file"):
        load(tmp_path, batch_id)
    assert statuses(tmp_path) == {"succeeded": 4, "missing": 1}
    load(tmp_path, batch_id, on_missing="land")


def test_without_the_input_file_what_is_missing_is_known_by_count(
    emulator: Emulator, api: openai.OpenAI, tmp_path: Path
) -> None:
    emulator.fault(kind="missing_line", custom_id="theirs-2")
    batch_id = foreign_batch(api)
    api.files.delete(api.batches.retrieve(batch_id).input_file_id)
    with pytest.raises(AirflowFailException, match="1 rows"):
        load(tmp_path, batch_id)
    assert statuses(tmp_path) == {"succeeded": 4}


def test_a_result_line_that_came_twice_is_one_row_also_without_the_input_file(
    emulator: Emulator, api: openai.OpenAI, tmp_path: Path
) -> None:
    emulator.fault(kind="duplicate_line", custom_id="theirs-2")
    batch_id = foreign_batch(api)
    api.files.delete(api.batches.retrieve(batch_id).input_file_id)
    load(tmp_path, batch_id)
    assert statuses(tmp_path) == {"succeeded": 5}


def test_a_batch_that_has_not_ended_is_left_to_the_sensor(
    emulator: Emulator, connection: Define, tmp_path: Path
) -> None:
    connection(host=emulator.base_url)
    emulator.configure(progress="hold")
    summary = submit(tmp_path)
    with pytest.raises(AirflowException, match="OpenAIBatchSensor"):
        load(tmp_path, summary)


def test_a_job_of_ours_is_landed_with_its_carried_columns(
    emulator: Emulator, connection: Define, tmp_path: Path
) -> None:
    connection(host=emulator.base_url)
    summary = submit(tmp_path)
    load(tmp_path, summary)
    check_table(tmp_path, some_rows(25))
    assert statuses(tmp_path) == {"succeeded": 25}


def test_a_summary_that_was_rendered_as_text_leads_to_the_ledger_too(
    emulator: Emulator, connection: Define, tmp_path: Path
) -> None:
    connection(host=emulator.base_url)
    load(tmp_path, str(submit(tmp_path)))
    check_table(tmp_path, some_rows(25))


def test_a_second_load_overwrites_and_never_adds(emulator: Emulator, connection: Define, tmp_path: Path) -> None:
    """Invariant 9."""
    connection(host=emulator.base_url)
    summary = submit(tmp_path)
    load(tmp_path, summary)
    load(tmp_path, summary)
    check_table(tmp_path, some_rows(25))


def test_one_batch_id_alone_finds_its_ledger_through_the_state_path(
    emulator: Emulator, connection: Define, tmp_path: Path
) -> None:
    connection(host=emulator.base_url)
    summary = submit(tmp_path)
    load(tmp_path, summary["batch_ids"][1], state_path=str(tmp_path / "state"))
    assert table(tmp_path, "row_number, key") == [(n, f"k{n}") for n in range(10, 20)]


def submit(tmp_path: Path) -> dict[str, Any]:
    task = OpenAIBatchOperator(
        task_id="task",
        endpoint="/v1/chat/completions",
        source=some_rows(25),
        body=BODY,
        state_path=str(tmp_path / "state"),
        wait_for_completion=False,
        max_shard_rows=10,
    )
    return task.execute(a_context(FakeTaskInstance()))
