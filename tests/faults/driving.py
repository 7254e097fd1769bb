"""One job, driven as a scheduler would: started, killed somewhere, started again until it ends."""

from __future__ import annotations

import logging
import os
import random
import shutil
import signal
import tempfile
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from airflow_provider_batch import storage
from airflow_provider_batch.api.client import BatchClient
from airflow_provider_batch.api.endpoints import Endpoint
from airflow_provider_batch.api.settings import ClientSettings
from airflow_provider_batch.emulator.testing import Emulator
from airflow_provider_batch.exceptions import OpenAIBatchError
from airflow_provider_batch.jobs import decisions
from airflow_provider_batch.jobs.decisions import Limits
from airflow_provider_batch.jobs.identity import Identity
from airflow_provider_batch.jobs.job_request import InputOptions, JobRequest, Tools
from airflow_provider_batch.jobs.ledger import segments, store
from airflow_provider_batch.jobs.opening.attempt import open_job, resume_job
from airflow_provider_batch.requests.prepare import RequestSpec
from airflow_provider_batch.sources.query import Query
from tests.faults.boundaries import Boundaries, install
from tests.faults.processes import PATIENCE, Child
from tests.faults.scenarios import IDENTITY, Phase, Scenario
from tests.jobs.support import changed

BODY = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Say something about {text}."}]}
#: The pauses of `decisions`, for a machine on which nothing takes long.
PAUSES = {"QUEUE_PAUSES": (0.05, 0.1), "FILE_PAUSE": 0.02, "FILES_PAUSE": 0.02}
#: The sizes of a ledger's files, for a job of few shards.
SMALL_FILES = {
    (store, "EVENT_FILE_BYTES"): 1_000,
    (store, "BASE_EVERY_BYTES"): 1_000,
    (segments, "SEGMENT_SHARDS"): 2,
    (segments, "SEGMENT_SHARDS_LEAST"): 1,
}
POLL_INTERVAL, LONGEST_SLEEP = 0.02, 0.5
#: Seconds after which a look-up is believed. A process that is held or slow must not be overtaken by another's look-up.
QUIET_PERIOD, LONG_QUIET_PERIOD = 0.1, 1.0
SETTINGS = {"progress": "reads:2", "shuffle": False}
#: Attempts and wake-ups after which a job is said not to end.
MAX_ATTEMPTS, MAX_WAKES = 6, 60


def rows_of(count: int) -> list[dict[str, Any]]:
    """The input table."""
    sides = ("left", "right/wrong", None)
    return [{"key": f"k{n}", "text": f"subject {n}", "side": sides[n % 3]} for n in range(count)]


class _Cursor:
    """Gives rows as a database would."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.names = list(rows[0])
        self._left = [tuple(row.values()) for row in rows]

    def fetch(self, count: int) -> Sequence[Sequence[Any]]:
        given, self._left = self._left[:count], self._left[count:]
        return given


def shuffled(rows: list[dict[str, Any]]) -> Query:
    """A query without an order: each process gets its rows in one of its own."""

    @contextmanager
    def runs() -> Iterator[_Cursor]:
        yield _Cursor(random.Random(os.getpid()).sample(rows, len(rows)))

    return Query("select * from rows", "warehouse", runs)


@dataclass(frozen=True)
class End:
    """How an attempt ended: `killed`, `done`, `waits`, or the name of an error."""

    kind: str
    message: str = ""
    retryable: bool = False
    key: str = ""


@dataclass
class Run:
    """
    One course of a scenario in a folder of its own.

    :param folder: Emptied at the start.
    :param boundaries: Shared by all of its attempts.
    """

    scenario: Scenario
    folder: Path
    emulator: Emulator
    boundaries: Boundaries
    quiet_period: float = QUIET_PERIOD
    ends: list[End] = field(default_factory=list)

    def prepare(self) -> None:
        """Empty the folder and the emulator, and pass all phases but the last."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.emulator.reset()
        self.emulator.configure(**{**SETTINGS, **self.scenario.settings})
        for rule in self.scenario.faults:
            self.emulator.fault(**rule)
        for phase in self.scenario.phases[:-1]:
            self._enter(phase)
            end = self.attempt(phase, None)
            if end.kind != phase.ends:
                raise RuntimeError(f"{self.scenario.name}: what goes before ended as {end}")
        self._enter(self.scenario.phase)

    def _enter(self, phase: Phase) -> None:
        if phase.before is not None:
            phase.before(self.folder)
        if phase.settings:
            self.emulator.configure(**phase.settings)

    def to_the_end(self) -> End:
        """Start the job until it ends by itself, as retries would."""
        for _ in range(MAX_ATTEMPTS):
            end = self.attempt(self.scenario.phase, self.boundaries)
            if end.kind != "killed" and not end.retryable:
                return end
        return End("endless", f"{MAX_ATTEMPTS} attempts: {self.ends[-1]}")

    def attempt(self, phase: Phase, boundaries: Boundaries | None) -> End:
        """Make one attempt of the task: with all of its wake-ups where it defers."""
        end = End("killed")
        if phase.style == "deferring":
            key = None
            for _ in range(MAX_WAKES):
                end = self._process(phase, boundaries, key)
                if end.kind != "waits":
                    break
                key = end.key
        else:
            end = self._process(phase, boundaries, None)
        self.ends.append(end)
        return end

    def start(
        self, boundaries: Boundaries | None, name: str = "second", *, patience: int = PATIENCE, **changes: Any
    ) -> Child:
        """Begin an attempt of the last phase, of one process, beside others; `changes` are of its request."""
        phase = replace(self.scenario.phase, request={**self.scenario.phase.request, **changes})
        return Child(lambda: self._drive(phase, boundaries, None), self.folder / f"{name}.json", patience=patience)

    def _process(self, phase: Phase, boundaries: Boundaries | None, key: str | None) -> End:
        child = Child(lambda: self._drive(phase, boundaries, key), self.folder / "answer.json")
        child.wait()
        return end_of(child)

    def _drive(self, phase: Phase, boundaries: Boundaries | None, key: str | None) -> dict[str, Any]:
        """What the driven process does."""
        tempfile.tempdir = str(self.folder / "tmp")
        Path(tempfile.tempdir).mkdir(exist_ok=True)
        logging.basicConfig(filename=self.folder / "log", level=logging.INFO, format="%(process)d %(message)s")
        for name, value in PAUSES.items():
            setattr(decisions, name, value)
        for (module, name), value in SMALL_FILES.items() if self.scenario.small_files else ():
            setattr(module, name, value)
        if boundaries is not None:
            install(boundaries)
        request, tools = self._request(phase), self._tools()
        try:
            job = open_job(request, tools) if key is None else resume_job(request, tools, key)
            if phase.style == "blocking":
                job.run()
                return {"kind": "done"}
            return {"kind": "waits", "key": job.key} if job.advance() else {"kind": "done"}
        except OpenAIBatchError as error:
            logging.getLogger(__name__).exception("The attempt ends")
            return {"kind": type(error).__name__, "message": str(error), "retryable": error.retryable}
        except Exception as error:
            return {"kind": f"defect {type(error).__name__}", "message": traceback.format_exc()}

    def _request(self, phase: Phase) -> JobRequest:
        changes = dict(phase.request)
        source: Any = rows_of(changes.pop("rows", self.scenario.rows))
        folder = self.folder / phase.deployment
        place = str(folder / changes.pop("table", "table"))
        given = {"destination": place, "poll_interval": POLL_INTERVAL, **changes}
        map_index = given.pop("map_index", -1)
        spec = {"endpoint": Endpoint.CHAT_COMPLETIONS, "body": BODY, "max_shard_rows": 10, "limit": None}
        spec |= self.scenario.spec
        if not source:  # no rows have no columns: they are all those behind the first none
            source, spec["limit"] = rows_of(1), 0
        source = shuffled(source) if self.scenario.shuffles else source
        request = JobRequest(
            identity=Identity(IDENTITY.dag_id, IDENTITY.task_id, IDENTITY.run_id, map_index),
            input=InputOptions(source),
            spec=RequestSpec(**spec),
            state=storage.resolve(str(folder / "state")),
            limits=Limits(**{"quiet_period": self.quiet_period, **self.scenario.limits}),
        )
        return changed(request, **given)

    def _tools(self) -> Tools:
        late = self.folder / "late"

        def clock() -> float:
            return time.time() + (self.scenario.late if late.exists() else 0.0)

        def sleep(seconds: float) -> None:
            time.sleep(min(seconds, LONGEST_SLEEP))
            if seconds > QUIET_PERIOD:  # not while it waits to look up a create
                late.touch()

        settings = ClientSettings(api_key="sk-test", base_url=self.emulator.base_url, max_retries=2)
        return Tools(client=BatchClient(settings), clock=clock, sleep=sleep)


def end_of(child: Child) -> End:
    """Say how a process ended."""
    if child.killed_by is signal.SIGKILL:
        return End("killed")
    if child.killed_by is not None:
        return End("hangs", f"ended by {child.killed_by.name}")
    answer: Mapping[str, Any] = child.answer
    return End(**answer)
