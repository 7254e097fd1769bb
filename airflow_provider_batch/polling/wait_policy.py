"""
Decide when to poll a batch again, when to resume the task, and what to log while it waits.

No clock and no network here. The trigger and the blocking runner each keep a `WaitState` and pass poll results to it.

A task is resumed when a tenth of its batches (at least one) have ended, ten minutes after the first batch ended, or at
the moment `until`. Without `until`, an hour of problems ends the wait. An unknown status counts as running. A batch
that the account does not have counts as ended, so that the worker retrieves it and raises the error.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from airflow_provider_batch.api.objects import Batch

#: Longest time between two polls, in seconds: short, compared to the minutes or hours that a batch takes.
LONGEST_DELAY = 300.0
#: Time between two polls, as a share of the batch's age.
LATENESS = 1 / 60
#: Share of the batches whose end resumes the task.
WAKE_SHARE = 0.1
#: Seconds after the first end of a batch at which the task is resumed in any case.
WAKE_PATIENCE = 600.0
#: Seconds of problems after which a wait without `until` ends, so that the task fails with the reason.
PROBLEM_PATIENCE = 3600.0
#: Statuses that last a short time, unless the vendor has a problem.
PASSING = frozenset({"validating", "finalizing"})


def poll_delay(age: float, poll_interval: float, *, jitter: float = 0.0, remaining: float | None = None) -> float:
    """
    Return the seconds until the next poll.

    :param age: Seconds since the youngest batch was created.
    :param poll_interval: Shortest delay, in seconds.
    :param jitter: Random number from 0 to 1; makes the delay up to a tenth longer, which spreads polls over time.
    :param remaining: Seconds until the next batch is expected to end; None if unknown.
    """
    delay = min(max(age, 0.0) * LATENESS, LONGEST_DELAY)
    if remaining is not None:
        delay = min(delay, remaining / 2)
    return max(delay, poll_interval) * (1 + 0.1 * jitter)


def batch_delay(batch: Batch | None, now: float, poll_interval: float, *, since: float, jitter: float = 0.0) -> float:
    """
    Return the seconds until the next poll of one batch.

    :param batch: The batch as last polled; None before the first poll.
    :param now: Epoch seconds.
    :param poll_interval: Shortest delay, in seconds.
    :param since: Start of the wait in epoch seconds, which replaces an unknown time of creation.
    :param jitter: Random number from 0 to 1; makes the delay up to a tenth longer.
    """
    if batch is None:
        return poll_delay(now - since, poll_interval, jitter=jitter)
    born = since if batch.created_at is None else batch.created_at
    begun = max(born, batch.finalizing_at or born)  # results are being written: its end is near
    return poll_delay(now - begun, poll_interval, jitter=jitter, remaining=_remaining(batch, now))


def is_stalled(batch: Batch, now: float, *, since: float, after: float) -> bool:
    """
    Return whether a batch has been in a usually short status (validating, finalizing) for too long.

    :param batch: The batch as last polled.
    :param now: Epoch seconds.
    :param since: When it was first polled in this status, in epoch seconds; used unless the API gives an earlier time.
    :param after: Seconds in the status after which it counts as stalled.
    """
    if batch.status not in PASSING:
        return False
    begun = batch.created_at if batch.status == "validating" else batch.finalizing_at
    return now - (since if begun is None else min(begun, since)) >= after


def _remaining(batch: Batch, now: float) -> float | None:
    """Return the seconds until a batch ends at its present speed, or expires; None if unknown."""
    done = batch.completed + batch.failed
    moments = [] if batch.expires_at is None or batch.has_ended else [max(0.0, batch.expires_at - now)]
    if batch.in_progress_at is not None and 0 < done < batch.total and now > batch.in_progress_at:
        moments.append((now - batch.in_progress_at) * (batch.total - done) / done)
    return min(moments, default=None)


@dataclass(frozen=True)
class Wake:
    """
    Why a wait is over.

    :param reason: ``ended``: enough batches have ended; ``due``: `until` is reached, or problems lasted too long.
    :param ended: Ids of the batches that ended during the wait, in their original order.
    :param active: Number of batches that have not ended.
    """

    reason: Literal["ended", "due"]
    ended: tuple[str, ...]
    active: int

    def payload(self) -> dict[str, Any]:
        """Return the payload of the trigger's event, as plain JSON values."""
        return {"reason": self.reason, "ended": list(self.ended), "active": self.active}


class WaitState:
    """
    The state of one wait: poll results of its batches, and since when there are problems.

    :param batch_ids: Ids of the batches; duplicates count once. Empty: the wait lasts until `until`.
    :param until: Epoch seconds at which the wait is over in any case; None for no such moment.
    :param share: Share of the batches whose end is enough; 1 waits for all, without the rule of ten minutes.
    """

    def __init__(self, batch_ids: Sequence[str], *, until: float | None = None, share: float = WAKE_SHARE) -> None:
        self.batch_ids = tuple(dict.fromkeys(batch_ids))
        self._known = frozenset(self.batch_ids)
        self.until = until
        self.share = share
        #: Last poll result of each batch, by id.
        self.latest: dict[str, Batch] = {}
        #: When a poll first showed the end of a batch, in epoch seconds by id.
        self.ended_at: dict[str, float] = {}
        #: Since when at least one batch cannot be polled, in epoch seconds; None if all can.
        self.problem_since: float | None = None
        self._problems: set[str] = set()
        self._since: float | None = None

    @property
    def active(self) -> tuple[str, ...]:
        """Ids of the batches that have not ended."""
        return tuple(batch_id for batch_id in self.batch_ids if batch_id not in self.ended_at)

    @property
    def ended(self) -> tuple[str, ...]:
        """Ids of the batches that have ended, or that the account does not have."""
        return tuple(batch_id for batch_id in self.batch_ids if batch_id in self.ended_at)

    def update(self, batches: Mapping[str, Batch], *, now: float) -> Wake | None:
        """
        Record poll results, and return why the wait is over, or None while it goes on.

        :param batches: Batches by id. A batch that is missing here has not changed; other ids are ignored.
        :param now: Epoch seconds.
        """
        self._since = now if self._since is None else self._since
        for batch_id in self.batch_ids:
            if batch_id in batches:
                self.latest[batch_id] = batches[batch_id]
                if batches[batch_id].has_ended:
                    self.ended_at.setdefault(batch_id, now)
        self._clear_problems(batches)
        return self.wake(now)

    def note_unknown(self, batch_id: str, *, now: float) -> None:
        """
        Record that the account has no such batch; it counts as ended.

        :param batch_id: Id of the batch.
        :param now: Epoch seconds.
        """
        if batch_id in self._known:
            self.ended_at.setdefault(batch_id, now)
            self._clear_problems([batch_id])

    def note_problems(self, batch_ids: Iterable[str], *, now: float) -> None:
        """
        Record that batches cannot be polled now; a later poll result of a batch ends its problem.

        :param batch_ids: Ids of the batches; other ids are ignored.
        :param now: Epoch seconds.
        """
        self._problems.update(self._known.intersection(batch_ids))
        if self._problems and self.problem_since is None:
            self.problem_since = now

    def _clear_problems(self, batch_ids: Iterable[str]) -> None:
        self._problems.difference_update(batch_ids)
        if not self._problems:
            self.problem_since = None

    def wake(self, now: float) -> Wake | None:
        """
        Return why the wait is over, or None while it goes on.

        :param now: Epoch seconds.
        """
        if not self.batch_ids and self.until is None:
            return Wake("due", (), 0)  # neither a batch nor a moment to wait for
        enough = max(1, math.ceil(len(self.batch_ids) * self.share))
        patience_ends = self._patience_ends()
        out_of_patience = patience_ends is not None and now >= patience_ends
        if len(self.ended_at) >= enough or out_of_patience:
            return Wake("ended", self.ended, len(self.active))
        last = self._latest_end()
        return Wake("due", self.ended, len(self.active)) if last is not None and now >= last else None

    def delay(self, now: float, poll_interval: float, *, jitter: float = 0.0) -> float:
        """
        Return the seconds until the next poll: by the age of the batches, and not after the end of the wait.

        :param now: Epoch seconds.
        :param poll_interval: Shortest delay, in seconds.
        :param jitter: Random number from 0 to 1; makes the delay up to a tenth longer.
        """
        since = now if self._since is None else self._since
        waits = [
            batch_delay(self.latest.get(batch_id), now, poll_interval, since=since, jitter=jitter)
            for batch_id in self.active
        ]
        delay = min(waits, default=poll_delay(now - since, poll_interval, jitter=jitter))
        deadline = self.deadline
        return delay if deadline is None else max(0.0, min(delay, deadline - now))

    @property
    def deadline(self) -> float | None:
        """Epoch seconds at which the wait is over if no poll result changes; None if there is no such moment."""
        moments = (self._latest_end(), self._patience_ends())
        return min((moment for moment in moments if moment is not None), default=None)

    def _latest_end(self) -> float | None:
        """Return `until`, or else the moment at which problems have lasted too long, in epoch seconds."""
        if self.until is not None or self.problem_since is None:
            return self.until
        return self.problem_since + PROBLEM_PATIENCE

    def _patience_ends(self) -> float | None:
        if not self.ended_at or self.share >= 1:
            return None
        return min(self.ended_at.values()) + WAKE_PATIENCE


def progress_line(progress: Mapping[str, Any] | None, batches: Mapping[str, Batch]) -> str:
    """
    Return a job's progress as one line: ``shard 3/12, 61,204 of 150,000 rows, 41 %, $3.18 so far``.

    :param progress: The job's counts before this wait: ``shards``, ``shards_done``, ``rows``, ``rows_done`` and
        ``cost`` in US dollars, each optional. Without ``shards`` the line counts only the given batches.
    :param batches: Last poll results of the batches, by id.
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
        parts += [f"{done:,} of {rows:,} rows", f"{done * 100 // rows} %"]  # rounded down: 100 % means all rows
    if given.get("cost") is not None:
        parts.append(f"{_dollars(Decimal(str(given['cost'])))} so far")
    return ", ".join(parts)


def _dollars(amount: Decimal) -> str:
    """Return an amount with cents, or with two significant digits if it is below a cent."""
    return f"${amount:.2g}" if 0 < amount < Decimal("0.01") else f"${amount:,.2f}"


def duration_text(seconds: float) -> str:
    """
    Return a duration for display, such as ``2 hours 5 minutes``: whole minutes, or whole seconds below a minute.

    :param seconds: The duration in seconds.
    """
    import pendulum

    whole = round(seconds / 60) * 60 if seconds >= 60 else max(0, round(seconds))
    return pendulum.duration(seconds=whole).in_words() if whole else "0 seconds"
