"""What a task tells of its table to the DAGs that are scheduled by it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import Asset, AssetAlias

from airflow_provider_batch.operators.openai_batch import OpenAIBatchOperator
from airflow_provider_batch.utils.airflow_versions import extra_of_alias
from airflow_provider_batch.utils.asset_events import asset_uri
from tests.operators.support import a_context

BODY = {"model": "gpt-6-luna", "messages": [{"role": "user", "content": "{text}"}]}


class Events:
    """The events of a task's outlets, as its context has them; an asset of Airflow 3.0 cannot be a key."""

    def __init__(self) -> None:
        self.by_name: dict[str, SimpleNamespace] = {}

    def __getitem__(self, outlet: Any) -> SimpleNamespace:
        added: list[tuple[str, Any]] = []
        new = SimpleNamespace(extra={}, added=added, add=lambda asset, extra: added.append((asset.uri, extra)))
        return self.by_name.setdefault(getattr(outlet, "uri", None) or outlet.name, new)


@pytest.fixture
def run(connection: Callable[..., str], emulator: Any, tmp_path: Path) -> Callable[..., tuple[Any, Events, Any]]:
    """Run a job with outlets to its end; return its summary, the events and the task."""
    connection(host=emulator.base_url)

    def run(outlets: list[Any], **given: Any) -> tuple[Any, Events, Any]:
        events = Events()
        task = OpenAIBatchOperator(
            task_id="answer",
            endpoint="/v1/chat/completions",
            source=[{"text": "a"}, {"text": "b"}],
            destination=str(tmp_path / "answers"),
            body=BODY,
            deferrable=False,
            poll_interval=0.01,
            outlets=outlets,
            **given,
        )
        return task.execute({**a_context(), "outlet_events": events}), events, task

    return run


def test_an_asset_learns_of_the_table_and_an_alias_becomes_its_folder(
    run: Callable[..., tuple[Any, Events, Any]], tmp_path: Path
) -> None:
    asset, alias = Asset("answers"), AssetAlias("tables")
    summary, events, _ = run([asset, alias])
    wanted = ("destination", "manifest", "job", "endpoint", "rows", "statuses", "cost_usd", "batches", "batch_ids")
    assert events[asset].extra == {**{key: summary[key] for key in wanted}, "model": "gpt-6-luna"}
    assert events[alias].added == [(f"file://{tmp_path / 'answers'}", extra_of_alias(events[asset].extra))]


def test_without_a_table_there_is_no_event(run: Callable[..., tuple[Any, Events, Any]]) -> None:
    """Airflow sends an event for each outlet of a task that succeeds, whatever the task has done."""
    _, events, task = run([Asset("answers")], validate_only=True)
    assert not events.by_name
    assert task.outlets == []


@pytest.mark.parametrize(
    ("destination", "uri"),
    [
        ("s3://aws_default@bucket/a/b", "s3://bucket/a/b"),
        ("gs://bucket/a", "gs://bucket/a"),
        ("/data/a", "file:///data/a"),
        ("file:///data/a", "file:///data/a"),
    ],
)
def test_the_uri_of_a_folder_has_no_connection(destination: str, uri: str) -> None:
    assert asset_uri(destination) == uri


@pytest.mark.parametrize("takes_objects", [True, False])
def test_an_alias_before_airflow_3_1_gets_values_that_can_be_hashed(
    monkeypatch: pytest.MonkeyPatch, takes_objects: bool
) -> None:
    monkeypatch.setattr("airflow.providers.common.compat.version_compat.AIRFLOW_V_3_1_PLUS", takes_objects)
    extra = {"rows": 2, "statuses": {"succeeded": 2}, "batch_ids": ["b"], "cost_usd": None}
    texts = {"statuses": '{"succeeded": 2}', "batch_ids": '["b"]'}
    assert extra_of_alias(extra) == (extra if takes_objects else {**extra, **texts})
