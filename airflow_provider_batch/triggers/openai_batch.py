"""
Wait for batches without holding a worker, and without ever blocking the triggerer's event loop.

Nothing that the network, the vendor or a rotated key does fails a job before its moment: a look that fails is followed
by another. A kill cancels the batches; a clear, a redeployment, a paused or replaced triggerer does not, although
Airflow calls `on_kill` in some of those cases too: so the task instance's state is asked first, and in doubt nothing is
cancelled. A wrong cancel loses paid work, a batch left running costs money once.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_batch.api import statuses
from airflow_provider_batch.hooks.task_state import FINISHED, task_state
from airflow_provider_batch.jobs.waiting import LONGEST_DELAY, Wake, Watch, progress_line
from airflow_provider_batch.triggers.lookout import LOOK_TIMEOUT, Lookout, Sighting

#: Seconds before the first look. A task that is woken while its worker still reports the deferral can be marked
#: failed by Airflow 3.3 (apache/airflow#72716); no real batch ends sooner.
FIRST_LOOK = 5.0
#: Seconds. Airflow gives `on_kill` 30.
KILL_TIMEOUT = 25.0
#: Seconds without one successful look after which a wait without a moment ends, so that a worker fails with the reason.
PATIENCE = 3600.0

#: Cancellations that are going on: an event loop alone keeps no task alive.
_at_work: set[asyncio.Task[None]] = set()


class OpenAIBatchTrigger(BaseTrigger):
    """
    Fire when it pays to wake a worker for a job's batches, or when a moment has come.

    The event is ``{"reason": "ended" | "due", "ended": [batch ids], "active": n}``. It says only "look again": a batch
    that the account does not know counts as ended.

    :param conn_id: Id of the Airflow connection.
    :param batch_ids: The batches that are still running.
    :param poll_interval: Seconds; the shortest time between two looks.
    :param until: Epoch seconds at which the trigger fires whatever happens.
    :param progress: What the job had done before, for the progress line; see `progress_line`.
    :param cancel_on_kill: Cancel the batches when the task is marked failed or successful while they run.
    :param wait_for_all: Fire only when all batches have ended.
    """

    def __init__(
        self,
        conn_id: str,
        batch_ids: Sequence[str],
        poll_interval: float = 60.0,
        until: float | None = None,
        progress: dict[str, Any] | None = None,
        cancel_on_kill: bool = True,
        wait_for_all: bool = False,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.conn_id = conn_id
        self.batch_ids = list(batch_ids)
        self.poll_interval = poll_interval
        self.until = until
        self.progress = progress
        self.cancel_on_kill = cancel_on_kill
        self.wait_for_all = wait_for_all
        self._watch = Watch(self.batch_ids, until=until, **({"share": 1.0} if wait_for_all else {}))
        self._fired = False
        self._said: set[str] = set()
        self._last_line = ""
        self._missed: set[str] = set()
        self._failures = 0
        self._last_success: float | None = None

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return class path and arguments: ids and numbers, no secret."""
        return (
            "airflow_provider_batch.triggers.openai_batch.OpenAIBatchTrigger",
            {
                "conn_id": self.conn_id,
                "batch_ids": self.batch_ids,
                "poll_interval": self.poll_interval,
                "until": self.until,
                "progress": self.progress,
                "cancel_on_kill": self.cancel_on_kill,
                "wait_for_all": self.wait_for_all,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look until it is time to fire, and fire once."""
        lookout = Lookout(self.conn_id)
        try:
            if self.task_instance is not None:  # it is None in `dag.test()`, where nobody reports anything
                await asyncio.sleep(FIRST_LOOK)
            wake = await self._wait(lookout)
        finally:
            await lookout.close()
        # Set before, with nothing after: a trigger that is still busy once it has fired is taken for a killed one.
        self._fired = True
        yield TriggerEvent(wake.payload())  # type: ignore[no-untyped-call]

    async def on_kill(self) -> None:
        """
        Cancel the batches if the task instance is finished or gone; leave them in any doubt.

        While this goes on Airflow 3.3 cancels it again about once a second, and the first question to the supervisor
        alone can take ten: so the work is a task of its own, which those cancellations do not reach.
        """
        if self._fired or not self.cancel_on_kill:
            return
        work = asyncio.create_task(self._cancel_if_killed())
        _at_work.add(work)
        work.add_done_callback(_at_work.discard)
        while not work.done():
            with suppress(asyncio.CancelledError):
                await asyncio.shield(work)

    async def _cancel_if_killed(self) -> None:
        active = self._watch.active
        ids = ", ".join(active)
        try:
            async with asyncio.timeout(KILL_TIMEOUT):
                state = await self._task_state()
                if state not in FINISHED:
                    self.log.info("Not cancelled, since the task instance is %s: %s", state, ids)
                    return
                await self._cancel(active)
        except Exception as error:  # time-outs included
            self.log.error(
                "Not known to be cancelled (%s: %s), and billed if they go on: %s", type(error).__name__, error, ids
            )

    async def _wait(self, lookout: Lookout) -> Wake:
        while True:
            now = time.time()
            left = LOOK_TIMEOUT if self.until is None else self.until - now
            sighting = await lookout.look(self._watch.active, patience=min(max(left, 5.0), LOOK_TIMEOUT))
            now = time.time()
            wake = self._take_in(sighting, now)
            if wake is not None:
                return wake
            await asyncio.sleep(self._pause(sighting, now))

    def _take_in(self, sighting: Sighting, now: float) -> Wake | None:
        """Note and log what a look has shown; return why the wait is over, if it is."""
        for batch_id in sighting.gone:
            if batch_id in self._missed:  # seen twice: a list that lags behind is no reason to fail a job
                self.log.warning("Batch %s is unknown to the account of connection %s.", batch_id, self.conn_id)
                self._watch.lost(batch_id, now=now)
        self._missed = set(sighting.gone)
        wake = self._watch.observe(sighting.batches, now=now)
        self._say_unknown_statuses(sighting)
        self._say_progress()
        has_lasted_too_long = self._note_problem(sighting, now)
        if wake is None and has_lasted_too_long:
            return Wake("due", self._watch.ended, len(self._watch.active))
        return wake

    def _say_unknown_statuses(self, sighting: Sighting) -> None:
        for batch in sighting.batches.values():
            if batch.status not in statuses.TERMINAL | statuses.RUNNING and batch.status not in self._said:
                self._said.add(batch.status)
                self.log.warning("Batch %s has the status %r, taken for still running.", batch.id, batch.status)

    def _say_progress(self) -> None:
        line = progress_line(self.progress, self._watch.latest) if self._watch.latest else ""
        if line != self._last_line:
            self.log.info("%s", line)
            self._last_line = line

    def _note_problem(self, sighting: Sighting, now: float) -> bool:
        """Log a problem once while it lasts; return whether a wait that has no moment has had it for too long."""
        if self._last_success is None:
            self._last_success = now
        if sighting.problem is None:
            if self._failures:
                self.log.info("The batches can be looked at again.")
            self._failures, self._last_success = 0, now
            return False
        self._failures += 1
        if self._failures == 1:
            self.log.warning("The batches cannot be looked at, trying on: %s", sighting.problem)
        else:
            self.log.debug("Look failed %s times in a row: %s", self._failures, sighting.problem)
        return self.until is None and now - self._last_success >= PATIENCE

    def _pause(self, sighting: Sighting, now: float) -> float:
        """Return the seconds until the next look: by age, longer after failures, never past a moment of the wait."""
        pause = self._watch.delay(now, self.poll_interval, jitter=random.random())
        if sighting.problem is None:
            return pause
        backoff = min(self.poll_interval * 2.0 ** min(self._failures - 1, 16), max(self.poll_interval, LONGEST_DELAY))
        wanted = max(backoff, sighting.retry_after)
        return wanted if self.until is None else max(0.0, min(wanted, self.until - now))

    async def _task_state(self) -> str | None:
        """Return the task instance's state, `removed` when it is gone."""
        from asgiref.sync import sync_to_async

        ti: Any = self.task_instance
        if ti is None:
            raise RuntimeError("the trigger does not know its task instance")
        return await sync_to_async(task_state)(
            dag_id=ti.dag_id, task_id=ti.task_id, run_id=ti.run_id, map_index=ti.map_index
        )

    async def _cancel(self, batch_ids: Sequence[str]) -> None:
        lookout = Lookout(self.conn_id)
        try:
            for batch_id, problem in (await lookout.cancel(batch_ids)).items():
                if problem is None:
                    self.log.info("Batch %s: asked to cancel, since the task was killed.", batch_id)
                else:
                    self.log.error(
                        "Batch %s could not be cancelled, and is billed if it goes on: %s", batch_id, problem
                    )
        finally:
            await lookout.close()
