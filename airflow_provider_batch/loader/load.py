"""
Landing batches that have ended, whoever submitted them. Nothing is sent.

A batch of ours is landed through its ledger: carried columns and missing rows are known. For a foreign one the input
file tells the rows; where that is gone too, the results' own ids are all there is, and what is missing is known by
count only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import msgspec
import pyarrow as pa

from airflow_provider_batch.api import statuses
from airflow_provider_batch.api.objects import Batch
from airflow_provider_batch.arrow.arrays import mask
from airflow_provider_batch.exceptions import ConfigurationError, JobFailedError, OpenAIBatchError, ResultsMissingError
from airflow_provider_batch.jobs.decisions import files_are_late
from airflow_provider_batch.jobs.identity import digest
from airflow_provider_batch.jobs.job_request import TableOptions, Tools
from airflow_provider_batch.jobs.landing.finishing import decode_columns
from airflow_provider_batch.jobs.landing.shard import fetch_results
from airflow_provider_batch.jobs.landing.staging import NEEDS, Place, Staging
from airflow_provider_batch.jobs.landing.unclear_results import check_understood
from airflow_provider_batch.jobs.ledger.ledger import Ledger
from airflow_provider_batch.jobs.ledger.shard_record import Ending, ShardRecord
from airflow_provider_batch.jobs.ledger.store import LedgerStore
from airflow_provider_batch.jobs.shard_files import has_rows, rows_of
from airflow_provider_batch.jobs.submission.lookup import INTENT_KEY
from airflow_provider_batch.jobs.table_claims import claimed_by_loader
from airflow_provider_batch.jobs.table_spec import table_spec
from airflow_provider_batch.loader.foreign_batches import ForeignRows, read_foreign
from airflow_provider_batch.loader.loaded_table import LoadedTable
from airflow_provider_batch.polling.blocking_reader import poll_batches
from airflow_provider_batch.requests.shards import ShardKey
from airflow_provider_batch.requests.sidecar import read_sidecar
from airflow_provider_batch.requests.validation import endpoint_of
from airflow_provider_batch.results.landing import ShardResults
from airflow_provider_batch.storage import Location
from airflow_provider_batch.storage.local_disk import scratch
from airflow_provider_batch.structured.column_type import ParsedColumn
from airflow_provider_batch.structured.response_format import check_endpoint
from airflow_provider_batch.structured.response_model import ResponseModel
from airflow_provider_batch.table.file_names import manifest_name
from airflow_provider_batch.table.manifest import check_destination, summary
from airflow_provider_batch.table.partitions import check_columns
from airflow_provider_batch.table.publication import Publisher, publish
from airflow_provider_batch.table.schema import TableSpec

_LANDS_AGAIN = "on_missing='land' lands what could be matched, the other rows as missing."


@dataclass(frozen=True)
class LoadRequest:
    """
    Which batches to land, and where.

    :param destination: Folder URI of the table.
    :param table: What the table is to be; its own destination is not read.
    :param state: Folder of ledgers, where ours are looked for; None where there is none.
    :param response_model: What parses the answers; None takes the model that a batch of ours was asked by.
    :param on_missing: Whether rows that no result file holds, and answers of no row, fail the load, after landing.
    """

    batch_ids: Sequence[str]
    destination: str
    table: TableOptions = field(default_factory=TableOptions)
    on_missing: Literal["fail", "land"] = "fail"
    state: Location | None = None
    response_model: ResponseModel | None = None


def load_batches(request: LoadRequest, tools: Tools) -> dict[str, Any]:
    """
    Land the batches and return a summary.

    :raises ConfigurationError: No column can hold what the response model asks for, or an endpoint cannot be told.
    :raises SourceError: A line of a foreign batch's input file is no request.
    :raises ResultsMissingError: One of them has not ended, or owes its files.
    :raises JobFailedError: Rows are missing, or answers belong to no row, and `on_missing` says fail; what is there
        was landed.
    """
    if request.response_model is not None:
        ParsedColumn.of(request.response_model)
    ids = list(dict.fromkeys(request.batch_ids))
    found = poll_batches(tools.client, ids)
    seen = {batch_id: found[batch_id] for batch_id in ids}
    for batch in seen.values():
        _check_ended(batch, request)
    destination = tools.resolve(request.destination)
    with scratch("the rows of the batches", "their ids") as folder:
        tables = _tables(request, seen, tools, folder)
        jobs = [table.job for table in tables]
        for table in tables:
            if request.response_model is not None:
                check_endpoint(table.endpoint)
            check_destination(destination, table.job, request.table.if_exists, beside=jobs)
            if request.table.partition_by:
                carried = pa.schema([]) if table.ledger is None else decode_columns(table.ledger.columns)
                check_columns(request.table.partition_by, _table_spec(table, request), carried)
        stores = [table.store for table in tables if table.store is not None]
        claimed = claimed_by_loader(destination, request.table.if_exists, tools, jobs, stores)
        with claimed, _saying_where_the_money_is():
            for table in tables:
                _land(table, request, tools, destination)
            result = _summary(request, tables, tools, destination)
    _check_whole(request, tables, result, tools)
    return result


def _check_whole(request: LoadRequest, tables: list[LoadedTable], result: dict[str, Any], tools: Tools) -> None:
    """Fail, or say so, where rows have no answer at all, and where answers that were paid for belong to no row."""
    batches = ", ".join(batch.id for table in tables for batch, _ in table.batches)
    unmatched = {batch_id: count for table in tables for batch_id, count in table.unmatched.items()}
    problems = []
    if lost := sum(table.lost for table in tables) + int(result["statuses"].get("missing", 0)):
        problems.append(f"{lost:,} rows stand in neither result file of {batches}.")
    if unmatched:
        shown = ", ".join(f"{count:,} of {batch_id}" for batch_id, count in unmatched.items())
        problems.append(
            f"Result lines have a custom_id that no request of their batch has ({shown}); no row holds them."
        )
    if not problems:
        return
    problem = " ".join(problems)
    if request.on_missing == "fail":
        raise JobFailedError(
            f"{problem} The other rows are landed at {request.destination}; on_missing='land' accepts that. "
            "Nothing was sent again."
        )
    tools.log.warning("%s", problem)


@contextmanager
def _saying_where_the_money_is() -> Iterator[None]:
    try:
        yield
    except OpenAIBatchError as error:
        error.consequence = error.consequence or (
            "Nothing was sent again: what was paid for stays in the batches' result files, and landing it again is "
            "free while the API keeps them."
        )
        raise


def _check_ended(batch: Batch, request: LoadRequest) -> None:
    if not batch.has_ended:
        raise ResultsMissingError(
            f"Batch {batch.id} is {batch.status}: wait for it with OpenAIBatchSensor, then land it."
        )
    if files_are_late(batch) and batch.error_file_id is None and _must_wait(batch, request):
        raise ResultsMissingError(
            f"Batch {batch.id} is {batch.status}, {batch.completed:,} of {batch.total:,} requests are answered, and it "
            "has no output file. It may come late: retry the task."
        )


def _must_wait(batch: Batch, request: LoadRequest) -> bool:
    return batch.status == statuses.COMPLETED or request.on_missing == "fail"


def _tables(request: LoadRequest, seen: dict[str, Batch], tools: Tools, folder: Path) -> list[LoadedTable]:
    """
    Return the tables to be, and which batches go into each.

    :param folder: Gets the sidecars of foreign batches: all their requests are read before anything is landed.
    """
    tables: dict[str, LoadedTable] = {}
    foreign = digest(sorted(seen))[:12]
    for batch in seen.values():
        store, ledger, shard = _find(request.state, batch)
        if ledger is None or shard is None:
            table = _with_foreign(tables.get(foreign), foreign, batch, tools, folder)
            tables[foreign] = table
            continue
        table = tables.setdefault(ledger.job, LoadedTable(ledger.job, endpoint_of(ledger.endpoint), ledger, store))
        table.batches.append((batch, shard))
    for table in tables.values():
        table.job = _job_of(table)
    return list(tables.values())


def _with_foreign(table: LoadedTable | None, name: str, batch: Batch, tools: Tools, folder: Path) -> LoadedTable:
    """Return the table of foreign batches with one more."""
    number, first_row = (1, 0) if table is None else (len(table.batches) + 1, table.foreign_count)
    shard = _foreign_shard(batch, number)
    endpoint, rows = read_foreign(batch, shard, tools.client, folder, first_row, tools.log)
    table = table or LoadedTable(name, endpoint)
    if table.endpoint is not endpoint:
        first, _ = table.batches[0]
        raise ConfigurationError(
            f"Batch {first.id} asked {table.endpoint.value}, and batch {batch.id} {endpoint.value}. A table holds the "
            "answers of one endpoint: land them at two destinations."
        )
    table.batches.append((batch, shard))
    table.foreign_rows[batch.id] = rows
    return table


def _job_of(table: LoadedTable) -> str:
    """Return under which name a table stands: a part of a job's batches is no version of that job's whole table."""
    ids = sorted(batch.id for batch, _ in table.batches)
    if table.ledger is None or set(ids) == set(table.ledger.batch_ids):
        return table.job
    return digest(table.job, ids)[:12]


def _find(state: Location | None, batch: Batch) -> tuple[LedgerStore | None, Ledger | None, ShardRecord | None]:
    """Return the ledger that knows a batch, by the intent in its metadata, if its shard still stands."""
    named = re.match(r"([0-9a-f]{12})-([0-9a-f]{12})-", str(batch.metadata.get(INTENT_KEY, "")))
    if state is None or named is None:
        return None, None, None
    store = LedgerStore(state / named[1] / named[2])
    ledger = store.load()
    if ledger is None:
        return None, None, None
    for shard in ledger.shards:
        if shard.batch_id == batch.id and has_rows(store.shards(ledger.generation), shard):
            return store, ledger, shard
    return None, None, None


def _foreign_shard(batch: Batch, number: int) -> ShardRecord:
    return ShardRecord(
        key=str(ShardKey(1, number)),
        rows=batch.total,
        bytes=0,
        inputs=batch.total,
        tokens=0,
        sha256="",
        file_id=batch.input_file_id,
        batch_id=batch.id,
        model=batch.model,
        ending=Ending.of(batch),
    )


def _land(table: LoadedTable, request: LoadRequest, tools: Tools, destination: Location) -> None:
    embedding_size = None if table.ledger is None else table.ledger.embedding_size
    sent_again, looks = _rows_sent_again(table), _table_spec(table, request)
    for batch, shard in table.batches:
        ended = msgspec.structs.replace(shard, ending=Ending.of(batch))
        key = ShardKey.parse(shard.key)
        place = Place(destination, table.job, table.attempt, key, request.table.partition_by)
        spec = replace(looks, embedding_size=embedding_size)
        with scratch(f"landing batch {batch.id}", NEEDS) as folder:
            staging = Staging(place, spec, tools.client, folder)
            with _rows(table, ended) as rows:
                results = rows.placed(fetch_results(tools.client, ended, rows.path, folder))
                later: set[int] = set().union(*(some for round_, some in sent_again.items() if round_ > shard.round))
                if later:
                    results = _leave_out(later, results, folder / "kept.arrow")
                landed = staging.land(results, lambda _: True)
                if request.on_missing == "fail":
                    left_out = rows.count - landed.matching.rows
                    check_understood(place, ended, landed, folder, left_out=left_out, advice=_LANDS_AGAIN)
            table.note(batch, key, landed, staging.put(landed), tools)
        embedding_size = embedding_size or landed.embedding_size
        table.lost += rows.lost
        if landed.foreign and not later:  # the lines of rows that stand in a later round are not foreign
            table.unmatched[batch.id] = landed.foreign
        table.landed.append(landed)
        tools.log.info("Batch %s landed: %s rows.", batch.id, f"{landed.rows:,}")


def _table_spec(table: LoadedTable, request: LoadRequest) -> TableSpec:
    if request.response_model is not None:
        return TableSpec(table.endpoint, raw=request.table.raw, parsed=ParsedColumn.of(request.response_model))
    return (
        TableSpec(table.endpoint, raw=request.table.raw)
        if table.ledger is None
        else table_spec(table.ledger, request.table.raw, None)
    )


def _rows_sent_again(table: LoadedTable) -> dict[int, set[int]]:
    """Return the row numbers of each round after the first: a row is landed as its last round has left it."""
    numbers: dict[int, set[int]] = {}
    for _, shard in table.batches:
        if shard.round > 1 and table.store is not None and table.ledger is not None:
            with rows_of(table.store.shards(table.ledger.generation), shard) as rows:
                for batch in read_sidecar(rows):
                    numbers.setdefault(shard.round, set()).update(batch.column("row_number").to_pylist())
    return numbers


def _leave_out(numbers: set[int], results: ShardResults, to: Path) -> ShardResults:
    """Return a shard's results without some rows, which stand in the results of a later round."""
    places: list[int] = []
    writer: pa.ipc.RecordBatchFileWriter | None = None
    start = 0
    with ExitStack() as stack:
        for batch in read_sidecar(results.rows):
            kept = [number not in numbers for number in batch.column("row_number").to_pylist()]
            places += [start + at for at, keep in enumerate(kept) if keep]
            start += batch.num_rows
            writer = writer or stack.enter_context(pa.ipc.new_file(str(to), batch.schema))
            writer.write_batch(batch.filter(mask(bytes(kept))))
    refused = {at: results.refused[place] for at, place in enumerate(places) if place in results.refused}
    return replace(results, rows=to, refused=refused)


@contextmanager
def _rows(table: LoadedTable, shard: ShardRecord) -> Iterator[ForeignRows]:
    """Give the rows of a batch: a copy of our sidecar, or what was read of a foreign batch."""
    if table.store is None or table.ledger is None:
        yield table.foreign_rows[str(shard.batch_id)]
        return
    with rows_of(table.store.shards(table.ledger.generation), shard) as sidecar:
        yield ForeignRows(sidecar, shard.rows, 0)


def _summary(request: LoadRequest, tables: list[LoadedTable], tools: Tools, destination: Location) -> dict[str, Any]:
    manifests = [table.manifest(request.table.partition_by, tools.clock()) for table in tables]
    jobs = [manifest.job for manifest in manifests]
    for manifest in manifests:
        attempt = next(table.attempt for table in tables if table.job == manifest.job)
        publish(destination, manifest, request.table.if_exists, Publisher(attempt), beside=jobs)
    result: dict[str, Any] = {
        "destination": request.destination,
        "batch_ids": [batch.id for table in tables for batch, _ in table.batches],
        "manifests": [f"{request.destination.rstrip('/')}/{manifest_name(manifest.job)}" for manifest in manifests],
    }
    if len(manifests) == 1:
        return {**result, "manifest": result["manifests"][0], **summary(manifests[0])}
    counts: dict[str, int] = {}
    for manifest in manifests:
        for status, count in manifest.statuses.items():
            counts[status] = counts.get(status, 0) + count
    return {**result, "rows": sum(manifest.rows for manifest in manifests), "statuses": counts}
