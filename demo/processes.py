"""
Background processes that cannot outlive us.

Every process is started in a session of its own, so that a Ctrl-C in the terminal reaches only the driver, which then
ends the rest in order. A session, not a process group: Airflow's task processes make groups of their own but stay in
the session. Should the driver itself be killed without a chance to clean up, a small reaper process notices and ends
all that is left.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import psutil

#: Seconds a process gets between the polite and the final signal.
PATIENCE = 15.0

#: Seconds between two attempts to end what is left.
TICK = 0.05

#: Lines of a log that an error message shows.
TAIL_LINES = 25


class ProcessEndedError(RuntimeError):
    """A background process ended while it was needed."""


class BackgroundProcess:
    """
    One process, its children, and the file that both of its streams are written to.

    :param name: What messages call it.
    :param command: Program and arguments.
    :param environment: The whole environment of the process.
    :param log: File that its output is appended to.
    :param reaper: Told about every start and end.
    """

    def __init__(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], log: Path, reaper: Reaper
    ) -> None:
        self.name, self.command, self.environment, self.log, self._reaper = name, command, environment, log, reaper
        self.started_at = 0.0
        self._process: subprocess.Popen[bytes] | None = None
        self._is_ended_by_us = False

    @property
    def pid(self) -> int:
        """Process id, which is the session's id too; raise ProcessEndedError when it was never started."""
        if self._process is None:
            raise ProcessEndedError(f"{self.name} was not started.")
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """How the process ended; None while it runs or before it was started."""
        return None if self._process is None else self._process.poll()

    @property
    def is_started(self) -> bool:
        """Whether it was started, however it is now."""
        return self._process is not None

    @property
    def is_needed(self) -> bool:
        """Whether it was started and nobody here has asked it to end."""
        return self.is_started and not self._is_ended_by_us

    @property
    def is_running(self) -> bool:
        """Whether the process itself, not only a child of it, is there."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it; it must not be running."""
        if self.is_running:
            raise RuntimeError(f"{self.name} is already running.")
        self.started_at, self._is_ended_by_us = time.time(), False
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command,
                env=dict(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._reaper.watch(self.pid)

    def family(self) -> list[psutil.Process]:
        """Return the process and all that it started and that still runs, the process first."""
        return session_members(self.pid)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process and to all that it started."""
        _signal(self.family(), number)

    def pause(self) -> None:
        """Freeze it and all that it started, as a machine does that is short of memory."""
        self.send(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self.send(signal.SIGCONT)

    def kill(self) -> None:
        """End it and all that it started at once, without a chance to clean up."""
        self._is_ended_by_us = True
        end_sessions([self.pid], patience=0)
        self.collect()

    def stop(self, patience: float = PATIENCE) -> None:
        """Ask it to end; end it and what it left behind by force after `patience` seconds."""
        self._is_ended_by_us = True
        end_sessions([self.pid], patience=patience)
        self.collect()

    def restart(self) -> None:
        """Stop it, if it still runs, and start it again with the same command, environment and log."""
        self.stop()
        self.start()

    def require_running(self) -> None:
        """Raise ProcessEndedError with the end of its log if it has ended."""
        if not self.is_running:
            raise ProcessEndedError(
                f"{self.name} has ended (exit code {self.exit_code}). The end of {self.log}:\n{self.tail()}"
            )

    def tail(self, lines: int = TAIL_LINES) -> str:
        """Return the last lines of its output."""
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def collect(self) -> None:
        """Take note that the whole session has ended."""
        if self._process is not None:
            self._process.wait()
            self._reaper.forget(self._process.pid)


class Reaper:
    """
    Ends the watched sessions and removes a folder when the block ends or this process does, however it went.

    :param folder: Removed at the end, unless it is to be kept.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "demo.reaper", str(self._folder)],
            cwd=Path(__file__).parent.parent,
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            self._process.wait()
            self._process = None

    def watch(self, session: int) -> None:
        """Count this session among those to end."""
        self._tell(f"watch {session}")

    def watch_process(self, pid: int) -> None:
        """Count a process without a session of its own among what is to end."""
        self._tell(f"process {pid}")

    def forget(self, session: int) -> None:
        """This session has ended; its number may be anybody's from now on."""
        self._tell(f"forget {session}")

    def keep(self) -> None:
        """Leave the folder where it is."""
        self._tell("keep")

    def _tell(self, line: str) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.write(f"{line}\n".encode())
            self._process.stdin.flush()


def session_members(session: int) -> list[psutil.Process]:
    """
    Return the processes of a session, its leader first; the ones that have ended but were not collected are left out.
    """
    members = []
    for pid in psutil.pids():
        try:
            if os.getsid(pid) == session and (process := psutil.Process(pid)).status() != psutil.STATUS_ZOMBIE:
                members.append(process)
        except (ProcessLookupError, PermissionError, psutil.Error):
            continue
    return sorted(members, key=lambda process: process.pid != session)


def end_sessions(sessions: Sequence[int], *, patience: float) -> None:
    """Ask the leaders to end, and after `patience` seconds, or once they have, end by force whatever is left."""
    if patience:
        members = [process for session in sessions for process in session_members(session)]
        leaders = [process for process in members if process.pid in sessions]
        _signal(members, signal.SIGCONT)
        _signal(leaders, signal.SIGTERM)
        psutil.wait_procs(leaders, timeout=patience)
    while members := [process for session in sessions for process in session_members(session)]:
        _signal(members, signal.SIGKILL)
        time.sleep(TICK)


def end_processes(pids: Sequence[int]) -> None:
    """End these processes by force; the ones that are gone already are fine."""
    _signal([psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)], signal.SIGKILL)


def _signal(processes: Sequence[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        try:
            process.send_signal(number)
        except psutil.NoSuchProcess:
            continue
