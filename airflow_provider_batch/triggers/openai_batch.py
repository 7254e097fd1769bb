"""
Wait for batches without holding a worker, and without ever blocking the triggerer's event loop.

Nothing that the network, the vendor or a rotated key does fails a job before its moment: a look that fails is followed
by another. A kill cancels the batches; a clear, a redeployment, a paused or replaced triggerer does not, although
Airflow calls `on_kill` in some of those cases too: so the task instance's state is asked first, and in doubt nothing is
cancelled. A wrong cancel loses paid work, a batch left running costs money once.

Where Airflow has shared streams (3.3 and later) all triggers of a connection share one `watcher`; elsewhere, and in
`dag.test()`, each has a watcher of its own. Everything else is the same.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Collection, Hashable, Sequence
from contextlib import aclosing, suppress
from typing import Any

import msgspec
from airflow.providers.common.compat.sdk import conf
from airflow.providers.common.compat.triggers import BaseEventTrigger
from airflow.triggers.base import TriggerEvent

from airflow_provider_batch.exceptions import ConfigurationError
from airflow_provider_batch.jobs.service_clock import ForwardClock
from airflow_provider_batch.polling.schedule import Gone, Seen, Snapshot, Trouble
from airflow_provider_batch.polling.wait_policy import WaitState, Wake
from airflow_provider_batch.triggers.connection_poller import ConnectionPoller
from airflow_provider_batch.triggers.shared_poller import Waiting, poll, shared
from airflow_provider_batch.triggers.task_log import Report
from airflow_provider_batch.utils.task_state import FINISHED, task_state

#: Seconds before the first look. A task that is woken while its worker still reports the deferral can be marked
#: failed by Airflow 3.3 (apache/airflow#72716); no real batch ends sooner.
FIRST_POLL = 5.0
#: Seconds for cancelling after a kill: a little less than Airflow waits for `on_kill`.
KILL_TIMEOUT = max(5.0, conf.getfloat("triggerer", "on_kill_timeout", fallback=30.0) - 5.0)
#: Bytes of batch ids, as JSON, that a trigger's arguments may hold.
ID_BYTES = 7_000
#: Seconds for reading ids from a ledger.
LEDGER_TIMEOUT = 60.0
#: Seconds after which a moment is reckoned anew: a machine that sleeps stops the loop's clock, and not the wall's.
CLOCK_CHECK = 60.0

#: Cancellations that are going on: an event loop alone keeps no task alive.
_at_work: set[asyncio.Task[None]] = set()


def fitting(batch_ids: Sequence[str]) -> list[str]:
    """Return as many ids, from the first, as a trigger's arguments may hold."""
    room, fit = ID_BYTES, []
    for batch_id in batch_ids:
        room -= len(msgspec.json.encode(batch_id)) + 2
        if room < 0:
            break
        fit.append(batch_id)
    return fit


#: The newest form of the arguments that this release understands.
VERSION = 1


class OpenAIBatchTrigger(BaseEventTrigger):
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
    :param ledger: Folder URI of the job whose ledger knows the ids, where they are too many for a trigger's arguments.
    :param version: Form of these arguments; those of a newer one are refused.
    :param unknown: Arguments of another release, which a triggerer that was not updated yet has to live with: they are
        kept, have no effect, and are named in the log.
    """

    #: Without it a deferred task of a triggerer with queues would be in none (`BaseEventTrigger` says False).
    supports_triggerer_queue = True

    def __init__(
        self,
        conn_id: str,
        batch_ids: Sequence[str],
        poll_interval: float = 60.0,
        until: float | None = None,
        progress: dict[str, Any] | None = None,
        cancel_on_kill: bool = True,
        wait_for_all: bool = False,
        ledger: str | None = None,
        version: int = VERSION,
        **unknown: Any,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.conn_id = conn_id
        self.batch_ids = list(batch_ids)
        self.poll_interval = poll_interval
        self.until = until
        self.progress = progress
        self.cancel_on_kill = cancel_on_kill
        self.wait_for_all = wait_for_all
        self.ledger = ledger
        self.version = version
        self.unknown = unknown
        self._wait_state = self._wait_state_of(self.batch_ids)
        self._now = ForwardClock(lambda: time.time())
        self._has_read_ledger = False
        self._fired = False
        self._clock: asyncio.TimerHandle | None = None

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return class path and arguments: ids and numbers, no secret; no more ids than fit where a ledger has them."""
        few = fitting(self.batch_ids) if self.ledger else self.batch_ids
        known = {
            "conn_id": self.conn_id,
            "batch_ids": few,
            "poll_interval": self.poll_interval,
            "until": self.until,
            "progress": self.progress,
            "cancel_on_kill": self.cancel_on_kill,
            "wait_for_all": self.wait_for_all,
            "version": self.version,
        }
        if self.ledger:
            known["ledger"] = self.ledger
        return "airflow_provider_batch.triggers.openai_batch.OpenAIBatchTrigger", {**self.unknown, **known}

    def shared_stream_key(self) -> Hashable | None:
        """Return what those who share a watcher have in common; a wait for a moment alone needs none."""
        return ("openai_batch", self.conn_id) if self.batch_ids else None

    @classmethod
    async def open_shared_stream(cls, kwargs: dict[str, Any]) -> AsyncIterator[Snapshot]:
        """Yield what is new about all batches that are waited for through a connection."""
        async with aclosing(poll(shared(kwargs["conn_id"]))) as snapshots:
            async for snapshot in snapshots:
                yield snapshot

    async def filter_shared_stream(self, shared_stream: AsyncIterator[Snapshot]) -> AsyncIterator[TriggerEvent]:
        """Fire once it pays, by what the watcher of the connection shows."""
        yield await self._event(shared(self.conn_id), shared_stream)

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Fire once it pays, with a watcher of this trigger's own."""
        yield await self._event(Waiting(self.conn_id), None)

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

    async def _event(self, waiting: Waiting, snapshots: AsyncIterator[Snapshot] | None) -> TriggerEvent:
        if self.version > VERSION:
            raise ConfigurationError(
                "The task was deferred by a newer release of airflow-provider-batch (arguments of form "
                f"{self.version}; this triggerer knows none after {VERSION}). Its batches go on, and a retry of the "
                "task goes on with them: install that release in the triggerer too."
            )
        if self.task_instance is not None:  # it is None in `dag.test()`, where nobody reports anything
            await asyncio.sleep(FIRST_POLL)
        await self._read_ledger()
        if self.unknown:
            self.log.warning("Arguments of another release have no effect: %s", ", ".join(sorted(self.unknown)))
        wake = await self._wait(waiting, snapshots)
        # Set before, with nothing after: a trigger that is still busy once it has fired is taken for a killed one.
        self._fired = True
        return TriggerEvent(wake.payload())  # type: ignore[no-untyped-call]

    async def _wait(self, waiting: Waiting, snapshots: AsyncIterator[Snapshot] | None) -> Wake:
        if snapshots is not None:
            try:
                return await self._follow(waiting, snapshots)
            except Exception as error:  # the others' trouble is none of ours
                self.log.warning("The shared watcher ended (%s: %s); watching on alone.", type(error).__name__, error)
                waiting = Waiting(self.conn_id)
        async with aclosing(poll(waiting)) as own:
            return await self._follow(waiting, own)

    async def _follow(self, waiting: Waiting, snapshots: AsyncIterator[Snapshot]) -> Wake:
        """Take in what the watcher shows until the wait is over, or its moment has come."""
        ids = frozenset(self._wait_state.active)
        report = Report(self.conn_id, self.progress, self.log)
        waiting.join(ids, self.poll_interval)
        try:
            async with asyncio.timeout(None) as limit:
                self._keep_time(limit)
                while True:
                    if (wake := self._wait_state.wake(self._now())) is not None:
                        return wake
                    limit.reschedule(self._loop_moment())
                    snapshot = await anext(snapshots)
                    if news := {batch_id: snapshot[batch_id] for batch_id in snapshot.keys() & ids}:
                        async with waiting.turn:
                            await asyncio.sleep(0)
                            self._take_in(news, report)
        except TimeoutError:
            if not limit.expired():
                raise
            return await self._wake_at_the_moment()
        finally:
            if self._clock is not None:
                self._clock.cancel()
            waiting.leave(ids, self.poll_interval)

    def _keep_time(self, limit: asyncio.Timeout) -> None:
        """Set the limit to the moment again and again, as wall clocks are set and machines sleep."""
        if not limit.expired():
            limit.reschedule(self._loop_moment())
            self._clock = asyncio.get_running_loop().call_later(CLOCK_CHECK, self._keep_time, limit)

    def _take_in(self, news: Snapshot, report: Report) -> None:
        now = self._now()
        self._wait_state.troubled(
            [batch_id for batch_id, outcome in news.items() if isinstance(outcome, Trouble)], now=now
        )
        for batch_id, outcome in news.items():
            if isinstance(outcome, Gone):
                self._wait_state.lost(batch_id, now=now)
        seen = {batch_id: outcome.batch for batch_id, outcome in news.items() if isinstance(outcome, Seen)}
        self._wait_state.update(seen, now=now)
        report.take_in(news, self._wait_state, now=now)

    def _loop_moment(self) -> float | None:
        moment = self._wait_state.moment
        return None if moment is None else asyncio.get_running_loop().time() + moment - self._now()

    async def _wake_at_the_moment(self) -> Wake:
        """Return the wake that is due; an event loop may be a little early."""
        while (wake := self._wait_state.wake(self._now())) is None:  # noqa: ASYNC110
            await asyncio.sleep(min(CLOCK_CHECK, max(0.0, (self._wait_state.moment or 0.0) - self._now())))
        return wake

    def _wait_state_of(self, batch_ids: Collection[str]) -> WaitState:
        return WaitState(list(batch_ids), until=self.until, **({"share": 1.0} if self.wait_for_all else {}))

    async def _read_ledger(self) -> None:
        """Learn the ids that did not fit into the arguments; those that did are enough to go on with."""
        if self.ledger is None or self._has_read_ledger:
            return
        from asgiref.sync import sync_to_async

        try:
            async with asyncio.timeout(LEDGER_TIMEOUT):
                known = await sync_to_async(_polled_ids, thread_sensitive=False)(self.ledger)
        except Exception as error:
            self.log.warning(
                "The ledger %s cannot be read (%s: %s); %d batches are polled_ids, the others when one of these ends.",
                self.ledger, type(error).__name__, error, len(self.batch_ids),
            )  # fmt: skip
            return
        self._has_read_ledger = True
        self._wait_state = self._wait_state_of(dict.fromkeys([*self.batch_ids, *known]))

    async def _cancel_if_killed(self) -> None:
        active = self._wait_state.active
        ids = ", ".join(active)
        try:
            async with asyncio.timeout(KILL_TIMEOUT):
                state = await self._task_state()
                if state not in FINISHED:
                    self.log.info("Not cancelled, since the task instance is %s: %s", state, ids)
                    return
                await self._read_ledger()
                active = self._wait_state.active
                await self._cancel(active)
        except Exception as error:  # time-outs included
            self.log.error(
                "Not known to be cancelled (%s: %s), and billed if they go on: %s", type(error).__name__, error, ids
            )

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
        poller = ConnectionPoller(self.conn_id)
        try:
            for batch_id, problem in (await poller.cancel(batch_ids)).items():
                if problem is None:
                    self.log.info("Batch %s: asked to cancel, since the task was killed.", batch_id)
                else:
                    self.log.error(
                        "Batch %s could not be cancelled, and is billed if it goes on: %s", batch_id, problem
                    )
        finally:
            await poller.close()


def _polled_ids(folder: str) -> Sequence[str]:
    """Return the ids that a job's ledger says to wait for; blocks."""
    from airflow_provider_batch.jobs.decisions import polled_ids
    from airflow_provider_batch.jobs.ledger.store import LedgerStore
    from airflow_provider_batch.utils.object_storage import resolve_airflow

    ledger = LedgerStore(resolve_airflow(folder)).load()
    return () if ledger is None else polled_ids(ledger)
