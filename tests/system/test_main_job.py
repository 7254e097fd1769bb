"""
The main job on real Airflow processes: a scheduler, a triggerer, a dag-processor and an api-server, against the
emulator.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_provider_batch.emulator.testing import Emulator
from demo.airflow_processes import AirflowProcesses

pytestmark = pytest.mark.system

TASK = "answer"
ROWS, SHARDS = 200, 5

#: Looks at the waiting task.
LOOKS = 5

#: Seconds that the emulator works on a batch where nobody holds it: a task that resumes before the scheduler has taken
#: note of the end of the worker that deferred it may be failed by Airflow 3.3 (apache/airflow#72716).
WORK = 5.0


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "in" / "tickets.parquet"
    path.parent.mkdir()
    columns = {"id": [f"t{number}" for number in range(ROWS)], "text": [f"Der Text {number}" for number in range(ROWS)]}
    pq.write_table(pa.table(columns), path)
    return path


def assert_table_is_exact(table: Path, answers: Path) -> None:
    """Each input row stands in the result once, at its row number, with its own columns and an answer."""
    source, result = f"read_parquet('{table}', file_row_number = true)", f"read_parquet('{answers}/*.parquet')"
    matched, answered, distinct = duckdb.sql(
        f""" select count(*), count(*) filter (status = 'succeeded' and length(result.text) > 0), count(distinct
        row_number) from {source} as source join {result} as result on source.file_row_number = result.row_number and
        source.id = result.id
        """
    ).fetchall()[0]
    assert (matched, answered, distinct) == (ROWS, ROWS, ROWS)
    assert duckdb.sql(f"select count(*) from {result}").fetchall() == [(ROWS,)]


def waits_again(airflow: AirflowProcesses, run: str) -> bool:
    task = airflow.api.task_instance("deferred", run, TASK)
    return task["state"] == "deferred" and task["try_number"] > 1


def wait_for_a_poll(airflow: AirflowProcesses, emulator: Emulator) -> None:
    polls = len(emulator.calls("GET"))
    airflow.patience.wait_until("the triggerer polls again", lambda: len(emulator.calls("GET")) > polls)


def test_the_whole_job_defers_holds_no_slot_and_lands_the_exact_table(
    airflow: AirflowProcesses, emulator: Emulator, table: Path, tmp_path: Path
) -> None:
    """Invariants 1 and 2, over real processes, with a clear on the way."""
    emulator.configure(progress="hold")
    answers = tmp_path / "answers"
    run = airflow.api.trigger("deferred", {"source": str(table), "destination": str(answers)})

    airflow.api.wait_for_task("deferred", run, TASK, ["deferred"])
    for _ in range(LOOKS):
        wait_for_a_poll(airflow, emulator)
        state, pool = airflow.api.task_state("deferred", run, TASK), airflow.api.pool()
        assert (state, pool.running, pool.queued, pool.deferred) == ("deferred", 0, 0, 1)
    airflow.api.clear("deferred", run, [TASK])
    airflow.patience.wait_until("it waits again after the clear", lambda: waits_again(airflow, run))
    emulator.configure(progress="seconds:1")

    airflow.api.wait_for_success("deferred", run)
    assert_table_is_exact(table, answers)
    state = emulator.state()
    assert len(state["batches"]) == SHARDS
    assert (state["executions"]["billed"], state["repeated_executions"]) == (ROWS, [])

    summary = airflow.api.xcom("deferred", run, TASK)
    assert summary["statuses"] == {"succeeded": ROWS}
    assert len(json.dumps(summary)) < 2_000
    assert airflow.api.xcom("deferred", run, TASK, "batch_ids") == [batch["id"] for batch in state["batches"]]
    assert airflow.api.xcom("deferred", run, TASK, "destination") == str(answers)


def test_polling_on_the_worker_gives_the_same_table(
    airflow: AirflowProcesses, emulator: Emulator, table: Path, tmp_path: Path
) -> None:
    """The blocking path decides as the deferrable one does."""
    emulator.configure(progress="seconds:1")
    answers = tmp_path / "answers"
    run = airflow.api.trigger("on_the_worker", {"source": str(table), "destination": str(answers)})
    seen: set[str | None] = set()
    airflow.api.wait_for_task("on_the_worker", run, TASK, ["success"], on_poll=seen.add)
    assert "deferred" not in seen
    assert_table_is_exact(table, answers)
    assert emulator.state()["executions"]["billed"] == ROWS


def test_rows_of_an_upstream_task_are_answered_and_stay_out_of_the_rendered_fields(
    airflow: AirflowProcesses, emulator: Emulator, tmp_path: Path
) -> None:
    """Rows are data, not template fields: the metadata database keeps them for no task instance."""
    emulator.configure(progress=f"seconds:{WORK}")
    answers, marker = tmp_path / "answers", "Kennwort-4711"
    run = airflow.api.trigger("from_upstream", {"destination": str(answers), "marker": marker})
    airflow.api.wait_for_success("from_upstream", run)
    found = duckdb.sql(f"select id, status from read_parquet('{answers}/*.parquet') order by row_number").fetchall()
    assert found == [(0, "succeeded"), (1, "succeeded"), (2, "succeeded")]
    with closing(sqlite3.connect(airflow.home / "airflow.db")) as database:
        fields = database.execute(
            "select rendered_fields from rendered_task_instance_fields where task_id = ? and run_id = ?", (TASK, run)
        ).fetchall()
    assert "3 rows" in str(fields)
    assert marker not in str(fields)
