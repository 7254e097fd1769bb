"""
Real Airflow on a bad day: workers killed at every kind of boundary, tasks cleared and marked, triggerers lost and
frozen.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_provider_batch.emulator.testing import Emulator
from demo.airflow_processes import AirflowProcesses

pytestmark = pytest.mark.system

DAGS = Path(__file__).parent / "dags"
TASK = "answer"
ROWS, SHARDS = 120, 3
#: Seconds. The default of 30 only makes the test of a frozen triggerer longer.
HEALTH_THRESHOLD = 8
RUN_TIMEOUT = 180.0

#: Where a worker is killed: each kind of API call and of storage write, before and after.
CRASH_POINTS = (
    "write r01-s00001.jsonl: visible",
    "write ledger.json: not visible yet",
    "write events-*: not visible yet",
    "upload: before",
    "upload: after",
    "create: before",
    "create: after",
    "download: before",
    "write part-*: not visible yet",
    "write part-*: visible",
    "write _manifest-*: visible",
    "delete r01-s00001.jsonl: after",
)


@pytest.fixture(scope="module")
def airflow(emulator_process: Emulator) -> Iterator[AirflowProcesses]:
    connection = {"conn_type": "openai_batch", "host": emulator_process.base_url, "password": "k"}
    config = {
        "triggerer.triggerer_health_check_threshold": str(HEALTH_THRESHOLD),
        "triggerer.job_heartbeat_sec": "2",
        "openai_batch.lookup_quiet_period": "2",
    }
    with AirflowProcesses(
        DAGS,
        connections={"openai_default": connection},
        config=config,
        environment={"PYTHONPATH": str(Path(__file__).parents[2])},
        parallelism=4,
    ) as airflow:
        airflow.wait_for_dags(["durable", "durable_on_the_worker"])
        yield airflow


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "in" / "tickets.parquet"
    path.parent.mkdir()
    pq.write_table(
        pa.table({"id": [f"t{n}" for n in range(ROWS)], "text": [f"Der Text {n}" for n in range(ROWS)]}), path
    )
    return path


class Run:
    """One run of a DAG, with its own destination."""

    def __init__(
        self, airflow: AirflowProcesses, table: Path, folder: Path, dag_id: str = "durable", **params: Any
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.airflow, self.dag_id, self.answers = airflow, dag_id, folder / "answers"
        given = {"source": str(table), "destination": str(self.answers), "trace": str(folder / "trace"), **params}
        self.run_id = airflow.api.trigger(dag_id, given)

    def wait_for(self, *states: str) -> str:
        return self.airflow.api.wait_for_task(self.dag_id, self.run_id, TASK, list(states), timeout=RUN_TIMEOUT)

    def wait_until_over(self) -> str:
        return self.airflow.api.wait_for_run(self.dag_id, self.run_id, timeout=RUN_TIMEOUT)

    def task(self) -> dict[str, Any]:
        return self.airflow.api.task_instance(self.dag_id, self.run_id, TASK)

    def batches(self, emulator: Emulator) -> list[dict[str, Any]]:
        found = emulator.state()["batches"]
        return [batch for batch in found if batch["metadata"].get("airflow_run_id") == self.run_id]

    def check_exact(self, emulator: Emulator) -> None:
        """Invariants 1 and 2: each row once, with its own columns; no batch too many, none cancelled."""
        result = f"read_parquet('{self.answers}/*.parquet')"
        landed = duckdb.sql(f"select row_number, id from {result} where status = 'succeeded' order by 1").fetchall()
        assert landed == [(n, f"t{n}") for n in range(ROWS)]
        assert [batch["status"] for batch in self.batches(emulator)] == ["completed"] * SHARDS


def wait_until(met: Callable[[], bool], what: str, timeout: float = 60.0) -> None:
    deadline = time.monotonic() + timeout
    while not met():
        assert time.monotonic() < deadline, f"{what}: not within {timeout} s"
        time.sleep(0.2)


def test_a_worker_killed_at_any_boundary_loses_no_row_and_pays_nothing_twice(
    airflow: AirflowProcesses, emulator: Emulator, table: Path, tmp_path: Path
) -> None:
    """Invariants 1 to 3: the retry goes on where the killed attempt was. All runs go on side by side."""
    emulator.configure(progress="seconds:3")
    runs = {
        point: Run(airflow, table, tmp_path / f"run-{number}", stop_at=point)
        for number, point in enumerate(CRASH_POINTS)
    }
    for point, run in runs.items():
        assert run.wait_until_over() == "success", point
        assert (run.answers.parent / "trace.dead").exists(), f"{point}: the worker was not killed there"
        assert run.task()["try_number"] == 2, point
        run.check_exact(emulator)


def test_a_cleared_deferred_task_finishes_on_the_first_attempts_batches(
    airflow: AirflowProcesses, emulator: Emulator, table: Path, tmp_path: Path
) -> None:
    """Invariants 3 and 7: a clear cancels nothing."""
    emulator.configure(progress="seconds:10")
    run = Run(airflow, table, tmp_path)
    run.wait_for("deferred")
    before = [batch["id"] for batch in run.batches(emulator)]
    airflow.api.clear("durable", run.run_id, [TASK])
    wait_until(lambda: run.task()["try_number"] == 2 and run.task()["state"] == "deferred", "the second attempt defers")
    assert run.wait_until_over() == "success"
    assert [batch["id"] for batch in run.batches(emulator)] == before
    run.check_exact(emulator)


@pytest.mark.parametrize("dag_id", ["durable", "durable_on_the_worker"])
def test_a_task_that_is_marked_failed_cancels_its_batches(
    airflow: AirflowProcesses, emulator: Emulator, table: Path, tmp_path: Path, dag_id: str
) -> None:
    """Invariant 7: a kill cancels, from the triggerer and from the worker."""
    emulator.configure(progress="seconds:3600")
    run = Run(airflow, table, tmp_path, dag_id)
    wait_until(lambda: len(run.batches(emulator)) == SHARDS, "all batches are created")
    looked_at = f"/v1/batches/{run.batches(emulator)[0]['id']}"
    wait_until(lambda: bool(emulator.calls("GET", looked_at)), "somebody waits for the batches")
    airflow.api.mark(dag_id, run.run_id, TASK, "failed")
    wait_until(
        lambda: {b["status"] for b in run.batches(emulator)} <= {"cancelling", "cancelled"}, "batches are cancelled"
    )


def test_a_triggerer_that_is_restarted_loses_no_end(
    airflow: AirflowProcesses, emulator: Emulator, table: Path, tmp_path: Path
) -> None:
    """Invariant 7: a redeployment cancels nothing."""
    emulator.configure(progress="hold")
    run = Run(airflow, table, tmp_path)
    run.wait_for("deferred")
    airflow.component("triggerer").stop()
    assert {batch["status"] for batch in run.batches(emulator)} <= {"validating", "in_progress"}
    emulator.configure(progress="seconds:6")
    airflow.restart("triggerer")
    assert run.wait_until_over() == "success"
    run.check_exact(emulator)


def test_a_frozen_triggerer_whose_triggers_another_takes_over_cancels_nothing(
    airflow: AirflowProcesses, emulator: Emulator, table: Path, tmp_path: Path
) -> None:
    """Invariant 7: `on_kill` fires falsely when the frozen one goes on, and must not be believed."""
    emulator.configure(progress="seconds:40")
    run = Run(airflow, table, tmp_path)
    run.wait_for("deferred")
    first = airflow.component("triggerer")
    second = airflow.add_triggerer()
    first.pause()
    time.sleep(2 * HEALTH_THRESHOLD)  # the point is that this much time passes
    first.resume()
    assert run.wait_until_over() == "success"
    run.check_exact(emulator)
    second.stop()
    log = airflow.api.task_log("durable", run.run_id, TASK)
    assert "cancel" not in log.lower() or "Not cancelled" in log
