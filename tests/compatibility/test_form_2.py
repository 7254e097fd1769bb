"""A ledger whose bases held all shards, as they did before shards at rest got files of their own, goes on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from airflow_provider_batch import storage
from airflow_provider_batch.jobs.ledger import segments, store
from airflow_provider_batch.jobs.ledger.events import Accepted, Leased, Trimmed
from airflow_provider_batch.jobs.ledger.ledger import Ledger
from airflow_provider_batch.jobs.ledger.store import LedgerStore

LEFT = Path(__file__).parent / "form_2" / "job"
OPEN = "r01-s00015"


@pytest.fixture
def kept(tmp_path: Path) -> LedgerStore:
    """The ledger of 20 shards: 11 have landed, one has ended, two run, one was being sent."""
    shutil.copytree(LEFT, tmp_path / "job")
    return LedgerStore(storage.resolve(str(tmp_path / "job")))


def loaded(kept: LedgerStore) -> Ledger:
    ledger = LedgerStore(kept.folder).load()
    assert ledger is not None
    return ledger


def test_is_read_with_all_that_it_holds(kept: LedgerStore) -> None:
    ledger = kept.load()
    assert ledger is not None
    counts = {state: ledger.count_in(state) for state in ("landed", "ended", "submitted", "intended", "planned")}
    assert counts == {"landed": 11, "ended": 1, "submitted": 2, "intended": 1, "planned": 5}
    assert ledger.totals().rows == 11 * 50_000
    assert ledger.batch_ids == [f"batch_{number}" for number in range(1, 15)]


def test_goes_on_in_the_form_of_today_from_its_next_base_on(kept: LedgerStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "SEGMENT_SHARDS_LEAST", 4)
    monkeypatch.setattr(store, "BASE_EVERY_BYTES", 1_000)
    monkeypatch.setattr(store, "BASE_EVERY_SHARE", 0.0)
    ledger = kept.load()
    assert ledger is not None
    ledger = kept.record(ledger, Accepted(OPEN, "batch_15", 32.0))
    while not any(name.startswith("shards-") for name in kept.folder.list()):
        assert loaded(kept) == ledger
        ledger = kept.record(ledger, Leased("another", 40.0))
    head = json.loads(kept.location.read_or_none() or b"")
    assert head["version"] == 3
    assert loaded(kept) == ledger
    assert loaded(kept).batch_ids == [f"batch_{number}" for number in range(1, 16)]
    ledger = kept.record(ledger, Trimmed("r01-s00003", 49_997))
    assert loaded(kept) == ledger
    assert loaded(kept).totals().rows == 11 * 50_000 - 3
