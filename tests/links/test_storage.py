"""The ways to the table and the ledger."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import XCom

from airflow_provider_batch.links.storage import OpenAIBatchLedgerLink, OpenAIBatchTableLink, console_link


@pytest.mark.parametrize(
    ("uri", "url"),
    [
        ("s3://bucket/a b/c", "https://console.aws.amazon.com/s3/buckets/bucket?prefix=a%20b/c/"),
        ("s3://conn@bucket/a/ledger.json", "https://console.aws.amazon.com/s3/buckets/bucket?prefix=a/"),
        ("gs://bucket/a/b/", "https://console.cloud.google.com/storage/browser/bucket/a/b"),
        ("s3://bucket", "https://console.aws.amazon.com/s3/buckets/bucket?prefix="),
        ("abfs://conn@container/a", ""),
        ("file:///data/a", ""),
        ("/data/a", ""),
    ],
)
def test_a_folder_of_a_store_with_a_console_has_a_page(uri: str, url: str) -> None:
    assert console_link(uri) == url


def test_the_folders_come_from_the_task(monkeypatch: pytest.MonkeyPatch) -> None:
    xcoms = {"destination": "s3://b/answers", "ledger": "s3://b/state/job/ledger.json"}
    monkeypatch.setattr(XCom, "get_value", lambda ti_key, key: xcoms[key])
    key: Any = object()
    assert OpenAIBatchTableLink().get_link(SimpleNamespace(), ti_key=key).endswith("b?prefix=answers/")
    assert OpenAIBatchLedgerLink().get_link(SimpleNamespace(), ti_key=key).endswith("b?prefix=state/job/")


def test_a_store_of_another_vendor_has_no_page_of_amazon(monkeypatch: pytest.MonkeyPatch) -> None:
    extra = {"conn_type": "aws", "extra": {"endpoint_url": "http://127.0.0.1:9000"}}
    monkeypatch.setenv("AIRFLOW_CONN_MINIO", json.dumps(extra))
    monkeypatch.setattr(XCom, "get_value", lambda **_: "s3://minio@b/answers")
    key: Any = object()
    assert OpenAIBatchTableLink().get_link(SimpleNamespace(), ti_key=key) == ""


def test_a_link_never_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: Any) -> None:
        raise RuntimeError("no supervisor")

    monkeypatch.setattr(XCom, "get_value", fail)
    key: Any = object()
    assert OpenAIBatchTableLink().get_link(SimpleNamespace(), ti_key=key) == ""
