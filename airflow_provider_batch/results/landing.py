"""
Land one shard: its result files become a Parquet part, and the rows that are to be sent again a sidecar for the next
round.

Memory is bounded by the shard's keys. One pass over the result files notes where each row's line stands (`index.py`);
then the sidecar is read in order, and the lines of a few megabytes of rows at a time are read, typed and written with
them (`pieces.py`). So the part has the input's order, whatever order the results came in, and every row of the sidecar
comes out exactly once: in the part or in the retry sidecar.
"""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import partial
from itertools import compress
from pathlib import Path
from typing import Any

import pyarrow as pa

from airflow_provider_batch.api.endpoints import Endpoint
from airflow_provider_batch.api.objects import FileError
from airflow_provider_batch.arrow.arrays import mask
from airflow_provider_batch.arrow.builders import Same, column, distinct
from airflow_provider_batch.requests.sidecar import POSITION, STATE, RetryWriter, Sidecar
from airflow_provider_batch.results.chunk_reader import ChunkReader
from airflow_provider_batch.results.line_reader import ANSWERED, OWN_FAILURE, Columns, LineReader, absent
from airflow_provider_batch.results.lines.line_index import LineIndex
from airflow_provider_batch.results.matching import Matching
from airflow_provider_batch.results.media import MediaFiles
from airflow_provider_batch.table.columns import COST_COLUMN, INT16, INT64, KEY_COLUMNS, USAGE_COLUMNS
from airflow_provider_batch.table.part_footer import Origin, footer
from airflow_provider_batch.table.part_writer import PartWriter
from airflow_provider_batch.table.schema import TableSpec, result_schema

_UNKNOWN_ORIGIN = Origin()
_NOTHING_MATCHED = Matching()


@dataclass(frozen=True)
class ShardResults:
    """
    What came back for one shard.

    :param rows: The shard's sidecar.
    :param output: The batch's output file, where it has one. An empty file is fine.
    :param error: The batch's error file, likewise; both are read whatever the batch's status.
    :param batch_status: The batch's last status; empty where none was made.
    :param round: The round that the results are of, from 1.
    :param refused: Why the API refused lines of the file, by their place in the shard from 0.
    :param model: The model that was asked, for answers that name none.
    """

    rows: Path
    output: Path | None
    error: Path | None
    batch_id: str | None
    batch_status: str
    round: int
    refused: Mapping[int, FileError] = field(default_factory=dict)
    model: str | None = None


@dataclass(frozen=True)
class RowOutcome:
    """
    How one row ended in this round: what decides whether that is final.

    :param attempts: The row's own failed executions over all rounds, this one included. Expiry, a cancelled batch, a
        refused file and a missing line are none.
    """

    status: str
    status_code: int | None
    error_code: str | None
    attempts: int


@dataclass(frozen=True)
class LandedShard:
    """
    What was landed.

    :param rows: Rows of the part; no part was written where it is 0.
    :param statuses: The part's rows by status.
    :param usage: Tokens of all answers, also of those that are to be asked again: what was used.
    :param cost_usd: The sum of the known prices of all answers; None where there are answers and none has a price.
    :param unpriced: Answers whose price is unknown.
    :param retry_rows: Rows of the retry sidecar; it was not written where it is 0.
    :param unreadable: Lines that could not be read, with or without an id.
    :param duplicates: Second lines for a row; a success was preferred, else the first.
    :param foreign: Lines whose id is not of this shard.
    :param embedding_size: Numbers of each vector, for the parts to come.
    :param matching: How lines and rows went together, the rows that are to be asked again included.
    """

    rows: int
    statuses: dict[str, int]
    usage: dict[str, int]
    cost_usd: Decimal | None
    unpriced: int
    retry_rows: int
    unreadable: int
    duplicates: int
    foreign: int
    embedding_size: int | None
    matching: Matching = _NOTHING_MATCHED


def land_shard(
    results: ShardResults,
    spec: TableSpec,
    is_final: Callable[[RowOutcome], bool],
    part: Path,
    retry: Path,
    unreadable: Path | None = None,
    media: MediaFiles | None = None,
    origin: Origin = _UNKNOWN_ORIGIN,
) -> LandedShard:
    """
    Write the rows with a final answer to ``part`` and the others to ``retry``.

    :param is_final: Whether a row that ended so is done. Must be a function of its argument alone.
    :param part: A local path; written only where rows are final, and whole or not at all.
    :param retry: A local path for the sidecar rows that are not final; likewise.
    :param unreadable: A local path for the bytes of lines that could not be read, one a line; likewise.
    :param media: Takes images and videos; without it the rows name no files.
    :param origin: Whose part it is, for its footer.
    :raises StorageError: The sidecar cannot be read.
    """
    files = [path for path in (results.output, results.error) if path is not None]
    with (
        _few_collections(),
        Sidecar(results.rows) as sidecar,
        LineIndex(sidecar.custom_ids(), files, unreadable) as index,
    ):
        spec = _with_embedding_size(spec, index)
        schema = result_schema(spec, sidecar.carried)
        metadata: dict[str, str] = {}
        landing = _Landing(results, spec, index, is_final, media)
        with (
            RetryWriter(retry, sidecar.schema) as retry_writer,
            PartWriter(part, schema, metadata) as part_writer,
        ):
            for batch in sidecar.batches():
                for piece in landing.pieces(batch):
                    landing.land(piece, schema, part_writer, retry_writer)
            metadata |= footer(spec, origin, results.batch_id, landing.models, results.round)
        return landing.summary(part_writer.rows, retry_writer.rows)


@contextmanager
def _few_collections() -> Iterator[None]:
    """
    Let the garbage collector look at new objects alone, and seldom: a landing makes many lists and few cycles.

    A full collection looks at every object of the process, and an Airflow worker has a million of them.
    """
    before = gc.get_threshold()
    if before[0]:
        gc.set_threshold(50_000, 1_000, 1_000)
    try:
        yield
    finally:
        gc.set_threshold(*before)


class _Landing:
    """The rows of one shard, batch by batch, and the sums over them."""

    def __init__(
        self,
        results: ShardResults,
        spec: TableSpec,
        index: LineIndex,
        is_final: Callable[[RowOutcome], bool],
        media: MediaFiles | None,
    ) -> None:
        self._results, self._spec, self._index = results, spec, index
        self._is_final, self._media = is_final, media
        absent_row = partial(absent, results.batch_status, results.refused)
        self._reader = ChunkReader(spec, index, absent_row, results.model)
        self._decided: dict[tuple[Any, ...], bool] = {}
        self.models: set[str | None] = set()
        self._position = 0
        self._statuses: Counter[str] = Counter()
        self._usage: Counter[str] = Counter(dict.fromkeys(USAGE_COLUMNS, 0))
        self._cost = Decimal(0)
        self._priced = 0
        self._unpriced = 0
        #: The id of one of the rows without a line.
        self._unmatched_id: str | None = None

    def pieces(self, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        """Cut a record batch of the sidecar so that the results of each piece fit into memory."""
        start = 0
        for count in self._index.pieces(self._position, batch.num_rows):
            yield batch.slice(start, count)
            start += count

    def land(self, batch: pa.RecordBatch, schema: pa.Schema, part: PartWriter, retry: RetryWriter) -> None:
        """Write the next rows of the sidecar, in order."""
        states = batch.column("state").to_pylist() if _has_states(batch) else Same(None, batch.num_rows)
        rows = self._reader.read(self._position, states)
        if self._unmatched_id is None and (at := self._reader.absent_at) is not None:
            self._unmatched_id = batch.column("custom_id")[at].as_py()
        attempts = _attempts(states, rows[OWN_FAILURE])
        final = self._final(rows, attempts)
        if self._media is not None and self._reader.apart:
            places = self._reader.apart_places
            numbers = batch.column("row_number").take(column(places, INT64))
            self._media.keep(self._reader.apart, [final[at] for at in places], numbers)
            rows = self._reader.columns(batch.num_rows)
        self.models |= distinct(rows["model"])
        table = self._table(batch, rows, states, schema)
        self._count(table, rows)
        if 0 not in final:
            self._note_statuses(rows["status"])
            part.write(table)
        else:
            self._note_statuses(list(compress(rows["status"], final)))
            if any(final):
                part.write(table.filter(mask(final)))
            again = bytearray(not done for done in final)
            self._write_retry(batch, table, attempts, again, retry)
        self._position += batch.num_rows

    def summary(self, rows: int, retry_rows: int) -> LandedShard:
        """Return what was landed."""
        return LandedShard(
            rows=rows,
            statuses=dict(self._statuses),
            usage=dict(self._usage),
            cost_usd=None if self._unpriced and not self._priced else self._cost,
            unpriced=self._unpriced,
            retry_rows=retry_rows,
            unreadable=self._index.unreadable,
            duplicates=self._index.duplicates,
            foreign=self._index.foreign,
            embedding_size=self._spec.embedding_size,
            matching=self._matching(),
        )

    def _matching(self) -> Matching:
        index, reader = self._index, self._reader
        return Matching(
            rows=self._position,
            without_line=index.without_line,
            unreadable_rows=reader.unreadable_rows,
            ended_early=reader.ended_early,
            foreign=index.foreign,
            unidentified=index.unidentified,
            foreign_id=index.foreign_id,
            unreadable_start=index.unreadable_start,
            row_id=self._unmatched_id,
        )

    def _final(self, rows: Columns, attempts: Sequence[int]) -> bytearray:
        """Return for each row whether it is done; a shard has few distinct outcomes, and each is asked about once."""
        nothing = Same(None, len(attempts))
        columns = (rows["status"], rows["status_code"], rows.get("error_code", nothing), attempts)
        if all(isinstance(values, Same) for values in columns):
            return bytearray([self._decide(tuple(values[0] for values in columns))]) * len(attempts)
        outcomes = list(zip(*columns, strict=True))
        decided = {outcome: self._decide(outcome) for outcome in dict.fromkeys(outcomes)}
        return bytearray(map(decided.__getitem__, outcomes))

    def _decide(self, outcome: tuple[Any, ...]) -> bool:
        if outcome not in self._decided:
            self._decided[outcome] = bool(self._is_final(RowOutcome(*outcome)))
        return self._decided[outcome]

    def _note_statuses(self, statuses: Sequence[str]) -> None:
        self._statuses.update({statuses.value: len(statuses)} if isinstance(statuses, Same) else statuses)

    def _count(self, table: pa.RecordBatch, rows: Columns) -> None:
        for name in USAGE_COLUMNS:
            values = rows.get(name)
            if isinstance(values, Same):
                self._usage[name] += (values.value or 0) * len(values)
            elif values:
                self._usage[name] += table.column(name).sum().as_py() or 0
        costs = table.column(COST_COLUMN)
        priced = len(costs) - costs.null_count
        if priced:
            self._cost += costs.sum().as_py()
            self._priced += priced
        if costs.null_count:
            self._unpriced += sum(map(_unpriced, rows[ANSWERED], rows[COST_COLUMN]))

    def _table(
        self, batch: pa.RecordBatch, rows: Columns, states: Sequence[Mapping[str, Any] | None], schema: pa.Schema
    ) -> pa.RecordBatch:
        """Return the rows of the table for one record batch of the sidecar, final or not."""
        count = batch.num_rows
        carried: Any = batch.column("carried") if "carried" in batch.schema.names else None
        arrays = [] if carried is None else carried.flatten()
        arrays += [batch.column(name) for name in KEY_COLUMNS]
        rows |= {"batch_id": self._batch_ids(states), "round": Same(self._results.round, count)}
        arrays += [
            column(rows[field.name], field.type) if field.name in rows else pa.nulls(count, field.type)
            for field in list(schema)[len(arrays) :]
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=schema)

    def _batch_ids(self, states: Sequence[Mapping[str, Any] | None]) -> Sequence[str | None]:
        if self._results.batch_status == "" and self._results.batch_id is None:
            return [state["batch_id"] if state else None for state in states]
        return Same(self._results.batch_id, len(states))

    def _write_retry(
        self,
        batch: pa.RecordBatch,
        table: pa.RecordBatch,
        attempts: Sequence[int],
        again: bytearray,
        retry: RetryWriter,
    ) -> None:
        chosen = mask(again)
        # A count past the column's range is past every limit too.
        capped = column([min(count, 2**15 - 1) for count in attempts], INT16)
        ended = {"attempts": capped, **{name: table.column(name) for name in STATE.names if name != "attempts"}}
        state = pa.StructArray.from_arrays([ended[field.name] for field in STATE], fields=list(STATE))
        positions = column(range(self._position, self._position + batch.num_rows), POSITION.type)
        retry.write(batch.filter(chosen), state.filter(chosen), positions.filter(chosen))


def _attempts(states: Sequence[Mapping[str, Any] | None], failures: Sequence[bool]) -> Sequence[int]:
    """Return each row's failed executions, the last round's included."""
    if isinstance(states, Same) and isinstance(failures, Same):
        return Same(int(failures.value), len(states))
    return [(state["attempts"] or 0 if state else 0) + fails for state, fails in zip(states, failures, strict=True)]


def _unpriced(answered: bool, cost: int | None) -> bool:
    return answered and cost is None


def _has_states(batch: pa.RecordBatch) -> bool:
    if "state" not in batch.schema.names:
        return False
    return bool(batch.column("state").null_count < batch.num_rows)


def _with_embedding_size(spec: TableSpec, index: LineIndex) -> TableSpec:
    """Return the spec with the size of the shard's first vector, where it is needed and not known."""
    if spec.endpoint is not Endpoint.EMBEDDINGS or spec.embedding_size is not None:
        return spec
    reader = LineReader(spec)
    for line in index.lines():
        if values := reader.read(line).values:
            vector = values[0] or values[1][0]
            return replace(spec, embedding_size=len(vector) // 4)
    return spec
