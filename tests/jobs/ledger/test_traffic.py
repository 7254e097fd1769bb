"""What a job reads and writes of its ledger grows with its shards, not with their square."""

from __future__ import annotations

import uuid

import pytest

from airflow_provider_batch import storage
from airflow_provider_batch.jobs.ledger import files, segments, store
from airflow_provider_batch.jobs.ledger.ledger import Ledger
from airflow_provider_batch.jobs.ledger.shard_index import ShardIndex
from airflow_provider_batch.jobs.ledger.shard_list import ShardList
from airflow_provider_batch.jobs.ledger.store import LedgerStore
from benchmarks.ledger import Traffic, counted, first_ledger, run_job


def traffic_of(shards: int, ended_per_wake_up: int | None = None) -> tuple[Traffic, Ledger, LedgerStore]:
    kept = LedgerStore(storage.resolve(f"memory://{uuid.uuid4().hex}/job"))
    with counted() as traffic:
        ledger = run_job(kept, shards, ended_per_wake_up=ended_per_wake_up, at_once=5)
    return traffic, ledger, kept


@pytest.fixture
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many event files and bases in a job of few shards."""
    monkeypatch.setattr(store, "EVENT_FILE_BYTES", 1_024)
    monkeypatch.setattr(store, "BASE_EVERY_BYTES", 2_048)
    monkeypatch.setattr(segments, "SEGMENT_SHARDS", 16)
    monkeypatch.setattr(segments, "SEGMENT_SHARDS_LEAST", 4)


@pytest.mark.usefixtures("small_files")
@pytest.mark.parametrize("ended_per_wake_up", [None, 1], ids=["one process", "a process for each batch that ends"])
def test_four_times_the_shards_are_four_times_the_bytes_of_their_ledger(ended_per_wake_up: int | None) -> None:
    few, _, _ = traffic_of(25, ended_per_wake_up)
    many, _, _ = traffic_of(100, ended_per_wake_up)
    assert many.read + many.written < 5 * (few.read + few.written)
    assert many.reads + many.writes < 5 * (few.reads + few.writes)


@pytest.mark.usefixtures("small_files")
def test_a_ledger_is_the_same_read_from_its_newest_base_or_from_its_first() -> None:
    _, ledger, kept = traffic_of(25)
    assert LedgerStore(kept.folder).load() == ledger
    bases = sorted(name for name in kept.folder.list() if name.startswith("ledger-"))
    assert len(bases) > 4
    for name in bases:
        kept.location.write(files.encode_head(ledger.birth, int(name[-11:-5])))
        assert LedgerStore(kept.folder).load() == ledger


def test_a_check_of_the_lease_reads_one_file_of_events_however_large_the_ledger_is() -> None:
    kept = LedgerStore(storage.resolve(f"memory://{uuid.uuid4().hex}/job"))
    ledger = kept.begin(first_ledger(2_000))
    with counted() as traffic:
        kept.check_lease(ledger)
    assert traffic.read < files.EVENT_FILE_BYTES


def test_the_index_of_shards_is_that_of_a_ledger_read_again() -> None:
    _, ledger, _ = traffic_of(12)
    again = ShardIndex.of(ShardList(ledger.shards))
    for name in ("planned", "intended", "submitted", "ended", "landed", "held", "untrimmed"):
        assert list(ledger.index.group(name)) == list(again.group(name))
