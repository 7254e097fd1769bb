"""
Waiting for batches: when to look again, when to wake the worker, what to say meanwhile.

Pure: no clock, no network. The trigger and the blocking path hold a `Watch`, show it what they saw, and ask it.

A worker is woken when it pays: all batches have ended, or a tenth of them (at least one), or ten minutes have passed
since the first end, or the moment `until` has come; where there is no such moment, an hour of trouble ends the wait. A
status that nobody knows is "still running"; a batch that the account does not have counts as ended, so that the worker
looks and says what is wrong.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from airflow_provider_batch.api.objects import Batch

#: Seconds. A batch takes minutes to a day: looking every five minutes adds nothing that anyone would notice.
LONGEST_DELAY = 300.0
#: Share of a batch's age that a look may come late.
LATENESS = 1 / 60
#: Share of the active batches whose end wakes the worker.
WAKE_SHARE = 0.1
#: Seconds after the first end at which the worker is woken whatever else happens.
WAKE_PATIENCE = 600.0
#: Seconds of trouble after which a wait without a moment ends, so that a worker fails with the reason.
TROUBLE_PATIENCE = 3600.0
#: Statuses that a batch passes quickly, unless something is wrong at the vendor.
PASSING = frozenset({"validating", "finalizing"})


def poll_delay(age: float, poll_interval: float, *, jitter: float = 0.0, remaining: float | None = None) -> float:
    """
    Return the seconds until the next look.

    :param age: Seconds since the youngest batch was created.
    :param poll_interval: Seconds; the shortest delay.
    :param jitter: 0 to 1; makes the delay up to a tenth longer, so that many waits do not fall into step.
    :param remaining: Seconds until the next batch is expected to end, where that can be told.
    """
    delay = min(max(age, 0.0) * LATENESS, LONGEST_DELAY)
    if remaining is not None:
        delay = min(delay, remaining / 2)
    return max(delay, poll_interval) * (1 + 0.1 * jitter)


def batch_delay(batch: Batch | None, now: float, poll_interval: float, *, since: float, jitter: float = 0.0) -> float:
    """
    Return the seconds until the next look at one batch.

    :param batch: What was last seen of it.
    :param since: When the wait for it began; stands for a time of creation that nobody knows.
    """
    if batch is None:
        return poll_delay(now - since, poll_interval, jitter=jitter)
    born = since if batch.created_at is None else batch.created_at
    begun = max(born, batch.finalizing_at or born)  # results are being written: it is as good as new
    return poll_delay(now - begun, poll_interval, jitter=jitter, remaining=_remaining(batch, now))


def is_stalled(batch: Batch, now: float, *, since: float, after: float) -> bool:
    """
    Return whether a batch has stood for too long in a status that it should pass quickly.

    :param since: When it was first seen in its status; the API's own times win over it.
    :param after: Seconds that are too long.
    """
    if batch.status not in PASSING:
        return False
    known = batch.created_at if batch.status == "validating" else batch.finalizing_at
    return now - (since if known is None else min(known, since)) >= after


def _remaining(batch: Batch, now: float) -> float | None:
    """Seconds until a batch ends, if it goes on as fast as so far; at the latest it expires."""
    done = batch.completed + batch.failed
    moments = [] if batch.expires_at is None or batch.has_ended else [max(0.0, batch.expires_at - now)]
    if batch.in_progress_at is not None and 0 < done < batch.total and now > batch.in_progress_at:
        moments.append((now - batch.in_progress_at) * (batch.total - done) / done)
    return min(moments, default=None)


@dataclass(frozen=True)
class Wake:
    """
    Why a wait is over.

    :param reason: ``ended``: enough batches ended; ``due``: the moment has come, or the wait was given up.
    :param ended: Ids of the batches that ended during the wait, in the order they were given.
    :param active: How many have not.
    """

    reason: Literal["ended", "due"]
    ended: tuple[str, ...]
    active: int

    def payload(self) -> dict[str, Any]:
        """Return the wake as plain JSON values."""
        return {"reason": self.reason, "ended": list(self.ended), "active": self.active}


class WaitState:
    """
    What is known of the batches that somebody waits for.

    :param batch_ids: The batches; what is given twice counts once. None at all: the wait is for the moment alone.
    :param until: Epoch seconds at which the wait is over whatever happens.
    :param share: Share of the batches whose end is enough; 1 waits for all of them, without the ten minutes' rule.
    """

    def __init__(self, batch_ids: Sequence[str], *, until: float | None = None, share: float = WAKE_SHARE) -> None:
        self.batch_ids = tuple(dict.fromkeys(batch_ids))
        self._known = frozenset(self.batch_ids)
        self.until = until
        self.share = share
        #: What was last seen of each batch.
        self.latest: dict[str, Batch] = {}
        #: When each ended batch was first seen to have ended.
        self.ended_at: dict[str, float] = {}
        #: Epoch seconds since when one or the other batch could not be looked at; None while all can.
        self.troubled_since: float | None = None
        self._troubled: set[str] = set()
        self._since: float | None = None

    @property
    def active(self) -> tuple[str, ...]:
        """Ids of the batches that have not ended."""
        return tuple(batch_id for batch_id in self.batch_ids if batch_id not in self.ended_at)

    @property
    def ended(self) -> tuple[str, ...]:
        """Ids of the batches that have ended, or are gone."""
        return tuple(batch_id for batch_id in self.batch_ids if batch_id in self.ended_at)

    def update(self, batches: Mapping[str, Batch], *, now: float) -> Wake | None:
        """
        Take in what a look has shown, and return why the wait is over, or None while it pays to wait on.

        :param batches: By id. A batch that is missing here is as it was; batches of others are passed over.
        :param now: Epoch seconds of a wall clock.
        """
        self._since = now if self._since is None else self._since
        for batch_id in self.batch_ids:
            if batch_id in batches:
                self.latest[batch_id] = batches[batch_id]
                if batches[batch_id].has_ended:
                    self.ended_at.setdefault(batch_id, now)
        self._can_see(batches)
        return self.wake(now)

    def lost(self, batch_id: str, *, now: float) -> None:
        """Take in that the account has no such batch: nothing more will be seen of it."""
        if batch_id in self._known:
            self.ended_at.setdefault(batch_id, now)
            self._can_see([batch_id])

    def troubled(self, batch_ids: Iterable[str], *, now: float) -> None:
        """Take in that these batches cannot be looked at, until they are seen, or known to be lost."""
        self._troubled.update(self._known.intersection(batch_ids))
        if self._troubled and self.troubled_since is None:
            self.troubled_since = now

    def _can_see(self, batch_ids: Iterable[str]) -> None:
        self._troubled.difference_update(batch_ids)
        if not self._troubled:
            self.troubled_since = None

    def wake(self, now: float) -> Wake | None:
        """Return why the wait is over, or None while it pays to wait on."""
        if not self.batch_ids and self.until is None:
            return Wake("due", (), 0)  # nothing that could end, and no moment either
        enough = max(1, math.ceil(len(self.batch_ids) * self.share))
        patience_ends = self._patience_ends()
        out_of_patience = patience_ends is not None and now >= patience_ends
        if len(self.ended_at) >= enough or out_of_patience:
            return Wake("ended", self.ended, len(self.active))
        last = self._last_moment()
        return Wake("due", self.ended, len(self.active)) if last is not None and now >= last else None

    def delay(self, now: float, poll_interval: float, *, jitter: float = 0.0) -> float:
        """
        Return the seconds until the next look: by age, and never past a moment at which the wait is over.

        :param jitter: 0 to 1, from a random source of the caller.
        """
        since = now if self._since is None else self._since
        waits = [
            batch_delay(self.latest.get(batch_id), now, poll_interval, since=since, jitter=jitter)
            for batch_id in self.active
        ]
        delay = min(waits, default=poll_delay(now - since, poll_interval, jitter=jitter))
        moment = self.moment
        return delay if moment is None else max(0.0, min(delay, moment - now))

    @property
    def moment(self) -> float | None:
        """Epoch seconds at which the wait is over if nothing more is seen; None while there is no such moment."""
        moments = (self._last_moment(), self._patience_ends())
        return min((moment for moment in moments if moment is not None), default=None)

    def _last_moment(self) -> float | None:
        """When the wait is over whatever ends: `until`, else when trouble has lasted too long."""
        if self.until is not None or self.troubled_since is None:
            return self.until
        return self.troubled_since + TROUBLE_PATIENCE

    def _patience_ends(self) -> float | None:
        if not self.ended_at or self.share >= 1:
            return None
        return min(self.ended_at.values()) + WAKE_PATIENCE


def progress_line(progress: Mapping[str, Any] | None, batches: Mapping[str, Batch]) -> str:
    """
    Return one line on where a job stands: ``shard 3/12, 61,204 of 150,000 rows, 41 %, $3.18 so far``.

    :param progress: What was done before this wait (`shards`, `shards_done`, `rows`, `rows_done`, `cost` in US
        dollars), as a trigger's arguments carry it; any may be missing. Without `shards` only the given batches are
        counted.
    :param batches: What was last seen of the batches that are waited for.
    """
    given = progress or {}
    done = sum(min(batch.completed + batch.failed, batch.total) for batch in batches.values())
    ended = sum(batch.has_ended for batch in batches.values())
    if given.get("shards"):
        rows = int(given.get("rows") or 0)
        done = min(int(given.get("rows_done") or 0) + done, rows)
        parts = [f"shard {int(given.get('shards_done') or 0) + ended}/{int(given['shards'])}"]
    else:
        rows = sum(batch.total for batch in batches.values())
        parts = [f"batch {ended}/{len(batches)}"]
    if rows:
        parts += [f"{done:,} of {rows:,} rows", f"{done * 100 // rows} %"]  # cut, so that 100 % means all of them
    if given.get("cost") is not None:
        parts.append(f"{_dollars(Decimal(str(given['cost'])))} so far")
    return ", ".join(parts)


def _dollars(amount: Decimal) -> str:
    """Return an amount with cents, or with two figures where it is below a cent."""
    return f"${amount:.2g}" if 0 < amount < Decimal("0.01") else f"${amount:,.2f}"
