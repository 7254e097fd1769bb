"""
Make answers on this machine, without a model: the same request always gets the same answer.

`answer` serves the lines of a batch and the synchronous routes.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from airflow_provider_batch.emulator.answers.common import Answer, ModelRequest
from airflow_provider_batch.emulator.errors import CallError, missing_parameter
from airflow_provider_batch.emulator.faults import FaultRule

#: Endpoint → function that answers, and the member that a request needs; from the modules that declare `NEEDED`.
_FAMILIES: Mapping[str, tuple[Callable[[ModelRequest], Answer], str | None]] = {
    endpoint: (module.answer, needed)
    for module in (import_module(one.name) for one in pkgutil.iter_modules(__path__, f"{__name__}."))
    for endpoint, needed in getattr(module, "NEEDED", {}).items()
}
ENDPOINTS = tuple(_FAMILIES)


def answer(
    endpoint: str,
    body: Mapping[str, Any],
    *,
    now: float,
    dated_models: bool = True,
    fault: FaultRule | None = None,
    embedding_sizes: Mapping[str, int] | None = None,
) -> Answer:
    """
    Return the answer of the emulator to one request.

    :param endpoint: Path of the endpoint, such as `/v1/chat/completions`; one of `ENDPOINTS`.
    :param body: Request body.
    :param now: Epoch seconds, for the members of the answer that name a time.
    :param dated_models: Name the dated snapshot of a well-known model, as the API does.
    :param fault: Fault rule that changes the answer; None for a plain answer.
    :param embedding_sizes: Numbers in an embedding by model; OpenAI's for a model that is missing here.
    :raises CallError: The body lacks a member that the endpoint needs, or has one that cannot be read.
    """
    family, needed = _FAMILIES[endpoint]
    if not isinstance(body.get("model"), str):
        raise missing_parameter("model")
    if needed is not None and not body.get(needed):
        raise missing_parameter(needed)
    request = ModelRequest(endpoint, body, now, dated_models, fault, embedding_sizes or {})
    try:
        return family(request)
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        message = f"Invalid request body for {endpoint}: {error}"
        raise CallError(400, message, code="invalid_value") from error


__all__ = ["ENDPOINTS", "Answer", "answer"]
