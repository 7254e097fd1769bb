"""The demo is stopped at each of its steps, by Ctrl-C and by signals, and leaves no process and no folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest

from demo.waiting import wait_until

ROOT = Path(__file__).parents[2]

#: Last printed text when the demo is stopped: each wait of its start, and each state of the task.
MOMENTS = (
    "The table:",
    "The Batch API:",
    "waiting for the metadata database",
    "waiting for api-server",
    "waiting for the DAG",
    "task not started",
    "task running",
    "task deferred",
    "completed",
)


def processes_of(home: Path) -> list[psutil.Process]:
    """Return the processes whose environment names this folder for temporary files."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("TMPDIR") == str(home):
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.mark.system
@pytest.mark.thorough
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_stopped_demo_leaves_no_process_and_no_folder(moment: str, number: signal.Signals, tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="stopped-") as name:
        home, log = Path(name).resolve(), tmp_path / "log"
        command = [sys.executable, "-u", "-m", "demo", "--rows", "60", "--folder", str(tmp_path / "tables")]
        with log.open("wb") as output:
            demo = subprocess.Popen(
                command, cwd=ROOT, env={**os.environ, "TMPDIR": str(home)}, stdout=output, start_new_session=True
            )
        wait_until(f"the demo says {moment!r}", lambda: moment in log.read_text() or demo.poll() is not None)
        assert demo.poll() is None, log.read_text()
        demo.send_signal(number)
        demo.wait()
        wait_until("no process is left", lambda: not processes_of(home))
        wait_until("no folder is left", lambda: not list(home.iterdir()))
