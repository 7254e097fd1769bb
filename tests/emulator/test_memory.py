"""Memory stays flat whatever the size of a file."""

from __future__ import annotations

import json
from pathlib import Path

from airflow_provider_batch.emulator.testing import running_emulator
from tests.emulator.support import CHAT, chat_body, client_of, ended

MEGABYTE = 1_000_000


def resident(pid: int, name: str) -> int:
    """Return a memory figure of a process in bytes: `VmRSS`, or `VmHWM` for the highest there was."""
    for row in Path(f"/proc/{pid}/status").read_text().splitlines():
        if row.startswith(f"{name}:"):
            return int(row.split()[1]) * 1024
    raise AssertionError(name)


def test_a_large_file_is_uploaded_run_and_downloaded_in_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "input.jsonl"
    with path.open("w") as file:
        for number in range(3_000):
            body = chat_body("x" * 20_000 + f" number {number}")
            file.write(json.dumps({"custom_id": f"r{number}", "method": "POST", "url": CHAT, "body": body}) + "\n")
    assert path.stat().st_size > 60 * MEGABYTE
    with running_emulator(tmp_path / "emulator") as emulator:
        client = client_of(emulator.base_url)
        before = resident(emulator.pid, "VmRSS")
        with path.open("rb") as file:
            uploaded = client.files.create(file=("input.jsonl", file), purpose="batch")
        batch = client.batches.create(input_file_id=uploaded.id, endpoint=CHAT, completion_window="24h")
        assert ended(client, batch.id).request_counts.completed == 3_000
        received = 0
        with client.files.with_streaming_response.content(uploaded.id) as response:
            for chunk in response.iter_bytes():
                received += len(chunk)
        assert received == path.stat().st_size
        assert resident(emulator.pid, "VmHWM") - before < 25 * MEGABYTE
