"""The operator with `s3://conn@bucket/…` URIs: Airflow's connection, Amazon's provider, a real S3 server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowException

from airflow_provider_batch.emulator.testing import Emulator
from airflow_provider_batch.jobs.ledger.files import is_ledger_file
from airflow_provider_batch.operators.openai_batch import OpenAIBatchOperator
from tests.jobs.support import BODY, some_rows
from tests.object_stores.conftest import Bucket
from tests.object_stores.server import S3Server
from tests.object_stores.test_jobs import as_parquet
from tests.operators.support import FakeTaskInstance, a_context

Define = Callable[..., str]


@pytest.fixture
def operator(
    emulator: Emulator, connection: Define, s3_server: S3Server, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., OpenAIBatchOperator]:
    """An operator whose files are all in the bucket; the connections are `store` (right) and `stranger` (wrong)."""
    from airflow.sdk.io import store

    monkeypatch.setattr(store, "_STORE_CACHE", {})  # a connection means another server in another run
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    connection(host=emulator.base_url)
    connection("store", **s3_server.connection())
    connection("stranger", **s3_server.connection(password="wrong"))

    def make(conn: str = "store", **changes: Any) -> OpenAIBatchOperator:
        root = f"s3://{conn}@{bucket.name}"
        given = {
            "task_id": "task",
            "endpoint": "/v1/chat/completions",
            "source": f"{root}/in/*.parquet",
            "body": BODY,
            "destination": f"{root}/table",
            "state_path": f"{root}/state",
            "poll_interval": 0.05,
            "max_shard_rows": 10,
            "deferrable": False,
        }
        return OpenAIBatchOperator(**{**given, **changes})

    bucket.put("in/a.parquet", as_parquet(some_rows(25)))
    return make


def test_reads_lands_and_keeps_its_ledger_through_the_connection(
    bucket: Bucket, operator: Callable[..., OpenAIBatchOperator]
) -> None:
    ti = FakeTaskInstance()
    summary = operator().execute(a_context(ti))
    bucket.check_table(some_rows(25))
    assert summary["statuses"] == {"succeeded": 25}
    assert ti.pushed["manifest"].startswith(f"s3://store@{bucket.name}/table/_manifest-")
    assert all(is_ledger_file(key.rpartition("/")[2]) for key in bucket.keys("state"))


def test_keeps_its_ledger_beside_the_table_without_a_state_path(
    bucket: Bucket, operator: Callable[..., OpenAIBatchOperator]
) -> None:
    operator(state_path=None).execute(a_context())
    bucket.check_table(some_rows(25))
    assert any(key.startswith("_openai_batch/") for key in bucket.keys("table"))


@pytest.mark.parametrize(
    ("conn", "problem"),
    [
        ("stranger", "PermissionError"),
        ("nobody", "the connection 'nobody' is not defined"),
    ],
)
def test_says_what_is_wrong_with_the_connection_before_anything_is_sent(
    emulator: Emulator, operator: Callable[..., OpenAIBatchOperator], conn: str, problem: str
) -> None:
    with pytest.raises(AirflowException) as caught:
        operator(conn).execute(a_context())
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)
    assert [call for call in emulator.calls() if call["method"] == "POST"] == []
