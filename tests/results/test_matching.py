"""When rows without a result line may be sent again, and when they may have been paid for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_batch.results.matching import Counts, Doubt, Matching, doubt_about


def counts(completed: int, failed: int = 0, total: int = 10, status: str = "completed") -> Counts:
    return Counts(status, total, completed, failed)


NO_COUNTS = counts(0, 0, 0)


@pytest.mark.parametrize(
    ("matching", "counted", "doubt"),
    [
        # Every row has a line: foreign lines do not matter.
        (Matching(rows=10, foreign=3), counts(10), None),
        # Rows without a line, and by the counts of the API they did not run or failed.
        (Matching(rows=10, without_line=1), counts(9), None),
        (Matching(rows=10, without_line=1, foreign=1), counts(9), None),
        (Matching(rows=10, without_line=3, foreign=1), counts(7, 3), None),
        (Matching(rows=10, without_line=1), NO_COUNTS, None),
        # By the counts of the API the rows were completed, and no line matches them.
        (Matching(rows=10, without_line=10, unidentified=1), counts(10), "not matched"),
        (Matching(rows=10, without_line=1, foreign=1), counts(10), "not matched"),
        (Matching(rows=10, without_line=1, foreign=1), counts(9, 1), "not matched"),
        (Matching(rows=10, without_line=5, ended_early=5, unidentified=1), counts(5, status="expired"), "not matched"),
        (Matching(rows=10, without_line=10, unidentified=2), counts(0, 10), "not matched"),
        (Matching(rows=10, without_line=1), counts(10), "too few"),
        (Matching(rows=10, without_line=10), counts(10), "too few"),
        # Without counts, a foreign line may belong to any row without a line.
        (Matching(rows=10, without_line=3, foreign=1), NO_COUNTS, "not matched"),
        (Matching(rows=10, without_line=3, unidentified=1), NO_COUNTS, "not matched"),
        (Matching(rows=10, without_line=9, unreadable_rows=1), NO_COUNTS, "not matched"),
        (Matching(rows=10, without_line=10), NO_COUNTS, "too few"),
        (Matching(rows=10, without_line=10), Counts("expired"), None),
        # Counts below the number of answers are outdated.
        (Matching(rows=10, without_line=3, foreign=3), counts(3), "not matched"),
        # One truncated line is an accident; if all lines are unreadable, they have an unknown form.
        (Matching(rows=10, unreadable_rows=1), counts(10), None),
        (Matching(rows=10, unreadable_rows=10), counts(10), "not matched"),
        (Matching(rows=1, unreadable_rows=1), counts(1), None),
    ],
)
def test_rows_without_a_line_are_missing_only_where_nothing_indicates_that_they_were_paid_for(
    matching: Matching, counted: Counts, doubt: Doubt | None
) -> None:
    assert doubt_about(matching, counted) == doubt


@given(
    matched=st.integers(0, 5),
    paid=st.integers(0, 5),
    unpaid=st.integers(0, 5),
    stray=st.integers(0, 5),
    are_counted=st.booleans(),
)
def test_a_row_whose_paid_answer_is_not_recognised_is_never_sent_again(
    matched: int, paid: int, unpaid: int, stray: int, are_counted: bool
) -> None:
    """Invariant 2: `paid` rows have answers with other ids, whatever else is in the files."""
    rows = matched + paid + unpaid
    matching = Matching(rows=rows, without_line=paid + unpaid, foreign=paid + stray)
    counted = Counts("completed", rows, matched + paid, 0) if are_counted else Counts("completed")
    assert doubt_about(matching, counted) is not None or paid == 0


def test_lines_of_rows_in_a_later_round_are_not_foreign() -> None:
    matching = Matching(rows=7, without_line=1, foreign=3)
    assert doubt_about(matching, counts(9), left_out=3) is None
    assert doubt_about(matching, counts(10), left_out=2) == "not matched"
