"""
Send metrics through Airflow, if its metrics are enabled; otherwise these calls do nothing.

| metric | kind | meaning | tags |
|---|---|---|---|
| `openai_batch.batches_active` | gauge | batches that a triggerer polls (Airflow 3.3 and later) | `conn_id` |
| `openai_batch.queue_seconds` | timer | from a batch's creation until the vendor began to run it | `conn_id` |
| `openai_batch.batch_seconds` | timer | from a batch's creation until a poll showed its end | `conn_id`, `status` |
| `openai_batch.rows_done` | counter | rows that were landed with their final result | `dag_id`, `task_id` |
| `openai_batch.tokens_enqueued` | gauge | estimated input tokens of a job's running batches | `dag_id`, `task_id` |
| `openai_batch.cost_usd` | gauge | cost of a job so far, if its prices are known | `dag_id`, `task_id` |
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

PREFIX = "openai_batch"


def batches_active(conn_id: str, count: int) -> None:
    """
    Send the number of batches that this triggerer polls.

    :param conn_id: Id of the Airflow connection.
    :param count: Number of batches.
    """
    _send(_of_the_triggerer, "gauge", "batches_active", count, conn_id=conn_id)


def queue_seconds(conn_id: str, seconds: float) -> None:
    """
    Send the time that a batch was in the vendor's queue.

    :param conn_id: Id of the Airflow connection.
    :param seconds: Seconds from its creation until the vendor began to run it.
    """
    _send(_of_the_triggerer, "timing", "queue_seconds", timedelta(seconds=seconds), conn_id=conn_id)


def batch_seconds(conn_id: str, status: str, seconds: float) -> None:
    """
    Send the duration of a batch.

    :param conn_id: Id of the Airflow connection.
    :param status: Final status of the batch.
    :param seconds: Seconds from its creation until a poll showed its end.
    """
    _send(_of_the_triggerer, "timing", "batch_seconds", timedelta(seconds=seconds), conn_id=conn_id, status=status)


def job(dag_id: str, task_id: str, *, rows_done: int, tokens_enqueued: int, cost_usd: float | None) -> None:
    """
    Send the state of a job.

    :param dag_id: Id of the DAG.
    :param task_id: Id of the task.
    :param rows_done: Rows that became final since the last call.
    :param tokens_enqueued: Estimated input tokens of the job's running batches.
    :param cost_usd: Cost of the job so far in US dollars; None if prices are unknown.
    """
    if rows_done > 0:
        _send(_of_the_worker, "incr", "rows_done", rows_done, dag_id=dag_id, task_id=task_id)
    _send(_of_the_worker, "gauge", "tokens_enqueued", tokens_enqueued, dag_id=dag_id, task_id=task_id)
    if cost_usd is not None:
        _send(_of_the_worker, "gauge", "cost_usd", cost_usd, dag_id=dag_id, task_id=task_id)


def _send(stats: Callable[[], Any], kind: str, name: str, value: Any, **tags: str) -> None:
    """Send one metric; an error of the metrics backend must not fail a task."""
    with suppress(Exception):
        getattr(stats(), kind)(f"{PREFIX}.{name}", value, tags=tags)


def _of_the_worker() -> Any:
    from airflow.providers.common.compat.sdk import Stats

    return Stats


def _of_the_triggerer() -> Any:
    """Return the metrics of Airflow's core, which a triggerer sets up; a worker sets up those of the task SDK."""
    try:
        from airflow.observability.stats import Stats
    except ImportError:
        return _of_the_worker()
    return Stats
