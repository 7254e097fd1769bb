"""
The response model of a job: checked before anything is sent, and known from the ledger ever after.

The ledger's schema makes the column `parsed`, whoever lands: the task that was woken, a retry, the loader. A class
judges as long as it has that schema; one that was edited meanwhile does not, and the schema judges in its place.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

from airflow_provider_batch.api.endpoints import Endpoint
from airflow_provider_batch.jobs.ledger.ledger import Ledger
from airflow_provider_batch.requests.prepare import RequestSpec
from airflow_provider_batch.structured.column_type import ParsedColumn
from airflow_provider_batch.structured.response_format import directive
from airflow_provider_batch.structured.response_model import ResponseModel
from airflow_provider_batch.table.schema import Raw, TableSpec


def check_response_model(spec: RequestSpec) -> None:
    """Raise ConfigurationError where the request cannot carry the model's directive, or no column its answers."""
    if spec.response_model is not None:
        directive(spec.endpoint, spec.response_model, spec.body)
        ParsedColumn.of(spec.response_model)


def table_spec(ledger: Ledger, raw: Raw, model: ResponseModel | None) -> TableSpec:
    """
    Return what the table of a job looks like.

    :param model: The response model that is at hand, if any.
    """
    return TableSpec(
        Endpoint(ledger.endpoint),
        raw=raw,
        embedding_size=ledger.embedding_size,
        parsed=_parsed(ledger, model),
    )


def _parsed(ledger: Ledger, model: ResponseModel | None) -> ParsedColumn | None:
    schema = ledger.response_schema
    if schema is None:
        return None
    if model is not None and model.schema == schema:
        return ParsedColumn.of(replace(model, schema=schema))
    return ParsedColumn.of(ResponseModel.recorded(schema))


def recorded_schema(spec: RequestSpec, log: logging.Logger) -> dict[str, Any] | None:
    """Return the schema that a new ledger keeps; say so where the API does not hold its answers to it."""
    model = spec.response_model
    if model is None:
        return None
    if spec.body is not None and model.not_strict is not None:
        log.warning("The response model is sent without strict mode, and checked on landing: %s.", model.not_strict)
    return dict(model.schema)
