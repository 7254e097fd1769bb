"""Answer `POST /v1/moderations`: categories are flagged by keywords."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from airflow_provider_batch.emulator.answers import tokens
from airflow_provider_batch.emulator.answers.common import Answer, ModelRequest, text_of
from airflow_provider_batch.emulator.faults import chance
from airflow_provider_batch.emulator.records import Tokens

#: Endpoints that this module answers → member that a request needs.
NEEDED: Mapping[str, str | None] = {"/v1/moderations": "input"}

_CATEGORIES: Mapping[str, str] = {
    "harassment": r"idiot|stupid|moron|loser",
    "harassment/threatening": r"i will (hurt|kill) you",
    "hate": r"\bhate\b|inferior race",
    "hate/threatening": r"exterminate them",
    "illicit": r"counterfeit|steal a car|shoplift",
    "illicit/violent": r"build a bomb|pipe bomb",
    "self-harm": r"self.harm|suicide",
    "self-harm/intent": r"kill myself",
    "self-harm/instructions": r"how to self.harm",
    "sexual": r"porn|erotic",
    "sexual/minors": r"(?!)",
    "violence": r"\bkill|murder|shoot|stab",
    "violence/graphic": r"gore|dismember",
}
_PATTERNS = {name: re.compile(pattern, re.IGNORECASE) for name, pattern in _CATEGORIES.items()}


def answer(request: ModelRequest) -> Answer:
    """
    Return one result for each input; the parts of one multi-modal input have one result together.

    :param request: Request to `/v1/moderations`.
    """
    value = request.body["input"]
    inputs = value if isinstance(value, list) and value and isinstance(value[0], str) else [value]
    used = Tokens(input=tokens.of_inputs(value))
    results = [_result(text_of(one)) for one in inputs]
    return Answer(body={"id": f"modr-{request.digest[:32]}", "model": request.model, "results": results}, tokens=used)


def _result(text: str) -> dict[str, Any]:
    categories = {name: pattern.search(text) is not None for name, pattern in _PATTERNS.items()}
    scores = {
        name: round((0.8 if hit else 0.0) + 0.15 * chance(f"{name}/{text}"), 6) for name, hit in categories.items()
    }
    return {
        "flagged": any(categories.values()),
        "categories": categories,
        "category_scores": scores,
        "category_applied_input_types": {name: ["text"] for name in categories},
    }
