"""
What a body says, one extractor for each endpoint: how the request ended, and the values of the endpoint's own columns.

An extractor sees the body of a request that ended with HTTP 2xx. It gives its values in the order of
`schema.ENDPOINT_COLUMNS`, and a status that a person would give: an answer that was cut off is `truncated` and keeps
its text, one that was withheld is `refused`, and a body without an answer is `failed` and says what it lacks. An empty
text is an answer; no text at all is one only beside a tool call, audio or an image.
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
#: The error code of a body that ended well and answers nothing.
NO_ANSWER = "no_answer"
#: The error code of a line that nobody can read, or whose image nobody can; the line is kept beside the table.
UNREADABLE = "unreadable_line"
#: The phases of messages that answer; as the SDK has it, one of any other (`commentary`) tells about the work.
_ANSWERING = (None, "final_answer")
#: Items of a response that answer with a text or not at all; all others are calls, or of a kind that nobody knows yet.
_OF_A_TEXT = ("message", "reasoning", None)


class Answer(Struct, gc=False):
    """How a request ended, and the values of its endpoint's columns, none where there is no answer."""

    status: str
    error_code: str | None
    error_message: str | None
    values: tuple[Any, ...] | None


def no_answer(body: typed_lines.Body, what: str) -> Answer:
    """Return the answer of a 2xx body that holds none: its own error where it has one, else what is missing."""
    if body.error is not None and (body.error.message or body.error.code):
        return Answer(FAILED, body.error.code or body.error.type or "error_in_body", body.error.message, None)
    return Answer(FAILED, NO_ANSWER, f"The request ended well, but its body holds no {what}.", None)


def nothing_said(what: str, values: tuple[Any, ...]) -> Answer:
    """Return the answer of a whole, unrefused body with nothing in it; its other columns are kept."""
    return Answer(FAILED, NO_ANSWER, f"The request ended well, but its answer holds {what}.", values)


# Chat completions and completions


def chat(body: typed_lines.ChatBody) -> Answer:
    """Read `/v1/chat/completions`."""
    if not body.choices:
        return no_answer(body, "choices")
    first = body.choices[0]
    if all(choice.message is None for choice in body.choices):
        return no_answer(body, "message")
    message = first.message or typed_lines.Message()
    values = (
        _said(message),
        first.finish_reason,
        message.refusal,
        message.reasoning_content or message.reasoning,
        _message_calls(message),
        None if first.logprobs is None else _logprobs(first.logprobs.content or first.logprobs.refusal),
        None if len(body.choices) == 1 else [_chat_choice(choice) for choice in body.choices],
    )
    return _judged(first.finish_reason, message.refusal, values, is_empty=all(map(_is_empty, body.choices)))


def completion(body: typed_lines.CompletionBody) -> Answer:
    """Read `/v1/completions`."""
    if not body.choices:
        return no_answer(body, "choices")
    first = body.choices[0]
    choices = [
        {
            "index": choice.index,
            "text": choice.text,
            "finish_reason": choice.finish_reason,
            "logprobs": _parallel(choice.logprobs),
        }
        for choice in body.choices
    ]
    values = (first.text, first.finish_reason, _parallel(first.logprobs), None if len(choices) == 1 else choices)
    is_empty = all(choice.text is None for choice in body.choices)
    return _judged(first.finish_reason, None, values, is_empty=is_empty)


def _judged(finish_reason: str | None, refusal: str | None, values: tuple[Any, ...], *, is_empty: bool) -> Answer:
    if (ending := ending_of(finish_reason)) is not None:
        return Answer(*ending, values)
    if refusal:
        return Answer(REFUSED, "refusal", refusal, values)
    if is_empty:
        return nothing_said("neither a text nor a call: its content is null", values)
    return Answer(SUCCEEDED, None, None, values)


def _chat_choice(choice: typed_lines.ChatChoice) -> Mapping[str, Any]:
    message = choice.message or typed_lines.Message()
    return {
        "index": choice.index,
        "text": _said(message),
        "finish_reason": choice.finish_reason,
        "logprobs": None if choice.logprobs is None else _logprobs(choice.logprobs.content or choice.logprobs.refusal),
        "refusal": message.refusal,
        "reasoning": message.reasoning_content or message.reasoning,
        "tool_calls": _message_calls(message),
    }


def _is_empty(choice: typed_lines.ChatChoice) -> bool:
    """Return whether nothing at all was answered: what a model thought is no answer."""
    message = choice.message
    if message is None:
        return True
    has_call = message.tool_calls or message.function_call is not None
    return message.content is None and not message.refusal and not has_call and message.audio is None


def _said(message: typed_lines.Message) -> str | None:
    return message.audio.transcript if message.content is None and message.audio else message.content


def _message_calls(message: typed_lines.Message) -> list[Mapping[str, Any]] | None:
    """Return the calls of a message; `function_call` is what one was called before there were several."""
    if message.function_call is not None and not message.tool_calls:
        return tool_calls([typed_lines.ToolCall(type="function", function=message.function_call)])
    return tool_calls(message.tool_calls)


def tool_calls(calls: Sequence[typed_lines.ToolCall] | None) -> list[Mapping[str, Any]] | None:
    """Return the tool calls of a chat message as the column holds them."""
    if not calls:
        return None
    listed: list[Mapping[str, Any]] = []
    for call in calls:
        called = call.function or call.custom or typed_lines.Function()
        arguments = called.input if called.arguments is None else called.arguments
        listed.append({"id": call.id, "type": call.type, "name": called.name, "arguments": _json_text(arguments)})
    return listed


def _json_text(value: Any) -> str | None:
    """Return text as it is, and anything else as JSON: some tools and some servers give arguments as an object."""
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


def _parallel(logprobs: typed_lines.CompletionLogprobs | None) -> list[Mapping[str, Any]] | None:
    if logprobs is None or not logprobs.tokens:
        return None
    chances, tops = logprobs.token_logprobs or [], logprobs.top_logprobs or []
    return [
        {"token": token, "logprob": chance, "top_logprobs": _likely(top)}
        for token, chance, top in zip_longest(logprobs.tokens, chances, tops)
        if token is not None
    ]


def _likely(top: Mapping[str, float | None] | None) -> list[Mapping[str, Any]] | None:
    return None if top is None else [{"token": token, "logprob": chance} for token, chance in top.items()]


# Responses


def responses(body: typed_lines.ResponsesBody) -> Answer:
    """Read `/v1/responses`, whose body can say `incomplete` or `failed` under HTTP 200."""
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
        _reasoning(item for item in items if item.type == "reasoning" or _is_aside(item, answering)),
        _output_calls(items),
        _logprobs([token for part in parts for token in part.logprobs or ()]),
        body.id,
        _made_images(items),
    )
    is_cut = final is not None and not is_completed(final.status)
    answer = _judged_response(body, reason, "".join(refusals), values, is_cut=is_cut)
    if answer.status == SUCCEEDED and not texts and all(item.type in _OF_A_TEXT for item in items):
        return nothing_said("neither a text nor a call", values)
    return answer


def final_message(messages: Sequence[Any]) -> Any:
    """
    Return the message that is the answer: the last one that says something and is complete.

    Where none is complete it is the last that says something, where none does the last. Several messages are never put
    together: an earlier one can be cut off, a draft, or the same again.

    :param messages: Those that answer, in order, each with `content` and `status`; None where there are none.
    """
    if len(messages) < 2:
        return messages[0] if messages else None
    saying = [message for message in messages if any(part.text or part.refusal for part in message.content or ())]
    whole = [message for message in saying if is_completed(message.status)]
    return (whole or saying or messages)[-1]


def _judged_response(
    body: typed_lines.ResponsesBody, reason: str | None, refusal: str, values: tuple[Any, ...], *, is_cut: bool
) -> Answer:
    status = (body.status or "").lower()
    if status == "incomplete":
        if reason == "content_filter":
            return Answer(REFUSED, reason, "The answer was withheld by a content filter.", values)
        return Answer(TRUNCATED, reason or "incomplete", "The response is incomplete.", values)
    if not is_completed(status):
        error = body.error or typed_lines.ErrorInfo()
        code = error.code or error.type or f"response_{status}"
        return Answer(FAILED, code, error.message or f"The response ended as {body.status!r}.", values)
    if is_cut:
        return Answer(TRUNCATED, "incomplete", "The answer's message is incomplete.", values)
    if refusal:
        return Answer(REFUSED, "refusal", refusal, values)
    return Answer(SUCCEEDED, None, None, values)


def _is_aside(item: typed_lines.OutputItem, answering: Sequence[typed_lines.OutputItem]) -> bool:
    return item.type in ("message", None) and item.phase not in _ANSWERING and item not in answering


def _reasoning(items: Iterable[typed_lines.OutputItem]) -> str | None:
    texts = [part.text for item in items for part in (*(item.summary or ()), *(item.content or ())) if part.text]
    return "\n\n".join(texts) or None


#: What a tool was asked to do, under whichever name its call has it.
_asked_of: Callable[[typed_lines.OutputItem], tuple[Any, ...]] = attrgetter(
    "arguments", "input", "action", "actions", "operation", "queries", "code"
)


def _output_calls(items: Sequence[typed_lines.OutputItem]) -> list[Mapping[str, Any]] | None:
    calls: list[Mapping[str, Any]] = [
        {
            "id": item.call_id or item.id,
            "type": item.type,
            "name": item.name,
            "arguments": _json_text(next((given for given in _asked_of(item) if given is not None), None)),
        }
        for item in items
        if item.type is not None and (item.type.endswith("_call") or item.type == "mcp_approval_request")
    ]
    return calls or None


def _made_images(items: Sequence[typed_lines.OutputItem]) -> list[dict[str, Any]] | None:
    """Return what the image tool made; what is no base64 stays unnamed."""
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
    """Return an image as `media.py` takes it: it makes a file of `data`, and names it."""
    return {"url": url, "file": None, "revised_prompt": revised_prompt, "data": data}


# Embeddings


def embeddings(size: int | None) -> Callable[[typed_lines.EmbeddingsBody], Answer]:
    """Return the reader of `/v1/embeddings` for vectors of the given size."""

    def read(body: typed_lines.EmbeddingsBody) -> Answer:
        if not body.data:
            return no_answer(body, "data")
        items = body.data
        if len(items) > 1 and all(item.index is not None for item in items):
            items = sorted(items, key=lambda item: item.index or 0)
        vectors = [vector_bytes(item.embedding) for item in items]
        for vector in vectors:
            if vector is None or len(vector) % 4 or (size is not None and len(vector) != 4 * size):
                return _unfit(vector, size)
        values = (vectors[0], None) if len(vectors) == 1 else (None, vectors)
        return Answer(SUCCEEDED, None, None, values)

    return read


def vector_bytes(embedding: Any) -> bytes | None:
    """Return a vector as the bytes of 32-bit floats, whichever form it came in; None where there is none."""
    if not embedding:
        return None
    if isinstance(embedding, list):
        return array("f", embedding).tobytes()
    if sys.byteorder == "big":
        swapped = array("f", embedding)
        swapped.byteswap()
        return swapped.tobytes()
    return bytes(embedding)


def _unfit(vector: bytes | None, size: int | None) -> Answer:
    if vector is None:
        return Answer(FAILED, NO_ANSWER, "The request ended well, but its body holds no readable vector.", None)
    if len(vector) % 4:
        return Answer(FAILED, "embedding_size", f"A vector of {len(vector)} bytes is no list of 32-bit floats.", None)
    message = (
        f"Expected a vector of {size} numbers, as in the rest of the table, found {len(vector) // 4}; "
        "ask for the same `dimensions` in every request."
    )
    return Answer(FAILED, "embedding_size", message, None)


# The others


def moderations(body: typed_lines.ModerationsBody) -> Answer:
    """Read `/v1/moderations`."""
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
    """Read `/v1/images/generations` and `/v1/images/edits`; `media.py` makes files of what stands under `data`."""
    if not body.data:
        return no_answer(body, "data")
    listed = [_image(image.url, image.revised_prompt, image.b64_json) for image in body.data]
    values = (listed, body.output_format, body.size, body.quality, body.background)
    if not all(image["data"] or image["url"] for image in listed):
        return Answer(FAILED, UNREADABLE, "An image of the answer is neither base64 nor a URL.", values)
    return Answer(SUCCEEDED, None, None, values)


def video(body: typed_lines.VideoBody) -> Answer:
    """Read `/v1/videos`."""
    if body.id is None:
        return no_answer(body, "id")
    values = (body.id, None, body.status, _seconds(body.seconds), body.size)
    if not is_completed(body.status):
        error = body.error or typed_lines.ErrorInfo()
        message = error.message or f"The video ended as {body.status!r}."
        return Answer(FAILED, error.code or f"video_{body.status}", message, values)
    return Answer(SUCCEEDED, None, None, values)


def _seconds(text: str | None) -> float | None:
    try:
        seconds = float(text or "")
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) else None


#: Endpoint → what its bodies are read as, and how. Embeddings depend on the table: see `reader`.
_READERS: Mapping[Endpoint, tuple[type[typed_lines.Body], Callable[[Any], Answer]]] = {
    Endpoint.CHAT_COMPLETIONS: (typed_lines.ChatBody, chat),
    Endpoint.RESPONSES: (typed_lines.ResponsesBody, responses),
    Endpoint.COMPLETIONS: (typed_lines.CompletionBody, completion),
    Endpoint.MODERATIONS: (typed_lines.ModerationsBody, moderations),
    Endpoint.IMAGES_GENERATIONS: (typed_lines.ImagesBody, images),
    Endpoint.IMAGES_EDITS: (typed_lines.ImagesBody, images),
    Endpoint.VIDEOS: (typed_lines.VideoBody, video),
}


def reader(endpoint: Endpoint, embedding_size: int | None) -> tuple[type[typed_lines.Body], Callable[[Any], Answer]]:
    """Return the struct of an endpoint's bodies and the function that reads one."""
    if endpoint is Endpoint.EMBEDDINGS:
        return typed_lines.EmbeddingsBody, embeddings(embedding_size)
    return _READERS[endpoint]
