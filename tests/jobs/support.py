"""A job over the emulator: what the tests of `jobs/` start from."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import duckdb

from airflow_provider_batch import storage
from airflow_provider_batch.api.client import BatchClient
from airflow_provider_batch.api.endpoints import Endpoint
from airflow_provider_batch.api.settings import ClientSettings
from airflow_provider_batch.emulator.testing import Emulator
from airflow_provider_batch.jobs.decisions import Limits
from airflow_provider_batch.jobs.identity import Identity
from airflow_provider_batch.jobs.job_request import InputOptions, JobRequest, TableOptions, Tools
from airflow_provider_batch.jobs.opening.attempt import open_job
from airflow_provider_batch.jobs.runner import Job
from airflow_provider_batch.loader.load import LoadRequest
from airflow_provider_batch.requests.prepare import RequestSpec

BODY = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Say something about {text}."}]}
Asked = TypeVar("Asked", JobRequest, LoadRequest)
LIMITS = Limits(quiet_period=0.2)


def some_rows(count: int) -> list[dict[str, Any]]:
    return [{"key": f"k{n}", "text": f"subject {n}"} for n in range(count)]


def a_request(
    tmp_path: Path,
    source: Any,
    *,
    body: Mapping[str, Any] | None = BODY,
    spec: Mapping[str, Any] | None = None,
    limits: Limits = LIMITS,
    map_index: int = -1,
    **changes: Any,
) -> JobRequest:
    """A request for a job whose table goes to `tmp_path/table` and whose ledger to `tmp_path/state`."""
    given = {"endpoint": Endpoint.CHAT_COMPLETIONS, "body": body, "max_shard_rows": 10, **(spec or {})}
    table = TableOptions(destination=str(tmp_path / "table"))
    request = JobRequest(
        identity=Identity("dag", "task", "run", map_index),
        input=InputOptions(source),
        spec=RequestSpec(**given),
        state=storage.resolve(str(tmp_path / "state")),
        table=table,
        limits=dataclasses.replace(limits, poll_interval=0.05),
    )
    return changed(request, **changes)


def changed(request: Asked, **changes: Any) -> Asked:
    """A request with other values, by their own names, whatever group they are in."""
    for name, value in changes.items():
        groups = [group for group in _GROUPS if hasattr(request, group) and not hasattr(request, name)]
        group = next((group for group in groups if hasattr(getattr(request, group), name)), None)
        given = value if group is None else dataclasses.replace(getattr(request, group), **{name: value})
        request = dataclasses.replace(request, **{group or name: given})
    return request


_GROUPS = ("input", "table", "batch", "limits", "recovery")


def tools_for(emulator: Emulator, **changes: Any) -> Tools:
    """Tools that talk to the emulator, and never wait long."""
    settings = ClientSettings(api_key="sk-test", base_url=emulator.base_url, max_retries=2)
    given: dict[str, Any] = {"client": BatchClient(settings), "sleep": lambda s: time.sleep(min(s, 0.05)), **changes}
    return Tools(**given)


def run(request: JobRequest, tools: Tools) -> dict[str, Any]:
    """Open a job, run it to its end and return the summary."""
    return open_job(request, tools).run().summary


def step_until_waiting(request: JobRequest, tools: Tools) -> Job:
    """Open a job and advance it once: what a deferring worker does."""
    job = open_job(request, tools)
    job.advance()
    return job


def table(tmp_path: Path, columns: str = "*", order: str = "row_number") -> list[tuple[Any, ...]]:
    """Read the landed table with an engine that did not write it."""
    query = f"select {columns} from read_parquet('{tmp_path}/table/*.parquet') order by {order}"
    return duckdb.sql(query).fetchall()


def statuses(tmp_path: Path) -> dict[str, int]:
    query = f"select status, count(*) from read_parquet('{tmp_path}/table/*.parquet') group by 1"
    return dict(duckdb.sql(query).fetchall())


def check_table(tmp_path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Invariant 1: each input row has exactly one result row, with its own columns beside it."""
    landed = table(tmp_path, "row_number, key")
    assert landed == [(number, row["key"]) for number, row in enumerate(rows)]


def check_paid_once(emulator: Emulator) -> None:
    """Invariant 2: no request that was billed was executed and billed again."""
    again = [entry for entry in emulator.state()["repeated_executions"] if entry["billed"] > 1]
    assert again == []


def faster(tools: Tools, by: float) -> Tools:
    """The same tools some seconds later."""
    return dataclasses.replace(tools, clock=lambda: time.time() + by)
