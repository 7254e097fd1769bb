"""The answers of `/v1/chat/completions`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from msgspec import Struct

from airflow_provider_batch.answers import shared_values as shared
from airflow_provider_batch.answers.answer import Answer, answer_of_choice, no_answer
from airflow_provider_batch.answers.answer_format import AnswerFormat, Columns, UsualAnswers, each
from airflow_provider_batch.answers.body import Body, Count, ModelName, PromptUsage
from airflow_provider_batch.answers.column import STRING, Column, list_of_structs
from airflow_provider_batch.api.endpoints import Endpoint
from airflow_provider_batch.arrow.builders import same

_COLUMNS: Mapping[str, Column] = {
    "text": shared.TEXT_COLUMN,
    "finish_reason": shared.FINISH_REASON_COLUMN,
    "refusal": shared.REFUSAL_COLUMN,
    "reasoning": Column(STRING, "the reasoning text, where the model returns one"),
    "tool_calls": Column(
        shared.TOOL_CALLS, "tool calls that the model requests; arguments as the model wrote them, usually JSON"
    ),
    "logprobs": shared.LOGPROBS_COLUMN,
    "choices": Column(
        list_of_structs(**shared.CHOICE_FIELDS, refusal=STRING, reasoning=STRING, tool_calls=shared.TOOL_CALLS),
        "all answers, where the request asks for several; the other columns contain the first",
    ),
}


# Response bodies


class Function(Struct, gc=False):
    """
    The field `function` or `custom` of a tool call.

    :param name: Name of the tool.
    :param arguments: Arguments of a function: JSON text, or an object from some servers.
    :param input: Input of a custom tool.
    """

    name: str | None = None
    arguments: Any = None
    input: Any = None


class ToolCall(Struct, gc=False):
    """
    One tool call of a chat message.

    :param id: Id of the call.
    :param type: `function` or `custom`.
    :param function: The called function.
    :param custom: The called custom tool.
    """

    id: str | None = None
    type: str | None = None
    function: Function | None = None
    custom: Function | None = None


class Audio(Struct, gc=False):
    """
    The field `audio` of a chat message.

    :param transcript: Text of the spoken answer.
    """

    transcript: str | None = None


class Message(Struct, gc=False):
    """
    The field `message` of a chat choice.

    :param content: Text of the answer.
    :param refusal: Text with which the model refused to answer.
    :param tool_calls: The tool calls that the model requests.
    :param function_call: The only call, in the older form of the API.
    :param audio: The spoken answer.
    :param reasoning_content: Reasoning text of compatible servers such as vLLM and DeepSeek.
    :param reasoning: The same under another name.
    """

    content: str | None = None
    refusal: str | None = None
    tool_calls: list[ToolCall] | None = None
    function_call: Function | None = None
    audio: Audio | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None


class Logprobs(Struct, gc=False):
    """
    The field `logprobs` of a chat choice.

    :param content: Log-probabilities of the text.
    :param refusal: Log-probabilities of the refusal.
    """

    content: list[shared.TokenLogprob] | None = None
    refusal: list[shared.TokenLogprob] | None = None


class ChatChoice(Struct, gc=False):
    """
    One choice of a chat completion.

    :param index: Position of the choice, from 0.
    :param finish_reason: Why the model stopped.
    :param message: The answer.
    :param logprobs: Log-probabilities, where the request asks for them.
    """

    index: Count | None = None
    finish_reason: str | None = None
    message: Message | None = None
    logprobs: Logprobs | None = None


class ChatBody(Body, gc=False):
    """
    Body of `/v1/chat/completions`.

    :param choices: The answers.
    """

    choices: list[ChatChoice] | None = None


# Extractor


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
    return answer_of_choice(first.finish_reason, message.refusal, values, is_empty=all(map(_is_empty, body.choices)))


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
    return None if choice.logprobs is None else shared.logprobs_of(choice.logprobs.content or choice.logprobs.refusal)


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
        listed.append({"id": call.id, "type": call.type, "name": called.name, "arguments": shared.json_text(arguments)})
    return listed


# Fast path


class UsualMessage(Struct, gc=False):
    """
    The message of a usual chat choice: a text or tool calls, and nothing else.

    :param content: Text of the answer.
    :param tool_calls: The tool calls that the model requests.
    :param refusal: Must be null.
    :param reasoning_content: Must be null.
    :param reasoning: Must be null.
    :param function_call: Must be null.
    :param audio: Must be null.
    """

    content: str | None = None
    tool_calls: list[ToolCall] | None = None
    refusal: None = None
    reasoning_content: None = None
    reasoning: None = None
    function_call: None = None
    audio: None = None


class UsualChoice(Struct, gc=False):
    """
    A usual chat choice: a complete answer without log-probabilities.

    :param message: The answer.
    :param finish_reason: Why the model stopped.
    :param logprobs: Must be null.
    :param index: Position of the choice, from 0.
    """

    message: UsualMessage
    finish_reason: Literal["stop", "tool_calls", "function_call"]
    logprobs: None = None
    index: Count | None = None


class UsualChatBody(Struct, gc=False):
    """
    Usual body of `/v1/chat/completions`.

    :param model: The model that answered.
    :param usage: Tokens of request and answer.
    :param choices: The only choice.
    """

    model: ModelName
    usage: PromptUsage
    choices: tuple[UsualChoice]


def usual_columns(bodies: Sequence[UsualChatBody]) -> Columns:
    """
    Return the columns of `/v1/chat/completions`.

    :param bodies: The usual bodies, in order.
    """
    choices = [choice for (choice,) in each("choices", bodies)]
    messages = each("message", choices)
    columns: Columns = {"text": each("content", messages), "finish_reason": same(each("finish_reason", choices))}
    calls = each("tool_calls", messages)
    if any(calls):
        columns["tool_calls"] = list(map(tool_calls, calls))
    return columns


ANSWERS: Mapping[Endpoint, AnswerFormat] = {
    Endpoint.CHAT_COMPLETIONS: AnswerFormat(_COLUMNS, ChatBody, chat, UsualAnswers(UsualChatBody, usual_columns))
}
