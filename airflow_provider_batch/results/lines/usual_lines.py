"""
Usual result lines as typed structs: a success with one complete answer.

The types are strict: the decoder rejects a line with any other value in a known field, such as a refusal.
"""

from __future__ import annotations

from typing import Annotated, Any, Generic, Literal, TypeAlias

from msgspec import Meta, Struct, field

from airflow_provider_batch.results.lines.typed_bodies import EmbeddingItem, ToolCall
from airflow_provider_batch.results.lines.typed_lines import BodyT, Count, TokenDetails

#: An empty list, or null.
Empty: TypeAlias = Annotated[list[Any], Meta(max_length=0)] | None


class Response(Struct, Generic[BodyT], gc=False):
    """
    The field `response` of a usual line.

    :param status_code: HTTP status of the request.
    :param body: The response body.
    :param request_id: The API's id of the request.
    """

    status_code: Literal[200]
    body: BodyT
    request_id: str | None = None


class Line(Struct, Generic[BodyT], gc=False):
    """
    A usual result line.

    :param response: The response.
    """

    response: Response[BodyT]


class PromptUsage(Struct, gc=False):
    """
    The field `usage` with the names of chat completions; a line with both kinds of names is not usual.

    :param input_tokens: Tokens of the request.
    :param output_tokens: Tokens of the answer.
    :param total_tokens: Tokens of request and answer.
    :param input_details: Details of the request's tokens.
    :param output_details: Details of the answer's tokens.
    :param other_input: Must be null.
    :param other_output: Must be null.
    :param other_input_details: Must be null.
    :param other_output_details: Must be null.
    """

    input_tokens: Count = field(name="prompt_tokens")
    output_tokens: Count | None = field(name="completion_tokens", default=None)
    total_tokens: Count | None = None
    input_details: TokenDetails | None = field(name="prompt_tokens_details", default=None)
    output_details: TokenDetails | None = field(name="completion_tokens_details", default=None)
    other_input: None = field(name="input_tokens", default=None)
    other_output: None = field(name="output_tokens", default=None)
    other_input_details: None = field(name="input_tokens_details", default=None)
    other_output_details: None = field(name="output_tokens_details", default=None)


class InputUsage(Struct, gc=False):
    """
    The field `usage` with the names of responses; a line with both kinds of names is not usual.

    :param input_tokens: Tokens of the request.
    :param output_tokens: Tokens of the answer.
    :param total_tokens: Tokens of request and answer.
    :param input_details: Details of the request's tokens.
    :param output_details: Details of the answer's tokens.
    :param other_input: Must be null.
    :param other_output: Must be null.
    :param other_input_details: Must be null.
    :param other_output_details: Must be null.
    """

    input_tokens: Count
    output_tokens: Count | None = None
    total_tokens: Count | None = None
    input_details: TokenDetails | None = field(name="input_tokens_details", default=None)
    output_details: TokenDetails | None = field(name="output_tokens_details", default=None)
    other_input: None = field(name="prompt_tokens", default=None)
    other_output: None = field(name="completion_tokens", default=None)
    other_input_details: None = field(name="prompt_tokens_details", default=None)
    other_output_details: None = field(name="completion_tokens_details", default=None)


class Message(Struct, gc=False):
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


class Choice(Struct, gc=False):
    """
    A usual chat choice: a complete answer without log-probabilities.

    :param message: The answer.
    :param finish_reason: Why the model stopped.
    :param logprobs: Must be null.
    :param index: Position of the choice, from 0.
    """

    message: Message
    finish_reason: Literal["stop", "tool_calls", "function_call"]
    logprobs: None = None
    index: Count | None = None


class ChatBody(Struct, gc=False):
    """
    Usual body of `/v1/chat/completions`.

    :param model: The model that answered.
    :param usage: Tokens of request and answer.
    :param choices: The only choice.
    """

    model: Annotated[str, Meta(min_length=1)]
    usage: PromptUsage
    choices: tuple[Choice]


class OutputText(Struct, tag_field="type", tag="output_text", gc=False):
    """
    The only part of a usual message.

    :param text: Text of the answer.
    :param logprobs: Must be empty or null.
    :param refusal: Must be null.
    """

    text: str
    logprobs: Empty = None
    refusal: None = None


class OutputMessage(Struct, tag_field="type", tag="message", gc=False):
    """
    A usual message of a response: a complete answer.

    :param content: Its only part.
    :param summary: Must be empty or null.
    :param phase: Must not be `commentary`.
    :param status: Must not be `incomplete`.
    """

    content: tuple[OutputText]
    summary: Empty = None
    phase: Literal["final_answer"] | None = None
    status: Literal["completed"] | None = None


class Reasoning(Struct, tag_field="type", tag="reasoning", gc=False):
    """
    A usual reasoning item of a response: without text.

    :param content: Must be empty or null.
    :param summary: Must be empty or null.
    """

    content: Empty = None
    summary: Empty = None


class ResponsesBody(Struct, gc=False):
    """
    Usual body of `/v1/responses`.

    :param model: The model that answered.
    :param usage: Tokens of request and answer.
    :param status: Status of the response.
    :param output: Messages and reasoning items, in order.
    :param id: Id of the response.
    :param incomplete_details: Must be null.
    """

    model: Annotated[str, Meta(min_length=1)]
    usage: InputUsage
    status: Literal["completed"]
    output: Annotated[list[OutputMessage | Reasoning], Meta(min_length=1)]
    id: str | None = None
    incomplete_details: None = None


class EmbeddingsBody(Struct, gc=False):
    """
    Usual body of `/v1/embeddings`.

    :param model: The model that answered.
    :param usage: Tokens of the request.
    :param data: The only embedding.
    """

    model: Annotated[str, Meta(min_length=1)]
    usage: PromptUsage
    data: tuple[EmbeddingItem]
