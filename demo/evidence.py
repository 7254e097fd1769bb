"""
What the demo claims, and whether it holds: pure functions over what was sampled and over the table that came out.

A sample asks Airflow for the task's state before and after it asks for the pool, so that one that straddles a change is
known as such. The claim about the wait is judged over the time in which every batch was unfinished by the API's own
account.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

#: Samples of the wait below which nothing is proven.
ENOUGH_SAMPLES = 5

#: Statuses of a batch that the API still works on.
UNFINISHED = frozenset({"validating", "in_progress", "finalizing"})


@dataclass(frozen=True)
class Sample:
    """
    What Airflow and the Batch API said at one moment.

    :param seconds: Since the run was triggered.
    :param changing: The task's state changed while the sample was taken.
    :param slots_held: Slots of the pool that are taken by running or queued tasks.
    :param batches: Batch id → status.
    :param counts: Batch id → requests executed, requests in all.
    """

    seconds: float
    state: str
    changing: bool
    slots_held: int
    slots_deferred: int
    batches: Mapping[str, str]
    counts: Mapping[str, tuple[int, int]]

    @property
    def requests_done(self) -> int:
        """Requests that the API has executed, over all batches."""
        return sum(done for done, _ in self.counts.values())

    @property
    def requests(self) -> int:
        """Requests over all batches."""
        return sum(total for _, total in self.counts.values())

    @property
    def is_wait(self) -> bool:
        """Whether there were batches and the API worked on all of them."""
        return bool(self.batches) and all(status in UNFINISHED for status in self.batches.values())

    @property
    def batch_counts(self) -> str:
        """Number of batches by status, as in ``4 in_progress``."""
        statuses = sorted(self.batches.values())
        return ", ".join(f"{len(list(group))} {status}" for status, group in groupby(statuses)) or "none yet"


@dataclass(frozen=True)
class Phase:
    """Samples in a row that say the same."""

    start: float
    end: float
    samples: int
    state: str
    slots_held: int
    slots_deferred: int
    batches: str


@dataclass(frozen=True)
class Claim:
    """A sentence of the demo, and whether it is true."""

    text: str
    holds: bool
    found: str


@dataclass(frozen=True)
class Outcome:
    """What stands in the table and what the API billed, as far as the claims need it."""

    input_names: Sequence[str]
    output_names: Sequence[str]
    row_numbers: Sequence[int]
    unanswered: int
    statuses: Mapping[str, int]
    reported_statuses: Mapping[str, int]
    billed_requests: int


def phases(samples: Sequence[Sample]) -> list[Phase]:
    """Return the samples as phases, in order; the ones that straddle a change of state are left out."""

    def key(sample: Sample) -> tuple[str, int, int, str]:
        return sample.state, sample.slots_held, sample.slots_deferred, sample.batch_counts

    steady = [sample for sample in samples if not sample.changing]
    groups = [list(group) for _, group in groupby(steady, key)]
    return [
        Phase(
            start=group[0].seconds,
            end=group[-1].seconds,
            samples=len(group),
            state=group[0].state,
            slots_held=group[0].slots_held,
            slots_deferred=group[0].slots_deferred,
            batches=group[0].batch_counts,
        )
        for group in groups
    ]


def waiting(samples: Sequence[Sample], batch_count: int) -> list[Sample]:
    """Return the samples from the first deferral until a batch ended, while all `batch_count` batches stood."""
    found = [s for s in samples if not s.changing and s.is_wait and len(s.batches) == batch_count]
    first = next((number for number, sample in enumerate(found) if sample.state == "deferred"), len(found))
    return found[first:]


def judge(samples: Sequence[Sample], batch_count: int, outcome: Outcome) -> list[Claim]:
    """Return all claims of the demo, each judged."""
    wait = waiting(samples, batch_count)
    deferred = sum(sample.state == "deferred" for sample in wait)
    slots = max((sample.slots_held for sample in wait), default=0)
    seconds = wait[-1].seconds - wait[0].seconds if wait else 0.0
    enough = len(wait) >= ENOUGH_SAMPLES
    rows, expected = len(outcome.row_numbers), len(outcome.input_names)
    return [
        Claim("the table travelled as at least three batches", batch_count >= 3, f"{batch_count} batches"),
        Claim(
            "the task was deferred while the API worked",
            enough and deferred == len(wait),
            f"{deferred} of {len(wait)} samples over {seconds:.0f} s",
        ),
        Claim(
            "no worker slot was held meanwhile", enough and slots == 0, f"at most {slots} held in {len(wait)} samples"
        ),
        Claim(
            "one row out for each row in, no duplicate",
            sorted(outcome.row_numbers) == list(range(expected))
            and sorted(outcome.output_names) == sorted(outcome.input_names),
            f"{expected:,} in, {rows:,} out",
        ),
        Claim(
            "every row has a status and each success a text",
            sum(outcome.statuses.values()) == rows
            and dict(outcome.statuses) == dict(outcome.reported_statuses)
            and outcome.unanswered == 0,
            ", ".join(f"{count:,} {status}" for status, count in sorted(outcome.statuses.items())),
        ),
        Claim(
            "each request was paid for once",
            outcome.billed_requests == expected,
            f"{outcome.billed_requests:,} requests billed",
        ),
    ]
