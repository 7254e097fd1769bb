"""
Structured outputs: each row's text becomes a typed record, defined by a Pydantic model.

The model's JSON Schema is sent with each request, and every answer is validated with the model. The result has a struct
column ``parsed``, whose fields SQL can read:

    SELECT document, parsed.supplier, parsed.due_date, unnest(parsed.positions) FROM 's3://…/invoices/*.parquet'

A row whose answer is not valid keeps the answer's text, the status ``invalid_output`` and the reason.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from enum import Enum

from airflow.providers.common.compat.sdk import DAG, Param
from pydantic import BaseModel, Field

from airflow_provider_batch.operators.openai_batch import OpenAIBatchOperator


class Currency(Enum):
    """Currency of the amounts."""

    EUR = "EUR"
    USD = "USD"
    OTHER = "other"


class Position(BaseModel):
    """One line of an invoice."""

    description: str
    quantity: int = Field(ge=1)
    price: Decimal = Field(max_digits=12, decimal_places=2, description="Price of one piece, without tax.")


class Invoice(BaseModel):
    """Contents of an invoice."""

    supplier: str
    issued: date
    due_date: date | None = Field(description="Null where the invoice names none.")
    currency: Currency
    positions: list[Position] = Field(min_length=1)


with DAG(
    dag_id="openai_batch_extract_invoices",
    description="Supplier, dates and positions of each invoice, as columns",
    schedule=None,
    params={
        "source": Param("s3://example-bucket/scanned/*.parquet", type="string"),
        "destination": Param("s3://example-bucket/invoices", type="string"),
    },
    tags=["openai_batch"],
):
    OpenAIBatchOperator(
        task_id="extract",
        endpoint="/v1/responses",
        source="{{ params.source }}",
        destination="{{ params.destination }}",
        body={
            "model": "gpt-6-luna",
            "instructions": "Read the invoice. Leave out what it does not say.",
            "input": "{text}",
        },
        response_model=Invoice,
        carry=["document"],
        max_failed=0.02,
        deferrable=True,
    )
