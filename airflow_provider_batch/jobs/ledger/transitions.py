"""
What each entry makes of a ledger.

`apply` is pure, and refuses what the table below does not allow, so a stale writer cannot move a shard backwards.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from airflow_provider_batch.jobs.ledger.events import (
    Absent,
    Accepted,
    Begun,
    CancelAsked,
    Closed,
    Ended,
    Entry,
    Finished,
    Intended,
    Landed,
    Late,
    Leased,
    Refused,
    Relanding,
    Reopened,
    Requeued,
    RerunPlanned,
    RoundPlanned,
    Trimmed,
    Unanswered,
    Unclear,
    Uploaded,
)
from airflow_provider_batch.jobs.ledger.ledger import Lease, Ledger
from airflow_provider_batch.jobs.ledger.shard_record import Intent, Landing, ShardRecord, State
from airflow_provider_batch.requests.row_checksum import NO_ROWS

#: Entry → the states of its shard in which it may be recorded.
LEGAL: dict[type, frozenset[State]] = {
    Uploaded: frozenset({"planned"}),
    Intended: frozenset({"planned"}),
    Accepted: frozenset({"intended"}),
    Refused: frozenset({"intended"}),
    Unanswered: frozenset({"intended"}),
    Absent: frozenset({"intended"}),
    Requeued: frozenset({"submitted"}),
    Ended: frozenset({"submitted"}),
    Late: frozenset({"submitted"}),
    Unclear: frozenset({"intended", "ended"}),
    Landed: frozenset({"planned", "ended"}),
    Trimmed: frozenset({"landed"}),
}


class IllegalEntryError(RuntimeError):
    """An entry that the table does not allow in the shard's state: a defect of ours, never of the API."""


def apply(ledger: Ledger, entry: Entry) -> Ledger:
    """
    Return the ledger after one entry; the given one is unchanged.

    :raises IllegalEntryError: The shard is not in a state that allows the entry.
    """
    match entry:
        case Begun(ledger=begun):
            return begun
        case Leased():
            return _leased(ledger, entry)
        case RoundPlanned(shards=shards):
            return ledger.with_more(shards)
        case CancelAsked(at=at):
            return ledger.changed(cancel_asked_at=at)
        case Closed(closing=closing):
            return ledger.changed(closing=closing)
        case Reopened(at=at):
            begun_at = ledger.first_submitted_at if at is None else at
            return ledger.changed(closing=None, first_submitted_at=begun_at)
        case Relanding(destination=destination, partition_by=partition_by):
            again = ledger.lands_again or ledger.finished_at is not None
            where = {"destination": destination, "partition_by": partition_by}
            after = ledger.with_each(lambda shard: _to_land_again(ledger, shard))
            return after.changed(finished_at=None, lands_again=again, **where)
        case RerunPlanned():
            return _rerun(ledger, entry)
        case Finished(at=at):
            return ledger.changed(finished_at=at, lands_again=False)
    return _apply_to_shard(ledger, entry)


def _leased(ledger: Ledger, entry: Leased) -> Ledger:
    era = ledger.era if entry.era is None else entry.era
    if entry.given_up or era != ledger.era:
        ledger = _with_given_up(ledger, frozenset(entry.given_up))
    lease = Lease(owner=entry.owner, epoch=ledger.lease.epoch + 1, at=entry.at)
    return ledger.changed(lease=lease, era=era, claim=ledger.claim if entry.claim is None else entry.claim)


def _with_given_up(ledger: Ledger, keys: frozenset[str]) -> Ledger:
    """What an earlier clear gave up is not given up by a later one that does not say so; nothing at rest is."""
    for shard in list(ledger.shard_list.each(skip=lambda segment: True)):
        if shard.given_up != (shard.key in keys):
            ledger = ledger.with_shard(msgspec.structs.replace(shard, given_up=shard.key in keys))
    return ledger


def _to_land_again(ledger: Ledger, shard: ShardRecord) -> ShardRecord:
    """A landing is repeated as it was, whatever the job has become since: later rounds hold what it left."""
    replace = msgspec.structs.replace
    is_over = shard.round < ledger.first_round
    if is_over and shard.landing is not None and shard.ending is None:  # never sent: all its rows are in the rerun
        none = {
            "rows": 0,
            "statuses": {},
            "part": None,
            "folders": {},
            "unreadable_file": None,
            "row_checksum": NO_ROWS,
        }
        nothing = replace(shard.landing, **none)
        return replace(shard, landing=nothing, untrimmed=False)
    return replace(shard, landing=None, landed_before=shard.landing or shard.landed_before, untrimmed=is_over)


def _rerun(ledger: Ledger, entry: RerunPlanned) -> Ledger:
    after = ledger.with_each(_to_be_trimmed, lambda segment: segment.totals is None or not segment.totals.unsuccessful)
    return after.with_more(entry.shards).changed(
        finished_at=None,
        lands_again=False,
        closing=None,
        cancel_asked_at=None,
        first_submitted_at=None,
        first_round=ledger.round + 1,
        era=entry.era,
    )


def _to_be_trimmed(shard: ShardRecord) -> ShardRecord:
    is_untrimmed = shard.landing is not None and shard.landing.unsuccessful > 0
    return msgspec.structs.replace(shard, untrimmed=is_untrimmed)


def _apply_to_shard(ledger: Ledger, entry: Entry) -> Ledger:
    key = str(getattr(entry, "shard"))  # noqa: B009
    before = ledger.shard(key)
    if before.state not in LEGAL[type(entry)]:
        raise IllegalEntryError(f"shard {key} is {before.state}: {type(entry).__name__} cannot be recorded")
    # What a person was told, and gave up by a clear, is about the shard as it was.
    after = msgspec.structs.replace(shard_after(before, entry), given_up=False, unclear=isinstance(entry, Unclear))
    ledger = ledger.with_shard(after)
    if isinstance(entry, Ended):
        ledger = _with_room_for_one(ledger, before.model)
    if isinstance(entry, Intended) and ledger.first_submitted_at is None:
        ledger = ledger.changed(first_submitted_at=entry.at)
    if isinstance(entry, Landed) and entry.embedding_size is not None and ledger.embedding_size is None:
        ledger = ledger.changed(embedding_size=entry.embedding_size)
    return ledger


def _with_room_for_one(ledger: Ledger, model: str | None) -> Ledger:
    """A batch that ends frees room in its model's queue: the first shard that waits for it may be tried at once."""
    waiting = next((shard for shard in ledger.held if shard.model == model), None)
    return ledger if waiting is None else ledger.with_shard(msgspec.structs.replace(waiting, retry_at=None))


def shard_after(shard: ShardRecord, entry: Entry) -> ShardRecord:  # noqa: C901 - one flat table of entries
    """Return a shard after an entry that concerns it."""
    replace = msgspec.structs.replace
    match entry:
        case Uploaded(file_id=file_id):
            return replace(shard, file_id=file_id)
        case Intended(at=at):
            return replace(shard, intents=(*shard.intents, Intent(number=len(shard.intents) + 1, at=at)), retry_at=None)
        case Accepted(batch_id=batch_id):
            return replace(_settled(shard, "accepted", batch_id=batch_id), batch_id=batch_id)
        case Refused(error=error):
            return _refused(_settled(shard, "refused", error=error), entry)
        case Unanswered(at=at):
            return replace(shard, intents=(*shard.intents[:-1], replace(shard.intents[-1], unanswered_at=at)))
        case Absent():
            return _settled(shard, "absent")
        case Requeued(error=error):
            settled = _settled(shard, "refused", batch_id=shard.batch_id, error=error)
            return _refused(replace(settled, batch_id=None), entry)
        case Ended(ending=ending):
            return replace(shard, ending=ending)
        case Late(at=at):
            return replace(shard, late_since=at)
        case Unclear():
            return shard
        case Landed(landing=landing):
            return replace(shard, landing=landing, landed_before=None)
        case Trimmed() if shard.landing is not None:
            return replace(shard, landing=_trimmed(shard.landing, entry), untrimmed=False)
    raise IllegalEntryError(f"{type(entry).__name__} concerns no shard")


def _trimmed(landing: Landing, entry: Trimmed) -> Landing:
    return msgspec.structs.replace(
        landing,
        rows=entry.rows,
        statuses={"succeeded": entry.rows} if entry.rows else {},
        part=(entry.part or landing.part) if entry.rows else None,
        folders=entry.folders,
        unfetched=0,
        row_checksum=entry.row_checksum,
    )


def _refused(shard: ShardRecord, entry: Refused | Requeued) -> ShardRecord:
    return msgspec.structs.replace(
        shard,
        file_id=None if entry.upload_again else shard.file_id,
        retry_at=entry.retry_at,
        refusals=shard.refusals + 1,
        passing_refusals=shard.passing_refusals + 1 if entry.passes else 0,
    )


def _settled(
    shard: ShardRecord,
    outcome: Literal["accepted", "refused", "absent"],
    *,
    batch_id: str | None = None,
    error: str | None = None,
) -> ShardRecord:
    replace = msgspec.structs.replace
    last = replace(shard.intents[-1], outcome=outcome, batch_id=batch_id, error=error)
    return replace(shard, intents=(*shard.intents[:-1], last))
