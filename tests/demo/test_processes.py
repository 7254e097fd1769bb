"""
Background processes end when they should, with all that they started, whatever happens to the one who started them.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from demo.processes import BackgroundProcess, ProcessEndedError, Reaper, session_members
from demo.waiting import wait_until

#: A parent with a child that leaves the parent's process group, as Airflow's tasks do; both ignore SIGTERM.
STUBBORN = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    os.setpgid(0, 0)
print("ready", flush=True)
time.sleep(600)
"""

#: Ends on SIGTERM.
POLITE = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(print("bye", flush=True)))
print("up", flush=True)
time.sleep(600)
"""

#: Starts a process under a reaper and waits to be killed.
DRIVER = """
import sys, time
from pathlib import Path
from demo.processes import BackgroundProcess, Reaper
folder = Path(sys.argv[1])
with Reaper(folder / "home") as reaper:
    command = [sys.executable, "-c", "import time; time.sleep(600)"]
    process = BackgroundProcess("p", command, {}, folder / "p.log", reaper)
    process.start()
    (folder / "pid").write_text(str(process.pid))
    time.sleep(600)
"""


@pytest.fixture
def reaper(tmp_path: Path) -> Iterator[Reaper]:
    with Reaper(tmp_path / "home") as reaper:
        yield reaper


def python(code: str, folder: Path, reaper: Reaper) -> BackgroundProcess:
    return BackgroundProcess("python", [sys.executable, "-c", code], {}, folder / "python.log", reaper)


def stubborn(folder: Path, reaper: Reaper) -> BackgroundProcess:
    process = python(STUBBORN, folder, reaper)
    process.start()
    wait_until("both are up", lambda: process.tail().count("ready") == 2)
    return process


def test_kill_ends_children_in_groups_of_their_own(tmp_path: Path, reaper: Reaper) -> None:
    process = stubborn(tmp_path, reaper)
    assert len(process.session_processes()) == 2
    process.kill()
    assert process.session_processes() == []
    assert not process.is_running


def test_stop_ends_by_force_what_does_not_listen(tmp_path: Path, reaper: Reaper) -> None:
    process = stubborn(tmp_path, reaper)
    process.stop(patience=0.2)
    assert process.session_processes() == []


def test_stop_lets_a_process_end_in_its_own_way(tmp_path: Path, reaper: Reaper) -> None:
    process = python(POLITE, tmp_path, reaper)
    process.start()
    wait_until("it is up", lambda: "up" in process.tail())
    process.stop()
    assert process.tail().splitlines() == ["up", "bye"]


def test_a_paused_process_stands_still_until_it_is_resumed(tmp_path: Path, reaper: Reaper) -> None:
    process = stubborn(tmp_path, reaper)
    process.pause()
    wait_until("both stand still", lambda: {p.status() for p in process.session_processes()} == {psutil.STATUS_STOPPED})
    process.resume()
    wait_until("both go on", lambda: psutil.STATUS_STOPPED not in {p.status() for p in process.session_processes()})
    process.kill()


def test_restart_gives_a_new_process_and_appends_to_the_log(tmp_path: Path, reaper: Reaper) -> None:
    process = python("print('started', flush=True); import time; time.sleep(600)", tmp_path, reaper)
    process.start()
    wait_until("it has written", lambda: "started" in process.tail())
    first = process.pid
    process.restart()
    wait_until("it has written again", lambda: process.tail().count("started") == 2)
    assert process.pid != first
    process.kill()


def test_an_unexpected_end_is_reported_with_the_end_of_the_log(tmp_path: Path, reaper: Reaper) -> None:
    process = python("print('no such table: jobs'); raise SystemExit(3)", tmp_path, reaper)
    process.start()
    wait_until("it has ended", lambda: not process.is_running)
    with pytest.raises(ProcessEndedError, match=r"(?s)exit code 3.*no such table: jobs"):
        process.require_running()


def test_nothing_outlives_a_driver_that_is_killed(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    root = Path(__file__).parents[2]
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(tmp_path)], cwd=root, env={**os.environ, "PYTHONPATH": str(root)}
    )
    pid = tmp_path / "pid"
    wait_until("the process is up", lambda: pid.exists() and pid.read_text() != "")
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    wait_until("it is gone", lambda: session_members(int(pid.read_text())) == [])
    wait_until("the home is gone", lambda: not (tmp_path / "home").exists())


def test_the_end_of_the_block_removes_the_home_unless_it_is_kept(tmp_path: Path) -> None:
    for name, keeps in (("removed", False), ("kept", True)):
        (tmp_path / name).mkdir()
        with Reaper(tmp_path / name) as reaper:
            if keeps:
                reaper.keep()
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_a_forgotten_session_is_left_alone(tmp_path: Path) -> None:
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    try:
        with Reaper(tmp_path / "home") as reaper:
            reaper.add_session(other.pid)
            reaper.remove(other.pid)
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_a_process_that_was_started_and_not_named_yet_is_ended_with_its_folder(tmp_path: Path) -> None:
    """The demo may be killed between the start of the emulator and the reaper's hearing of it."""
    home = tmp_path / "home"
    home.mkdir()
    with Reaper(home):
        late = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", str(home / "files")])
    assert late.wait(60) == -signal.SIGKILL
    assert not home.exists()
