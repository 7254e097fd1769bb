"""The size of vectors is what the first answers have: on a service whose models have other sizes than OpenAI's too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

from airflow_provider_batch import storage
from airflow_provider_batch.api.endpoints import Endpoint
from airflow_provider_batch.emulator.testing import Emulator
from airflow_provider_batch.exceptions import ConfigurationError, JobError
from airflow_provider_batch.jobs.job_request import JobRequest
from airflow_provider_batch.jobs.opening.attempt import open_job
from airflow_provider_batch.jobs.table_spec import table_spec
from airflow_provider_batch.loader.load import LoadRequest, load_batches
from airflow_provider_batch.table.schema import SIZE_REASONS
from tests.jobs.support import a_request, changed, check_paid_once, run, some_rows, statuses, tools_for

MODEL = "text-embedding-3-small"
HERE = {MODEL: 24}
SIZES = "select distinct len(embedding) from read_parquet('{}/table/*.parquet') where embedding is not null"


def embeddings(tmp_path: Path, count: int = 25, **changes: Any) -> JobRequest:
    body = {"model": MODEL, "input": "{text}", **changes.pop("body", {})}
    return a_request(tmp_path, some_rows(count), body=body, spec={"endpoint": Endpoint.EMBEDDINGS}, **changes)


def sizes(tmp_path: Path) -> list[int]:
    return [row[0] for row in duckdb.sql(SIZES.format(tmp_path)).fetchall()]


def fixed_sizes(tmp_path: Path) -> set[int]:
    """Return the size that the type of the column has in each part."""
    parts = (tmp_path / "table").glob("*.parquet")
    return {pq.read_schema(part).field("embedding").type.list_size for part in parts}


def errors(tmp_path: Path) -> list[str]:
    query = f"select error_message from read_parquet('{tmp_path}/table/*.parquet') where status <> 'succeeded'"
    return [row[0] for row in duckdb.sql(query).fetchall()]


def test_a_known_model_of_another_service_has_its_size_there(emulator: Emulator, tmp_path: Path) -> None:
    """Over several shards and rounds."""
    emulator.configure(embedding_sizes=HERE)
    emulator.fault(kind="http_error", status=503, custom_id="[37]", executions=1)
    summary = run(embeddings(tmp_path), tools_for(emulator))
    assert summary["statuses"] == {"succeeded": 25}
    assert sizes(tmp_path) == [24]
    assert fixed_sizes(tmp_path) == {24}
    manifest = json.loads((tmp_path / "table" / f"_manifest-{summary['job']}.json").read_text())
    assert manifest["embedding_size"] == 24
    check_paid_once(emulator)


def test_it_lands_again_with_the_same_size(emulator: Emulator, tmp_path: Path) -> None:
    emulator.configure(embedding_sizes=HERE)
    request = embeddings(tmp_path, 5)
    run(request, tools_for(emulator))
    assert run(changed(request, era=1, raw="all"), tools_for(emulator))["statuses"] == {"succeeded": 5}
    assert sizes(tmp_path) == [24]
    check_paid_once(emulator)


def test_a_later_answer_of_another_size_says_what_was_expected_and_why(emulator: Emulator, tmp_path: Path) -> None:
    lines = [
        {
            "custom_id": f"r{number}",
            "method": "POST",
            "url": "/v1/embeddings",
            "body": {"model": MODEL, "input": "A cat.", "dimensions": 8 + number % 2},
        }
        for number in range(6)
    ]
    request = a_request(tmp_path, lines, body=None, spec={"endpoint": Endpoint.EMBEDDINGS})
    assert run(request, tools_for(emulator))["statuses"] == {"succeeded": 3, "failed": 3}
    (first,) = sizes(tmp_path)
    text = f"Expected an embedding of {first} numbers, as in the first answers of this table, found {17 - first}."
    assert [error.partition(" All ")[0] for error in errors(tmp_path)] == [text] * 3


def test_a_size_that_was_asked_for_is_checked(emulator: Emulator, tmp_path: Path) -> None:
    request = embeddings(tmp_path, 3, body={"dimensions": 8})
    ledger = open_job(request, tools_for(emulator)).ledger
    assert (ledger.embedding_size, ledger.embedding_size_from, ledger.usual_embedding_size) == (8, "dimensions", None)
    assert run(request, tools_for(emulator))["statuses"] == {"succeeded": 3}
    assert sizes(tmp_path) == [8]


def test_a_ledger_of_an_earlier_release_keeps_its_size(emulator: Emulator, tmp_path: Path) -> None:
    """Earlier releases took it from the name of the model, and answers are still compared with it."""
    ledger = open_job(embeddings(tmp_path, 3), tools_for(emulator)).ledger
    assert (ledger.embedding_size, ledger.usual_embedding_size) == (None, 1536)
    spec = table_spec(ledger.changed(embedding_size=1536, usual_embedding_size=None), "errors", None)
    assert (spec.embedding_size, SIZE_REASONS[spec.size_from]) == (1536, "as in the other rows")


@pytest.mark.parametrize("knows", [True, False], ids=["", "of an earlier release"])
def test_a_table_beside_one_of_another_size_is_refused_before_it_is_landed(
    emulator: Emulator, tmp_path: Path, knows: bool
) -> None:
    other = run(embeddings(tmp_path, 3, map_index=1), tools_for(emulator))["job"]
    if not knows:
        path = tmp_path / "table" / f"_manifest-{other}.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "embedding_size": None}))
    emulator.configure(embedding_sizes=HERE)
    request = embeddings(tmp_path, 5, if_exists="append")
    text = rf"have 24 numbers, and the table of job {other} in .* has embeddings of 1,536"
    with pytest.raises(JobError, match=text):
        run(request, tools_for(emulator))
    assert statuses(tmp_path) == {"succeeded": 3}
    created = emulator.state()["batches_created"]
    (batch_id,) = [batch["id"] for batch in emulator.state()["batches"] if batch["lines"] == 5]
    load = LoadRequest([batch_id], str(tmp_path / "elsewhere"), state=storage.resolve(str(tmp_path / "state")))
    assert load_batches(load, tools_for(emulator))["statuses"] == {"succeeded": 5}
    with pytest.raises(JobError, match=text):
        load_batches(changed(load, destination=str(tmp_path / "table"), if_exists="append"), tools_for(emulator))
    assert emulator.state()["batches_created"] == created


def test_dimensions_other_than_those_of_the_table_beside_are_refused_before_sending(
    emulator: Emulator, tmp_path: Path
) -> None:
    run(embeddings(tmp_path, 3, map_index=1), tools_for(emulator))
    request = embeddings(tmp_path, 5, body={"dimensions": 8}, if_exists="append")
    with pytest.raises(
        ConfigurationError, match=r"asks for embeddings of 8 numbers, .* of 1,536\. .* Nothing was sent"
    ):
        run(request, tools_for(emulator))
    assert emulator.state()["batches_created"] == 1
    same = embeddings(tmp_path, 5, body={"dimensions": 1536}, if_exists="append")
    assert run(same, tools_for(emulator))["statuses"] == {"succeeded": 5}
    assert sizes(tmp_path) == [1536]
