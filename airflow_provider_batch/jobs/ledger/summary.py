"""The summary of a ledger for people: counts, cost, and one line for each shard."""

from __future__ import annotations

from typing import Any

from airflow_provider_batch.jobs.ledger.ledger import Ledger
from airflow_provider_batch.jobs.ledger.shard_record import ShardRecord


def report(ledger: Ledger) -> dict[str, Any]:
    """
    Return a ledger as plain, JSON-safe values; they name batches and files and hold no secret.

    :param ledger: The ledger.
    """
    totals = ledger.totals()
    return {
        "job": ledger.job,
        "dag_id": ledger.identity.dag_id,
        "task_id": ledger.identity.task_id,
        "run_id": ledger.identity.run_id,
        "map_index": ledger.identity.map_index,
        "endpoint": ledger.endpoint,
        "generation": ledger.generation,
        "round": ledger.round,
        "finished": ledger.finished_at is not None,
        "closing": None if ledger.closing is None else ledger.closing.message,
        "input_rows": ledger.rows,
        "landed_rows": totals.rows,
        "statuses": totals.statuses,
        "usage": totals.usage,
        "cost_usd": None if totals.cost_usd is None else str(totals.cost_usd),
        "shards": [_line(shard) for shard in ledger.shards],
    }


def _line(shard: ShardRecord) -> dict[str, Any]:
    return {
        "shard": shard.key,
        "state": shard.state,
        "rows": shard.rows,
        "model": shard.model,
        "batch": shard.batch_id,
        "ended": None if shard.ending is None else shard.ending.status,
        "part": None if shard.landing is None else shard.landing.part,
    }
