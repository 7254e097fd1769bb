"""
Real Airflow on one bad day: workers killed at every kind of boundary, tasks cleared and marked, triggerers stopped,
lost and frozen, all while the same jobs wait. The emulator holds their batches until the last test lets them end.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import openai
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_provider_batch.emulator.testing import Emulator
from demo.airflow_processes import AirflowProcesses

pytestmark = pytest.mark.system

TASK = "answer"
ROWS, SHARDS = 120, 3

#: Where a worker is killed: each kind of API call and of storage write, before and after.
CRASH_POINTS = (
    "write r01-s00001*.jsonl: visible",
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
    "delete r01-s00001*.jsonl: after",
)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("in") / "tickets.parquet"
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
        return self.airflow.api.wait_for_task(self.dag_id, self.run_id, TASK, list(states))

    def wait_for_success(self) -> None:
        self.airflow.api.wait_for_success(self.dag_id, self.run_id)

    def wait_until(self, what: str, met: Callable[[], object]) -> None:
        self.airflow.patience.wait_until(what, met, state=lambda: self.task()["state"], tick=0.2)

    def task(self) -> dict[str, Any]:
        return self.airflow.api.task_instance(self.dag_id, self.run_id, TASK)

    def batches(self, emulator: Emulator) -> list[dict[str, Any]]:
        found = emulator.state()["batches"]
        return [batch for batch in found if (batch["metadata"] or {}).get("airflow_run_id") == self.run_id]

    def statuses(self, emulator: Emulator) -> set[str]:
        return {batch["status"] for batch in self.batches(emulator)}

    def check_exact(self, emulator: Emulator) -> None:
        """Invariants 1 and 2: each row once, with its own columns; no batch too many, none cancelled."""
        result = f"read_parquet('{self.answers}/*.parquet')"
        landed = duckdb.sql(f"select row_number, id from {result} where status = 'succeeded' order by 1").fetchall()
        assert landed == [(n, f"t{n}") for n in range(ROWS)]
        assert [batch["status"] for batch in self.batches(emulator)] == ["completed"] * SHARDS


class BadDay:
    """
    The runs of the day, started side by side.

    :param killed: Crash point → the run whose worker is killed there.
    :param marked: The run that is marked as failed.
    """

    def __init__(self, airflow: AirflowProcesses, emulator: Emulator, table: Path, folder: Path) -> None:
        self.emulator = emulator
        self.cleared = Run(airflow, table, folder / "cleared")
        self.marked = Run(airflow, table, folder / "marked")
        self.killed = {
            point: Run(airflow, table, folder / f"run-{number}", stop_at=point)
            for number, point in enumerate(CRASH_POINTS)
        }

    def end(self) -> None:
        """Let the batches end."""
        self.emulator.configure(progress="seconds:1")


def _make_an_older_batch(emulator: Emulator) -> None:
    """Without a batch from before, no list proves that a create has made none: accounts are seldom that new."""
    client = openai.OpenAI(base_url=emulator.base_url, api_key="k")
    body = {"model": "gpt-6-luna", "messages": [{"role": "user", "content": "Guten Tag"}]}
    line = {"custom_id": "0", "method": "POST", "url": "/v1/chat/completions", "body": body}
    file = client.files.create(file=("old.jsonl", json.dumps(line).encode()), purpose="batch")
    client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")


@pytest.fixture(scope="module")
def day(
    airflow: AirflowProcesses, emulator_process: Emulator, table: Path, tmp_path_factory: pytest.TempPathFactory
) -> BadDay:
    emulator_process.reset()
    _make_an_older_batch(emulator_process)
    emulator_process.configure(progress="hold")
    return BadDay(airflow, emulator_process, table, tmp_path_factory.mktemp("day"))


def test_a_task_that_is_marked_failed_while_it_is_deferred_has_its_batches_cancelled(
    airflow: AirflowProcesses, emulator_process: Emulator, day: BadDay
) -> None:
    """Invariant 7: a kill cancels."""
    run = day.marked
    run.wait_for("deferred")
    run.wait_until("a triggerer holds its trigger", lambda: _triggerer_of(airflow, run) is not None)
    mark_failed_once_polled(run, emulator_process)


def test_a_task_that_is_marked_failed_while_its_worker_polls_has_its_batches_cancelled(
    airflow: AirflowProcesses, emulator_process: Emulator, day: BadDay, table: Path, tmp_path: Path
) -> None:
    """Invariant 7: a kill cancels from the worker too."""
    run = Run(airflow, table, tmp_path, "durable_on_the_worker")
    run.wait_until("all batches are created", lambda: len(run.batches(emulator_process)) == SHARDS)
    mark_failed_once_polled(run, emulator_process)


def mark_failed_once_polled(run: Run, emulator: Emulator) -> None:
    polls = _polls(emulator)
    run.wait_until("batches are polled", lambda: _polls(emulator) >= polls + 2 * SHARDS)
    run.airflow.api.mark(run.dag_id, run.run_id, TASK, "failed")
    run.wait_until("batches are cancelled", lambda: run.statuses(emulator) <= {"cancelling", "cancelled"})


def _polls(emulator: Emulator) -> int:
    """How often somebody has asked for batches, by their ids or by the list."""
    return sum(call["path"].startswith("/v1/batches") for call in emulator.calls("GET"))


def test_a_cleared_deferred_task_finishes_on_the_first_attempts_batches(
    airflow: AirflowProcesses, emulator_process: Emulator, day: BadDay
) -> None:
    """Invariants 3 and 7: a clear cancels nothing. The last test sees it finish."""
    run = day.cleared
    run.wait_for("deferred")
    before = [batch["id"] for batch in run.batches(emulator_process)]
    airflow.api.clear("durable", run.run_id, [TASK])

    def is_deferred_again() -> bool:
        task = run.task()
        return bool(task["try_number"] == 2 and task["state"] == "deferred")

    run.wait_until("the second attempt is deferred", is_deferred_again)
    assert [batch["id"] for batch in run.batches(emulator_process)] == before
    assert run.statuses(emulator_process) <= {"validating", "in_progress"}


def test_a_triggerer_that_is_stopped_and_started_cancels_nothing(
    airflow: AirflowProcesses, emulator_process: Emulator, day: BadDay
) -> None:
    """Invariant 7: a redeployment."""
    day.cleared.wait_for("deferred")
    airflow.component("triggerer").stop()
    assert day.cleared.statuses(emulator_process) <= {"validating", "in_progress"}
    airflow.restart("triggerer")


def test_a_frozen_triggerer_whose_triggers_another_takes_over_cancels_nothing(
    airflow: AirflowProcesses, emulator_process: Emulator, day: BadDay
) -> None:
    """Invariant 7: `on_kill` fires falsely when the frozen one goes on, and must not be believed."""
    run = day.cleared
    run.wait_for("deferred")
    run.wait_until("its trigger is held", lambda: _triggerer_of(airflow, run) is not None)
    frozen = _triggerer_of(airflow, run)
    first, second = airflow.component("triggerer"), airflow.add_triggerer()
    first.pause()
    run.wait_until("the second triggerer has taken over", lambda: _triggerer_of(airflow, run) not in (None, frozen))
    first.resume()
    beats = _heartbeat(airflow, frozen)
    run.wait_until("the first one goes on", lambda: _heartbeat(airflow, frozen) != beats)
    beats = _heartbeat(airflow, frozen)
    run.wait_until("and looks at its triggers", lambda: _heartbeat(airflow, frozen) != beats)
    assert run.statuses(emulator_process) <= {"validating", "in_progress"}
    second.stop()


def test_what_was_killed_cleared_and_taken_over_ends_with_each_row_once_and_nothing_paid_twice(
    emulator_process: Emulator, day: BadDay
) -> None:
    """Invariants 1 to 3 and 7: each attempt goes on where the one before it was."""
    day.end()
    for point, run in day.killed.items():
        run.wait_for_success()
        assert (run.answers.parent / "trace.dead").exists(), f"{point}: the worker was not killed there"
        assert run.task()["try_number"] >= 2, point  # Airflow itself may fail one on a busy machine, see AIRFLOW_CONFIG
        run.check_exact(emulator_process)
    day.cleared.wait_for_success()
    day.cleared.check_exact(emulator_process)
    log = day.cleared.airflow.api.task_log("durable", day.cleared.run_id, TASK, 2)
    assert "cancel" not in log.lower() or "Not cancelled" in log


def _triggerer_of(airflow: AirflowProcesses, run: Run) -> int | None:
    """Return the number of the triggerer that holds a run's trigger; None where none does."""
    held = "select triggerer_id from trigger where id = (select trigger_id from task_instance where run_id = ?)"
    found = _query(airflow, held, run.run_id)
    return found[0][0] if found else None


def _heartbeat(airflow: AirflowProcesses, triggerer: int | None) -> str:
    return str(_query(airflow, "select latest_heartbeat from job where id = ?", triggerer))


def _query(airflow: AirflowProcesses, query: str, *values: Any) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(airflow.home / "airflow.db", timeout=30)) as database:
        return database.execute(query, values).fetchall()
