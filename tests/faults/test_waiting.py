"""A sample of `python -m tests.faults.waiting`: each event once, at a call that differs."""

from __future__ import annotations

import pytest

from airflow_provider_batch.polling import schedule
from airflow_provider_batch.triggers import connection_poller, openai_batch
from tests.faults import waiting


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "LONGEST_DELAY", schedule.LONGEST_DELAY)
    monkeypatch.setattr(connection_poller, "POLL_TIMEOUT", connection_poller.POLL_TIMEOUT)
    monkeypatch.setattr(openai_batch, "task_state", openai_batch.task_state)
    monkeypatch.setattr(openai_batch.OpenAIBatchTrigger, "log", None)
    monkeypatch.setenv("AIRFLOW_CONN_OPENAI_DEFAULT", "")
    waiting.hurry()


@pytest.mark.parametrize(("number", "event"), enumerate((*waiting.ANSWERS, *waiting.EVENTS)))
def test_whatever_happens_each_trigger_fires_once_for_a_real_end(number: int, event: str) -> None:
    """Invariants 6 and 7."""
    verdict = waiting.point(event, 1 + number * 7 % len(waiting.MOMENTS))
    assert verdict.wrong == ()
