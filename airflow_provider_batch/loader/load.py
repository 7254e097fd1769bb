"""
Land batches that have ended, from this package or from any other tool; nothing is submitted.

For a batch of this package, the ledger gives the rows with their carried columns. For a foreign batch, the input file
gives the rows. Where the input file does not exist any more, the ids of the result lines are the rows, and only the
number of missing rows is known.
"""

from __future__ import annotations

import re
from collections import Counter
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
from airflow_provider_batch.jobs.table_spec import table_spec, tariff_of
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
from airflow_provider_batch.table.embedding_size import check_landed
from airflow_provider_batch.table.file_names import manifest_name
from airflow_provider_batch.table.manifest import check_destination, summary
from airflow_provider_batch.table.partitions import check_columns
from airflow_provider_batch.table.publication import Publisher, publish
from airflow_provider_batch.table.schema import TableSpec

_ADVICE = "Set on_missing='land' to land the matched answers, and the other rows as missing."


@dataclass(frozen=True)
class LoadRequest:
    """
    The batches to land, and the table to write.

    :param batch_ids: Ids of the batches; the rows have their order. Duplicates are ignored.
    :param destination: Folder URI of the table.
    :param table: Options of the table; the field `destination` in it is not used.
    :param on_missing: What to do after landing where rows have no result line, or answers belong to no row: "fail"
        raises an error, "land" logs a warning.
    :param state: Folder of the ledgers of this package; None to treat all batches as foreign.
    :param response_model: Model that parses the answers; None to use the model of the job, where the batch has one.
    """

    batch_ids: Sequence[str]
    destination: str
    table: TableOptions = field(default_factory=TableOptions)
    on_missing: Literal["fail", "land"] = "fail"
    state: Location | None = None
    response_model: ResponseModel | None = None


def load_batches(request: LoadRequest, tools: Tools) -> dict[str, Any]:
    """
    Land batches as tables, and return the summary for XCom.

    :param request: The batches, the destination and the options.
    :param tools: Client, logger and clock.
    :raises ConfigurationError: The response model has no column type, an endpoint is unknown, or the destination cannot
        be used.
    :raises SourceError: A line of a foreign batch's input file is not a request.
    :raises ResultsMissingError: A batch has not ended, or its files are not available yet.
    :raises JobFailedError: `on_missing` is "fail", and rows are missing or answers belong to no row; the other rows are
        landed.
    """
    if request.response_model is not None:
        ParsedColumn.of(request.response_model)
    ids = list(dict.fromkeys(request.batch_ids))
    found = poll_batches(tools.client, ids)
    batches = {batch_id: found[batch_id] for batch_id in ids}
    for batch in batches.values():
        _check_ended(batch, request)
    destination = tools.resolve(request.destination)
    with scratch("the rows of the batches", "their ids") as folder:
        tables = _tables(request, batches, tools, folder)
        jobs = [table.job for table in tables]
        for table in tables:
            if request.response_model is not None:
                check_endpoint(table.endpoint)
            check_destination(destination, table.job, request.table.if_exists, beside=jobs)
            if request.table.partition_by:
                carried = pa.schema([]) if table.ledger is None else decode_columns(table.ledger.columns)
                check_columns(request.table.partition_by, _table_spec(table, request, tools), carried)
        stores = [table.store for table in tables if table.store is not None]
        claimed = claimed_by_loader(destination, request.table.if_exists, tools, jobs, stores)
        with claimed, _explaining_costs():
            for table in tables:
                _land(table, request, tools, destination)
            result = _summary(request, tables, tools, destination)
    _check_complete(request, tables, result, tools)
    return result


def _check_complete(request: LoadRequest, tables: list[LoadedTable], result: dict[str, Any], tools: Tools) -> None:
    """Raise an error or log a warning where rows have no result line, or paid answers belong to no row."""
    batches = ", ".join(batch.id for table in tables for batch, _ in table.batches)
    unmatched = {batch_id: count for table in tables for batch_id, count in table.unmatched.items()}
    problems = []
    if lost := sum(table.lost for table in tables) + int(result["statuses"].get("missing", 0)):
        problems.append(f"{lost:,} rows are in neither result file of {batches}.")
    if unmatched:
        shown = ", ".join(f"{count:,} of {batch_id}" for batch_id, count in unmatched.items())
        problems.append(
            f"Result lines have a custom_id that no request of their batch has ({shown}); these answers are in no row."
        )
    if not problems:
        return
    problem = " ".join(problems)
    if request.on_missing == "fail":
        raise JobFailedError(
            f"{problem} The other rows are landed at {request.destination}. Nothing was sent again. "
            "Set on_missing='land' to accept this."
        )
    tools.log.warning("%s", problem)


@contextmanager
def _explaining_costs() -> Iterator[None]:
    """Add to errors what they mean for the paid answers."""
    try:
        yield
    except OpenAIBatchError as error:
        error.consequence = error.consequence or (
            "Nothing was sent again: the paid answers are in the batches' result files, and landing them again is free "
            "while the API keeps these files."
        )
        raise


def _check_ended(batch: Batch, request: LoadRequest) -> None:
    if not batch.has_ended:
        raise ResultsMissingError(
            f"Batch {batch.id} has not ended: it is {batch.status}. Nothing was landed. Wait for it with "
            "OpenAIBatchSensor, then land it."
        )
    must_wait = batch.status == statuses.COMPLETED or request.on_missing == "fail"
    if files_are_late(batch) and batch.error_file_id is None and must_wait:
        raise ResultsMissingError(
            f"Batch {batch.id} is {batch.status}, {batch.completed:,} of {batch.total:,} requests are answered, and it "
            "has no output file yet. Nothing was landed. Retry the task: the API may add the file later."
        )


def _tables(request: LoadRequest, batches: dict[str, Batch], tools: Tools, folder: Path) -> list[LoadedTable]:
    """
    Return the tables to write, each with its batches.

    :param folder: Local folder for the sidecars of foreign batches; all their requests are read before any landing.
    """
    tables: dict[str, LoadedTable] = {}
    foreign = digest(sorted(batches))[:12]
    for batch in batches.values():
        known = _find_ledger(request.state, batch)
        if known is None:
            tables[foreign] = _with_foreign(tables.get(foreign), foreign, batch, tools, folder)
            continue
        store, ledger, shard = known
        table = tables.setdefault(ledger.job, LoadedTable(ledger.job, endpoint_of(ledger.endpoint), ledger, store))
        table.batches.append((batch, shard))
    for table in tables.values():
        table.job = _job_of(table)
    return list(tables.values())


def _with_foreign(table: LoadedTable | None, name: str, batch: Batch, tools: Tools, folder: Path) -> LoadedTable:
    """Return the table of the foreign batches with one more batch."""
    known = {} if table is None else table.foreign_rows
    shard, first_row = _foreign_shard(batch, len(known) + 1), sum(rows.count for rows in known.values())
    endpoint, rows = read_foreign(batch, shard, tools.client, folder, first_row, tools.log)
    table = table or LoadedTable(name, endpoint)
    if table.endpoint is not endpoint:
        first, _ = table.batches[0]
        raise ConfigurationError(
            f"Batch {first.id} has the endpoint {table.endpoint.value}, and batch {batch.id} {endpoint.value}. A table "
            "has the answers of one endpoint. Nothing was landed. Land the batches at two destinations."
        )
    table.batches.append((batch, shard))
    table.foreign_rows[batch.id] = rows
    return table


def _job_of(table: LoadedTable) -> str:
    """Return the job in the table's file names; some batches of a job get another name than the job's whole table."""
    ids = sorted(batch.id for batch, _ in table.batches)
    if table.ledger is None or set(ids) == set(table.ledger.batch_ids):
        return table.job
    return digest(table.job, ids)[:12]


def _find_ledger(state: Location | None, batch: Batch) -> tuple[LedgerStore, Ledger, ShardRecord] | None:
    """Return the ledger of a batch, from the intent in its metadata, where the shard file of the batch still exists."""
    found = re.match(r"([0-9a-f]{12})-([0-9a-f]{12})-", str(batch.metadata.get(INTENT_KEY, "")))
    if state is None or found is None:
        return None
    store = LedgerStore(state / found[1] / found[2])
    ledger = store.load()
    for shard in () if ledger is None else ledger.shards:
        if ledger is not None and shard.batch_id == batch.id and has_rows(store.shards(ledger.generation), shard):
            return store, ledger, shard
    return None


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
    sent_again, spec = _rows_sent_again(table), _table_spec(table, request, tools)
    for batch, shard in table.batches:
        ended = msgspec.structs.replace(shard, ending=Ending.of(batch))
        key = ShardKey.parse(shard.key)
        place = Place(destination, table.job, table.attempt, key, request.table.partition_by)
        if spec.embedding_size is None and embedding_size is not None:
            spec = replace(spec, embedding_size=embedding_size, size_from="answers")
        with scratch(f"landing batch {batch.id}", NEEDS) as folder:
            staging = Staging(place, spec, tools.client, folder)
            with _rows(table, ended) as rows:
                results = rows.with_row_positions(fetch_results(tools.client, ended, rows.path, folder))
                later: set[int] = set().union(
                    *(numbers for round_, numbers in sent_again.items() if round_ > shard.round)
                )
                if later:
                    results = _leave_out(later, results, folder / "kept.arrow")
                landed = staging.land(results, lambda _: True)
                if request.on_missing == "fail":
                    left_out = rows.count - landed.matching.rows
                    check_understood(place, ended, landed, folder, left_out=left_out, advice=_ADVICE)
            if embedding_size is None:
                check_landed(destination, table.job, request.table.if_exists, landed.embedding_size, batch.id)
            table.add(batch, key, landed, staging.put(landed), tools)
        embedding_size = embedding_size or landed.embedding_size
        table.lost += rows.lost
        if landed.foreign and not later:  # lines of rows that are in a later round are not foreign
            table.unmatched[batch.id] = landed.foreign
        table.landed.append(landed)
        tools.log.info("Batch %s landed: %s rows.", batch.id, f"{landed.rows:,}")


def _table_spec(table: LoadedTable, request: LoadRequest, tools: Tools) -> TableSpec:
    model, raw, tariff = request.response_model, request.table.raw, tariff_of(tools.client)
    if model is None and table.ledger is not None:
        return table_spec(table.ledger, raw, None, tariff)
    parsed = None if model is None else ParsedColumn.of(model)
    return TableSpec(table.endpoint, raw=raw, parsed=parsed, tariff=tariff)


def _rows_sent_again(table: LoadedTable) -> dict[int, set[int]]:
    """Return the row numbers of each round after the first: a row is landed from its last round."""
    numbers: dict[int, set[int]] = {}
    for _, shard in table.batches:
        if shard.round > 1 and table.store is not None and table.ledger is not None:
            with rows_of(table.store.shards(table.ledger.generation), shard) as rows:
                for batch in read_sidecar(rows):
                    numbers.setdefault(shard.round, set()).update(batch.column("row_number").to_pylist())
    return numbers


def _leave_out(numbers: set[int], results: ShardResults, to: Path) -> ShardResults:
    """Return a shard's results without the rows that are in a later round."""
    positions: list[int] = []
    writer: pa.ipc.RecordBatchFileWriter | None = None
    start = 0
    with ExitStack() as stack:
        for batch in read_sidecar(results.rows):
            kept = [number not in numbers for number in batch.column("row_number").to_pylist()]
            positions += [start + at for at, keep in enumerate(kept) if keep]
            start += batch.num_rows
            writer = writer or stack.enter_context(pa.ipc.new_file(str(to), batch.schema))
            writer.write_batch(batch.filter(mask(bytes(kept))))
    refused = {at: results.refused[old] for at, old in enumerate(positions) if old in results.refused}
    return replace(results, rows=to, refused=refused)


@contextmanager
def _rows(table: LoadedTable, shard: ShardRecord) -> Iterator[ForeignRows]:
    """Yield the rows of a batch: a copy of the sidecar, or the rows that were read of a foreign batch."""
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
    counts = sum((Counter(manifest.statuses) for manifest in manifests), Counter[str]())
    return {**result, "rows": sum(manifest.rows for manifest in manifests), "statuses": dict(counts)}
