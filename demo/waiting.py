"""
Waits that know why they wait.

A fixed number of seconds says nothing on a machine whose speed nobody knows. A wait ends here when what is waited for
is there, when a process that it needs has ended, or when nothing has moved for minutes: no line in a log, no change of
state, no processor time used. The last resort is half an hour, and its message says what was seen.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import psutil

#: Seconds between two looks at a condition.
TICK = 0.1
#: Seconds between two looks at logs and processor time.
LOOK_EVERY = 5.0
#: Seconds without a log line, a change of state or processor time after which a wait is given up.
STANDSTILL = 180.0
#: Processor seconds below which a process counts as standing still: a sleeping one still wakes up now and then.
IDLE = 0.05
#: Seconds after which a wait is given up although something still moves.
LAST_RESORT = 1800.0


class NotReadyError(TimeoutError):
    """What was waited for did not happen; the message says for how long, why it was given up, and what was seen."""


class Watched(Protocol):
    """A background process that a wait needs."""

    @property
    def pid(self) -> int:
        """Process id."""

    def require_running(self) -> None:
        """Raise an error with the end of the log if the process has ended."""


@dataclass(frozen=True)
class Patience:
    """
    How long to wait for what some processes do.

    :param processes: Return the processes that are needed now.
    :param logs: Folders and files that they write to.
    :param standstill: Seconds without any movement after which a wait is given up.
    :param last_resort: Seconds after which a wait is given up in any case.
    """

    processes: Callable[[], Iterable[Watched]] = tuple
    logs: Sequence[Path] = ()
    standstill: float = STANDSTILL
    last_resort: float = LAST_RESORT
    clock: Callable[[], float] = field(default=time.monotonic, repr=False)
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False)

    def wait_until(
        self, what: str, condition: Callable[[], object], *, state: Callable[[], object] = str, tick: float = TICK
    ) -> None:
        """
        Return as soon as the condition is true. An OSError of the condition, such as a refused connection, means "not
        yet".

        :param what: What is awaited, for the error message.
        :param state: Return what the message shows of the state; each change of it counts as movement.
        :param tick: Seconds between two looks at the condition.
        :raises NotReadyError: Nothing moves any more, or the last resort has come.
        """
        begun = polled_at = moved_at = self.clock()
        seen, error = self._vital_signs(), None
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
            if now - polled_at >= LOOK_EVERY:
                polled_at, signs, current = now, self._vital_signs(), _text_of(state)
                if signs.differ_from(seen) or current != shown:
                    seen, shown, moved_at = signs, current, now
            if now - moved_at > self.standstill:
                raise self._given_up(what, now - begun, f"nothing has moved for {now - moved_at:.0f} s", shown, error)
            if now - begun > self.last_resort:
                raise self._given_up(what, now - begun, "that is the last resort", shown, error)
            self.sleep(tick)

    def _vital_signs(self) -> _VitalSigns:
        sizes = {}
        for path in self.logs:
            for file in path.rglob("*") if path.is_dir() else [path]:
                with suppress(OSError):
                    sizes[str(file)] = file.stat().st_size
        return _VitalSigns(sizes, {process.pid: _processor_seconds(process.pid) for process in self.processes()})

    def _given_up(self, what: str, seconds: float, why: str, state: str, error: OSError | None) -> NotReadyError:
        signs = self._vital_signs()
        used = ", ".join(f"process {pid}: {seconds:.1f} s" for pid, seconds in signs.processor.items())
        seen = [f"{what}: not so after {seconds:.0f} s, and {why}."]
        seen += [f"The state is {state}."] if state else []
        seen += [f"The last look failed: {error}."] if error is not None else []
        seen += [f"Processor time used: {used}."] if used else []
        seen += [f"Logs: {', '.join(map(str, self.logs))}."] if self.logs else []
        return NotReadyError(" ".join(seen))


@dataclass(frozen=True)
class _VitalSigns:
    sizes: dict[str, int]
    processor: dict[int, float]

    def differ_from(self, other: _VitalSigns) -> bool:
        """Return whether a log has grown or a process has used processor time since."""
        if self.sizes != other.sizes or self.processor.keys() != other.processor.keys():
            return True
        return any(abs(seconds - other.processor[pid]) > IDLE for pid, seconds in self.processor.items())


def wait_until(what: str, condition: Callable[[], object], *, tick: float = TICK) -> None:
    """
    Return as soon as the condition is true; it needs no process of which more than its outcome could be seen.

    :raises NotReadyError: The last resort has come.
    """
    Patience(standstill=LAST_RESORT).wait_until(what, condition, tick=tick)


def _processor_seconds(pid: int) -> float:
    """Return the processor time of a process and of all that it has started, as far as these still run."""
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
