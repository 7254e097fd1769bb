"""The finish reasons of the API and of other services."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from airflow_provider_batch.answers.answer import Answer
from airflow_provider_batch.answers.endpoints.chat_completions import ChatBody
from airflow_provider_batch.answers.endpoints.chat_completions import chat as extract_chat
from airflow_provider_batch.answers.endpoints.responses import ResponsesBody, responses


def chat(**choice: Any) -> Answer:
    return extract_chat(msgspec.convert({"choices": [choice]}, ChatBody))


@pytest.mark.parametrize(
    ("reason", "status", "code"),
    [
        ("stop", "succeeded", None),
        ("STOP", "succeeded", None),
        (None, "succeeded", None),
        ("a word of tomorrow", "succeeded", None),
        ("length", "truncated", "length"),
        ("LENGTH", "truncated", "length"),
        ("max_tokens", "truncated", "length"),
        ("MAX_TOKENS", "truncated", "length"),
        ("model_length", "truncated", "length"),
        ("abort", "truncated", "abort"),
        ("error", "truncated", "error"),
        ("content_filter", "refused", "content_filter"),
        ("SAFETY", "refused", "content_filter"),
    ],
)
def test_an_incomplete_answer_is_recognised_by_any_finish_reason(reason: Any, status: str, code: Any) -> None:
    found = chat(finish_reason=reason, message={"content": "Hi"})
    assert (found.status, found.error_code) == (status, code)
    assert found.values is not None
    assert found.values[:2] == ("Hi", reason)


def test_a_choice_without_a_message_is_no_answer() -> None:
    for choice in ({"finish_reason": "stop", "message": None}, {"text": "a completion"}):
        found = chat(**choice)
        assert (found.status, found.error_code) == ("failed", "no_answer")


@pytest.mark.parametrize(("status", "ended"), [("COMPLETED", "succeeded"), ("INCOMPLETE", "truncated")])
def test_the_status_of_a_response_may_be_in_capitals(status: str, ended: str) -> None:
    message = {"type": "message", "status": status, "content": [{"type": "output_text", "text": "Hi"}]}
    body = msgspec.convert({"status": status, "output": [message]}, ResponsesBody)
    assert responses(body).status == ended
