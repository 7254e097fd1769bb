"""
Checks of request bodies for what the API would refuse, before anything is sent.

Only errors that make the API refuse a whole input file, or certainly every row, are checked here; how a model uses a
body is not.
"""

from __future__ import annotations

import decimal
import difflib
from collections.abc import Mapping
from typing import Any

from airflow_provider_batch.api.endpoints import FACTS, Endpoint
from airflow_provider_batch.arrow.utf8 import shortened
from airflow_provider_batch.exceptions import ConfigurationError


def endpoint_of(text: str) -> Endpoint:
    """
    Return the endpoint for a path such as ``/v1/responses``.

    :param text: The path.
    :raises ConfigurationError: The Batch API has no such endpoint; the message lists all.
    """
    try:
        return Endpoint(text)
    except ValueError:
        names = [endpoint.value for endpoint in Endpoint]
        close = difflib.get_close_matches(str(text), names, n=1, cutoff=0.5)
        meant = f" Did you mean '{close[0]}'?" if close else ""
        raise ConfigurationError(
            f"endpoint: '{text}' is not an endpoint of the Batch API.{meant} Expected one of {', '.join(names)}."
        ) from None


def body_problem(endpoint: Endpoint, body: Mapping[str, Any]) -> str | None:
    """
    Return the first thing that is wrong with a body, or None.

    :param endpoint: The endpoint.
    :param body: The body of a request.
    """
    for group in FACTS[endpoint].required:
        if not any(body.get(name) is not None for name in group):
            return f"{endpoint.value} needs {_either(group)} in the body, found {_found(group, body)}."
    for name in CHECKED:
        if name in body and (problem := member_problem(name, body[name])) is not None:
            return problem
    return None


#: Top-level members whose values are checked.
CHECKED = ("model", "messages", "stream", "input", "prompt")
#: Members of `CHECKED` that are valid where they are text.
TEXTS = ("input", "prompt")


def member_problem(name: str, value: Any) -> str | None:
    """
    Return what is wrong with the value of a top-level member, or None.

    :param name: Name of the member.
    :param value: Its value.
    """
    if name == "stream" and value not in (False, None):
        return "expected no 'stream', as the Batch API does not stream. Leave it out of the body."
    if name == "model" and not (isinstance(value, str) and value):
        return f"expected the name of a model as 'model', found {_shown(value)}."
    if name == "messages" and not (isinstance(value, list | tuple) and value):
        return f"expected a list of messages as 'messages', found {_shown(value)}."
    if name in TEXTS and isinstance(value, int | float | decimal.Decimal):
        return f"expected text or a list as '{name}', found {_shown(value)}. A column inside a longer text is text."
    return None


def needed_members(endpoint: Endpoint, body: Mapping[str, Any]) -> frozenset[str]:
    """
    Return the members of a body that may not be null, because the body has no other member in their place.

    :param endpoint: The endpoint.
    :param body: The body, or its template.
    """
    present = ([name for name in group if name in body] for group in FACTS[endpoint].required)
    return frozenset(names[0] for names in present if len(names) == 1)


def count_inputs(endpoint: Endpoint, value: Any) -> int:
    """
    Return how many inputs a request has: for embeddings the length of an array, where it is not one array of tokens.

    :param endpoint: The endpoint; 1 for all but embeddings.
    :param value: Value of the member ``input``.
    """
    if not FACTS[endpoint].counts_inputs or not isinstance(value, list | tuple) or not value:
        return 1
    return 1 if all(type(item) is int for item in value) else len(value)


def _either(names: tuple[str, ...]) -> str:
    return " or ".join(f"'{name}'" for name in names)


def _found(group: tuple[str, ...], body: Mapping[str, Any]) -> str:
    if any(name in body for name in group):
        return "null"
    return f"the members {', '.join(body)}" if body else "none"


def _shown(value: Any) -> str:
    if value is None:
        return "null"
    return f"{type(value).__name__} {shortened(repr(value))}"
