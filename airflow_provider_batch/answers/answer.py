"""The result of an extractor: status of the row and values of the endpoint's columns."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from airflow_provider_batch.answers.body import Body
from airflow_provider_batch.answers.finish_reasons import ending_of

SUCCEEDED, FAILED, REFUSED, TRUNCATED = "succeeded", "failed", "refused", "truncated"
#: Error code of a successful request whose body contains no answer.
NO_ANSWER = "no_answer"
#: Error code of an unreadable line, or of an unreadable image; the line is stored in the file of unreadable lines.
UNREADABLE = "unreadable_line"


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


def no_answer(body: Body, what: str) -> Answer:
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


def answer_of_choice(
    finish_reason: str | None, refusal: str | None, values: tuple[Any, ...], *, is_empty: bool
) -> Answer:
    """
    Return the answer of the first choice of a body.

    :param finish_reason: Why the model stopped; None counts as complete.
    :param refusal: Text with which the model refused to answer; None where it did not.
    :param values: Values of the endpoint's columns, in order.
    :param is_empty: Whether no choice of the body has an answer.
    """
    if (ending := ending_of(finish_reason)) is not None:
        return Answer(*ending, values)
    if refusal:
        return Answer(REFUSED, "refusal", refusal, values)
    if is_empty:
        return empty_answer("neither a text nor a tool call: its content is null", values)
    return Answer(SUCCEEDED, None, None, values)
