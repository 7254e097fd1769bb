"""
Check the demo's claims: pure functions over samples of the run and over the result table.

A sample polls the state of the task before and after it polls the pool. A change of state during a sample is
therefore noticed. The claim about the wait is checked for the time in which the API reports every batch as unfinished.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

#: Minimum of samples of the wait; fewer prove nothing.
ENOUGH_SAMPLES = 5

#: Statuses of a batch that the API still works on.
UNFINISHED = frozenset({"validating", "in_progress", "finalizing"})


@dataclass(frozen=True)
class Sample:
    """
    What Airflow and the Batch API report at one moment.

    :param seconds: Seconds since the run was triggered.
    :param state: State of the task.
    :param changing: Whether the state of the task changed while the sample was taken.
    :param slots_held: Slots of the pool that running or queued tasks hold.
    :param slots_deferred: Deferred tasks of the pool.
    :param batches: Batch id → status.
    :param counts: Batch id → requests executed, all requests.
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
        """Requests of all batches."""
        return sum(total for _, total in self.counts.values())

    @property
    def is_wait(self) -> bool:
        """Whether there are batches and all of them are unfinished."""
        return bool(self.batches) and all(status in UNFINISHED for status in self.batches.values())

    @property
    def batch_counts(self) -> str:
        """Number of batches by status, such as ``4 in_progress``."""
        statuses = sorted(self.batches.values())
        return ", ".join(f"{len(list(group))} {status}" for status, group in groupby(statuses)) or "none yet"


@dataclass(frozen=True)
class Phase:
    """
    Consecutive samples with the same values.

    :param start: Seconds from the trigger to the first sample.
    :param end: Seconds from the trigger to the last sample.
    :param samples: Number of samples.
    :param state: State of the task.
    :param slots_held: Slots of the pool that running or queued tasks hold.
    :param slots_deferred: Deferred tasks of the pool.
    :param batches: Number of batches by status, as text.
    """

    start: float
    end: float
    samples: int
    state: str
    slots_held: int
    slots_deferred: int
    batches: str


@dataclass(frozen=True)
class Claim:
    """
    A claim of the demo, and whether it is true.

    :param text: The claim.
    :param holds: Whether it is true.
    :param found: The figures that show it.
    """

    text: str
    holds: bool
    found: str


@dataclass(frozen=True)
class Outcome:
    """
    Figures of the input, the result table and the API's bill that the claims need.

    :param input_names: Column `name` of the input.
    :param output_names: Column `name` of the result table.
    :param row_numbers: Column `row_number` of the result table.
    :param unanswered: Rows with the status `succeeded` and no text.
    :param statuses: Status → rows, counted in the result table.
    :param reported_statuses: Status → rows, from the task's XCom.
    :param billed_requests: Requests that the API has billed.
    """

    input_names: Sequence[str]
    output_names: Sequence[str]
    row_numbers: Sequence[int]
    unanswered: int
    statuses: Mapping[str, int]
    reported_statuses: Mapping[str, int]
    billed_requests: int


def phases(samples: Sequence[Sample]) -> list[Phase]:
    """
    Group samples into phases, in order; samples during a change of state are left out.

    :param samples: All samples, in order.
    """

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


def samples_while_waiting(samples: Sequence[Sample], batch_count: int) -> list[Sample]:
    """
    Return the samples from the first deferral until the first batch ends.

    :param samples: All samples, in order.
    :param batch_count: Number of batches of the job; samples with fewer are left out.
    """
    found = [s for s in samples if not s.changing and s.is_wait and len(s.batches) == batch_count]
    first = next((number for number, sample in enumerate(found) if sample.state == "deferred"), len(found))
    return found[first:]


def check_claims(samples: Sequence[Sample], batch_count: int, outcome: Outcome) -> list[Claim]:
    """
    Check all claims of the demo.

    :param samples: All samples, in order.
    :param batch_count: Number of batches of the job.
    :param outcome: Figures of the input, the result table and the bill.
    """
    wait = samples_while_waiting(samples, batch_count)
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
