"""The answer format of each endpoint, from the modules of `endpoints/`."""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from importlib import import_module

from airflow_provider_batch.answers import endpoints
from airflow_provider_batch.answers.answer_format import AnswerFormat
from airflow_provider_batch.api.endpoints import FACTS, Endpoint

_DECLARED: Mapping[Endpoint, AnswerFormat] = {
    endpoint: declared
    for module in pkgutil.iter_modules(endpoints.__path__, f"{endpoints.__name__}.")
    for endpoint, declared in import_module(module.name).ANSWERS.items()
}
#: Endpoint → format of its answers. The format of embeddings depends on the table: see `answer_format`.
FORMATS: Mapping[Endpoint, AnswerFormat] = {endpoint: _DECLARED[endpoint] for endpoint in FACTS}


def answer_format(
    endpoint: Endpoint, embedding_size: int | None, size_reason: str = "as in the other rows"
) -> AnswerFormat:
    """
    Return the format of an endpoint's answers.

    :param endpoint: The endpoint.
    :param embedding_size: Numbers in each embedding; None to accept every size.
    :param size_reason: Why embeddings have this size, for messages.
    """
    found = FORMATS[endpoint]
    return found if found.of_size is None or embedding_size is None else found.of_size(embedding_size, size_reason)
