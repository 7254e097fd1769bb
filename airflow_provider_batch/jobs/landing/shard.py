"""Lands one shard: downloads its result files, writes its final rows to a part, and the others to its retry file."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import msgspec

from airflow_provider_batch.api import statuses
from airflow_provider_batch.api.client import BatchClient
from airflow_provider_batch.api.objects import Batch, FileError
from airflow_provider_batch.exceptions import JobError, NotFoundError, ResultsMissingError
from airflow_provider_batch.jobs.decisions import FILES_PATIENCE, Limits
from airflow_provider_batch.jobs.job_request import JobRequest, Tools
from airflow_provider_batch.jobs.landing.next_round import restore_round
from airflow_provider_batch.jobs.landing.staging import NEEDS, Place, StagedPart, Staging
from airflow_provider_batch.jobs.landing.unclear_results import ERROR, OUTPUT, check_understood
from airflow_provider_batch.jobs.ledger.events import Landed, Trimmed
from airflow_provider_batch.jobs.ledger.ledger import Ledger
from airflow_provider_batch.jobs.ledger.shard_record import Landing, ShardRecord
from airflow_provider_batch.jobs.ledger.store import LedgerStore
from airflow_provider_batch.jobs.row_outcomes import row_is_final
from airflow_provider_batch.jobs.shard_files import keep_retry_rows, missing_shards, rows_of
from airflow_provider_batch.jobs.table_spec import table_spec, tariff_of
from airflow_provider_batch.polling.wait_policy import duration_text
from airflow_provider_batch.requests import row_checksum
from airflow_provider_batch.requests.shards import ShardKey
from airflow_provider_batch.results.landing import LandedShard, RowOutcome, ShardResults
from airflow_provider_batch.results.lines.file_forms import as_json_lines
from airflow_provider_batch.storage import Location
from airflow_provider_batch.storage.local_disk import scratch
from airflow_provider_batch.table.embedding_size import check_landed
from airflow_provider_batch.table.file_names import Attempt, landing_name, manifest_name, part_name
from airflow_provider_batch.table.manifest import read_manifest
from airflow_provider_batch.table.part_filter import SUCCEEDED, keep_succeeded
from airflow_provider_batch.table.publication import part_location, withdraw


def land_results(request: JobRequest, tools: Tools, store: LedgerStore, ledger: Ledger, shard: ShardRecord) -> Landed:
    """
    Land a shard that has ended, or that is not sent any more, and return the event that records it.

    :param request: The job.
    :param tools: Tools of the job.
    :param store: Store of the job's ledger.
    :param ledger: The job's ledger.
    :param shard: The shard.
    :raises JobError: A result file is gone, so what was paid for cannot be landed.
    :raises ResultsUnclearError: There are results that cannot be matched with the rows.
    :raises ResultsMissingError: The batch counts more answers than its files hold.
    """
    folder = store.shards(ledger.generation)
    if shard.round > 1 and missing_shards(folder, [shard]):
        restore_round(ledger, shard.round, request.spec, folder)
    spec = table_spec(ledger, request.table.raw, request.spec.response_model, tariff_of(tools.client))

    closed, limits = _limits(request.limits, ledger, shard)

    def is_final(outcome: RowOutcome) -> bool:
        passes = shard.round - ledger.first_round + 1 if shard.round >= ledger.first_round else shard.round
        return row_is_final(outcome, round=passes, closing=closed, limits=limits)

    key = ShardKey.parse(shard.key)
    table = tools.resolve(_destination(request))
    place = Place(table, ledger.job, attempt_of_ledger(ledger), key, ledger.partition_by)
    with (
        scratch(f"landing shard {shard.key}", NEEDS) as local,
        rows_of(folder, shard) as rows,
    ):
        staging = Staging(place, spec, tools.client, local)
        results = fetch_results(tools.client, shard, rows, local)
        store.check_lease(ledger)  # the landing writes images and videos to the table's folder
        landed = staging.land(results, is_final)
        if ledger.embedding_size is None:
            check_landed(table, ledger.job, request.table.if_exists, landed.embedding_size, shard.batch_id)
        if not shard.given_up:
            check_understood(place, shard, landed, local)
        checksum = _check_rows(shard, landed, staging)
        retry_sha256 = keep_retry_rows(folder, shard.key, staging.retry) if landed.retry_rows else ""
        store.check_lease(ledger)
        staged = staging.put(landed)
    landing = _landing(landed, staged, tools.clock(), closed=closed, limits=limits)
    landing = msgspec.structs.replace(landing, row_checksum=checksum, retry_sha256=retry_sha256)
    return Landed(shard.key, landing, embedding_size=landed.embedding_size)


def _check_rows(shard: ShardRecord, landed: LandedShard, staging: Staging) -> str:
    """
    Check that each row of a shard is once in its part or its retry file; return the part's checksum.

    :raises JobError: Rows were lost, or are there twice; nothing was written.
    """
    part = row_checksum.of_parquet(staging.part) if landed.rows else row_checksum.NO_ROWS
    left = row_checksum.of_sidecar(staging.retry) if landed.retry_rows else row_checksum.NO_ROWS
    both = row_checksum.total([part, left])
    if landed.rows + landed.retry_rows != shard.rows or shard.row_checksum not in (None, both):
        raise JobError(
            f"Shard {shard.key} has {shard.rows:,} rows, and its landing made {landed.rows:,} final and left "
            f"{landed.retry_rows:,} for another round, or not each of them once. Nothing of it was written, and shards "
            "and results are kept. This is a defect of this package: please report it."
        )
    return part


def trim(request: JobRequest, tools: Tools, ledger: Ledger, shard: ShardRecord) -> Trimmed:
    """
    Write a shard's part without the rows that were sent again, and return the event that records it.

    The old part stays until the table is published.

    :param request: The job.
    :param tools: Tools of the job.
    :param ledger: The job's ledger.
    :param shard: A landed shard.
    """
    assert shard.landing is not None
    before, table = shard.landing, tools.resolve(_destination(request))
    if before.part is None or not before.statuses.get(SUCCEEDED):
        return Trimmed(shard.key, 0, row_checksum=row_checksum.NO_ROWS)
    key = ShardKey.parse(shard.key)
    part = part_name(ledger.job, key.number, key.round, attempt_of_ledger(ledger))
    trimmed = {folder: _trim_file(table, ledger.job, folder, before.part, part) for folder in before.folders or ("",)}
    folders = {folder: rows for folder, (rows, _) in trimmed.items() if rows and folder}
    checksum = row_checksum.total(checksum for _, checksum in trimmed.values())
    return Trimmed(shard.key, sum(rows for rows, _ in trimmed.values()), folders, part, row_checksum=checksum)


def _trim_file(table: Location, job: str, folder: str, before: str, part: str) -> tuple[int, str]:
    """Write the succeeded rows of one file of a part to the staging folder; return their number and checksum."""
    below = f"{folder}/" if folder else ""
    file = part_location(table, job, f"{below}{before}")
    if folder and not file.exists():
        return 0, row_checksum.NO_ROWS  # release 0.1 removed it, and was stopped before it recorded that
    with scratch(f"trimming {below}{before}", "the part") as local, file.as_local() as whole:
        kept = local / "part.parquet"
        rows = keep_succeeded(whole, kept, f"{below}{before}")
        if not rows:
            return 0, row_checksum.NO_ROWS
        (table / landing_name(job, f"{below}{part}")).put(kept)
        return rows, row_checksum.of_parquet(kept)


def withdraw_late(
    request: JobRequest, tools: Tools, ledger: Ledger, later: Ledger | None, late: Landed | Trimmed
) -> None:
    """
    Remove what was landed or trimmed after a later attempt had taken over the job, except files in use.

    The response to a write of the ledger can be lost: then the stored ledger names what this attempt wrote.

    :param request: The job.
    :param tools: Tools of the job.
    :param ledger: The ledger of the attempt that wrote the files.
    :param later: The ledger that is stored now; None where there is none.
    :param late: What this attempt could not record.
    """
    landing = late.landing if isinstance(late, Landed) else Landing(late.rows, {}, late.part, folders=late.folders)
    table = tools.resolve(_destination(request))
    kept = _named_by(later) | _listed(table, ledger.job)
    parts = [name for name in landing.part_files if name not in kept]
    withdraw(table, ledger.job, parts, None if landing.unreadable_file in kept else landing.unreadable_file)
    if landing.files_folder is None or landing.files_folder in kept:
        return
    if later is not None and later.generation > ledger.generation:
        (table / landing.files_folder).remove_folder()


def _named_by(ledger: Ledger | None) -> set[str]:
    """Return the files and folders of the table that a ledger names."""
    landings = () if ledger is None else [shard.landing for shard in ledger.shards if shard.landing is not None]
    kept = {name for landing in landings for name in landing.part_files}
    return kept | {name for one in landings for name in (one.unreadable_file, one.files_folder) if name is not None}


def _listed(table: Location, job: str) -> set[str]:
    """Return the files and folders of the table that its manifest lists."""
    manifest = read_manifest(table / manifest_name(job))
    if manifest is None:
        return set()
    return {*(part.name for part in manifest.parts), *manifest.unreadable, *manifest.files}


def attempt_of_ledger(ledger: Ledger) -> Attempt:
    """
    Return what names the files of the attempt with a ledger's lease.

    :param ledger: The job's ledger.
    """
    return Attempt(ledger.generation, ledger.lease.epoch)


def fetch_results(client: BatchClient, shard: ShardRecord, rows: Path, folder: Path) -> ShardResults:
    """
    Download the result files of a shard's batch; both files are read for every last status.

    :param client: Client of the account.
    :param shard: The shard.
    :param rows: Local path of its sidecar.
    :param folder: Local folder for the downloads.
    :raises JobError: A file is gone.
    """
    ending = shard.ending
    if ending is None:
        return ShardResults(rows=rows, output=None, error=None, batch_id=None, batch_status="", round=shard.round)
    refused: dict[int, FileError] = {}
    output_id, error_id = ending.output_file_id, ending.error_file_id
    if ending.status == statuses.FAILED and shard.batch_id is not None:
        errors = client.retrieve(shard.batch_id).errors
        refused = {error.line - 1: error for error in errors if error.line is not None}
    elif ending.completed and output_id is None and shard.batch_id is not None:
        late = client.retrieve(shard.batch_id)  # the file may have appeared since the end was recorded
        output_id, error_id = late.output_file_id, late.error_file_id or error_id
    return ShardResults(
        rows=rows,
        output=_download(client, output_id, folder / OUTPUT, shard),
        error=_download(client, error_id, folder / ERROR, shard),
        batch_id=shard.batch_id,
        batch_status=ending.status,
        round=shard.round,
        refused=refused,
        model=shard.model,
    )


def _download(client: BatchClient, file_id: str | None, to: Path, shard: ShardRecord) -> Path | None:
    if file_id is None:
        return None
    try:
        client.download(file_id, to)
    except NotFoundError as error:
        raise JobError(
            f"File {file_id} with results of batch {shard.batch_id} is gone: it was deleted, or has expired. Its "
            "results are paid for and cannot be landed any more; rerun='all' sends every row again, and pays again."
        ) from error
    return as_json_lines(to)


def _destination(request: JobRequest) -> str:
    assert request.table.destination is not None
    return request.table.destination


def _limits(limits: Limits, ledger: Ledger, shard: ShardRecord) -> tuple[bool, Limits]:
    """
    Return whether no row is left for another round, and else the limits by which rows are left.

    A landing is repeated with the limits of the first one: the later rounds hold exactly the rows that it left.
    """
    before = shard.landed_before
    if before is None:
        return ledger.closing is not None, limits
    return before.closed, replace(limits, max_attempts=before.max_attempts, max_rounds=before.max_rounds)


#: Fields of a landing that a landed shard has too.
_COUNTED = ("rows", "statuses", "retry_rows", "usage", "unpriced", "unreadable", "duplicates", "foreign")


def _landing(landed: LandedShard, staged: StagedPart, at: float, *, closed: bool, limits: Limits) -> Landing:
    return Landing(
        **vars(staged),
        **{name: getattr(landed, name) for name in _COUNTED},
        cost_usd=None if landed.cost_usd is None else str(landed.cost_usd),
        closed=closed,
        max_attempts=limits.max_attempts,
        max_rounds=limits.max_rounds,
        at=at,
    )


def missing_files_error(shard: ShardRecord, seen: dict[str, Batch]) -> ResultsMissingError:
    """
    Return the error for a batch that is `completed` and has no output file.

    :param shard: The shard.
    :param seen: The latest polled batch by batch id.
    """
    batch = seen[shard.batch_id or ""]
    return ResultsMissingError(
        f"Batch {batch.id} is {statuses.COMPLETED} with {batch.completed:,} of {batch.total:,} requests answered, and "
        f"its output file has not appeared within {duration_text(FILES_PATIENCE)}. Nothing is sent again. "
        "Look the batch up in the vendor's dashboard, then retry the task, which asks for the files once more."
    )


def log_landing(log: logging.Logger, key: str, landing: Landing) -> None:
    """
    Log what a landing wrote, and what it could not use.

    :param log: Logger of the task.
    :param key: Key of the shard.
    :param landing: What the landing wrote.
    """
    by_status = ", ".join(f"{rows:,} {status}" for status, rows in sorted(landing.statuses.items())) or "none final"
    log.info(
        "Shard %s landed: %s rows (%s); %s rows are sent again.",
        key, f"{landing.rows:,}", by_status, f"{landing.retry_rows:,}",
    )  # fmt: skip
    if landing.unreadable or landing.duplicates or landing.foreign:
        log.warning(
            "Shard %s: %d result lines cannot be read, %d are duplicates, %d belong to other requests.",
            key, landing.unreadable, landing.duplicates, landing.foreign,
        )  # fmt: skip
    if landing.unreadable_file is not None:
        log.warning("The lines that cannot be read are kept unchanged in %s.", landing.unreadable_file)
    if landing.unfetched:
        log.warning(
            "Shard %s: %d videos could not be fetched; clear the task to land again while the API keeps them.",
            key, landing.unfetched,
        )  # fmt: skip
