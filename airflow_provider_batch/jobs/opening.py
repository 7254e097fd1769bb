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

import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import msgspec
import pyarrow as pa

from airflow_provider_batch.api.endpoints import Endpoint
from airflow_provider_batch.exceptions import (
    ChangedInputError,
    ConfigurationError,
    InputError,
    JobError,
    StorageError,
)
from airflow_provider_batch.jobs.entries import Leased, Relanding, Reopened, RerunPlanned
from airflow_provider_batch.jobs.finishing import decode_columns, encode_columns, where_the_money_is
from airflow_provider_batch.jobs.identity import Fingerprint, digest, fingerprint
from airflow_provider_batch.jobs.ledger import Lease, Ledger, ShardRecord
from airflow_provider_batch.jobs.request import JobRequest, Tools
from airflow_provider_batch.jobs.responses import check_response_model
from airflow_provider_batch.jobs.rounds import plan_rerun, publish_shard
from airflow_provider_batch.jobs.runner import Job
from airflow_provider_batch.jobs.store import LedgerStore, job_folder, sibling_folders
from airflow_provider_batch.jobs.submission import MAX_USER_PAIRS, OWN_KEYS
from airflow_provider_batch.local_disk import scratch
from airflow_provider_batch.requests.prepare import Prepared, prepare
from airflow_provider_batch.requests.shards import Shard
from airflow_provider_batch.requests.sources import Source, open_source
from airflow_provider_batch.results.manifest import check_destination
from airflow_provider_batch.results.names import manifest_name, standing_files
from airflow_provider_batch.results.partitions import check_columns, check_values
from airflow_provider_batch.results.schema import TableSpec, embedding_size
from airflow_provider_batch.results.structured.shapes import ParsedColumn
from airflow_provider_batch.storage import Location


def open_job(request: JobRequest, tools: Tools) -> Job:
    """
    Find the job of this task instance or begin it, and take its lease.

    :raises InputError: The input is wrong; nothing was sent.
    :raises ChangedInputError: Unfinished batches belong to another input.
    """
    with _saying_what_runs(request):
        check_arguments(request)
        opened = open_source(request.source, resolve=tools.resolve)
    with opened as source:
        return _open(request, tools, source)


def _open(request: JobRequest, tools: Tools, source: Source) -> Job:
    with _saying_what_runs(request):
        asked = _fingerprint(request, tools, source)
        store, ledger, changes = _find(request, tools, source, asked)
    if ledger is None:
        with store.holding(None):
            return _begin(request, tools, store, source, asked, after=None)
    if changes and not (ledger.finished_at is None and request.on_changed_input == "reuse"):
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
        store = LedgerStore(job_folder(request.state, request.identity))
        # A ledger that cannot be read either must not hide what is wrong with the input.
        with suppress(StorageError):
            ledger = store.load()
            if ledger is not None and ledger.finished_at is None and ledger.batch_ids:
                error.consequence = where_the_money_is(ledger, store.location.uri)
        raise


def resume_job(request: JobRequest, tools: Tools, key: str | None = None) -> Job:
    """
    Take up the job of a task that was woken; its ledger must be there.

    :param key: `Job.key` of the job that the task waited for; without one, the task instance's own.
    """
    store = LedgerStore(job_folder(request.state, request.identity) if key is None else request.state / key)
    ledger = store.load()
    if ledger is None:
        raise StorageError(
            f"{store.location}: there is no ledger any more; its batches go on, see the task's earlier log."
        )
    # A DAG that was edited meanwhile counts from the next attempt on.
    limits = replace(request.limits, lands=ledger.destination is not None)
    begun = replace(request, destination=ledger.destination, limits=limits)
    return Job(begun, tools, store, _leased(store, ledger, tools))


def check_input(request: JobRequest, tools: Tools) -> dict[str, Any]:
    """Read and check the whole input as a job would, send and keep nothing, and say what would be sent."""
    check_arguments(request)
    with open_source(request.source, resolve=tools.resolve) as source:
        prepared = _prepare(request, tools, source, _discard)
    model = request.spec.response_model
    parsed = {} if model is None else {"parsed": str(ParsedColumn.of(model).type), "strict": model.not_strict is None}
    return {
        "rows": prepared.row_count,
        "shards": len(prepared.shards),
        "bytes": prepared.byte_count,
        "input_tokens_estimate": prepared.token_estimate,
        "models": list(prepared.models),
        "carried": list(prepared.carried.names),
        **parsed,
    }


def check_arguments(request: JobRequest) -> None:
    """Check what needs no input: metadata and limits; raise ConfigurationError."""
    taken = sorted(set(request.metadata) & set(OWN_KEYS))
    if taken:
        raise ConfigurationError(f"metadata: {', '.join(taken)} belong to the provider; use other keys.")
    if len(request.metadata) > MAX_USER_PAIRS:
        raise ConfigurationError(f"metadata: expected at most {MAX_USER_PAIRS} pairs, found {len(request.metadata)}.")
    for key, value in request.metadata.items():
        if not isinstance(value, str) or len(key) > 64 or len(value) > 512:
            raise ConfigurationError(
                f"metadata: {key!r} has to be text of at most 512 characters under a key of at most 64."
            )
    check_response_model(request.spec)
    if request.partition_by and request.destination is None:
        raise ConfigurationError("partition_by needs a destination: without one nothing is landed here.")
    limits = request.limits
    if limits.timeout <= 0 or request.poll_interval <= 0:
        raise ConfigurationError("timeout and poll_interval have to be above 0 seconds.")
    if min(limits.max_attempts, limits.max_rounds, limits.max_active_batches) < 1:
        raise ConfigurationError("max_attempts, max_rounds and max_active_batches have to be at least 1.")


def _fingerprint(request: JobRequest, tools: Tools, source: Source) -> Fingerprint:
    spec = request.spec
    options: dict[str, Any] = {
        "custom_id": spec.custom_id,
        "carry": spec.carry,
        "null_text": spec.null_text,
        "limit": spec.limit,
    }
    if spec.filters or spec.sample is not None or spec.data_urls:
        options["rows"] = [str(spec.selection.groups), spec.sample, list(spec.data_urls)]
    return fingerprint(
        endpoint=spec.endpoint.value,
        body=spec.body,
        response_model=None if spec.response_model is None else spec.response_model.text,
        options=options,
        account=tools.client.settings.account,
        listing=source.listing,
    )


def _find(
    request: JobRequest, tools: Tools, source: Source, asked: Fingerprint
) -> tuple[LedgerStore, Ledger | None, list[str]]:
    """Return the job's store, its ledger if there is one, and what changed since it was begun."""
    store = LedgerStore(job_folder(request.state, request.identity))
    ledger = store.load()
    changes = ledger.fingerprint.changes(asked) if ledger is not None else []
    if ledger is not None and changes == ["source"]:
        content = _content(_prepare(request, tools, source, _discard).shards)
        changes = [] if content == ledger.fingerprint.content else changes
    if request.identity.map_index >= 0 and (ledger is None or changes):
        for folder in sibling_folders(request.state, request.identity):
            moved = LedgerStore(folder)
            other = moved.load()
            if other is not None and other.destination == request.destination and not other.fingerprint.changes(asked):
                tools.log.info(
                    "This input's job is that of map index %s: the order has changed.", other.identity.map_index
                )
                return moved, other, []
    return store, ledger, changes


def _begin(
    request: JobRequest, tools: Tools, store: LedgerStore, source: Source, asked: Fingerprint, *, after: Ledger | None
) -> Job:
    """Prepare the shards of a job's first generation, or of the one after the given ledger, and begin it."""
    generation = 1 if after is None else after.generation + 1
    identity = request.identity if after is None else after.identity  # another index may have begun the job
    if request.destination is not None:
        check_destination(tools.resolve(request.destination), identity.job, request.if_exists)
    folder = store.shards(generation)
    records: list[ShardRecord] = []

    def keep(shard: Shard) -> None:
        records.append(ShardRecord.of(shard))
        publish_shard(shard, folder)

    prepared = _prepare(request, tools, source, keep)
    records.sort(key=lambda record: record.key)
    if not request.limits.waits and len(records) > request.limits.max_active_batches:
        raise ConfigurationError(
            f"wait_for_completion=False needs every shard in one wave: the input makes {len(records)} shards and "
            f"max_active_batches is {request.limits.max_active_batches}."
        )
    now = tools.clock()
    ledger = Ledger(
        identity=identity,
        fingerprint=_with_content(asked, _content(prepared.shards)),
        endpoint=request.spec.endpoint.value,
        rows=prepared.row_count,
        created_at=now,
        lease=Lease(owner=uuid.uuid4().hex, epoch=1, at=now),
        shards=tuple(records),
        columns=encode_columns(prepared.carried),
        generation=generation,
        destination=request.destination,
        partition_by=request.partition_by,
        embedding_size=_embedding_size(request),
        response_schema=_response_schema(request, tools),
        era=request.era,
    )
    ledger = store.begin(ledger, after)
    tools.log.info(
        "%s rows in %d shards, about %s input tokens; the ledger is %s.",
        f"{prepared.row_count:,}", len(records), f"{prepared.token_estimate:,}", store.location,
    )  # fmt: skip
    return Job(request, tools, store, ledger)


def _go_on(request: JobRequest, tools: Tools, store: LedgerStore, ledger: Ledger, source: Source) -> Job:
    is_clear = request.era != ledger.era
    ledger = _leased(store, ledger, tools, era=request.era)
    asked_for = (request.destination, request.partition_by)
    is_moved = request.destination is not None and asked_for != (ledger.destination, ledger.partition_by)
    if is_moved:
        _check_partitions(request, decode_columns(ledger.columns))
        _check_can_land_again(store, ledger)
    if is_moved or any(shard.round == 1 for shard in ledger.shards_in("planned")):
        _restore_shards(request, tools, store, ledger, source)
    if ledger.closing is not None and not ledger.closing.final:
        ledger = store.record(ledger, Reopened())
    elif is_clear and _timed_out(ledger) and ledger.cancel_asked_at is None:
        ledger = store.record(ledger, Reopened(tools.clock()))
    if request.destination is not None and is_moved:
        check_destination(tools.resolve(request.destination), ledger.job, request.if_exists)
        tools.log.info(
            "The table goes to %s now; what has landed elsewhere is landed there again.", request.destination
        )
        ledger = store.record(ledger, Relanding(request.destination, request.partition_by))
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
    if ledger.finished_at is None and ledger.batch_ids and request.on_changed_input == "fail":
        error = ChangedInputError(
            f"{', '.join(changes)} changed since this task's job was begun, and its batches are not finished. Set "
            "on_changed_input='resubmit' to cancel them and begin anew, or 'reuse' to go on with the old input."
        )
        error.consequence = where_the_money_is(ledger, store.location.uri)
        raise error
    if ledger.finished_at is None:
        job = Job(request, tools, store, _leased(store, ledger, tools))
        job.settle_and_cancel()
        ledger = job.ledger
    tools.log.info("A new generation begins: %s changed.", ", ".join(changes))
    return _next_generation(request, tools, store, ledger, source, asked)


def _next_generation(
    request: JobRequest, tools: Tools, store: LedgerStore, ledger: Ledger, source: Source, asked: Fingerprint
) -> Job:
    with store.holding(ledger):
        store.archive(ledger)
        return _begin(request, tools, store, source, asked, after=ledger)


def _after_the_end(request: JobRequest, tools: Tools, store: LedgerStore, ledger: Ledger, source: Source) -> Job:
    """
    A finished job with the same input: nothing to do, or its table is gone, or some rows are wanted again.

    Where an attempt was stopped while it landed the table again, that begins anew: a rerun may have been due after it.
    """
    again = (_timed_out(ledger) and request.era != ledger.era) or _wants_again(request, ledger, "failed_rows")
    ledger = _leased(store, ledger, tools)
    if request.destination is None:
        return Job(request, tools, store, ledger)
    destination = tools.resolve(request.destination)
    with store.holding(ledger):
        if ledger.lands_again or _lands_anew(store, ledger, request, destination):
            ledger = _land_again(request, tools, store, ledger, source, wholly=again)
        if again:
            _restore_shards(request, tools, store, ledger, source)
            shards = plan_rerun(ledger, request.spec, store.shards(ledger.generation), destination)
            if shards:
                ledger = store.record(ledger, RerunPlanned(shards, request.era))
                tools.log.info("%s rows without success go again.", f"{sum(shard.rows for shard in shards):,}")
    return Job(request, tools, store, ledger)


def _land_again(
    request: JobRequest, tools: Tools, store: LedgerStore, ledger: Ledger, source: Source, *, wholly: bool
) -> Ledger:
    """Plan to land a finished job's table once more, and do it at once where the whole of it is needed now."""
    assert request.destination is not None
    check_destination(tools.resolve(request.destination), ledger.job, request.if_exists)
    _check_can_land_again(store, ledger)
    _check_partitions(request, decode_columns(ledger.columns))
    _restore_shards(request, tools, store, ledger, source)
    tools.log.info("The job is finished; its table is landed again from the batches that were paid for.")
    ledger = store.record(ledger, Relanding(request.destination, request.partition_by))
    if not wholly:
        return ledger
    job = Job(request, tools, store, ledger)
    job.land_all()
    return job.ledger


def _lands_anew(store: LedgerStore, ledger: Ledger, request: JobRequest, destination: Location) -> bool:
    """Whether a finished job's table is not where it is asked for, or a clear can complete it."""
    landings = [shard.landing for shard in ledger.shards if shard.landing is not None]
    is_whole = not (request.delete_files and ledger.first_round > 1) and _can_land_again(store, ledger)
    if request.era != ledger.era and ledger.unfetched and is_whole:
        return True
    there = standing_files(destination)
    parts = {name for landing in landings for name in landing.part_files}
    is_standing = manifest_name(ledger.job) in there and parts <= there
    return not is_standing or request.partition_by != ledger.partition_by


def _wants_again(request: JobRequest, ledger: Ledger, which: str) -> bool:
    """A retry of the attempt that reran must not rerun again: only a clear moves the era."""
    return request.rerun == which and request.era != ledger.era


def _timed_out(ledger: Ledger) -> bool:
    return ledger.closing is not None and ledger.closing.reason == "timeout"


def _begins_anew_after_time(request: JobRequest, ledger: Ledger) -> bool:
    """Without a table there are no rows to tell apart: a clear after the time was over sends all of them."""
    return request.destination is None and _timed_out(ledger) and request.era != ledger.era


def _restore_shards(request: JobRequest, tools: Tools, store: LedgerStore, ledger: Ledger, source: Source) -> None:
    """Write the first round's shards again, where they were removed; later rounds follow from the landings."""
    first = [record for record in ledger.shards if record.round == 1]
    folder = store.shards(ledger.generation)
    if all((folder / f"{record.key}.jsonl").exists() for record in first):
        return
    error = ChangedInputError(
        "The shards of this job were removed, and source and max_shard_rows do not give the same ones any more: its "
        "results cannot be joined to their rows. rerun='all' begins anew, and pays again; keep_shards=True avoids this."
    )
    known = {record.key: record.sha256 for record in first}

    def keep(shard: Shard) -> None:
        if known.get(str(shard.key)) != ShardRecord.of(shard).sha256:  # another one in its place would lose rows
            raise error
        publish_shard(shard, folder)

    if len(_prepare(request, tools, source, keep).shards) != len(first):
        raise error


def _can_land_again(store: LedgerStore, ledger: Ledger) -> bool:
    """Whether no shard of a rerun is gone: which rows they held, only the table has told."""
    folder = store.shards(ledger.generation)
    rerun = [record for record in ledger.shards if 1 < ledger.first_round <= record.round]
    return all((folder / f"{record.key}.arrow").exists() for record in rerun)


def _check_can_land_again(store: LedgerStore, ledger: Ledger) -> None:
    if not _can_land_again(store, ledger):
        raise JobError(
            f"{store.location}: this job sent some rows again (rerun), its shards were removed after landing, and the "
            "table is gone, or is wanted in another place or with other partitions: it cannot be put together again "
            "from the ledger alone. rerun='all' begins anew, and pays again; keep_shards=True avoids this."
        )


def _prepare(request: JobRequest, tools: Tools, source: Source, on_shard: Callable[[Shard], None]) -> Prepared:
    spec = _asked_spec(request)

    def checked(shard: Shard) -> None:
        check_values(shard.rows, request.partition_by, spec)
        on_shard(shard)

    with scratch("the shards of the input", "one shard of each model, and its rows") as local:
        given = checked if request.partition_by else on_shard
        prepared = prepare(source, request.spec, local, given, resolve=tools.resolve)
    _check_partitions(request, prepared.carried)
    return prepared


def _check_partitions(request: JobRequest, carried: pa.Schema) -> None:
    if request.partition_by:
        check_columns(request.partition_by, _asked_spec(request), carried)


def _asked_spec(request: JobRequest) -> TableSpec:
    """Return what names the columns of the table that is asked for."""
    model = request.spec.response_model
    return TableSpec(request.spec.endpoint, parsed=None if model is None else ParsedColumn.of(model))


def _embedding_size(request: JobRequest) -> int | None:
    body = request.spec.body
    return embedding_size(body) if body is not None and request.spec.endpoint is Endpoint.EMBEDDINGS else None


def _response_schema(request: JobRequest, tools: Tools) -> dict[str, Any] | None:
    model = request.spec.response_model
    if model is None:
        return None
    if request.spec.body is not None and model.not_strict is not None:
        tools.log.warning(
            "The response model is sent without strict mode, and checked on landing: %s.", model.not_strict
        )
    return dict(model.schema)


def _content(shards: Sequence[Shard]) -> str:
    return digest([ShardRecord.of(shard).sha256 for shard in shards])


def _with_content(asked: Fingerprint, content: str) -> Fingerprint:
    return msgspec.structs.replace(asked, content=content)


def _discard(shard: Shard) -> None:
    shard.lines.unlink()
    shard.rows.unlink()


def _leased(store: LedgerStore, ledger: Ledger, tools: Tools, era: int | None = None) -> Ledger:
    return store.record(ledger, Leased(owner=uuid.uuid4().hex, at=tools.clock(), era=era))
