"""The official SDK drives every route, and gets the API's errors as its own exceptions."""

from __future__ import annotations

import base64
import json
import time
from functools import partial

import openai
import pytest

from airflow_provider_batch.emulator.testing import Emulator
from tests.emulator.support import (
    CHAT,
    EMBEDDINGS,
    RESPONSES,
    as_file,
    chat_body,
    chat_lines,
    client_of,
    content,
    ended,
    line,
    results,
    run,
    submit,
    until,
    upload,
)

ENDPOINTS = {
    RESPONSES: {"model": "gpt-4o-mini", "input": "A cat sat on the mat."},
    CHAT: chat_body(),
    EMBEDDINGS: {"model": "text-embedding-3-small", "input": "A cat sat on the mat."},
    "/v1/completions": {"model": "gpt-3.5-turbo-instruct", "prompt": "A cat sat on the mat."},
    "/v1/moderations": {"model": "omni-moderation-latest", "input": "I will kill you."},
    "/v1/images/generations": {"model": "gpt-image-1", "prompt": "A cat."},
    "/v1/images/edits": {"model": "gpt-image-1", "prompt": "A cat.", "images": [{"file_id": "file-1"}]},
    "/v1/videos": {"model": "sora-2", "prompt": "A cat."},
}


def test_a_file_is_uploaded_listed_read_and_deleted(client: openai.OpenAI) -> None:
    data = as_file(chat_lines(3))
    file = client.files.create(file=("rows.jsonl", data), purpose="batch")
    assert (file.object, file.purpose, file.filename, file.bytes) == ("file", "batch", "rows.jsonl", len(data))
    assert file.id.startswith("file-")
    assert client.files.retrieve(file.id) == file
    assert [one.id for one in client.files.list(purpose="batch")] == [file.id]
    assert client.files.content(file.id).content == data
    assert client.files.delete(file.id).deleted
    with pytest.raises(openai.NotFoundError, match="No such File object"):
        client.files.retrieve(file.id)
    with pytest.raises(openai.NotFoundError):
        client.files.content(file.id)
    with pytest.raises(openai.NotFoundError):
        client.files.delete(file.id)
    assert client.files.list().data == []


def test_files_are_listed_in_pages(client: openai.OpenAI) -> None:
    ids = [upload(client, chat_lines(1)) for _ in range(5)]
    page = client.files.list(limit=2)
    assert [one.id for one in page.data] == ids[:-3:-1]
    assert page.has_more
    assert [one.id for one in client.files.list(limit=2)] == ids[::-1]
    assert [one.id for one in client.files.list(limit=2, order="asc")] == ids


def test_a_file_goes_when_its_time_is_over(client: openai.OpenAI, emulator: Emulator) -> None:
    emulator.configure(clock_speed=7200)
    policy = {"anchor": "created_at", "seconds": 3600}
    file = client.files.create(file=("a.jsonl", b"{}\n"), purpose="batch", expires_after=policy)  # type: ignore[arg-type]
    assert file.expires_at is not None
    until(lambda: not client.files.list().data, "the file expires")
    with pytest.raises(openai.NotFoundError):
        client.files.content(file.id)


@pytest.mark.parametrize(
    ("form", "param"),
    [
        ({"purpose": "nothing"}, "purpose"),
        ({"purpose": "batch", "expires_after": {"anchor": "created_at", "seconds": 60}}, "expires_after.seconds"),
        ({"purpose": "batch", "expires_after": {"anchor": "now", "seconds": 3600}}, "expires_after.anchor"),
    ],
)
def test_an_upload_with_a_wrong_form_is_refused(client: openai.OpenAI, form: dict[str, object], param: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.files.create(file=("a.jsonl", b"{}\n"), **form)  # type: ignore[arg-type]
    assert caught.value.param == param


def test_an_upload_past_the_limit_is_refused_and_leaves_nothing(client: openai.OpenAI, emulator: Emulator) -> None:
    emulator.configure(max_upload_bytes=1000)
    with pytest.raises(openai.APIStatusError) as caught:
        client.files.create(file=("a.jsonl", b"x" * 1001), purpose="batch")
    assert caught.value.status_code == 413
    assert list((emulator.folder / "files").iterdir()) == []


def test_a_batch_goes_from_validating_to_completed(client: openai.OpenAI) -> None:
    created = submit(client, chat_lines(7), metadata={"job": "a"}, extra_headers={})
    assert created.status == "validating"
    assert created.id.startswith("batch_")
    assert len(created.id) == len("batch_") + 32
    assert created.expires_at == created.created_at + 86_400
    assert (created.request_counts.total, created.output_file_id, created.error_file_id) == (0, None, None)
    batch = ended(client, created.id)
    assert (batch.status, batch.metadata, batch.model) == ("completed", {"job": "a"}, "gpt-4o-mini-2024-07-18")
    assert batch.created_at <= batch.in_progress_at <= batch.finalizing_at <= batch.completed_at
    assert (batch.failed_at, batch.expired_at, batch.cancelled_at, batch.errors) == (None, None, None, None)
    counts = batch.request_counts
    assert (counts.total, counts.completed, counts.failed) == (7, 7, 0)
    assert batch.error_file_id is None


def test_results_are_the_real_lines_and_their_usage_sums_to_the_batch(client: openai.OpenAI) -> None:
    batch = run(client, chat_lines(50))
    raw = content(client, batch.output_file_id)
    found = results(client, batch.output_file_id)
    assert set(found) == {f"r{number}" for number in range(1, 51)}
    assert list(found) != [f"r{number}" for number in range(1, 51)]
    one = found["r7"]
    assert list(one) == ["id", "custom_id", "response", "error"]
    assert one["id"].startswith("batch_req_")
    assert one["error"] is None
    assert one["response"]["status_code"] == 200
    body = one["response"]["body"]
    assert body["model"] == "gpt-4o-mini-2024-07-18"
    assert "Text number 7" not in json.dumps(found["r8"])
    assert raw.split(b"\n")[0].decode() == json.dumps(json.loads(raw.split(b"\n")[0]))
    bodies = [result["response"]["body"] for result in found.values()]
    assert batch.usage.input_tokens == sum(body["usage"]["prompt_tokens"] for body in bodies) > 0
    assert batch.usage.output_tokens == sum(body["usage"]["completion_tokens"] for body in bodies) > 0
    output = client.files.retrieve(batch.output_file_id)
    assert (output.purpose, output.bytes) == ("batch_output", len(raw))


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_every_endpoint_runs(client: openai.OpenAI, endpoint: str) -> None:
    batch = run(client, [line("a", ENDPOINTS[endpoint], endpoint)], endpoint)
    assert batch.status == "completed"
    body = results(client, batch.output_file_id)["a"]["response"]["body"]
    expected = {
        RESPONSES: lambda: body["output"][0]["content"][0]["text"],
        CHAT: lambda: body["choices"][0]["message"]["content"],
        EMBEDDINGS: lambda: len(body["data"][0]["embedding"]) == 1536,
        "/v1/completions": lambda: body["choices"][0]["text"],
        "/v1/moderations": lambda: body["results"][0]["flagged"],
        "/v1/images/generations": lambda: base64.b64decode(body["data"][0]["b64_json"]).startswith(b"\x89PNG"),
        "/v1/images/edits": lambda: base64.b64decode(body["data"][0]["b64_json"]).startswith(b"\x89PNG"),
        "/v1/videos": lambda: body["id"].startswith("video_"),
    }
    assert expected[endpoint]()


def test_compact_results_are_utf8(client: openai.OpenAI, emulator: Emulator) -> None:
    emulator.configure(result_style="compact")
    batch = run(client, [line("a", chat_body("Ein Bär schläft."))])
    raw = content(client, batch.output_file_id)
    assert "Bär".encode() in raw
    assert b'"custom_id":"a"' in raw


def test_a_request_without_what_it_needs_is_a_400_in_the_error_file(client: openai.OpenAI) -> None:
    batch = run(client, [line("a", {"model": "text-embedding-3-small"}, EMBEDDINGS)], EMBEDDINGS)
    assert (batch.status, batch.output_file_id, batch.request_counts.failed) == ("completed", None, 1)
    response = results(client, batch.error_file_id)["a"]["response"]
    assert response["status_code"] == 400
    assert response["body"]["error"]["param"] == "input"


def test_batches_are_listed_newest_first_in_pages(client: openai.OpenAI) -> None:
    ids = [submit(client, chat_lines(1)).id for _ in range(5)]
    page = client.batches.list(limit=2)
    assert [one.id for one in page.data] == ids[:-3:-1]
    assert page.has_more
    assert [one.id for one in client.batches.list(limit=2)] == ids[::-1]
    last = client.batches.list(limit=2, after=ids[1])
    assert ([one.id for one in last.data], last.has_more) == ([ids[0]], False)


@pytest.mark.parametrize("limit", [0, 101])
def test_a_list_takes_a_limit_from_1_to_100(client: openai.OpenAI, limit: int) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.batches.list(limit=limit)
    assert caught.value.param == "limit"


def test_an_unknown_batch_is_a_404(client: openai.OpenAI) -> None:
    for call in (client.batches.retrieve, client.batches.cancel):
        with pytest.raises(openai.NotFoundError, match="No batch found with id 'batch_1'"):
            call("batch_1")


@pytest.mark.parametrize(
    ("change", "code", "param"),
    [
        ({"endpoint": None}, "missing_required_parameter", "endpoint"),
        ({"endpoint": "/v1/nothing"}, "invalid_value", "endpoint"),
        ({"endpoint": 7}, "invalid_type", "endpoint"),
        ({"completion_window": "1h"}, "invalid_value", "completion_window"),
        ({"metadata": {"a": 1}}, "invalid_type", "metadata.a"),
        ({"metadata": {"a": "x" * 513}}, "string_above_max_length", "metadata.a"),
        ({"metadata": {"x" * 65: "a"}}, "string_above_max_length", "metadata." + "x" * 65),
        ({"metadata": {str(n): "x" for n in range(17)}}, "object_above_max_properties", "metadata"),
        (
            {"output_expires_after": {"anchor": "created_at", "seconds": 1}},
            "integer_below_min_value",
            "output_expires_after.seconds",
        ),
    ],
)
def test_a_wrong_create_is_refused_at_once(
    client: openai.OpenAI, emulator: Emulator, change: dict[str, object], code: str, param: str
) -> None:
    given = {"input_file_id": upload(client, chat_lines(1)), "endpoint": CHAT, "completion_window": "24h", **change}
    body = {name: value for name, value in given.items() if value is not None}
    with pytest.raises(openai.BadRequestError) as caught:
        client.post("/batches", body=body, cast_to=object)
    assert (caught.value.code, caught.value.param) == (code, param)
    assert emulator.state()["batches_created"] == 0


def test_a_create_past_the_hourly_limit_gets_a_retry_after(client: openai.OpenAI, emulator: Emulator) -> None:
    emulator.configure(max_batches_per_hour=1)
    submit(client, chat_lines(1))
    with pytest.raises(openai.RateLimitError) as caught:
        submit(client, chat_lines(1))
    assert caught.value.response.headers["retry-after"] == "60"


def test_a_call_without_a_key_is_a_401(client: openai.OpenAI, emulator: Emulator) -> None:
    with pytest.raises(openai.AuthenticationError, match="You didn't provide an API key"):
        client.with_options(default_headers={"Authorization": ""}).files.list()
    emulator.configure(api_keys=["sk-good"])
    with pytest.raises(openai.AuthenticationError) as caught:
        client.files.list()
    assert caught.value.code == "invalid_api_key"
    assert client.with_options(api_key="sk-good").files.list().data == []


def test_an_unknown_route_has_the_error_envelope(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match=r"Invalid URL \(GET /v1/nothing\)"):
        client.get("/nothing", cast_to=object)


def test_the_synchronous_endpoints_answer_as_the_batch_does(client: openai.OpenAI) -> None:
    body = chat_body()
    batch = run(client, [line("a", body)])
    in_batch = results(client, batch.output_file_id)["a"]["response"]["body"]
    at_once = client.chat.completions.create(**body)
    assert at_once.choices[0].message.content == in_batch["choices"][0]["message"]["content"]
    assert client.responses.create(model="gpt-4o-mini", input="A cat.").output_text
    assert len(client.embeddings.create(model="text-embedding-3-small", input="A cat.").data[0].embedding) == 1536
    assert client.moderations.create(input="A cat.", model="omni-moderation-latest").results[0].flagged is False
    assert "gpt-4o-mini" in [model.id for model in client.models.list()]
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model="gpt-4o-mini", messages=[])


def test_a_batch_that_is_cancelled_keeps_what_was_done(client: openai.OpenAI, emulator: Emulator) -> None:
    emulator.configure(progress="reads:3")
    batch = submit(client, chat_lines(8))
    assert client.batches.retrieve(batch.id).request_counts.completed == 4
    cancelling = client.batches.cancel(batch.id)
    assert (cancelling.status, cancelling.cancelled_at) == ("cancelling", None)
    assert cancelling.cancelling_at is not None
    cancelled = client.batches.retrieve(batch.id)
    counts = cancelled.request_counts
    assert (cancelled.status, counts.total, counts.completed, counts.failed) == ("cancelled", 8, 4, 0)
    done, left = results(client, cancelled.output_file_id), results(client, cancelled.error_file_id)
    assert (len(done), len(left)) == (4, 4)
    assert set(done) | set(left) == {f"r{number}" for number in range(1, 9)}
    assert {one["error"]["code"] for one in left.values()} == {"batch_cancelled"}
    assert {one["response"] for one in left.values()} == {None}
    assert client.batches.cancel(batch.id).status == "cancelled"
    assert emulator.state()["batches"][0]["billed"] == 4


def test_a_batch_cancelled_while_validating_runs_nothing(client: openai.OpenAI, emulator: Emulator) -> None:
    emulator.configure(progress="hold")
    batch = submit(client, chat_lines(3))
    assert client.batches.cancel(batch.id).status == "cancelling"
    emulator.configure(progress="immediate")
    cancelled = ended(client, batch.id)
    assert (cancelled.status, cancelled.output_file_id, cancelled.error_file_id) == ("cancelled", None, None)
    state = emulator.state()
    assert (state["executions"]["billed"], state["cost_usd"]) == (0, "0")


def test_cancelling_lasts_as_long_as_it_is_set_to(client: openai.OpenAI, emulator: Emulator) -> None:
    emulator.configure(progress="seconds:600", cancelling_seconds=0.5)
    batch = submit(client, chat_lines(3))
    begun = time.monotonic()
    client.batches.cancel(batch.id)
    assert client.batches.retrieve(batch.id).status == "cancelling"
    assert ended(client, batch.id).status == "cancelled"
    assert time.monotonic() - begun >= 0.5


@pytest.mark.parametrize("status", ["completed", "failed", "expired"])
def test_a_batch_that_has_ended_cannot_be_cancelled(client: openai.OpenAI, emulator: Emulator, status: str) -> None:
    if status == "expired":
        emulator.fault(kind="expire")
    batch = run(client, [{}] if status == "failed" else chat_lines(2))
    assert batch.status == status
    with pytest.raises(openai.ConflictError, match=f"Cannot cancel a batch with status '{status}'"):
        client.batches.cancel(batch.id)


def test_a_batch_expires_by_the_clock_and_keeps_what_was_done(client: openai.OpenAI, emulator: Emulator) -> None:
    # On a busy machine nothing may be done before a batch expires: then it has longer.
    for seconds in (1, 5, 25, 125):
        emulator.configure(progress=f"seconds:{2 * seconds}", clock_speed=86_400 / seconds)
        batch = run(client, chat_lines(8))
        assert batch.status == "expired"
        assert batch.expired_at is not None
        done, left = results(client, batch.output_file_id), results(client, batch.error_file_id)
        assert (batch.request_counts.completed, batch.request_counts.failed) == (len(done), 0)
        assert len(done) + len(left) == 8
        assert {one["error"]["code"] for one in left.values()} == {"batch_expired"}
        if done:
            return
    raise AssertionError("nothing was ever done before a batch expired")


def test_progress_by_reads_shows_every_status(client: openai.OpenAI, emulator: Emulator) -> None:
    emulator.configure(progress="reads:4")
    batch = submit(client, chat_lines(9))
    seen = [client.batches.retrieve(batch.id) for _ in range(4)]
    assert [one.status for one in seen] == ["in_progress", "in_progress", "finalizing", "completed"]
    assert [one.request_counts.completed for one in seen] == [3, 6, 9, 9]
    assert (seen[2].output_file_id, seen[2].completed_at) == (None, None)
    again = submit(client, chat_lines(9))
    listed = [client.batches.list(limit=1).data[0] for _ in range(4)]
    assert [one.id for one in listed] == [again.id] * 4
    assert listed[-1].status == "completed"


def test_progress_by_seconds_moves_the_counts(client: openai.OpenAI, emulator: Emulator) -> None:
    # On a busy machine a second may pass between two polls: then the batch works for longer.
    counts = next(found for found in map(partial(polled, client, emulator), (1, 5, 25, 125)) if len(set(found)) > 2)
    assert counts == sorted(counts)


def polled(client: openai.OpenAI, emulator: Emulator, seconds: int) -> list[int]:
    """Run a batch for some seconds, and return the counts of completed requests as they were polled."""
    phases = {"validating_seconds": seconds / 5, "finalizing_seconds": seconds / 5}
    emulator.configure(progress=f"seconds:{seconds}", **phases)
    batch = submit(client, chat_lines(40))
    seen: list[tuple[str, int]] = []

    def has_ended() -> bool:
        now = client.batches.retrieve(batch.id)
        seen.append((now.status, now.request_counts.completed))
        return now.status == "completed"

    until(has_ended, "the batch completes")
    order = ["validating", "in_progress", "finalizing", "completed"]
    statuses = list(dict.fromkeys(status for status, _ in seen))
    assert statuses == [status for status in order if status in statuses]
    return [count for _, count in seen]


def test_the_output_expires_as_the_create_call_sets(client: openai.OpenAI) -> None:
    policy = {"anchor": "created_at", "seconds": 3600}
    batch = run(client, chat_lines(1), output_expires_after=policy)
    output = client.files.retrieve(batch.output_file_id)
    assert output.expires_at == pytest.approx(output.created_at + 3600, abs=1)


def test_deleting_the_input_of_a_running_batch_does_not_stop_it(client: openai.OpenAI, emulator: Emulator) -> None:
    emulator.configure(progress="hold")
    batch = submit(client, chat_lines(3))
    client.files.delete(batch.input_file_id)
    emulator.configure(progress="immediate")
    assert ended(client, batch.id).request_counts.completed == 3
    until(lambda: not (emulator.folder / "files" / batch.input_file_id).exists(), "its bytes go")


async def test_the_asynchronous_sdk_drives_the_same_routes(emulator: Emulator) -> None:
    async with openai.AsyncOpenAI(base_url=emulator.base_url, api_key="any", max_retries=0) as client:
        file = await client.files.create(file=("a.jsonl", as_file(chat_lines(3))), purpose="batch")
        created = await client.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h")
        batch = created
        while batch.status not in ("completed", "failed"):
            batch = await client.batches.retrieve(created.id)
        assert [one.id async for one in client.batches.list()] == [batch.id]
        assert len((await client.files.content(batch.output_file_id or "")).content.splitlines()) == 3
        with pytest.raises(openai.ConflictError):
            await client.batches.cancel(batch.id)
        with pytest.raises(openai.NotFoundError):
            await client.batches.retrieve("batch_1")
        assert (await client.files.delete(file.id)).deleted


def test_routes_answer_while_a_batch_runs(client: openai.OpenAI) -> None:
    batch = submit(client, chat_lines(4_000))
    seen = set()
    while (found := client.batches.retrieve(batch.id)).status != "completed":
        assert found.request_counts is not None
        seen.add(found.request_counts.completed)
    assert len(seen) >= 3  # it was asked in the middle of its work, more than once


def test_the_sdk_retries_what_the_server_says_may_be_retried(emulator: Emulator) -> None:
    emulator.fault(kind="route_error", status=429, retry_after=0.01, path="/v1/files", times=1)
    assert client_of(emulator.base_url).with_options(max_retries=1).files.list().data == []
    assert [call["status"] for call in emulator.calls()] == [429, 200]


def test_a_model_shows_its_last_day_and_is_gone_after_it(client: openai.OpenAI, emulator: Emulator) -> None:
    emulator.configure(shutdown_dates={"old": "2026-09-24", "new": "2099-01-14"})
    assert client.models.retrieve("new").shutdown_date == "2099-01-14"
    assert client.models.retrieve("another").shutdown_date is None
    assert "old" not in {model.id for model in client.models.list()}
    with pytest.raises(openai.NotFoundError, match="has been deprecated"):
        client.models.retrieve("old")
    lines = [{**line, "body": {**line["body"], "model": "old"}} for line in chat_lines(1)]
    (refusal,) = run(client, lines).errors.data
    assert (refusal.code, refusal.param) == ("model_not_found", "body.model")
