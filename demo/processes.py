"""
Run background processes that end with this process.

Every process is started in a session of its own. A Ctrl-C in the terminal therefore reaches only this process, which
then ends the others in order. A session, not a process group, because Airflow's task processes make groups of their
own but stay in the session. A small reaper process ends all that is left when this process is killed.
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

#: Seconds from SIGTERM to SIGKILL.
PATIENCE = 15.0

#: Seconds between two attempts to end what is left.
TICK = 0.05

#: Lines of a log that an error message shows.
TAIL_LINES = 25


class ProcessEndedError(RuntimeError):
    """A background process ended while it was needed."""


class BackgroundProcess:
    """
    One background process with its children, and the log file of its output.

    :param name: Name for messages.
    :param command: Program and arguments.
    :param environment: All environment variables of the process.
    :param log: File to which its standard output and standard error are appended.
    :param reaper: Ends the process if this process is killed.
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
        """
        Id of the process, which is also the id of its session.

        :raises ProcessEndedError: The process was never started.
        """
        if self._process is None:
            raise ProcessEndedError(f"{self.name} was not started.")
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """Exit code; None while the process runs or before it was started."""
        return None if self._process is None else self._process.poll()

    @property
    def is_started(self) -> bool:
        """Whether the process was started, even if it has ended since."""
        return self._process is not None

    @property
    def is_needed(self) -> bool:
        """Whether the process was started, and not ended through this object."""
        return self.is_started and not self._is_ended_by_us

    @property
    def is_running(self) -> bool:
        """Whether the process itself runs; its children do not count."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """
        Start the process.

        :raises RuntimeError: It runs already.
        """
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
        self._reaper.add_session(self.pid)

    def session_processes(self) -> list[psutil.Process]:
        """Return the running processes of the session, the process itself first."""
        return session_members(self.pid)

    def send(self, number: signal.Signals) -> None:
        """
        Send a signal to all processes of the session.

        :param number: The signal.
        """
        _signal(self.session_processes(), number)

    def pause(self) -> None:
        """Freeze all processes of the session, as a machine without free memory does."""
        self.send(signal.SIGSTOP)

    def resume(self) -> None:
        """Continue all processes of the session after `pause`."""
        self.send(signal.SIGCONT)

    def kill(self) -> None:
        """Kill all processes of the session, without a chance to clean up."""
        self._is_ended_by_us = True
        end_sessions([self.pid], patience=0)
        self.collect()

    def stop(self, patience: float = PATIENCE) -> None:
        """
        Stop the process with SIGTERM, then kill what is left of the session.

        :param patience: Seconds before the process is killed.
        """
        self._is_ended_by_us = True
        end_sessions([self.pid], patience=patience)
        self.collect()

    def restart(self) -> None:
        """Stop the process if it runs, and start it again with the same command, environment and log."""
        self.stop()
        self.start()

    def require_running(self) -> None:
        """
        Check that the process runs.

        :raises ProcessEndedError: It has ended; the message holds the end of its log.
        """
        if not self.is_running:
            raise ProcessEndedError(
                f"{self.name} has ended (exit code {self.exit_code}). The end of {self.log}:\n{self.tail()}"
            )

    def tail(self, lines: int = TAIL_LINES) -> str:
        """
        Return the last lines of the log.

        :param lines: Number of lines.
        """
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def collect(self) -> None:
        """Collect the exit code of the ended process, and remove its session from the reaper."""
        if self._process is not None:
            self._process.wait()
            self._reaper.remove(self._process.pid)


class Reaper:
    """
    Ends sessions and removes a folder at the end of a `with` block, or when this process ends in any way.

    :param folder: Folder to remove; see `keep`.
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

    def add_session(self, session: int) -> None:
        """
        Add a session that the reaper has to end.

        :param session: Id of the session.
        """
        self._send(f"session {session}")

    def add_process(self, pid: int) -> None:
        """
        Add a process without a session of its own that the reaper has to end.

        :param pid: Id of the process.
        """
        self._send(f"process {pid}")

    def remove(self, session: int) -> None:
        """
        Remove a session or process that has ended; the system may give its id to another process.

        :param session: Id of the session or process.
        """
        self._send(f"remove {session}")

    def keep(self) -> None:
        """Do not remove the folder."""
        self._send("keep")

    def _send(self, line: str) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.write(f"{line}\n".encode())
            self._process.stdin.flush()


def session_members(session: int) -> list[psutil.Process]:
    """
    Return the running processes of a session, its leader first; processes that have ended but were not collected are
    left out.

    :param session: Id of the session.
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
    """
    Send SIGTERM to the leaders, then SIGKILL to all processes that are left.

    :param sessions: Ids of the sessions.
    :param patience: Seconds between the two signals, less where the leaders end before; 0 sends only SIGKILL.
    """
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
    """
    Kill processes; ids of ended processes are allowed.

    :param pids: Ids of the processes.
    """
    _signal([psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)], signal.SIGKILL)


def _signal(processes: Sequence[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        try:
            process.send_signal(number)
        except psutil.NoSuchProcess:
            continue
