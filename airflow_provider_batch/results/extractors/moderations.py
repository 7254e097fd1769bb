"""Extractor of `/v1/moderations`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_batch.results.extractors.answer import SUCCEEDED, Answer, no_answer
from airflow_provider_batch.results.lines.typed_bodies import ModerationResult, ModerationsBody


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
