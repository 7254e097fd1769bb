"""Landing batches of this package, and of several jobs together."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_batch import storage
from airflow_provider_batch.emulator.testing import Emulator
from airflow_provider_batch.exceptions import ConfigurationError
from airflow_provider_batch.loader.load import LoadRequest, load_batches
from tests.jobs.support import LIMITS, a_request, changed, check_table, run, some_rows, statuses, table, tools_for

NOT_LANDED = dataclasses.replace(LIMITS, lands=False)


def a_job(emulator: Emulator, tmp_path: Path, rows: list[dict[str, Any]], map_index: int = -1) -> list[str]:
    """Run a job that lands nothing; return its batches."""
    request = a_request(tmp_path, rows, destination=None, limits=NOT_LANDED, map_index=map_index)
    return list(run(request, tools_for(emulator))["batch_ids"])


def load(emulator: Emulator, tmp_path: Path, batch_ids: list[str], **changes: Any) -> dict[str, Any]:
    request = changed(
        LoadRequest(batch_ids, str(tmp_path / "table"), state=storage.resolve(str(tmp_path / "state"))), **changes
    )
    return load_batches(request, tools_for(emulator))


@pytest.mark.parametrize("if_exists", ["error", "append", "replace"])
def test_two_jobs_are_landed_together_as_often_as_one_likes(emulator: Emulator, tmp_path: Path, if_exists: str) -> None:
    """Invariant 9: the tables of one load do not remove each other's files."""
    ids = a_job(emulator, tmp_path, some_rows(5), 0) + a_job(emulator, tmp_path, some_rows(7), 1)
    for _ in range(2):
        assert load(emulator, tmp_path, ids, if_exists=if_exists)["rows"] == 12
        assert statuses(tmp_path) == {"succeeded": 12}


def test_loads_of_single_batches_of_one_job_leave_each_others_parts_alone(emulator: Emulator, tmp_path: Path) -> None:
    """Invariant 9."""
    rows = some_rows(25)
    for batch_id in a_job(emulator, tmp_path, rows):
        load(emulator, tmp_path, [batch_id], if_exists="append")
    check_table(tmp_path, rows)
    with pytest.raises(ConfigurationError, match="another job"):
        load(emulator, tmp_path, a_job(emulator, tmp_path, rows)[:2])


def test_a_row_of_two_rounds_is_landed_once_from_the_later_one(emulator: Emulator, tmp_path: Path) -> None:
    """Invariant 1."""
    emulator.fault(kind="http_error", status=503, custom_id="[37]", executions=1)
    rows = some_rows(15)
    request = a_request(tmp_path, rows, destination=str(tmp_path / "elsewhere"), keep_shards=True)
    ids = run(request, tools_for(emulator))["batch_ids"]
    assert len(ids) == 3
    assert load(emulator, tmp_path, ids)["statuses"] == {"succeeded": 15}
    check_table(tmp_path, rows)


def test_rows_are_numbered_in_the_order_in_which_the_batches_are_given(emulator: Emulator, tmp_path: Path) -> None:
    ids = a_job(emulator, tmp_path, some_rows(100))
    nowhere = LoadRequest(ids, str(tmp_path / "table"))
    load_batches(nowhere, tools_for(emulator))
    assert table(tmp_path, "distinct batch_id, row_number // 10", "2") == [(one, n) for n, one in enumerate(ids)]
