"""
A DAG that is scheduled by the asset of a table, on real Airflow processes.

It has an Airflow of its own: in the one of the other system tests, schedules are off.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_provider_batch.emulator.testing import Emulator
from demo.airflow_processes import AirflowProcesses

pytestmark = [pytest.mark.system, pytest.mark.thorough, pytest.mark.matrix]

DAGS = Path(__file__).parent / "asset_dags"
TASK, ROWS = "answer", 100
#: Seconds that the emulator works on a batch.
WORK = 3.0


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "tickets.parquet"
    pq.write_table(pa.table({"id": range(ROWS), "text": [f"Der Text {number}" for number in range(ROWS)]}), path)
    return path


@pytest.fixture
def airflow(emulator: Emulator) -> Iterator[AirflowProcesses]:
    connection = {"conn_type": "openai_batch", "host": emulator.base_url, "password": "k"}
    environment = {"PYTHONPATH": str(Path(__file__).parents[2])}
    with AirflowProcesses(DAGS, connections={"openai_default": connection}, environment=environment) as airflow:
        airflow.wait_for_dags(["with_outlets", "after_answers"])
        yield airflow


def test_a_dag_that_is_scheduled_by_the_table_starts_once_it_is_landed_and_reads_it(
    airflow: AirflowProcesses, emulator: Emulator, table: Path, tmp_path: Path
) -> None:
    emulator.configure(progress=f"seconds:{WORK}")
    answers = tmp_path / "answers"
    run = airflow.api.trigger("with_outlets", {"source": str(table), "destination": str(answers)})
    airflow.api.wait_for_success("with_outlets", run)

    def runs() -> list[dict[str, Any]]:
        return airflow.api.dag_runs("after_answers")

    airflow.patience.wait_until("the other DAG is started", runs)
    (after,) = runs()
    airflow.api.wait_for_success("after_answers", after["dag_run_id"])
    read = airflow.api.xcom("after_answers", after["dag_run_id"], "read_table")
    extra, summary = read["extra"], airflow.api.xcom("with_outlets", run, TASK)
    assert (read["events"], read["rows_read"], extra["statuses"]) == (1, ROWS, {"succeeded": ROWS})
    assert extra["model"] == "gpt-6-luna"
    names = ("destination", "manifest", "job", "batch_ids", "cost_usd")
    assert {name: extra[name] for name in names} == {name: summary[name] for name in names}
    events = airflow.api.asset_events()
    assert sorted((event["uri"], event["extra"]["manifest"]) for event in events) == [
        (f"file://{answers}", summary["manifest"]),
        ("openai_batch_answers", summary["manifest"]),
    ]
    assert len(runs()) == 1
