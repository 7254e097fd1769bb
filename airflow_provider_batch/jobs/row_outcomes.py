"""Decides whether a row keeps its outcome, or goes into another round."""

from __future__ import annotations

from airflow_provider_batch.jobs.decisions import Limits
from airflow_provider_batch.results.landing import RowOutcome

#: HTTP statuses of a row that get it another attempt; 5xx too.
TRANSIENT_CODES = frozenset({408, 409, 429})
#: Statuses of a row whose request never ran; they do not count as its attempt.
NOT_RUN = frozenset({"expired", "missing", "cancelled"})


def row_is_final(outcome: RowOutcome, *, round: int, closing: bool, limits: Limits) -> bool:  # noqa: A002
    """
    Return whether a row keeps this outcome; otherwise it goes into another round.

    :param outcome: The row's outcome in this round.
    :param round: How many rounds the row has been in, this one included.
    :param closing: Whether the job sends nothing more.
    :param limits: The job's limits.
    """
    if closing or round >= limits.max_rounds:
        return True
    if outcome.status in NOT_RUN:
        return False
    if outcome.status != "failed" or not is_transient(outcome):
        return True
    return outcome.attempts >= limits.max_attempts


def is_transient(outcome: RowOutcome) -> bool:
    """
    Return whether the same request can succeed later.

    It can after 408, 409, 429, 5xx, no HTTP status (0), a request's time-out, a file that was refused for other rows,
    and a line that says nothing of its request.

    :param outcome: The row's outcome.
    """
    if outcome.error_code in {"request_timeout", "not_run"}:
        return True
    code = outcome.status_code
    return code is not None and (code == 0 or code in TRANSIENT_CODES or code >= 500)
