"""One job on each service that the emulator speaks: whole, with faults, and what it sends."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_batch.api.client import BatchClient
from airflow_provider_batch.api.endpoints import Endpoint
from airflow_provider_batch.api.service import Service
from airflow_provider_batch.api.services import service_named
from airflow_provider_batch.api.settings import ClientSettings
from airflow_provider_batch.emulator.services.table import NAMES
from airflow_provider_batch.emulator.testing import Emulator
from airflow_provider_batch.exceptions import ApiError, ConfigurationError, UnknownOutcomeError
from airflow_provider_batch.hooks.connection import Fields, client_settings
from airflow_provider_batch.jobs.job_request import Tools
from airflow_provider_batch.jobs.opening.attempt import open_job
from tests.jobs.support import a_request, changed, check_paid_once, check_table, run, some_rows, statuses

LOST: dict[str, Any] = {"kind": "lose_answer", "method": "POST", "path": "/v1/batches"}


def spoken(emulator: Emulator, name: str, **extra: Any) -> Tools:
    """Tools for the emulator in a service's manner, by the connection's field *Service*."""
    emulator.configure(service=name)
    return tools_for(emulator, {"service": name, "max_retries": 2, **extra})


def tools_for(emulator: Emulator, extra: dict[str, Any], host: str | None = None) -> Tools:
    fields = Fields("openai_batch", host or emulator.base_url, None, None, "sk-test", extra)
    client = BatchClient(client_settings("c", fields))
    return Tools(client=client, sleep=lambda seconds: time.sleep(min(seconds, 0.05)))


@pytest.mark.parametrize("name", NAMES)
def test_a_job_runs_on_each_service(emulator: Emulator, tmp_path: Path, name: str) -> None:
    tools = spoken(emulator, name)
    emulator.fault(kind="http_error", status=500, fraction=0.2, executions=1)
    run(a_request(tmp_path, some_rows(25)), tools)
    check_table(tmp_path, some_rows(25))
    assert statuses(tmp_path) == {"succeeded": 25}
    check_paid_once(emulator)


@pytest.mark.thorough
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "file_not_ready", "count": 2},
        {"kind": "late_output", "reads": 2},
        {"kind": "route_error", "method": "POST", "path": "/v1/batches", "status": 429, "times": 1},
        {"kind": "empty_string_file_ids"},
        {"kind": "duplicate_line", "fraction": 0.2},
    ],
    ids=lambda fault: fault["kind"],
)
def test_a_job_lives_through_faults_of_each_service(
    emulator: Emulator, tmp_path: Path, name: str, fault: dict[str, Any]
) -> None:
    tools = spoken(emulator, name)
    emulator.fault(**fault)
    run(a_request(tmp_path, some_rows(25)), tools)
    check_table(tmp_path, some_rows(25))
    check_paid_once(emulator)


@pytest.mark.parametrize("name", ["azure", "together"])
def test_a_lost_create_is_found_by_its_input_file_where_there_is_no_metadata(
    emulator: Emulator, tmp_path: Path, name: str
) -> None:
    tools = spoken(emulator, name)
    emulator.configure(keeps_metadata=False)
    emulator.fault(**LOST, times=1)
    run(a_request(tmp_path, some_rows(10)), tools)
    check_table(tmp_path, some_rows(10))
    assert emulator.state()["batches_created"] == 1


def test_a_lost_create_stays_unknown_where_there_is_no_list(emulator: Emulator, tmp_path: Path) -> None:
    tools = tools_for(emulator, {"service": {"has_list": False, "name": "A gateway"}, "max_retries": 0})
    emulator.fault(**LOST, times=1)
    request = a_request(tmp_path, some_rows(10), rerun="failed_rows")
    for _ in range(2):
        with pytest.raises(UnknownOutcomeError, match="A gateway has no list of batches to look it up in"):
            run(request, tools)
    assert emulator.state()["batches_created"] == 1
    assert emulator.calls("GET", "/v1/batches") == []
    run(changed(request, era=1), tools)  # a person has seen the error, and clears the task with a rerun
    check_table(tmp_path, some_rows(10))


@pytest.mark.parametrize(
    ("name", "changes", "error"),
    [
        ("groq", {"endpoint": Endpoint.EMBEDDINGS}, "endpoint: Groq has no /v1/embeddings in batches; it has /v1/chat"),
        ("azure", {"endpoint": Endpoint.EMBEDDINGS}, "endpoint: Azure OpenAI has no /v1/embeddings"),
        ("together", {"completion_window": "7d"}, "completion_window: Together AI takes '24h', found '7d'"),
        ("azure", {"output_expires_after": 3600}, "Azure OpenAI takes 1,209,600 to 2,592,000 seconds, found 3,600"),
        ("groq", {"output_expires_after": 3600}, "output_expires_after: Groq does not take it"),
    ],
)
def test_what_a_service_does_not_have_is_an_error_before_anything_is_sent(
    emulator: Emulator, tmp_path: Path, name: str, changes: dict[str, Any], error: str
) -> None:
    tools = spoken(emulator, name)
    if "endpoint" in changes:
        request = a_request(tmp_path, some_rows(3), body={"model": "m", "input": "{text}"}, spec=changes)
    else:
        request = changed(a_request(tmp_path, some_rows(3)), **changes)
    with pytest.raises(ConfigurationError, match=error):
        open_job(request, tools)
    assert emulator.calls("POST") == []


def test_a_wider_window_is_sent_to_a_service_that_takes_it(emulator: Emulator, tmp_path: Path) -> None:
    tools = spoken(emulator, "groq")
    run(changed(a_request(tmp_path, some_rows(3)), completion_window="7d"), tools)
    batch = next(iter(tools.client.list()))
    assert batch.expires_at is not None
    assert batch.created_at is not None
    assert batch.expires_at - batch.created_at == pytest.approx(7 * 86_400, abs=2)


def test_the_shards_keep_to_the_limits_of_the_service(emulator: Emulator, tmp_path: Path) -> None:
    tools = tools_for(emulator, {"service": {"max_requests": 4}})
    run(a_request(tmp_path, some_rows(10)), tools)
    assert sorted(batch["lines"] for batch in emulator.state()["batches"]) == [2, 4, 4]


def test_azure_s_older_address_gets_the_key_the_version_and_lines_without_v1(
    emulator: Emulator, tmp_path: Path
) -> None:
    emulator.configure(service="azure", api_keys=["sk-test"])
    host = f"{emulator.root_url}/openai?api-version=2024-10-21"
    tools = tools_for(emulator, {"service": "azure"}, host)
    run(a_request(tmp_path, some_rows(5), keep_shards=True), tools)
    check_table(tmp_path, some_rows(5))
    stored = [lines_of(path) for path in (tmp_path / "state").rglob("*") if path.is_file()]
    (sent,) = (content for content in stored if b'"method":"POST"' in content)
    assert b'"url":"/chat/completions"' in sent


def test_azure_s_input_files_get_an_expiry_so_that_more_of_them_are_allowed(emulator: Emulator, tmp_path: Path) -> None:
    tools = spoken(emulator, "azure")
    job = open_job(a_request(tmp_path, some_rows(5)), tools)
    emulator.configure(progress="hold")
    job.advance()
    sdk: Any = tools.client._sdk
    (file,) = json.loads(sdk.files.with_raw_response.list().content)["data"]
    assert file["expires_at"] - file["created_at"] == 1_209_600


def test_no_batch_is_made_of_a_file_that_azure_has_not_processed(emulator: Emulator, tmp_path: Path) -> None:
    tools = spoken(emulator, "azure")
    emulator.fault(kind="file_not_ready", seconds=0.4)
    run(a_request(tmp_path, some_rows(5)), tools)
    check_table(tmp_path, some_rows(5))
    assert {call["status"] for call in emulator.calls("POST", "/v1/batches")} == {200}


def test_a_batch_that_outlives_its_expires_at_does_not_move_the_clock_where_batches_do_not_expire(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulator.configure(progress="hold")
    corrected: list[Any] = []
    monkeypatch.setattr(Tools, "correct_clock", lambda _, running: corrected.append(list(running)))
    for name, expected in ("azure", 0), ("openai", 1):
        tools = spoken(emulator, name)
        job = open_job(a_request(tmp_path / name, some_rows(2)), tools)
        job.advance()
        corrected.clear()
        job.advance()
        assert len(corrected) == expected


@pytest.mark.parametrize(
    ("status", "message"),
    [(429, "Too many requests."), (400, "The maximum number of files for this resource has been reached.")],
)
def test_a_refused_upload_waits_as_for_a_full_queue(
    emulator: Emulator, tmp_path: Path, status: int, message: str
) -> None:
    tools = tools_for(emulator, {"max_retries": 0})
    now = [time.time()]
    tools = dataclasses.replace(tools, clock=lambda: now[0])
    rule = emulator.fault(kind="route_error", method="POST", path="/v1/files", status=status, message=message)
    assert rule
    job = open_job(a_request(tmp_path, some_rows(5)), tools)
    wait = job.advance()
    assert wait is not None
    assert 60 <= wait.until - now[0] <= 900
    assert emulator.state()["batches_created"] == 0
    emulator.clear_faults()
    now[0] = wait.until
    job.run()
    check_table(tmp_path, some_rows(5))


def test_creates_keep_to_the_rate_of_the_service(emulator: Emulator, tmp_path: Path) -> None:
    emulator.configure(progress="hold")
    tools = tools_for(emulator, {"service": {"creates": [2, 60]}})
    now = [time.time()]
    tools = dataclasses.replace(tools, clock=lambda: now[0])
    job = open_job(a_request(tmp_path, some_rows(50)), tools)
    for made in 2, 4, 5:
        wait = job.advance()
        assert emulator.state()["batches_created"] == made
        assert wait is not None
        if made < 5:
            assert wait.until == pytest.approx(now[0] + 60, abs=1)
        now[0] += 61


def test_a_service_without_cancel_is_not_asked_for_one(emulator: Emulator, tmp_path: Path) -> None:
    emulator.configure(progress="hold")
    tools = tools_for(emulator, {"service": {"takes_cancel": False, "name": "A gateway"}})
    job = open_job(a_request(tmp_path, some_rows(2)), tools)
    job.advance()
    (batch_id,) = job.ledger.active_ids
    with pytest.raises(ApiError, match=r"A gateway cannot cancel a batch\. It runs to its end, and is billed"):
        tools.client.cancel(batch_id)
    assert emulator.calls("POST", f"/v1/batches/{batch_id}/cancel") == []


def test_a_wrong_api_version_names_what_to_change(emulator: Emulator) -> None:
    emulator.configure(service="azure")
    text = "Unsupported api-version '1999-01-01'."
    emulator.fault(kind="route_error", path="/v1/batches", status=400, message=text)
    tools = tools_for(emulator, {"service": "azure"}, f"{emulator.root_url}/openai?api-version=1999-01-01")
    with pytest.raises(ApiError, match=r"Unsupported api-version '1999-01-01'\. Check the api-version in the base URL"):
        tools.client.account_check()
    with pytest.raises(ApiError, match="The server has no such address: check the base URL"):
        tools_for(emulator, {"service": "azure"}, f"{emulator.root_url}/v1").client.account_check()


def lines_of(path: Path) -> bytes:
    import gzip

    content = path.read_bytes()
    return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content


def test_the_row_of_a_service_is_taken_by_its_key_or_its_host() -> None:
    groq: Service | None = service_named("groq")
    assert ClientSettings("k", base_url="https://api.groq.com/openai/v1").service is groq
