"""
Wait until something is ready, without guessing how many seconds that takes.

The speed of a machine is not known. A wait therefore ends when its condition is true, when a process that it needs has
ended, or when minutes pass without activity: no log line, no change of state, no processor time. A limit of half an
hour ends every wait; the error says what was observed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import psutil

#: Seconds between two calls of a condition.
TICK = 0.1
#: Seconds between two checks of logs and processor time.
CHECK_EVERY = 5.0
#: Seconds without a log line, a change of state or processor time after which a wait ends with an error.
STANDSTILL = 180.0
#: Processor seconds below which a process counts as idle: a sleeping process still wakes up at times.
IDLE = 0.05
#: Seconds after which a wait ends with an error although there is activity.
TIME_LIMIT = 1800.0


class NotReadyError(TimeoutError):
    """
    A wait ended before its condition was true; the message says how long it took, why it ended, and what was observed.
    """


class NeededProcess(Protocol):
    """A background process that a wait needs."""

    @property
    def pid(self) -> int:
        """Id of the process."""

    def require_running(self) -> None:
        """Raise an error with the end of the log if the process has ended."""


@dataclass(frozen=True)
class Patience:
    """
    How long to wait for the work of some processes.

    :param processes: Returns the processes that are needed now.
    :param logs: Files and folders to which they write.
    :param standstill: Seconds without activity after which a wait ends with an error.
    :param time_limit: Seconds after which a wait ends with an error in any case.
    :param clock: Returns seconds; a test can replace it.
    :param sleep: Waits for seconds; a test can replace it.
    """

    processes: Callable[[], Iterable[NeededProcess]] = tuple
    logs: Sequence[Path] = ()
    standstill: float = STANDSTILL
    time_limit: float = TIME_LIMIT
    clock: Callable[[], float] = field(default=time.monotonic, repr=False)
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False)

    def wait_until(
        self, what: str, condition: Callable[[], object], *, state: Callable[[], object] = str, tick: float = TICK
    ) -> None:
        """
        Wait until a condition is true. An OSError of the condition, such as a refused connection, counts as "not yet".

        :param what: The condition as text, for the error message.
        :param condition: Returns whether the wait is over.
        :param state: Returns the state for the error message; a change of it counts as activity.
        :param tick: Seconds between two calls of the condition.
        :raises NotReadyError: There is no activity any more, or the time limit is reached.
        """
        begun = polled_at = active_at = self.clock()
        seen, error = self._activity(), None
        shown = ""
        while True:
            try:
                if condition():
                    return
                error = None
            except OSError as refused:
                error = refused
            for process in self.processes():
                process.require_running()
            now = self.clock()
            if now - polled_at >= CHECK_EVERY:
                polled_at, activity, current = now, self._activity(), _text_of(state)
                if activity.differ_from(seen) or current != shown:
                    seen, shown, active_at = activity, current, now
            if now - active_at > self.standstill:
                raise self._not_ready(what, now - begun, f"no activity for {now - active_at:.0f} s", shown, error)
            if now - begun > self.time_limit:
                raise self._not_ready(what, now - begun, "that is the time limit", shown, error)
            self.sleep(tick)

    def _activity(self) -> _Activity:
        sizes = {}
        for path in self.logs:
            for file in path.rglob("*") if path.is_dir() else [path]:
                with suppress(OSError):
                    sizes[str(file)] = file.stat().st_size
        return _Activity(sizes, {process.pid: _processor_seconds(process.pid) for process in self.processes()})

    def _not_ready(self, what: str, seconds: float, why: str, state: str, error: OSError | None) -> NotReadyError:
        activity = self._activity()
        used = ", ".join(f"process {pid}: {seconds:.1f} s" for pid, seconds in activity.processor.items())
        seen = [f"Not ready ({what}) after {seconds:.0f} s: {why}."]
        seen += [f"The state is {state}."] if state else []
        seen += [f"The last call failed: {error}."] if error is not None else []
        seen += [f"Processor time used: {used}."] if used else []
        seen += [f"Logs: {', '.join(map(str, self.logs))}."] if self.logs else []
        return NotReadyError(" ".join(seen))


@dataclass(frozen=True)
class _Activity:
    sizes: dict[str, int]
    processor: dict[int, float]

    def differ_from(self, other: _Activity) -> bool:
        """Say whether a log has grown or a process has used processor time since."""
        if self.sizes != other.sizes or self.processor.keys() != other.processor.keys():
            return True
        return any(abs(seconds - other.processor[pid]) > IDLE for pid, seconds in self.processor.items())


def wait_until(what: str, condition: Callable[[], object], *, tick: float = TICK) -> None:
    """
    Wait until a condition is true, without processes or logs that could show activity.

    :param what: The condition as text, for the error message.
    :param condition: Returns whether the wait is over.
    :param tick: Seconds between two calls of the condition.
    :raises NotReadyError: The time limit is reached.
    """
    Patience(standstill=TIME_LIMIT).wait_until(what, condition, tick=tick)


def _processor_seconds(pid: int) -> float:
    """Return the processor seconds of a process and of its children that still run."""
    total = 0.0
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        for one in (process, *process.children(recursive=True)):
            with suppress(psutil.Error):
                times = one.cpu_times()
                total += times.user + times.system + times.children_user + times.children_system
    return total


def _text_of(state: Callable[[], object]) -> str:
    try:
        return str(state())
    except OSError:
        return ""
