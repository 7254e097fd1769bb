"""A response model as members of a request body that ask for structured outputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_batch.api.endpoints import FACTS, Endpoint
from airflow_provider_batch.exceptions import ConfigurationError
from airflow_provider_batch.structured.response_model import ResponseModel

#: Endpoints with structured outputs.


def directive(endpoint: Endpoint, model: ResponseModel | None, body: Mapping[str, Any] | None) -> dict[str, Any]:
    """
    Return the members that are added to every body and are not templates; none without a model.

    Rows that are ready-made request lines get none either.

    :param endpoint: The endpoint of the job.
    :param model: The response model; None means no structured outputs.
    :param body: Template of the body; None means that the rows are request lines.
    :raises ConfigurationError: The endpoint has no structured outputs, or the body asks for them itself.
    """
    if model is None:
        return {}
    check_endpoint(endpoint)
    if not isinstance(body, Mapping):
        return {}
    form = {"name": model.name, "strict": model.not_strict is None, "schema": model.asked}
    if endpoint is Endpoint.CHAT_COMPLETIONS:
        if "response_format" in body:
            raise _two_directives("response_format")
        return {"response_format": {"type": "json_schema", "json_schema": form}}
    text = body.get("text", {})
    if not isinstance(text, Mapping):
        raise ConfigurationError(
            f"response_model: it adds text.format to the body, and expects an object as 'text', found {text!r}. "
            "Write 'text' as an object."
        )
    if "format" in text:
        raise _two_directives("text.format")
    return {"text": {"format": {"type": "json_schema", **form}}}


def check_endpoint(endpoint: Endpoint) -> None:
    """
    Check that an endpoint has structured outputs.

    :param endpoint: The endpoint of the job.
    :raises ConfigurationError: The endpoint has none.
    """
    if not FACTS[endpoint].takes_response_model:
        names = " and ".join(sorted(one.value for one, facts in FACTS.items() if facts.takes_response_model))
        raise ConfigurationError(
            f"response_model: {names} have structured outputs, {endpoint.value} has none. Leave response_model out."
        )


def _two_directives(member: str) -> ConfigurationError:
    return ConfigurationError(
        f"response_model: the body has a '{member}' too. Give one of them: without response_model the answer stays "
        "text, without the body's member it becomes the column 'parsed'."
    )
