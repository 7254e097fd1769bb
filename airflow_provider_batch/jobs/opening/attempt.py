"""
Opens a job: finds what is stored of it, and decides how an attempt continues.

| found | same input | changed input |
|---|---|---|
| nothing | prepare shards, begin generation 1 | — |
| an unfinished job | continue it | `on_changed_input` |
| a finished job | land again if the table is gone; `rerun` pays again on purpose | a new generation |

A resumed task does not read its source again: `resume_job` uses the ledger alone.
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

import msgspec

from airflow_provider_batch import exceptions
from airflow_provider_batch.jobs.identity import Fingerprint
from airflow_provider_batch.jobs.job_request import JobRequest, Tools
from airflow_provider_batch.jobs.landing.finishing import billing_state, decode_columns, encode_columns
from airflow_provider_batch.jobs.landing.next_round import plan_rerun
from airflow_provider_batch.jobs.ledger.events import Relanding, Reopened, RerunPlanned
from airflow_provider_batch.jobs.ledger.ledger import Lease, Ledger
from airflow_provider_batch.jobs.ledger.shard_record import ShardRecord
from airflow_provider_batch.jobs.ledger.store import LedgerStore, job_folder
from airflow_provider_batch.jobs.opening import mapped_instances, preparing, relanding
from airflow_provider_batch.jobs.opening.mapped_instances import claim, is_own, own_folder
from airflow_provider_batch.jobs.opening.overlap import check_overlap
from airflow_provider_batch.jobs.runner import Job
from airflow_provider_batch.jobs.shard_files import publish_shard
from airflow_provider_batch.jobs.submission.model_ends import check_models
from airflow_provider_batch.jobs.table_claims import check_claim, claim_table
from airflow_provider_batch.jobs.table_spec import recorded_schema
from airflow_provider_batch.requests.shards import Shard
from airflow_provider_batch.sources.open_source import open_source
from airflow_provider_batch.sources.source import Source
from airflow_provider_batch.table.embedding_size import check_requested
from airflow_provider_batch.table.manifest import check_destination


@dataclass(frozen=True)
class _Opening:
    """What every way to continue a job needs: its arguments and ledger's storage, and the input as it is now."""

    request: JobRequest
    tools: Tools
    store: LedgerStore
    source: Source
    current: Fingerprint


def open_job(request: JobRequest, tools: Tools) -> Job:
    """
    Find the job of this task instance or begin it, and take its lease.

    :param request: The job's arguments.
    :param tools: Its client, clock and functions.
    :raises InputError: The input is wrong; nothing was sent.
    :raises ChangedInputError: Unfinished batches belong to another input.
    :raises JobTakenError: Another attempt has taken over the job.
    :raises StorageError: The ledger cannot be read or written.
    """
    request = preparing.within_limits(request, tools)
    with _naming_running_batches(request):
        preparing.check_arguments(request)
        preparing.check_service(request, tools)
        opened = open_source(request.input.source, resolve=tools.resolve, form=request.input.form)
    with opened as source:
        return _open(request, tools, source)


def _open(request: JobRequest, tools: Tools, source: Source) -> Job:
    with _naming_running_batches(request):
        current = preparing.current_fingerprint(request, tools, source)
        request, store, ledger, changes = _find(request, tools, source, current)
    job = _opened(_Opening(request, tools, store, source, current), ledger, changes)
    mapped_instances.record_job(request, job.ledger)
    return job


def _opened(opening: _Opening, ledger: Ledger | None, changes: list[str]) -> Job:
    request = opening.request
    if ledger is None:
        with opening.store.checking_lease(None):
            job = _begin(opening, after=None)
        return _claimed(job)
    if changes and not (ledger.finished_at is None and request.recovery.on_changed_input == "reuse"):
        return _with_changed_input(opening, ledger, changes)
    if ledger.finished_at is None and not ledger.lands_again:
        return _continue(opening, ledger)
    if _asks_for_rerun(request, ledger, "all") or _restarts_after_timeout(request, ledger):
        return _next_generation(opening, ledger)
    return _after_the_end(opening, ledger)


@contextmanager
def _naming_running_batches(request: JobRequest) -> Iterator[None]:
    """Add running batches to an input error: the input may have been right before, when the job sent them."""
    try:
        yield
    except exceptions.InputError as error:
        # An unreadable ledger must not hide the input error.
        with suppress(exceptions.StorageError):
            store = LedgerStore(own_folder(request.state, request.identity))
            ledger = store.load()
            if ledger is not None and ledger.finished_at is None and ledger.batch_count:
                error.consequence = billing_state(ledger, store.location.uri)
        raise


def resume_job(request: JobRequest, tools: Tools, key: str | None = None) -> Job:
    """
    Continue the job of a deferred task; its ledger must exist.

    :param request: The job's arguments.
    :param tools: Its client, clock and functions.
    :param key: `Job.key` of the job that the task waited for; None for the task instance's own.
    :raises StorageError: The ledger is gone or cannot be read.
    :raises JobTakenError: The job belongs to another mapped instance, or another attempt has taken it over.
    """
    store = LedgerStore(own_folder(request.state, request.identity) if key is None else request.state / key)
    ledger = store.load()
    if ledger is None:
        raise exceptions.StorageError(
            f"{store.location}: the ledger is gone. Its batches may still run and are billed; the task's earlier log "
            "names them. Restore the ledger, and retry the task."
        )
    if not is_own(request, ledger):
        raise exceptions.JobTakenError(
            f"{store.location}: this job is map index {ledger.claimed_by.map_index}'s since the task was cleared. "
            "Nothing was sent. Retry the task: the next attempt of this instance finds its own job."
        )
    # Edits of the DAG take effect with the next attempt.
    limits = replace(request.limits, lands=ledger.destination is not None)
    begun = replace(request, table=replace(request.table, destination=ledger.destination), limits=limits)
    return Job(preparing.within_limits(begun, tools), tools, store, claim(request, tools, store, ledger))


def _find(
    request: JobRequest, tools: Tools, source: Source, current: Fingerprint
) -> tuple[JobRequest, LedgerStore, Ledger | None, list[str]]:
    """
    Return the request, the job's store, its ledger if there is one, and what changed since it was begun.

    The request can change: a new job of a mapped instance may get another identity.
    """
    store = LedgerStore(own_folder(request.state, request.identity))
    ledger = store.load()
    changes = ledger.fingerprint.changes(current) if ledger is not None else []
    is_mapped = request.identity.map_index >= 0
    if is_mapped and (ledger is None or changes or not is_own(request, ledger)):
        if ledger is not None:
            ledger = mapped_instances.release_job(request, tools, store, ledger)
        moved = mapped_instances.claim_moved_job(request, tools, current)
        if moved is not None:
            return request, *moved, []
        if ledger is not None and not is_own(request, ledger):
            another = mapped_instances.unused_identity(request)
            store = LedgerStore(job_folder(request.state, another))
            request, ledger = replace(request, identity=another), store.load()
            changes = ledger.fingerprint.changes(current) if ledger is not None else []
    if ledger is not None and changes == ["source"]:
        content = preparing.content_digest(
            preparing.prepare_shards(request, tools, source, preparing.discard, ledger.cuts(1)).shards
        )
        changes = [] if content == ledger.fingerprint.content else changes
    return request, store, ledger, changes


def _begin(opening: _Opening, *, after: Ledger | None) -> Job:
    """Prepare the shards of a job's first generation, or of the one after the given ledger, and begin it."""
    request, tools, store, current = opening.request, opening.tools, opening.store, opening.current
    generation = 1 if after is None else after.generation + 1
    identity = request.identity if after is None else after.identity  # another index may have begun the job
    check_overlap(request, tools)
    if request.table.destination is not None:
        destination = tools.resolve(request.table.destination)
        check_destination(destination, identity.job, request.table.if_exists)
        check_claim(destination, request.table.if_exists, tools, store)
    folder = store.shards(generation)
    records: list[ShardRecord] = []

    def keep(shard: Shard) -> None:
        records.append(ShardRecord.of(shard))
        publish_shard(shard, folder)

    prepared = preparing.prepare_shards(request, tools, opening.source, keep)
    records.sort(key=lambda record: record.key)
    if not request.limits.wait_for_completion and len(records) > request.limits.max_active_batches:
        raise exceptions.ConfigurationError(
            f"wait_for_completion=False has to submit every shard at once, the input makes {len(records)} shards, and "
            f"max_active_batches is {request.limits.max_active_batches}. Nothing was sent. Raise max_active_batches, "
            "or wait for completion."
        )
    check_models((record.model for record in records), request.limits.timeout, tools)
    sizes = preparing.vector_sizes(request, prepared)
    if request.table.destination is not None:
        check_requested(tools.resolve(request.table.destination), identity.job, request.table.if_exists, sizes)
    now = tools.clock()
    ledger = Ledger(
        identity=identity,
        fingerprint=msgspec.structs.replace(current, content=preparing.content_digest(prepared.shards)),
        endpoint=request.spec.endpoint.value,
        rows=prepared.row_count,
        created_at=now,
        lease=Lease(owner=uuid.uuid4().hex, epoch=1, at=now),
        shards=tuple(records),
        columns=encode_columns(prepared.carried),
        generation=generation,
        destination=request.table.destination,
        partition_by=request.table.partition_by,
        embedding_size=sizes.requested,
        embedding_size_from="dimensions" if sizes.requested else "",
        usual_embedding_size=sizes.usual,
        response_schema=recorded_schema(request.spec, tools.log),
        era=request.era,
        claim=mapped_instances.claim_of(request),
        token=(after.token if after is not None else "") or secrets.token_hex(16),
    )
    mapped_instances.mark_input(request, current, identity)
    if not store.folder.keeps_writers_apart():
        tools.log.warning(
            "%s: this store has no conditional writes. Two attempts of this task that run at the same moment may both "
            "continue until either of them reads the ledger again; a bucket of S3, Google Cloud Storage or Azure as "
            "state_path keeps them apart.", store.folder,
        )  # fmt: skip
    ledger = store.begin(ledger, after)
    tools.log.info(
        "%s rows in %d shards, about %s input tokens; the ledger is %s.",
        f"{prepared.row_count:,}", len(records), f"{prepared.token_estimate:,}", store.location,
    )  # fmt: skip
    return Job(request, tools, store, ledger)


def _continue(opening: _Opening, ledger: Ledger) -> Job:
    request, tools, store = opening.request, opening.tools, opening.store
    is_clear = request.era != ledger.era
    # Only shards that were unclear before this clear: a person has seen the error.
    is_on_purpose = is_clear and request.recovery.rerun != "never"
    unclear = (shard.key for shard in ledger.each_in("ended", "intended") if shard.unclear)
    given_up = tuple(unclear) if is_on_purpose else ()
    ledger = claim(request, tools, store, ledger, era=request.era, given_up=given_up)
    claim_table(request, tools, store, ledger)
    layout = (request.table.destination, request.table.partition_by)
    is_moved = request.table.destination is not None and layout != (ledger.destination, ledger.partition_by)
    destination = None if request.table.destination is None else tools.resolve(request.table.destination)
    lands_again = is_moved or (destination is not None and relanding.lacks_parts(store, ledger, destination))
    if lands_again:
        preparing.check_partitions(request, decode_columns(ledger.columns))
        relanding.check_can_land_again(store, ledger)
    if lands_again or relanding.lacks_shards(store, ledger):
        relanding.restore_shards(request, tools, store, ledger, opening.source)
    if ledger.closing is not None and not ledger.closing.final:
        ledger = store.record(ledger, Reopened())
    elif is_clear and _timed_out(ledger) and ledger.cancel_asked_at is None:
        ledger = store.record(ledger, Reopened(tools.clock()))
    if destination is not None and request.table.destination is not None and lands_again:
        check_destination(destination, ledger.job, request.table.if_exists)
        why = "destination or partitions have changed" if is_moved else "parts of the table are gone"
        tools.log.info("Landed shards are landed again at %s, for free: %s.", request.table.destination, why)
        ledger = store.record(ledger, Relanding(request.table.destination, request.table.partition_by))
    tools.log.info("Continuing job %s: %s", ledger.job, billing_state(ledger, store.location.uri))
    return Job(request, tools, store, ledger)


def _with_changed_input(opening: _Opening, ledger: Ledger, changes: list[str]) -> Job:
    request, tools, store = opening.request, opening.tools, opening.store
    has_batches = bool(ledger.batch_count or ledger.shards_in("intended"))
    if ledger.finished_at is None and has_batches and request.recovery.on_changed_input == "fail":
        error = exceptions.ChangedInputError(
            f"{', '.join(changes)} changed since this task's job was begun, and its batches are not finished. Set "
            "on_changed_input='resubmit' to cancel them and send the new input, or 'reuse' to keep the old one."
        )
        error.consequence = billing_state(ledger, store.location.uri)
        raise error
    if ledger.finished_at is None:
        job = Job(request, tools, store, claim(request, tools, store, ledger))
        job.settle_and_cancel()
        ledger = job.ledger
    tools.log.info("A new generation begins: %s changed.", ", ".join(changes))
    return _next_generation(opening, ledger)


def _next_generation(opening: _Opening, ledger: Ledger) -> Job:
    with opening.store.checking_lease(ledger):
        opening.store.archive(ledger)
        job = _begin(opening, after=ledger)
    return _claimed(job)


def _claimed(job: Job) -> Job:
    """Claim the destination of a job that has just begun: its ledger shows whose the claim is."""
    claim_table(job.request, job.tools, job.store, job.ledger)
    return job


def _after_the_end(opening: _Opening, ledger: Ledger) -> Job:
    request, tools, store, source = opening.request, opening.tools, opening.store, opening.source
    """
    Open a finished job with the same input: nothing is due, or its table is gone, or rows are to be sent again.

    Where an attempt was stopped while it landed the table again, that starts over: a rerun may have been due after it.
    """
    reruns = (_timed_out(ledger) and request.era != ledger.era) or _asks_for_rerun(request, ledger, "failed_rows")
    ledger = claim(request, tools, store, ledger)
    if request.table.destination is None:
        return Job(request, tools, store, ledger)
    destination = tools.resolve(request.table.destination)
    with store.checking_lease(ledger):
        if ledger.lands_again or relanding.needs_relanding(store, ledger, request, destination):
            ledger = relanding.land_again(request, tools, store, ledger, source, at_once=reruns)
        if reruns:
            relanding.restore_shards(request, tools, store, ledger, source)
            shards = plan_rerun(ledger, request.spec, store.shards(ledger.generation), destination)
            if shards:
                ledger = store.record(ledger, RerunPlanned(shards, request.era))
                tools.log.info("%s rows without success are sent again.", f"{sum(shard.rows for shard in shards):,}")
    return Job(request, tools, store, ledger)


def _asks_for_rerun(request: JobRequest, ledger: Ledger, which: str) -> bool:
    """Return whether this clear asks for a rerun; only a clear changes the era, so a retry does not rerun again."""
    return request.recovery.rerun == which and request.era != ledger.era


def _timed_out(ledger: Ledger) -> bool:
    return ledger.closing is not None and ledger.closing.reason == "timeout"


def _restarts_after_timeout(request: JobRequest, ledger: Ledger) -> bool:
    """Return whether a clear after the time-out sends all rows: without a table, no row is known to have succeeded."""
    return request.table.destination is None and _timed_out(ledger) and request.era != ledger.era
