"""
Measure what a job reads and writes of its ledger, by the number of shards.

    python -m benchmarks.ledger [--quick]

The decisions and the ledger's store are real. Batches end and shards land at once, with records as long as real ones.
There are two ways to run: one worker to the end, and a deferring task. The deferring task is woken whenever five of
its fifty batches have ended; it reads the ledger and takes its lease.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast
from unittest.mock import patch

from airflow_provider_batch import storage
from airflow_provider_batch.api.client import BatchClient
from airflow_provider_batch.api.objects import Batch
from airflow_provider_batch.jobs import actions
from airflow_provider_batch.jobs.decisions import Limits, next_action
from airflow_provider_batch.jobs.identity import Fingerprint, Identity
from airflow_provider_batch.jobs.ledger import events
from airflow_provider_batch.jobs.ledger.events import Event
from airflow_provider_batch.jobs.ledger.ledger import Lease, Ledger
from airflow_provider_batch.jobs.ledger.shard_record import Ending, Landing, ShardRecord
from airflow_provider_batch.jobs.ledger.store import LedgerStore
from airflow_provider_batch.jobs.submission.create import find_duplicates
from airflow_provider_batch.storage import Location, Stored
from benchmarks.measuring import Table, arguments, parse, print_tables

SIZES, QUICK_SIZES = (100, 500, 2_000, 5_000), (100, 500)
ROWS = 50_000
#: Ended batches after which a worker is woken: a tenth of the batches that run at a time.
ENDED_PER_WAKE_UP = 5

_COLUMNS = ("shards", "MB read", "MB written", "reads", "writes", "files", "CPU seconds", "MB without a wake-up")


@dataclass
class Traffic:
    """
    Calls to storage.

    :param read: Bytes read.
    :param written: Bytes written.
    :param reads: Number of read calls.
    :param writes: Number of write calls.
    """

    read: int = 0
    written: int = 0
    reads: int = 0
    writes: int = 0


@contextmanager
def counted() -> Iterator[Traffic]:
    """Count the calls to storage inside the `with` block, as an object store counts them."""
    traffic = Traffic()
    read_or_none, read_stored = Location.read_or_none, Location.read_stored
    write, write_if = Location.write, Location.write_if

    def count_read(data: bytes | None) -> None:
        traffic.reads += 1
        traffic.read += len(data or b"")

    def counted_read(self: Location) -> bytes | None:
        data = read_or_none(self)
        count_read(data)
        return data

    def counted_stored(self: Location) -> Stored | None:
        with patch.object(Location, "read_or_none", read_or_none):
            stored = read_stored(self)
        count_read(None if stored is None else stored.data)
        return stored

    def counted_write(self: Location, data: bytes) -> None:
        traffic.writes += 1
        traffic.written += len(data)
        write(self, data)

    def counted_write_if(self: Location, data: bytes, version: str | None) -> bool:
        traffic.writes += 1
        traffic.written += len(data)
        with patch.multiple(Location, write=write, read_or_none=read_or_none):
            return write_if(self, data, version)

    with patch.multiple(
        Location, read_or_none=counted_read, read_stored=counted_stored, write=counted_write, write_if=counted_write_if
    ):
        yield traffic


def run_job(store: LedgerStore, shards: int, *, ended_per_wake_up: int | None = None, at_once: int = 50) -> Ledger:
    """
    Run a job to its end, and return its ledger.

    :param store: Store of the ledger, still empty.
    :param shards: Number of shards.
    :param ended_per_wake_up: Ended batches after which a new process continues the job; None for one process.
    :param at_once: Batches that run at a time.
    """
    limits = Limits(timeout=1e9, max_active_batches=at_once)
    ledger, now = store.begin(first_ledger(shards)), 1.0
    while True:
        ended = {batch_id: _ended(batch_id) for batch_id in ledger.active_ids[: ended_per_wake_up or ENDED_PER_WAKE_UP]}
        while True:
            now += 0.001
            action = next_action(ledger, ended, limits, now)
            if isinstance(action, actions.Wait):
                break
            if isinstance(action, actions.Finish):
                return store.record(ledger, events.Finished(now))
            for event in _events(action, store, ledger, now):
                ledger = store.record(ledger, event)
        if ended_per_wake_up is not None:
            store = LedgerStore(store.folder)
            found = store.load()
            assert found is not None
            ledger = store.record(found, events.Leased(uuid.uuid4().hex, now))
            ledger.totals()  # a deferring task logs them before it waits again
            find_duplicates(UNUSED_CLIENT, ledger, now)


#: A client that is never called.
UNUSED_CLIENT = cast(BatchClient, None)


def first_ledger(shards: int) -> Ledger:
    """
    Return the ledger of a job that has submitted no batch.

    :param shards: Number of shards.
    """
    return Ledger(
        identity=Identity("reviews_daily", "answer", "scheduled__2026-11-29T00:00:00+00:00", -1),
        fingerprint=Fingerprint(*["0" * 64] * 7),
        endpoint="/v1/chat/completions",
        rows=shards * ROWS,
        created_at=1.0,
        lease=Lease(owner=uuid.uuid4().hex, epoch=1, at=1.0),
        shards=tuple(_shard(number) for number in range(1, shards + 1)),
        destination="s3://bucket/reviews/answers/2026-11-29",
        token=uuid.uuid4().hex,
    )


def _shard(number: int) -> ShardRecord:
    return ShardRecord(
        key=f"r01-s{number:05}",
        rows=ROWS,
        bytes=123_456_789,
        inputs=ROWS,
        tokens=12_345_678,
        sha256=f"{uuid.uuid4().hex * 2}-{uuid.uuid4().hex * 2}",
        model="gpt-5-mini",
        row_checksum=uuid.uuid4().hex,
    )


def _events(action: actions.Action, store: LedgerStore, ledger: Ledger, now: float) -> Sequence[Event]:
    match action:
        case actions.Submit(shard=key):
            store.check_lease(ledger)
            batch_id = f"batch_{uuid.uuid4().hex}"
            file_id = f"file-{uuid.uuid4().hex[:24]}"
            return [events.Uploaded(key, file_id), events.Intended(key, now), events.Accepted(key, batch_id, now)]
        case actions.RecordEnd(shard=key, batch=batch):
            return [events.Ended(key, Ending.of(batch, now))]
        case actions.Land(shard=key):
            return [events.Landed(key, _landing(key, now))]
    raise AssertionError(f"{action}: not in this job")


def _landing(key: str, now: float) -> Landing:
    usage = {"prompt_tokens": 12_345_678, "completion_tokens": 2_345_678, "cached_tokens": 0, "reasoning_tokens": 0}
    return Landing(
        rows=ROWS,
        statuses={"succeeded": ROWS - 3, "failed": 3},
        part=f"part-0123456789ab-{key[-5:]}-01-{uuid.uuid4().hex[:12]}.parquet",
        usage=usage,
        cost_usd="12.3456789",
        max_attempts=3,
        max_rounds=10,
        at=now,
        row_checksum=uuid.uuid4().hex,
    )


def _ended(batch_id: str) -> Batch:
    file = f"file-{uuid.uuid4().hex[:24]}"
    return Batch(id=batch_id, status="completed", output_file_id=file, total=ROWS, completed=ROWS)


def measured(shards: int, ended_per_wake_up: int | None) -> tuple[Traffic, int, float]:
    """
    Run a job in storage in memory; return its traffic, the number of its ledger's files, and its CPU seconds.

    :param shards: Number of shards.
    :param ended_per_wake_up: Ended batches after which a new process continues the job; None for one process.
    """
    store = LedgerStore(storage.resolve(f"memory://{uuid.uuid4().hex}/job"))
    start = time.process_time()
    with counted() as traffic:
        run_job(store, shards, ended_per_wake_up=ended_per_wake_up)
    seconds = time.process_time() - start
    files = len(store.folder.list())
    store.folder.remove_folder()
    return traffic, files, seconds


def _row(shards: int) -> list[Any]:
    woken, files, seconds = measured(shards, ENDED_PER_WAKE_UP)
    alone, _, _ = measured(shards, None)
    megabytes = (woken.read / 1e6, woken.written / 1e6)
    return [shards, *megabytes, woken.reads, woken.writes, files, seconds, (alone.read + alone.written) / 1e6]


def main() -> None:
    """Run the job at all sizes, and print the table."""
    options = parse(arguments(__doc__ or ""))
    table: Table = {
        "title": "Ledger: what is read and written of it, by the number of shards",
        "columns": list(_COLUMNS),
        "rows": [_row(shards) for shards in (QUICK_SIZES if options.quick else SIZES)],
        "notes": [
            "A deferring task: 50 batches at a time, a worker is woken after each 5 ended batches. A wake-up reads the "
            "active shards, the next shards to submit, and one line for each 64 other shards. The last column is the "
            "same job in one process.",
            "With wake-ups that read all shards: 6 MB for 100 shards, 57 for 500, 625 for 2,000 and 3,559 for 5,000.",
            "Release 0.1 read and wrote 0.2 GB for 100 shards, 4.5 GB for 500 and 72 GB for 2,000, in one process.",
            "CPU seconds include only the decisions and the ledger, with storage in memory.",
            "To make only this table: `python -m benchmarks.ledger`.",
        ],
        "key": "ledger",
        "runs": {},
    }
    print_tables([table], options)


if __name__ == "__main__":
    main()
