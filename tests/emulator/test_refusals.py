"""What is wrong with an input file ends as `failed`, with the API's codes, texts and line numbers."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from airflow_provider_batch.emulator.testing import Emulator
from tests.emulator.support import CHAT, EMBEDDINGS, RESPONSES, chat_body, chat_lines, ended, line, run, submit, until

GOOD = line("good", chat_body())


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in line("a", chat_body()).items() if key != name}


@pytest.mark.parametrize(
    ("bad", "code", "message", "param"),
    [
        (b"{not json\n", "invalid_json_line", "This line is not parseable as valid JSON.", None),
        (b'"\xff"\n', "invalid_json_line", "This line is not parseable as valid JSON.", None),
        (b"[1]\n", "invalid_json_line", "This line is not parseable as valid JSON.", None),
        (b"\n", "invalid_json_line", "This line is not parseable as valid JSON.", None),
        *[
            (without(name), "missing_required_parameter", f"Missing required parameter: '{name}'.", name)
            for name in ("custom_id", "method", "url", "body")
        ],
        (
            line("good", chat_body()),
            "duplicate_custom_id",
            "The custom_id 'good' for this request is a duplicate of another request. The custom_id parameter must be "
            "unique for each request in a batch.",
            "custom_id",
        ),
        (
            line("a", chat_body(model="gpt-4o")),
            "mismatched_model",
            "The model 'gpt-4o' for this request does not match the rest of the batch. Each batch must contain "
            "requests for a single model.",
            "body.model",
        ),
        (
            line("a", chat_body(), RESPONSES),
            "invalid_url",
            "The URL provided for this request does not match the batch endpoint.",
            "url",
        ),
        (
            line("a", chat_body(stream=True)),
            "streaming_unsupported",
            "Chat Completions: Streaming is not supported in the Batch API.",
            "body.stream",
        ),
        (line("a", {"messages": [1]}), "invalid_request", "Model parameter is required.", "body.model"),
        (line("a", {"model": "gpt-4o-mini"}), "invalid_request", "Messages parameter is required.", "body.messages"),
    ],
)
def test_a_bad_line_is_named(
    client: openai.OpenAI, emulator: Emulator, bad: Any, code: str, message: str, param: str | None
) -> None:
    batch = run(client, [GOOD, bad, line("other", chat_body())])
    assert (batch.status, batch.errors.object) == ("failed", "list")
    assert [(e.code, e.message, e.param, e.line) for e in batch.errors.data] == [(code, message, param, 2)]
    assert batch.failed_at is not None
    assert (batch.in_progress_at, batch.output_file_id, batch.error_file_id) == (None, None, None)
    assert batch.request_counts.total == 0
    assert emulator.state()["executions"]["executed"] == 0


def test_a_wrong_method_is_refused(client: openai.OpenAI) -> None:
    batch = run(client, [{**GOOD, "method": "GET"}])
    assert [(error.param, error.line) for error in batch.errors.data] == [("method", 1)]


def test_every_bad_line_has_an_entry(client: openai.OpenAI) -> None:
    batch = run(client, [b"{\n", GOOD, GOOD, line("b", {})])
    assert [(error.line, error.code) for error in batch.errors.data] == [
        (1, "invalid_json_line"),
        (3, "duplicate_custom_id"),
        (4, "invalid_request"),
    ]


def test_an_empty_file_that_was_not_checked_at_its_upload_is_refused(client: openai.OpenAI, emulator: Emulator) -> None:
    emulator.configure(checks_uploads=False)
    (error,) = run(client, []).errors.data
    text = "The input file is empty. Please ensure that the batch contains at least one request."
    assert (error.code, error.message, error.line) == ("empty_file", text, None)


def test_a_byte_order_mark_is_no_json(client: openai.OpenAI) -> None:
    (error,) = run(client, [b"\xef\xbb\xbf" + b'{"custom_id": "a"}\n', GOOD]).errors.data
    assert (error.code, error.line) == ("invalid_json_line", 1)


def test_a_model_that_is_not_offered_is_refused(client: openai.OpenAI, emulator: Emulator) -> None:
    emulator.configure(models=["gpt-4o"])
    (error,) = run(client, [GOOD]).errors.data
    text = "The provided model 'gpt-4o-mini' is not supported by the Batch API."
    assert (error.code, error.message, error.param) == ("model_not_found", text, "body.model")


def test_too_many_requests_are_refused(client: openai.OpenAI, emulator: Emulator) -> None:
    emulator.configure(max_requests=3)
    assert run(client, chat_lines(3)).status == "completed"
    assert run(client, chat_lines(4)).errors.data[0].code == "too_many_tasks"


def test_too_large_a_file_is_refused(client: openai.OpenAI, emulator: Emulator) -> None:
    emulator.configure(max_file_bytes=100)
    assert run(client, [GOOD]).errors.data[0].code == "file_too_large"


def test_the_elements_of_an_embedding_input_count(client: openai.OpenAI, emulator: Emulator) -> None:
    emulator.configure(max_embedding_inputs=4)
    body = {"model": "text-embedding-3-small"}
    fits = [line("a", {**body, "input": ["x", "y", "z"]}, EMBEDDINGS), line("b", {**body, "input": "x"}, EMBEDDINGS)]
    assert run(client, fits, EMBEDDINGS).status == "completed"
    tokens = line("c", {**body, "input": [1, 2, 3, 4, 5, 6]}, EMBEDDINGS)
    assert run(client, [tokens], EMBEDDINGS).status == "completed"
    assert run(client, [*fits, line("c", {**body, "input": "x"}, EMBEDDINGS)], EMBEDDINGS).status == "failed"


def test_enqueued_tokens_of_a_model_are_capped_until_a_batch_ends(client: openai.OpenAI, emulator: Emulator) -> None:
    emulator.configure(progress="seconds:600", enqueued_token_limit=150)
    first = submit(client, chat_lines(10))
    refused = ended(client, submit(client, chat_lines(10)).id)
    text = (
        "Enqueued token limit reached for gpt-4o-mini in organization org-emulator. Limit: 150 enqueued tokens. "
        "Please try again once some in_progress batches have been completed."
    )
    assert [(error.code, error.message) for error in refused.errors.data] == [("token_limit_exceeded", text)]
    other = submit(client, [{**one, "body": {**one["body"], "model": "gpt-4o"}} for one in chat_lines(10)])
    until(lambda: client.batches.retrieve(other.id).status == "in_progress", "the other model has room")
    emulator.configure(progress="immediate")
    assert ended(client, first.id).status == ended(client, other.id).status == "completed"
    assert run(client, chat_lines(10)).status == "completed"
    emulator.configure(enqueued_token_limit={"gpt-4o": 1})
    assert run(client, chat_lines(10)).status == "completed"


@pytest.mark.parametrize("status", ["400", "429"])
def test_the_create_call_can_report_the_token_limit(client: openai.OpenAI, emulator: Emulator, status: str) -> None:
    emulator.configure(enqueued_token_limit=10, token_limit_answer=status)
    with pytest.raises(openai.APIStatusError) as caught:
        submit(client, chat_lines(10))
    assert (caught.value.status_code, caught.value.code) == (int(status), "token_limit_exceeded")
    assert emulator.state()["batches_created"] == 0


def test_a_file_of_another_purpose_is_refused(client: openai.OpenAI) -> None:
    file = client.files.create(file=("a.jsonl", b"{}\n"), purpose="user_data")
    with pytest.raises(openai.BadRequestError):
        client.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h")
