"""
The soak on real Airflow: `make soak`, after the one without.

The same rows, failures, expiry and full queue as `tests/faults/soak.py`; here the worker is killed while it lands,
and the triggerer is restarted while most of the batches run.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import psutil

from airflow_provider_batch.emulator.testing import running_emulator
from demo.airflow_api import FINISHED
from demo.airflow_processes import AirflowProcesses
from tests.faults.soak import MEGABYTE, Soak

TASK = "answer"
#: Seconds after which it is given up, however much still moves.
TIMEOUT = 3_000.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the job, hurt it twice, and print time, memory and whether everything holds."""
    parser = argparse.ArgumentParser(prog="python -m tests.system.soak", description=__doc__.splitlines()[1])
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--shards", type=int, default=20)
    given = parser.parse_args(arguments)
    os.environ["no_proxy"] = "127.0.0.1,localhost"
    with tempfile.TemporaryDirectory(prefix="soak-") as folder, running_emulator() as emulator:
        soak = Soak(Path(folder), emulator, given.rows, given.shards)
        soak.write_source()
        soak.set_up()
        connection = {"conn_type": "openai_batch", "host": emulator.base_url, "password": "soak-key"}
        with AirflowProcesses(
            Path(__file__).parent / "dags",
            connections={"openai_default": connection},
            config={"openai_batch.lookup_quiet_period": "2"},
            environment={"PYTHONPATH": str(Path(__file__).parents[2])},
        ) as airflow:
            airflow.wait_for_dags(["soak"])
            return run(soak, airflow)


def run(soak: Soak, airflow: AirflowProcesses) -> int:
    """Drive the run from outside and report."""
    begun = time.monotonic()
    conf = {
        "source": str(soak.source),
        "destination": str(soak.folder / "table"),
        "state": str(soak.folder / "state"),
        "trace": str(soak.folder / "trace"),
        "stop_at": "write part-*: not visible yet",
        "rows": -(-soak.rows // soak.shards),
    }
    run_id = airflow.api.trigger("soak", conf)
    restarted, peak, state = False, 0, ""

    def is_over() -> bool:
        nonlocal restarted, peak, state
        state, peak = airflow.api.run_state("soak", run_id), max(peak, _largest_task(airflow))
        if not restarted and soak.landed() >= soak.shards // 2:
            airflow.restart("triggerer")
            restarted = True
        return state in FINISHED

    patience = replace(airflow.patience, time_limit=TIMEOUT)
    patience.wait_until("the run is over", is_over, state=lambda: (state, soak.landed()), tick=0.5)
    task = airflow.api.task_instance("soak", run_id, TASK)
    print(f"real Airflow: {time.monotonic() - begun:,.0f} s in all, largest task process {peak / MEGABYTE:,.0f} MB")
    print(f"run: {state}; attempts: {task['try_number']}; triggerer restarted: {restarted}")
    summary = airflow.api.xcom("soak", run_id, TASK)
    whole = state == "success" and restarted and (soak.folder / "trace.dead").exists()
    return soak.report(summary) if whole else 1


def _largest_task(airflow: AirflowProcesses) -> int:
    """Return the memory of the largest process below the scheduler, the scheduler itself apart."""
    sizes = [0]
    for process in airflow.component("scheduler").session_processes():
        try:
            if process.pid != airflow.component("scheduler").pid:
                sizes.append(process.memory_info().rss)
        except psutil.Error:
            continue
    return max(sizes)


if __name__ == "__main__":
    raise SystemExit(main())
