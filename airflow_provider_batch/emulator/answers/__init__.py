"""
Make answers on this machine, without a model: the same request always gets the same answer.

`answer` serves the lines of a batch and the synchronous routes.
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
from airflow_provider_batch.emulator.answers.common import Answer, AnswerFault, ModelRequest
from airflow_provider_batch.emulator.errors import CallError, missing_parameter

_FAMILIES: Mapping[str, tuple[Callable[[ModelRequest], Answer], str | None]] = {
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
    endpoint: str, body: Mapping[str, Any], *, now: float, dated_models: bool = True, fault: AnswerFault | None = None
) -> Answer:
    """
    Return the answer of the emulator to one request.

    :param endpoint: Path of the endpoint, such as `/v1/chat/completions`; one of `ENDPOINTS`.
    :param body: Request body.
    :param now: Epoch seconds, for the members of the answer that name a time.
    :param dated_models: Name the dated snapshot of a well-known model, as the API does.
    :param fault: Fault that changes the answer; None for a plain answer.
    :raises CallError: The body lacks a member that the endpoint needs, or has one that cannot be read.
    """
    family, needed = _FAMILIES[endpoint]
    if not isinstance(body.get("model"), str):
        raise missing_parameter("model")
    if needed is not None and not body.get(needed):
        raise missing_parameter(needed)
    request = ModelRequest(endpoint=endpoint, body=body, now=now, dated_models=dated_models, fault=fault)
    try:
        return family(request)
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        message = f"Invalid request body for {endpoint}: {error}"
        raise CallError(400, message, code="invalid_value") from error


__all__ = ["ENDPOINTS", "Answer", "AnswerFault", "answer"]
