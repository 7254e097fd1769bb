"""What is in the folder survives a kill: batches go on where they were, no line is run twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import urllib.error
from pathlib import Path

import pytest

from airflow_provider_batch.emulator.testing import Emulator, running_emulator
from tests.emulator.support import chat_body, chat_lines, client_of, ended, line, results, run, submit, until


def test_a_killed_emulator_goes_on_where_it_was(tmp_path: Path) -> None:
    with running_emulator(tmp_path, workers=1) as emulator:
        client = client_of(emulator.base_url)
        before = run(client, [line("a", chat_body()), line("b", chat_body())])
        batch = submit(client, chat_lines(6_000))
        until(lambda: client.batches.retrieve(batch.id).request_counts.completed > 500, "it has begun")
        emulator.kill()
        with pytest.raises(urllib.error.URLError):
            emulator.state()
        emulator.start()
        # The new process has begun already, but it cannot have run the 6,000 lines again from the start.
        assert client.batches.retrieve(batch.id).request_counts.completed > 500
        finished = ended(client, batch.id)
        assert (finished.status, finished.request_counts.completed) == ("completed", 6_000)
        found = results(client, finished.output_file_id)
        assert len(found) == 6_000
        state = emulator.state()
        assert state["executions"]["executed"] == 6_002
        assert [one["custom_id"] for one in state["repeated_executions"]] == []
        tokens = sum(one["response"]["body"]["usage"]["total_tokens"] for one in found.values())
        assert finished.usage.total_tokens == tokens
        assert client.batches.retrieve(before.id) == before
        assert state["errors"] == []


def test_faults_calls_and_files_survive_a_restart(tmp_path: Path) -> None:
    with running_emulator(tmp_path, progress="hold") as emulator:
        client = client_of(emulator.base_url)
        emulator.fault(kind="http_error", custom_id="r1", times=5)
        emulator.fault(kind="empty_string_file_ids", times=1)
        batch = submit(client, chat_lines(2))
        calls = emulator.calls()
        emulator.stop()
        emulator.start()
        assert emulator.calls() == calls
        assert len(emulator.faults()) == 2
        assert client.batches.retrieve(batch.id).output_file_id == ""
        emulator.configure(progress="immediate")
        finished = ended(client, batch.id)
        assert set(results(client, finished.error_file_id)) == {"r1"}
        emulator.stop()
        emulator.start()
        assert client.batches.retrieve(batch.id) == finished


def test_a_cancelling_batch_is_cancelled_after_a_restart(tmp_path: Path) -> None:
    with running_emulator(tmp_path, progress="seconds:60", cancelling_seconds=0.5) as emulator:
        client = client_of(emulator.base_url)
        batch = submit(client, chat_lines(4))
        client.batches.cancel(batch.id)
        emulator.kill()
        emulator.start()
        assert ended(client, batch.id).status == "cancelled"


def test_settings_hold_over_a_restart_and_go_at_a_reset(tmp_path: Path) -> None:
    with running_emulator(tmp_path, max_requests=5) as emulator:
        emulator.configure(max_requests=3, latency=0.01)
        emulator.stop()
        emulator.start()
        assert emulator.configure()["max_requests"] == 3
        emulator.reset()
        settings = emulator.configure()
        assert (settings["max_requests"], settings["latency"]) == (5, 0.0)


def test_a_reset_in_the_middle_of_a_batch_leaves_nothing(emulator: Emulator) -> None:
    client = client_of(emulator.base_url)
    for _ in range(5):
        emulator.configure(progress="seconds:1")
        for _ in range(4):
            submit(client, chat_lines(300))
        emulator.configure(progress="immediate")
        emulator.reset()
        assert client.batches.list().data == []
        assert list((emulator.folder / "files").iterdir()) == []
    assert run(client, chat_lines(2)).status == "completed"
    state = emulator.state()
    assert (state["batches_created"], state["executions"]["executed"], state["errors"]) == (1, 2, [])


def test_the_emulator_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    script = """
        import os, sys, time
        from airflow_provider_batch.emulator.testing import running_emulator
        with running_emulator(sys.argv[1]) as emulator:
            print(emulator.pid, flush=True)
            time.sleep(60)
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        until(lambda: not _runs(pid), "the emulator ends")


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A process that has ended and waits for its parent still takes signals.
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def test_a_start_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="no_such_setting"), running_emulator(tmp_path, no_such_setting=1):
        pass


def test_the_test_helper_imports_no_web_framework() -> None:
    code = (
        "import sys, airflow_provider_batch.emulator.testing; print({'fastapi', 'uvicorn', 'airflow'} & {*sys.modules})"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


@pytest.mark.parametrize(
    ("setting", "value"), [("no_such_setting", 1), ("progress", "sometimes"), ("clock_speed", 0), ("upstream", "here")]
)
def test_a_setting_that_makes_no_sense_is_refused_by_name(emulator: Emulator, setting: str, value: object) -> None:
    before = emulator.configure()
    with pytest.raises(ValueError, match=setting):
        emulator.configure(**{setting: value})
    assert emulator.configure() == before
