"""The state machine by itself: every status, and no history that leaves it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_batch.emulator.batches import lifecycle
from airflow_provider_batch.emulator.batches.lifecycle import Move, Run, Validate, Wait, WriteRest, due
from airflow_provider_batch.emulator.records import ENDED, BatchRecord
from airflow_provider_batch.emulator.settings import Progress, Settings


def a_batch(**fields: Any) -> BatchRecord:
    given_fields: dict[str, Any] = {
        "id": "batch_1",
        "endpoint": "/v1/embeddings",
        "input_file_id": "file-1",
        "completion_window": "24h",
        "created_at": 100.0,
        "expires_at": 86_500.0,
        **fields,
    }
    return BatchRecord(**given_fields)


def running(done: int = 0, **fields: Any) -> BatchRecord:
    return a_batch(status="in_progress", in_progress_at=100.0, total=10, done=done, **fields)


def expiring(done: int) -> BatchRecord:
    times = {"in_progress_at": 100.0, "finalizing_at": 86_500.0}
    return a_batch(status="finalizing", ending="expired", total=10, done=done, **times)


def cancelling_late(done: int = 10, **fields: Any) -> BatchRecord:
    """A batch that was cancelled while it was finalizing."""
    times = {"in_progress_at": 1.0, "finalizing_at": 90.0, "cancelling_at": 95.0}
    return a_batch(status="cancelling", total=10, done=done, **times, **fields)


@pytest.mark.parametrize(
    ("batch", "progress", "now", "action"),
    [
        (a_batch(), "immediate", 100.0, Validate()),
        (a_batch(), "hold", 100.0, Wait(86_500.0)),
        (a_batch(), "reads:2", 100.0, Wait(86_500.0)),
        (a_batch(reads=1), "reads:2", 100.0, Validate()),
        (running(), "immediate", 100.0, Run(10)),
        (running(), "seconds:10", 103.0, Run(3)),
        (running(3), "seconds:10", 103.0, Wait(104.0)),
        (running(), "reads:3", 100.0, Wait(86_500.0)),
        (running(reads=1), "reads:3", 100.0, Run(5)),
        (running(5, reads=1), "reads:3", 100.0, Wait(86_500.0)),
        (running(10), "immediate", 100.0, Move("finalizing")),
        (running(10), "hold", 100.0, Wait(86_500.0)),
        (running(4), "hold", 86_500.0, Move("finalizing", ending="expired")),
        (expiring(4), "hold", 86_500.0, WriteRest()),
        (expiring(10), "hold", 86_500.0, Move("expired")),
        (running(4, ending="expired"), "hold", 86_500.0, Move("finalizing", ending="expired")),  # of an older emulator
        (running(4, faults=[{"kind": "expire", "after": 0.4}]), "immediate", 100.0, Move("finalizing", "expired")),
        (running(2, faults=[{"kind": "expire", "after": 0.4}]), "immediate", 100.0, Run(4)),
        (a_batch(status="finalizing", finalizing_at=100.0), "immediate", 100.0, Move("completed")),
        (a_batch(status="finalizing", reads=2), "reads:3", 100.0, Wait()),
        (a_batch(status="finalizing", reads=3), "reads:3", 100.0, Move("completed")),
        (a_batch(status="cancelling", cancelling_at=100.0), "immediate", 100.0, Move("cancelled")),
        (a_batch(status="cancelling", faults=[{"kind": "cancel_loses_race"}]), "immediate", 100.0, Validate()),
        (cancelling_late(), "immediate", 100.0, Move("completed")),
        (cancelling_late(done=4, ending="expired"), "immediate", 100.0, WriteRest()),
        (cancelling_late(ending="expired"), "immediate", 100.0, Move("expired")),
        (a_batch(status="cancelling", in_progress_at=1.0, total=2), "immediate", 100.0, WriteRest()),
        (a_batch(status="cancelling", in_progress_at=1.0, total=2, done=2), "immediate", 100.0, Move("cancelled")),
        (a_batch(status="cancelling", in_progress_at=1.0, reads=4, reads_at_cancel=4), "reads:9", 100.0, Wait()),
        (a_batch(faults=[{"kind": "stuck", "seconds": 9.0}]), "immediate", 105.0, Wait(109.0)),
        (a_batch(faults=[{"kind": "stuck", "seconds": 9.0}]), "immediate", 109.0, Validate()),
        *[(a_batch(status=status), "immediate", 100.0, Wait()) for status in sorted(ENDED)],
    ],
)
def test_one_thing_is_due(batch: BatchRecord, progress: str, now: float, action: lifecycle.Action) -> None:
    assert due(batch, Settings(progress=progress), now) == action


def test_phases_last_as_long_as_they_are_set_to() -> None:
    slow = Settings(validating_seconds=5, finalizing_seconds=6, cancelling_seconds=7, expiring_seconds=8)
    assert due(a_batch(), slow, 104.0) == Wait(105.0)
    assert due(a_batch(status="finalizing", finalizing_at=100.0), slow, 105.0) == Wait(106.0)
    assert due(a_batch(status="cancelling", cancelling_at=100.0), slow, 106.0) == Wait(107.0)
    assert due(expiring(10), slow, 86_507.0) == Wait(86_508.0)


def test_the_recorded_times_of_phases_pass_with_the_clock() -> None:
    """A batch of the service is `cancelling` for about ten minutes, and expires some ten minutes after its window."""
    recorded = Settings(clock_speed=8640, cancelling_seconds=600, expiring_seconds=600)
    assert recorded.window == 10.0
    cancelling = a_batch(status="cancelling", cancelling_at=100.0)
    assert due(cancelling, recorded, 100.0) == Wait(100.0 + 600 / 8640)
    expired = expiring(10)
    assert due(expired, recorded, 86_500.0) == Wait(86_500.0 + 600 / 8640)
    lifecycle.moved(expired, Move("expired"), 87_100.0)
    assert (expired.expired_at, expired.finalizing_at) == (87_100.0, 86_500.0)


@given(
    total=st.integers(1, 50),
    progress=st.sampled_from(["immediate", "seconds:20", "reads:1", "reads:5", "hold"]),
    cancel_at=st.none() | st.integers(0, 60),
    expire=st.none() | st.floats(0, 1),
    ticks=st.integers(0, 3),
)
def test_every_history_ends_and_accounts_for_every_line(
    total: int, progress: str, cancel_at: int | None, expire: float | None, ticks: int
) -> None:
    """However it goes, the batch ends within its window; each line is run or written as not run, once, or none is."""
    settings = Settings(progress=progress, clock_speed=864.0, finalizing_seconds=ticks)
    faults = [] if expire is None else [{"kind": "expire", "after": expire}]
    batch = a_batch(expires_at=100.0 + settings.window, faults=faults)
    run_lines = left = 0
    seen = ["validating"]
    for step in range(400):
        now = 100.0 + step
        batch.reads += 1
        if step == cancel_at and not batch.has_ended:
            lifecycle.moved(batch, Move("cancelling"), now)
        while not isinstance(action := due(batch, settings, now), Wait):
            match action:
                case Validate():
                    assert batch.status == "validating"
                    batch.total, batch.in_progress_at = total, now
                    batch.status = "in_progress" if batch.status == "validating" else batch.status
                case Run(until=goal):
                    assert batch.done < goal <= total
                    run_lines, batch.done = run_lines + 1, batch.done + 1
                case WriteRest():
                    left, batch.done = left + total - batch.done, total
                case Move():
                    lifecycle.moved(batch, action, now)
            if batch.status != seen[-1]:
                seen.append(batch.status)
    held = progress == "hold" and batch.status == "cancelling"
    assert batch.has_ended or held
    if not held:
        assert run_lines + left == (0 if batch.in_progress_at is None else total)
    assert batch.status != "cancelled" or batch.finalizing_at is None
    before = ["validating", "in_progress", "finalizing", *(["cancelling"] if "cancelling" in seen else [])]
    assert batch.status == "cancelled" or held or seen == [*before, batch.status]


@pytest.mark.parametrize("text", ["", "later", "seconds", "reads:x", "immediate:3", "seconds:x"])
def test_a_progress_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected|could not convert|invalid literal"):
        Progress.parse(text)
