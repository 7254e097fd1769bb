"""
Partitions: one job reads some partitions of a table and writes a partitioned table.

The keys in the names of the folders (``day=2026-11-20/lang=de/``) are columns. ``filters`` selects by them, and files
of other partitions are not read. ``partition_by`` writes the result into folders with such names.
"""

from __future__ import annotations

from airflow.providers.common.compat.sdk import DAG, Param

from airflow_provider_batch.operators.openai_batch import OpenAIBatchOperator

with DAG(
    dag_id="openai_batch_partitions_in_and_out",
    description="German reviews since a day, translated, in a folder for each day and status",
    schedule=None,
    params={
        "source": Param("s3://example-bucket/reviews", type="string", description="Folders day=…/lang=…"),
        "destination": Param("s3://example-bucket/reviews_in_english", type="string"),
        "since": Param("2026-11-19", type="string", format="date"),
    },
    tags=["openai_batch"],
):
    OpenAIBatchOperator(
        task_id="translate",
        endpoint="/v1/responses",
        source="{{ params.source }}",
        filters=[("lang", "=", "de"), ("day", ">=", "{{ params.since }}")],
        destination="{{ params.destination }}",
        partition_by=["day", "status"],
        body={"model": "gpt-6-luna", "input": "Translate into English:\n\n{review}"},
        carry=["review_id", "day"],
        # Each run adds its part files to the table; the files of earlier runs stay.
        if_exists="append",
        deferrable=True,
    )
