"""
Stops where a batch's results cannot be matched with its rows, instead of sending the rows again.

The job and the loader land a shard to the local disk first, and call this check before they publish anything of it:
results that are paid for and cannot be matched with rows must not count as "not answered".
"""

from __future__ import annotations

from pathlib import Path

from airflow_provider_batch.exceptions import JobError, ResultsMissingError, ResultsUnclearError
from airflow_provider_batch.jobs.landing.staging import Place
from airflow_provider_batch.jobs.ledger.shard_record import Ending, ShardRecord
from airflow_provider_batch.results.landing import LandedShard
from airflow_provider_batch.results.matching import Counts, Matching, doubt_about
from airflow_provider_batch.table.file_names import unclear_name

#: Names of a batch's unchanged result files in the folder that they are downloaded to.
OUTPUT, ERROR = "output.jsonl", "error.jsonl"
_ADVICE = (
    "Nothing is sent again by itself: a clear of the task lands these results again, for free, and clearing it with "
    "rerun='failed_rows' sends the rows again and pays for them a second time."
)


def check_understood(
    place: Place, shard: ShardRecord, landed: LandedShard, folder: Path, *, left_out: int = 0, advice: str = _ADVICE
) -> None:
    """
    Raise where rows without a result line may have been answered and paid for.

    :param place: The table; the result files are kept beside it, whole.
    :param shard: The shard, with its batch's ending.
    :param landed: The results as they were read.
    :param folder: Local folder of the unchanged result files.
    :param left_out: Rows of the batch that are not searched in these results.
    :param advice: What the user can do.
    :raises ResultsUnclearError: Some lines match no row.
    :raises ResultsMissingError: There are fewer answers than the API counts.
    """
    if shard.ending is None or _was_landed_alike(shard, landed):
        return
    doubt = doubt_about(landed.matching, _counts(shard.ending), left_out=left_out)
    if doubt == "too few":
        raise _too_few(shard, shard.ending, landed.matching, advice)
    if doubt == "not matched":
        kept = _keep(place, folder)
        raise _not_matched(shard, landed.matching, f"{place.table}: {', '.join(kept)}", advice)


def _was_landed_alike(shard: ShardRecord, landed: LandedShard) -> bool:
    """Return whether this repeats a landing, which was accepted once: later rounds hold the rows that it left."""
    before = shard.landed_before
    return before is not None and (before.rows, before.retry_rows) == (landed.rows, landed.retry_rows)


def _counts(ending: Ending) -> Counts:
    return Counts(ending.status, ending.total, ending.completed, ending.failed)


def _keep(place: Place, folder: Path) -> list[str]:
    """Write the unchanged result files beside the table, and return their names."""
    kept = []
    for name in (OUTPUT, ERROR):
        file = folder / name
        if file.exists() and file.stat().st_size:
            kept.append(unclear_name(place.job, place.key.number, place.key.round, name.partition(".")[0]))
            (place.table / kept[-1]).put(file)
    return kept


def _too_few(shard: ShardRecord, ending: Ending, matching: Matching, advice: str) -> JobError:
    count = f"{ending.completed:,} of {ending.total:,} requests" if ending.total else "its requests"
    no_file = "" if ending.output_file_id else ", and its output file has not appeared"
    return ResultsMissingError(
        f"Batch {shard.batch_id} is {ending.status} and counts {count} as completed, but its result files have lines "
        f"for {matching.answered:,} of {matching.rows:,} rows{no_file}. The others may be paid for. Retry the task, "
        f"which downloads the files again, and look the batch up in the vendor's dashboard. {advice}"
    )


def _not_matched(shard: ShardRecord, matching: Matching, where: str, advice: str) -> JobError:
    return ResultsUnclearError(
        f"The results of batch {shard.batch_id} are not understood: {_findings(matching)}. They are kept unchanged in "
        f"{where}. Compare them with the requests, and report the service's result format to the maintainers of this "
        f"package. {advice}"
    )


def _findings(matching: Matching) -> str:
    found = []
    if matching.unreadable_rows or matching.unidentified:
        start = (matching.unreadable_start or b"").decode("utf-8", "replace")
        count = matching.unreadable_rows + matching.unidentified
        found.append(f"{count:,} lines cannot be read (one begins {start!r})")
    if matching.foreign:
        found.append(f"{matching.foreign:,} lines have ids that were not sent (one is {matching.foreign_id!r})")
    of_rows = f"{matching.without_line:,} of {matching.rows:,} rows have no result line"
    example = f" (one is {matching.row_id!r})" if matching.row_id is not None else ""
    return f"{' and '.join(found)}, and {of_rows}{example}" if matching.without_line else " and ".join(found)
