"""
What is told to Airflow's metrics, where they are switched on; otherwise these calls do nothing.

| metric | kind | means | tags |
|---|---|---|---|
| `openai_batch.batches_active` | gauge | batches that a triggerer waits for (Airflow 3.3 and later) | `conn_id` |
| `openai_batch.queue_seconds` | timer | from a batch's creation until the vendor began to work on it | `conn_id` |
| `openai_batch.batch_seconds` | timer | from a batch's creation until its end was seen | `conn_id`, `status` |
| `openai_batch.rows_done` | counter | rows that were landed with their final result | `dag_id`, `task_id` |
| `openai_batch.tokens_enqueued` | gauge | estimated input tokens of a job's running batches | `dag_id`, `task_id` |
| `openai_batch.cost_usd` | gauge | what a job has cost so far, where prices are known | `dag_id`, `task_id` |
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

PREFIX = "openai_batch"


def batches_active(conn_id: str, count: int) -> None:
    """Tell how many batches are waited for in this process."""
    _tell(_of_the_triggerer, "gauge", "batches_active", count, conn_id=conn_id)


def queue_seconds(conn_id: str, seconds: float) -> None:
    """Tell how long a batch stood in the vendor's queue."""
    _tell(_of_the_triggerer, "timing", "queue_seconds", timedelta(seconds=seconds), conn_id=conn_id)


def batch_seconds(conn_id: str, status: str, seconds: float) -> None:
    """Tell how long a batch took, and how it ended."""
    _tell(_of_the_triggerer, "timing", "batch_seconds", timedelta(seconds=seconds), conn_id=conn_id, status=status)


def job(dag_id: str, task_id: str, *, rows_done: int, tokens_enqueued: int, cost_usd: float | None) -> None:
    """
    Tell where a job stands.

    :param rows_done: Rows that have become final since it was last told.
    """
    if rows_done > 0:
        _tell(_of_the_worker, "incr", "rows_done", rows_done, dag_id=dag_id, task_id=task_id)
    _tell(_of_the_worker, "gauge", "tokens_enqueued", tokens_enqueued, dag_id=dag_id, task_id=task_id)
    if cost_usd is not None:
        _tell(_of_the_worker, "gauge", "cost_usd", cost_usd, dag_id=dag_id, task_id=task_id)


def _tell(stats: Callable[[], Any], kind: str, name: str, value: Any, **tags: str) -> None:
    """A metric that cannot be told is no reason to fail anything."""
    with suppress(Exception):
        getattr(stats(), kind)(f"{PREFIX}.{name}", value, tags=tags)


def _of_the_worker() -> Any:
    from airflow.providers.common.compat.sdk import Stats

    return Stats


def _of_the_triggerer() -> Any:
    """Airflow 3.3 has the module twice: a triggerer sets up the core's, a worker the task SDK's."""
    try:
        from airflow.observability.stats import Stats
    except ImportError:
        return _of_the_worker()
    return Stats
