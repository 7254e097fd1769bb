"""The operator with `scheme://conn@container/…` URIs, as a DAG has them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_batch.emulator.testing import Emulator
from airflow_provider_batch.jobs.ledger.files import is_ledger_file
from airflow_provider_batch.operators.openai_batch import OpenAIBatchOperator
from tests.jobs.support import BODY, some_rows
from tests.operators.support import FakeTaskInstance, a_context
from tests.stores.conftest import Place
from tests.stores.test_jobs import as_parquet


def an_operator(place: Place, **changes: Any) -> OpenAIBatchOperator:
    """An operator whose files are all in the folder."""
    place.put("in/a.parquet", as_parquet(some_rows(25)))
    given = {
        "task_id": "task",
        "endpoint": "/v1/chat/completions",
        "source": f"{place.uri}/in/*.parquet",
        "body": BODY,
        "destination": f"{place.uri}/table",
        "state_path": f"{place.uri}/state",
        "poll_interval": 0.05,
        "max_shard_rows": 10,
        "deferrable": False,
    }
    return OpenAIBatchOperator(**{**given, **changes})


def test_reads_lands_and_keeps_its_ledger_through_the_connection(
    emulator: Emulator, connection: Callable[..., str], place: Place
) -> None:
    connection(host=emulator.base_url)
    ti = FakeTaskInstance()
    summary = an_operator(place).execute(a_context(ti))
    place.check_table(some_rows(25))
    assert summary["statuses"] == {"succeeded": 25}
    assert ti.pushed["manifest"].startswith(f"{place.uri}/table/_manifest-")
    assert all(is_ledger_file(key.rpartition("/")[2]) for key in place.keys("state"))


def test_no_call_of_the_store_is_a_line_of_the_log(
    emulator: Emulator, connection: Callable[..., str], place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    connection(host=emulator.base_url)
    with caplog.at_level("INFO"):
        an_operator(place).execute(a_context())
    clients = ("azure", "adlfs", "gcsfs", "google", "s3fs", "botocore", "aiobotocore")
    assert [record.getMessage() for record in caplog.records if record.name.startswith(clients)] == []


def test_keeps_its_ledger_beside_the_table_without_a_state_path(
    emulator: Emulator, connection: Callable[..., str], place: Place
) -> None:
    connection(host=emulator.base_url)
    an_operator(place, state_path=None).execute(a_context())
    place.check_table(some_rows(25))
    assert any(key.startswith("_openai_batch/") for key in place.keys("table"))
