"""Extractors of `/v1/chat/completions` and `/v1/completions`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

from airflow_provider_batch.results.extractors.answer import REFUSED, SUCCEEDED, Answer, empty_answer, no_answer
from airflow_provider_batch.results.extractors.values import json_text, logprobs_of
from airflow_provider_batch.results.finish_reasons import ending_of
from airflow_provider_batch.results.lines.typed_bodies import (
    ChatBody,
    ChatChoice,
    CompletionBody,
    CompletionLogprobs,
    Function,
    Message,
    ToolCall,
)


def chat(body: ChatBody) -> Answer:
    """
    Extract the answer of `/v1/chat/completions`.

    :param body: The response body.
    """
    if not body.choices:
        return no_answer(body, "choices")
    first = body.choices[0]
    if all(choice.message is None for choice in body.choices):
        return no_answer(body, "message")
    message = first.message or Message()
    values = (
        _message_text(message),
        first.finish_reason,
        message.refusal,
        message.reasoning_content or message.reasoning,
        _message_calls(message),
        _chat_logprobs(first),
        None if len(body.choices) == 1 else [_chat_choice(choice) for choice in body.choices],
    )
    return _chat_answer(first.finish_reason, message.refusal, values, is_empty=all(map(_is_empty, body.choices)))


def completion(body: CompletionBody) -> Answer:
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


def _chat_choice(choice: ChatChoice) -> Mapping[str, Any]:
    message = choice.message or Message()
    return {
        "index": choice.index,
        "text": _message_text(message),
        "finish_reason": choice.finish_reason,
        "logprobs": _chat_logprobs(choice),
        "refusal": message.refusal,
        "reasoning": message.reasoning_content or message.reasoning,
        "tool_calls": _message_calls(message),
    }


def _chat_logprobs(choice: ChatChoice) -> list[Mapping[str, Any]] | None:
    return None if choice.logprobs is None else logprobs_of(choice.logprobs.content or choice.logprobs.refusal)


def _is_empty(choice: ChatChoice) -> bool:
    """Return whether a choice has no answer; reasoning alone is no answer."""
    message = choice.message
    if message is None:
        return True
    has_call = message.tool_calls or message.function_call is not None
    return message.content is None and not message.refusal and not has_call and message.audio is None


def _message_text(message: Message) -> str | None:
    return message.audio.transcript if message.content is None and message.audio else message.content


def _message_calls(message: Message) -> list[Mapping[str, Any]] | None:
    """Return the tool calls of a message; `function_call` is the older form of a single call."""
    if message.function_call is not None and not message.tool_calls:
        return tool_calls([ToolCall(type="function", function=message.function_call)])
    return tool_calls(message.tool_calls)


def tool_calls(calls: Sequence[ToolCall] | None) -> list[Mapping[str, Any]] | None:
    """
    Return the values of the column `tool_calls` for a chat message, or None where it has no calls.

    :param calls: The tool calls of the message.
    """
    if not calls:
        return None
    listed: list[Mapping[str, Any]] = []
    for call in calls:
        called = call.function or call.custom or Function()
        arguments = called.input if called.arguments is None else called.arguments
        listed.append({"id": call.id, "type": call.type, "name": called.name, "arguments": json_text(arguments)})
    return listed


def _completion_logprobs(logprobs: CompletionLogprobs | None) -> list[Mapping[str, Any]] | None:
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
