"""How the emulator writes what another service writes."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

import pytest

from airflow_provider_batch.emulator.services.gateway import home_path
from airflow_provider_batch.emulator.services.table import NAMES
from airflow_provider_batch.emulator.settings import Settings
from airflow_provider_batch.emulator.testing import Emulator

LINE = {"custom_id": "1", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "m", "messages": ["x"]}}
BODY = {"endpoint": "/v1/chat/completions", "completion_window": "24h"}


def call(emulator: Emulator, path: str, given: bytes | None = None, kind: str = "application/json") -> Any:
    """Make a call below the service's base URL, and return its JSON."""
    request = urllib.request.Request(f"{emulator.base_url}{path}", data=given)
    request.add_header("Authorization", "Bearer sk-test")
    request.add_header("Content-Type", kind)
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)


def uploaded(emulator: Emulator, purpose: str, path: str = "/files") -> Any:
    fields = f'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\n{purpose}\r\n'
    file = '--b\r\nContent-Disposition: form-data; name="file"; filename="f.jsonl"\r\n\r\n'
    file += f"{json.dumps(LINE)}\n\r\n--b--\r\n"
    return call(emulator, path, (fields + file).encode(), "multipart/form-data; boundary=b")


def created(emulator: Emulator, file_id: str, **given: Any) -> Any:
    return call(emulator, "/batches", json.dumps({**BODY, "input_file_id": file_id, **given}).encode())


def test_together_wraps_the_answer_to_a_create_and_lists_a_bare_array(emulator: Emulator) -> None:
    emulator.configure(service="together")
    file = uploaded(emulator, "batch-api", "/files/upload")
    assert file["Processed"] is True
    job = created(emulator, file["id"])["job"]
    assert job["created_at"].endswith("Z")
    assert (job["error"], "request_counts" in job, "metadata" in job) == (None, False, False)
    (listed,) = call(emulator, "/batches")
    assert listed["id"] == job["id"]
    with pytest.raises(urllib.error.HTTPError) as refused:
        created(emulator, file["id"], metadata={"a": "b"})
    assert refused.value.code == 400
    with pytest.raises(urllib.error.HTTPError) as refused:
        uploaded(emulator, "batch", "/files/upload")
    assert refused.value.code == 400


def test_azure_shows_a_new_batch_with_capitals_iso_times_and_no_counts(emulator: Emulator) -> None:
    emulator.configure(service="azure", progress="hold")
    batch = created(emulator, uploaded(emulator, "batch")["id"])
    assert batch["status"] == "Validating"
    assert batch["request_counts"] == {"total": None, "completed": None, "failed": None}
    assert batch["created_at"].endswith("+00:00")
    emulator.configure(progress="immediate", clock_speed=1e9)
    assert call(emulator, f"/batches/{batch['id']}")["status"] != "expired"


@pytest.mark.parametrize(
    ("service", "path", "query", "expected"),
    [
        ("azure", "/openai/v1/batches", b"", "/v1/batches"),
        ("azure", "/openai/batches", b"api-version=2024-10-21", "/v1/batches"),
        ("azure", "/openai/batches", b"", None),
        ("azure", "/v1/batches", b"", None),
        ("groq", "/openai/v1/files/f/content", b"", "/v1/files/f/content"),
        ("together", "/v1/files/upload", b"", "/v1/files"),
        ("deepinfra", "/v1/openai/batches/b/cancel", b"", "/v1/batches/b/cancel"),
    ],
)
def test_a_service_s_own_addresses_lead_to_the_api(service: str, path: str, query: bytes, expected: str | None) -> None:
    assert home_path(service, path, query) == expected


def test_the_limits_of_a_service_are_settings_that_a_given_one_wins_over() -> None:
    assert Settings(service="azure").max_requests == 100_000
    assert Settings(service="azure", max_requests=3).max_requests == 3
    assert Settings.of_service("openai")["always_error_file"] is False
    with pytest.raises(ValueError, match="expected one of openai, azure, groq"):
        Settings(service="mistral")
    assert len(NAMES) == 11
