"""Finishes a job: publishes the manifest, writes the summary, removes files, and decides whether the job failed."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import pyarrow as pa

from airflow_provider_batch import exceptions
from airflow_provider_batch.jobs.actions import Finish
from airflow_provider_batch.jobs.job_request import JobRequest, Tools
from airflow_provider_batch.jobs.landing.shard import attempt_of_ledger
from airflow_provider_batch.jobs.ledger.events import Finished
from airflow_provider_batch.jobs.ledger.files import LEDGER
from airflow_provider_batch.jobs.ledger.ledger import Ledger
from airflow_provider_batch.jobs.ledger.store import LedgerStore
from airflow_provider_batch.jobs.shard_files import LINES, shard_key_of
from airflow_provider_batch.jobs.table_claims import release_table
from airflow_provider_batch.jobs.table_spec import table_spec
from airflow_provider_batch.requests.row_checksum import total
from airflow_provider_batch.requests.shards import ShardKey
from airflow_provider_batch.storage import Location
from airflow_provider_batch.storage.local_disk import scratch
from airflow_provider_batch.table.file_names import landing_name, manifest_name, part_name
from airflow_provider_batch.table.manifest import Manifest, Part, read_manifest, summary
from airflow_provider_batch.table.part_footer import Origin, footer
from airflow_provider_batch.table.part_writer import open_part
from airflow_provider_batch.table.publication import Publisher, publish, withdraw
from airflow_provider_batch.table.schema import result_schema

#: Batch ids in a summary; above, only the manifest lists them.
MAX_LISTED_BATCHES = 200


@dataclass(frozen=True)
class Outcome:
    """
    The outcome of a job.

    :param reason: Why the job, or this attempt, is over; see `Finish`.
    :param ledger: The job's ledger.
    :param summary: Small, JSON-safe values: counts, usage, cost, and the URIs of the table and the ledger.
    :param failure: The error to raise, after landing; None for a success.
    :param skipped: Whether the input was empty and `on_empty` is `skip`.
    """

    reason: str
    ledger: Ledger
    summary: dict[str, Any]
    failure: exceptions.JobError | None = None
    skipped: bool = False

    def raise_if_failed(self) -> None:
        """
        Raise the failure, if there is one.

        :raises JobError: The job counts as failed.
        """
        if self.failure is not None:
            raise self.failure


def finish(action: Finish, request: JobRequest, tools: Tools, store: LedgerStore, ledger: Ledger) -> Outcome:
    """
    Publish the manifest, record the end, remove files, and return the outcome.

    :param action: Why the job is over.
    :param request: The job.
    :param tools: Tools of the job.
    :param store: Store of its ledger.
    :param ledger: Its ledger.
    :raises JobError: The parts do not hold each row of the input once.
    """
    skipped = ledger.rows == 0 and request.table.on_empty == "skip"
    manifest = None
    if _is_over(action, ledger) and not skipped:
        if request.table.destination is not None:
            destination = tools.resolve(request.table.destination)
            manifest = _publish(destination, request, store, ledger, tools.clock())
        if ledger.finished_at is None:
            store.check_lease(ledger)
            # Before the end is recorded, so that an attempt that is stopped here repeats it.
            _tidy(request, tools, store, ledger)
            ledger = store.record(ledger, Finished(tools.clock()))
    if (skipped or ledger.finished_at is not None) and request.table.destination is not None:
        release_table(tools.resolve(request.table.destination), store)
    return Outcome(
        reason=action.reason,
        ledger=ledger,
        summary=_summary(action, request, store, ledger, manifest),
        failure=_failure(action, request, ledger),
        skipped=skipped,
    )


def billing_state(ledger: Ledger, location: str) -> str:
    """
    Return the sentences that every error of a job ends with: what is billed, and where the ledger is.

    :param ledger: The job's ledger.
    :param location: URI of the ledger.
    """
    if ledger.finished_at is not None:
        return f"The ledger is {location}."
    active = ledger.active_ids
    unknown = len(ledger.shards_in("intended"))
    if active:
        shown = ", ".join(active[:5]) + (f" and {len(active) - 5} more" if len(active) > 5 else "")
        count = "1 batch is" if len(active) == 1 else f"{len(active)} batches are"
        state = f"{count} still running and will be billed ({shown})"
    elif ledger.batch_count:
        state = "No batch is running; the batches that have ended are billed, and their results are kept"
    else:
        state = "Nothing has been submitted"
    doubt = f"; creates whose response was lost, and which may have made a batch: {unknown}" if unknown else ""
    return f"{state}{doubt}. A retry or a clear of the task continues from there; the ledger is {location}."


def _is_over(action: Finish, ledger: Ledger) -> bool:
    closing = ledger.closing
    if action.reason == "submitted" or ledger.active_ids or ledger.shards_in("intended"):
        return False
    return closing is None or closing.final


def _publish(destination: Location, request: JobRequest, store: LedgerStore, ledger: Ledger, now: float) -> Manifest:
    landings = [(shard, shard.landing) for shard in ledger.shards if shard.landing is not None]
    parts = [
        Part(name=name, rows=rows, shard=ShardKey.parse(shard.key).number, round=shard.round, batch_id=shard.batch_id)
        for shard, landing in landings
        for name, rows in landing.part_files.items()
    ]
    if ledger.rows == 0:
        parts.append(_empty_part(destination, request, ledger))
    _check_count(ledger, parts, store.location.uri)
    manifest = Manifest(
        job=ledger.job,
        generation=ledger.generation,
        endpoint=ledger.endpoint,
        **msgspec.to_builtins(ledger.totals()),
        parts=parts,
        batch_ids=ledger.batch_ids,
        created_at=ledger.finished_at or now,
        ledger=store.location.uri,
        partition_by=list(ledger.partition_by),
        files={landing.files_folder: landing.files for _, landing in landings if landing.files_folder},
        unreadable={landing.unreadable_file: landing.unreadable for _, landing in landings if landing.unreadable_file},
        embedding_size=ledger.embedding_size,
    )
    publisher = Publisher(attempt_of_ledger(ledger), lambda: store.check_lease(ledger), lambda: _landed_parts(store))
    try:
        return publish(destination, manifest, request.table.if_exists, publisher)
    except exceptions.JobTakenError:
        if ledger.rows == 0:  # no ledger names the part of an empty table: the attempt that wrote it removes it
            withdraw(destination, ledger.job, [part.name for part in parts], None)
        raise


def _check_count(ledger: Ledger, parts: Sequence[Part], location: str) -> None:
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
    raise exceptions.JobError(
        f"The input has {ledger.rows:,} rows, and the parts that have landed hold {what}. No manifest is written: the "
        f"table published before is unchanged, and shards, results and parts are kept; the ledger is {location}. A "
        "retry sends nothing again. Remove the parts of this job and clear the task to land it again for free; if that "
        "ends here too, it is a defect of this package: please report it."
    )


def _landed_parts(store: LedgerStore) -> set[str]:
    """Return the parts that the stored ledger has, whichever attempt wrote it."""
    ledger = store.load()
    landings = () if ledger is None else (shard.landing for shard in ledger.shards)
    return {name for landing in landings if landing is not None for name in landing.part_files}


def _empty_part(destination: Location, request: JobRequest, ledger: Ledger) -> Part:
    """Return the part of a table without rows, which has its columns: the published one, or a new one in staging."""
    published = read_manifest(destination / manifest_name(ledger.job))
    is_ours = published is not None and (published.generation, published.rows) == (ledger.generation, 0)
    if published is not None and is_ours and all((destination / part.name).exists() for part in published.parts):
        return published.parts[0]
    carried = decode_columns(ledger.columns)
    name = part_name(ledger.job, 1, 1, attempt_of_ledger(ledger))
    spec = table_spec(ledger, request.table.raw, request.spec.response_model)
    with scratch("an empty table", "its schema") as local:
        with open_part(local / "part.parquet", result_schema(spec, carried)) as writer:
            writer.add_key_value_metadata(footer(spec, Origin(ledger.job, ledger.generation), None, (), 1))
        (destination / landing_name(ledger.job, name)).put(local / "part.parquet")
    return Part(name=name, rows=0, shard=1, round=1, batch_id=None)


def _tidy(request: JobRequest, tools: Tools, store: LedgerStore, ledger: Ledger) -> None:
    """Remove the shards, and this job's files at the API where asked; what cannot be removed is logged."""
    if request.table.destination is None or ledger.unfetched:  # a clear needs all files, to fetch the missing videos
        return
    if not request.recovery.keep_shards:
        _remove_shards(store, ledger)
    if not request.recovery.delete_files:
        return
    for shard in ledger.shards:
        ending = shard.ending
        results = (ending.output_file_id, ending.error_file_id) if ending else ()
        for file_id in (shard.file_id, *results):
            if file_id is None:
                continue
            try:
                tools.client.delete_file(file_id)
            except exceptions.NotFoundError:
                continue
            except exceptions.ApiError as error:
                tools.log.warning("File %s could not be deleted: %s", file_id, error)


def _remove_shards(store: LedgerStore, ledger: Ledger) -> None:
    """
    Remove this generation's shards, all of those before it, and what killed or overtaken writers left of them.

    The lines of a shard are removed first, as they were written last: a shard with lines is complete.
    """
    own = {shard.key for shard in ledger.shards}
    for generation in range(1, ledger.generation + 1):
        folder = store.shards(generation)
        for name in sorted(folder.list(), key=lambda name: not name.endswith(LINES)):
            if shard_key_of(name) in own or (generation < ledger.generation and name != LEDGER):
                (folder / name).delete()


def _summary(
    action: Finish, request: JobRequest, store: LedgerStore, ledger: Ledger, manifest: Manifest | None
) -> dict[str, Any]:
    common: dict[str, Any] = {
        "job": ledger.job,
        "reason": action.reason,
        "ledger": store.location.uri,
        "input_rows": ledger.rows,
        "rounds": ledger.round if ledger.shards else 0,
        "batches": ledger.batch_count,
    }
    if ledger.batch_count <= MAX_LISTED_BATCHES:
        common["batch_ids"] = ledger.batch_ids
    if manifest is None or request.table.destination is None:
        return common
    where = {
        "destination": request.table.destination,
        "manifest": f"{request.table.destination.rstrip('/')}/{manifest_name(ledger.job)}",
    }
    return {**common, **where, **summary(manifest)}


def _failure(action: Finish, request: JobRequest, ledger: Ledger) -> exceptions.JobError | None:
    closing = ledger.closing
    if ledger.rows == 0:
        fails = request.table.on_empty == "fail"
        return exceptions.JobFailedError("The input has no rows, and on_empty='fail'.") if fails else None
    if action.reason == "submitted":
        return None
    totals = ledger.totals()
    landed = f"{totals.statuses.get('succeeded', 0):,} of {ledger.rows:,} rows succeeded"
    if closing is not None:
        kind = exceptions.JobTimeoutError if closing.reason == "timeout" else exceptions.JobFailedError
        kind = exceptions.PassingRefusalError if closing.retryable else kind
        return kind(f"{closing.message}; {landed}, and all results so far are landed.")
    return _too_many_failed(request, ledger, landed) if request.table.destination is not None else None


def _too_many_failed(request: JobRequest, ledger: Ledger, landed: str) -> exceptions.JobError | None:
    succeeded = ledger.totals().statuses.get("succeeded", 0)
    without = ledger.rows - succeeded
    limit = request.limits.max_failed
    allowed = ledger.rows if limit is None else (limit * ledger.rows if isinstance(limit, float) else limit)
    if succeeded and without <= allowed:
        return None
    why = "no row succeeded" if not succeeded else f"{without:,} rows without success are more than max_failed={limit}"
    unfetched = (
        f" {ledger.unfetched:,} videos are paid for and could not be fetched: clear the task without a rerun to fetch "
        "them for free."
        if ledger.unfetched
        else ""
    )
    return exceptions.JobFailedError(
        f"{why[0].upper()}{why[1:]}: {landed}. The table is landed at {request.table.destination}: its columns "
        f"status, error_code and error_message say why.{unfetched} A retry sends nothing again; clear the task with "
        "rerun='failed_rows' to send those rows again."
    )


def encode_columns(carried: pa.Schema) -> str:
    """
    Return a schema as the ledger keeps it: serialised, in base64.

    :param carried: Schema of the carried columns.
    """
    return base64.b64encode(carried.serialize().to_pybytes()).decode()


def decode_columns(columns: str) -> pa.Schema:
    """
    Return the schema that `encode_columns` wrote.

    :param columns: The text in the ledger.
    """
    return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(columns)))
