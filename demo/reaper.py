"""
End sessions and processes when the parent process has ended.

The parent writes one command per line to standard input. When the parent ends, standard input ends, and the sessions
and processes that are left are killed.
"""

from __future__ import annotations

import shutil
import signal
import sys

from demo.processes import end_processes, end_sessions


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
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1])
