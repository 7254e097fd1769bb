"""
The trigger: wait for batches without a worker slot, and without blocking the triggerer's event loop.

Errors of the network, of the vendor or of a rotated key do not fail a job before its timeout: a failed poll is
repeated. A killed task cancels its batches. A clear, a deployment, and a paused or replaced triggerer do not, although
Airflow calls `on_kill` in some of these cases too: the trigger first reads the state of the task instance, and cancels
nothing if it cannot. A wrong cancellation loses paid results; a batch that runs on costs money once.

With Airflow 3.3 and later all triggers of a connection share one poller (a shared stream). With earlier releases, and
in `dag.test()`, each trigger has its own poller; everything else is the same.
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
from airflow_provider_batch.polling.schedule import Changes, Gone, PollProblem, Seen
from airflow_provider_batch.polling.wait_policy import WaitState, Wake
from airflow_provider_batch.triggers.connection_poller import ConnectionPoller
from airflow_provider_batch.triggers.shared_poller import Subscriptions, poll, subscriptions_of
from airflow_provider_batch.triggers.task_log import TaskLog
from airflow_provider_batch.utils.task_state import FINISHED, task_state

#: Seconds before the first poll. Airflow 3.3 can mark a task failed if its trigger fires while the worker still reports
#: the deferral (apache/airflow#72716). No batch ends sooner.
FIRST_POLL = 5.0
#: Timeout for cancelling after a kill, in seconds: a little less than Airflow waits for `on_kill`.
KILL_TIMEOUT = max(5.0, conf.getfloat("triggerer", "on_kill_timeout", fallback=30.0) - 5.0)
#: Bytes of batch ids, as JSON, that a trigger's arguments may hold.
ID_BYTES = 7_000
#: Timeout for reading ids from a ledger, in seconds.
LEDGER_TIMEOUT = 60.0
#: Seconds after which the deadline is computed again: when a machine sleeps, the loop's clock stops and the wall's not.
DEADLINE_CHECK = 60.0

#: Running cancellations: an event loop keeps only weak references to its tasks.
_cancellations: set[asyncio.Task[None]] = set()


def fitting(batch_ids: Sequence[str]) -> list[str]:
    """
    Return as many ids, from the first, as fit into a trigger's arguments (7 kB of JSON).

    :param batch_ids: Ids of the batches.
    """
    room, fit = ID_BYTES, []
    for batch_id in batch_ids:
        room -= len(msgspec.json.encode(batch_id)) + 2
        if room < 0:
            break
        fit.append(batch_id)
    return fit


#: The newest version of the arguments that this release can read.
VERSION = 1


class OpenAIBatchTrigger(BaseEventTrigger):
    """
    Wait for batches, and fire when a tenth of them (at least one) have ended.

    It also fires ten minutes after the first batch ended, and at the moment ``until``. The event is ``{"reason":
    "ended" | "due", "ended": [batch ids], "active": number of batches that have not ended}``. The task must then
    retrieve the batches itself: a batch that the account does not have counts as ended.

    .. code-block:: python

        self.defer(
            trigger=OpenAIBatchTrigger("openai_default", ["batch_1a2b"], until=time.time() + 86_400, wait_for_all=True),
            method_name="execute_complete",
        )

    :param conn_id: Id of the Airflow connection.
    :param batch_ids: Ids of the batches; with none the trigger fires at ``until``.
    :param poll_interval: Shortest time between two polls, in seconds; it grows with a batch's age, to 5 minutes.
    :param until: Epoch seconds at which the trigger fires in any case; None: it waits until batches end, or until they
        could not be polled for an hour.
    :param progress: The job's counts before this wait, for the log: ``shards``, ``shards_done``, ``rows``,
        ``rows_done``, ``cost`` in US dollars. None: the log counts the batches only.
    :param cancel_on_kill: Whether the batches are cancelled if the task is marked failed or successful during the wait.
    :param wait_for_all: Fire only when all batches have ended, or at ``until``.
    :param ledger: Folder URI of the job's ledger, from which the trigger reads ids that do not fit into its arguments.
    :param version: Version of these arguments; the trigger fails if it is newer than its release.
    :param unknown: Arguments of another release: they are kept, have no effect, and are named in the log.
    """

    #: `BaseEventTrigger` says False, which would keep a deferred task out of every queue of the triggerers.
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
        self._deadline_timer: asyncio.TimerHandle | None = None

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return class path and arguments, without secrets; with a ledger, only the ids that fit into 7 kB."""
        ids = fitting(self.batch_ids) if self.ledger else self.batch_ids
        names = ("conn_id", "poll_interval", "until", "progress", "cancel_on_kill", "wait_for_all", "version")
        arguments = {"batch_ids": ids, **{name: getattr(self, name) for name in names}}
        if self.ledger:
            arguments["ledger"] = self.ledger
        return "airflow_provider_batch.triggers.openai_batch.OpenAIBatchTrigger", {**self.unknown, **arguments}

    def shared_stream_key(self) -> Hashable | None:
        """Return the key of the shared poller, one for each connection; None without batches to poll."""
        return ("openai_batch", self.conn_id) if self.batch_ids else None

    @classmethod
    async def open_shared_stream(cls, kwargs: dict[str, Any]) -> AsyncIterator[Changes]:
        """
        Poll the batches of all triggers of a connection, and yield their changes.

        :param kwargs: Serialized arguments of one of the triggers.
        """
        async with aclosing(poll(subscriptions_of(kwargs["conn_id"]))) as stream:
            async for changes in stream:
                yield changes

    async def filter_shared_stream(self, shared_stream: AsyncIterator[Changes]) -> AsyncIterator[TriggerEvent]:
        """
        Wait with the shared poller, and yield the event.

        :param shared_stream: Changes of the batches of all triggers of the connection.
        """
        yield await self._event(subscriptions_of(self.conn_id), shared_stream)

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait with a poller of this trigger's own, and yield the event."""
        yield await self._event(Subscriptions(self.conn_id), None)

    async def on_kill(self) -> None:
        """
        Cancel the batches if the task instance is finished or deleted; if its state is not known, leave them running.

        Airflow 3.3 cancels this coroutine about once a second, and reading the state alone can take ten seconds. So the
        work is a separate asyncio task, which these cancellations do not reach.
        """
        if self._fired or not self.cancel_on_kill:
            return
        work = asyncio.create_task(self._cancel_if_killed())
        _cancellations.add(work)
        work.add_done_callback(_cancellations.discard)
        while not work.done():
            with suppress(asyncio.CancelledError):
                await asyncio.shield(work)

    async def _event(self, subscriptions: Subscriptions, stream: AsyncIterator[Changes] | None) -> TriggerEvent:
        if self.version > VERSION:
            raise ConfigurationError(
                "The task was deferred by a newer release of airflow-provider-batch (trigger arguments of version "
                f"{self.version}; this triggerer reads up to {VERSION}). Its batches go on, and a retry of the task "
                "re-attaches to them. Install the newer release in the triggerer too."
            )
        if self.task_instance is not None:  # None in `dag.test()`, where no worker reports the deferral
            await asyncio.sleep(FIRST_POLL)
        await self._read_ledger()
        if self.unknown:
            self.log.warning("Trigger arguments of another release have no effect: %s", ", ".join(sorted(self.unknown)))
        wake = await self._wait(subscriptions, stream)
        # Set before the event: Airflow can call `on_kill` for a trigger that has fired and is not finished yet.
        self._fired = True
        return TriggerEvent(wake.payload())  # type: ignore[no-untyped-call]

    async def _wait(self, subscriptions: Subscriptions, stream: AsyncIterator[Changes] | None) -> Wake:
        if stream is not None:
            try:
                return await self._follow(subscriptions, stream)
            except Exception as error:  # a failure of the shared poller must not fail this task
                self.log.warning(
                    "The shared poller failed (%s: %s); this task goes on with its own poller.",
                    type(error).__name__, error,
                )  # fmt: skip
                subscriptions = Subscriptions(self.conn_id)
        async with aclosing(poll(subscriptions)) as own:
            return await self._follow(subscriptions, own)

    async def _follow(self, subscriptions: Subscriptions, stream: AsyncIterator[Changes]) -> Wake:
        """Record the changes that the poller yields, until the wait is over."""
        ids = frozenset(self._wait_state.active)
        task_log = TaskLog(self.conn_id, self.progress, self.log)
        subscriptions.subscribe(ids, self.poll_interval)
        try:
            async with asyncio.timeout(None) as limit:
                self._update_deadline(limit)
                while True:
                    if (wake := self._wait_state.wake(self._now())) is not None:
                        return wake
                    limit.reschedule(self._loop_deadline())
                    changes = await anext(stream)
                    if own := {batch_id: changes[batch_id] for batch_id in changes.keys() & ids}:
                        async with subscriptions.lock:
                            await asyncio.sleep(0)
                            self._apply_changes(own, task_log)
        except TimeoutError:
            if not limit.expired():
                raise
            return await self._wake_at_deadline()
        finally:
            if self._deadline_timer is not None:
                self._deadline_timer.cancel()
            subscriptions.unsubscribe(ids, self.poll_interval)

    def _update_deadline(self, limit: asyncio.Timeout) -> None:
        """Compute the deadline again every minute, since wall clocks are changed and machines sleep."""
        if not limit.expired():
            limit.reschedule(self._loop_deadline())
            self._deadline_timer = asyncio.get_running_loop().call_later(DEADLINE_CHECK, self._update_deadline, limit)

    def _apply_changes(self, changes: Changes, task_log: TaskLog) -> None:
        now = self._now()
        self._wait_state.note_problems(
            [batch_id for batch_id, outcome in changes.items() if isinstance(outcome, PollProblem)], now=now
        )
        for batch_id, outcome in changes.items():
            if isinstance(outcome, Gone):
                self._wait_state.note_unknown(batch_id, now=now)
        seen = {batch_id: outcome.batch for batch_id, outcome in changes.items() if isinstance(outcome, Seen)}
        self._wait_state.update(seen, now=now)
        task_log.log_changes(changes, self._wait_state, now=now)

    def _loop_deadline(self) -> float | None:
        deadline = self._wait_state.deadline
        return None if deadline is None else asyncio.get_running_loop().time() + deadline - self._now()

    async def _wake_at_deadline(self) -> Wake:
        """Return why the wait is over; if the event loop's clock was early, wait for the rest."""
        while (wake := self._wait_state.wake(self._now())) is None:  # noqa: ASYNC110
            await asyncio.sleep(min(DEADLINE_CHECK, max(0.0, (self._wait_state.deadline or 0.0) - self._now())))
        return wake

    def _wait_state_of(self, batch_ids: Collection[str]) -> WaitState:
        return WaitState(list(batch_ids), until=self.until, **({"share": 1.0} if self.wait_for_all else {}))

    async def _read_ledger(self) -> None:
        """Read the ids that did not fit into the arguments; if this fails, wait for the ids of the arguments."""
        if self.ledger is None or self._has_read_ledger:
            return
        from asgiref.sync import sync_to_async

        try:
            async with asyncio.timeout(LEDGER_TIMEOUT):
                ledger_ids = await sync_to_async(_polled_ids, thread_sensitive=False)(self.ledger)
        except Exception as error:
            self.log.warning(
                "The ledger %s cannot be read (%s: %s). Only its first %d batches are polled until one of them ends; "
                "the others go on.",
                self.ledger, type(error).__name__, error, len(self.batch_ids),
            )  # fmt: skip
            return
        self._has_read_ledger = True
        self._wait_state = self._wait_state_of(dict.fromkeys([*self.batch_ids, *ledger_ids]))

    async def _cancel_if_killed(self) -> None:
        active = self._wait_state.active
        ids = ", ".join(active)
        try:
            async with asyncio.timeout(KILL_TIMEOUT):
                state = await self._task_state()
                if state not in FINISHED:
                    self.log.info("Not cancelled, since the task instance is %s; the batches go on: %s", state, ids)
                    return
                await self._read_ledger()
                active = self._wait_state.active
                await self._cancel(active)
        except Exception as error:  # including timeouts
            self.log.error(
                "Batches that may not be cancelled (%s: %s); they are billed if they go on: %s. Cancel them in the "
                "vendor's dashboard if you do not want their results.",
                type(error).__name__, error, ids,
            )  # fmt: skip

    async def _task_state(self) -> str | None:
        """Return the task instance's state; `removed` if it was deleted."""
        from asgiref.sync import sync_to_async

        ti: Any = self.task_instance
        if ti is None:
            raise RuntimeError("the trigger has no task instance")
        return await sync_to_async(task_state)(
            dag_id=ti.dag_id, task_id=ti.task_id, run_id=ti.run_id, map_index=ti.map_index
        )

    async def _cancel(self, batch_ids: Sequence[str]) -> None:
        poller = ConnectionPoller(self.conn_id)
        try:
            for batch_id, problem in (await poller.cancel(batch_ids)).items():
                if problem is None:
                    self.log.info("Batch %s: cancellation requested, since the task was killed.", batch_id)
                else:
                    self.log.error("Batch %s could not be cancelled; it is billed if it goes on: %s", batch_id, problem)
        finally:
            await poller.close()


def _polled_ids(folder: str) -> Sequence[str]:
    """Return the ids of a job's running batches from its ledger; this blocks."""
    from airflow_provider_batch.jobs.decisions import polled_ids
    from airflow_provider_batch.jobs.ledger.store import LedgerStore
    from airflow_provider_batch.utils.object_storage import resolve_airflow

    ledger = LedgerStore(resolve_airflow(folder)).load()
    return () if ledger is None else polled_ids(ledger)
