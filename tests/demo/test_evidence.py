"""What the demo claims is checked: each claim fails on the evidence that contradicts it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from demo.evidence import Outcome, Sample, check_claims, phases, samples_while_waiting

BATCHES = {"batch_a": "in_progress", "batch_b": "in_progress", "batch_c": "validating"}


def sample(
    seconds: float = 0.0, state: str = "deferred", *, slots: int = 0, batches: dict[str, str] | None = None
) -> Sample:
    return Sample(
        seconds=seconds,
        state=state,
        changing=False,
        slots_held=slots,
        slots_deferred=int(state == "deferred"),
        batches=BATCHES if batches is None else batches,
        counts={},
    )


WAIT = [sample(float(second)) for second in range(10)]
OUTCOME = Outcome(
    input_names=["a", "b", "c"],
    output_names=["c", "a", "b"],
    row_numbers=[2, 0, 1],
    unanswered=0,
    statuses={"succeeded": 3},
    reported_statuses={"succeeded": 3},
    billed_requests=3,
)


def broken(samples: list[Sample] = WAIT, batch_count: int = 3, outcome: Outcome = OUTCOME) -> list[str]:
    return [claim.text for claim in check_claims(samples, batch_count, outcome) if not claim.holds]


def test_good_evidence_breaks_no_claim() -> None:
    assert broken() == []


def test_a_running_task_during_the_wait_breaks_the_claim_that_it_was_deferred() -> None:
    samples = [*WAIT[:5], sample(5.0, "running", slots=1), *WAIT[6:]]
    assert broken(samples) == ["the task was deferred while the API worked", "no worker slot was held meanwhile"]


def test_a_slot_held_by_a_deferred_task_breaks_the_claim_about_slots() -> None:
    assert broken([*WAIT, sample(11.0, slots=1)]) == ["no worker slot was held meanwhile"]


def test_a_task_that_never_defers_proves_nothing() -> None:
    samples = [sample(float(second), "running", slots=1) for second in range(10)]
    assert "the task was deferred while the API worked" in broken(samples)
    assert "no worker slot was held meanwhile" in broken(samples)


def test_a_few_samples_prove_nothing() -> None:
    assert "no worker slot was held meanwhile" in broken(WAIT[:3])


def test_submission_and_landing_do_not_count_as_wait() -> None:
    ended = {**BATCHES, "batch_a": "completed"}
    submitting = [sample(0.0, "running", slots=1, batches={"batch_a": "in_progress"}), sample(0.5, "running", slots=1)]
    landing = [sample(30.0, "queued", slots=1, batches=ended), sample(31.0, "running", slots=1, batches=ended)]
    assert samples_while_waiting([*submitting, *WAIT, *landing], 3) == WAIT


def test_a_sample_that_straddles_a_change_is_left_out() -> None:
    straddling = replace(sample(4.0, "running", slots=1), changing=True)
    assert broken([*WAIT[:4], straddling, *WAIT[5:]]) == []
    assert [phase.state for phase in phases([*WAIT[:4], straddling, *WAIT[5:]])] == ["deferred"]


def test_samples_that_say_the_same_are_one_phase() -> None:
    samples = [sample(0.0, "queued", slots=1, batches={}), *[replace(s, seconds=s.seconds + 1) for s in WAIT]]
    found = [(phase.state, phase.samples, phase.start, phase.end, phase.batches) for phase in phases(samples)]
    assert found == [("queued", 1, 0.0, 0.0, "none yet"), ("deferred", 10, 1.0, 10.0, "2 in_progress, 1 validating")]


@pytest.mark.parametrize(
    ("outcome", "claim"),
    [
        (replace(OUTCOME, row_numbers=[0, 1, 1]), "one row out for each row in, no duplicate"),
        (replace(OUTCOME, row_numbers=[0, 1], output_names=["a", "b"]), "one row out for each row in, no duplicate"),
        (replace(OUTCOME, output_names=["a", "b", "x"]), "one row out for each row in, no duplicate"),
        (replace(OUTCOME, reported_statuses={"succeeded": 2}), "every row has a status and each success a text"),
        (replace(OUTCOME, unanswered=1), "every row has a status and each success a text"),
        (replace(OUTCOME, billed_requests=4), "each request was paid for once"),
    ],
)
def test_a_wrong_table_breaks_its_claim(outcome: Outcome, claim: str) -> None:
    assert claim in broken(outcome=outcome)


def test_two_batches_are_not_several() -> None:
    assert "the table travelled as at least three batches" in broken(batch_count=2)
