"""Mapped tasks that wait together in one triggerer; `tests.system.waiting` is the same with hundreds."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_provider_batch.emulator.testing import Emulator
from tests.system import waiting

pytestmark = pytest.mark.system


def test_mapped_tasks_wait_together_hold_no_slot_and_all_finish(emulator: Emulator, tmp_path: Path) -> None:
    """Invariant 6."""
    figures = waiting.run(emulator, tmp_path, tasks=6, batches=3, watched=20)
    assert figures.states == {"success": 6}
    assert (figures.triggerers, figures.most_slots, figures.least_deferred, figures.cancelled) == (1, 0, 6, 0)
    # Looked at every ten seconds: a page serves those that are due together, and nothing costs more than one call each.
    assert figures.pages + figures.retrieves <= 3 * 18
