"""
Decide whether rows without a result line were really not answered, or whether their answers were not recognised.

A row without a result line may be sent again only where nothing indicates that its answer was charged. There are three
indications: the API counts more completed requests than answers were matched; the files contain lines that belong to no
row; or no line of a completed batch was matched. All functions here are pure and work on counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from airflow_provider_batch.api import statuses

#: Why rows without a line may have answers: some lines match no row, or there are fewer answers than the API counts.
Doubt = Literal["not matched", "too few"]
#: If no line of a shard can be read and at least this number have an id, the lines have an unknown form.
UNREADABLE_ROWS = 2


@dataclass(frozen=True)
class Matching:
    """
    How the lines of a batch's result files match the rows of its shard.

    :param rows: Number of rows in the shard.
    :param without_line: Number of rows without a line.
    :param unreadable_rows: Number of rows whose line has the right id and cannot be read.
    :param ended_early: Number of rows whose line says that the batch ended before they ran.
    :param foreign: Number of lines whose id belongs to no row.
    :param unidentified: Number of lines without a readable id.
    :param foreign_id: One of the ids that belong to no row, for messages; None where there is none.
    :param unreadable_start: First bytes of one unreadable line, for messages; None where there is none.
    :param row_id: Id of one row without a line, for messages; None where there is none.
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
        """Number of rows whose line has a result."""
        return self.rows - self.without_line - self.ended_early

    @property
    def unmatched(self) -> int:
        """Number of lines that match no row."""
        return self.foreign + self.unidentified


@dataclass(frozen=True)
class Counts:
    """
    The request counts of a batch, as the API reports them.

    :param status: Status of the batch.
    :param total: Number of requests; 0 where the API does not count.
    :param completed: Number of completed requests.
    :param failed: Number of failed requests.
    """

    status: str
    total: int = 0
    completed: int = 0
    failed: int = 0


def doubt_about(matching: Matching, counts: Counts, *, left_out: int = 0) -> Doubt | None:
    """
    Return why rows without a line may have charged answers; None where they were certainly not answered.

    :param matching: How the result lines match the rows.
    :param counts: Request counts of the batch.
    :param left_out: Number of rows of the batch that are not in the shard; their lines count as foreign.
    """
    if matching.unreadable_rows >= UNREADABLE_ROWS and matching.unreadable_rows == matching.answered:
        return "not matched"
    if not matching.without_line:
        return None
    unmatched = max(0, matching.unmatched - left_out)
    # Counts below the number of answers are outdated, or the API does not count.
    if counts.total > 0 and counts.completed + counts.failed >= max(1, matching.answered):
        return _doubt_by_counts(matching, counts, unmatched=unmatched, answered=matching.answered + left_out)
    # An unreadable line may contain the answers of several rows, where the file has another kind of line break.
    if unmatched or matching.unreadable_rows:
        return "not matched"
    has_no_lines = matching.without_line == matching.rows and not left_out
    return "too few" if has_no_lines and counts.status == statuses.COMPLETED else None


def _doubt_by_counts(matching: Matching, counts: Counts, *, unmatched: int, answered: int) -> Doubt | None:
    if counts.completed > answered:
        return "not matched" if unmatched else "too few"
    if unmatched and not answered:
        return "not matched"  # no line of the batch was recognised, not even an error
    # Requests that are neither completed nor failed did not run: the API does not charge them.
    not_run = counts.total - counts.completed - counts.failed
    return "not matched" if unmatched >= matching.without_line > not_run else None
