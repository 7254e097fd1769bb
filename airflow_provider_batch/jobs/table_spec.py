"""
The columns of a job's table. The response model is checked before anything is sent, and its schema kept in the ledger.

The ledger's schema makes the column `parsed`, whichever process lands: the resumed task, a retry, or the loader. The
model's class validates answers as long as it has that schema; after an edit of the class, the schema does.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

from airflow_provider_batch.api.client import BatchClient
from airflow_provider_batch.api.endpoints import Endpoint
from airflow_provider_batch.jobs.ledger.ledger import Ledger
from airflow_provider_batch.pricing.prices import OPENAI, Tariff
from airflow_provider_batch.requests.prepare import RequestSpec
from airflow_provider_batch.structured.column_type import ParsedColumn
from airflow_provider_batch.structured.response_format import directive
from airflow_provider_batch.structured.response_model import ResponseModel
from airflow_provider_batch.table.schema import Raw, TableSpec


def check_response_model(spec: RequestSpec) -> None:
    """
    Check that the request can carry the model's directive, and a column its answers.

    :param spec: What request to make of each row.
    :raises ConfigurationError: One of them cannot.
    """
    if spec.response_model is not None:
        directive(spec.endpoint, spec.response_model, spec.body)
        ParsedColumn.of(spec.response_model)


def tariff_of(client: BatchClient) -> Tariff:
    """
    Return whose prices apply to the answers of a service.

    :param client: Client of the account.
    """
    service = client.settings.service
    return Tariff(service.prices, service.share)


def table_spec(ledger: Ledger, raw: Raw, model: ResponseModel | None, tariff: Tariff = OPENAI) -> TableSpec:
    """
    Return what the table of a job looks like.

    :param ledger: The job's ledger.
    :param raw: Rows whose response body is kept as JSON.
    :param model: The response model in this process; None to validate by the ledger's schema.
    :param tariff: Whose prices apply to the answers.
    """
    return TableSpec(
        Endpoint(ledger.endpoint),
        raw=raw,
        embedding_size=ledger.embedding_size,
        size_from=ledger.embedding_size_from,
        usual_embedding_size=ledger.usual_embedding_size,
        parsed=_parsed(ledger, model),
        tariff=tariff,
    )


def _parsed(ledger: Ledger, model: ResponseModel | None) -> ParsedColumn | None:
    schema = ledger.response_schema
    if schema is None:
        return None
    if model is not None and model.schema == schema:
        return ParsedColumn.of(replace(model, schema=schema))
    return ParsedColumn.of(ResponseModel.recorded(schema))


def recorded_schema(spec: RequestSpec, log: logging.Logger) -> dict[str, Any] | None:
    """
    Return the schema that a new ledger keeps; log where the API does not enforce it.

    :param spec: What request to make of each row.
    :param log: Logger of the task.
    """
    model = spec.response_model
    if model is None:
        return None
    if spec.body is not None and model.not_strict is not None:
        log.warning("The response model is sent without strict mode, and checked on landing: %s.", model.not_strict)
    return dict(model.schema)
