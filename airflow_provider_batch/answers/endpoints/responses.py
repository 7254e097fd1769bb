"""The answers of `/v1/responses`."""

from __future__ import annotations

import binascii
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from airflow_provider_batch.answers import shared_values as shared
from airflow_provider_batch.answers.answer import FAILED, REFUSED, SUCCEEDED, TRUNCATED, Answer, empty_answer, no_answer
from airflow_provider_batch.answers.answer_format import AnswerFormat, Columns, UsualAnswers, each
from airflow_provider_batch.answers.body import Body, Empty, ErrorInfo, InputUsage, ModelName
from airflow_provider_batch.answers.column import STRING, Column
from airflow_provider_batch.answers.finish_reasons import is_completed
from airflow_provider_batch.api.endpoints import Endpoint
from airflow_provider_batch.arrow.builders import Same

_COLUMNS: Mapping[str, Column] = {
    "text": Column(STRING, "the answer: the last complete message, without messages that only comment on the work"),
    "finish_reason": Column(
        STRING, "completed, or why the response is incomplete", has_dictionary=True, has_statistics=True
    ),
    "refusal": shared.REFUSAL_COLUMN,
    "reasoning": Column(STRING, "the reasoning summary, and messages that only comment on the work"),
    "tool_calls": Column(
        shared.TOOL_CALLS, "calls of the request's tools and of the API's own tools; arguments as text, objects as JSON"
    ),
    "logprobs": shared.LOGPROBS_COLUMN,
    "response_id": Column(STRING, "the API's id of the response"),
    "images": Column(
        shared.IMAGES_TYPE, "the images that the image tool made: `file` is a path below the table's folder"
    ),
}


# Response bodies


class OutputPart(Struct, gc=False):
    """
    One part of an output item.

    :param type: `output_text`, `refusal`, `summary_text` or `reasoning_text`.
    :param text: Text of the part.
    :param refusal: Text with which the model refused to answer.
    :param logprobs: Log-probabilities of the text.
    """

    type: str | None = None
    text: str | None = None
    refusal: str | None = None
    logprobs: list[shared.TokenLogprob] | None = None


class OutputItem(Struct, gc=False):
    """
    One item of `output`: a message, reasoning, or a tool call.

    :param type: Kind of item, such as `message` or `function_call`.
    :param id: Id of the item.
    :param call_id: Id of a tool call.
    :param phase: `final_answer` or `commentary`, where a message has it.
    :param status: `completed` or `incomplete`.
    :param name: Name of the called tool.
    :param arguments: Input of a function.
    :param input: Input of a custom tool.
    :param action: Input of a search, shell or computer call.
    :param actions: Input of a computer call with several actions.
    :param operation: Input of a patch call.
    :param queries: Input of a file search.
    :param code: Input of the code interpreter.
    :param content: Parts of a message, or of reasoning.
    :param summary: Parts of a reasoning summary.
    :param result: Base64 data of a generated image.
    :param revised_prompt: Prompt of a generated image, as the API changed it.
    """

    type: str | None = None
    id: str | None = None
    call_id: str | None = None
    phase: str | None = None
    status: str | None = None
    name: str | None = None
    arguments: Any = None
    input: Any = None
    action: Any = None
    actions: Any = None
    operation: Any = None
    queries: Any = None
    code: Any = None
    content: list[OutputPart] | None = None
    summary: list[OutputPart] | None = None
    result: str | None = None
    revised_prompt: str | None = None


class IncompleteDetails(Struct, gc=False):
    """
    The field `incomplete_details` of a response.

    :param reason: Why the response is incomplete.
    """

    reason: str | None = None


class ResponsesBody(Body, gc=False):
    """
    Body of `/v1/responses`.

    :param id: Id of the response.
    :param status: `completed`, `incomplete` or `failed`.
    :param incomplete_details: Why the response is incomplete.
    :param output: The items, in order.
    """

    id: str | None = None
    status: str | None = None
    incomplete_details: IncompleteDetails | None = None
    output: list[OutputItem] | None = None


# Extractor


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
        shared.logprobs_of([token for part in parts for token in part.logprobs or ()]),
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
            "arguments": shared.json_text(next((given for given in _call_inputs(item) if given is not None), None)),
        }
        for item in items
        if item.type is not None and (item.type.endswith("_call") or item.type == "mcp_approval_request")
    ]
    return calls or None


def _tool_images(items: Sequence[OutputItem]) -> list[dict[str, Any]] | None:
    """Return the images of the image tool; an image that is not base64 gets no file."""
    return [
        shared.image_value(None, item.revised_prompt, _decoded(item.result))
        for item in items
        if item.type == "image_generation_call" and item.result
    ] or None


def _decoded(text: str) -> bytes | None:
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        return None


# Fast path


class UsualOutputText(Struct, tag_field="type", tag="output_text", gc=False):
    """
    The only part of a usual message.

    :param text: Text of the answer.
    :param logprobs: Must be empty or null.
    :param refusal: Must be null.
    """

    text: str
    logprobs: Empty = None
    refusal: None = None


class UsualOutputMessage(Struct, tag_field="type", tag="message", gc=False):
    """
    A usual message of a response: a complete answer.

    :param content: Its only part.
    :param summary: Must be empty or null.
    :param phase: Must not be `commentary`.
    :param status: Must not be `incomplete`.
    """

    content: tuple[UsualOutputText]
    summary: Empty = None
    phase: Literal["final_answer"] | None = None
    status: Literal["completed"] | None = None


class UsualReasoning(Struct, tag_field="type", tag="reasoning", gc=False):
    """
    A usual reasoning item of a response: without text.

    :param content: Must be empty or null.
    :param summary: Must be empty or null.
    """

    content: Empty = None
    summary: Empty = None


class UsualResponsesBody(Struct, gc=False):
    """
    Usual body of `/v1/responses`.

    :param model: The model that answered.
    :param usage: Tokens of request and answer.
    :param status: Status of the response.
    :param output: Messages and reasoning items, in order.
    :param id: Id of the response.
    :param incomplete_details: Must be null.
    """

    model: ModelName
    usage: InputUsage
    status: Literal["completed"]
    output: Annotated[list[UsualOutputMessage | UsualReasoning], Meta(min_length=1)]
    id: str | None = None
    incomplete_details: None = None


def usual_columns(bodies: Sequence[UsualResponsesBody]) -> Columns:
    """
    Return the columns of `/v1/responses`.

    :param bodies: The usual bodies, in order.
    """
    return {
        "text": [_text(output) for output in each("output", bodies)],
        "finish_reason": Same("completed", len(bodies)),
        "response_id": each("id", bodies),
    }


def _text(output: Sequence[UsualOutputMessage | UsualReasoning]) -> str | None:
    first = output[0]
    if len(output) == 1 and first.__class__ is UsualOutputMessage:
        return first.content[0].text
    final = final_message([item for item in output if item.__class__ is UsualOutputMessage])
    return None if final is None else final.content[0].text


ANSWERS: Mapping[Endpoint, AnswerFormat] = {
    Endpoint.RESPONSES: AnswerFormat(
        _COLUMNS, ResponsesBody, responses, UsualAnswers(UsualResponsesBody, usual_columns)
    )
}
