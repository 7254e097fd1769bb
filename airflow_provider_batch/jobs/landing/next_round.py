"""Plans the next round: copies the rows without a final result from their shards into new ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import msgspec
import pyarrow as pa

from airflow_provider_batch.api.endpoints import Endpoint
from airflow_provider_batch.arrow.arrays import mask
from airflow_provider_batch.exceptions import JobError
from airflow_provider_batch.jobs.ledger.ledger import Ledger
from airflow_provider_batch.jobs.ledger.shard_record import ShardRecord
from airflow_provider_batch.jobs.shard_files import publish_shard, request_lines_of, retry_rows_of, rows_of
from airflow_provider_batch.requests.prepare import RequestSpec
from airflow_provider_batch.requests.request_lines import Lines
from airflow_provider_batch.requests.shards import Shard, ShardWriter, request_lines
from airflow_provider_batch.requests.sidecar import read_sidecar
from airflow_provider_batch.requests.validation import count_inputs
from airflow_provider_batch.storage import Location
from airflow_provider_batch.storage.local_disk import scratch
from airflow_provider_batch.table.part_filter import rows_without_success
from airflow_provider_batch.table.publication import part_location

#: `ShardWriter.add`.
Add = Callable[[Lines, pa.RecordBatch, Sequence[str | None], Sequence[int]], None]


def plan_round(ledger: Ledger, number: int, spec: RequestSpec, folder: Location) -> tuple[ShardRecord, ...]:
    """
    Write the shards of a round, and return their records.

    The same ledger gives the same shards, also after the size limits of a shard have changed: a round that the ledger
    has is cut at the same rows.

    :param ledger: The job's ledger.
    :param number: Number of the round: one above the ledger's latest for a new one.
    :param spec: What request to make of each row.
    :param folder: Folder of the generation's shards.
    """
    with _writing(ledger, number, spec, folder) as (writer, records):
        for shard in ledger.shards:
            if shard.round == number - 1 and shard.landing is not None and shard.landing.retry_rows:
                _copy_retry_rows(shard, Endpoint(ledger.endpoint), folder, writer.add)
    return tuple(records)


def restore_round(ledger: Ledger, number: int, spec: RequestSpec, folder: Location) -> None:
    """
    Write the shards of a round that the ledger has again, from the retry files of the round before.

    :param ledger: The job's ledger.
    :param number: Number of the round.
    :param spec: What request to make of each row.
    :param folder: Folder of the generation's shards.
    :raises JobError: They are not the same, so the results cannot be joined to their rows.
    """
    known = {shard.key: shard.sha256 for shard in ledger.shards if shard.round == number}
    written = {shard.key: shard.sha256 for shard in plan_round(ledger, number, spec, folder)}
    if written != known:
        raise JobError(
            f"{folder}: the shards of round {number} were removed, and the retry files of round {number - 1} do not "
            "give the same ones: their results cannot be joined to their rows. Nothing was sent, and landed parts are "
            "kept. rerun='all' sends every row again, and pays again; keep_shards=True avoids this."
        )


@contextmanager
def _writing(
    ledger: Ledger, number: int, spec: RequestSpec, folder: Location
) -> Iterator[tuple[ShardWriter, list[ShardRecord]]]:
    """Open a writer that moves finished shards to storage; yield it and the list of their records."""
    records: list[ShardRecord] = []

    def keep(shard: Shard) -> None:
        records.append(ShardRecord.of(shard))
        publish_shard(shard, folder)

    limits = {"max_rows": spec.max_shard_rows, "max_bytes": spec.max_shard_bytes}
    with (
        scratch(f"the shards of round {number}", "one shard and its rows") as local,
        ShardWriter(local, number, Endpoint(ledger.endpoint), keep, cuts=ledger.cuts(number), **limits) as writer,
    ):
        yield writer, records
    records.sort(key=lambda record: record.key)


def _copy_retry_rows(shard: ShardRecord, endpoint: Endpoint, folder: Location, add: Add) -> None:
    with retry_rows_of(folder, shard) as rows, request_lines_of(folder, shard) as lines:
        source = request_lines(lines)
        for batch in read_sidecar(rows):
            _add(shard, endpoint, list(_at(source, batch.column("position").to_pylist())), batch, add)


def _add(shard: ShardRecord, endpoint: Endpoint, lines: list[bytes], rows: pa.RecordBatch, add: Add) -> None:
    add(Lines.of(lines), rows, [shard.model] * len(lines), [_inputs(endpoint, line) for line in lines])


def _inputs(endpoint: Endpoint, line: bytes) -> int:
    if endpoint is not Endpoint.EMBEDDINGS:
        return 1
    return count_inputs(endpoint, msgspec.json.decode(line)["body"].get("input"))


def _at(lines: Iterator[tuple[int, bytes]], positions: Sequence[int | None]) -> Iterator[bytes]:
    """Yield the lines at some positions, which are in ascending order."""
    for position in positions:
        for found, line in lines:
            if found == position:
                yield line
                break


def plan_rerun(ledger: Ledger, spec: RequestSpec, folder: Location, destination: Location) -> tuple[ShardRecord, ...]:
    """
    Write the rows without success, as the parts have them, into the shards of a new round; return their records.

    They are copied from the first round's shards, so they start without a failed attempt.

    :param ledger: The job's ledger.
    :param spec: What request to make of each row.
    :param folder: Folder of the generation's shards.
    :param destination: Folder of the table.
    """
    row_numbers = _without_success(ledger, destination)
    if not row_numbers:
        return ()
    with _writing(ledger, ledger.round + 1, spec, folder) as (writer, records):
        for shard in ledger.shards:
            if shard.round == 1:
                _copy_rows(shard, row_numbers, Endpoint(ledger.endpoint), folder, writer.add)
    return tuple(records)


def _without_success(ledger: Ledger, destination: Location) -> set[int]:
    numbers: set[int] = set()
    for shard in ledger.shards:
        for name in shard.landing.part_files if shard.landing is not None else ():
            with part_location(destination, ledger.job, name).as_local() as part:
                numbers.update(rows_without_success(part, name))
    return numbers


def _copy_rows(shard: ShardRecord, row_numbers: set[int], endpoint: Endpoint, folder: Location, add: Add) -> None:
    with rows_of(folder, shard) as rows, request_lines_of(folder, shard) as lines:
        source = request_lines(lines)
        for batch in read_sidecar(rows):
            chosen = [number in row_numbers for number in batch.column("row_number").to_pylist()]
            # `chosen` comes first in `zip`: it is the shorter one, and no line of `source` may be lost.
            taken = [line for choose, (_, line) in zip(chosen, source, strict=False) if choose]
            _add(shard, endpoint, taken, batch.filter(mask(bytes(chosen))), add)
