"""Extractor of `/v1/responses`."""

from __future__ import annotations

import binascii
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any

from airflow_provider_batch.results.extractors.answer import (
    FAILED,
    REFUSED,
    SUCCEEDED,
    TRUNCATED,
    Answer,
    empty_answer,
    no_answer,
)
from airflow_provider_batch.results.extractors.values import image_value, json_text, logprobs_of
from airflow_provider_batch.results.finish_reasons import is_completed
from airflow_provider_batch.results.lines.typed_bodies import OutputItem, ResponsesBody
from airflow_provider_batch.results.lines.typed_lines import ErrorInfo

#: Phases of messages that contain the answer; the SDK also knows `commentary`, for messages about the work.
_ANSWERING = (None, "final_answer")

#: Types of items that are no answer without a text; items of all other types, also of new ones, count as an answer.
_TEXT_ITEMS = ("message", "reasoning", None)

#: The input of a tool call; its name depends on the tool.
_call_inputs: Callable[[OutputItem], tuple[Any, ...]] = attrgetter(
    "arguments", "input", "action", "actions", "operation", "queries", "code"
)


def responses(body: ResponsesBody) -> Answer:
    """
    Extract the answer of `/v1/responses`, whose status can be `incomplete` or `failed` with HTTP status 200.

    :param body: The response body.
    """
    if not body.output and is_completed(body.status):
        return no_answer(body, "output")
    items = body.output or []
    messages = [item for item in items if item.type in ("message", None)]
    answering = [item for item in messages if item.phase in _ANSWERING] or messages
    final = final_message(answering)
    parts = [] if final is None else final.content or []
    texts = [part.text for part in parts if part.text is not None and part.type != "refusal"]
    refusals = [part.refusal for part in parts if part.refusal]
    reason = None if body.incomplete_details is None else body.incomplete_details.reason
    values = (
        "".join(texts) if texts else None,
        reason or body.status,
        "".join(refusals) or None,
        _reasoning(item for item in items if item.type == "reasoning" or _is_commentary(item, answering)),
        _output_calls(items),
        logprobs_of([token for part in parts for token in part.logprobs or ()]),
        body.id,
        _tool_images(items),
    )
    is_cut = final is not None and not is_completed(final.status)
    answer = _response_answer(body, reason, "".join(refusals), values, is_cut=is_cut)
    if answer.status == SUCCEEDED and not texts and all(item.type in _TEXT_ITEMS for item in items):
        return empty_answer("neither a text nor a tool call", values)
    return answer


def final_message(messages: Sequence[Any]) -> Any:
    """
    Return the message with the answer: the last complete message with a text or a refusal.

    If no such message is complete, return the last message with a text or a refusal; if none has one, the last message.
    The texts of several messages are never joined: an earlier message can be incomplete, a draft or a repetition.

    :param messages: The messages of the response without commentary, in order, each with `content` and `status`.
    :return: The message; None where there are no messages.
    """
    if len(messages) < 2:
        return messages[0] if messages else None
    filled = [message for message in messages if any(part.text or part.refusal for part in message.content or ())]
    completed = [message for message in filled if is_completed(message.status)]
    return (completed or filled or messages)[-1]


def _response_answer(
    body: ResponsesBody, reason: str | None, refusal: str, values: tuple[Any, ...], *, is_cut: bool
) -> Answer:
    status = (body.status or "").lower()
    if status == "incomplete":
        if reason == "content_filter":
            return Answer(REFUSED, reason, "A content filter withheld the answer.", values)
        return Answer(TRUNCATED, reason or "incomplete", "The response is incomplete.", values)
    if not is_completed(status):
        error = body.error or ErrorInfo()
        code = error.code or error.type or f"response_{status}"
        return Answer(FAILED, code, error.message or f"The response ended with the status {body.status!r}.", values)
    if is_cut:
        return Answer(TRUNCATED, "incomplete", "The message with the answer is incomplete.", values)
    if refusal:
        return Answer(REFUSED, "refusal", refusal, values)
    return Answer(SUCCEEDED, None, None, values)


def _is_commentary(item: OutputItem, answering: Sequence[OutputItem]) -> bool:
    return item.type in ("message", None) and item.phase not in _ANSWERING and item not in answering


def _reasoning(items: Iterable[OutputItem]) -> str | None:
    texts = [part.text for item in items for part in (*(item.summary or ()), *(item.content or ())) if part.text]
    return "\n\n".join(texts) or None


def _output_calls(items: Sequence[OutputItem]) -> list[Mapping[str, Any]] | None:
    calls: list[Mapping[str, Any]] = [
        {
            "id": item.call_id or item.id,
            "type": item.type,
            "name": item.name,
            "arguments": json_text(next((given for given in _call_inputs(item) if given is not None), None)),
        }
        for item in items
        if item.type is not None and (item.type.endswith("_call") or item.type == "mcp_approval_request")
    ]
    return calls or None


def _tool_images(items: Sequence[OutputItem]) -> list[dict[str, Any]] | None:
    """Return the images of the image tool; an image that is not base64 gets no file."""
    return [
        image_value(None, item.revised_prompt, _decoded(item.result))
        for item in items
        if item.type == "image_generation_call" and item.result
    ] or None


def _decoded(text: str) -> bytes | None:
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        return None
