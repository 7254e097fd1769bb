"""
One poller for all triggers of a connection in a triggerer process.

Triggers subscribe to their batches on the poll schedule of their connection. One asyncio task polls the batches that
are due and yields the changes to all triggers. Rules:

- The poller never raises and never ends by itself: either would fail every task that waits.
- It does not log: its log context is that of the first trigger. Each trigger logs the changes of its own batches.
- It never blocks the event loop: clients are built in a thread, and triggers process changes one after the other.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import suppress
from weakref import WeakKeyDictionary

from airflow.providers.common.compat.sdk import conf

from airflow_provider_batch.exceptions import ApiUnavailableError
from airflow_provider_batch.polling.schedule import Changes, PollOutcome, PollSchedule
from airflow_provider_batch.polling.status_reader import PollResult
from airflow_provider_batch.triggers.connection_poller import ConnectionPoller
from airflow_provider_batch.utils import metrics

#: Shortest time between two rounds, in seconds: many triggers start together, and one round serves them all.
SHORTEST_PAUSE = 1.0
#: Batches whose results are recorded before other tasks of the event loop run.
RECORDED_AT_A_TIME = 250


class Subscriptions:
    """
    The poll schedule and the locks that the triggers of one connection share on one event loop.

    :param conn_id: Id of the Airflow connection.
    :param is_shared: Whether all triggers of the process share it; only then is the number of batches a metric.
    """

    def __init__(self, conn_id: str, *, is_shared: bool = False) -> None:
        self.conn_id, self.is_shared = conn_id, is_shared
        self.schedule = PollSchedule(
            stalled_after=conf.getfloat("openai_batch", "stalled_after", fallback=3600.0),
        )
        #: Set by a new subscription.
        self.changed = asyncio.Event()
        #: Held by the trigger that processes changes: a thousand together would block the event loop.
        self.lock = asyncio.Lock()

    def subscribe(self, batch_ids: Collection[str], poll_interval: float) -> None:
        """
        Add the batches of one trigger to the schedule; they are polled at once.

        :param batch_ids: Ids of the batches.
        :param poll_interval: Shortest time between two polls, in seconds.
        """
        self.schedule.add(batch_ids, poll_interval, now=time.time(), tick=time.monotonic())
        self.changed.set()

    def unsubscribe(self, batch_ids: Collection[str], poll_interval: float) -> None:
        """
        Remove the batches of one trigger from the schedule.

        :param batch_ids: Ids of the batches.
        :param poll_interval: The same seconds as in `subscribe`.
        """
        self.schedule.remove(batch_ids, poll_interval)

    def send_metrics(self) -> None:
        """Send the number of batches on the schedule as a metric."""
        if self.is_shared:
            metrics.batches_active(self.conn_id, len(self.schedule))


_shared: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Subscriptions]] = WeakKeyDictionary()


def subscriptions_of(conn_id: str) -> Subscriptions:
    """
    Return what the triggers of a connection share on the running event loop.

    :param conn_id: Id of the Airflow connection.
    """
    by_connection = _shared.setdefault(asyncio.get_running_loop(), {})
    if conn_id not in by_connection:
        by_connection[conn_id] = Subscriptions(conn_id, is_shared=True)
    return by_connection[conn_id]


async def poll(subscriptions: Subscriptions) -> AsyncGenerator[Changes, None]:
    """
    Poll the subscribed batches, and yield the changes of each round; this never ends by itself.

    :param subscriptions: What the triggers of the connection share.
    """
    poller = ConnectionPoller(subscriptions.conn_id)
    schedule, begun = subscriptions.schedule, float("-inf")
    try:
        await asyncio.to_thread(subscriptions.send_metrics)  # the first metric reads files
        while True:
            if problems := schedule.unreported_problem():
                yield problems
            await _until_due(subscriptions, begun + min(SHORTEST_PAUSE, schedule.shortest_interval))
            begun = time.monotonic()
            if (due := schedule.due(begun)) and (changes := await _round(subscriptions, poller, due)):
                yield changes
    finally:
        subscriptions.send_metrics()
        await poller.close()


async def _round(subscriptions: Subscriptions, poller: ConnectionPoller, due: Sequence[str]) -> Changes:
    """Poll the batches that are due, and return the changes."""
    poll_result = await poller.poll(due, wanted=subscriptions.schedule.open_ids)
    subscriptions.send_metrics()
    try:
        return await _record(subscriptions.schedule, due, poll_result)
    except Exception as error:  # an unexpected response must not fail every task that waits
        problem = ApiUnavailableError(f"The poll results cannot be processed ({type(error).__name__}: {error}).")
        return await _record(subscriptions.schedule, due, PollResult(halt=problem))


async def _record(schedule: PollSchedule, due: Sequence[str], poll_result: PollResult) -> Changes:
    """Record the result of a round, some batches at a time: thousands at once would block the event loop."""
    schedule.pause_after(poll_result, tick=time.monotonic())
    ids = list(dict.fromkeys([*due, *poll_result.batches]))
    changes: dict[str, PollOutcome] = {}
    for begin in range(0, len(ids), RECORDED_AT_A_TIME):
        some = ids[begin : begin + RECORDED_AT_A_TIME]
        changes.update(schedule.record(some, poll_result, now=time.time(), tick=time.monotonic()))
        await asyncio.sleep(0)
    return changes


async def _until_due(subscriptions: Subscriptions, not_before: float) -> None:
    """Sleep until a batch is due or a trigger subscribes; in any case until `not_before`."""
    subscriptions.changed.clear()
    round_at = subscriptions.schedule.next_round_at()
    now = time.monotonic()
    if round_at is None or round_at > now:
        with suppress(TimeoutError):
            async with asyncio.timeout(None if round_at is None else round_at - now):
                await subscriptions.changed.wait()
    await asyncio.sleep(max(0.0, not_before - time.monotonic()))
