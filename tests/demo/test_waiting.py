"""A wait ends when its condition is true, when a process has ended, or when there is no activity."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from demo.waiting import IDLE, NotReadyError, Patience


class Clock:
    """A clock that only `sleep` moves; `happens` is called after each sleep."""

    def __init__(self) -> None:
        self.now = 0.0
        self.happens: Callable[[float], None] = lambda now: None

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.happens(self.now)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def idle() -> Iterator[Any]:
    """A process that uses no processor time."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        try:
            yield SimpleNamespace(pid=process.pid, require_running=lambda: None)
        finally:
            process.kill()


def patience(clock: Clock, *processes: Any, **given: Any) -> Patience:
    return Patience(lambda: list(processes), clock=lambda: clock.now, sleep=clock.sleep, **given)


def test_it_ends_when_what_is_waited_for_is_there(clock: Clock) -> None:
    patience(clock).wait_until("ten seconds have passed", lambda: clock.now >= 10)
    assert 10 <= clock.now < 11


def test_it_goes_on_for_long_while_a_log_grows(clock: Clock, idle: Any, tmp_path: Path) -> None:
    log = tmp_path / "log"
    clock.happens = lambda now: log.write_text("." * int(now / 60)) and None
    waiting = patience(clock, idle, logs=[tmp_path], standstill=180)
    waiting.wait_until("a quarter of an hour has passed", lambda: clock.now >= 900, tick=10)


def test_it_goes_on_for_long_while_the_state_changes(clock: Clock, idle: Any) -> None:
    waiting = patience(clock, idle, standstill=180)
    what = "a quarter of an hour has passed"
    waiting.wait_until(what, lambda: clock.now >= 900, state=lambda: int(clock.now / 60), tick=10)


@pytest.fixture
def busy() -> Iterator[Any]:
    """A process that uses processor time all the time."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        try:
            yield SimpleNamespace(pid=process.pid, require_running=lambda: None)
        finally:
            process.kill()


def test_it_goes_on_for_long_while_processor_time_is_used(clock: Clock, busy: Any) -> None:
    process = psutil.Process(busy.pid)

    def used_some(now: float) -> None:
        before = process.cpu_times().user
        while process.cpu_times().user < before + 2 * IDLE:
            pass

    clock.happens = used_some
    waiting = patience(clock, busy, standstill=180)
    waiting.wait_until("a quarter of an hour has passed", lambda: clock.now >= 900, tick=100)


def test_it_ends_without_activity_and_says_what_was_observed(clock: Clock, idle: Any, tmp_path: Path) -> None:
    waiting = patience(clock, idle, logs=[tmp_path], standstill=180)
    with pytest.raises(
        NotReadyError, match=r"Not ready \(the moon is blue\) after \d+ s.*no activity.*is grey"
    ) as error:
        waiting.wait_until("the moon is blue", lambda: False, state=lambda: "grey", tick=10)
    assert f"process {idle.pid}" in str(error.value)
    assert str(tmp_path) in str(error.value)


def test_it_ends_at_the_time_limit_although_there_is_activity(clock: Clock) -> None:
    with pytest.raises(NotReadyError, match=r"after 18\d\d s: that is the time limit"):
        patience(clock).wait_until("the moon is blue", lambda: False, state=lambda: clock.now, tick=10)


def test_it_ends_when_a_process_has_died(clock: Clock, idle: Any) -> None:
    def require_running() -> None:
        if clock.now > 5:
            raise RuntimeError("scheduler has ended (exit code 3)")

    idle.require_running = require_running
    with pytest.raises(RuntimeError, match="exit code 3"):
        patience(clock, idle).wait_until("the moon is blue", lambda: False)
    assert clock.now < 6


def test_a_refused_connection_is_not_yet_and_is_named_at_the_end(clock: Clock) -> None:
    def refused() -> bool:
        raise ConnectionRefusedError("nobody listens")

    with pytest.raises(NotReadyError, match="The last call failed: nobody listens"):
        patience(clock).wait_until("the server answers", refused)
