"""
The change that each event makes to a ledger.

`apply` is pure. It refuses events that the table `LEGAL` does not allow, so a stale writer cannot move a shard back.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from airflow_provider_batch.jobs.ledger import events
from airflow_provider_batch.jobs.ledger.ledger import Lease, Ledger
from airflow_provider_batch.jobs.ledger.shard_record import Intent, Landing, ShardRecord, State
from airflow_provider_batch.requests.row_checksum import NO_ROWS

#: The states of a shard in which an event may be recorded, by event.
LEGAL: dict[type, frozenset[State]] = {
    events.Uploaded: frozenset({"planned"}),
    events.Intended: frozenset({"planned"}),
    events.Postponed: frozenset({"planned"}),
    events.Accepted: frozenset({"intended"}),
    events.Refused: frozenset({"intended"}),
    events.Unanswered: frozenset({"intended"}),
    events.Absent: frozenset({"intended"}),
    events.Requeued: frozenset({"submitted"}),
    events.Ended: frozenset({"submitted"}),
    events.Late: frozenset({"submitted"}),
    events.Unclear: frozenset({"intended", "ended"}),
    events.Landed: frozenset({"planned", "ended"}),
    events.Trimmed: frozenset({"landed"}),
}


class IllegalEventError(RuntimeError):
    """An event that the table does not allow in the shard's state: a defect of this package, not of the API."""


def apply(ledger: Ledger, event: events.Event) -> Ledger:
    """
    Return the ledger after one event; the given ledger is unchanged.

    :param ledger: The ledger before.
    :param event: The event.
    :raises IllegalEventError: The shard is not in a state that allows the event.
    """
    match event:
        case events.Begun(ledger=begun):
            return begun
        case events.Leased():
            return _leased(ledger, event)
        case events.RoundPlanned(shards=shards):
            return ledger.with_more(shards)
        case events.CancelAsked(at=at):
            return ledger.changed(cancel_asked_at=at)
        case events.Closed(closing=closing):
            return ledger.changed(closing=closing)
        case events.Reopened(at=at):
            begun_at = ledger.first_submitted_at if at is None else at
            return ledger.changed(closing=None, first_submitted_at=begun_at)
        case events.Relanding(destination=destination, partition_by=partition_by):
            again = ledger.lands_again or ledger.finished_at is not None
            where = {"destination": destination, "partition_by": partition_by}
            after = ledger.with_each(lambda shard: _to_land_again(ledger, shard))
            return after.changed(finished_at=None, lands_again=again, **where)
        case events.RerunPlanned():
            return _rerun(ledger, event)
        case events.Finished(at=at):
            return ledger.changed(finished_at=at, lands_again=False)
    return _apply_to_shard(ledger, event)


def _leased(ledger: Ledger, event: events.Leased) -> Ledger:
    era = ledger.era if event.era is None else event.era
    if event.given_up or era != ledger.era:
        ledger = _with_given_up(ledger, frozenset(event.given_up))
    lease = Lease(owner=event.owner, epoch=ledger.lease.epoch + 1, at=event.at)
    return ledger.changed(lease=lease, era=era, claim=ledger.claim if event.claim is None else event.claim)


def _with_given_up(ledger: Ledger, keys: frozenset[str]) -> Ledger:
    """
    Give up these shards and no others: a clear that does not name a shard takes back an earlier one's. Shards at rest
    are never given up.
    """
    for shard in list(ledger.shard_list.each(skip=lambda segment: True)):
        if shard.given_up != (shard.key in keys):
            ledger = ledger.with_shard(msgspec.structs.replace(shard, given_up=shard.key in keys))
    return ledger


def _to_land_again(ledger: Ledger, shard: ShardRecord) -> ShardRecord:
    """
    Repeat a landing with the limits that it had, even where the job has changed since: later rounds hold the rows that
    it left.
    """
    replace = msgspec.structs.replace
    is_over = shard.round < ledger.first_round
    if is_over and shard.landing is not None and shard.ending is None:  # never sent: the rerun has all its rows
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


def _rerun(ledger: Ledger, event: events.RerunPlanned) -> Ledger:
    after = ledger.with_each(_to_be_trimmed, lambda segment: segment.totals is None or not segment.totals.unsuccessful)
    return after.with_more(event.shards).changed(
        finished_at=None,
        lands_again=False,
        closing=None,
        cancel_asked_at=None,
        first_submitted_at=None,
        first_round=ledger.round + 1,
        era=event.era,
    )


def _to_be_trimmed(shard: ShardRecord) -> ShardRecord:
    is_untrimmed = shard.landing is not None and shard.landing.unsuccessful > 0
    return msgspec.structs.replace(shard, untrimmed=is_untrimmed)


def _apply_to_shard(ledger: Ledger, event: events.Event) -> Ledger:
    key = str(getattr(event, "shard"))  # noqa: B009
    before = ledger.shard(key)
    if before.state not in LEGAL[type(event)]:
        raise IllegalEventError(f"shard {key} is {before.state}: {type(event).__name__} cannot be recorded")
    # `unclear` and `given_up` are about the shard before this event.
    after = msgspec.structs.replace(
        shard_after(before, event), given_up=False, unclear=isinstance(event, events.Unclear)
    )
    ledger = ledger.with_shard(after)
    if isinstance(event, events.Ended):
        ledger = _with_room_for_one(ledger, before.model)
    if isinstance(event, events.Intended | events.Postponed) and ledger.first_submitted_at is None:
        ledger = ledger.changed(first_submitted_at=event.at)
    if isinstance(event, events.Landed) and event.embedding_size is not None and ledger.embedding_size is None:
        ledger = ledger.changed(embedding_size=event.embedding_size, embedding_size_from="answers")
    return ledger


def _with_room_for_one(ledger: Ledger, model: str | None) -> Ledger:
    """A batch that ends frees room in its model's queue: let the first delayed shard of it be sent at once."""
    waiting = next((shard for shard in ledger.delayed if shard.model == model), None)
    return ledger if waiting is None else ledger.with_shard(msgspec.structs.replace(waiting, retry_at=None))


def shard_after(shard: ShardRecord, event: events.Event) -> ShardRecord:  # noqa: C901 - one flat table of events
    """
    Return a shard after an event that concerns it.

    :param shard: The shard before.
    :param event: The event.
    :raises IllegalEventError: The event concerns no shard.
    """
    replace = msgspec.structs.replace
    match event:
        case events.Uploaded(file_id=file_id):
            return replace(shard, file_id=file_id)
        case events.Intended(at=at):
            return replace(shard, intents=(*shard.intents, Intent(number=len(shard.intents) + 1, at=at)), retry_at=None)
        case events.Postponed():
            return _refused(shard, event)
        case events.Accepted(batch_id=batch_id):
            return replace(_settled(shard, "accepted", batch_id=batch_id), batch_id=batch_id)
        case events.Refused(error=error):
            return _refused(_settled(shard, "refused", error=error), event)
        case events.Unanswered(at=at):
            return replace(shard, intents=(*shard.intents[:-1], replace(shard.intents[-1], unanswered_at=at)))
        case events.Absent():
            return _settled(shard, "absent")
        case events.Requeued(error=error):
            settled = _settled(shard, "refused", batch_id=shard.batch_id, error=error)
            return _refused(replace(settled, batch_id=None), event)
        case events.Ended(ending=ending):
            return replace(shard, ending=ending)
        case events.Late(at=at):
            return replace(shard, late_since=at)
        case events.Unclear():
            return shard
        case events.Landed(landing=landing):
            return replace(shard, landing=landing, landed_before=None)
        case events.Trimmed() if shard.landing is not None:
            return replace(shard, landing=_trimmed(shard.landing, event), untrimmed=False)
    raise IllegalEventError(f"{type(event).__name__} concerns no shard")


def _trimmed(landing: Landing, event: events.Trimmed) -> Landing:
    return msgspec.structs.replace(
        landing,
        rows=event.rows,
        statuses={"succeeded": event.rows} if event.rows else {},
        part=(event.part or landing.part) if event.rows else None,
        folders=event.folders,
        unfetched=0,
        row_checksum=event.row_checksum,
    )


def _refused(shard: ShardRecord, event: events.Refused | events.Requeued | events.Postponed) -> ShardRecord:
    return msgspec.structs.replace(
        shard,
        file_id=None if event.upload_again else shard.file_id,
        retry_at=event.retry_at,
        refusals=shard.refusals + 1,
        passing_refusals=shard.passing_refusals + 1 if event.passes else 0,
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
