"""The answers of `/v1/moderations`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
from msgspec import Struct

from airflow_provider_batch.answers.answer import SUCCEEDED, Answer, no_answer
from airflow_provider_batch.answers.answer_format import AnswerFormat
from airflow_provider_batch.answers.body import Body
from airflow_provider_batch.answers.column import BOOL, DOUBLE, STRING, Column, list_of_structs
from airflow_provider_batch.api.endpoints import Endpoint

_SCORES = pa.map_(STRING, DOUBLE)
_COLUMNS: Mapping[str, Column] = {
    "flagged": Column(BOOL, "whether at least one category is flagged", has_statistics=True),
    "flagged_categories": Column(pa.list_(STRING), "the names of the flagged categories"),
    "category_scores": Column(_SCORES, "score of each category, from 0 to 1"),
    "results": Column(
        list_of_structs(flagged=BOOL, flagged_categories=pa.list_(STRING), category_scores=_SCORES),
        "the verdicts in order of the inputs, where there are several; the other columns contain the first",
    ),
}


class ModerationResult(Struct, gc=False):
    """
    The verdict on one input.

    :param flagged: Whether at least one category is flagged.
    :param categories: Whether each category is flagged.
    :param category_scores: Score of each category, from 0 to 1.
    """

    flagged: bool | None = None
    categories: dict[str, bool | None] | None = None
    category_scores: dict[str, float | None] | None = None


class ModerationsBody(Body, gc=False):
    """
    Body of `/v1/moderations`.

    :param results: One verdict for each input.
    """

    results: list[ModerationResult] | None = None


def moderations(body: ModerationsBody) -> Answer:
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


def _verdict(result: ModerationResult) -> Mapping[str, Any]:
    return {
        "flagged": result.flagged,
        "flagged_categories": sorted(name for name, flag in (result.categories or {}).items() if flag),
        "category_scores": list((result.category_scores or {}).items()),
    }


ANSWERS: Mapping[Endpoint, AnswerFormat] = {Endpoint.MODERATIONS: AnswerFormat(_COLUMNS, ModerationsBody, moderations)}
