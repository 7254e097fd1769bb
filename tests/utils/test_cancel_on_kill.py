"""What a worker that is told to die asks before it cancels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from airflow_provider_batch.emulator.testing import Emulator
from airflow_provider_batch.utils import cancel_on_kill
from tests.jobs.support import a_request, some_rows, step_until_waiting, tools_for


def test_a_task_that_works_on_the_job_of_another_index_asks_for_its_own_state(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Invariant 7: that the other index is done is no reason to cancel."""
    emulator.configure(progress="seconds:3600")
    tools = tools_for(emulator)
    step_until_waiting(a_request(tmp_path, some_rows(5), map_index=0, if_exists="append"), tools)
    job = step_until_waiting(a_request(tmp_path, some_rows(5), map_index=1, if_exists="append"), tools)
    states = {0: "success", 1: "running"}

    def state_of(*, map_index: int, **_: Any) -> str:
        return states[map_index]

    monkeypatch.setattr(cancel_on_kill, "task_state", state_of)
    asked = f"/v1/batches/{job.ledger.batch_ids[0]}/cancel"
    cancel_on_kill.cancel_if_killed(job)
    assert emulator.calls("POST", asked) == []
    states[1] = "failed"
    cancel_on_kill.cancel_if_killed(job)
    assert len(emulator.calls("POST", asked)) == 1
