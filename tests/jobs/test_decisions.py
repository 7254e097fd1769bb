"""What next for a job: plain values in, one action out."""

from __future__ import annotations

import dataclasses
from collections import Counter

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_batch.api.objects import Batch, FileError
from airflow_provider_batch.jobs import actions as a
from airflow_provider_batch.jobs import decisions as d
from airflow_provider_batch.jobs.identity import Fingerprint, Identity
from airflow_provider_batch.jobs.ledger import events
from airflow_provider_batch.jobs.ledger.ledger import Closing, Lease, Ledger
from airflow_provider_batch.jobs.ledger.shard_record import Ending, Landing, ShardRecord
from airflow_provider_batch.jobs.ledger.transitions import IllegalEventError, apply

NOW = 1_000_000.0
LIMITS = d.Limits(timeout=10_000.0, quiet_period=60.0)


def a_shard(number: int = 1, round_: int = 1, *, rows: int = 10, model: str = "m", tokens: int = 100) -> ShardRecord:
    return ShardRecord(
        key=f"r{round_:02d}-s{number:05d}",
        rows=rows,
        bytes=1000,
        inputs=rows,
        tokens=tokens,
        sha256="0" * 64,
        model=model,
    )


def a_ledger(*shards: ShardRecord, **changes: object) -> Ledger:
    ledger = Ledger(
        identity=Identity("dag", "task", "run"),
        fingerprint=Fingerprint("e", "b", "o", "a", "s", "c"),
        endpoint="/v1/chat/completions",
        rows=sum(shard.rows for shard in shards if shard.round == 1),
        created_at=NOW,
        lease=Lease("owner", 1, NOW),
        shards=shards,
    )
    return msgspec.structs.replace(ledger, **changes)


def after(ledger: Ledger, *recorded: events.Event) -> Ledger:
    for event in recorded:
        ledger = apply(ledger, event)
    return ledger


def submitted(ledger: Ledger, key: str, batch_id: str, at: float = NOW) -> Ledger:
    return after(
        ledger, events.Uploaded(key, f"file-{key}"), events.Intended(key, at), events.Accepted(key, batch_id, at)
    )


def a_batch(batch_id: str, status: str = "completed", **changes: object) -> Batch:
    defaults: dict[str, object] = {"output_file_id": "file-out", "total": 10, "completed": 10}
    return Batch(id=batch_id, status=status, **{**defaults, **changes})  # type: ignore[arg-type]


K1, K2 = "r01-s00001", "r01-s00002"


class TestAnUnknownOutcome:
    """Invariant 2: a lookup comes first; nothing is submitted again before it."""

    def test_is_looked_up_before_anything_else_is_done(self) -> None:
        ledger = after(a_ledger(a_shard(1), a_shard(2)), events.Intended(K1, NOW))
        assert d.next_action(ledger, {}, LIMITS, NOW + 60) == a.Resolve(K1)

    def test_waits_for_the_quiet_period_and_has_an_end_of_the_wait(self) -> None:
        ledger = after(a_ledger(a_shard(1)), events.Intended(K1, NOW))
        assert d.next_action(ledger, {}, LIMITS, NOW + 1) == a.Wait(until=NOW + 60)

    def test_that_stays_unknown_holds_up_no_other_shard(self) -> None:
        ledger = after(a_ledger(a_shard(1), a_shard(2)), events.Intended(K1, NOW))
        unknown = frozenset({K1})
        assert d.next_action(ledger, {}, LIMITS, NOW + 61, unknown) == a.Submit(K2)
        ledger = submitted(ledger, K2, "b2")
        wait = d.next_action(ledger, {}, LIMITS, NOW + 61, unknown)
        assert wait == a.Wait(until=NOW + 61 + d.UNDECIDED_PAUSE, batch_ids=("b2",))
        batch = a_batch("b2")
        assert d.next_action(ledger, {"b2": batch}, LIMITS, NOW + 61, unknown) == a.RecordEnd(K2, batch)

    def test_is_never_submitted_again_while_it_is_unknown(self) -> None:
        ledger = after(a_ledger(a_shard(1)), events.Intended(K1, NOW))
        with pytest.raises(IllegalEventError):
            apply(ledger, events.Intended(K1, NOW + 1))

    def test_that_made_nothing_may_be_submitted(self) -> None:
        ledger = after(a_ledger(a_shard(1)), events.Intended(K1, NOW), events.Absent(K1))
        assert d.next_action(ledger, {}, LIMITS, NOW + 61) == a.Submit(K1)


class TestABatchThatEnded:
    def test_is_recorded_and_landed_before_the_deadline_is_checked(self) -> None:
        """Invariant 4: what was paid for is landed."""
        ledger = submitted(a_ledger(a_shard(1)), K1, "b1")
        late = NOW + LIMITS.timeout + 1
        batch = a_batch("b1")
        assert d.next_action(ledger, {"b1": batch}, LIMITS, late) == a.RecordEnd(K1, batch)
        ended = after(ledger, events.Ended(K1, Ending("completed", "file-out")))
        assert d.next_action(ended, {}, LIMITS, late) == a.Land(K1)

    def test_with_counts_and_no_file_is_not_an_answer(self) -> None:
        """Invariant 5: keep asking, then fail."""
        ledger = submitted(a_ledger(a_shard(1)), K1, "b1")
        seen = {"b1": a_batch("b1", output_file_id=None)}
        assert d.next_action(ledger, seen, LIMITS, NOW) == a.NoteLate(K1)
        noted = after(ledger, events.Late(K1, NOW))
        assert d.next_action(noted, seen, LIMITS, NOW + 1) == a.Wait(until=NOW + 1 + d.FILES_PAUSE)
        assert d.next_action(noted, seen, LIMITS, NOW + d.FILES_PATIENCE) == a.GiveUpOnFiles(K1)

    def test_and_is_lost_fails_the_task_only_after_the_answers_of_the_others_are_landed(self) -> None:
        """Invariant 4: one batch without its files does not keep the other nineteen from the table."""
        ledger = submitted(submitted(a_ledger(a_shard(1), a_shard(2)), K1, "b1"), K2, "b2")
        noted = after(ledger, events.Late(K1, NOW))
        lost = a_batch("b1", output_file_id=None)
        much_later = NOW + d.FILES_PATIENCE + 1
        wait = d.next_action(noted, {"b1": lost}, LIMITS, much_later)
        assert wait == a.Wait(until=NOW + LIMITS.timeout, batch_ids=("b2",))
        seen = {"b1": lost, "b2": a_batch("b2")}
        assert d.next_action(noted, seen, LIMITS, much_later) == a.RecordEnd(K2, seen["b2"])
        ended = after(noted, events.Ended(K2, Ending("completed", "f")))
        assert d.next_action(ended, seen, LIMITS, much_later) == a.Land(K2)
        landed = after(ended, events.Landed(K2, Landing(rows=10, statuses={"succeeded": 10})))
        assert d.next_action(landed, seen, LIMITS, much_later) == a.GiveUpOnFiles(K1)

    @pytest.mark.parametrize("status", ["expired", "cancelled"])
    def test_and_was_cut_short_is_polled_for_its_late_file_before_its_rows_are_sent_again(self, status: str) -> None:
        """Invariants 2 and 4: requests that were answered are paid, and are not to be sent again."""
        ledger = submitted(a_ledger(a_shard(1), cancel_asked_at=NOW), K1, "b1")
        batch = a_batch("b1", status, output_file_id=None, completed=4)
        assert d.next_action(ledger, {"b1": batch}, LIMITS, NOW) == a.NoteLate(K1)
        noted = after(ledger, events.Late(K1, NOW))
        assert isinstance(d.next_action(noted, {"b1": batch}, LIMITS, NOW + 1), a.Wait)
        there = dataclasses.replace(batch, output_file_id="f")
        assert d.next_action(noted, {"b1": there}, LIMITS, NOW + 1) == a.RecordEnd(K1, there)
        assert d.next_action(noted, {"b1": batch}, LIMITS, NOW + d.FILES_PATIENCE) == a.RecordEnd(K1, batch)

    def test_whose_rows_all_failed_has_only_an_error_file_and_is_landed(self) -> None:
        ledger = submitted(a_ledger(a_shard(1)), K1, "b1")
        batch = a_batch("b1", output_file_id=None, error_file_id="file-err", completed=0, failed=10)
        assert d.next_action(ledger, {"b1": batch}, LIMITS, NOW) == a.RecordEnd(K1, batch)

    def test_and_was_cancelled_by_somebody_else_closes_the_job(self) -> None:
        ledger = submitted(a_ledger(a_shard(1), a_shard(2)), K1, "b1")
        action = d.next_action(ledger, {"b1": a_batch("b1", "cancelled")}, LIMITS, NOW)
        assert isinstance(action, a.Close)
        assert action.closing.reason == "cancelled"
        assert action.closing.final

    def test_an_unknown_status_is_still_running(self) -> None:
        """Invariant 10."""
        ledger = submitted(a_ledger(a_shard(1)), K1, "b1")
        action = d.next_action(ledger, {"b1": a_batch("b1", "scheduling")}, LIMITS, NOW)
        assert action == a.Wait(until=NOW + LIMITS.timeout, batch_ids=("b1",))


class TestARefusedFile:
    def test_for_lack_of_room_in_the_queue_is_sent_again_later(self) -> None:
        ledger = submitted(a_ledger(a_shard(1)), K1, "b1")
        error = FileError("token_limit_exceeded", "Enqueued token limit reached for m in organization o.")
        action = d.next_action(ledger, {"b1": a_batch("b1", "failed", errors=(error,))}, LIMITS, NOW)
        assert isinstance(action, a.Requeue)
        assert 60 <= action.retry_at - NOW <= 900
        queued = after(ledger, events.Requeued(K1, "full", action.retry_at))
        assert queued.shard(K1).file_id is not None
        assert d.next_action(queued, {}, LIMITS, NOW) == a.Wait(until=action.retry_at)
        assert d.next_action(queued, {}, LIMITS, action.retry_at) == a.Submit(K1)

    def test_waiting_for_room_is_sent_at_once_when_an_own_batch_of_its_model_ends(self) -> None:
        ledger = submitted(submitted(a_ledger(a_shard(1), a_shard(2)), K1, "b1"), K2, "b2")
        ledger = after(ledger, events.Requeued(K2, "full", NOW + 900), events.Ended(K1, Ending("completed", "f")))
        ledger = after(ledger, events.Landed(K1, Landing(rows=10, statuses={"succeeded": 10})))
        assert d.next_action(ledger, {}, LIMITS, NOW + 1) == a.Submit(K2)

    def test_sends_one_shard_for_each_batch_that_ended_even_when_one_poll_shows_all(self) -> None:
        """The refusals are recorded first, so that no shard waits for a queue that has emptied meanwhile."""
        shards = [a_shard(number) for number in range(1, 6)]
        ledger = a_ledger(*shards)
        for shard in shards:
            ledger = submitted(ledger, shard.key, f"b{shard.key}")
        error = FileError("token_limit_exceeded", "Enqueued token limit reached")
        seen = {f"b{s.key}": a_batch(f"b{s.key}", "failed", errors=(error,)) for s in shards[2:]}
        seen |= {f"b{s.key}": a_batch(f"b{s.key}") for s in shards[:2]}
        tried = []
        while not isinstance(action := d.next_action(ledger, seen, LIMITS, NOW), a.Wait):
            match action:
                case a.Requeue(shard=key, error=text, retry_at=retry_at):
                    ledger = after(ledger, events.Requeued(key, text, retry_at))
                case a.RecordEnd(shard=key):
                    ledger = after(ledger, events.Ended(key, Ending("completed", "f")))
                case a.Land(shard=key):
                    ledger = after(ledger, events.Landed(key, Landing(rows=10, statuses={"succeeded": 10})))
                case a.Submit(shard=key):
                    tried.append(key)
                    ledger = after(ledger, events.Intended(key, NOW), events.Accepted(key, f"again-{key}", NOW))
        assert tried == ["r01-s00003", "r01-s00004"]

    def test_holds_back_its_own_model_only(self) -> None:
        ledger = submitted(a_ledger(a_shard(1), a_shard(2), a_shard(3, model="other")), K1, "b1")
        ledger = after(ledger, events.Requeued(K1, "full", NOW + 900))
        assert d.next_action(ledger, {}, LIMITS, NOW) == a.Submit("r01-s00003")

    def test_at_every_create_does_not_delay_the_job_for_ever(self) -> None:
        """The job's time begins with the first create, whatever its answer: others may fill the queue for days."""
        ledger = after(a_ledger(a_shard(1)), events.Intended(K1, NOW), events.Refused(K1, "full", NOW + 900))
        action = d.next_action(ledger, {}, LIMITS, NOW + LIMITS.timeout)
        assert isinstance(action, a.Close)
        assert d.next_action(after(ledger, events.Closed(action.closing)), {}, LIMITS, action.closing.at) == a.Land(K1)

    def test_for_a_file_that_is_never_found_is_tried_less_and_less_often(self) -> None:
        """A hot loop of uploads would use up the account's limits."""
        tried = [msgspec.structs.replace(a_shard(1), refusals=n, passing_refusals=n) for n in range(12)]
        pauses = [d.file_retry_at(shard, NOW) - NOW for shard in tried]
        assert pauses[: d.FILE_REFUSALS] == [d.FILE_PAUSE] * d.FILE_REFUSALS
        assert all(600 <= pause <= 900 for pause in pauses[d.FILE_REFUSALS :])

    def test_for_single_lines_is_landed_so_that_the_other_rows_continue(self) -> None:
        ledger = submitted(a_ledger(a_shard(1)), K1, "b1")
        batch = a_batch("b1", "failed", errors=(FileError("invalid_json_line", "x", line=3),), output_file_id=None)
        assert d.next_action(ledger, {"b1": batch}, LIMITS, NOW) == a.RecordEnd(K1, batch)

    def test_as_a_whole_stops_the_job_and_leaves_the_shard_for_a_later_attempt(self) -> None:
        ledger = submitted(a_ledger(a_shard(1)), K1, "b1")
        batch = a_batch("b1", "failed", errors=(FileError("billing_hard_limit_reached", "No money."),))
        action = d.next_action(ledger, {"b1": batch}, LIMITS, NOW)
        assert isinstance(action, a.Close)
        assert not action.closing.final
        assert "No money." in action.closing.message
        closed = after(ledger, events.Closed(action.closing))
        requeue = d.next_action(closed, {"b1": batch}, LIMITS, NOW)
        assert isinstance(requeue, a.Requeue)
        assert d.next_action(after(closed, events.Requeued(K1, "x", NOW)), {}, LIMITS, NOW) == a.Finish("refused")


class TestTheDeadline:
    def test_cancels_lands_and_ends_with_every_row_accounted_for(self) -> None:
        ledger = submitted(a_ledger(a_shard(1), a_shard(2)), K1, "b1")
        limits = dataclasses.replace(LIMITS, max_active_batches=1)
        late = NOW + limits.timeout
        action = d.next_action(ledger, {}, limits, late)
        assert isinstance(action, a.Close)
        ledger = after(ledger, events.Closed(action.closing))
        assert d.next_action(ledger, {}, limits, late) == a.Cancel(("b1",))
        ledger = after(ledger, events.CancelAsked(late))
        assert d.next_action(ledger, {}, limits, late) == a.Wait(until=late + d.CANCEL_PATIENCE, batch_ids=("b1",))
        ledger = after(ledger, events.Ended(K1, Ending("cancelled", "f", "e")))
        assert d.next_action(ledger, {}, limits, late) == a.Land(K1)
        ledger = after(ledger, events.Landed(K1, Landing(rows=10, statuses={"succeeded": 4, "cancelled": 6})))
        assert d.next_action(ledger, {}, limits, late) == a.Land(K2)
        ledger = after(ledger, events.Landed(K2, Landing(rows=10, statuses={"cancelled": 10})))
        assert d.next_action(ledger, {}, limits, late) == a.Finish("timeout")

    def test_a_cancel_that_never_ends_does_not_delay_the_task_for_ever(self) -> None:
        closing = Closing("timeout", "over", NOW)
        ledger = submitted(a_ledger(a_shard(1), closing=closing, cancel_asked_at=NOW), K1, "b1")
        assert d.next_action(ledger, {}, LIMITS, NOW + d.CANCEL_PATIENCE) == a.Finish("timeout")

    def test_ends_the_wait_of_a_job_that_was_closed_for_another_reason_too(self) -> None:
        closing = Closing("refused", "No money", NOW, final=False)
        ledger = submitted(a_ledger(a_shard(1), closing=closing), K1, "b1")
        assert d.next_action(ledger, {}, LIMITS, NOW) == a.Wait(until=NOW + LIMITS.timeout, batch_ids=("b1",))
        action = d.next_action(ledger, {}, LIMITS, NOW + LIMITS.timeout)
        assert isinstance(action, a.Close)
        assert action.closing.reason == "timeout"
        assert "No money" in action.closing.message

    def test_does_not_touch_a_job_that_is_complete(self) -> None:
        ledger = submitted(a_ledger(a_shard(1)), K1, "b1")
        ledger = after(ledger, events.Ended(K1, Ending("completed", "f")))
        ledger = after(ledger, events.Landed(K1, Landing(rows=10, statuses={"succeeded": 10})))
        assert d.next_action(ledger, {}, LIMITS, NOW + 2 * LIMITS.timeout) == a.Finish("done")


class TestRoundsAndWaves:
    def test_rows_without_a_final_answer_make_another_round(self) -> None:
        ledger = submitted(a_ledger(a_shard(1)), K1, "b1")
        ledger = after(ledger, events.Ended(K1, Ending("expired", "f", "e")))
        ledger = after(ledger, events.Landed(K1, Landing(rows=7, statuses={"succeeded": 7}, retry_rows=3)))
        assert d.next_action(ledger, {}, LIMITS, NOW) == a.PlanRound(2)
        ledger = after(ledger, events.RoundPlanned((a_shard(1, 2, rows=3),)))
        assert d.next_action(ledger, {}, LIMITS, NOW) == a.Submit("r02-s00001")

    def test_no_more_batches_than_allowed_run_at_once(self) -> None:
        ledger = submitted(a_ledger(a_shard(1), a_shard(2)), K1, "b1")
        limits = dataclasses.replace(LIMITS, max_active_batches=1)
        assert isinstance(d.next_action(ledger, {}, limits, NOW), a.Wait)

    def test_no_more_tokens_than_allowed_are_enqueued_but_a_large_shard_is_sent_alone(self) -> None:
        limits = dataclasses.replace(LIMITS, max_enqueued_tokens=150)
        ledger = a_ledger(a_shard(1), a_shard(2), a_shard(3, model="other", tokens=1000))
        assert d.next_action(ledger, {}, limits, NOW) == a.Submit(K1)
        assert d.next_action(submitted(ledger, K1, "b1"), {}, limits, NOW) == a.Submit("r01-s00003")

    def test_without_a_destination_the_job_ends_with_its_batches(self) -> None:
        limits = dataclasses.replace(LIMITS, lands=False)
        ledger = submitted(a_ledger(a_shard(1)), K1, "b1")
        assert isinstance(d.next_action(ledger, {}, limits, NOW), a.Wait)
        ledger = after(ledger, events.Ended(K1, Ending("completed", "f")))
        assert d.next_action(ledger, {}, limits, NOW) == a.Finish("done")

    def test_without_waiting_the_job_is_over_once_all_is_submitted(self) -> None:
        limits = dataclasses.replace(LIMITS, lands=False, wait_for_completion=False)
        ledger = a_ledger(a_shard(1))
        assert d.next_action(ledger, {}, limits, NOW) == a.Submit(K1)
        assert d.next_action(submitted(ledger, K1, "b1"), {}, limits, NOW) == a.Finish("submitted")


class World:
    """A vendor that does anything it may, drawn by hypothesis; it counts what was made of each row."""

    def __init__(self, draw: st.DataObject, shards: int) -> None:
        self.draw = draw
        self.ledger = a_ledger(*(a_shard(n + 1, model=f"m{n % 2}") for n in range(shards)))
        self.now = NOW
        self.batches: dict[str, Batch] = {}
        self.made: Counter[str] = Counter()
        self.hidden: dict[str, str] = {}
        self.landed_rows = 0

    def record(self, event: events.Event) -> None:
        self.ledger = apply(self.ledger, event)

    def make(self, key: str) -> str:
        self.made[key] += 1
        batch_id = f"{key}-b{self.made[key]}"
        self.batches[batch_id] = Batch(id=batch_id, status="in_progress", total=10)
        return batch_id

    def submit(self, key: str) -> None:
        assert self.ledger.shard(key).state == "planned"
        self.record(events.Intended(key, self.now))
        answer = self.draw.draw(st.sampled_from(["accepted", "accepted", "queue", "lost-made", "lost-not-made"]))
        if answer == "accepted":
            self.record(events.Accepted(key, self.make(key), self.now))
        elif answer == "queue":
            self.record(events.Refused(key, "full", d.queue_retry_at(self.ledger.shard(key), self.now)))
        elif answer == "lost-made":
            self.hidden[key] = self.make(key)

    def resolve(self, key: str) -> None:
        batch_id = self.hidden.pop(key, None)
        self.record(events.Absent(key) if batch_id is None else events.Accepted(key, batch_id, self.now))

    def progress(self, polled_ids: tuple[str, ...], until: float) -> None:
        """Time passes: one batch ends, or the moment comes."""
        if not polled_ids or self.draw.draw(st.integers(0, 5)) == 0:
            self.now = max(self.now, until)
            return
        self.now += self.draw.draw(st.sampled_from([1.0, 100.0]))
        batch_id = self.draw.draw(st.sampled_from(polled_ids))
        status = self.draw.draw(st.sampled_from(["completed", "expired", "failed", "queue", "cancelled", "late"]))
        error: tuple[FileError, ...] = ()
        if status == "queue":
            status, error = "failed", (FileError("token_limit_exceeded", "Enqueued token limit reached"),)
        elif status == "failed":
            error = (FileError("invalid_json_line", "x", line=1),)
        late = status == "late"
        self.batches[batch_id] = Batch(
            id=batch_id,
            status="completed" if late else status,
            output_file_id=None if late else "f",
            total=10,
            completed=10,
            errors=error,
        )

    def land(self, key: str) -> None:
        shard = self.ledger.shard(key)
        again = shard.rows if self.ledger.closing is None and shard.round < LIMITS.max_rounds else 0
        retry = self.draw.draw(st.integers(0, min(again, 3)))
        self.landed_rows += shard.rows - retry
        self.record(events.Landed(key, Landing(rows=shard.rows - retry, statuses={}, retry_rows=retry)))

    def step(self) -> str | None:  # noqa: C901 - one flat table of actions
        action = d.next_action(self.ledger, self.batches, LIMITS, self.now)
        match action:
            case a.Finish(reason=reason):
                return reason
            case a.GiveUpOnFiles(shard=key):  # the files come at last
                batch = self.batches[self.ledger.shard(key).batch_id or ""]
                self.batches[batch.id] = dataclasses.replace(batch, output_file_id="f")
            case a.Wait(until=until, batch_ids=polled_ids):
                assert until > self.now or polled_ids, "a wait without a waker"
                assert all(not self.batches[b].has_ended for b in polled_ids), "waits for what has ended"
                self.progress(polled_ids, until)
            case a.Submit(shard=key):
                self.submit(key)
            case a.Resolve(shard=key):
                self.resolve(key)
            case a.Land(shard=key):
                self.land(key)
            case a.RecordEnd(shard=key, batch=batch):
                self.record(events.Ended(key, Ending(batch.status, batch.output_file_id)))
            case a.NoteLate(shard=key):
                self.record(events.Late(key, self.now))
            case a.Requeue(shard=key, error=error, retry_at=retry_at):
                self.record(events.Requeued(key, error, retry_at))
            case a.Close(closing=closing):
                self.record(events.Closed(closing))
            case a.Cancel(batch_ids=ids):
                self.record(events.CancelAsked(self.now))
                for batch_id in ids:
                    self.batches[batch_id] = Batch(id=batch_id, status="cancelled", output_file_id="f", total=10)
            case a.PlanRound(number=number):
                self.record(events.RoundPlanned((a_shard(1, number, rows=self.ledger.unplanned_rows),)))
        return None


@settings(max_examples=150, deadline=None)
@given(draw=st.data(), shards=st.integers(1, 4))
def test_any_history_ends_with_one_result_for_each_row_and_no_batch_left_behind(
    draw: st.DataObject, shards: int
) -> None:
    """Invariants 1, 2 and 4: rows in = rows landed; each batch that was made is known to the ledger and has ended."""
    world = World(draw, shards)
    for _ in range(2000):
        if world.step() is not None:
            break
    else:
        pytest.fail("the job never ends")
    assert world.landed_rows == world.ledger.rows
    assert not world.hidden
    known = {i.batch_id for shard in world.ledger.shards for i in shard.intents if i.batch_id is not None}
    assert set(world.batches) == known
    assert all(batch.has_ended for batch in world.batches.values())
    for shard in world.ledger.shards:
        # Only a batch that was refused as a whole, for which nothing is paid, may be followed by another of the same
        # shard.
        assert sum(intent.outcome == "accepted" for intent in shard.intents) <= 1
