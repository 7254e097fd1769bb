"""Shards at rest are in files of their own: the ledger is the same, and a resumed worker reads less of it."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_batch import storage
from airflow_provider_batch.api.client import BatchClient
from airflow_provider_batch.api.settings import ClientSettings
from airflow_provider_batch.emulator.testing import Emulator
from airflow_provider_batch.exceptions import StorageError
from airflow_provider_batch.jobs.actions import Submit
from airflow_provider_batch.jobs.decisions import Limits, next_action
from airflow_provider_batch.jobs.ledger import events as e
from airflow_provider_batch.jobs.ledger import segments, store
from airflow_provider_batch.jobs.ledger.files import decode_ledger, encode_ledger
from airflow_provider_batch.jobs.ledger.ledger import Claim, Ledger
from airflow_provider_batch.jobs.ledger.segments import lay_out, segments_of
from airflow_provider_batch.jobs.ledger.shard_record import Ending, Landing, ShardRecord
from airflow_provider_batch.jobs.ledger.store import LedgerStore
from airflow_provider_batch.jobs.ledger.transitions import apply, shard_after
from airflow_provider_batch.jobs.opening.attempt import resume_job
from airflow_provider_batch.jobs.submission.create import find_duplicates
from airflow_provider_batch.storage import Location
from benchmarks.ledger import UNUSED_CLIENT, counted, first_ledger, run_job
from tests.jobs.support import a_request, check_table, some_rows, step_until_waiting, tools_for

BIRTH = "0a1b2c3d"
GROUPS = ("planned", "intended", "submitted", "ended", "landed", "held", "untrimmed")
NEVER_READ = "shards-"


def a_store() -> LedgerStore:
    return LedgerStore(storage.resolve(f"memory://{uuid.uuid4().hex}/job"))


@pytest.fixture
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many event files, bases and files of shards at rest in a job of few shards."""
    monkeypatch.setattr(store, "EVENT_FILE_BYTES", 1_024)
    monkeypatch.setattr(store, "BASE_EVERY_BYTES", 1_024)
    monkeypatch.setattr(store, "BASE_EVERY_SHARE", 0.1)
    monkeypatch.setattr(segments, "SEGMENT_SHARDS", 4)
    monkeypatch.setattr(segments, "SEGMENT_SHARDS_LEAST", 2)


def landed_ledger(landed: int, at_work: int = 50, planned: int = 0) -> Ledger:
    """Return a job of which many shards have landed."""
    ledger = first_ledger(landed + at_work + planned)
    records = [
        done(shard) if place < landed else msgspec.structs.replace(shard, batch_id=f"batch_{place}", file_id="file-a")
        for place, shard in enumerate(ledger.shards[: landed + at_work])
    ]
    return ledger.changed(shards=(*records, *ledger.shards[landed + at_work :]), first_submitted_at=1.0)


def done(shard: ShardRecord) -> ShardRecord:
    landing = Landing(shard.rows, {"succeeded": shard.rows}, f"part-{shard.key}.parquet", cost_usd="1.25", at=3.0)
    ending = Ending("completed", "file-o", None, shard.rows, shard.rows, 0, 2.0)
    return msgspec.structs.replace(
        shard, file_id="file-a", batch_id=f"batch-{shard.key}", ending=ending, landing=landing
    )


def resumed(folder: Location) -> tuple[int, Ledger]:
    """Do what a resumed task does before it polls its batches, and what it logs before it waits again."""
    kept = LedgerStore(folder)
    with counted() as traffic:
        ledger = kept.load()
        assert ledger is not None
        ledger = kept.record(ledger, e.Leased("me", 5.0))
        next_action(ledger, {}, Limits(timeout=1e9), 6.0)
        find_duplicates(UNUSED_CLIENT, ledger, 6.0)
        assert ledger.totals().rows >= 0
        assert ledger.batch_count >= len(ledger.active_ids)
    return traffic.read, ledger


class TestAResumedWorker:
    def test_reads_hardly_more_of_a_ledger_with_ten_times_the_shards_landed(self) -> None:
        read = {}
        for landed in (200, 2_000):
            kept = a_store()
            kept.begin(landed_ledger(landed))
            read[landed], _ = resumed(kept.folder)
        assert read[2_000] - read[200] < 10 * 1_800  # bytes a shard; a landed one has some 700
        assert read[2_000] < 2 * read[200]

    def test_reads_hardly_more_of_a_ledger_with_ten_times_the_shards_to_send(self) -> None:
        read = {}
        for planned in (200, 2_000):
            kept = a_store()
            kept.begin(landed_ledger(0, planned=planned))
            read[planned], _ = resumed(kept.folder)
        assert read[2_000] - read[200] < 6 * 1_800

    def test_reads_no_file_of_shards_that_have_landed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        kept = a_store()
        kept.begin(landed_ledger(200))
        names: list[str] = []
        read = Location.read_or_none
        monkeypatch.setattr(Location, "read_or_none", lambda self: names.append(self.name) or read(self))  # type: ignore[func-returns-value]
        _, ledger = resumed(kept.folder)
        assert not [name for name in names if name.startswith(NEVER_READ)]
        assert len(ledger.batch_ids) == 250
        assert [name for name in names if name.startswith(NEVER_READ)]

    def test_whose_queue_is_full_reads_no_shards_that_may_not_be_sent(self, monkeypatch: pytest.MonkeyPatch) -> None:
        kept = a_store()
        kept.begin(landed_ledger(0, at_work=2, planned=100))
        ledger = LedgerStore(kept.folder).load()
        assert ledger is not None
        monkeypatch.setattr(Location, "read_or_none", None)
        full = Limits(timeout=1e9, max_enqueued_tokens=2 * 12_345_678)
        assert next_action(ledger, {}, full, 6.0) == next_action(ledger, {}, full, 6.0)


@pytest.mark.usefixtures("small_files")
def test_a_job_on_the_emulator_reads_no_landed_shards_at_any_wake_up_before_its_end(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulator.configure(progress="reads:1")
    rows, tools = some_rows(16), tools_for(emulator)
    limits = Limits(quiet_period=0.2, max_active_batches=2)
    request = a_request(tmp_path, rows, limits=limits, spec={"max_shard_rows": 2})
    names: list[str] = []
    read = Location.read_or_none
    monkeypatch.setattr(Location, "read_or_none", lambda self: names.append(self.name) or read(self))  # type: ignore[func-returns-value]
    job, wake_ups = step_until_waiting(request, tools), 0
    while job.outcome is None:
        names.clear()
        job = resume_job(request, tools, job.key)
        if job.advance() is not None:
            job.progress()
            at_rest = [resting.segment for resting in job.ledger.shard_list.at_rest]
            landed = {segment.file for segment in at_rest if segment.state == "landed"}
            assert not landed.intersection(names)
            wake_ups += bool(landed)
    assert wake_ups > 1
    check_table(tmp_path, rows)


class TestALedgerWithShardsAtRest:
    @pytest.mark.usefixtures("small_files")
    def test_is_read_as_it_was_written_from_each_of_its_bases(self) -> None:
        kept = a_store()
        ledger = run_job(kept, 30, ended_per_wake_up=2)
        bases = sorted(name for name in kept.folder.list() if name.startswith("ledger-"))
        assert len(bases) > 4
        for name in bases:
            head = json.loads(kept.location.read_or_none() or b"")
            kept.location.write(json.dumps({**head, "base": int(name[-11:-5])}).encode())
            assert LedgerStore(kept.folder).load() == ledger

    @pytest.mark.usefixtures("small_files")
    def test_of_which_a_file_is_gone_or_changed_is_an_error_when_it_is_needed(self) -> None:
        kept = a_store()
        run_job(kept, 12)
        found = LedgerStore(kept.folder).load()
        assert found is not None
        location = kept.folder / found.shard_list.at_rest[0].segment.file
        whole = location.read_or_none() or b""
        for changed in (
            whole[:-3],
            whole.replace(b"completed", b"expiredxx"),
            whole[:1],
            whole.replace(b"r01", b"r02"),
        ):
            location.write(changed)
            ledger = LedgerStore(kept.folder).load()
            assert ledger is not None
            assert ledger.totals().rows == ledger.rows
            with pytest.raises(StorageError, match=r"shards-.*, named by memory://.*: expected the ledger of a job"):
                list(ledger.shards)
        location.delete()
        ledger = LedgerStore(kept.folder).load()
        assert ledger is not None
        with pytest.raises(StorageError, match=r"shards-.*: this file of the ledger is missing"):
            ledger.batch_ids  # noqa: B018

    @pytest.mark.usefixtures("small_files")
    def test_is_the_same_whichever_of_two_attempts_wrote_its_bases_and_when(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Attempts that opened different bases put other shards together in files; both are the same ledger."""
        put_base, late = LedgerStore._put_base, list[tuple[LedgerStore, Any, Ledger]]()

        def put_late(self: LedgerStore, tail: Any, ledger: Ledger) -> Ledger:
            late.append((self, tail, ledger))
            return ledger if len(late) % 2 else put_base(self, tail, ledger)

        monkeypatch.setattr(LedgerStore, "_put_base", put_late)
        kept = a_store()
        plain = kept.begin(first_ledger(9))
        for turn in range(12):
            attempt = LedgerStore(kept.folder)
            ledger = attempt.load()
            assert ledger is not None
            for event in (e.Leased(f"{turn}", 1.0), *[None] * 3):
                event = event or _due(ledger)
                ledger, plain = attempt.record(ledger, event), apply(plain, event)
            assert list(ledger.shards) == list(plain.shards)
        assert len(late) > 3
        for attempt, tail, ledger in late:
            put_base(attempt, tail, ledger)
            found = LedgerStore(kept.folder).load()
            assert found is not None
            assert found.shards == plain.shards

    @pytest.mark.usefixtures("small_files")
    def test_sends_the_small_shard_that_fits_between_large_ones_at_rest(self) -> None:
        first = landed_ledger(0, at_work=1, planned=8)
        sizes = [30, 50, 50, 50, 50, 50, 10, 50, 50]
        shards = [msgspec.structs.replace(s, tokens=size) for s, size in zip(first.shards, sizes, strict=True)]
        kept = a_store()
        kept.begin(first.changed(shards=shards))
        ledger = LedgerStore(kept.folder).load()
        assert ledger is not None
        action = next_action(ledger, {}, Limits(timeout=1e9, max_enqueued_tokens=45), 6.0)
        assert action == Submit(ledger.shards[6].key)

    def test_can_be_read_by_a_person_a_line_for_each_shard(self) -> None:
        kept = a_store()
        ledger = kept.begin(landed_ledger(40))
        [name] = [name for name in kept.folder.list() if name.startswith("shards-")]
        first, *lines = ((kept.folder / name).read_or_none() or b"").splitlines()
        assert json.loads(first) == {"version": 3, "ledger": ledger.birth, "places": [[0, 40]]}
        assert [json.loads(line)["key"] for line in lines] == [shard.key for shard in ledger.shards[:40]]
        base = json.loads((kept.folder / f"ledger-{ledger.birth}-000000.json").read_or_none() or b"")
        assert base["segments"][0]["totals"]["statuses"] == {"succeeded": 40 * 50_000}
        assert [shard["key"] for shard in base["shards"]] == [shard.key for shard in ledger.shards[40:]]


def _due(ledger: Ledger) -> e.Event:
    """The next event of the first shard that has not landed."""
    shard = next((shard for shard in ledger.shards if shard.landing is None), None)
    if shard is None:
        return e.CancelAsked(1.0)
    return _next(shard, "succeeded")


def _next(shard: ShardRecord, status: str) -> e.Event:
    match shard.state:
        case "planned":
            return e.Intended(shard.key, 1.0)
        case "intended":
            return e.Accepted(shard.key, f"batch-{shard.key}-{len(shard.intents)}", 1.0)
        case "submitted":
            return e.Ended(shard.key, Ending("completed", "file-o", None, shard.rows, shard.rows, 0, 2.0))
        case "ended":
            landing = Landing(shard.rows, {status: shard.rows}, f"part-{shard.key}", usage={"t": 3}, cost_usd="0.125")
            return e.Landed(shard.key, landing)
        case _:
            return e.Trimmed(shard.key, 0) if shard.untrimmed else e.Leased("again", 1.0)


MOVES = ("on", "lands", "lands", "lands", "lands with failures", "absent", "refused", "unclear", "uploaded")
WHOLE = ("land again", "rerun", "rerun", "another round", "clear", "clear, giving up", "begin anew")


def what_happens() -> st.SearchStrategy[list[Any]]:
    """Steps: a shard moves on in one way or another, something happens to all, or a base is written and read."""
    move = st.tuples(st.integers(0, 7), st.sampled_from(MOVES))
    steps = st.one_of(*[move] * 6, *[st.just("base")] * 2, st.sampled_from(WHOLE))
    return st.lists(steps, min_size=10, max_size=30)


def _events(step: Any, ledger: Ledger) -> list[e.Event]:
    """What is recorded at a step that is no base."""
    if isinstance(step, tuple):
        return _moved(ledger.shards[step[0] % len(ledger.shards)], step[1])
    more = tuple(msgspec.structs.replace(s, key=f"r{ledger.round + 1:02}{s.key[3:]}") for s in of_two_models(3).shards)
    match step:
        case "land again":
            return [e.Relanding("elsewhere")]
        case "rerun":
            return [e.RerunPlanned(more, ledger.era + 1)]
        case "another round":
            return [e.RoundPlanned(more)]
        case "clear":
            return [e.Leased("cleared", 1.0, era=ledger.era + 1, claim=Claim(0, 1))]
        case "clear, giving up":
            given_up = tuple(s.key for s in ledger.shards if s.unclear and s.state in ("ended", "intended"))
            return [e.Leased("cleared", 1.0, era=ledger.era + 1, given_up=given_up)]
        case _:
            return [e.Begun(of_two_models(8).changed(generation=ledger.generation + 1))]


def _moved(shard: ShardRecord, move: str) -> list[e.Event]:
    """The events of one shard; those of `lands` bring it to its landing, over a lost answer where it is open."""
    if move in ("absent", "refused"):
        begin: list[e.Event] = [e.Intended(shard.key, 1.0)] if shard.state == "planned" else []
        if shard.state not in ("planned", "intended"):
            return []
        return [*begin, e.Absent(shard.key) if move == "absent" else e.Refused(shard.key, "full", 50.0)]
    if move == "unclear":
        return [e.Unclear(shard.key)] if shard.state in ("intended", "ended") else []
    if move == "uploaded":
        return [e.Uploaded(shard.key, "file-a")] if shard.state == "planned" else []
    status = "failed" if move == "lands with failures" else "succeeded"
    moves = [_next(shard, status)]
    while move != "on" and shard.state != "landed":
        shard = shard_after(shard, moves[-1])
        moves += [] if shard.state == "landed" else [_next(shard, status)]
    return moves


def of_two_models(shards: int) -> Ledger:
    """Return a ledger whose shards are of two models and of different sizes."""
    ledger = first_ledger(shards)
    changed = [
        msgspec.structs.replace(shard, model=f"m{place // 3 % 2}", tokens=10 + place * 7 % 30)
        for place, shard in enumerate(ledger.shards)
    ]
    return ledger.changed(shards=changed)


class AskedForBatches:
    """A client that notes whether it was asked for the list of batches, which is empty."""

    asked, settings = 0, ClientSettings("sk-test")

    def list(self) -> tuple[()]:
        self.asked += 1
        return ()


def looks_for_duplicates(ledger: Ledger) -> bool:
    client = AskedForBatches()
    find_duplicates(cast(BatchClient, client), ledger, 8.0)
    return client.asked > 0


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=100)
@given(steps=what_happens())
@pytest.mark.usefixtures("small_files")
def test_a_ledger_says_the_same_whatever_rests_in_files(steps: list[Any]) -> None:
    plain = at_rest = of_two_models(8)
    files: dict[str, bytes] = {}
    limits = Limits(timeout=1e9, max_active_batches=6, max_enqueued_tokens=45)
    for step in ["base", *steps]:
        if step == "base":
            after, new = lay_out(at_rest.changed(birth=BIRTH), BIRTH)
            files |= new
            data = encode_ledger(after, segments_of(after.shard_list))
            at_rest = decode_ledger(data, "base", files.__getitem__).changed(birth="", version=plain.version)
        for event in [] if step == "base" else _events(step, plain):
            plain, at_rest = apply(plain, event), apply(at_rest, event)
        assert at_rest.totals() == plain.totals()
        assert at_rest.batch_count == len(plain.batch_ids)
        for name in GROUPS:
            assert list(at_rest.index.group(name)) == list(plain.index.group(name))
        assert (at_rest.round, at_rest.index.in_last_round) == (plain.round, plain.index.in_last_round)
        assert next_action(at_rest, {}, limits, 8.0) == next_action(plain, {}, limits, 8.0)
        assert looks_for_duplicates(at_rest) == looks_for_duplicates(plain)
    assert at_rest == plain
