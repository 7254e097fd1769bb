"""DAGs of the tests of assets: a task with outlets, and a DAG that is scheduled by one of them."""

from datetime import UTC, datetime
from typing import Any

from airflow.providers.common.compat.sdk import DAG, Asset, AssetAlias, task

from airflow_provider_batch.operators.openai_batch import OpenAIBatchOperator
from tests.system.dags.whole_job import JOB, PARAMS

#: Airflow 2 wants one where there is a schedule.
START = datetime(2026, 1, 1, tzinfo=UTC)
ANSWERS = Asset("openai_batch_answers")

with DAG(dag_id="with_outlets", schedule=None, params=PARAMS):
    OpenAIBatchOperator(
        source="{{ params.source }}", deferrable=True, outlets=[ANSWERS, AssetAlias("openai_batch_table")], **JOB
    )

with DAG(dag_id="after_answers", schedule=[ANSWERS], start_date=START):

    @task
    def read_table(**context: Any) -> dict[str, Any]:
        """Return what the event says, and the rows of the table that it names."""
        import pyarrow.parquet as pq

        if "triggering_asset_events" in context:
            events = context["triggering_asset_events"][ANSWERS]
        else:  # Airflow 2
            events = context["triggering_dataset_events"][ANSWERS.uri]
        table = pq.read_table(events[0].extra["destination"], columns=["status"])
        return {"events": len(events), "rows_read": table.num_rows, "extra": dict(events[0].extra)}

    read_table()
