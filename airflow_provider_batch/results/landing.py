"""
Land one shard: write its final rows to a Parquet part, and the rows to send again to the sidecar of the next round.

One pass over the result files finds the position of each row's line (`lines/line_index.py`). Then the sidecar is read
in order: for a chunk of a few megabytes at a time, the lines are read, converted to columns and written
(`chunk_reader.py`). So the part has the order of the input, whatever the order of the results, and every row of the
sidecar is written exactly once: to the part or to the retry sidecar. Only the ids and positions of a shard are in
memory.
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

from airflow_provider_batch.answers.answer_format import Columns
from airflow_provider_batch.answers.column import INT16, INT64
from airflow_provider_batch.api.endpoints import Endpoint
from airflow_provider_batch.api.objects import FileError
from airflow_provider_batch.arrow.arrays import mask
from airflow_provider_batch.arrow.builders import Same, column, distinct
from airflow_provider_batch.requests.sidecar import POSITION, STATE, RetryWriter, Sidecar
from airflow_provider_batch.results.chunk_reader import ChunkReader
from airflow_provider_batch.results.line_reader import ANSWERED, OWN_FAILURE, LineReader, row_without_line
from airflow_provider_batch.results.lines.line_index import LineIndex
from airflow_provider_batch.results.matching import Matching
from airflow_provider_batch.results.media import MediaFiles
from airflow_provider_batch.table.columns import COST_COLUMN, KEY_COLUMNS, USAGE_COLUMNS
from airflow_provider_batch.table.part_footer import Origin, footer
from airflow_provider_batch.table.part_writer import PartWriter
from airflow_provider_batch.table.schema import TableSpec, result_schema

_UNKNOWN_ORIGIN = Origin()
_NOTHING_MATCHED = Matching()


@dataclass(frozen=True)
class ShardResults:
    """
    The results of one shard.

    :param rows: Local sidecar of the shard.
    :param output: Local copy of the batch's output file; None where it has none. An empty file is allowed.
    :param error: Local copy of the batch's error file; None where it has none. Both are read for every batch status.
    :param batch_id: The batch of the shard; None where none was created.
    :param batch_status: Final status of the batch; empty where none was created.
    :param round: Round of the results, from 1.
    :param refused: Errors of the API about lines of the input file, by position of the row in the shard, from 0.
    :param model: Model of the requests, for answers that do not name one; None where it is unknown.
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
    The outcome of one row in this round; it decides whether the row is final.

    :param status: Status of the row, such as "succeeded".
    :param status_code: HTTP status of the request; None where there is none.
    :param error_code: Error code of the row; None for a success.
    :param attempts: Number of failed executions of the row in all rounds, this one included. An expired or cancelled
        batch, a refused file and a missing line do not count.
    """

    status: str
    status_code: int | None
    error_code: str | None
    attempts: int


@dataclass(frozen=True)
class LandedShard:
    """
    The landed rows of a shard, as numbers.

    :param rows: Number of rows in the part; where it is 0, no part was written.
    :param statuses: Number of rows in the part by status.
    :param usage: Number of tokens of all answers by usage column, also of rows that are sent again.
    :param cost_usd: Sum of the known prices of all answers in US dollars; None where there are answers and none has a
        known price.
    :param unpriced: Number of answers without a known price.
    :param retry_rows: Number of rows in the retry sidecar; where it is 0, no sidecar was written.
    :param unreadable: Number of unreadable lines, with or without an id.
    :param duplicates: Number of further lines of rows that already have a line.
    :param foreign: Number of lines whose id does not belong to the shard.
    :param embedding_size: Numbers in each embedding, for the next parts; None where unknown.
    :param matching: How the result lines match the rows, including rows that are sent again.
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
    Write the final rows of a shard to ``part`` and the other rows to ``retry``.

    Each file is written completely or not at all, and only where it has rows.

    :param results: Sidecar and result files of the shard.
    :param spec: Endpoint and options of the table.
    :param is_final: Returns whether a row with this outcome is final; must depend on its argument only.
    :param part: Local path for the part.
    :param retry: Local path for the sidecar of the next round.
    :param unreadable: Local path for unreadable result lines; None to only count them.
    :param media: Stores images and videos; None to store none.
    :param origin: Job and generation of the part, for its footer.
    :raises StorageError: The sidecar cannot be read, or an image or video cannot be written.
    """
    files = [path for path in (results.output, results.error) if path is not None]
    with (
        _fewer_gc_runs(),
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
                for chunk in landing.chunks(batch):
                    landing.land(chunk, schema, part_writer, retry_writer)
            metadata |= footer(spec, origin, results.batch_id, landing.models, results.round)
        return landing.summary(part_writer.rows, retry_writer.rows)


@contextmanager
def _fewer_gc_runs() -> Iterator[None]:
    """
    Let the garbage collector run seldom, and only on new objects: landing creates many lists and few cycles.

    A full collection visits every object of the process, about a million in an Airflow worker.
    """
    before = gc.get_threshold()
    if before[0]:
        gc.set_threshold(50_000, 1_000, 1_000)
    try:
        yield
    finally:
        gc.set_threshold(*before)


class _Landing:
    """Land the rows of one shard, chunk by chunk, and keep the totals."""

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
        without_line = partial(row_without_line, results.batch_status, results.refused)
        self._reader = ChunkReader(spec, index, without_line, results.model)
        self._decided: dict[tuple[Any, ...], bool] = {}
        self.models: set[str | None] = set()
        self._position = 0
        self._statuses: Counter[str] = Counter()
        self._usage: Counter[str] = Counter(dict.fromkeys(USAGE_COLUMNS, 0))
        self._cost = Decimal(0)
        self._priced = 0
        self._unpriced = 0
        #: The id of one row without a line, as an example for messages.
        self._unmatched_id: str | None = None

    def chunks(self, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        """Yield the chunks of a record batch of the sidecar, whose result lines fit into memory."""
        start = 0
        for count in self._index.chunk_sizes(self._position, batch.num_rows):
            yield batch.slice(start, count)
            start += count

    def land(self, batch: pa.RecordBatch, schema: pa.Schema, part: PartWriter, retry: RetryWriter) -> None:
        """Write the next chunk of rows."""
        states = batch.column("state").to_pylist() if _has_states(batch) else Same(None, batch.num_rows)
        rows = self._reader.read(self._position, states)
        if self._unmatched_id is None and (at := self._reader.without_line_at) is not None:
            self._unmatched_id = batch.column("custom_id")[at].as_py()
        attempts = _attempts(states, rows[OWN_FAILURE])
        final = self._final(rows, attempts)
        if self._media is not None and self._reader.single_rows:
            places = self._reader.single_positions
            numbers = batch.column("row_number").take(column(places, INT64))
            self._media.store(self._reader.single_rows, [final[at] for at in places], numbers)
            rows = self._reader.columns(batch.num_rows)
        self.models |= distinct(rows["model"])
        table = self._table(batch, rows, states, schema)
        self._count(table, rows)
        if 0 not in final:
            self._add_statuses(rows["status"])
            part.write(table)
        else:
            self._add_statuses(list(compress(rows["status"], final)))
            if any(final):
                part.write(table.filter(mask(final)))
            again = bytearray(not is_final for is_final in final)
            self._write_retry(batch, table, attempts, again, retry)
        self._position += batch.num_rows

    def summary(self, rows: int, retry_rows: int) -> LandedShard:
        """Return the totals."""
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
        """Return for each row whether it is final; `is_final` is called once per distinct outcome of the shard."""
        nulls = Same(None, len(attempts))
        columns = (rows["status"], rows["status_code"], rows.get("error_code", nulls), attempts)
        if all(isinstance(values, Same) for values in columns):
            return bytearray([self._decide(tuple(values[0] for values in columns))]) * len(attempts)
        outcomes = list(zip(*columns, strict=True))
        decided = {outcome: self._decide(outcome) for outcome in dict.fromkeys(outcomes)}
        return bytearray(map(decided.__getitem__, outcomes))

    def _decide(self, outcome: tuple[Any, ...]) -> bool:
        if outcome not in self._decided:
            self._decided[outcome] = bool(self._is_final(RowOutcome(*outcome)))
        return self._decided[outcome]

    def _add_statuses(self, statuses: Sequence[str]) -> None:
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
        """Return the rows of one chunk with all columns of the table."""
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
        selected = mask(again)
        # Counts above the range of the column are above every limit of attempts too.
        capped = column([min(count, 2**15 - 1) for count in attempts], INT16)
        ended = {"attempts": capped, **{name: table.column(name) for name in STATE.names if name != "attempts"}}
        state = pa.StructArray.from_arrays([ended[field.name] for field in STATE], fields=list(STATE))
        positions = column(range(self._position, self._position + batch.num_rows), POSITION.type)
        retry.write(batch.filter(selected), state.filter(selected), positions.filter(selected))


def _attempts(states: Sequence[Mapping[str, Any] | None], failures: Sequence[bool]) -> Sequence[int]:
    """Return the number of failed executions of each row, this round included."""
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
    """Return the spec with the size of the shard's first embedding, where the table has embeddings of unknown size."""
    if spec.endpoint is not Endpoint.EMBEDDINGS or spec.embedding_size is not None:
        return spec
    reader = LineReader(spec)
    for line in index.lines():
        if values := reader.read(line).values:
            vector = values[0] or values[1][0]
            return replace(spec, embedding_size=len(vector) // 4, size_from="answers")
    return spec
