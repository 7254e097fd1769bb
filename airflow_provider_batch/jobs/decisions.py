"""
Decides the next action of a job, for the deferrable operator, the blocking operator and the command line.

Pure: no clock, no network, no storage. `runner.py` does the one action (`actions.py`) that is due, records its outcome
and asks again. The rules apply in this order:

1. an unknown outcome is looked up, and its POST is not repeated; while it stays unknown, the other shards continue;
2. what is paid for is landed before any limit is checked;
3. a job whose time is over, or that must not continue, cancels and lands, and sends nothing more;
4. the rows without a final result go into another round;
5. what the limits allow is submitted;
6. else the job waits until a batch ends or until a moment of the wall clock; every wait has such a moment.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from airflow_provider_batch.api import statuses
from airflow_provider_batch.api.objects import Batch, FileError
from airflow_provider_batch.jobs import actions
from airflow_provider_batch.jobs.ledger.ledger import Closing, Ledger
from airflow_provider_batch.jobs.ledger.shard_list import Segment
from airflow_provider_batch.jobs.ledger.shard_record import ShardRecord
from airflow_provider_batch.jobs.refusals import (
    FILE_REFUSALS,
    may_retry_batch,
    passing_kind_of,
    refusal_message,
    refused_whole,
)

#: Seconds to wait for cancelled batches. A batch may be `cancelling` for 10 minutes; the rest is for a slow poll.
CANCEL_PATIENCE = 15 * 60.0
#: Seconds to wait for the files of a `completed` batch; some services provide them late.
FILES_PATIENCE = 10 * 60.0
#: Seconds between two polls of a batch whose files are late.
FILES_PAUSE = 20.0
#: Seconds before a create is tried again after a full queue: the first delay, which doubles up to the second.
QUEUE_PAUSES = (60.0, 15 * 60.0)
#: Seconds before the next call after the SDK's own retries have failed.
OUTAGE_PAUSE = 60.0
#: Seconds before a look-up without a result is repeated, while other batches run.
UNDECIDED_PAUSE = 600.0
#: Seconds before a create is tried again after its uploaded file was not found.
FILE_PAUSE = 5.0


@dataclass(frozen=True)
class Limits:
    """
    The limits of a job; times in seconds.

    :param timeout: From the first submission until the job cancels its batches and lands what it has.
    :param poll_interval: At least this long between two polls.
    :param max_attempts: How often a row whose error can go away is sent, at most.
    :param max_rounds: Rounds of submissions, at most.
    :param max_active_batches: Batches that run at the same time, at most.
    :param max_enqueued_tokens: Estimated tokens of the running batches of one model, at most; None for no limit.
    :param max_failed: Share (float) or count (int) of rows without success above which the job fails; None for all
        rows.
    :param cancel_on_timeout: Whether running batches are cancelled when the time is over.
    :param wait_for_completion: Whether the job waits for its batches.
    :param lands: Whether there is a destination. Without one a job ends when its batches do, and has one round.
    :param creates: Creates, and the seconds in which the service allows at most so many; None for no limit.
    :param quiet_period: After this long, the API's list certainly shows the batch that a POST made.
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
    creates: tuple[int, float] | None = None


def next_action(
    ledger: Ledger,
    seen: Mapping[str, Batch],
    limits: Limits,
    now: float,
    undecided: frozenset[str] = frozenset(),
) -> actions.Action:
    """
    Return the one action that is due.

    :param ledger: The job's ledger.
    :param seen: The latest polled batch by batch id. A batch that is missing here is still running.
    :param limits: The job's limits.
    :param now: Epoch seconds of a wall clock: the next call may come from another process.
    :param undecided: Keys of shards whose look-up just had no result. It is repeated later; the other shards continue.
    """
    if ledger.finished_at is not None:
        return actions.Finish(ledger.closing.reason if ledger.closing else "done")
    return (
        _unknown_outcome(ledger, limits, now, undecided)
        or _batch_change(ledger, seen, now)
        or _landing(ledger, limits)
        or _closing(ledger, limits, now)
        or _another_round(ledger)
        or _trimming(ledger, limits)
        or _end(ledger, limits)
        or _submission(ledger, limits, now)
        or _wait(ledger, limits, now, undecided)
    )


def queue_retry_at(shard: ShardRecord, now: float) -> float:
    """
    Return when a create is tried again after a full queue: after 1 to 15 minutes, doubling, with jitter.

    :param shard: The shard before the refusal is recorded.
    :param now: Epoch seconds.
    """
    first, longest = QUEUE_PAUSES
    pause = min(longest, first * 2.0 ** min(shard.refusals, 8))
    spread = zlib.crc32(f"{shard.key}/{shard.refusals}/{shard.sha256}".encode()) / 2**32
    return now + max(first, pause * (0.8 + 0.2 * spread))


def file_retry_at(shard: ShardRecord, now: float) -> float:
    """
    Return when a create is tried again after its file was not found: after seconds first, later as for a full queue.

    :param shard: The shard before the refusal is recorded.
    :param now: Epoch seconds.
    """
    return now + FILE_PAUSE if shard.passing_refusals < FILE_REFUSALS else queue_retry_at(shard, now)


def wait_for_api(ledger: Ledger, limits: Limits, now: float) -> actions.Wait | None:
    """
    Return how long to wait while the API cannot be reached; None where the attempt should fail.

    A job with batches at the API waits within its time. A job that has sent nothing fails at once, since a wrong
    address looks like an outage.

    :param ledger: The job's ledger.
    :param limits: The job's limits.
    :param now: Epoch seconds.
    """
    deadline = _deadline(ledger, limits)
    return None if deadline is None or now >= deadline + CANCEL_PATIENCE else actions.Wait(until=now + OUTAGE_PAUSE)


def files_are_late(batch: Batch) -> bool:
    """
    Return whether a batch has ended and files are missing that its counts, or its status `completed`, promise.

    :param batch: The batch as it was polled.
    """
    if not batch.has_ended or batch.status == statuses.FAILED or batch.output_file_id is not None:
        return False
    return batch.completed > 0 or (batch.status == statuses.COMPLETED and batch.error_file_id is None)


def _unknown_outcome(ledger: Ledger, limits: Limits, now: float, undecided: frozenset[str]) -> actions.Action | None:
    for shard in ledger.each_in("intended"):
        if shard.key in undecided:
            continue
        # `abs`: a clock that was set back must not make the wait longer. The look-up needs no clock.
        if abs(now - shard.intents[-1].last_at) >= limits.quiet_period:
            return actions.Resolve(shard.key)
    return None


def _batch_change(ledger: Ledger, seen: Mapping[str, Batch], now: float) -> actions.Action | None:
    """Handle refused files first: batches that have ended since may have freed room for them."""
    if not seen:
        return None
    polled = [(shard, seen.get(shard.batch_id or "")) for shard in ledger.each_in("submitted")]
    ended = [(shard, batch) for shard, batch in polled if batch is not None and batch.has_ended]
    for shard, batch in sorted(ended, key=lambda pair: pair[1].status != statuses.FAILED):
        if change := _change_of(ledger, shard, batch, now):
            return change
    return None


def _change_of(ledger: Ledger, shard: ShardRecord, batch: Batch, now: float) -> actions.Action | None:
    if files_are_late(batch):
        if shard.late_since is None:
            return actions.NoteLate(shard.key)
        if not _is_lost(shard, now) or (batch.status == statuses.COMPLETED and batch.error_file_id is None):
            return None
        # Its error file may have all rows; where it has not, the landing raises an error.
    whole = refused_whole(batch)
    if whole is not None:
        return _refused(ledger, shard, batch.id, whole, now)
    is_requested = ledger.cancel_asked_at is not None
    if batch.status == statuses.CANCELLED and not is_requested and ledger.closing is None:
        message = f"Batch {batch.id} was cancelled, and not by this job"
        return actions.Close(Closing(reason="cancelled", message=message, at=now))
    return actions.RecordEnd(shard.key, batch)


def _refused(ledger: Ledger, shard: ShardRecord, batch_id: str, whole: FileError, now: float) -> actions.Action:
    text = f"{whole.code}: {whole.message}"
    kind = passing_kind_of(whole)
    if kind == "queue full":
        return actions.Requeue(shard.key, text, queue_retry_at(shard, now))
    may_pass = kind is not None
    if may_pass and ledger.closing is None and may_retry_batch(shard):
        return actions.Requeue(shard.key, text, queue_retry_at(shard, now), passes=True, upload_again=True)
    if ledger.closing is None:
        message = refusal_message(batch_id, whole)
        return actions.Close(Closing(reason="refused", message=message, at=now, final=False, retryable=may_pass))
    return actions.Requeue(shard.key, text, now, passes=may_pass, upload_again=may_pass)


def _landing(ledger: Ledger, limits: Limits) -> actions.Action | None:
    if not limits.lands:
        return None
    ended = next(ledger.each_in("ended"), None)
    return None if ended is None else actions.Land(ended.key)


def _closing(ledger: Ledger, limits: Limits, now: float) -> actions.Action | None:
    closing, active = ledger.closing, ledger.count_in("submitted")
    if closing is None or (active and closing.reason != "timeout"):
        deadline = _deadline(ledger, limits)
        if deadline is not None and now >= deadline and not _is_complete(ledger, limits):
            message = "The job's time is over" if closing is None else f"{closing.message}, and the job's time is over"
            return actions.Close(Closing(reason="timeout", message=message, at=now))
    if closing is None:
        return None
    if active and closing.reason == "timeout" and limits.cancel_on_timeout and ledger.cancel_asked_at is None:
        return actions.Cancel(tuple(ledger.active_ids))
    if active:
        return _wait_for_the_end(ledger, limits, now)
    if ledger.count_in("intended"):
        return None
    if not closing.final:
        return actions.Finish(closing.reason)
    unsent = next(ledger.each_in("planned"), None)
    return actions.Land(unsent.key) if unsent is not None and limits.lands else None


def _wait_for_the_end(ledger: Ledger, limits: Limits, now: float) -> actions.Action:
    closing = ledger.closing
    if closing is not None and closing.reason == "timeout":
        since = ledger.cancel_asked_at if ledger.cancel_asked_at is not None else closing.at - CANCEL_PATIENCE
        if abs(now - since) >= CANCEL_PATIENCE:  # `abs`: a clock that was set back must not make the wait longer
            return actions.Finish("timeout")
        return _wait_until(ledger, since + CANCEL_PATIENCE, now)
    return _wait(ledger, limits, now)


def _another_round(ledger: Ledger) -> actions.Action | None:
    if ledger.count_in("planned", "intended", "submitted", "ended"):
        return None
    return actions.PlanRound(ledger.round + 1) if ledger.unplanned_rows else None


def _trimming(ledger: Ledger, limits: Limits) -> actions.Action | None:
    """Trim parts last of all: until then the published table needs the rows in the old parts."""
    if not limits.lands or not ledger.untrimmed or not _is_complete(ledger, limits):
        return None
    return actions.Trim(ledger.untrimmed[0].key)


def _end(ledger: Ledger, limits: Limits) -> actions.Action | None:
    if _is_complete(ledger, limits):
        return actions.Finish(ledger.closing.reason if ledger.closing else "done")
    if ledger.closing is not None and not ledger.count_in("intended", "submitted"):
        return actions.Finish(ledger.closing.reason)
    if not limits.wait_for_completion and not ledger.count_in("planned", "intended"):
        return actions.Finish("submitted")
    return None


def _is_complete(ledger: Ledger, limits: Limits) -> bool:
    unended = ledger.count_in("planned", "intended", "submitted")
    if not limits.lands:
        return not unended
    return not unended and not ledger.count_in("ended") and not ledger.unplanned_rows


def _submission(ledger: Ledger, limits: Limits, now: float) -> actions.Action | None:
    if ledger.closing is not None:
        return None
    if ledger.count_in("intended", "submitted") >= limits.max_active_batches or _next_create_at(ledger, limits, now):
        return None
    delayed = {shard.key: shard.model for shard in ledger.delayed if _is_delayed(shard, now)}
    full = set(delayed.values())
    enqueued: Counter[str | None] = Counter()
    if limits.max_enqueued_tokens is not None:
        for running in ledger.each_in("intended", "submitted"):
            enqueued[running.model] += running.tokens

    def has_no_candidate(segment: Segment) -> bool:
        return all(model in full or not _has_room(least, enqueued[model], limits) for model, least in segment.tokens)

    for shard in ledger.each_in("planned", skip=has_no_candidate):
        # While a model's queue is full, only shards that it refused before, and whose delay is over, are sent.
        may_submit = shard.key not in delayed and (shard.refusals > 0 or shard.model not in full)
        if may_submit and _has_room(shard.tokens, enqueued[shard.model], limits):
            return actions.Submit(shard.key)
    return None


def _next_create_at(ledger: Ledger, limits: Limits, now: float) -> float | None:
    """
    Return when the service's limit of creates allows the next one; None where it does now.

    Only the creates of running batches are counted. Others may have used the limit too: then the create is refused, and
    the shard waits as for a full queue.
    """
    if limits.creates is None:
        return None
    most, seconds = limits.creates
    if ledger.count_in("intended", "submitted") < most:
        return None
    moments = (shard.intents[-1].at for shard in ledger.each_in("intended", "submitted"))
    recent = sorted(at for at in moments if now - seconds < at <= now)
    return recent[-most] + seconds if len(recent) >= most else None


def _is_delayed(shard: ShardRecord, now: float) -> bool:
    """Return whether a shard's delay is not over; a clock that was set back makes no delay longer than the longest."""
    return shard.retry_at is not None and 0 < shard.retry_at - now <= QUEUE_PAUSES[1]


def _has_room(tokens: int, enqueued: int, limits: Limits) -> bool:
    """Return whether tokens fit the limit; a shard that alone exceeds it is sent when nothing else runs."""
    if limits.max_enqueued_tokens is None:
        return True
    return enqueued == 0 or enqueued + tokens <= limits.max_enqueued_tokens


def _wait(
    ledger: Ledger, limits: Limits, now: float, undecided: frozenset[str] = frozenset()
) -> actions.Wait | actions.GiveUpOnFiles:
    """Give up on missing files only when nothing else runs: the results of the other batches land first."""
    running = ledger.shards_in("intended", "submitted")
    if running and all(_is_lost(shard, now) for shard in running):
        return actions.GiveUpOnFiles(running[0].key)
    moments = [
        now + UNDECIDED_PAUSE if shard.key in undecided else shard.intents[-1].last_at + limits.quiet_period
        for shard in ledger.shards_in("intended")
    ]
    if ledger.closing is None:
        moments += [
            shard.retry_at for shard in ledger.delayed if shard.retry_at is not None and _is_delayed(shard, now)
        ]
    if ledger.count_in("planned") and (next_create := _next_create_at(ledger, limits, now)) is not None:
        moments.append(next_create)
    deadline = _deadline(ledger, limits)
    moments += [deadline] if deadline is not None and deadline > now else []
    return _wait_until(ledger, min(moments, default=now + limits.timeout), now)


def polled_ids(ledger: Ledger) -> tuple[str, ...]:
    """
    Return the ids of the batches that are polled until they end.

    :param ledger: The job's ledger.
    """
    active = ledger.shards_in("submitted")
    return tuple(shard.batch_id for shard in active if shard.late_since is None and shard.batch_id is not None)


def _wait_until(ledger: Ledger, until: float, now: float) -> actions.Wait:
    """A batch whose files are late has ended: it is polled again after a pause, and is not in `polled_ids`."""
    active = ledger.shards_in("submitted")
    is_late = any(shard.late_since is not None and not _is_lost(shard, now) for shard in active)
    return actions.Wait(until=min(until, now + FILES_PAUSE) if is_late else until, batch_ids=polled_ids(ledger))


def _is_lost(shard: ShardRecord, now: float) -> bool:
    return shard.late_since is not None and now >= shard.late_since + FILES_PATIENCE


def _deadline(ledger: Ledger, limits: Limits) -> float | None:
    return None if ledger.first_submitted_at is None else ledger.first_submitted_at + limits.timeout
