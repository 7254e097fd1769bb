"""Batches that end as the real service was recorded: without files, and with counts that say less than the files."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_provider_batch.emulator.testing import Emulator
from airflow_provider_batch.exceptions import JobFailedError
from tests.jobs.support import (
    a_request,
    check_paid_once,
    check_table,
    run,
    some_rows,
    statuses,
    step_until_waiting,
    tools_for,
)


def test_an_expired_batch_whose_counts_say_0_is_landed_with_its_answers(emulator: Emulator, tmp_path: Path) -> None:
    """Invariants 1 and 2; recorded: 1/0/0 beside an output file."""
    emulator.fault(kind="expire", after=0.5, times=1)
    emulator.fault(kind="stale_counts", times=1)
    assert run(a_request(tmp_path, some_rows(6)), tools_for(emulator))["statuses"] == {"succeeded": 6}
    check_table(tmp_path, some_rows(6))
    check_paid_once(emulator)
    assert emulator.state()["executions"]["billed"] == 6


def test_a_batch_cancelled_while_validating_leaves_a_row_for_each_line(emulator: Emulator, tmp_path: Path) -> None:
    """Invariant 1; it has no file that names its lines."""
    emulator.configure(progress="hold")
    request, tools = a_request(tmp_path, some_rows(6)), tools_for(emulator)
    job = step_until_waiting(request, tools)
    (batch_id,) = [batch["id"] for batch in emulator.state()["batches"]]
    tools.client.cancel(batch_id)
    emulator.configure(progress="immediate")
    with pytest.raises(JobFailedError, match="was cancelled, and not by this job; 0 of 6 rows succeeded"):
        job.run()
    assert statuses(tmp_path) == {"cancelled": 6}
    check_table(tmp_path, some_rows(6))
    assert emulator.state()["executions"]["billed"] == 0
