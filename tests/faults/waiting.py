"""
Waiting under faults: each kind of answer and each turn of a triggerer's life, at each call of a wait::

    python -m tests.faults.waiting              # all of it: `make faults`
    python -m tests.faults.waiting --every 5

The real triggers wait in Airflow's own `SharedStreamManager`, over the real SDK, on a server that goes wrong at its nth
call. In every case each trigger that is alive at the end must have fired once, for an end that was one, before its
moment; nothing may be cancelled; and nothing may be left behind. The exit code is 1 where anything is wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from tests.api.stub import Reply, Request, StubApi, batch, error

if TYPE_CHECKING:
    from airflow.triggers.shared_stream import SharedStreamManager

    from airflow_provider_batch.triggers.openai_batch import OpenAIBatchTrigger

MANY = [f"batch_{number:032x}" for number in range(10)]
ONE = "batch_one"
#: Calls after which all batches have ended.
ENDS_AFTER = 8
#: Calls of an undisturbed wait at which something goes wrong.
MOMENTS = range(1, 21)
INTERVAL, LONGEST_DELAY, POLL_TIMEOUT = 0.02, 0.1, 0.5
#: Seconds after which a trigger fires without an end: a last resort, which a slow machine does not reach either.
UNTIL = 600.0
#: Seconds for which a server is away, which takes many rounds.
OUTAGE = 0.6


@dataclass
class Held:
    """A trigger at work."""

    name: str
    trigger: OpenAIBatchTrigger
    task: asyncio.Task[list[dict[str, Any]]]


@dataclass
class Course:
    """
    One wait: a trigger with many batches, two with the same one, and what happens to them at the nth call.

    :param reply: What the server answers at that call, instead of the truth.
    :param lasts: Calls for which it does so; seconds, if it is no integer.
    :param happens: What happens in the triggerer while that call is on its way.
    """

    moment: int
    stub: StubApi
    reply: Callable[[str], Reply] | None = None
    lasts: float = 1
    happens: Callable[[Course], Awaitable[None]] | None = None
    calls: int = 0
    started: int = 0
    key: str = "sk-old"
    is_gone: bool = False
    log: list[str] = field(default_factory=list)
    held: list[Held] = field(default_factory=list)
    managers: list[SharedStreamManager] = field(default_factory=list)
    ended_at: float = 0.0
    wrong: list[str] = field(default_factory=list)
    _bad_until: float = 0.0
    _happened: asyncio.Task[None] | None = None

    async def run(self) -> list[str]:
        """Wait, and return what is wrong."""
        self._loop = asyncio.get_running_loop()
        self.stub.on("GET", "/batches", self._answer)
        for batch_id in (*MANY, ONE):
            self.stub.on("GET", f"/batches/{batch_id}", self._answer)
        before = asyncio.all_tasks()
        self.open()
        self.start_all()
        begun = time.monotonic()
        try:
            async with asyncio.timeout(UNTIL + 5):
                while any(not held.task.done() for held in self.held):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
                if self._happened is not None:
                    await self._happened
        except TimeoutError:
            self.wrong.append("a trigger has not fired, even at its moment")
        self._check(begun)
        await self._end(before)
        return self.wrong

    # What a triggerer does

    def open(self) -> SharedStreamManager:
        """Return a new triggerer's manager."""
        from airflow.triggers.shared_stream import SharedStreamManager

        self.managers.append(SharedStreamManager())
        return self.managers[-1]

    def start_all(self) -> None:
        until = time.time() + UNTIL
        self.start("many", MANY, until, wait_for_all=True)
        self.start("one", [ONE], until)
        self.start("twin", [ONE], until)

    def start(self, name: str, batch_ids: Sequence[str], until: float, **given: Any) -> None:
        from airflow_provider_batch.triggers.openai_batch import OpenAIBatchTrigger

        self.start_again(name, OpenAIBatchTrigger("openai_default", batch_ids, INTERVAL, until, **given).serialize()[1])

    def start_again(self, name: str, kwargs: dict[str, Any]) -> None:
        """Start a trigger as one that comes from the database."""
        from airflow_provider_batch.triggers.openai_batch import OpenAIBatchTrigger

        self.started += 1
        trigger, number = OpenAIBatchTrigger(**kwargs), self.started
        type(trigger).log = logging.getLogger("waiting")  # type: ignore[misc, assignment]
        task = asyncio.create_task(self._run(number, trigger, self.managers[-1]))
        self.held.append(Held(name, trigger, task))

    async def _run(
        self, number: int, trigger: OpenAIBatchTrigger, manager: SharedStreamManager
    ) -> list[dict[str, Any]]:
        """As `TriggerRunner.run_trigger` does it."""
        key = trigger.shared_stream_key()
        stream = manager.subscribe(trigger_id=number, trigger=trigger, key=key)
        try:
            fired = trigger.filter_shared_stream(stream)
            return [{**event.payload, "at": time.monotonic()} async for event in fired]
        finally:
            await manager.unsubscribe(number, key)
            await trigger.cleanup()

    async def stop(self, held: Held) -> None:
        """Cancel a trigger, as a triggerer does, and forget it."""
        held.task.cancel()
        await asyncio.gather(held.task, return_exceptions=True)
        if held.task.cancelled():
            self.held.remove(held)

    # The server

    def _answer(self, request: Request) -> Reply:
        self.calls += 1
        if self.calls >= ENDS_AFTER and not self.ended_at:
            self.ended_at = time.monotonic()
        if self.calls == self.moment and self.happens is not None:
            self._loop.call_soon_threadsafe(self._happen)
            time.sleep(0.05)
        if request.headers["authorization"] != f"Bearer {self.key}":
            return error(401, "Incorrect API key")
        if self.is_gone and "127.0.0.1" in request.headers["host"]:
            return Reply(drop=True)
        if self.reply is not None and self._is_bad():
            return self.reply(request.path)
        status = "completed" if self.ended_at else "in_progress"
        name = request.path.partition("?")[0].rpartition("/")[2]
        if name != "batches":
            return Reply(body=batch(name, status, total=9, completed=9 if self.ended_at else 4))
        page = [batch(batch_id, status, total=9, completed=4) for batch_id in (ONE, *MANY)]
        return Reply(body={"object": "list", "data": page, "has_more": False})

    def _is_bad(self) -> bool:
        if self.calls < self.moment:
            return False
        if isinstance(self.lasts, int):
            return self.calls < self.moment + self.lasts
        self._bad_until = self._bad_until or time.monotonic() + self.lasts
        return time.monotonic() < self._bad_until

    def _happen(self) -> None:
        assert self.happens is not None
        self._happened = asyncio.create_task(self.happens(self))  # type: ignore[arg-type]

    # What must hold

    def _check(self, begun: float) -> None:
        for held in self.held:
            if not held.task.done():
                continue
            if held.task.cancelled() or (failure := held.task.exception()) is not None:
                self.wrong.append(f"{held.name}: {'cancelled' if held.task.cancelled() else repr(failure)}")
                continue
            events = held.task.result()
            if [event["reason"] for event in events] != ["ended"]:
                self.wrong.append(f"{held.name}: fired {events}, {time.monotonic() - begun:.1f} s")
            elif events[0]["at"] < self.ended_at or not self.ended_at:
                self.wrong.append(f"{held.name}: fired before the end")
            elif events[0]["active"] or sorted(events[0]["ended"]) != sorted(held.trigger.batch_ids):
                self.wrong.append(f"{held.name}: {events[0]}")
        if any(request.method == "POST" for request in self.stub.requests):
            self.wrong.append("something was cancelled")
        if (
            isinstance(self.lasts, float)
            and self._bad_until
            and not any("polling is retried" in line for line in self.log)
        ):
            self.wrong.append("the log does not say what was wrong")

    async def _end(self, before: set[asyncio.Task[Any]]) -> None:
        from airflow_provider_batch.triggers.shared_poller import subscriptions_of

        for held in list(self.held):
            if not held.task.done():
                await self.stop(held)
        if left := len(subscriptions_of("openai_default").schedule):
            self.wrong.append(f"{left} batches are still on the roster")
        for manager in self.managers:
            if manager._groups:
                self.wrong.append("a stream is still open")
            await manager.stop_all()
        await asyncio.sleep(0.05)  # generators that were left are closed by the loop
        if left := asyncio.all_tasks() - before - {self._happened}:  # type: ignore[arg-type]
            self.wrong.append(f"tasks are left: {left}")


# What can happen


async def cancel_and_start_again(course: Course) -> None:
    """A task is cleared, or its trigger is moved."""
    for held in [held for held in course.held if held.name == "one"]:
        kwargs = held.trigger.serialize()[1]
        await course.stop(held)
        if held not in course.held:
            course.start_again(held.name, kwargs)


async def falsely_killed(course: Course) -> None:
    """Airflow takes a trigger that was moved away for one that a user has killed."""
    held = next(held for held in course.held if held.name == "many")
    kwargs = held.trigger.serialize()[1]
    held.trigger._task_instance = SimpleNamespace(dag_id="d", task_id="t", run_id="r", map_index=-1)
    await course.stop(held)
    if held not in course.held:
        await held.trigger.on_kill()
        course.start_again(held.name, kwargs)


async def restart(course: Course) -> None:
    """The triggerer is stopped and started."""
    stopped = list(course.held)
    for held in stopped:
        await course.stop(held)
    await course.managers[-1].stop_all()
    course.open()
    for held in stopped:
        if held not in course.held:
            course.start_again(held.name, held.trigger.serialize()[1])


async def take_over(course: Course) -> None:
    """Another triggerer takes all, while this one goes on: another loop, as it would be another process."""
    kwargs = [held.trigger.serialize()[1] for held in course.held]

    async def second() -> list[list[dict[str, Any]]]:
        from airflow.triggers.shared_stream import SharedStreamManager

        from airflow_provider_batch.triggers.openai_batch import OpenAIBatchTrigger

        manager = SharedStreamManager()
        triggers = [OpenAIBatchTrigger(**one) for one in kwargs]
        return await asyncio.gather(*(course._run(n, trigger, manager) for n, trigger in enumerate(triggers)))

    for events in await asyncio.to_thread(lambda: asyncio.run(second())):
        if [event["reason"] for event in events] != ["ended"]:
            course.wrong.append(f"the second triggerer fired {events}")


async def join_late(course: Course) -> None:
    """One more task waits for the same batches."""
    course.start_again("late", course.held[0].trigger.serialize()[1])


async def stream_fails(course: Course) -> None:
    """The shared poll dies, of whatever."""
    for group in list(course.managers[-1]._groups.values()):
        group._fail_group(RuntimeError("the poll died"))
        await group.stop()


async def freeze(course: Course) -> None:
    """The process is held, as by SIGSTOP: nothing runs, time passes."""
    time.sleep(0.7)  # noqa: ASYNC251


async def clock_back(course: Course) -> None:
    """The wall clock is set back an hour."""
    _set_clock(-3600.0)


async def key_rotated(course: Course) -> None:
    """The key is replaced, and the old one refused."""
    course.key = "sk-new"
    await asyncio.sleep(0.3)
    _connect(course.stub.base_url, course.key)


async def server_moved(course: Course) -> None:
    """The server goes to another address, and the connection is changed after a while."""
    course.is_gone = True
    await asyncio.sleep(0.3)
    _connect(course.stub.base_url.replace("127.0.0.1", "localhost"), course.key)


def _set_clock(offset: float) -> None:
    from airflow_provider_batch.triggers import openai_batch, shared_poller

    clock = SimpleNamespace(time=lambda: time.time() + offset, monotonic=time.monotonic)
    openai_batch.time = shared_poller.time = clock  # type: ignore[assignment, attr-defined]


def _connect(base_url: str, key: str) -> None:
    fields = {"conn_type": "openai_batch", "host": base_url, "password": key}
    os.environ["AIRFLOW_CONN_OPENAI_DEFAULT"] = json.dumps(fields)


def _odd(path: str) -> Reply:
    fields = {"status": "scheduling", "created_at": "a minute ago", "request_counts": None}
    name = path.partition("?")[0].rpartition("/")[2]
    if name == "batches":
        return Reply(body={"data": [{**batch(batch_id), **fields} for batch_id in MANY], "has_more": None})
    return Reply(body={**batch(name), **fields})


def _wrong_list(path: str) -> Reply:
    """The list shows all as ended, which they are not."""
    if not path.partition("?")[0].endswith("/batches"):
        return Reply(body=batch(path.rpartition("/")[2], "in_progress"))
    return Reply(body={"data": [batch(batch_id, "completed") for batch_id in (ONE, *MANY)], "has_more": False})


LIMITED = error(429, "slow down", headers={"Retry-After": "0.2"})
HTML = {"Content-Type": "text/html"}
#: name → what the server answers, and for how long (calls, or seconds).
ANSWERS: dict[str, tuple[Callable[[str], Reply], float]] = {
    "500": (lambda _: error(500, "server error"), 3),
    "503 of a proxy": (lambda _: Reply(503, b"<html>", HTML), 3),
    "429 with Retry-After": (lambda _: LIMITED, 2),
    "401": (lambda _: error(401, "Incorrect API key"), 2),
    "403": (lambda _: error(403, "no right"), 2),
    "404 of the API": (lambda _: error(404, "No batch found"), 1),
    "404 of a proxy": (lambda _: Reply(404, b"<html>", HTML), 3),
    "200 with HTML": (lambda _: Reply(200, b"<html>", HTML), 2),
    "200 with half an answer": (lambda _: Reply(body={"data": [{}], "id": None}), 2),
    "odd status, date and counts": (_odd, 2),
    "a list that is ahead": (_wrong_list, 2),
    "connection dropped": (lambda _: Reply(drop=True), 3),
    "answer cut": (lambda _: Reply(body=batch(ONE), cut=20), 3),
    "no answer in time": (lambda _: Reply(body={}, delay=POLL_TIMEOUT + 0.2), 1),
    "away for long": (lambda _: Reply(drop=True), OUTAGE),
    "503 for long": (lambda _: error(503, "overloaded"), OUTAGE),
}
#: name → what happens in the triggerer.
EVENTS: dict[str, Callable[[Course], Awaitable[None]]] = {
    "trigger cancelled, started again": cancel_and_start_again,
    "trigger falsely killed": falsely_killed,
    "triggerer restarted": restart,
    "another triggerer takes over": take_over,
    "one more joins": join_late,
    "shared stream fails": stream_fails,
    "process frozen": freeze,
    "wall clock set back": clock_back,
    "key rotated": key_rotated,
    "server moved": server_moved,
}


@dataclass(frozen=True)
class Verdict:
    """What came of one point."""

    event: str
    moment: int
    reached: bool
    wrong: tuple[str, ...]


def point(event: str, moment: int) -> Verdict:
    """Let one thing go wrong at one call."""
    stub = StubApi()
    _connect(stub.base_url, "sk-old")
    reply, lasts = ANSWERS.get(event, (None, 1))
    course = Course(moment, stub, reply=reply, lasts=lasts, happens=EVENTS.get(event))
    handler = _Lines(course.log)
    logging.getLogger("waiting").addHandler(handler)
    try:
        wrong = asyncio.run(course.run())
    finally:
        logging.getLogger("waiting").removeHandler(handler)
        _set_clock(0.0)
        stub.close()
    return Verdict(event, moment, course.calls >= moment, tuple(wrong))


class _Lines(logging.Handler):
    def __init__(self, lines: list[str]) -> None:
        super().__init__()
        self.lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def hurry() -> None:
    """Shorten what takes minutes in earnest."""
    from airflow_provider_batch.polling import schedule
    from airflow_provider_batch.triggers import connection_poller, openai_batch

    schedule.LONGEST_DELAY, connection_poller.POLL_TIMEOUT = LONGEST_DELAY, POLL_TIMEOUT
    openai_batch.task_state = lambda **_: "deferred"
    logging.getLogger("waiting").setLevel(logging.INFO)
    logging.getLogger("waiting").propagate = False


def main(arguments: Sequence[str] | None = None) -> int:
    """Try all points and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.waiting", description=__doc__.splitlines()[1])
    parser.add_argument("--every", type=int, default=1, help="take each n-th point only")
    parser.add_argument("--event", help="part of an event's name")
    given, _ = parser.parse_known_args(arguments)
    with tempfile.TemporaryDirectory(prefix="waiting-") as home:
        os.environ.update({"AIRFLOW_HOME": home, "AIRFLOW__CORE__LOAD_EXAMPLES": "False", "no_proxy": "127.0.0.1"})
        hurry()
        names = [name for name in (*ANSWERS, *EVENTS) if not given.event or given.event in name]
        points = [(name, moment) for name in names for moment in MOMENTS][(given.every - 1) // 2 :: given.every]
        begun = time.monotonic()
        with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("fork")) as pool:
            verdicts = list(pool.map(point, *zip(*points, strict=True)))
    return report(names, verdicts, time.monotonic() - begun)


def report(names: Sequence[str], verdicts: Sequence[Verdict], seconds: float) -> int:
    """Print the table, and return whether anything is wrong."""
    width = max(map(len, names))
    print(f"{'while waiting':{width}}  points  as due  not reached  violations")
    for name in names:
        counts: Counter[str] = Counter()
        for verdict in verdicts:
            if verdict.event == name:
                counts.update({"points": 1, "wrong": bool(verdict.wrong), "late": not verdict.reached})
        good = counts["points"] - counts["wrong"]
        print(f"{name:{width}}  {counts['points']:6}  {good:6}  {counts['late']:11}  {counts['wrong']:10}")
    wrong = [verdict for verdict in verdicts if verdict.wrong]
    print(f"\n{len(verdicts):,} points in {seconds:,.0f} s, {len(wrong)} violations")
    for verdict in wrong:
        print(f"\n{verdict.event} at call {verdict.moment}")
        for one in verdict.wrong:
            print(f"  - {one[:600]}")
    return 1 if wrong else 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # a server's threads may still sleep
