"""What the command line prints: nothing that matters is cut, in a terminal of any width and in a pipe."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_batch.cli.printing import as_text
from airflow_provider_batch.emulator.testing import Emulator
from airflow_provider_batch.jobs.ledger.store import LedgerStore
from airflow_provider_batch.jobs.ledger.summary import report
from airflow_provider_batch.storage import resolve
from tests.jobs.support import a_request, run, some_rows, tools_for


def in_a_terminal(columns: int, *arguments: str) -> str:
    """Run the command line in a terminal of so many columns; return what it shows."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    command = [sys.executable, "-m", "airflow_provider_batch.cli", *arguments]
    with subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=environment) as process:
        os.close(slave)
        shown = b""
        while True:
            try:
                block = os.read(master, 1 << 16)
            except OSError:  # how Linux says that the other side is closed
                break
            if not block:
                break
            shown += block
        assert process.wait(60) == 0, shown
    os.close(master)
    return shown.decode().replace("\r\n", "\n")


def words_of(value: Any) -> list[str]:
    """Every value of a report that somebody may look for or copy."""
    if isinstance(value, dict):
        return [word for entry in value.values() for word in words_of(entry)]
    if isinstance(value, list):
        return [word for entry in value for word in words_of(entry)]
    return [] if value is None else [f"{value:,}" if type(value) is int else str(value)]


@pytest.fixture
def ledger(emulator: Emulator, tmp_path: Path) -> str:
    return str(run(a_request(tmp_path, some_rows(25)), tools_for(emulator))["ledger"])


def test_a_status_is_whole_in_a_narrow_and_a_wide_terminal_and_in_a_pipe(ledger: str) -> None:
    found = LedgerStore(resolve(ledger.removesuffix("/ledger.json"))).load()
    assert found is not None
    everything = words_of(report(found))
    assert "succeeded" not in everything
    for columns in (80, 200):
        shown = in_a_terminal(columns, "status", ledger)
        assert [word for word in [*everything, "succeeded 25"] if word not in shown] == []
        assert "…" not in shown
        assert max(len(line) for line in shown.splitlines() if " /" not in line) <= columns
    command = [sys.executable, "-m", "airflow_provider_batch.cli", "status", ledger]
    piped = subprocess.run(command, env={**os.environ, "COLUMNS": "80"}, capture_output=True, text=True, check=True)
    for shard in found.shards:
        (line,) = (line for line in piped.stdout.splitlines() if line.startswith(shard.key))
        assert line.split()[1:3] == ["landed", str(shard.rows)]
        assert str(shard.batch_id) in line


def test_all_batches_of_a_summary_are_shown() -> None:
    ids = [f"batch_{number:032x}" for number in range(200)]
    for width in (None, 80):
        shown = as_text({"batch_ids": ids}, width)
        assert [one for one in ids if one not in shown] == []


@given(
    st.lists(
        st.fixed_dictionaries(
            {name: st.none() | st.integers() | st.text("abcé_-", max_size=90) for name in ("shard", "batch", "rows")}
        ),
        max_size=4,
    ),
    st.none() | st.integers(1, 200),
)
def test_no_value_is_cut_at_any_width(rows: list[dict[str, Any]], width: int | None) -> None:
    shown = as_text({"one": "value", "rows": rows}, width)
    assert [word for word in words_of(rows) if word not in shown] == []


def test_columns_that_do_not_fit_stand_below_their_row() -> None:
    row = {"shard": "r01-s00001", "state": "landed", "rows": 1000, "batch": "b" * 38, "ended": None, "part": "p" * 34}
    assert as_text({"job": "3f2a", "cost_usd": 8.325e-05, "shards": [row]}, 80).splitlines() == [
        "job       3f2a",
        "cost_usd  0.00008325",
        "",
        "shards:",
        "shard       state    rows  ended  part",
        f"r01-s00001  landed  1,000  -      {'p' * 34}",
        f"    batch  {'b' * 38}",
    ]


def test_json_is_whole_too(ledger: str) -> None:
    assert len(json.loads(in_a_terminal(40, "status", ledger, "--json"))["shards"]) == 3
