"""
What next for a job: the one place that decides, for the deferrable path, the blocking path and the command line.

Pure: no clock, no network, no storage. `runner.py` does the one action (`actions.py`) that is due, records its outcome
and asks again. The rules stand in order of what is at stake:

1. an unknown outcome is looked up, never repeated; while it stays unknown the other shards go on;
2. what was paid for lands before any limit is looked at;
3. a job whose time is over, or that must not go on, cancels and lands, and sends nothing more;
4. the rows without a final answer get another round;
5. what fits is submitted;
6. else the job waits, and a wait always has a waker: a batch that ends, or a wall-clock moment.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from airflow_provider_batch.api import statuses
from airflow_provider_batch.api.objects import Batch, FileError
from airflow_provider_batch.jobs.actions import (
    Action,
    Cancel,
    Close,
    Finish,
    GiveUpOnFiles,
    Land,
    NoteLate,
    PlanRound,
    RecordEnd,
    Requeue,
    Resolve,
    Submit,
    Trim,
    Wait,
)
from airflow_provider_batch.jobs.ledger.ledger import Closing, Ledger
from airflow_provider_batch.jobs.ledger.shard_list import Segment
from airflow_provider_batch.jobs.ledger.shard_record import ShardRecord
from airflow_provider_batch.jobs.refusals import (
    FILE_REFUSALS,
    may_be_made_again,
    passes,
    refusal_message,
    refused_whole,
)
from airflow_provider_batch.results.landing import RowOutcome

#: Seconds. The API says a batch may stay `cancelling` for 10 minutes; the rest is slack for one slow poll.
CANCEL_PATIENCE = 15 * 60.0
#: Seconds that a `completed` batch may go without the files its counts promise; late ones have been seen.
FILES_PATIENCE = 10 * 60.0
#: Seconds between two looks at a batch whose files are late.
FILES_PAUSE = 20.0
#: Seconds before a create that met a full queue is tried again: from the first value, doubling, up to the second.
QUEUE_PAUSES = (60.0, 15 * 60.0)
#: Seconds before the next call after the SDK's own repetitions were in vain.
OUTAGE_PAUSE = 60.0
#: Seconds after which a look-up that told nothing is made again, while other batches run.
UNDECIDED_PAUSE = 600.0
#: Seconds before a create whose uploaded file was not found yet is tried again.
FILE_PAUSE = 5.0
#: Rows that failed with these get another attempt; 5xx too.
TRANSIENT_CODES = frozenset({408, 409, 429})
#: Not the row's own fault and not counted as its attempt: it was never run.
NOT_RUN = frozenset({"expired", "missing", "cancelled"})


@dataclass(frozen=True)
class Limits:
    """
    The policies of a job; times in seconds.

    :param poll_interval: Between two looks at the batches, at the least.
    :param max_failed: Share (float) or count (int) of rows without success past which the job fails.
    :param wait_for_completion: Whether the job waits for its batches.
    :param lands: Whether there is a destination. Without one a job ends when its batches do, and has one round.
    :param quiet_period: How long after an intent the API's list surely shows what it made.
    """

    timeout: float = 72 * 3600.0
    poll_interval: float = 60.0
    max_attempts: int = 3
    max_rounds: int = 10
    max_active_batches: int = 50
    max_enqueued_tokens: int | None = None
    max_failed: float | int | None = None
    cancel_on_timeout: bool = True
    wait_for_completion: bool = True
    lands: bool = True
    quiet_period: float = 60.0


def next_action(
    ledger: Ledger,
    seen: Mapping[str, Batch],
    limits: Limits,
    now: float,
    undecided: frozenset[str] = frozenset(),
) -> Action:
    """
    Return the one action that is due.

    :param seen: What the API last said, by batch id. A batch that is missing here is still running.
    :param now: Epoch seconds of a wall clock: the next call may come from another process.
    :param undecided: Shards whose look-up has told nothing just now; it is made again later, and the others go on.
    """
    if ledger.finished_at is not None:
        return Finish(ledger.closing.reason if ledger.closing else "done")
    return (
        _unknown_outcome(ledger, limits, now, undecided)
        or _news(ledger, seen, now)
        or _landing(ledger, limits)
        or _closing(ledger, limits, now)
        or _another_round(ledger)
        or _trimming(ledger, limits)
        or _end(ledger, limits)
        or _submission(ledger, limits, now)
        or _wait(ledger, limits, now, undecided)
    )


def row_is_final(outcome: RowOutcome, *, round: int, closing: bool, limits: Limits) -> bool:  # noqa: A002
    """
    Return whether a row keeps this outcome, or goes into another round.

    :param round: How many passes the row has had, this one included.
    :param closing: Whether the job sends nothing more.
    """
    if closing or round >= limits.max_rounds:
        return True
    if outcome.status in NOT_RUN:
        return False
    if outcome.status != "failed" or not is_transient(outcome):
        return True
    return outcome.attempts >= limits.max_attempts


def is_transient(outcome: RowOutcome) -> bool:
    """
    Return whether the same request can succeed later: 408, 409, 429, 5xx, no HTTP status (0), a request's time-out, a
    file refused for other rows, a line that says nothing of its request.
    """
    if outcome.error_code in {"request_timeout", "not_run"}:
        return True
    code = outcome.status_code
    return code is not None and (code == 0 or code in TRANSIENT_CODES or code >= 500)


def queue_retry_at(shard: ShardRecord, now: float) -> float:
    """Return when a create that met a full queue is tried again: 1 to 15 minutes, doubling, with jitter."""
    first, longest = QUEUE_PAUSES
    pause = min(longest, first * 2.0 ** min(shard.refusals, 8))
    spread = zlib.crc32(f"{shard.key}/{shard.refusals}/{shard.sha256}".encode()) / 2**32
    return now + max(first, pause * (0.8 + 0.2 * spread))


def file_retry_at(shard: ShardRecord, now: float) -> float:
    """Return when a create whose file was not found is tried again: in seconds at first, then as for a full queue."""
    return now + FILE_PAUSE if shard.passing_refusals < FILE_REFUSALS else queue_retry_at(shard, now)


def wait_out(ledger: Ledger, limits: Limits, now: float) -> Wait | None:
    """
    Return how long to wait when the API cannot be reached; None where the attempt had better fail.

    A job that has something at the API goes on within its time. One that has sent nothing fails at once: a wrong
    address looks like an outage.
    """
    deadline = _deadline(ledger, limits)
    return None if deadline is None or now >= deadline + CANCEL_PATIENCE else Wait(until=now + OUTAGE_PAUSE)


def files_are_late(batch: Batch) -> bool:
    """Return whether a batch that has ended still owes its files: `completed`, or cut short with answers counted."""
    if not batch.has_ended or batch.status == statuses.FAILED or batch.output_file_id is not None:
        return False
    return batch.completed > 0 or (batch.status == statuses.COMPLETED and batch.error_file_id is None)


def _unknown_outcome(ledger: Ledger, limits: Limits, now: float, undecided: frozenset[str]) -> Action | None:
    for shard in ledger.each_in("intended"):
        if shard.key in undecided:
            continue
        # A clock that was set back a long way is no reason to wait as long: the look-up goes by proof.
        if abs(now - shard.intents[-1].last_at) >= limits.quiet_period:
            return Resolve(shard.key)
    return None


def _news(ledger: Ledger, seen: Mapping[str, Batch], now: float) -> Action | None:
    """Refused files come first: the batches that ended since have freed room for them."""
    if not seen:
        return None
    polled_at = [(shard, seen.get(shard.batch_id or "")) for shard in ledger.each_in("submitted")]
    ended = [(shard, batch) for shard, batch in polled_at if batch is not None and batch.has_ended]
    for shard, batch in sorted(ended, key=lambda pair: pair[1].status != statuses.FAILED):
        if news := _news_of(ledger, shard, batch, now):
            return news
    return None


def _news_of(ledger: Ledger, shard: ShardRecord, batch: Batch, now: float) -> Action | None:
    if files_are_late(batch):
        if shard.late_since is None:
            return NoteLate(shard.key)
        if not _is_lost(shard, now) or (batch.status == statuses.COMPLETED and batch.error_file_id is None):
            return None
        # What its error file holds may account for all rows; where it does not, the landing stops.
    whole = refused_whole(batch)
    if whole is not None:
        return _refused(ledger, shard, batch.id, whole, now)
    ours = ledger.cancel_asked_at is not None
    if batch.status == statuses.CANCELLED and not ours and ledger.closing is None:
        message = f"Batch {batch.id} was cancelled, and not by this job"
        return Close(Closing(reason="cancelled", message=message, at=now))
    return RecordEnd(shard.key, batch)


def _refused(ledger: Ledger, shard: ShardRecord, batch_id: str, whole: FileError, now: float) -> Action:
    text = f"{whole.code}: {whole.message}"
    kind = passes(whole)
    if kind == "queue full":
        return Requeue(shard.key, text, queue_retry_at(shard, now))
    may_pass = kind is not None
    if may_pass and ledger.closing is None and may_be_made_again(shard):
        return Requeue(shard.key, text, queue_retry_at(shard, now), passes=True, upload_again=True)
    if ledger.closing is None:
        message = refusal_message(batch_id, whole)
        return Close(Closing(reason="refused", message=message, at=now, final=False, retryable=may_pass))
    return Requeue(shard.key, text, now, passes=may_pass, upload_again=may_pass)


def _landing(ledger: Ledger, limits: Limits) -> Action | None:
    if not limits.lands:
        return None
    ended = next(ledger.each_in("ended"), None)
    return None if ended is None else Land(ended.key)


def _closing(ledger: Ledger, limits: Limits, now: float) -> Action | None:
    closing, active = ledger.closing, ledger.count_in("submitted")
    if closing is None or (active and closing.reason != "timeout"):
        deadline = _deadline(ledger, limits)
        if deadline is not None and now >= deadline and not _is_complete(ledger, limits):
            message = "The job's time is over" if closing is None else f"{closing.message}, and the job's time is over"
            return Close(Closing(reason="timeout", message=message, at=now))
    if closing is None:
        return None
    if active and closing.reason == "timeout" and limits.cancel_on_timeout and ledger.cancel_asked_at is None:
        return Cancel(tuple(ledger.active_ids))
    if active:
        return _wait_for_the_end(ledger, limits, now)
    if ledger.count_in("intended"):
        return None
    if not closing.final:
        return Finish(closing.reason)
    unsent = next(ledger.each_in("planned"), None)
    return Land(unsent.key) if unsent is not None and limits.lands else None


def _wait_for_the_end(ledger: Ledger, limits: Limits, now: float) -> Action:
    closing = ledger.closing
    if closing is not None and closing.reason == "timeout":
        since = ledger.cancel_asked_at if ledger.cancel_asked_at is not None else closing.at - CANCEL_PATIENCE
        if abs(now - since) >= CANCEL_PATIENCE:  # a clock that was set back does not hold up the end
            return Finish("timeout")
        return _wait_until(ledger, since + CANCEL_PATIENCE, now)
    return _wait(ledger, limits, now)


def _another_round(ledger: Ledger) -> Action | None:
    if ledger.count_in("planned", "intended", "submitted", "ended"):
        return None
    return PlanRound(ledger.round + 1) if ledger.unplanned_rows else None


def _trimming(ledger: Ledger, limits: Limits) -> Action | None:
    """Rows that were sent again leave their old parts last of all: until then the table that stands has them."""
    if not limits.lands or not ledger.untrimmed or not _is_complete(ledger, limits):
        return None
    return Trim(ledger.untrimmed[0].key)


def _end(ledger: Ledger, limits: Limits) -> Action | None:
    if _is_complete(ledger, limits):
        return Finish(ledger.closing.reason if ledger.closing else "done")
    if ledger.closing is not None and not ledger.count_in("intended", "submitted"):
        return Finish(ledger.closing.reason)
    if not limits.wait_for_completion and not ledger.count_in("planned", "intended"):
        return Finish("submitted")
    return None


def _is_complete(ledger: Ledger, limits: Limits) -> bool:
    unended = ledger.count_in("planned", "intended", "submitted")
    if not limits.lands:
        return not unended
    return not unended and not ledger.count_in("ended") and not ledger.unplanned_rows


def _submission(ledger: Ledger, limits: Limits, now: float) -> Action | None:
    if ledger.closing is not None:
        return None
    if ledger.count_in("intended", "submitted") >= limits.max_active_batches:
        return None
    held = {shard.key: shard.model for shard in ledger.held if _is_held(shard, now)}
    full = set(held.values())
    enqueued: Counter[str | None] = Counter()
    if limits.max_enqueued_tokens is not None:
        for running in ledger.each_in("intended", "submitted"):
            enqueued[running.model] += running.tokens

    def none_may_go(segment: Segment) -> bool:
        return all(model in full or not _has_room(least, enqueued[model], limits) for model, least in segment.tokens)

    for shard in ledger.each_in("planned", skip=none_may_go):
        # Where a queue is known to be full, only those go that have met it before and whose turn has come.
        may_go = shard.key not in held and (shard.refusals > 0 or shard.model not in full)
        if may_go and _has_room(shard.tokens, enqueued[shard.model], limits):
            return Submit(shard.key)
    return None


def _is_held(shard: ShardRecord, now: float) -> bool:
    """Return whether a shard waits for its turn; a clock that was set back makes no pause longer than the longest."""
    return shard.retry_at is not None and 0 < shard.retry_at - now <= QUEUE_PAUSES[1]


def _has_room(tokens: int, enqueued: int, limits: Limits) -> bool:
    """A shard that alone exceeds the cap is let in alone: it could never go otherwise."""
    if limits.max_enqueued_tokens is None:
        return True
    return enqueued == 0 or enqueued + tokens <= limits.max_enqueued_tokens


def _wait(ledger: Ledger, limits: Limits, now: float, undecided: frozenset[str] = frozenset()) -> Wait | GiveUpOnFiles:
    """A lost batch fails the task only when it is all that is left: the answers of the others land first."""
    running = ledger.shards_in("intended", "submitted")
    if running and all(_is_lost(shard, now) for shard in running):
        return GiveUpOnFiles(running[0].key)
    moments = [
        now + UNDECIDED_PAUSE if shard.key in undecided else shard.intents[-1].last_at + limits.quiet_period
        for shard in ledger.shards_in("intended")
    ]
    if ledger.closing is None:
        moments += [shard.retry_at for shard in ledger.held if shard.retry_at is not None and _is_held(shard, now)]
    deadline = _deadline(ledger, limits)
    moments += [deadline] if deadline is not None and deadline > now else []
    return _wait_until(ledger, min(moments, default=now + limits.timeout), now)


def polled_ids(ledger: Ledger) -> tuple[str, ...]:
    """Return the ids of the batches whose end is waited for."""
    active = ledger.shards_in("submitted")
    return tuple(shard.batch_id for shard in active if shard.late_since is None and shard.batch_id is not None)


def _wait_until(ledger: Ledger, until: float, now: float) -> Wait:
    """A batch whose files are late has ended already: it is looked at again after a pause, not polled_ids."""
    active = ledger.shards_in("submitted")
    is_late = any(shard.late_since is not None and not _is_lost(shard, now) for shard in active)
    return Wait(until=min(until, now + FILES_PAUSE) if is_late else until, batch_ids=polled_ids(ledger))


def _is_lost(shard: ShardRecord, now: float) -> bool:
    return shard.late_since is not None and now >= shard.late_since + FILES_PATIENCE


def _deadline(ledger: Ledger, limits: Limits) -> float | None:
    return None if ledger.first_submitted_at is None else ledger.first_submitted_at + limits.timeout
