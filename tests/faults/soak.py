"""
A long job with everything going wrong at once, on this machine: `make soak`.

Rows fail for passing reasons, two batches expire, the queue holds three shards, and the process that drives the job is
killed once in the first round and once in a later one. The table has to be exact, and nothing paid twice.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow_provider_batch import storage
from airflow_provider_batch.api.client import BatchClient
from airflow_provider_batch.api.endpoints import Endpoint
from airflow_provider_batch.api.settings import ClientSettings
from airflow_provider_batch.emulator.answers.tokens import of_request
from airflow_provider_batch.emulator.testing import Emulator, running_emulator
from airflow_provider_batch.jobs import decisions
from airflow_provider_batch.jobs.decisions import Limits
from airflow_provider_batch.jobs.identity import Identity
from airflow_provider_batch.jobs.job_request import InputOptions, JobRequest, TableOptions, Tools
from airflow_provider_batch.jobs.ledger.store import LedgerStore
from airflow_provider_batch.jobs.opening.attempt import open_job
from airflow_provider_batch.requests.prepare import RequestSpec
from tests.faults.processes import Child, in_a_process, warm_up

MODEL = "gpt-4o-mini"
SHARDS_IN_QUEUE = 3
#: Share of the rows whose first execution fails.
FAILING = 0.15
EXPIRING = 2
PATIENCE = 1_800
MEGABYTE = 1 << 20
#: Sentences about as long as a support ticket; of one length, so that the tokens of a shard can be told before.
TEXT = "The invoice of order {number:08d} was paid twice, and nobody answers the telephone. " * 4


@dataclass(frozen=True)
class Soak:
    """A job of so many rows and shards in a folder."""

    folder: Path
    emulator: Emulator
    rows: int
    shards: int

    @property
    def source(self) -> Path:
        return self.folder / "tickets.parquet"

    def write_source(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        schema = pa.schema({"id": pa.int64(), "text": pa.string()})
        with pq.ParquetWriter(self.source, schema) as writer:
            for first in range(0, self.rows, 20_000):
                numbers = range(first, min(first + 20_000, self.rows))
                columns = {"id": list(numbers), "text": [TEXT.format(number=number) for number in numbers]}
                writer.write_table(pa.table(columns, schema=schema))

    def set_up(self) -> None:
        request = {"messages": [{"role": "user", "content": TEXT.format(number=0)}]}
        a_shard = of_request("/v1/chat/completions", request) * self.rows // self.shards
        self.emulator.configure(enqueued_token_limit=int(a_shard * (SHARDS_IN_QUEUE + 0.5)))
        self.emulator.fault(kind="http_error", status=503, fraction=FAILING, executions=1)
        self.emulator.fault(kind="expire", after=0.5, times=EXPIRING)

    def drive(self) -> dict[str, Any]:
        """What the driving process does; returns the summary."""
        logging.basicConfig(filename=self.folder / "log", level=logging.INFO, format="%(process)d %(message)s")
        logging.getLogger("httpx").setLevel(logging.WARNING)
        decisions.QUEUE_PAUSES = (0.5, 2.0)
        request = JobRequest(
            identity=Identity("soak", "answer", "run"),
            input=InputOptions(str(self.source)),
            spec=RequestSpec(
                endpoint=Endpoint.CHAT_COMPLETIONS,
                body={"model": MODEL, "messages": [{"role": "user", "content": "{text}"}]},
                custom_id="{id}",
                carry=["id"],
                max_shard_rows=-(-self.rows // self.shards),
            ),
            state=storage.resolve(str(self.folder / "state")),
            table=TableOptions(destination=str(self.folder / "table")),
            limits=Limits(quiet_period=2.0, poll_interval=0.5),
        )
        settings = ClientSettings(api_key="sk-test", base_url=self.emulator.base_url)
        return open_job(request, Tools(client=BatchClient(settings))).run().summary

    def landed(self) -> int:
        """How many shards have landed, as the ledger has it."""
        found = next((self.folder / "state").glob("*/*/ledger.json"), None)
        ledger = None if found is None else LedgerStore(storage.resolve(str(found.parent))).load()
        return 0 if ledger is None else ledger.count_in("landed")

    def check(self) -> dict[str, Any]:
        """Count what is in the table, with an engine that did not write it."""
        import duckdb

        source, table = f"read_parquet('{self.source}', file_row_number = true)", f"{self.folder}/table/*.parquet"
        matching, rows, distinct, answered, rounds = duckdb.sql(
            f"""
            select count(*) filter (source.id = result.id and result.custom_id = source.id::varchar),
                   count(*), count(distinct result.row_number),
                   count(*) filter (status = 'succeeded' and length(result.text) > 0), max(round)
            from read_parquet('{table}') as result
            left join {source} as source on source.file_row_number = result.row_number
            """
        ).fetchall()[0]
        return {"matching": matching, "rows": rows, "distinct": distinct, "answered": answered, "rounds": rounds}

    def report(self, summary: dict[str, Any]) -> int:
        """Print what is in the table and what it cost; return 0 where everything holds."""
        found = in_a_process(self.check, self.folder / "answer.json")
        state = self.emulator.state()
        statuses = [batch["status"] for batch in state["batches"]]
        cost = float(state["cost_usd"])
        print(f"table: {json.dumps(found)}")
        print(
            f"batches: {summary['batches']} in {summary['rounds']} rounds; expired: "
            f"{statuses.count('expired')}, refused "
            f"for the queue limit: {statuses.count('failed')}"
        )
        print(f"executions: {json.dumps(state['executions'])}")
        print(f"cost: ${cost:.6f} at the emulator, ${summary['cost_usd']:.6f} in the manifest")
        checks = {
            "one row for each row, with its own columns and an answer": all(
                found[name] == self.rows for name in ("matching", "rows", "distinct", "answered")
            ),
            "nothing paid twice": state["executions"]["billed_again"] == 0,
            "no batch too many": len(statuses) - statuses.count("failed") == summary["batches"],
            "money spent is money due": abs(cost - summary["cost_usd"]) < 1e-9 * self.rows,
            f"{EXPIRING} batches expired": statuses.count("expired") == EXPIRING,
            "the queue was full": "failed" in statuses,
        }
        for text, holds in checks.items():
            print(f"{'ok   ' if holds else 'WRONG'}  {text}")
        return 0 if all(checks.values()) else 1


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak", description=__doc__.splitlines()[1])
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--shards", type=int, default=20)
    given = parser.parse_args(arguments)
    os.environ["no_proxy"] = "127.0.0.1,localhost"
    warm_up()
    with tempfile.TemporaryDirectory(prefix="soak-") as folder, running_emulator() as emulator:
        soak = Soak(Path(folder), emulator, given.rows, given.shards)
        in_a_process(soak.write_source, soak.folder / "answer.json")
        soak.set_up()
        begun = time.monotonic()
        summary = _drive(soak, [given.shards // 3, given.shards + 1])
        print(f"{time.monotonic() - begun:,.0f} s in all")
        return soak.report(summary)


def _drive(soak: Soak, kills: list[int]) -> dict[str, Any]:
    """Run the job, with a kill whenever so many shards have landed; print each process's time and peak memory."""
    for kill_at in [*kills, None]:
        begun, peak = time.monotonic(), 0
        child = Child(soak.drive, soak.folder / "answer.json", patience=PATIENCE)
        while not child.wait(0.25):
            peak = child.peak_memory
            if kill_at is not None and soak.landed() >= kill_at:
                child.kill()
                kill_at = None
        how = f"killed, with {soak.landed()} shards landed" if child.killed_by else "ended"
        print(f"driving process: {time.monotonic() - begun:,.0f} s, peak memory {peak / MEGABYTE:,.0f} MB; {how}")
        if not child.killed_by:
            break
    summary: dict[str, Any] = child.answer
    return summary


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # the query engine complains about an interpreter that ends after a fork
