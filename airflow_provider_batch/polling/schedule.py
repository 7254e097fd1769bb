"""
Who waits for which batches through one connection, when each is to be looked at, and what is new about it.

Each batch has a schedule of its own (`waiting.batch_delay`); one round serves all that are due, and those that are
nearly due. What a round shows is told only where it differs from what was told before. Trouble that concerns all calls
holds up all of them, as long as the vendor asks for and longer each time; trouble with one batch holds up that one.

Pure: `now` is a wall clock, for the age of batches; `tick` is a clock that never goes back, for everything else.
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

#: Rounds in which the account does not know a batch before that is believed: a store that lags is no reason to fail.
GONE_AFTER = 2
#: Share of its delay after which a batch joins a round that others have asked for.
JOINS_AFTER = 0.75
#: Seconds that calls are held up at the most, whatever the vendor asks for: one odd answer must not stop a wait.
LONGEST_PAUSE = 3600.0
#: Seconds between two looks where somebody asks for none.
LEAST_INTERVAL = 1.0


@dataclass(frozen=True)
class Seen:
    """
    A batch as it is now.

    :param is_stalled: It has stood too long in a status that is passed quickly.
    """

    batch: Batch
    is_stalled: bool = False


@dataclass(frozen=True)
class Gone:
    """The account does not know the batch."""


@dataclass(frozen=True)
class Trouble:
    """Why a batch cannot be looked at. `kind` is the same for what a reader would call the same problem."""

    kind: str
    text: str


PollOutcome = Seen | Gone | Trouble
#: What is new, by batch id. Never changed once it is made: many read the same one.
Snapshot = Mapping[str, PollOutcome]


@dataclass
class _Entry:
    """One batch that somebody waits for."""

    since: float
    intervals: list[float] = field(default_factory=list)
    batch: Batch | None = None
    status_since: float = 0.0
    missing: int = 0
    failures: int = 0
    joins_at: float = 0.0
    due_at: float = 0.0
    polled_at: float = -math.inf
    told: tuple[object, ...] | None = None


class PollSchedule:
    """
    The batches that are waited for in one event loop through one connection.

    :param stalled_after: Seconds in a passing status that are too many.
    :param jitter: Gives 0 to 1, so that many waits do not fall into step.
    """

    def __init__(self, *, stalled_after: float = 3600.0, jitter: Callable[[], float] = random.random) -> None:
        self._stalled_after, self._jitter = stalled_after, jitter
        self._entries: dict[str, _Entry] = {}
        self._held_until = float("-inf")
        self._failures = 0
        self._trouble: Trouble | None = None

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def open_ids(self) -> set[str]:
        """Those that have not ended, or whose end somebody has still to be told."""
        return {batch_id for batch_id, entry in self._entries.items() if entry.due_at < math.inf}

    def add(self, batch_ids: Iterable[str], poll_interval: float, *, now: float, tick: float) -> None:
        """Begin to wait; what is known already is told again at the next round, which is due at once."""
        for batch_id in batch_ids:
            entry = self._entries.setdefault(batch_id, _Entry(since=now))
            entry.intervals.append(_interval(poll_interval))
            entry.told, entry.due_at, entry.joins_at = None, tick, tick

    def remove(self, batch_ids: Iterable[str], poll_interval: float) -> None:
        """Wait no longer: the counterpart of one `add`."""
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
        """The shortest time that anybody wants between two looks."""
        return min((min(entry.intervals) for entry in self._entries.values()), default=60.0)

    def next_moment(self) -> float | None:
        """The tick at which something is due; None while that is nothing."""
        first = min((entry.due_at for entry in self._entries.values()), default=math.inf)
        return None if first == math.inf else max(self._held_until, first)

    def due(self, tick: float) -> list[str]:
        """
        Those to look at now, none while the connection is held up or nothing is due.

        Those not seen for the longest come first: where a round is cut short, each has its turn.
        """
        moment = self.next_moment()
        if moment is None or tick < moment:
            return []
        joining = [batch_id for batch_id, entry in self._entries.items() if entry.joins_at <= tick]
        return sorted(joining, key=lambda batch_id: self._entries[batch_id].polled_at)

    def standing_trouble(self) -> dict[str, PollOutcome]:
        """What to tell those who came while the connection is held up."""
        if self._trouble is None:
            return {}
        return {i: self._trouble for i, entry in self._entries.items() if self._is_news(entry, self._trouble)}

    def take_in(
        self, asked: Iterable[str], poll_result: PollResult, *, now: float, tick: float
    ) -> dict[str, PollOutcome]:
        """
        Take in what a round, to be told to `hold` first, has shown; set the next looks, and return what is new.

        :param asked: Ids that were due, or were seen anyway.
        """
        news: dict[str, PollOutcome] = {}
        for batch_id in asked:
            entry = self._entries.get(batch_id)
            if entry is None:  # nobody waits for it any more
                continue
            outcome = self._outcome(batch_id, entry, poll_result, now)
            if batch_id in poll_result.batches or batch_id in poll_result.gone or batch_id in poll_result.problems:
                entry.polled_at = tick
            self._schedule(entry, outcome, now, tick)
            if outcome is not None and self._is_news(entry, outcome):
                news[batch_id] = outcome
        return news

    def _outcome(self, batch_id: str, entry: _Entry, poll_result: PollResult, now: float) -> PollOutcome | None:
        if (batch := poll_result.batches.get(batch_id)) is not None:
            entry.missing = entry.failures = 0
            if entry.batch is None or not entry.batch.has_ended or batch.has_ended:  # an end is an end
                if entry.batch is None or entry.batch.status != batch.status:
                    entry.status_since = now
                entry.batch = replace(batch, metadata={})
            stalled = is_stalled(entry.batch, now, since=entry.status_since, after=self._stalled_after)
            return Seen(entry.batch, stalled)
        if batch_id in poll_result.gone:
            entry.missing += 1
            return Gone() if entry.missing >= GONE_AFTER else None
        error = poll_result.problems.get(batch_id) or poll_result.halt
        if error is None:  # the round was given up before its turn
            return None
        entry.failures += 1
        return trouble_of(error)

    def hold(self, poll_result: PollResult, *, tick: float) -> None:
        """Hold up all calls after a round in which none succeeded, or for as long as the vendor asks."""
        problem = poll_result.problem
        nothing_seen = problem is not None and not poll_result.batches and not poll_result.gone
        if problem is None or not (poll_result.halt or nothing_seen or poll_result.retry_after):
            self._failures, self._trouble = 0, None
            return
        self._failures += 1
        self._trouble = trouble_of(problem)
        pause = self._backoff(self.shortest_interval, self._failures)
        self._held_until = tick + min(max(pause, poll_result.retry_after), max(pause, LONGEST_PAUSE))

    def _backoff(self, interval: float, failures: int) -> float:
        longest = max(interval, LONGEST_DELAY)
        return min(interval * 2.0 ** min(failures - 1, 16), longest) * (1 + 0.1 * self._jitter())

    def _schedule(self, entry: _Entry, outcome: PollOutcome | None, now: float, tick: float) -> None:
        interval = min(entry.intervals)
        if isinstance(outcome, Trouble):
            entry.due_at = tick + self._backoff(interval, entry.failures)
            entry.joins_at = tick + interval
            return
        if isinstance(outcome, Seen) and outcome.batch.has_ended:
            entry.due_at = entry.joins_at = math.inf
            return
        delay = batch_delay(entry.batch, now, interval, since=entry.since)
        entry.due_at = tick + delay * (1 + 0.1 * self._jitter())
        entry.joins_at = tick + max(interval, delay * JOINS_AFTER)

    def _is_news(self, entry: _Entry, outcome: PollOutcome) -> bool:
        mark = _mark(outcome)
        if entry.told == mark:
            return False
        entry.told = mark
        return True


def _interval(poll_interval: float) -> float:
    return poll_interval if poll_interval > 0 else LEAST_INTERVAL


def trouble_of(error: OpenAIBatchError) -> Trouble:
    """Return a problem as it is told."""
    return Trouble(f"{type(error).__name__} {getattr(error, 'status_code', None)}", str(error))


def _mark(outcome: PollOutcome) -> tuple[object, ...]:
    """What has to differ for a outcome to be news."""
    match outcome:
        case Seen(batch=batch, is_stalled=stalled):
            return (batch.status, batch.total, batch.completed, batch.failed, stalled)
        case Trouble(kind=kind):
            return ("trouble", kind)
        case Gone():
            return ("gone",)
