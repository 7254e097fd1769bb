"""What a batch shows in each situation is what `docs/reference/emulator_and_service.md` says of the service."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai
import pytest

from airflow_provider_batch.emulator.testing import Emulator
from tests.emulator.support import CHAT, chat_body, chat_lines, client_of, ended, line, results, submit, until, upload

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "emulator_and_service.md").read_text()
LINES = chat_lines(4)
#: Times in the order in which they come, before one of the times of an end.
TIMES = ("created_at", "in_progress_at", "finalizing_at")
ENDS = ("completed_at", "failed_at", "expired_at", "cancelled_at")


def table(heading: str) -> dict[str, dict[str, str]]:
    """Return a table of the page, by its column and then by its row, without the numbers of notes."""
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = [
        [re.sub(r" \[\d\]$", "", cell.strip()).strip("`") for cell in row.strip("|").split("|")]
        for row in section.splitlines()
        if row.startswith("|") and not row.startswith("|-")
    ]
    head, *fields = rows
    return {name: {row[0]: row[at] for row in fields} for at, name in enumerate(head) if at}


def validating(client: openai.OpenAI, emulator: Emulator) -> str:
    emulator.configure(progress="hold")
    return str(submit(client, LINES).id)


def completed(client: openai.OpenAI, emulator: Emulator) -> str:
    return str(ended(client, submit(client, LINES).id).id)


def errors_only(client: openai.OpenAI, emulator: Emulator) -> str:
    emulator.fault(kind="http_error")
    return completed(client, emulator)


def failed(client: openai.OpenAI, emulator: Emulator) -> str:
    return str(ended(client, submit(client, [*LINES, {}]).id).id)


def expired(share: float) -> Callable[[openai.OpenAI, Emulator], str]:
    def run(client: openai.OpenAI, emulator: Emulator) -> str:
        emulator.fault(kind="expire", after=share)
        return completed(client, emulator)

    return run


def cancelled_in_validating(client: openai.OpenAI, emulator: Emulator) -> str:
    batch_id = validating(client, emulator)
    return cancelled(client, emulator, batch_id)


def cancelled(client: openai.OpenAI, emulator: Emulator, batch_id: str) -> str:
    assert client.batches.cancel(batch_id).status == "cancelling"
    emulator.configure(progress="immediate")
    return str(ended(client, batch_id).id)


def cancelled_in_progress(client: openai.OpenAI, emulator: Emulator) -> str:
    emulator.configure(progress="reads:3")
    batch_id = submit(client, LINES).id
    assert client.batches.retrieve(batch_id).request_counts.completed == 2
    return cancelled(client, emulator, batch_id)


def cancelled_in_finalizing(client: openai.OpenAI, emulator: Emulator) -> str:
    emulator.configure(finalizing_seconds=3600)
    batch_id = submit(client, LINES).id
    until(lambda: client.batches.retrieve(batch_id).status == "finalizing", "it finalizes")
    return cancelled(client, emulator, batch_id)


def of_2024(client: openai.OpenAI, emulator: Emulator) -> str:
    emulator.configure(batch_object="2024")
    return completed(client, emulator)


SITUATIONS: dict[str, Callable[[openai.OpenAI, Emulator], str]] = {
    "validating": validating,
    "completed": completed,
    "completed, errors only": errors_only,
    "failed": failed,
    "expired, some done": expired(0.5),
    "expired, none done": expired(0.0),
    "cancelled in validating": cancelled_in_validating,
    "cancelled in progress": cancelled_in_progress,
    "cancelled in finalizing": cancelled_in_finalizing,
    "completed, object of 2024": of_2024,
}


def shown(batch: dict[str, Any], field: str) -> str:
    """Return what a field holds, in the words of the page."""
    if field not in batch:
        return "absent"
    value = batch[field]
    if field == "request_counts":
        return f"{value['total']}/{value['completed']}/{value['failed']}"
    if field == "usage":
        return "sums" if value["total_tokens"] else "zeros"
    if field == "model" and value is not None:
        return "dated" if re.search(r"-\d{4}-\d\d-\d\d$", value) else value
    if field == "status":
        return str(value)
    return "null" if value is None else "set"


def as_sent(client: openai.OpenAI, batch_id: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(client.batches.with_raw_response.retrieve(batch_id).text)
    return found


def test_the_page_has_the_situations_of_this_test() -> None:
    assert set(table("Situations")) == set(SITUATIONS)


@pytest.mark.parametrize("situation", SITUATIONS)
def test_each_field_is_as_the_page_says(client: openai.OpenAI, emulator: Emulator, situation: str) -> None:
    batch_id = SITUATIONS[situation](client, emulator)
    batch, expected = as_sent(client, batch_id), table("Situations")[situation]
    done, left = results(client, batch["output_file_id"]), results(client, batch["error_file_id"])
    found = {field: shown(batch, field) for field in expected if not field.startswith("lines of")}
    found |= {"lines of the output file": str(len(done)), "lines of the error file": str(len(left))}
    assert found == expected
    named = {line["response"]["body"]["model"] for line in done.values()}
    assert named <= {batch.get("model", "gpt-4o-mini-2024-07-18")}
    tokens = sum(line["response"]["body"]["usage"]["total_tokens"] for line in done.values())
    assert "usage" not in batch or batch["usage"]["total_tokens"] == tokens


@pytest.mark.parametrize("situation", SITUATIONS)
def test_times_come_in_their_order_and_keys_in_theirs(
    client: openai.OpenAI, emulator: Emulator, situation: str
) -> None:
    batch = as_sent(client, SITUATIONS[situation](client, emulator))
    ends = [batch[name] for name in ENDS if batch[name] is not None]
    times = [batch[name] for name in TIMES if batch[name] is not None] + ends
    assert times == sorted(times)
    if (asked := batch["cancelling_at"]) is not None:
        assert (batch["in_progress_at"] or batch["created_at"]) <= asked <= times[-1]
    assert len(ends) == (0 if situation == "validating" else 1)
    assert batch["expires_at"] - batch["created_at"] == 86_400
    keys = PAGE.partition("```text\n")[2].partition("```")[0].split()
    absent = {"model", "usage"} if situation == "completed, object of 2024" else set()
    assert list(batch) == [key for key in keys if key not in absent]


def test_the_list_has_the_same_objects(client: openai.OpenAI, emulator: Emulator) -> None:
    emulator.configure(batch_object="2024")
    batch_id = of_2024(client, emulator)
    listed = json.loads(client.batches.with_raw_response.list().text)["data"]
    assert listed == [as_sent(client, batch_id)]
    created = client.batches.with_raw_response.create(
        input_file_id=upload(client, LINES), endpoint=CHAT, completion_window="24h"
    )
    assert {"model", "usage"}.isdisjoint(json.loads(created.text))


def test_the_model_keeps_its_name_where_answers_do(client: openai.OpenAI, emulator: Emulator) -> None:
    emulator.configure(dated_models=False)
    assert as_sent(client, completed(client, emulator))["model"] == "gpt-4o-mini"
    emulator.configure(dated_models=True)
    other = submit(client, [line("a", chat_body(model="a-model-of-mine"))])
    assert as_sent(client, ended(client, other.id).id)["model"] == "a-model-of-mine"


def test_a_cancel_while_the_file_is_read_comes_first(client: openai.OpenAI, emulator: Emulator) -> None:
    """Whenever the cancel call is answered with `cancelling` before `in_progress_at`, the batch is never validated."""
    for _ in range(5):
        batch_id = submit(client, chat_lines(3_000)).id
        cancelling = client.batches.cancel(batch_id)
        batch = as_sent(client, ended(client, batch_id).id)
        if cancelling.in_progress_at is None:
            assert (batch["status"], batch["in_progress_at"], batch["model"]) == ("cancelled", None, None)
            assert (shown(batch, "request_counts"), batch["error_file_id"]) == ("0/0/0", None)


def test_an_unknown_file_fails_the_batch_and_in_2024_the_call(client: openai.OpenAI, emulator: Emulator) -> None:
    given: dict[str, Any] = {"input_file_id": "../emulator.sqlite3", "endpoint": CHAT, "completion_window": "24h"}
    created = client.batches.create(**given)
    assert created.status == "validating"
    batch = ended(client, created.id)
    (error,) = batch.errors.data
    text = "Cannot find file ../emulator.sqlite3, or organization org-emulator does not have access to it."
    assert (error.code, error.message, error.param, error.line) == ("invalid_request", text, "file_id", None)
    emulator.configure(unknown_file="400")
    with pytest.raises(openai.BadRequestError) as caught:
        client.batches.create(**{**given, "input_file_id": "file-1"})
    assert caught.value.body == {
        "message": "Cannot find file file-1, or project proj_emulator does not have access to it.",
        "type": "invalid_request_error",
        "param": "file_id",
        "code": None,
    }
    assert emulator.state()["batches_created"] == 1
    assert (emulator.folder / "emulator.sqlite3").exists()


def test_a_deleted_file_is_unknown(client: openai.OpenAI, emulator: Emulator) -> None:
    emulator.configure(progress="hold", enqueued_token_limit=1_000, token_limit_answer="400")
    file_id = upload(client, LINES)
    client.batches.create(input_file_id=file_id, endpoint=CHAT, completion_window="24h")
    client.files.delete(file_id)  # the first batch still reads its bytes
    late = client.batches.create(input_file_id=file_id, endpoint=CHAT, completion_window="24h")
    emulator.configure(progress="immediate")
    assert ended(client, late.id).errors.data[0].message.startswith(f"Cannot find file {file_id}")


def test_a_list_of_supported_values_ends_in_and(client: openai.OpenAI) -> None:
    file_id = upload(client, LINES)
    with pytest.raises(openai.BadRequestError) as caught:
        client.batches.create(input_file_id=file_id, endpoint="/v1/invalid", completion_window="24h")  # type: ignore[arg-type]
    assert (
        "Invalid value: '/v1/invalid'. Supported values are: '/v1/chat/completions', '/v1/completions', "
        "'/v1/embeddings', '/v1/responses', '/v1/moderations', '/v1/images/generations', '/v1/images/edits', "
        "and '/v1/videos'." in str(caught.value)
    )
    with pytest.raises(openai.BadRequestError, match=r"Supported values are: '24h'\."):
        client.batches.create(input_file_id=file_id, endpoint=CHAT, completion_window="1h")  # type: ignore[arg-type]


@pytest.mark.parametrize("content", [b"", b"\n\n", b"no JSON\n[1]\n", b"\xff\xfe{\x00}\x00\n"])
def test_an_upload_without_a_line_of_json_is_a_400(client: openai.OpenAI, emulator: Emulator, content: bytes) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.files.create(file=("a.jsonl", content), purpose="batch")
    assert caught.value.body == {
        "message": "Invalid file format for Batch API. Must be .jsonl",
        "type": "invalid_request_error",
        "param": None,
        "code": None,
    }
    assert list((emulator.folder / "files").iterdir()) == []
    assert client.files.create(file=("a.txt", content), purpose="user_data").bytes == len(content)
    assert client.files.create(file=("a.jsonl", content + b"\n{}"), purpose="batch").id


def test_an_id_that_is_none_of_a_batch_is_a_400(client: openai.OpenAI) -> None:
    for call in (client.batches.retrieve, client.batches.cancel):
        with pytest.raises(openai.BadRequestError) as caught:
            call("file-1")
        text = "Invalid 'batch_id': 'file-1'. Expected an ID that begins with 'batch'."
        assert (caught.value.code, caught.value.param) == ("invalid_value", "batch_id")
        assert text in str(caught.value)


def test_an_expired_batch_is_finalizing_for_as_long_as_it_is_set_to(emulator: Emulator, client: openai.OpenAI) -> None:
    emulator.configure(expiring_seconds=3600)
    emulator.fault(kind="expire")
    batch = submit(client, LINES)
    until(lambda: client.batches.retrieve(batch.id).status == "finalizing", "it finalizes")
    found = client.batches.retrieve(batch.id)
    assert (found.expired_at, found.output_file_id) == (None, None)
    emulator.configure(clock_speed=3600_000)
    assert ended(client_of(emulator.base_url), batch.id).status == "expired"
