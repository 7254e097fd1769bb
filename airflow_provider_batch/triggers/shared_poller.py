"""
One poller for all batches of a connection in a triggerer process.

Triggers enter what they wait for in a schedule that the event loop holds for their connection; one task polls whatever
is due and hands out what is new. Rules:

- It never raises and never ends by itself: either would fail every task that waits.
- It does not log: its context is that of the task that came first. Each trigger says what concerns it.
- The loop is never held up: a client is built in a thread, and of many triggers with news one speaks at a time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import suppress
from weakref import WeakKeyDictionary

from airflow.providers.common.compat.sdk import conf

from airflow_provider_batch.exceptions import ApiUnavailableError
from airflow_provider_batch.polling.schedule import PollOutcome, PollSchedule, Snapshot
from airflow_provider_batch.polling.status_reader import PollResult
from airflow_provider_batch.triggers.connection_poller import ConnectionPoller
from airflow_provider_batch.utils import metrics

#: Seconds between two rounds, at the least: triggers come in waves, and one round serves a wave.
SHORTEST_PAUSE = 1.0
#: Batches that are taken in at a time.
AT_ONCE = 250


class Waiting:
    """
    What the triggers of one connection share in one event loop.

    :param conn_id: Id of the Airflow connection.
    :param is_shared: Whether it stands for all of a process; only then does the number of batches say something.
    """

    def __init__(self, conn_id: str, *, is_shared: bool = False) -> None:
        self.conn_id, self.is_shared = conn_id, is_shared
        self.schedule = PollSchedule(
            stalled_after=conf.getfloat("openai_batch", "stalled_after", fallback=3600.0),
        )
        #: Set when somebody has come.
        self.changed = asyncio.Event()
        #: Held by the one trigger that takes in its news: a thousand at once would hold up the loop.
        self.turn = asyncio.Lock()

    def join(self, batch_ids: Collection[str], poll_interval: float) -> None:
        """Begin to wait for batches."""
        self.schedule.add(batch_ids, poll_interval, now=time.time(), tick=time.monotonic())
        self.changed.set()

    def leave(self, batch_ids: Collection[str], poll_interval: float) -> None:
        """Wait no longer."""
        self.schedule.remove(batch_ids, poll_interval)

    def tell_metrics(self) -> None:
        """Tell how many batches are waited for."""
        if self.is_shared:
            metrics.batches_active(self.conn_id, len(self.schedule))


_shared: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Waiting]] = WeakKeyDictionary()


def shared(conn_id: str) -> Waiting:
    """Return what the triggers of a connection share in the running event loop."""
    waits = _shared.setdefault(asyncio.get_running_loop(), {})
    if conn_id not in waits:
        waits[conn_id] = Waiting(conn_id, is_shared=True)
    return waits[conn_id]


async def poll(waiting: Waiting) -> AsyncGenerator[Snapshot, None]:
    """Yield what is new about the batches that are waited for, for ever."""
    poller = ConnectionPoller(waiting.conn_id)
    schedule, begun = waiting.schedule, float("-inf")
    try:
        await asyncio.to_thread(waiting.tell_metrics)  # the first metric reads files
        while True:
            if told := schedule.standing_trouble():
                yield told
            await _until_due(waiting, begun + min(SHORTEST_PAUSE, schedule.shortest_interval))
            begun = time.monotonic()
            if (due := schedule.due(begun)) and (news := await _round(waiting, poller, due)):
                yield news
    finally:
        waiting.tell_metrics()
        await poller.close()


async def _round(waiting: Waiting, poller: ConnectionPoller, due: Sequence[str]) -> Snapshot:
    """Look at what is due, and return what is new."""
    poll_result = await poller.poll(due, wanted=waiting.schedule.open_ids)
    waiting.tell_metrics()
    try:
        return await _take_in(waiting.schedule, due, poll_result)
    except Exception as error:  # an answer that nobody thought of must not fail every task that waits
        problem = ApiUnavailableError(f"The answers were not understood ({type(error).__name__}: {error}).")
        return await _take_in(waiting.schedule, due, PollResult(halt=problem))


async def _take_in(schedule: PollSchedule, due: Sequence[str], poll_result: PollResult) -> Snapshot:
    """Take in a round, some batches at a time: thousands at once would hold up the loop."""
    schedule.hold(poll_result, tick=time.monotonic())
    ids = list(dict.fromkeys([*due, *poll_result.batches]))
    news: dict[str, PollOutcome] = {}
    for begin in range(0, len(ids), AT_ONCE):
        asked = ids[begin : begin + AT_ONCE]
        news.update(schedule.take_in(asked, poll_result, now=time.time(), tick=time.monotonic()))
        await asyncio.sleep(0)
    return news


async def _until_due(waiting: Waiting, not_before: float) -> None:
    """Sleep until something is due, or somebody has come; in any case until `not_before`."""
    waiting.changed.clear()
    moment = waiting.schedule.next_moment()
    now = time.monotonic()
    if moment is None or moment > now:
        with suppress(TimeoutError):
            async with asyncio.timeout(None if moment is None else moment - now):
                await waiting.changed.wait()
    await asyncio.sleep(max(0.0, not_before - time.monotonic()))
