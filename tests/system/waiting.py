"""
Hundreds of deferred tasks in one triggerer, on real Airflow: `make soak`, or::

    python -m tests.system.waiting --tasks 200 --batches 5

The emulator holds all batches until every task is deferred; then they end. What is printed is what Airflow itself
says: states of the task instances, slots of the pool, the triggerer's log. The exit code is 1 where a task fails, holds
a slot while it waits, is held by another triggerer, or where the triggerer's event loop was blocked.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from airflow_provider_batch.emulator.testing import Emulator, running_emulator
from demo.airflow_processes import AirflowProcesses

DAG, TASK = "waiting", "answer"
#: Seconds for which the deferred tasks are watched, once all of them are.
WATCHED = 45.0
#: Seconds between two looks at the same batch; `tests/system/dags/waiting.py` has the same.
POLL_INTERVAL = 10.0
MEGABYTE = 1 << 20


@dataclass
class Figures:
    """What was seen."""

    tasks: int
    batches: int
    states: Counter[str] = field(default_factory=Counter)
    triggerers: int = 0
    samples: int = 0
    most_slots: int = 0
    least_deferred: int = 0
    retrieves: int = 0
    pages: int = 0
    watched: float = 0.0
    processor: float = 0.0
    memory: float = 0.0
    blocked: list[str] = field(default_factory=list)
    seconds: float = 0.0
    cancelled: int = 0

    @property
    def is_good(self) -> bool:
        return (
            self.states == {"success": self.tasks}
            and (self.triggerers, self.most_slots, self.cancelled, self.blocked) == (1, 0, 0, [])
            and self.least_deferred == self.tasks
        )

    def show(self) -> None:
        print(f"{self.tasks} tasks with {self.batches} batches each, {self.seconds:,.0f} s in all")
        print(f"  states at the end: {dict(self.states)}; batches cancelled: {self.cancelled}")
        print(f"  triggerers that held them: {self.triggerers}")
        print(
            f"  {self.samples} samples while all waited: at least {self.least_deferred} deferred, at most "
            f"{self.most_slots} pool slots held"
        )
        print(f"  calls in {self.watched:.0f} s of waiting: {self.pages} pages, {self.retrieves} retrieves")
        print(f"  triggerer meanwhile: {self.processor:.1f} s of processor time, {self.memory / MEGABYTE:,.0f} MB")
        load = f"load average {os.getloadavg()[2]:.1f} on {os.cpu_count()} processors"
        print(f"  warnings that the async thread was blocked: {len(self.blocked)} ({load})")
        for line in self.blocked:
            print(f"    {line}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it and print what was seen."""
    parser = argparse.ArgumentParser(prog="python -m tests.system.waiting", description=__doc__.splitlines()[1])
    parser.add_argument("--tasks", type=int, default=200)
    parser.add_argument("--batches", type=int, default=5)
    given = parser.parse_args(arguments)
    os.environ["no_proxy"] = "127.0.0.1,localhost"
    with tempfile.TemporaryDirectory(prefix="waiting-") as folder, running_emulator() as emulator:
        figures = run(emulator, Path(folder), given.tasks, given.batches)
    figures.show()
    return 0 if figures.is_good else 1


def run(emulator: Emulator, folder: Path, tasks: int, batches: int, watched: float = WATCHED) -> Figures:
    """Let all tasks wait at the same time in an Airflow of their own, for a while, then let them end."""
    connection = {"conn_type": "openai_batch", "host": emulator.base_url, "password": "waiting-key"}
    with AirflowProcesses(
        Path(__file__).parent / "dags",
        connections={"openai_default": connection},
        config={"triggerer.capacity": "1000"},
        environment={"PYTHONPATH": str(Path(__file__).parents[2])},
        parallelism=4,
    ) as airflow:
        airflow.wait_for_dags([DAG])
        return wait_together(emulator, airflow, folder, Figures(tasks, batches, watched=watched))


def wait_together(emulator: Emulator, airflow: AirflowProcesses, folder: Path, figures: Figures) -> Figures:
    """Do the same in an Airflow that runs, and fill in the figures."""
    return _Course(emulator, airflow, folder, figures).run()


@dataclass
class _Course:
    emulator: Emulator
    airflow: AirflowProcesses
    folder: Path
    figures: Figures

    def run(self) -> Figures:
        begun, figures = time.monotonic(), self.figures
        source = self.folder / "rows.jsonl"
        source.write_text("".join(json.dumps({"text": f"Zeile {n}"}) + "\n" for n in range(figures.batches)))
        self.emulator.configure(progress="hold", max_batches_per_hour=None)
        conf = {"source": str(source), "folder": str(self.folder / "out"), "tasks": figures.tasks}
        run_id = self.airflow.api.trigger(DAG, conf)
        self._wait_until_all(run_id, "deferred")
        self._watch_waiting(run_id)
        self.emulator.configure(progress="seconds:1")
        self.airflow.api.wait_for_run(DAG, run_id)
        figures.states = self._states(run_id)
        figures.cancelled = sum(b["status"] != "completed" for b in self.emulator.state()["batches"])
        log = (self.airflow.logs / "triggerer.log").read_text(errors="replace")
        figures.blocked = [line.strip() for line in log.splitlines() if "async thread was blocked" in line]
        figures.seconds = time.monotonic() - begun
        return figures

    def _watch_waiting(self, run_id: str) -> None:
        """All wait: nothing may hold a slot, and hardly anything may happen."""
        figures, triggerer = self.figures, self._triggerer()
        figures.triggerers = self._wait_for_triggerers()
        figures.least_deferred = figures.tasks
        since, calls, processor = time.monotonic(), len(self.emulator.calls()), _processor(triggerer)
        while time.monotonic() < since + figures.watched:
            pool = self.airflow.api.pool()
            figures.samples += 1
            figures.most_slots = max(figures.most_slots, pool.running + pool.queued)
            figures.least_deferred = min(figures.least_deferred, self._states(run_id)["deferred"])
            time.sleep(1)
        figures.watched, figures.processor = time.monotonic() - since, _processor(triggerer) - processor
        figures.memory = max(process.memory_info().rss for process in triggerer)
        made = [call for call in self.emulator.calls()[calls:] if call["method"] == "GET"]
        figures.pages = sum(call["path"] == "/v1/batches" for call in made)
        figures.retrieves = sum(call["path"].startswith("/v1/batches/") for call in made)

    def _wait_until_all(self, run_id: str, state: str) -> None:
        said = 0

        def are_all() -> bool:
            nonlocal said
            states = self._states(run_id)
            if states["failed"]:
                raise RuntimeError(f"not all tasks are {state}: {dict(states)}")
            if states[state] >= said + 20:
                said = states[state]
                print(f"{said} of {self.figures.tasks} tasks are {state} ...", flush=True)
            return states[state] >= self.figures.tasks

        what = f"all tasks are {state}"
        self.airflow.patience.wait_until(what, are_all, state=lambda: dict(self._states(run_id)), tick=0.5)

    def _wait_for_triggerers(self) -> int:
        """Wait until every trigger is held, and return by how many triggerers."""

        def held() -> dict[object, int]:
            return dict(self._query("select triggerer_id, count(*) from trigger group by 1"))

        self.airflow.patience.wait_until("all triggers are held", lambda: None not in held(), state=held)
        return len(held())

    def _states(self, run_id: str) -> Counter[str]:
        found = self._query(
            "select state, count(*) from task_instance where run_id = ? and task_id = ? group by 1", run_id, TASK
        )
        return Counter({str(state): count for state, count in found})

    def _query(self, query: str, *values: str) -> list[tuple[object, int]]:
        with closing(sqlite3.connect(self.airflow.home / "airflow.db", timeout=30)) as database:
            return database.execute(query, values).fetchall()

    def _triggerer(self) -> list[psutil.Process]:
        return list(self.airflow.component("triggerer").session_processes())


def _processor(processes: Sequence[psutil.Process]) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in processes)


if __name__ == "__main__":
    raise SystemExit(main())
