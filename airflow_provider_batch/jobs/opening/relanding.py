"""
Lands a job again from results that are paid for: its table is gone, or has another destination or other partitions.

Results are joined to the rows of their shards. The first round's shards are written again from the source where they
were removed. The shards of a rerun were made from the table, and cannot be written again.
"""

from __future__ import annotations

from airflow_provider_batch.exceptions import ChangedInputError, JobError
from airflow_provider_batch.jobs.job_request import JobRequest, Tools
from airflow_provider_batch.jobs.landing.finishing import decode_columns
from airflow_provider_batch.jobs.ledger.events import Relanding
from airflow_provider_batch.jobs.ledger.ledger import Ledger
from airflow_provider_batch.jobs.ledger.shard_record import ShardRecord
from airflow_provider_batch.jobs.ledger.store import LedgerStore
from airflow_provider_batch.jobs.opening.preparing import check_partitions, prepare_shards
from airflow_provider_batch.jobs.runner import Job
from airflow_provider_batch.jobs.shard_files import missing_shards, publish_shard
from airflow_provider_batch.jobs.table_claims import claim_table
from airflow_provider_batch.requests.shards import Shard
from airflow_provider_batch.sources.source import Source
from airflow_provider_batch.storage import Location
from airflow_provider_batch.table.file_names import landed_part, landing_folder, list_files, manifest_name
from airflow_provider_batch.table.manifest import check_destination


def needs_relanding(store: LedgerStore, ledger: Ledger, request: JobRequest, destination: Location) -> bool:
    """
    Return whether a finished job's table is not at its destination, or a clear can complete it.

    :param store: Store of the job's ledger.
    :param ledger: The job's ledger.
    :param request: The job.
    :param destination: Folder of the table.
    """
    landings = [shard.landing for shard in ledger.shards if shard.landing is not None]
    is_whole = not (request.recovery.delete_files and ledger.first_round > 1) and _can_land_again(store, ledger)
    if request.era != ledger.era and ledger.unfetched and is_whole:
        return True
    stored = list_files(destination)
    parts = {name for landing in landings for name in landing.part_files}
    is_published = manifest_name(ledger.job) in stored and parts <= stored
    return not is_published or request.table.partition_by != ledger.partition_by


def land_again(
    request: JobRequest, tools: Tools, store: LedgerStore, ledger: Ledger, source: Source, *, at_once: bool
) -> Ledger:
    """
    Record that a finished job's table is landed once more, and land it at once if all of it is needed now.

    :param request: The job.
    :param tools: Its client, clock and functions.
    :param store: Store of the job's ledger.
    :param ledger: The job's ledger.
    :param source: The source, to write removed shards again.
    :param at_once: Whether the parts are needed now, for a rerun.
    :raises JobError: The table cannot be landed again from the ledger alone.
    :raises ChangedInputError: The source does not give the same shards.
    """
    assert request.table.destination is not None
    check_destination(tools.resolve(request.table.destination), ledger.job, request.table.if_exists)
    check_can_land_again(store, ledger)
    check_partitions(request, decode_columns(ledger.columns))
    restore_shards(request, tools, store, ledger, source)
    tools.log.info("The job is finished; its table is landed again from the batches that were paid for.")
    ledger = store.record(ledger, Relanding(request.table.destination, request.table.partition_by))
    claim_table(request, tools, store, ledger)
    if not at_once:
        return ledger
    job = Job(request, tools, store, ledger)
    job.land_all()
    return job.ledger


def restore_shards(request: JobRequest, tools: Tools, store: LedgerStore, ledger: Ledger, source: Source) -> None:
    """
    Write the first round's shards again, where they were removed; the landings write those of later rounds.

    :param request: The job.
    :param tools: Its client, clock and functions.
    :param store: Store of the job's ledger.
    :param ledger: The job's ledger.
    :param source: The source.
    :raises ChangedInputError: The source does not give the same shards.
    """
    first = [record for record in ledger.shards if record.round == 1]
    folder = store.shards(ledger.generation)
    if not missing_shards(folder, first):
        return
    error = ChangedInputError(
        "The shards of this job were removed, and its source does not give the same ones any more: its results cannot "
        "be joined to their rows. rerun='all' sends every row again, and pays again; keep_shards=True avoids this."
    )
    known = {record.key: record.sha256 for record in first}

    def keep(shard: Shard) -> None:
        if known.get(str(shard.key)) != ShardRecord.of(shard).sha256:  # a different shard would lose rows
            raise error
        publish_shard(shard, folder)

    if len(prepare_shards(request, tools, source, keep, ledger.cuts(1)).shards) != len(first):
        raise error


def lacks_shards(store: LedgerStore, ledger: Ledger) -> bool:
    """
    Return whether a shard of the first round is gone that a running job has to send, land, or read retry rows from.

    :param store: Store of the job's ledger.
    :param ledger: The job's ledger.
    """
    needed = [
        record
        for record in ledger.shards
        if record.round == 1 and (record.landing is None or (record.landing.retry_rows and ledger.round == 1))
    ]
    return bool(missing_shards(store.shards(ledger.generation), needed))


def lacks_parts(store: LedgerStore, ledger: Ledger, destination: Location) -> bool:
    """
    Return whether a part of a running job is gone and can be landed again: parts may be in staging for a day.

    :param store: Store of the job's ledger.
    :param ledger: The job's ledger.
    :param destination: Folder of the table.
    """
    names = {name for shard in ledger.shards if shard.landing is not None for name in shard.landing.part_files}
    missing = names - list_files(destination) if names else names
    staged = list_files(destination / landing_folder(ledger.job)) if missing else set()
    return not missing <= {landed_part(name) for name in staged} and _can_land_again(store, ledger)


def _can_land_again(store: LedgerStore, ledger: Ledger) -> bool:
    """Return whether all shards of reruns are stored: only the table knew which rows they held."""
    folder = store.shards(ledger.generation)
    rerun = [record for record in ledger.shards if 1 < ledger.first_round <= record.round]
    return not missing_shards(folder, rerun)


def check_can_land_again(store: LedgerStore, ledger: Ledger) -> None:
    """
    Check that the shards of a rerun are stored.

    :param store: Store of the job's ledger.
    :param ledger: The job's ledger.
    :raises JobError: They are gone.
    """
    if not _can_land_again(store, ledger):
        raise JobError(
            f"{store.location}: this job sent some rows again (rerun), its shards were removed after landing, and the "
            "table is gone, or has another destination or other partitions: it cannot be landed again from the ledger "
            "alone. Nothing was sent. rerun='all' sends every row again, and pays again; keep_shards=True avoids this."
        )
