"""The answers of `/v1/completions`."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import zip_longest
from typing import Any

from msgspec import Struct

from airflow_provider_batch.answers import shared_values as shared
from airflow_provider_batch.answers.answer import Answer, answer_of_choice, no_answer
from airflow_provider_batch.answers.answer_format import AnswerFormat
from airflow_provider_batch.answers.body import Body, Count
from airflow_provider_batch.answers.column import Column, list_of_structs
from airflow_provider_batch.api.endpoints import Endpoint

_COLUMNS: Mapping[str, Column] = {
    "text": shared.TEXT_COLUMN,
    "finish_reason": shared.FINISH_REASON_COLUMN,
    "logprobs": shared.LOGPROBS_COLUMN,
    "choices": Column(
        list_of_structs(**shared.CHOICE_FIELDS),
        "all answers, where the request asks for several; the other columns contain the first",
    ),
}


class CompletionLogprobs(Struct, gc=False):
    """
    The field `logprobs` of a completion: lists of the same length.

    :param tokens: Text of each token.
    :param token_logprobs: Log-probability of each token.
    :param top_logprobs: Log-probability by likely token, for each token.
    """

    tokens: list[str] | None = None
    token_logprobs: list[float | None] | None = None
    top_logprobs: list[dict[str, float | None] | None] | None = None


class CompletionChoice(Struct, gc=False):
    """
    One choice of a completion.

    :param index: Position of the choice, from 0.
    :param text: The answer.
    :param finish_reason: Why the model stopped.
    :param logprobs: Log-probabilities, where the request asks for them.
    """

    index: Count | None = None
    text: str | None = None
    finish_reason: str | None = None
    logprobs: CompletionLogprobs | None = None


class CompletionBody(Body, gc=False):
    """
    Body of `/v1/completions`.

    :param choices: The answers.
    """

    choices: list[CompletionChoice] | None = None


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
    return answer_of_choice(first.finish_reason, None, values, is_empty=is_empty)


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


ANSWERS: Mapping[Endpoint, AnswerFormat] = {Endpoint.COMPLETIONS: AnswerFormat(_COLUMNS, CompletionBody, completion)}
