"""The ledger on storage: of several attempts one continues, and no event is ever lost."""

from __future__ import annotations

import multiprocessing
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from airflow_provider_batch import storage
from airflow_provider_batch.exceptions import JobTakenError, StorageError
from airflow_provider_batch.jobs.identity import Fingerprint, Identity
from airflow_provider_batch.jobs.ledger.events import Intended, Leased, Refused
from airflow_provider_batch.jobs.ledger.files import VERSION, is_ledger_file
from airflow_provider_batch.jobs.ledger.ledger import Lease, Ledger
from airflow_provider_batch.jobs.ledger.shard_record import ShardRecord
from airflow_provider_batch.jobs.ledger.store import LedgerStore
from tests.stores.s3_server import S3Server, at
from tests.writers import at_once

KEY = "r01-s00001"


def a_ledger(**changes: Any) -> Ledger:
    shard = ShardRecord(key=KEY, rows=1, bytes=1, inputs=1, tokens=1, sha256="")
    given: dict[str, Any] = {
        "identity": Identity("dag", "task", "run", -1),
        "fingerprint": Fingerprint("endpoint", "body", "options", "account", "source", "content"),
        "endpoint": "/v1/embeddings",
        "rows": 1,
        "created_at": 1.0,
        "lease": Lease(owner=uuid.uuid4().hex, epoch=1, at=1.0),
        "shards": (shard,),
    }
    return Ledger(**{**given, **changes})


@pytest.fixture(scope="module")
def s3(s3_server: S3Server) -> tuple[Any, str]:
    """A client that is connected, and a bucket."""
    bucket = s3_server.bucket()
    fs = s3_server.fs()
    fs.ls(bucket)
    return fs, bucket


@pytest.fixture(params=["local", "memory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> LedgerStore:
    """An empty folder of a job, on each kind of store."""
    if request.param == "local":
        return LedgerStore(storage.resolve(f"{tmp_path}/run/job"))
    if request.param == "memory":
        return LedgerStore(storage.resolve(f"memory://{uuid.uuid4().hex}/run/job"))
    fs, bucket = request.getfixturevalue("s3")
    return LedgerStore(at(fs, f"s3://{bucket}/{uuid.uuid4().hex}/run/job"))


class TestALedger:
    def test_that_is_not_there_is_none(self, store: LedgerStore) -> None:
        assert store.load() is None

    def test_is_read_as_it_was_written(self, store: LedgerStore) -> None:
        begun = store.begin(a_ledger())
        assert store.load() == begun
        intended = store.record(begun, Intended(KEY, 2.0))
        assert store.load() == intended
        assert intended.shards[0].state == "intended"

    def test_holds_what_the_api_said_even_where_it_is_no_text(self, store: LedgerStore) -> None:
        ledger = store.record(store.begin(a_ledger()), Intended(KEY, 2.0))
        ledger = store.record(ledger, Refused(KEY, "bad \ud800 half", 3.0))
        assert store.load() == ledger
        assert ledger.shards[0].intents[0].error == "bad ? half"
        store.record(ledger, Intended(KEY, 4.0))

    @pytest.mark.parametrize(
        "content",
        [b"", b"null", b"[]", b"\xff\xfe", b"{}", b'{"version": "1"}', b'{"version": 1, "rows": "many"}'],
    )
    def test_that_cannot_be_read_is_an_error_that_says_what_to_do(self, store: LedgerStore, content: bytes) -> None:
        ledger = a_ledger()
        store.location.write(content)
        for use in (store.load, lambda: store.begin(ledger), lambda: store.record(ledger, Leased("me", 1.0))):
            with pytest.raises(StorageError, match=r"ledger\.json: expected the ledger .* move ledger.json away"):
                use()
        assert store.location.read_or_none() == content

    def test_cut_off_anywhere_is_an_error(self, store: LedgerStore) -> None:
        store.record(store.begin(a_ledger()), Intended(KEY, 2.0))
        names = [name for name in store.folder.list() if is_ledger_file(name)]
        assert len(names) == 3
        for location in (store.folder / name for name in names):
            whole = location.read_or_none()
            assert whole is not None
            for length in range(0, len(whole.rstrip()), 37):
                location.write(whole[:length])
                with pytest.raises(StorageError):
                    store.load()
            location.write(whole)

    def test_of_a_newer_release_is_refused_and_left_alone(self, store: LedgerStore) -> None:
        ledger = a_ledger()
        newer = msgspec.json.encode({"version": VERSION + 1, "shards": "in some new form"})
        store.location.write(newer)
        for use in (store.load, lambda: store.begin(ledger), lambda: store.record(ledger, Leased("me", 1.0))):
            with pytest.raises(StorageError, match=f"has format {VERSION + 1}, .* a newer release wrote it"):
                use()
        assert store.location.read_or_none() == newer

    def test_that_went_away_stops_the_attempt(self, store: LedgerStore) -> None:
        ledger = store.begin(a_ledger())
        store.location.delete()
        with pytest.raises(StorageError, match="gone while its job is running"):
            store.record(ledger, Intended(KEY, 2.0))
        assert store.load() is None


class TestBeginning:
    def test_is_for_one_attempt(self, store: LedgerStore) -> None:
        first = store.begin(a_ledger())
        with pytest.raises(JobTakenError, match="begun the job at the same time"):
            store.begin(a_ledger())
        assert store.load() == first

    def test_of_many_at_once_is_for_one_attempt(self, store: LedgerStore) -> None:
        begun = at_once(8, lambda _: taken_or(lambda: store.begin(a_ledger())))
        [winner] = [ledger for ledger in begun if ledger is not None]
        assert store.load() == winner

    def test_of_the_next_generation_is_for_the_one_that_knows_the_last_ledger(self, store: LedgerStore) -> None:
        ledger = store.begin(a_ledger())
        moved_on = store.record(ledger, Leased("another", 2.0))
        with pytest.raises(JobTakenError):
            store.begin(a_ledger(generation=2), after=ledger)
        assert store.load() == moved_on
        second = store.begin(a_ledger(generation=2), after=moved_on)
        assert store.load() == second
        with pytest.raises(JobTakenError):
            store.record(moved_on, Intended(KEY, 3.0))

    def test_of_the_next_generation_by_many_at_once_is_for_one(self, store: LedgerStore) -> None:
        ledger = store.begin(a_ledger())
        begun = at_once(8, lambda _: taken_or(lambda: store.begin(a_ledger(generation=2), after=ledger)))
        [winner] = [one for one in begun if one is not None]
        assert store.load() == winner


class TestRecording:
    def test_after_a_take_over_is_refused_and_leaves_the_winners_ledger(self, store: LedgerStore) -> None:
        older = store.begin(a_ledger())
        newer = store.record(older, Leased("another", 2.0))
        with pytest.raises(JobTakenError, match="a later attempt of this task has taken over the job"):
            store.record(older, Intended(KEY, 3.0))
        with pytest.raises(JobTakenError):
            store.check_lease(older)
        store.check_lease(newer)
        assert store.load() == newer

    @pytest.mark.parametrize("earlier", [0, 1], ids=["a new file of events", "one more line"])
    def test_that_loses_between_reading_and_writing_leaves_the_winners_ledger(
        self, store: LedgerStore, monkeypatch: pytest.MonkeyPatch, earlier: int
    ) -> None:
        """The process slept after it had read: what it read was right, and is not any more."""
        older = store.begin(a_ledger())
        for _ in range(earlier):
            older = store.record(older, Leased("me", 1.5))
        winners: list[Ledger] = []
        write_if = storage.Location.write_if

        def overtaken(self: storage.Location, data: bytes, version: str | None) -> bool:
            monkeypatch.undo()
            winners.append(LedgerStore(store.folder).record(older, Leased("another", 2.0)))
            return write_if(self, data, version)

        monkeypatch.setattr(storage.Location, "write_if", overtaken)
        with pytest.raises(JobTakenError):
            store.record(older, Intended(KEY, 3.0))
        assert store.load() == winners[0]

    def test_by_many_under_one_lease_is_for_one_of_them(self, store: LedgerStore) -> None:
        """A lease is one attempt's; if two threads of it ever write, neither overwrites the other."""
        ledger = store.begin(a_ledger())
        recorded = at_once(8, lambda n: taken_or(lambda: store.record(ledger, Intended(KEY, float(n)))))
        [winner] = [one for one in recorded if one is not None]
        assert store.load() == winner

    def test_by_attempts_that_take_over_from_each_other_loses_no_event(self, store: LedgerStore) -> None:
        store.begin(a_ledger())
        kept = at_once(4, lambda _: attempt(store, rounds=4))
        check_nothing_lost(store, kept)

    def test_by_processes_that_take_over_from_each_other_loses_no_event(self, tmp_path: Path) -> None:
        store = LedgerStore(storage.resolve(f"{tmp_path}/run/job"))
        store.begin(a_ledger())
        with multiprocessing.get_context("spawn").Pool(4) as pool:
            kept = pool.map(attempt_in_a_process, [str(tmp_path)] * 4, chunksize=1)
        check_nothing_lost(store, kept)


def attempt(store: LedgerStore, rounds: int) -> tuple[int, int, int]:
    """Take the job over again and again; return leases and intents that were recorded, and how often it was taken."""
    leases = intents = taken = 0
    while leases < rounds:
        try:
            ledger = store.load()
            assert ledger is not None
            ledger = store.record(ledger, Leased(uuid.uuid4().hex, 1.0))
            leases += 1
            for _ in range(2):
                if ledger.shards[0].state == "intended":
                    ledger = store.record(ledger, Refused(KEY, "again"))
                ledger = store.record(ledger, Intended(KEY, 1.0))
                intents += 1
        except JobTakenError:
            taken += 1
    return leases, intents, taken


def attempt_in_a_process(folder: str) -> tuple[int, int, int]:
    return attempt(LedgerStore(storage.resolve(f"{folder}/run/job")), rounds=12)


def check_nothing_lost(store: LedgerStore, kept: list[tuple[int, int, int]]) -> None:
    """The ledger has every event that an attempt recorded with success, and nothing else."""
    ledger = store.load()
    assert ledger is not None
    leases, intents, taken = (sum(column) for column in zip(*kept, strict=True))
    assert ledger.lease.epoch == 1 + leases
    assert len(ledger.shards[0].intents) == intents
    assert taken > 0, "the attempts never met: nothing was shown"


def taken_or(write: Callable[[], Ledger]) -> Ledger | None:
    try:
        return write()
    except JobTakenError:
        return None
