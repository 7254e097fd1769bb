"""Whether a row keeps its outcome, or goes into another round."""

from __future__ import annotations

import pytest

from airflow_provider_batch.jobs.decisions import Limits
from airflow_provider_batch.jobs.row_outcomes import row_is_final
from airflow_provider_batch.results.landing import RowOutcome

LIMITS = Limits()


class TestARow:
    @pytest.mark.parametrize("code", [408, 409, 429, 500, 503])
    def test_that_failed_for_a_passing_reason_is_sent_again_until_its_attempts_are_used(self, code: int) -> None:
        def final(attempts: int) -> bool:
            outcome = RowOutcome("failed", code, "x", attempts)
            return row_is_final(outcome, round=1, closing=False, limits=LIMITS)

        assert [final(1), final(2), final(3)] == [False, False, True]

    @pytest.mark.parametrize(
        "outcome",
        [
            RowOutcome("succeeded", 200, None, 0),
            RowOutcome("failed", 400, "bad", 1),
            RowOutcome("refused", 200, "content_filter", 0),
            RowOutcome("truncated", 200, None, 0),
        ],
    )
    def test_with_a_final_answer_is_never_sent_again(self, outcome: RowOutcome) -> None:
        """Invariant 2."""
        assert row_is_final(outcome, round=1, closing=False, limits=LIMITS)

    @pytest.mark.parametrize("status", ["expired", "missing", "cancelled"])
    def test_that_was_never_run_is_sent_again_and_uses_no_attempt(self, status: str) -> None:
        assert not row_is_final(RowOutcome(status, None, None, 99), round=1, closing=False, limits=LIMITS)
        assert row_is_final(RowOutcome(status, None, None, 0), round=10, closing=False, limits=LIMITS)
        assert row_is_final(RowOutcome(status, None, None, 0), round=1, closing=True, limits=LIMITS)
