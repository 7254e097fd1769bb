"""Run the demo step by step: write a table, start the emulator and Airflow, run one DAG, check the result."""

from __future__ import annotations

import json
import os
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from airflow_provider_batch.emulator.testing import Emulator, running_emulator
from demo.airflow_api import FINISHED, AirflowApi, RunFailedError
from demo.airflow_processes import AirflowProcesses
from demo.evidence import Outcome, Sample, check_claims, phases
from demo.processes import Reaper
from demo.screen import BatchLine, Screen, TableFacts
from demo.stdlib_docstrings import write_table

DAGS = Path(__file__).parent / "dags"
DAG_ID, TASK_ID = "summarise_stdlib", "summarise"

#: Seconds between two samples.
SAMPLE_EVERY = 0.5

#: Samples of the waiting task before the emulator starts to work: also a slow machine shows the wait.
SAMPLES_BEFORE_WORK = 3

#: Text for a task instance without a state.
NOT_STARTED = "not started"


@dataclass(frozen=True)
class Options:
    """
    Options of the command line.

    :param folder: Folder of the demo's tables; each run makes a folder in it.
    :param rows: Number of input rows; None for all.
    :param seconds: Seconds that the emulator works on each batch once the task waits.
    :param hold: Keep Airflow running at the end.
    """

    folder: Path
    rows: int | None
    seconds: float
    hold: bool


def run(options: Options, screen: Screen) -> bool:
    """
    Run the demo, and return whether all its claims are true.

    :param options: Options of the command line.
    :param screen: Prints the steps and results.
    """
    folder = options.folder / f"{datetime.now():%Y%m%d-%H%M%S}"
    folder.mkdir(parents=True)
    source, destination = folder / "docstrings.parquet", folder / "summaries"
    with screen.step("The table: docstrings of the standard library") as step:
        step.result = f"{write_table(source, options.rows):,} rows in {shown(source)}"
    with ExitStack() as processes:
        with screen.step("The Batch API: an emulator on this machine") as step:
            emulator = processes.enter_context(demo_emulator("hold"))
            step.result = emulator.base_url
        with screen.step("Airflow: scheduler, triggerer, dag-processor, api-server") as step:
            airflow = processes.enter_context(
                AirflowProcesses(DAGS, connections={"openai_default": connection(emulator)}, say=step.waits_for)
            )
            airflow.wait_for_dags([DAG_ID])
            step.result = airflow.api.base_url
        triggered_at = time.time()
        run_id = airflow.api.trigger(DAG_ID, {"source": str(source), "destination": str(destination)})
        samples = sample_until_finished(airflow, emulator, run_id, options.seconds, screen)
        outcome = read_outcome(source, destination, airflow.api.xcom(DAG_ID, run_id, TASK_ID) or {}, emulator)
        batches = [batch_line(batch, triggered_at) for batch in batches_of(emulator)]
        claims = check_claims(samples, len(batches), outcome)
        screen.show_phases(phases(samples))
        screen.show_batches(batches)
        screen.show_table(read_facts(destination))
        screen.show_claims(claims)
        if options.hold:
            screen.hold(airflow.api.base_url)
    return all(claim.holds for claim in claims)


@contextmanager
def demo_emulator(progress: str) -> Iterator[Emulator]:
    """
    Run an emulator that also ends when this process is killed.

    :param progress: How its batches progress; see the emulator's setting of this name.
    """
    home = Path(tempfile.mkdtemp(prefix="airflow-provider-batch-"))
    with Reaper(home) as reaper, running_emulator(home, progress=progress) as emulator:
        reaper.add_process(emulator.pid)
        yield emulator
        reaper.remove(emulator.pid)


def connection(emulator: Emulator) -> dict[str, Any]:
    """
    Return the Airflow connection to the emulator; for the real API only host and key differ.

    :param emulator: Running emulator.
    """
    return {"conn_type": "openai_batch", "host": emulator.base_url, "password": "any-key-will-do"}


def sample_until_finished(
    airflow: AirflowProcesses, emulator: Emulator, run_id: str, work: float, screen: Screen
) -> list[Sample]:
    """
    Sample Airflow and the Batch API until the task has finished.

    :param airflow: Running Airflow.
    :param emulator: Running emulator.
    :param run_id: Id of the run.
    :param work: Seconds that the emulator works on each batch once samples have shown the task waiting.
    :param screen: Shows each sample.
    :raises RunFailedError: The task has not succeeded.
    """
    samples: list[Sample] = []
    started = time.monotonic()

    def has_finished() -> bool:
        samples.append(take_sample(airflow.api, emulator, run_id, time.monotonic() - started))
        show(samples[-1])
        if sum(sample.state == "deferred" for sample in samples) == SAMPLES_BEFORE_WORK:
            emulator.configure(progress=f"seconds:{work:g}")
        return samples[-1].state in FINISHED

    with screen.live_view() as show:
        what = "the task has finished"
        airflow.patience.wait_until(what, has_finished, state=lambda: samples[-1:], tick=SAMPLE_EVERY)
    if samples[-1].state != "success":
        raise failure(airflow.api, run_id, samples[-1].state)
    return samples


def failure(api: AirflowApi, run_id: str, state: str) -> RunFailedError:
    """
    Return the error for a task that has failed, with its log.

    :param api: Client of Airflow.
    :param run_id: Id of the run.
    :param state: State of the task.
    """
    return RunFailedError(f"The task is {state}.\n{api.run_report(DAG_ID, run_id)}")


def take_sample(api: AirflowApi, emulator: Emulator, run_id: str, seconds: float) -> Sample:
    """
    Read the task's state, the pool, the batches, and the task's state again.

    :param api: Client of Airflow.
    :param emulator: Running emulator.
    :param run_id: Id of the run.
    :param seconds: Seconds since the run was triggered.
    """
    before = api.task_state(DAG_ID, run_id, TASK_ID) or NOT_STARTED
    pool = api.pool()
    batches = batches_of(emulator)
    after = api.task_state(DAG_ID, run_id, TASK_ID) or NOT_STARTED
    return Sample(
        seconds=seconds,
        state=after,
        changing=before != after,
        slots_held=pool.running + pool.queued,
        slots_deferred=pool.deferred,
        batches={batch["id"]: batch["status"] for batch in batches},
        counts={batch["id"]: _counts(batch) for batch in batches},
    )


def _counts(batch: Mapping[str, Any]) -> tuple[int, int]:
    counts = batch["request_counts"]
    return counts["completed"] + counts["failed"], counts["total"]


def batch_line(batch: Mapping[str, Any], since: float) -> BatchLine:
    """
    Return what the screen shows of a batch.

    :param batch: Batch object; its times are whole epoch seconds.
    :param since: Epoch seconds at which the run was triggered.
    """
    moments = {name: batch.get(f"{name}_at") for name in ("created", "in_progress", "completed")}
    return BatchLine(
        batch_id=batch["id"],
        requests=batch["request_counts"]["total"],
        status=batch["status"],
        moments={name: None if moment is None else moment - since for name, moment in moments.items()},
    )


def batches_of(emulator: Emulator) -> list[dict[str, Any]]:
    """
    Return all batches from the Batch API's list, oldest first.

    :param emulator: Running emulator.
    """
    request = urllib.request.Request(f"{emulator.base_url}/batches?limit=100", headers={"Authorization": "Bearer demo"})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=300) as response:
        batches: list[dict[str, Any]] = json.load(response)["data"]
    return batches[::-1]


def read_outcome(source: Path, destination: Path, summary: Mapping[str, Any], emulator: Emulator) -> Outcome:
    """
    Read the figures that the claims need.

    :param source: Input file.
    :param destination: Folder of the result table.
    :param summary: XCom of the task.
    :param emulator: Running emulator; it knows what was billed.
    """
    rows = read_rows(destination)
    return Outcome(
        input_names=[row["name"] for row in pq.read_table(source, columns=["name"]).to_pylist()],
        output_names=[row["name"] for row in rows],
        row_numbers=[row["row_number"] for row in rows],
        unanswered=sum(row["status"] == "succeeded" and not row["text"] for row in rows),
        statuses=Counter(row["status"] for row in rows),
        reported_statuses=summary.get("statuses", {}),
        billed_requests=emulator.state()["executions"]["billed"],
    )


def read_facts(destination: Path) -> TableFacts:
    """
    Read what the screen shows of the result table.

    :param destination: Folder of the result table.
    """
    rows = read_rows(destination)
    costs = [row["cost_usd"] for row in rows if row["cost_usd"] is not None]
    return TableFacts(
        rows=len(rows),
        columns=list(rows[0]) if rows else [],
        first=rows[:6],
        statuses=Counter(row["status"] for row in rows),
        input_tokens=sum(row["input_tokens"] or 0 for row in rows),
        output_tokens=sum(row["output_tokens"] or 0 for row in rows),
        cost=sum(costs) if costs else None,
        files=len(list(destination.glob("*.parquet"))),
        path=shown(destination),
    )


def read_rows(destination: Path) -> list[dict[str, Any]]:
    """
    Read the rows of all part files, in input order.

    :param destination: Folder of the result table.
    """
    tables = [pq.read_table(part) for part in sorted(destination.glob("*.parquet"))]
    rows = [row for table in tables for row in table.to_pylist()]
    return sorted(rows, key=lambda row: row["row_number"])


def shown(path: Path) -> str:
    """
    Return a path relative to the current folder where it is inside it, else the whole path.

    :param path: Path to show.
    """
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative
