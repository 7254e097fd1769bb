"""
Opening a job: what an attempt finds, and what it makes of it.

| found | same input | changed input |
|---|---|---|
| nothing | prepare, begin generation 1 | — |
| an unfinished job | go on with it | `on_changed_input` |
| a finished job | land again if the table is gone; `rerun` pays again on purpose | a new generation |

A woken task does not read its source again: `resume_job` goes by the ledger alone.
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

import msgspec

from airflow_provider_batch.exceptions import (
    ChangedInputError,
    ConfigurationError,
    InputError,
    JobTakenError,
    StorageError,
)
from airflow_provider_batch.jobs.identity import Fingerprint
from airflow_provider_batch.jobs.job_request import JobRequest, Tools
from airflow_provider_batch.jobs.landing.finishing import decode_columns, encode_columns, where_the_money_is
from airflow_provider_batch.jobs.landing.next_round import plan_rerun
from airflow_provider_batch.jobs.ledger.events import Leased, Relanding, Reopened, RerunPlanned
from airflow_provider_batch.jobs.ledger.ledger import Lease, Ledger
from airflow_provider_batch.jobs.ledger.shard_record import ShardRecord
from airflow_provider_batch.jobs.ledger.store import LedgerStore, job_folder
from airflow_provider_batch.jobs.opening import mapped_instances
from airflow_provider_batch.jobs.opening.landing_again import (
    check_can_land_again,
    lacks_parts,
    lacks_shards,
    land_again,
    lands_anew,
    restore_shards,
)
from airflow_provider_batch.jobs.opening.mapped_instances import is_own, own_folder
from airflow_provider_batch.jobs.opening.overlap import check_overlap
from airflow_provider_batch.jobs.opening.preparing import (
    asked_fingerprint,
    check_arguments,
    check_partitions,
    content_digest,
    discard,
    prepare_shards,
    vector_size,
    within_limits,
)
from airflow_provider_batch.jobs.runner import Job
from airflow_provider_batch.jobs.shard_files import publish_shard
from airflow_provider_batch.jobs.submission.model_ends import check_models
from airflow_provider_batch.jobs.table_claims import check_claim, claim_table
from airflow_provider_batch.jobs.table_spec import recorded_schema
from airflow_provider_batch.requests.shards import Shard
from airflow_provider_batch.sources.open_source import open_source
from airflow_provider_batch.sources.source import Source
from airflow_provider_batch.table.manifest import check_destination


def open_job(request: JobRequest, tools: Tools) -> Job:
    """
    Find the job of this task instance or begin it, and take its lease.

    :raises InputError: The input is wrong; nothing was sent.
    :raises ChangedInputError: Unfinished batches belong to another input.
    """
    request = within_limits(request, tools)
    with _saying_what_runs(request):
        check_arguments(request)
        opened = open_source(request.input.source, resolve=tools.resolve, form=request.input.form)
    with opened as source:
        return _open(request, tools, source)


def _open(request: JobRequest, tools: Tools, source: Source) -> Job:
    with _saying_what_runs(request):
        asked = asked_fingerprint(request, tools, source)
        request, store, ledger, changes = _find(request, tools, source, asked)
    job = _opened(request, tools, store, ledger, source, asked, changes)
    mapped_instances.keep(request, job.ledger)
    return job


def _opened(
    request: JobRequest,
    tools: Tools,
    store: LedgerStore,
    ledger: Ledger | None,
    source: Source,
    asked: Fingerprint,
    changes: list[str],
) -> Job:
    if ledger is None:
        with store.holding(None):
            job = _begin(request, tools, store, source, asked, after=None)
        return _claimed(job)
    if changes and not (ledger.finished_at is None and request.recovery.on_changed_input == "reuse"):
        return _with_changed_input(request, tools, store, ledger, source, asked, changes)
    if ledger.finished_at is None and not ledger.lands_again:
        return _go_on(request, tools, store, ledger, source)
    if _wants_again(request, ledger, "all") or _begins_anew_after_time(request, ledger):
        return _next_generation(request, tools, store, ledger, source, asked)
    return _after_the_end(request, tools, store, ledger, source)


@contextmanager
def _saying_what_runs(request: JobRequest) -> Iterator[None]:
    """An input that was right before may be wrong or gone now, while batches of it run: the error has to name them."""
    try:
        yield
    except InputError as error:
        # A ledger that cannot be read either must not hide what is wrong with the input.
        with suppress(StorageError):
            store = LedgerStore(own_folder(request.state, request.identity))
            ledger = store.load()
            if ledger is not None and ledger.finished_at is None and ledger.batch_count:
                error.consequence = where_the_money_is(ledger, store.location.uri)
        raise


def resume_job(request: JobRequest, tools: Tools, key: str | None = None) -> Job:
    """
    Take up the job of a task that was woken; its ledger must be there.

    :param key: `Job.key` of the job that the task waited for; without one, the task instance's own.
    """
    store = LedgerStore(own_folder(request.state, request.identity) if key is None else request.state / key)
    ledger = store.load()
    if ledger is None:
        raise StorageError(
            f"{store.location}: there is no ledger any more; its batches go on, see the task's earlier log."
        )
    if not is_own(request, ledger):
        raise JobTakenError(
            f"{store.location}: this job is map index {ledger.claimed_by.map_index}'s since the task was cleared; "
            "another attempt of this instance finds its own."
        )
    # A DAG that was edited meanwhile counts from the next attempt on.
    limits = replace(request.limits, lands=ledger.destination is not None)
    begun = replace(request, table=replace(request.table, destination=ledger.destination), limits=limits)
    return Job(within_limits(begun, tools), tools, store, _leased(request, store, ledger, tools))


def _find(
    request: JobRequest, tools: Tools, source: Source, asked: Fingerprint
) -> tuple[JobRequest, LedgerStore, Ledger | None, list[str]]:
    """
    Return the job's store, its ledger if there is one, and what changed since it was begun.

    The request is returned too: a job that a mapped instance has to begin anew may get another identity.
    """
    store = LedgerStore(own_folder(request.state, request.identity))
    ledger = store.load()
    changes = ledger.fingerprint.changes(asked) if ledger is not None else []
    is_mapped = request.identity.map_index >= 0
    if is_mapped and (ledger is None or changes or not is_own(request, ledger)):
        if ledger is not None:
            ledger = mapped_instances.leave(request, tools, store, ledger)
        moved = mapped_instances.find_moved(request, tools, asked)
        if moved is not None:
            return request, *moved, []
        if ledger is not None and not is_own(request, ledger):
            another = mapped_instances.unused_identity(request)
            store = LedgerStore(job_folder(request.state, another))
            request, ledger = replace(request, identity=another), store.load()
            changes = ledger.fingerprint.changes(asked) if ledger is not None else []
    if ledger is not None and changes == ["source"]:
        content = content_digest(prepare_shards(request, tools, source, discard, ledger.cuts(1)).shards)
        changes = [] if content == ledger.fingerprint.content else changes
    return request, store, ledger, changes


def _begin(
    request: JobRequest, tools: Tools, store: LedgerStore, source: Source, asked: Fingerprint, *, after: Ledger | None
) -> Job:
    """Prepare the shards of a job's first generation, or of the one after the given ledger, and begin it."""
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

    prepared = prepare_shards(request, tools, source, keep)
    records.sort(key=lambda record: record.key)
    if not request.limits.wait_for_completion and len(records) > request.limits.max_active_batches:
        raise ConfigurationError(
            f"wait_for_completion=False needs every shard in one wave: the input makes {len(records)} shards and "
            f"max_active_batches is {request.limits.max_active_batches}."
        )
    check_models((record.model for record in records), request.limits.timeout, tools)
    now = tools.clock()
    ledger = Ledger(
        identity=identity,
        fingerprint=msgspec.structs.replace(asked, content=content_digest(prepared.shards)),
        endpoint=request.spec.endpoint.value,
        rows=prepared.row_count,
        created_at=now,
        lease=Lease(owner=uuid.uuid4().hex, epoch=1, at=now),
        shards=tuple(records),
        columns=encode_columns(prepared.carried),
        generation=generation,
        destination=request.table.destination,
        partition_by=request.table.partition_by,
        embedding_size=vector_size(request, prepared),
        response_schema=recorded_schema(request.spec, tools.log),
        era=request.era,
        claim=mapped_instances.claim_of(request),
        token=(after.token if after is not None else "") or secrets.token_hex(16),
    )
    mapped_instances.mark_input(request, asked, identity)
    ledger = store.begin(ledger, after)
    tools.log.info(
        "%s rows in %d shards, about %s input tokens; the ledger is %s.",
        f"{prepared.row_count:,}", len(records), f"{prepared.token_estimate:,}", store.location,
    )  # fmt: skip
    return Job(request, tools, store, ledger)


def _go_on(request: JobRequest, tools: Tools, store: LedgerStore, ledger: Ledger, source: Source) -> Job:
    is_clear = request.era != ledger.era
    # Only what the clear has found so: a person has seen that it is not understood, or not to be told.
    is_on_purpose = is_clear and request.recovery.rerun != "never"
    unclear = (shard.key for shard in ledger.each_in("ended", "intended") if shard.unclear)
    given_up = tuple(unclear) if is_on_purpose else ()
    ledger = _leased(request, store, ledger, tools, era=request.era, given_up=given_up)
    claim_table(request, tools, store, ledger)
    asked_for = (request.table.destination, request.table.partition_by)
    is_moved = request.table.destination is not None and asked_for != (ledger.destination, ledger.partition_by)
    destination = None if request.table.destination is None else tools.resolve(request.table.destination)
    lands_again = is_moved or (destination is not None and lacks_parts(store, ledger, destination))
    if lands_again:
        check_partitions(request, decode_columns(ledger.columns))
        check_can_land_again(store, ledger)
    if lands_again or lacks_shards(store, ledger):
        restore_shards(request, tools, store, ledger, source)
    if ledger.closing is not None and not ledger.closing.final:
        ledger = store.record(ledger, Reopened())
    elif is_clear and _timed_out(ledger) and ledger.cancel_asked_at is None:
        ledger = store.record(ledger, Reopened(tools.clock()))
    if destination is not None and request.table.destination is not None and lands_again:
        check_destination(destination, ledger.job, request.table.if_exists)
        why = "the table goes there now" if is_moved else "parts of it are gone from there"
        tools.log.info("What has landed is landed again at %s: %s.", request.table.destination, why)
        ledger = store.record(ledger, Relanding(request.table.destination, request.table.partition_by))
    tools.log.info("Going on with job %s: %s", ledger.job, where_the_money_is(ledger, store.location.uri))
    return Job(request, tools, store, ledger)


def _with_changed_input(
    request: JobRequest,
    tools: Tools,
    store: LedgerStore,
    ledger: Ledger,
    source: Source,
    asked: Fingerprint,
    changes: list[str],
) -> Job:
    is_at_work = bool(ledger.batch_count or ledger.shards_in("intended"))
    if ledger.finished_at is None and is_at_work and request.recovery.on_changed_input == "fail":
        error = ChangedInputError(
            f"{', '.join(changes)} changed since this task's job was begun, and its batches are not finished. Set "
            "on_changed_input='resubmit' to cancel them and begin anew, or 'reuse' to go on with the old input."
        )
        error.consequence = where_the_money_is(ledger, store.location.uri)
        raise error
    if ledger.finished_at is None:
        job = Job(request, tools, store, _leased(request, store, ledger, tools))
        job.settle_and_cancel()
        ledger = job.ledger
    tools.log.info("A new generation begins: %s changed.", ", ".join(changes))
    return _next_generation(request, tools, store, ledger, source, asked)


def _next_generation(
    request: JobRequest, tools: Tools, store: LedgerStore, ledger: Ledger, source: Source, asked: Fingerprint
) -> Job:
    with store.holding(ledger):
        store.archive(ledger)
        job = _begin(request, tools, store, source, asked, after=ledger)
    return _claimed(job)


def _claimed(job: Job) -> Job:
    """Claim the destination of a job that has just begun: its ledger proves whose the claim is."""
    claim_table(job.request, job.tools, job.store, job.ledger)
    return job


def _after_the_end(request: JobRequest, tools: Tools, store: LedgerStore, ledger: Ledger, source: Source) -> Job:
    """
    A finished job with the same input: nothing to do, or its table is gone, or some rows are wanted again.

    Where an attempt was stopped while it landed the table again, that begins anew: a rerun may have been due after it.
    """
    again = (_timed_out(ledger) and request.era != ledger.era) or _wants_again(request, ledger, "failed_rows")
    ledger = _leased(request, store, ledger, tools)
    if request.table.destination is None:
        return Job(request, tools, store, ledger)
    destination = tools.resolve(request.table.destination)
    with store.holding(ledger):
        if ledger.lands_again or lands_anew(store, ledger, request, destination):
            ledger = land_again(request, tools, store, ledger, source, wholly=again)
        if again:
            restore_shards(request, tools, store, ledger, source)
            shards = plan_rerun(ledger, request.spec, store.shards(ledger.generation), destination)
            if shards:
                ledger = store.record(ledger, RerunPlanned(shards, request.era))
                tools.log.info("%s rows without success go again.", f"{sum(shard.rows for shard in shards):,}")
    return Job(request, tools, store, ledger)


def _wants_again(request: JobRequest, ledger: Ledger, which: str) -> bool:
    """A retry of the attempt that reran must not rerun again: only a clear moves the era."""
    return request.recovery.rerun == which and request.era != ledger.era


def _timed_out(ledger: Ledger) -> bool:
    return ledger.closing is not None and ledger.closing.reason == "timeout"


def _begins_anew_after_time(request: JobRequest, ledger: Ledger) -> bool:
    """Without a table there are no rows to tell apart: a clear after the time was over sends all of them."""
    return request.table.destination is None and _timed_out(ledger) and request.era != ledger.era


def _leased(
    request: JobRequest,
    store: LedgerStore,
    ledger: Ledger,
    tools: Tools,
    era: int | None = None,
    given_up: tuple[str, ...] = (),
) -> Ledger:
    claim = mapped_instances.claim_of(request)
    return store.record(ledger, Leased(uuid.uuid4().hex, tools.clock(), era=era, claim=claim, given_up=given_up))
