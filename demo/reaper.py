"""
End sessions and processes when the parent process has ended.

The parent writes one command per line to standard input. When the parent ends, standard input ends, and the sessions
and processes that are left are killed.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time

import psutil

from demo.processes import TICK, end_processes, end_sessions


def main(folder: str) -> None:
    """
    Run until standard input ends.

    :param folder: Folder to remove at the end, unless the parent has sent ``keep``.
    """
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    sessions: set[int] = set()
    processes: set[int] = set()
    keep = False
    for line in sys.stdin:
        match line.split():
            case ["session", session]:
                sessions.add(int(session))
            case ["process", pid]:
                processes.add(int(pid))
            case ["remove", number]:
                sessions.discard(int(number))
                processes.discard(int(number))
            case ["keep"]:
                keep = True
    end_sessions(sorted(sessions), patience=0)
    end_processes(sorted(processes))
    if not keep:
        _remove(folder)


def _remove(folder: str) -> None:
    """Remove the folder, and end processes that would make it again: the parent had started them but not named them."""
    while True:
        users = [process for process in psutil.process_iter() if _is_user(process, folder)]
        shutil.rmtree(folder, ignore_errors=True)
        if not users:
            return
        end_processes([process.pid for process in users])
        time.sleep(TICK)  # a killed one that its parent has not collected yet has no arguments any more


def _is_user(process: psutil.Process, folder: str) -> bool:
    """Return whether another process of this Python has the folder among its arguments."""
    try:
        command = process.cmdline()
    except psutil.Error:
        return False
    return process.pid != os.getpid() and command[:1] == [sys.executable] and any(folder in one for one in command)


if __name__ == "__main__":
    main(sys.argv[1])
