"""
Reads from its input which sessions to watch; when that ends, because its parent did, ends the sessions that are left.
"""

from __future__ import annotations

import shutil
import signal
import sys

from demo.processes import end_processes, end_sessions


def main(folder: str) -> None:
    """
    Run until the input ends.

    :param folder: Removed at the end, unless a line said ``keep``.
    """
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    sessions: set[int] = set()
    processes: set[int] = set()
    keep = False
    for line in sys.stdin:
        match line.split():
            case ["watch", session]:
                sessions.add(int(session))
            case ["process", pid]:
                processes.add(int(pid))
            case ["forget", number]:
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
