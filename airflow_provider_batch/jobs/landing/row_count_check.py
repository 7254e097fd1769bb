"""Checks, at the end of a landing, that the table's parts have each row of the input exactly once."""

from __future__ import annotations

from collections.abc import Sequence

from airflow_provider_batch.exceptions import JobError
from airflow_provider_batch.jobs.ledger.ledger import Ledger
from airflow_provider_batch.requests.row_checksum import total
from airflow_provider_batch.table.manifest import Part


def check_count(ledger: Ledger, parts: Sequence[Part], location: str) -> None:
    """
    Compare the parts that a manifest is to list with what the ledger records of the input.

    Row numbers are compared by their checksums, which ledgers of release 0.1 lack; numbers of rows are always compared.

    :param ledger: The job's ledger.
    :param parts: The parts.
    :param location: URI of the ledger.
    :raises JobError: The parts do not hold each row of the input once; nothing may be published or removed.
    """
    landings = [shard.landing for shard in ledger.shards if shard.landing is not None]
    in_parts = sum(part.rows for part in parts)
    expected = total(shard.row_checksum for shard in ledger.shards if shard.round == 1)
    found = total(landing.row_checksum for landing in landings)
    same_rows = expected is None or found is None or expected == found
    if in_parts == ledger.rows == ledger.totals().rows and same_rows:
        return
    what = f"{in_parts:,} rows" if in_parts != ledger.rows else "as many, and not each row of it once"
    raise JobError(
        f"The input has {ledger.rows:,} rows, and the parts that have landed hold {what}. No manifest is written: the "
        f"table published before is unchanged, and shards, results and parts are kept; the ledger is {location}. A "
        "retry sends nothing again. Remove the parts of this job and clear the task to land it again for free; if that "
        "ends here too, it is a defect of this package: please report it."
    )
