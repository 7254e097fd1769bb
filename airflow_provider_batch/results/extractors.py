"""
Extract the row's status and the values of the endpoint's columns from a response body; one extractor per endpoint.

An extractor gets the body of a request with HTTP status 2xx. It returns the values in the order of
`table.columns.ENDPOINT_COLUMNS`. An incomplete answer is `truncated` and keeps its text, a withheld one is `refused`,
and a body without an answer is `failed`, with the missing field in its message. An empty text is an answer; null is an
answer only beside a tool call, audio or an image.
"""

from __future__ import annotations

import binascii
import json
import math
import sys
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import zip_longest
from operator import attrgetter
from typing import Any

from msgspec import Struct

from airflow_provider_batch.api.endpoints import Endpoint
from airflow_provider_batch.arrow.utf8 import scrub
from airflow_provider_batch.results.finish_reasons import ending_of, is_completed
from airflow_provider_batch.results.lines import typed_lines

SUCCEEDED, FAILED, REFUSED, TRUNCATED = "succeeded", "failed", "refused", "truncated"
#: Error code of a successful request whose body contains no answer.
NO_ANSWER = "no_answer"
#: Error code of an unreadable line, or of an unreadable image; the line is stored in the file of unreadable lines.
UNREADABLE = "unreadable_line"
#: Phases of messages that contain the answer; the SDK also knows `commentary`, for messages about the work.
_ANSWERING = (None, "final_answer")
#: Types of items that are no answer without a text; items of all other types, also of new ones, count as an answer.
_TEXT_ITEMS = ("message", "reasoning", None)


class Answer(Struct, gc=False):
    """
    Status of a row, and the values of the endpoint's columns.

    :param status: Status of the row, such as "succeeded".
    :param error_code: Error code; None for a success.
    :param error_message: Error message; None for a success.
    :param values: Values of the endpoint's columns, in order; None where there is no answer.
    """

    status: str
    error_code: str | None
    error_message: str | None
    values: tuple[Any, ...] | None


def no_answer(body: typed_lines.Body, what: str) -> Answer:
    """
    Return a failed answer for a body without an answer, with the error in the body where it has one.

    :param body: The response body.
    :param what: The missing field, for the message.
    """
    if body.error is not None and (body.error.message or body.error.code):
        return Answer(FAILED, body.error.code or body.error.type or "error_in_body", body.error.message, None)
    return Answer(FAILED, NO_ANSWER, f"The request succeeded, but its body has no {what}.", None)


def empty_answer(what: str, values: tuple[Any, ...]) -> Answer:
    """
    Return a failed answer for a complete body with an empty answer; the values of its columns are kept.

    :param what: The missing content, for the message.
    :param values: Values of the endpoint's columns, in order.
    """
    return Answer(FAILED, NO_ANSWER, f"The request succeeded, but its answer has {what}.", values)


# Chat completions and completions


def chat(body: typed_lines.ChatBody) -> Answer:
    """
    Extract the answer of `/v1/chat/completions`.

    :param body: The response body.
    """
    if not body.choices:
        return no_answer(body, "choices")
    first = body.choices[0]
    if all(choice.message is None for choice in body.choices):
        return no_answer(body, "message")
    message = first.message or typed_lines.Message()
    values = (
        _message_text(message),
        first.finish_reason,
        message.refusal,
        message.reasoning_content or message.reasoning,
        _message_calls(message),
        None if first.logprobs is None else _logprobs(first.logprobs.content or first.logprobs.refusal),
        None if len(body.choices) == 1 else [_chat_choice(choice) for choice in body.choices],
    )
    return _chat_answer(first.finish_reason, message.refusal, values, is_empty=all(map(_is_empty, body.choices)))


def completion(body: typed_lines.CompletionBody) -> Answer:
    """
    Extract the answer of `/v1/completions`.

    :param body: The response body.
    """
    if not body.choices:
        return no_answer(body, "choices")
    first = body.choices[0]
    choices = [
        {
            "index": choice.index,
            "text": choice.text,
            "finish_reason": choice.finish_reason,
            "logprobs": _completion_logprobs(choice.logprobs),
        }
        for choice in body.choices
    ]
    values = (
        first.text,
        first.finish_reason,
        _completion_logprobs(first.logprobs),
        None if len(choices) == 1 else choices,
    )
    is_empty = all(choice.text is None for choice in body.choices)
    return _chat_answer(first.finish_reason, None, values, is_empty=is_empty)


def _chat_answer(finish_reason: str | None, refusal: str | None, values: tuple[Any, ...], *, is_empty: bool) -> Answer:
    if (ending := ending_of(finish_reason)) is not None:
        return Answer(*ending, values)
    if refusal:
        return Answer(REFUSED, "refusal", refusal, values)
    if is_empty:
        return empty_answer("neither a text nor a tool call: its content is null", values)
    return Answer(SUCCEEDED, None, None, values)


def _chat_choice(choice: typed_lines.ChatChoice) -> Mapping[str, Any]:
    message = choice.message or typed_lines.Message()
    return {
        "index": choice.index,
        "text": _message_text(message),
        "finish_reason": choice.finish_reason,
        "logprobs": None if choice.logprobs is None else _logprobs(choice.logprobs.content or choice.logprobs.refusal),
        "refusal": message.refusal,
        "reasoning": message.reasoning_content or message.reasoning,
        "tool_calls": _message_calls(message),
    }


def _is_empty(choice: typed_lines.ChatChoice) -> bool:
    """Return whether a choice has no answer; reasoning alone is no answer."""
    message = choice.message
    if message is None:
        return True
    has_call = message.tool_calls or message.function_call is not None
    return message.content is None and not message.refusal and not has_call and message.audio is None


def _message_text(message: typed_lines.Message) -> str | None:
    return message.audio.transcript if message.content is None and message.audio else message.content


def _message_calls(message: typed_lines.Message) -> list[Mapping[str, Any]] | None:
    """Return the tool calls of a message; `function_call` is the older form of a single call."""
    if message.function_call is not None and not message.tool_calls:
        return tool_calls([typed_lines.ToolCall(type="function", function=message.function_call)])
    return tool_calls(message.tool_calls)


def tool_calls(calls: Sequence[typed_lines.ToolCall] | None) -> list[Mapping[str, Any]] | None:
    """
    Return the values of the column `tool_calls` for a chat message, or None where it has no calls.

    :param calls: The tool calls of the message.
    """
    if not calls:
        return None
    listed: list[Mapping[str, Any]] = []
    for call in calls:
        called = call.function or call.custom or typed_lines.Function()
        arguments = called.input if called.arguments is None else called.arguments
        listed.append({"id": call.id, "type": call.type, "name": called.name, "arguments": _json_text(arguments)})
    return listed


def _json_text(value: Any) -> str | None:
    """Return text unchanged and other values as JSON, because some tools and servers return arguments as an object."""
    if value is None or isinstance(value, str):
        return value
    return scrub(json.dumps(value, ensure_ascii=False))


def _logprobs(tokens: Sequence[typed_lines.TokenLogprob] | None) -> list[Mapping[str, Any]] | None:
    if not tokens:
        return None
    return [
        {
            "token": token.token,
            "logprob": token.logprob,
            "top_logprobs": [{"token": top.token, "logprob": top.logprob} for top in token.top_logprobs or ()],
        }
        for token in tokens
    ]


def _completion_logprobs(logprobs: typed_lines.CompletionLogprobs | None) -> list[Mapping[str, Any]] | None:
    if logprobs is None or not logprobs.tokens:
        return None
    chances, tops = logprobs.token_logprobs or [], logprobs.top_logprobs or []
    return [
        {"token": token, "logprob": chance, "top_logprobs": _top_logprobs(top)}
        for token, chance, top in zip_longest(logprobs.tokens, chances, tops)
        if token is not None
    ]


def _top_logprobs(top: Mapping[str, float | None] | None) -> list[Mapping[str, Any]] | None:
    return None if top is None else [{"token": token, "logprob": chance} for token, chance in top.items()]


# Responses


def responses(body: typed_lines.ResponsesBody) -> Answer:
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
        _logprobs([token for part in parts for token in part.logprobs or ()]),
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
    body: typed_lines.ResponsesBody, reason: str | None, refusal: str, values: tuple[Any, ...], *, is_cut: bool
) -> Answer:
    status = (body.status or "").lower()
    if status == "incomplete":
        if reason == "content_filter":
            return Answer(REFUSED, reason, "A content filter withheld the answer.", values)
        return Answer(TRUNCATED, reason or "incomplete", "The response is incomplete.", values)
    if not is_completed(status):
        error = body.error or typed_lines.ErrorInfo()
        code = error.code or error.type or f"response_{status}"
        return Answer(FAILED, code, error.message or f"The response ended with the status {body.status!r}.", values)
    if is_cut:
        return Answer(TRUNCATED, "incomplete", "The message with the answer is incomplete.", values)
    if refusal:
        return Answer(REFUSED, "refusal", refusal, values)
    return Answer(SUCCEEDED, None, None, values)


def _is_commentary(item: typed_lines.OutputItem, answering: Sequence[typed_lines.OutputItem]) -> bool:
    return item.type in ("message", None) and item.phase not in _ANSWERING and item not in answering


def _reasoning(items: Iterable[typed_lines.OutputItem]) -> str | None:
    texts = [part.text for item in items for part in (*(item.summary or ()), *(item.content or ())) if part.text]
    return "\n\n".join(texts) or None


#: The input of a tool call; its name depends on the tool.
_call_inputs: Callable[[typed_lines.OutputItem], tuple[Any, ...]] = attrgetter(
    "arguments", "input", "action", "actions", "operation", "queries", "code"
)


def _output_calls(items: Sequence[typed_lines.OutputItem]) -> list[Mapping[str, Any]] | None:
    calls: list[Mapping[str, Any]] = [
        {
            "id": item.call_id or item.id,
            "type": item.type,
            "name": item.name,
            "arguments": _json_text(next((given for given in _call_inputs(item) if given is not None), None)),
        }
        for item in items
        if item.type is not None and (item.type.endswith("_call") or item.type == "mcp_approval_request")
    ]
    return calls or None


def _tool_images(items: Sequence[typed_lines.OutputItem]) -> list[dict[str, Any]] | None:
    """Return the images of the image tool; an image that is not base64 gets no file."""
    return [
        _image(None, item.revised_prompt, _decoded(item.result))
        for item in items
        if item.type == "image_generation_call" and item.result
    ] or None


def _decoded(text: str) -> bytes | None:
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        return None


def _image(url: str | None, revised_prompt: str | None, data: bytes | None) -> dict[str, Any]:
    """Return an image for `media.py`, which stores `data` as a file and sets its path."""
    return {"url": url, "file": None, "revised_prompt": revised_prompt, "data": data}


# Embeddings


def embeddings(size: int | None) -> Callable[[typed_lines.EmbeddingsBody], Answer]:
    """
    Return the extractor of `/v1/embeddings` for embeddings of one size.

    :param size: Numbers in each embedding; None to accept every size.
    """

    def read(body: typed_lines.EmbeddingsBody) -> Answer:
        if not body.data:
            return no_answer(body, "data")
        items = body.data
        if len(items) > 1 and all(item.index is not None for item in items):
            items = sorted(items, key=lambda item: item.index or 0)
        vectors = [vector_bytes(item.embedding) for item in items]
        for vector in vectors:
            if vector is None or len(vector) % 4 or (size is not None and len(vector) != 4 * size):
                return _invalid_vector(vector, size)
        values = (vectors[0], None) if len(vectors) == 1 else (None, vectors)
        return Answer(SUCCEEDED, None, None, values)

    return read


def vector_bytes(embedding: Any) -> bytes | None:
    """
    Return an embedding as the bytes of 32-bit floats in the byte order of the machine, or None where it is empty.

    :param embedding: List of numbers, or bytes of little-endian 32-bit floats.
    """
    if not embedding:
        return None
    if isinstance(embedding, list):
        return array("f", embedding).tobytes()
    if sys.byteorder == "big":
        swapped = array("f", embedding)
        swapped.byteswap()
        return swapped.tobytes()
    return bytes(embedding)


def _invalid_vector(vector: bytes | None, size: int | None) -> Answer:
    if vector is None:
        return Answer(FAILED, NO_ANSWER, "The request succeeded, but its body has no readable embedding.", None)
    if len(vector) % 4:
        return Answer(
            FAILED, "embedding_size", f"An embedding of {len(vector)} bytes is not a list of 32-bit floats.", None
        )
    message = (
        f"Expected an embedding of {size} numbers, as in the other rows, found {len(vector) // 4}. "
        "Set the same `dimensions` in every request."
    )
    return Answer(FAILED, "embedding_size", message, None)


# Other endpoints


def moderations(body: typed_lines.ModerationsBody) -> Answer:
    """
    Extract the answer of `/v1/moderations`.

    :param body: The response body.
    """
    if not body.results:
        return no_answer(body, "results")
    verdicts = [_verdict(result) for result in body.results]
    first = verdicts[0]
    values = (*first.values(), None if len(verdicts) == 1 else verdicts)
    return Answer(SUCCEEDED, None, None, values)


def _verdict(result: typed_lines.ModerationResult) -> Mapping[str, Any]:
    return {
        "flagged": result.flagged,
        "flagged_categories": sorted(name for name, flag in (result.categories or {}).items() if flag),
        "category_scores": list((result.category_scores or {}).items()),
    }


def images(body: typed_lines.ImagesBody) -> Answer:
    """
    Extract the answer of `/v1/images/generations` and `/v1/images/edits`; `media.py` stores the field `data` as files.

    :param body: The response body.
    """
    if not body.data:
        return no_answer(body, "data")
    listed = [_image(image.url, image.revised_prompt, image.b64_json) for image in body.data]
    values = (listed, body.output_format, body.size, body.quality, body.background)
    if not all(image["data"] or image["url"] for image in listed):
        return Answer(FAILED, UNREADABLE, "An image of the answer has neither readable base64 data nor a URL.", values)
    return Answer(SUCCEEDED, None, None, values)


def video(body: typed_lines.VideoBody) -> Answer:
    """
    Extract the answer of `/v1/videos`; `media.py` fetches the video.

    :param body: The response body.
    """
    if body.id is None:
        return no_answer(body, "id")
    values = (body.id, None, body.status, _seconds(body.seconds), body.size)
    if not is_completed(body.status):
        error = body.error or typed_lines.ErrorInfo()
        message = error.message or f"The video ended with the status {body.status!r}."
        return Answer(FAILED, error.code or f"video_{body.status}", message, values)
    return Answer(SUCCEEDED, None, None, values)


def _seconds(text: str | None) -> float | None:
    try:
        seconds = float(text or "")
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) else None


#: Endpoint → type of its bodies, and extractor. The extractor of embeddings depends on the table: see `extractor_for`.
_EXTRACTORS: Mapping[Endpoint, tuple[type[typed_lines.Body], Callable[[Any], Answer]]] = {
    Endpoint.CHAT_COMPLETIONS: (typed_lines.ChatBody, chat),
    Endpoint.RESPONSES: (typed_lines.ResponsesBody, responses),
    Endpoint.COMPLETIONS: (typed_lines.CompletionBody, completion),
    Endpoint.MODERATIONS: (typed_lines.ModerationsBody, moderations),
    Endpoint.IMAGES_GENERATIONS: (typed_lines.ImagesBody, images),
    Endpoint.IMAGES_EDITS: (typed_lines.ImagesBody, images),
    Endpoint.VIDEOS: (typed_lines.VideoBody, video),
}


def extractor_for(
    endpoint: Endpoint, embedding_size: int | None
) -> tuple[type[typed_lines.Body], Callable[[Any], Answer]]:
    """
    Return the type of an endpoint's bodies, and its extractor.

    :param endpoint: The endpoint.
    :param embedding_size: Numbers in each embedding; None to accept every size.
    """
    if endpoint is Endpoint.EMBEDDINGS:
        return typed_lines.EmbeddingsBody, embeddings(embedding_size)
    return _EXTRACTORS[endpoint]
