"""
Decide what happens to a batch next: pure functions over a record, the settings and a time.

::

    validating ──▶ in_progress ──▶ finalizing ──▶ completed
        │              │  └──▶ finalizing, rest is written as expired ──▶ expired
        ▼              ▼
      failed       cancelling ──▶ (rest is written as cancelled) ──▶ cancelled

A batch that is cancelled while `validating` is never validated. One that is cancelled while `finalizing` ends as if it
had not been cancelled: cancelled batches of the real service have no `finalizing_at`.

The engine calls `due`, does the action that it returns, and calls it again. Nothing here reads a clock, a file or the
database.
"""

from __future__ import annotations

from dataclasses import dataclass

from airflow_provider_batch.emulator.records import BatchRecord
from airflow_provider_batch.emulator.settings import Progress, Settings

#: Minimum of seconds between two actions of a batch whose progress is measured in seconds.
_TICK = 0.05


@dataclass(frozen=True)
class Validate:
    """Read the input file, and accept or refuse it."""


@dataclass(frozen=True)
class Run:
    """
    Execute lines.

    :param until: Number of lines of the batch that are done afterwards.
    """

    until: int


@dataclass(frozen=True)
class WriteRest:
    """Write the remaining lines as not run."""


@dataclass(frozen=True)
class Move:
    """
    Change the status of the batch.

    :param status: New status.
    :param ending: "expired" or "cancelled" where the remaining lines are not run any more; None changes nothing.
    """

    status: str
    ending: str | None = None


@dataclass(frozen=True)
class Wait:
    """
    Do nothing.

    :param until: Epoch seconds of the next action; None where only a read or a change of settings brings one.
    """

    until: float | None = None


Action = Validate | Run | WriteRest | Move | Wait


def due(batch: BatchRecord, settings: Settings, now: float) -> Action:
    """
    Return the next action for a batch.

    :param batch: Record of the batch.
    :param settings: Current settings.
    :param now: Epoch seconds.
    """
    if batch.has_ended:
        return Wait()
    if stuck_until := _stuck_until(batch, now):
        return Wait(stuck_until)
    if batch.status == "validating":
        return _validating(batch, settings, now)
    if batch.status == "cancelling":
        return _cancelling(batch, settings, now)
    if batch.status == "finalizing":
        return _finalizing(batch, settings, now)
    return _in_progress(batch, settings, now)


def _stuck_until(batch: BatchRecord, now: float) -> float | None:
    rule = batch.fault("stuck")
    if rule is None or batch.status != (rule.get("status_text") or "validating"):
        return None
    since = {"in_progress": batch.in_progress_at, "finalizing": batch.finalizing_at, "cancelling": batch.cancelling_at}
    until = (since.get(batch.status) or batch.created_at) + rule["seconds"]
    return until if now < until else None


def _validating(batch: BatchRecord, settings: Settings, now: float) -> Action:
    pace = settings.pace
    if pace.mode == "hold" or (pace.mode == "reads" and batch.reads < 1):
        return Wait(batch.expires_at) if now < batch.expires_at else Validate()
    begin = batch.created_at + settings.seconds("validating")
    return Validate() if now >= begin else Wait(begin)


def _in_progress(batch: BatchRecord, settings: Settings, now: float) -> Action:
    limit = _lines_before_expiry(batch)
    is_over = now >= batch.expires_at or (batch.fault("expire") is not None and batch.done >= limit)
    # An earlier version of the emulator stored batches in progress that had an ending.
    if is_over or batch.ending is not None:
        return Move("finalizing", ending="expired")
    allowed = min(_lines_allowed(batch, settings.pace, now), limit)
    if batch.done < allowed:
        return Run(allowed)
    if batch.done == batch.total and _lines_allowed(batch, settings.pace, now) >= batch.total:
        return Move("finalizing")
    return Wait(_next_check(batch, settings.pace, now))


def _lines_before_expiry(batch: BatchRecord) -> int:
    rule = batch.fault("expire")
    return batch.total if rule is None else int(batch.total * rule["after"])


def _lines_allowed(batch: BatchRecord, pace: Progress, now: float) -> int:
    if pace.mode == "immediate":
        return batch.total
    if pace.mode == "hold":
        return 0 if batch.done < batch.total else -1
    if pace.mode == "reads":
        share = batch.reads / max(1.0, pace.amount - 1)
    else:
        share = 1.0 if pace.amount <= 0 else (now - (batch.in_progress_at or now)) / pace.amount
    return batch.total if share >= 1 else int(batch.total * share)


def _next_check(batch: BatchRecord, pace: Progress, now: float) -> float:
    if pace.mode != "seconds":
        return batch.expires_at
    begun = batch.in_progress_at or now
    next_line = begun + pace.amount * (batch.done + 1) / max(1, batch.total)
    return min(batch.expires_at, max(now + _TICK, next_line), max(now + 0.001, begun + pace.amount))


def _finalizing(batch: BatchRecord, settings: Settings, now: float) -> Action:
    if batch.ending is not None:
        return _expiring(batch, settings, now)
    pace = settings.pace
    if pace.mode == "hold" or (pace.mode == "reads" and batch.reads < pace.amount):
        return Wait()
    end = (batch.finalizing_at or now) + settings.seconds("finalizing")
    return Move("completed") if now >= end else Wait(end)


def _expiring(batch: BatchRecord, settings: Settings, now: float) -> Action:
    if batch.done < batch.total:
        return WriteRest()
    end = (batch.finalizing_at or now) + settings.seconds("expiring")
    return Move("expired") if now >= end else Wait(end)


def _cancelling(batch: BatchRecord, settings: Settings, now: float) -> Action:
    pace = settings.pace
    if pace.mode == "hold" or (pace.mode == "reads" and batch.reads <= batch.reads_at_cancel):
        return Wait()
    end = (batch.cancelling_at or now) + settings.seconds("cancelling")
    if now < end:
        return Wait(end)
    if batch.finalizing_at is not None:
        return _expiring(batch, settings, now) if batch.ending else Move("completed")
    if batch.fault("cancel_loses_race"):
        return _without_cancel(batch)
    return WriteRest() if batch.done < batch.total else Move("cancelled")


def _without_cancel(batch: BatchRecord) -> Action:
    if batch.in_progress_at is None:
        return Validate()
    return Run(batch.total) if batch.done < batch.total else Move("completed")


def moved(batch: BatchRecord, move: Move, now: float) -> None:
    """
    Change the status of a record, and set the time of the change.

    :param batch: Record; it is changed in place.
    :param move: New status.
    :param now: Epoch seconds.
    """
    batch.status = move.status
    batch.ending = move.ending or batch.ending
    if move.status in ("finalizing", "completed", "expired", "cancelled", "failed", "cancelling"):
        setattr(batch, f"{move.status}_at", now)
    if move.status in ("completed", "expired") and batch.finalizing_at is None:
        batch.finalizing_at = now
    if batch.has_ended:
        batch.reads_at_end = batch.reads


def blocks_cancel(status: str) -> bool:
    """
    Say whether a cancel call gets the error 409.

    :param status: Status of the batch.
    """
    return status in ("completed", "failed", "expired")
