"""
Whether the rows that have no result line were not answered, or were answered in a way that is not understood.

A row that stands in neither file may be sent again only where nothing says that it was paid for. Three things say so:
more requests are counted as completed than answers were matched; lines came that belong to no row; no line of a batch
that has completed could be matched at all. Pure, over counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from airflow_provider_batch.api import statuses

#: Why the rows without a line are not simply missing: lines came that no row could be given, or fewer than are counted.
Doubt = Literal["not matched", "too few"]
#: Rows of a shard whose lines have an id and cannot be read, from which on that is no accident where none can be read.
UNREADABLE_ROWS = 2


@dataclass(frozen=True)
class Matching:
    """
    How the lines of a batch's result files and the rows of its shard went together.

    :param rows: Rows of the shard.
    :param without_line: Rows that no line was found for.
    :param unreadable_rows: Rows whose line was found by its id and cannot be read.
    :param ended_early: Rows whose line says that the batch ended before they were run.
    :param foreign: Lines whose id is of no row.
    :param unidentified: Lines without an id that can be read.
    :param foreign_id: One of the foreign ids, for messages.
    :param unreadable_start: How one of the unreadable lines begins, for messages.
    :param row_id: The id of a row without a line, for messages.
    """

    rows: int = 0
    without_line: int = 0
    unreadable_rows: int = 0
    ended_early: int = 0
    foreign: int = 0
    unidentified: int = 0
    foreign_id: str | None = None
    unreadable_start: bytes | None = None
    row_id: str | None = None

    @property
    def answered(self) -> int:
        """Rows whose line says what came of them."""
        return self.rows - self.without_line - self.ended_early

    @property
    def odd(self) -> int:
        """Lines that no row could be given."""
        return self.foreign + self.unidentified


@dataclass(frozen=True)
class Counts:
    """What the API counts of a batch; `total` is 0 where it does not count."""

    status: str
    total: int = 0
    completed: int = 0
    failed: int = 0


def doubt_about(matching: Matching, counts: Counts, *, left_out: int = 0) -> Doubt | None:
    """
    Return why a batch's results are not understood; None where a row without a line was surely not answered.

    :param left_out: Rows of the batch that were left out of the shard, whose lines therefore count as foreign.
    """
    if matching.unreadable_rows >= UNREADABLE_ROWS and matching.unreadable_rows == matching.answered:
        return "not matched"
    if not matching.without_line:
        return None
    odd = max(0, matching.odd - left_out)
    # Counts that are lower than what came are stale, or no counts at all.
    if counts.total > 0 and counts.completed + counts.failed >= max(1, matching.answered):
        return _counted(matching, counts, odd=odd, answered=matching.answered + left_out)
    # A line that cannot be read may hold the answers of several rows: all of them, where its breaks are not ours.
    if odd or matching.unreadable_rows:
        return "not matched"
    nothing_came = matching.without_line == matching.rows and not left_out
    return "too few" if nothing_came and counts.status == statuses.COMPLETED else None


def _counted(matching: Matching, counts: Counts, *, odd: int, answered: int) -> Doubt | None:
    if counts.completed > answered:
        return "not matched" if odd else "too few"
    if odd and not answered:
        return "not matched"  # nothing of it was understood, not even why its requests failed
    # What is neither completed nor failed was not run: the API itself says that these rows are not paid for.
    not_run = counts.total - counts.completed - counts.failed
    return "not matched" if odd >= matching.without_line > not_run else None
