"""
Answers to requests, made up on this machine: the same request gets the same answer.

`answer` is the one entry, for lines of a batch and for the synchronous routes alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from airflow_provider_batch.emulator.answers import (
    chat,
    completions,
    embeddings,
    images,
    moderations,
    responses,
    videos,
)
from airflow_provider_batch.emulator.answers.common import Answer, Asked, Twist
from airflow_provider_batch.emulator.errors import CallError, missing_parameter

_FAMILIES: Mapping[str, tuple[Callable[[Asked], Answer], str | None]] = {
    "/v1/responses": (responses.answer, None),
    "/v1/chat/completions": (chat.answer, "messages"),
    "/v1/embeddings": (embeddings.answer, "input"),
    "/v1/completions": (completions.answer, "prompt"),
    "/v1/moderations": (moderations.answer, "input"),
    "/v1/images/generations": (images.answer, "prompt"),
    "/v1/images/edits": (images.answer, "prompt"),
    "/v1/videos": (videos.answer, "prompt"),
}
ENDPOINTS = tuple(_FAMILIES)


def answer(
    endpoint: str, body: Mapping[str, Any], *, now: float, dated_models: bool = True, twist: Twist | None = None
) -> Answer:
    """
    Return what a model could have said.

    :param now: Epoch seconds, for the fields that name a time.
    :param twist: What a fault wants to be different.
    :raises CallError: The body lacks what the endpoint needs.
    """
    family, needed = _FAMILIES[endpoint]
    if not isinstance(body.get("model"), str):
        raise missing_parameter("model")
    if needed is not None and not body.get(needed):
        raise missing_parameter(needed)
    asked = Asked(endpoint=endpoint, body=body, now=now, dated_models=dated_models, twist=twist)
    try:
        return family(asked)
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        message = f"Invalid request body for {endpoint}: {error}"
        raise CallError(400, message, code="invalid_value") from error


__all__ = ["ENDPOINTS", "Answer", "Twist", "answer"]
