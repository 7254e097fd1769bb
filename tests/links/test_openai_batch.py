"""The way to the vendor's dashboard."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import XCom

from airflow_provider_batch.links.openai_batch import OpenAIBatchLink, dashboard_link

OPENAI = "https://api.openai.com/v1"


@pytest.mark.parametrize(
    ("ids", "base_url", "expected"),
    [
        (["batch_1"], OPENAI, "https://platform.openai.com/batches/batch_1"),
        ("batch_1", "https://eu.api.openai.com/v1", "https://platform.openai.com/batches/batch_1"),
        (["batch_1", "batch_2"], OPENAI, "https://platform.openai.com/batches"),
        ([], OPENAI, ""),
        (None, OPENAI, ""),
        (["batch_1"], "http://127.0.0.1:8080/v1", ""),
        (["batch_1"], "https://api.openai.com.example.com/v1", ""),
    ],
)
def test_batches_of_openai_have_a_page_and_others_have_none(ids: Any, base_url: str, expected: str) -> None:
    assert dashboard_link(ids, base_url) == expected


def test_the_ids_come_from_the_task_and_the_server_from_its_connection(
    monkeypatch: pytest.MonkeyPatch, connection: Callable[..., str]
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(XCom, "get_value", lambda **given: asked.append(given) or ["batch_1"])
    operator = SimpleNamespace(conn_id=connection())
    key: Any = object()
    assert OpenAIBatchLink().get_link(operator, ti_key=key).endswith("/batches/batch_1")
    assert asked == [{"ti_key": key, "key": "batch_ids"}]


def test_a_link_never_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: Any) -> None:
        raise RuntimeError("no supervisor")

    monkeypatch.setattr(XCom, "get_value", fail)
    assert OpenAIBatchLink().get_link(SimpleNamespace(conn_id="nowhere"), ti_key=None) == ""  # type: ignore[arg-type]
