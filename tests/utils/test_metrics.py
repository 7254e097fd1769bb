"""What Airflow's metrics are told."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import Stats

from airflow_provider_batch.utils import metrics
from tests.airflow_versions import TriggererStats

TRIGGERER = "worker" if TriggererStats is Stats else "triggerer"


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    calls: list[tuple[Any, ...]] = []
    # Before Airflow 3.2 a worker and a triggerer send metrics through one object.
    for where, stats in {TRIGGERER: TriggererStats, "worker": Stats}.items():
        for kind in ("gauge", "timing", "incr"):

            def tell(name: str, value: Any, *, tags: Any, where: str = where, kind: str = kind) -> None:
                calls.append((where, kind, name, value, tags))

            monkeypatch.setattr(stats, kind, staticmethod(tell))
    return calls


def test_each_has_its_name_kind_and_tags(told: list[tuple[Any, ...]]) -> None:
    metrics.batches_active("c", 3)
    metrics.queue_seconds("c", 1.5)
    metrics.batch_seconds("c", "completed", 60)
    metrics.job("d", "t", rows_done=7, tokens_enqueued=100, cost_usd=0.25)
    task = {"dag_id": "d", "task_id": "t"}
    ended = {"conn_id": "c", "status": "completed"}
    assert told == [
        (TRIGGERER, "gauge", "openai_batch.batches_active", 3, {"conn_id": "c"}),
        (TRIGGERER, "timing", "openai_batch.queue_seconds", timedelta(seconds=1.5), {"conn_id": "c"}),
        (TRIGGERER, "timing", "openai_batch.batch_seconds", timedelta(seconds=60), ended),
        ("worker", "incr", "openai_batch.rows_done", 7, task),
        ("worker", "gauge", "openai_batch.tokens_enqueued", 100, task),
        ("worker", "gauge", "openai_batch.cost_usd", 0.25, task),
    ]
    assert all(name.removeprefix("openai_batch.") in (metrics.__doc__ or "") for _, _, name, _, _ in told)


def test_an_unknown_price_is_not_told(told: list[tuple[Any, ...]]) -> None:
    """Invariant 10."""
    metrics.job("d", "t", rows_done=0, tokens_enqueued=0, cost_usd=None)
    assert [name for _, _, name, _, _ in told] == ["openai_batch.tokens_enqueued"]


def test_metrics_that_fail_fail_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise OSError("no statsd")

    monkeypatch.setattr(TriggererStats, "gauge", staticmethod(broken))
    metrics.batches_active("c", 3)
