"""Mapped tasks that wait together in one triggerer; `tests.system.waiting` is the same with hundreds."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_provider_batch.emulator.testing import Emulator
from demo.airflow_processes import AirflowProcesses
from tests.system import waiting

pytestmark = pytest.mark.system


#: Rounds of polling that are watched.
ROUNDS = 1.2


def test_mapped_tasks_wait_together_hold_no_slot_and_all_finish(
    airflow: AirflowProcesses, emulator: Emulator, tmp_path: Path
) -> None:
    """Invariant 6."""
    figures = waiting.Figures(tasks=6, batches=3, watched=ROUNDS * waiting.POLL_INTERVAL)
    waiting.wait_together(emulator, airflow, tmp_path, figures)
    assert figures.states == {"success": 6}
    assert (figures.triggerers, figures.most_slots, figures.least_deferred, figures.cancelled) == (1, 0, 6, 0)
    # Each batch is polled once in each interval: a page serves those that are due together, and nothing costs more
    # than one call each. The intervals are counted by the time that really passed.
    rounds = figures.watched / waiting.POLL_INTERVAL + 1
    assert figures.pages + figures.retrieves <= rounds * figures.tasks * figures.batches
