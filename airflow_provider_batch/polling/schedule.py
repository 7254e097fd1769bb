"""
The poll schedule of the batches that triggers wait for through one connection.

Each batch has its own schedule (`wait_policy.batch_delay`). One poll round covers all batches that are due, and those
that are due soon. A round reports a batch only if its poll result has changed. A problem of the connection delays all
calls, for as long as the vendor requests and longer each time; a problem with one batch delays that batch only.

No I/O and no clock of its own. `now` is the wall clock in epoch seconds, for the age of batches; `tick` is a monotonic
clock in seconds, for everything else.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from airflow_provider_batch.api.objects import Batch
from airflow_provider_batch.exceptions import OpenAIBatchError
from airflow_provider_batch.polling.status_reader import PollResult
from airflow_provider_batch.polling.wait_policy import LONGEST_DELAY, batch_delay, is_stalled

#: Rounds without a batch after which it is reported as gone: the vendor's storage can lag.
GONE_AFTER = 2
#: Share of its delay after which a batch is polled together with others that are due.
EARLY_SHARE = 0.75
#: Longest pause, in seconds, that the vendor can request: one wrong response must not stop a wait.
LONGEST_PAUSE = 3600.0
#: Seconds between two polls if a trigger gives an interval of 0.
LEAST_INTERVAL = 1.0


@dataclass(frozen=True)
class Seen:
    """
    The API returned the batch.

    :param batch: The batch as it is now.
    :param is_stalled: Whether it has been in a usually short status (validating, finalizing) for too long.
    """

    batch: Batch
    is_stalled: bool = False


@dataclass(frozen=True)
class Gone:
    """The account has no such batch."""


@dataclass(frozen=True)
class PollProblem:
    """
    The batch cannot be polled.

    :param kind: Error class and HTTP status; a problem of the same kind is not reported again.
    :param text: Error message.
    """

    kind: str
    text: str


PollOutcome = Seen | Gone | PollProblem
#: Changed poll outcomes by batch id. Never modified: all triggers of a connection read the same object.
Changes = Mapping[str, PollOutcome]


@dataclass
class _Entry:
    """One batch on the schedule, with an interval for each trigger that waits for it."""

    #: When it was added, in epoch seconds.
    since: float
    intervals: list[float] = field(default_factory=list)
    batch: Batch | None = None
    #: When it was first polled in its status, in epoch seconds.
    status_since: float = 0.0
    #: Rounds in a row without the batch, and with an error.
    not_found: int = 0
    failures: int = 0
    #: Ticks from which it is polled together with others, and at which it is due itself.
    joins_at: float = 0.0
    due_at: float = 0.0
    polled_at: float = -math.inf
    reported: tuple[object, ...] | None = None


class PollSchedule:
    """
    The batches that triggers of one event loop wait for through one connection, and when each is polled.

    :param stalled_after: Seconds in a usually short status after which a batch counts as stalled.
    :param jitter: Returns a random number from 0 to 1, which spreads polls over time.
    """

    def __init__(self, *, stalled_after: float = 3600.0, jitter: Callable[[], float] = random.random) -> None:
        self._stalled_after, self._jitter = stalled_after, jitter
        self._entries: dict[str, _Entry] = {}
        self._paused_until = float("-inf")
        self._failures = 0
        self._problem: PollProblem | None = None

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def open_ids(self) -> set[str]:
        """Ids of the batches that have not ended, or whose end is not reported yet."""
        return {batch_id for batch_id, entry in self._entries.items() if entry.due_at < math.inf}

    def add(self, batch_ids: Iterable[str], poll_interval: float, *, now: float, tick: float) -> None:
        """
        Add batches for one trigger; they are due at once, and the next round reports them even if nothing changed.

        :param batch_ids: Ids of the batches.
        :param poll_interval: Shortest time between two polls, in seconds.
        :param now: Epoch seconds.
        :param tick: Seconds of a monotonic clock.
        """
        for batch_id in batch_ids:
            entry = self._entries.setdefault(batch_id, _Entry(since=now))
            entry.intervals.append(_interval(poll_interval))
            entry.reported, entry.due_at, entry.joins_at = None, tick, tick

    def remove(self, batch_ids: Iterable[str], poll_interval: float) -> None:
        """
        Remove the batches of one trigger, as the counterpart of one `add`.

        :param batch_ids: Ids of the batches.
        :param poll_interval: The same seconds as in `add`.
        """
        for batch_id in batch_ids:
            entry = self._entries.get(batch_id)
            if entry is None:
                continue
            if _interval(poll_interval) in entry.intervals:
                entry.intervals.remove(_interval(poll_interval))
            if not entry.intervals:
                del self._entries[batch_id]

    @property
    def shortest_interval(self) -> float:
        """The shortest poll interval of all triggers, in seconds; 60 without a batch."""
        return min((min(entry.intervals) for entry in self._entries.values()), default=60.0)

    def next_round_at(self) -> float | None:
        """Return the tick at which the next round is due; None if no batch will be due."""
        first = min((entry.due_at for entry in self._entries.values()), default=math.inf)
        return None if first == math.inf else max(self._paused_until, first)

    def due(self, tick: float) -> list[str]:
        """
        Return the ids to poll now; none during a pause, or if nothing is due.

        The batches that were polled longest ago are first, so that none starves if rounds are cut off.

        :param tick: Seconds of a monotonic clock.
        """
        round_at = self.next_round_at()
        if round_at is None or tick < round_at:
            return []
        due_soon = [batch_id for batch_id, entry in self._entries.items() if entry.joins_at <= tick]
        return sorted(due_soon, key=lambda batch_id: self._entries[batch_id].polled_at)

    def unreported_problem(self) -> dict[str, PollOutcome]:
        """Return the problem of the connection for each batch that was added during its pause, by batch id."""
        if self._problem is None:
            return {}
        return {i: self._problem for i, entry in self._entries.items() if self._report_once(entry, self._problem)}

    def record(
        self, batch_ids: Iterable[str], poll_result: PollResult, *, now: float, tick: float
    ) -> dict[str, PollOutcome]:
        """
        Record the result of a round, schedule the next polls, and return the changes. Call `pause_after` first.

        :param batch_ids: Ids that were due, and others that the round returned.
        :param poll_result: Result of the round.
        :param now: Epoch seconds.
        :param tick: Seconds of a monotonic clock.
        """
        changes: dict[str, PollOutcome] = {}
        for batch_id in batch_ids:
            entry = self._entries.get(batch_id)
            if entry is None:  # no trigger waits for it any more
                continue
            outcome = self._outcome(batch_id, entry, poll_result, now)
            if batch_id in poll_result.batches or batch_id in poll_result.gone or batch_id in poll_result.problems:
                entry.polled_at = tick
            self._schedule(entry, outcome, now, tick)
            if outcome is not None and self._report_once(entry, outcome):
                changes[batch_id] = outcome
        return changes

    def _outcome(self, batch_id: str, entry: _Entry, poll_result: PollResult, now: float) -> PollOutcome | None:
        if (batch := poll_result.batches.get(batch_id)) is not None:
            entry.not_found = entry.failures = 0
            if entry.batch is None or not entry.batch.has_ended or batch.has_ended:  # a final status stays
                if entry.batch is None or entry.batch.status != batch.status:
                    entry.status_since = now
                entry.batch = replace(batch, metadata={})
            stalled = is_stalled(entry.batch, now, since=entry.status_since, after=self._stalled_after)
            return Seen(entry.batch, stalled)
        if batch_id in poll_result.gone:
            entry.not_found += 1
            return Gone() if entry.not_found >= GONE_AFTER else None
        error = poll_result.problems.get(batch_id) or poll_result.halt
        if error is None:  # the round was cut off before this batch
            return None
        entry.failures += 1
        return _problem_of(error)

    def pause_after(self, poll_result: PollResult, *, tick: float) -> None:
        """
        Pause all calls if none of the round succeeded, or for as long as the vendor requests.

        :param poll_result: Result of the round.
        :param tick: Seconds of a monotonic clock.
        """
        problem = poll_result.problem
        nothing_seen = problem is not None and not poll_result.batches and not poll_result.gone
        if problem is None or not (poll_result.halt or nothing_seen or poll_result.retry_after):
            self._failures, self._problem = 0, None
            return
        self._failures += 1
        self._problem = _problem_of(problem)
        pause = self._backoff(self.shortest_interval, self._failures)
        self._paused_until = tick + min(max(pause, poll_result.retry_after), max(pause, LONGEST_PAUSE))

    def _backoff(self, interval: float, failures: int) -> float:
        longest = max(interval, LONGEST_DELAY)
        return min(interval * 2.0 ** min(failures - 1, 16), longest) * (1 + 0.1 * self._jitter())

    def _schedule(self, entry: _Entry, outcome: PollOutcome | None, now: float, tick: float) -> None:
        interval = min(entry.intervals)
        if isinstance(outcome, PollProblem):
            entry.due_at = tick + self._backoff(interval, entry.failures)
            entry.joins_at = tick + interval
            return
        if isinstance(outcome, Seen) and outcome.batch.has_ended:
            entry.due_at = entry.joins_at = math.inf
            return
        delay = batch_delay(entry.batch, now, interval, since=entry.since)
        entry.due_at = tick + delay * (1 + 0.1 * self._jitter())
        entry.joins_at = tick + max(interval, delay * EARLY_SHARE)

    def _report_once(self, entry: _Entry, outcome: PollOutcome) -> bool:
        """Return whether an outcome differs from the one that was reported last, and remember it as reported."""
        fingerprint = _fingerprint(outcome)
        if entry.reported == fingerprint:
            return False
        entry.reported = fingerprint
        return True


def _interval(poll_interval: float) -> float:
    return poll_interval if poll_interval > 0 else LEAST_INTERVAL


def _problem_of(error: OpenAIBatchError) -> PollProblem:
    """Return an error as a poll outcome."""
    return PollProblem(f"{type(error).__name__} {getattr(error, 'status_code', None)}", str(error))


def _fingerprint(outcome: PollOutcome) -> tuple[object, ...]:
    """Return the values of an outcome that are compared: a change of any of them is reported."""
    match outcome:
        case Seen(batch=batch, is_stalled=stalled):
            return (batch.status, batch.total, batch.completed, batch.failed, stalled)
        case PollProblem(kind=kind):
            return ("problem", kind)
        case Gone():
            return ("gone",)
