"""Every fault does what its row in the table says, and nothing else."""

from __future__ import annotations

import json
import re
import time
from functools import partial
from typing import Any, get_args

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_batch.emulator import faults
from airflow_provider_batch.emulator.faults import FaultBook, FaultRule
from airflow_provider_batch.emulator.testing import Emulator
from tests.emulator.support import (
    CHAT,
    RESPONSES,
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


def message_of(result: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = result["response"]["body"]["choices"][0]
    return found


# Lines


def test_an_http_error_is_a_line_of_the_error_file(client: openai.OpenAI, emulator: Emulator) -> None:
    emulator.fault(kind="http_error", status=429, code="rate_limit_exceeded", message="Slow down.", custom_id="r2")
    batch = run(client, chat_lines(3))
    assert set(results(client, batch.output_file_id)) == {"r1", "r3"}
    (result,) = results(client, batch.error_file_id).values()
    assert (result["custom_id"], result["error"], result["response"]["status_code"]) == ("r2", None, 429)
    error = {"message": "Slow down.", "type": "requests", "param": None, "code": "rate_limit_exceeded"}
    assert result["response"]["body"] == {"error": error}
    counts = batch.request_counts
    assert (batch.status, counts.completed, counts.failed) == ("completed", 2, 1)
    assert emulator.state()["batches"][0]["billed"] == 2


def test_a_batch_whose_requests_all_failed_has_no_output_file(client: openai.OpenAI, emulator: Emulator) -> None:
    emulator.fault(kind="http_error")
    batch = run(client, chat_lines(3))
    assert (batch.status, batch.output_file_id, batch.request_counts.failed) == ("completed", None, 3)
    assert len(results(client, batch.error_file_id)) == 3


def test_an_error_status_can_be_in_the_output_file(client: openai.OpenAI, emulator: Emulator) -> None:
    emulator.fault(kind="http_error", status=0, file="output", line=1)
    batch = run(client, chat_lines(3))
    assert results(client, batch.output_file_id)["r1"]["response"]["status_code"] == 0
    assert batch.error_file_id is None


def test_a_response_has_several_messages(client: openai.OpenAI, emulator: Emulator) -> None:
    emulator.fault(kind="several_messages")
    batch = run(client, [line("r1", {"model": "gpt-4o-mini", "input": "Say much."}, RESPONSES)], RESPONSES)
    (result,) = results(client, batch.output_file_id).values()
    messages = [item for item in result["response"]["body"]["output"] if item["type"] == "message"]
    texts = [message["content"][0]["text"] for message in messages]
    assert [message["status"] for message in messages] == ["incomplete", "completed", "completed"]
    assert texts[1] == texts[2] != texts[0]
    assert texts[1].startswith(texts[0])


def test_a_line_has_no_reason_for_its_failure(client: openai.OpenAI, emulator: Emulator) -> None:
    emulator.fault(kind="silent_line", custom_id="r2")
    batch = run(client, chat_lines(3))
    (result,) = results(client, batch.error_file_id).values()
    assert (result["error"], result["response"]) == (None, {"status_code": 0, "request_id": "", "body": {}})
    assert emulator.state()["batches"][0]["billed"] == 2


def test_a_line_that_was_not_run_has_an_error_and_no_response(client: openai.OpenAI, emulator: Emulator) -> None:
    emulator.fault(kind="not_run", custom_id="r2")
    result = results(client, run(client, chat_lines(3)).error_file_id)["r2"]
    assert (result["response"], result["error"]["code"]) == (None, "request_timeout")


@pytest.mark.parametrize(
    ("kind", "finish", "text"),
    [("content_filter", "content_filter", ""), ("truncated", "length", None), ("refusal", "stop", None)],
)
def test_a_chat_answer_is_changed(
    client: openai.OpenAI, emulator: Emulator, kind: str, finish: str, text: str | None
) -> None:
    emulator.fault(kind=kind)
    choice = message_of(results(client, run(client, chat_lines(1)).output_file_id)["r1"])
    assert choice["finish_reason"] == finish
    assert text is None or choice["message"]["content"] == text
    assert (choice["message"]["refusal"] is not None) == (kind == "refusal")


@pytest.mark.parametrize("model", ["gpt-4o-mini", "o3"])
def test_an_answer_holds_nothing(client: openai.OpenAI, emulator: Emulator, model: str) -> None:
    emulator.fault(kind="no_content")
    choice = message_of(results(client, run(client, chat_lines(1)).output_file_id)["r1"])
    assert (choice["finish_reason"], choice["message"]["content"], choice["message"]["refusal"]) == ("stop", None, None)
    batch = run(client, [line("a", {"model": model, "input": "A cat."}, RESPONSES)], RESPONSES)
    body = results(client, batch.output_file_id)["a"]["response"]["body"]
    assert body["status"] == "completed"
    assert [item["content"] for item in body["output"] if item["type"] == "message"] == [[]]


@pytest.mark.parametrize(
    ("kind", "status", "reason"),
    [
        ("content_filter", "incomplete", "content_filter"),
        ("truncated", "incomplete", "max_output_tokens"),
        ("refusal", "completed", None),
    ],
)
def test_a_response_is_changed(
    client: openai.OpenAI, emulator: Emulator, kind: str, status: str, reason: str | None
) -> None:
    emulator.fault(kind=kind)
    batch = run(client, [line("a", {"model": "gpt-4o-mini", "input": "A cat."}, RESPONSES)], RESPONSES)
    body = results(client, batch.output_file_id)["a"]["response"]["body"]
    assert body["status"] == status
    assert (body["incomplete_details"] or {}).get("reason") == reason
    assert (body["output"][0]["content"][0]["type"] == "refusal") == (kind == "refusal")


def test_an_answer_can_be_given(client: openai.OpenAI, emulator: Emulator) -> None:
    emulator.fault(kind="answer", message="no JSON {")
    result = results(client, run(client, chat_lines(1)).output_file_id)["r1"]
    assert message_of(result)["message"]["content"] == "no JSON {"


def test_raw_separators_are_not_escaped(client: openai.OpenAI, emulator: Emulator) -> None:
    emulator.fault(kind="raw_separators", custom_id="r2")
    batch = run(client, chat_lines(3))
    raw = content(client, batch.output_file_id)
    for separator in ("\u2028", "\u2029", "\u0085"):
        assert raw.count(separator.encode()) == 1
    assert len(results(client, batch.output_file_id)) == 3
    assert len(raw.decode().splitlines()) == 6


@pytest.mark.parametrize("style", ["ascii", "compact"])
def test_half_an_emoji_is_an_escape(client: openai.OpenAI, emulator: Emulator, style: str) -> None:
    emulator.configure(result_style=style)
    emulator.fault(kind="lone_surrogate")
    raw = content(client, run(client, chat_lines(1)).output_file_id)
    assert rb"\ud83d" in raw
    raw.decode()


@pytest.mark.parametrize("style", ["ascii", "compact"])
def test_a_body_is_json_in_a_string(client: openai.OpenAI, emulator: Emulator, style: str) -> None:
    emulator.configure(result_style=style)
    emulator.fault(kind="body_as_string")
    body = results(client, run(client, chat_lines(1)).output_file_id)["r1"]["response"]["body"]
    assert json.loads(body)["object"] == "chat.completion"


def test_written_lines_are_changed(client: openai.OpenAI, emulator: Emulator) -> None:
    emulator.configure(shuffle=False)
    emulator.fault(kind="duplicate_line", line=1, count=2)
    emulator.fault(kind="blank_line", line=2)
    emulator.fault(kind="foreign_line", line=3)
    emulator.fault(kind="missing_line", line=4)
    emulator.fault(kind="broken_line", line=5)
    batch = run(client, chat_lines(6))
    lines = content(client, batch.output_file_id).split(b"\n")
    assert lines.pop() == b""
    ids = [re.search(rb'"custom_id": "([^"]*)"', one) for one in lines]
    shown = [found[1].decode()[:7] if found else "" for found in ids]
    assert shown == ["r1", "r1", "r1", "r2", "", "r3", "foreign", "r5", "r6"]
    with pytest.raises(ValueError, match=r"Expecting|Unterminated|delimiter"):
        json.loads(lines[-2])
    assert batch.error_file_id is None
    state = emulator.state()
    assert (state["batches"][0]["billed"], state["executions"]["billed"]) == (5, 5)


def test_a_line_fails_its_first_executions_and_then_succeeds(client: openai.OpenAI, emulator: Emulator) -> None:
    emulator.fault(kind="http_error", status=503, custom_id="r2", executions=2)
    failed = [run(client, chat_lines(3)).request_counts.failed for _ in range(3)]
    assert failed == [1, 1, 0]
    repeated = {one["custom_id"]: (one["attempts"], one["billed"]) for one in emulator.state()["repeated_executions"]}
    assert repeated == {"r1": (3, 3), "r2": (3, 1), "r3": (3, 3)}
    assert emulator.state()["executions"] == {"distinct_lines": 3, "executed": 9, "billed": 7, "billed_again": 4}


def test_a_share_of_lines_is_chosen_the_same_each_time(client: openai.OpenAI, emulator: Emulator) -> None:
    emulator.fault(kind="http_error", fraction=0.3, seed=1)
    chosen = [set(results(client, run(client, chat_lines(100)).error_file_id)) for _ in range(2)]
    assert chosen[0] == chosen[1]
    assert 15 < len(chosen[0]) < 45


def test_lines_are_chosen_by_text_batch_and_times(client: openai.OpenAI, emulator: Emulator) -> None:
    emulator.fault(kind="http_error", text="number 2.", metadata={"job": "a"}, times=1)
    assert run(client, chat_lines(3)).request_counts.failed == 0
    changed = run(client, chat_lines(3), metadata={"job": "a", "more": "b"})
    assert set(results(client, changed.error_file_id)) == {"r2"}
    assert run(client, chat_lines(3), metadata={"job": "a"}).request_counts.failed == 0


# Batches


def test_a_file_is_refused(client: openai.OpenAI, emulator: Emulator) -> None:
    emulator.fault(kind="refuse_file", code="billing_hard_limit_reached", message="No money.", nth=2)
    assert run(client, chat_lines(1)).status == "completed"
    (error,) = run(client, chat_lines(1)).errors.data
    assert (error.code, error.message, error.line) == ("billing_hard_limit_reached", "No money.", None)
    assert run(client, chat_lines(1)).status == "completed"


@pytest.mark.parametrize(("share", "done"), [(0.0, 0), (0.5, 4), (1.0, 8)])
def test_a_batch_expires_half_way(client: openai.OpenAI, emulator: Emulator, share: float, done: int) -> None:
    emulator.fault(kind="expire", after=share, times=1)
    batch = run(client, chat_lines(8))
    assert batch.status == "expired"
    assert len(results(client, batch.output_file_id)) == batch.request_counts.completed == done
    assert len(results(client, batch.error_file_id)) == 8 - done
    assert run(client, chat_lines(8)).status == "completed"


def test_a_batch_is_stuck(client: openai.OpenAI, emulator: Emulator) -> None:
    emulator.fault(kind="stuck", status_text="finalizing", seconds=0.4)
    begun = time.time()
    batch = submit(client, chat_lines(1))
    until(lambda: client.batches.retrieve(batch.id).status == "finalizing", "it is finalizing")
    ended(client, batch.id)
    assert time.time() - begun >= 0.4


@pytest.mark.parametrize("which", ["output", "error", "both"])
def test_a_file_id_never_appears(client: openai.OpenAI, emulator: Emulator, which: str) -> None:
    emulator.fault(kind="missing_output", file=which)
    emulator.fault(kind="http_error", line=1)
    batch = run(client, chat_lines(3))
    assert batch.request_counts.completed == 2
    assert (batch.output_file_id is None) == (which in ("output", "both"))
    assert (batch.error_file_id is None) == (which in ("error", "both"))


def test_an_output_file_appears_after_some_reads(client: openai.OpenAI, emulator: Emulator) -> None:
    emulator.configure(progress="reads:1")
    emulator.fault(kind="late_output", reads=2)
    batch = submit(client, chat_lines(1))
    seen = [client.batches.retrieve(batch.id) for _ in range(3)]
    assert [one.status for one in seen] == ["completed"] * 3
    assert [one.output_file_id is None for one in seen] == [True, True, False]


def output_of(client: openai.OpenAI, batch_id: str) -> str | None:
    return client.batches.retrieve(batch_id).output_file_id


def test_an_output_file_appears_after_some_seconds(client: openai.OpenAI, emulator: Emulator) -> None:
    # On a busy machine a short time may pass before the first poll.
    for seconds in (0.3, 3, 30):
        emulator.fault(id="late", kind="late_output", seconds=seconds)
        batch = run(client, chat_lines(1))
        if batch.output_file_id is None:
            assert until(partial(output_of, client, batch.id), "it appears")
            return
    raise AssertionError("the output file was always there at the end")


def test_null_file_ids_are_empty_strings(client: openai.OpenAI, emulator: Emulator) -> None:
    emulator.fault(kind="empty_string_file_ids")
    created = submit(client, chat_lines(1))
    assert (created.output_file_id, created.error_file_id) == ("", "")
    batch = ended(client, created.id)
    assert (bool(batch.output_file_id), batch.error_file_id) == (True, "")


def test_an_error_file_has_0_bytes(client: openai.OpenAI, emulator: Emulator) -> None:
    emulator.fault(kind="empty_error_file", times=1)
    batch = run(client, chat_lines(1))
    assert content(client, batch.error_file_id) == b""
    assert client.files.retrieve(batch.error_file_id).bytes == 0
    emulator.configure(always_error_file=True)
    assert run(client, chat_lines(1)).error_file_id


def test_a_result_file_has_another_form(client: openai.OpenAI, emulator: Emulator) -> None:
    for form in get_args(faults.ResultForm):
        emulator.fault(id="form", kind="result_form", form=form, file="both")
        emulator.fault(id="failure", kind="http_error", custom_id="r2")
        batch = run(client, chat_lines(3))
        assert {content(client, file)[:3] for file in (batch.output_file_id, batch.error_file_id)} == BEGINNINGS[form]
        assert batch.request_counts.completed == 2


BEGINNINGS = {
    "html": {b"<!D"},
    "json_array": {b"[\n "},
    "pretty": {b"{\n "},
    "gzip": {b"\x1f\x8b\x08"},
    "utf-16": {b"\xff\xfe{"},
    "byte_order_mark": {b"\xef\xbb\xbf"},
    "empty": {b""},
    "cut": {b'{"i', b""},
    "ids_trimmed": {b'{"i'},
    "ids_lower_case": {b'{"i'},
    "ids_elsewhere": {b'{"i'},
}


def test_a_batch_object_is_loose(client: openai.OpenAI, emulator: Emulator) -> None:
    emulator.fault(kind="loose_object")
    emulator.fault(kind="refuse_file", line=2, times=1)
    refused, done = (run(client, chat_lines(3)).to_dict(warnings=False) for _ in range(2))
    assert [error["line"] for error in refused["errors"]] == ["2"]
    assert refused["request_counts"] is None
    assert done["errors"] == ""
    assert done["request_counts"] == {"total": "3", "completed": "3", "failed": None}
    assert done["created_at"].endswith("+00:00")


def test_failures_are_counted_as_completed(client: openai.OpenAI, emulator: Emulator) -> None:
    emulator.fault(kind="miscount")
    emulator.fault(kind="http_error", custom_id="r2")
    counts = run(client, chat_lines(3)).request_counts
    assert (counts.total, counts.completed, counts.failed) == (3, 3, 0)


def test_the_counts_of_an_ended_batch_are_those_of_its_start(client: openai.OpenAI, emulator: Emulator) -> None:
    """Recorded: an expired batch of one line with an output file and the counts 1/0/0."""
    emulator.fault(kind="stale_counts")
    batch = run(client, chat_lines(1))
    counts = batch.request_counts
    assert (counts.total, counts.completed, counts.failed) == (1, 0, 0)
    assert set(results(client, batch.output_file_id)) == {"r1"}


def test_statuses_are_upper_case_or_unknown(client: openai.OpenAI, emulator: Emulator) -> None:
    emulator.configure(progress="reads:3")
    emulator.fault(kind="upper_case_status", nth=1)
    emulator.fault(kind="unknown_status", status_text="scheduling", reads=1, nth=2)
    first, second = submit(client, chat_lines(2)), submit(client, chat_lines(2))
    assert first.status == "VALIDATING"
    assert [client.batches.retrieve(first.id).status for _ in range(3)] == ["IN_PROGRESS", "FINALIZING", "COMPLETED"]
    assert second.status == "scheduling"
    assert [client.batches.retrieve(second.id).status for _ in range(3)] == ["scheduling", "finalizing", "completed"]


def test_a_batch_names_its_endpoint_shortly_or_not_at_all(client: openai.OpenAI, emulator: Emulator) -> None:
    emulator.fault(kind="null_endpoint", nth=1)
    emulator.fault(kind="short_endpoint", nth=2)
    assert [run(client, chat_lines(1)).endpoint for _ in range(2)] == [None, "/chat/completions"]


def test_a_batch_is_not_found_at_first(client: openai.OpenAI, emulator: Emulator) -> None:
    emulator.fault(kind="batch_not_found", reads=2)
    batch = submit(client, chat_lines(1))
    for _ in range(2):
        with pytest.raises(openai.NotFoundError):
            client.batches.retrieve(batch.id)
    assert client.batches.retrieve(batch.id).id == batch.id


def test_a_batch_is_late_in_the_list(client: openai.OpenAI, emulator: Emulator) -> None:
    emulator.fault(kind="late_in_list", reads=2, nth=1)
    emulator.fault(kind="late_in_list", seconds=1.0, nth=3, times=2)
    late, shown, *slow = (submit(client, chat_lines(1)).id for _ in range(4))
    listed = [[one.id for one in client.batches.list(limit=1).data] for _ in range(2)]
    assert listed == [[shown], [shown]]
    until(lambda: [one.id for one in client.batches.list().data] == [*slow[::-1], shown, late], "all are listed")
    assert client.batches.retrieve(late).id == late


def test_a_cancel_loses_the_race(client: openai.OpenAI, emulator: Emulator) -> None:
    emulator.configure(progress="hold")
    emulator.fault(kind="cancel_loses_race")
    batch = submit(client, chat_lines(3))
    assert client.batches.cancel(batch.id).status == "cancelling"
    emulator.configure(progress="immediate")
    batch = ended(client, batch.id)
    assert (batch.status, batch.request_counts.completed) == ("completed", 3)


def test_a_file_is_not_ready_for_its_first_creates(client: openai.OpenAI, emulator: Emulator) -> None:
    emulator.fault(kind="file_not_ready", count=2)
    file_id = upload(client, chat_lines(1))
    for _ in range(2):
        with pytest.raises(openai.BadRequestError, match="Cannot find file") as caught:
            client.batches.create(input_file_id=file_id, endpoint=CHAT, completion_window="24h")
        assert (caught.value.param, caught.value.code) == ("file_id", None)
        assert f"Cannot find file {file_id}, or project proj_emulator does not have access" in str(caught.value)
    assert client.batches.create(input_file_id=file_id, endpoint=CHAT, completion_window="24h").id
    assert emulator.state()["batches_created"] == 1


# Calls


def test_a_route_fails(client: openai.OpenAI, emulator: Emulator) -> None:
    emulator.fault(kind="route_error", method="GET", path="/v1/batches/*", status=503, retry_after=7, nth=2)
    batch = submit(client, chat_lines(1))
    client.batches.retrieve(batch.id)
    with pytest.raises(openai.InternalServerError) as caught:
        client.batches.retrieve(batch.id)
    assert caught.value.response.headers["retry-after"] == "7"
    client.batches.retrieve(batch.id)


def test_a_route_is_slow(client: openai.OpenAI, emulator: Emulator) -> None:
    emulator.fault(kind="slow_route", seconds=0.3, path="/v1/files", times=1)
    begun = time.monotonic()
    client.files.list()
    assert time.monotonic() - begun >= 0.3
    emulator.configure(latency=0.2)
    begun = time.monotonic()
    client.files.list()
    assert time.monotonic() - begun >= 0.2


def test_a_connection_is_dropped_and_has_no_effect(client: openai.OpenAI, emulator: Emulator) -> None:
    file_id = upload(client, chat_lines(1))
    emulator.fault(kind="drop_connection", method="POST", path="/v1/batches", times=1)
    with pytest.raises(openai.APIConnectionError):
        client.batches.create(input_file_id=file_id, endpoint=CHAT, completion_window="24h")
    assert emulator.state()["batches_created"] == 0
    assert client.batches.create(input_file_id=file_id, endpoint=CHAT, completion_window="24h").id


def test_an_answer_is_lost_after_the_call_has_its_effect(client: openai.OpenAI, emulator: Emulator) -> None:
    file_id = upload(client, chat_lines(1))
    emulator.fault(kind="lose_answer", method="POST", path="/v1/batches", times=1)
    with pytest.raises(openai.APIConnectionError):
        client.batches.create(input_file_id=file_id, endpoint=CHAT, completion_window="24h")
    (batch,) = emulator.state()["batches"]
    assert ended(client, batch["id"]).status == "completed"
    (call,) = emulator.calls("POST", "/v1/batches")
    assert (call["status"], call["fault"]) == (200, "lose_answer")


def test_the_sdk_pays_twice_when_it_retries_a_lost_create(emulator: Emulator) -> None:
    retrying = client_of(emulator.base_url).with_options(max_retries=2)
    file_id = upload(retrying, chat_lines(3))
    emulator.fault(kind="lose_answer", method="POST", path="/v1/batches", times=1)
    batch = retrying.batches.create(input_file_id=file_id, endpoint=CHAT, completion_window="24h")
    ended(retrying, batch.id)
    until(lambda: emulator.state()["executions"]["billed_again"] == 3, "both batches have run")
    assert emulator.state()["batches_created"] == 2


def test_an_upload_is_dropped(client: openai.OpenAI, emulator: Emulator) -> None:
    emulator.fault(kind="drop_connection", method="POST", path="/v1/files", times=1)
    with pytest.raises(openai.APIConnectionError):
        upload(client, chat_lines(500))
    assert client.files.list().data == []


@pytest.mark.parametrize("fields", [{"after": 0.5}, {"after_bytes": 1000}])
def test_a_download_is_cut_in_the_middle(
    client: openai.OpenAI, emulator: Emulator, fields: dict[str, float | int]
) -> None:
    batch = run(client, chat_lines(20))
    size = client.files.retrieve(batch.output_file_id).bytes
    emulator.fault(kind="cut_body", times=1, **fields)
    received = bytearray()

    def download() -> None:
        with client.files.with_streaming_response.content(batch.output_file_id) as response:
            for chunk in response.iter_bytes():
                received.extend(chunk)

    with pytest.raises(Exception, match=r"(?i)peer closed|incomplete|disconnect|reset|connection"):
        download()
    assert len(received) <= fields.get("after_bytes", size // 2)
    whole = content(client, batch.output_file_id)
    assert len(whole) == size
    assert whole.startswith(bytes(received))


# Rules


def test_a_file_is_pending_for_a_while(client: openai.OpenAI, emulator: Emulator) -> None:
    pending = {
        "id": "pending",
        "kind": "file_not_ready",
        "status": 409,
        "message": "{file} is not in a processed state.",
    }
    emulator.fault(**pending, seconds=3600)
    file_id = upload(client, chat_lines(1))
    assert client.files.retrieve(file_id).status == "pending"
    with pytest.raises(openai.ConflictError, match=f"{file_id} is not in a processed state"):
        client.with_options(max_retries=0).batches.create(input_file_id=file_id, endpoint=CHAT, completion_window="24h")
    emulator.fault(**pending, seconds=0)
    until(lambda: client.files.retrieve(file_id).status == "processed", "the file is processed")
    assert client.batches.create(input_file_id=file_id, endpoint=CHAT, completion_window="24h").id


def test_rules_are_listed_replaced_and_removed(emulator: Emulator) -> None:
    first = emulator.fault(kind="http_error", status=500)
    assert emulator.fault(id="mine", kind="not_run") == "mine"
    emulator.fault(id="mine", kind="refusal")
    assert [(rule["id"], rule["kind"]) for rule in emulator.faults()] == [(first, "http_error"), ("mine", "refusal")]
    emulator.clear_faults()
    assert emulator.faults() == []


def test_a_rule_that_makes_no_sense_is_refused(emulator: Emulator) -> None:
    with pytest.raises(ValueError, match="kind"):
        emulator.fault(kind="nonsense")
    with pytest.raises(ValueError, match="costom_id"):
        emulator.fault(kind="refusal", costom_id="r1")


def test_every_kind_has_a_row_in_the_table_and_a_test_here() -> None:
    kinds = {
        kind
        for literal in (faults.LineKind, faults.BatchKind, faults.CallKind, faults.CreateKind)
        for kind in get_args(literal)
    }
    rows = set(re.findall(r"^\| `(\w+)` \|", faults.__doc__ or "", re.MULTILINE))
    assert rows == kinds
    with open(__file__, encoding="utf-8") as own:
        text = own.read()
    assert {kind for kind in kinds if f'"{kind}"' not in text} == set()


@given(nth=st.none() | st.integers(1, 5), times=st.none() | st.integers(1, 5), matches=st.integers(1, 12))
def test_a_rule_acts_on_a_run_of_its_matches(nth: int | None, times: int | None, matches: int) -> None:
    book = FaultBook()
    rule = book.add(FaultRule(kind="refusal", nth=nth, times=times))
    acted = [number for number in range(1, matches + 1) if book.hit(rule)]
    first = nth or 1
    last = first + (times or (1 if nth else matches)) - 1
    assert acted == [number for number in range(1, matches + 1) if first <= number <= last]
