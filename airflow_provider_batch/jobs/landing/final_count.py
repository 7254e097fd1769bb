"""The count that a landing ends with: the rows of the table's parts are the rows of the input, each exactly once."""

from __future__ import annotations

from collections.abc import Sequence

from airflow_provider_batch.exceptions import JobError
from airflow_provider_batch.jobs.ledger.ledger import Ledger
from airflow_provider_batch.requests.row_checksum import total
from airflow_provider_batch.table.manifest import Part


def check_count(ledger: Ledger, parts: Sequence[Part], location: str) -> None:
    """
    Check the parts that a manifest is to list against what the ledger knows of the input.

    Row numbers are compared by their checksums, which ledgers of release 0.1 lack; numbers of rows always are.

    :param location: URI of the ledger.
    :raises JobError: The parts do not hold each row of the input once; nothing may be published, nor removed.
    """
    landings = [shard.landing for shard in ledger.shards if shard.landing is not None]
    listed = sum(part.rows for part in parts)
    due = total(shard.row_checksum for shard in ledger.shards if shard.round == 1)
    found = total(landing.row_checksum for landing in landings)
    same_rows = due is None or found is None or due == found
    if listed == ledger.rows == ledger.totals().rows and same_rows:
        return
    what = f"{listed:,} rows" if listed != ledger.rows else "as many, and not each row of it once"
    raise JobError(
        f"The input has {ledger.rows:,} rows, and the parts that have landed hold {what}. No manifest is written: the "
        f"table that stood there stands, and shards, results and parts are kept; the ledger is {location}. Nothing is "
        "sent again by a retry. Remove the parts of this job and clear the task to land it again for free; if that "
        "ends here too, it is a defect of this package, please report it."
    )
