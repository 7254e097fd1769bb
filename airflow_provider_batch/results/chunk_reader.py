"""
Read the rows of one chunk of a shard as columns.

The fast path reads usual lines together. All other lines, and rows without a line, are read one by one: single rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any

from airflow_provider_batch.answers.answer import UNREADABLE
from airflow_provider_batch.answers.answer_format import Columns
from airflow_provider_batch.results.fast_path import FastPathReader
from airflow_provider_batch.results.line_reader import CANCELLED, EXPIRED, LineReader, Row, columns_of
from airflow_provider_batch.results.lines.line_index import LineIndex
from airflow_provider_batch.table.schema import TableSpec, own_columns

State = Mapping[str, Any] | None


class ChunkReader:
    """
    Read the rows of one shard.

    :param spec: Endpoint and options of the table.
    :param index: Index of the shard's result lines.
    :param without_line: Returns the row of a request without a result line, from its position in the shard and the
        state of its last round.
    :param model: Model of the requests, for answers that do not name one; None where it is unknown.
    """

    def __init__(
        self, spec: TableSpec, index: LineIndex, without_line: Callable[[int, State], Row], model: str | None = None
    ) -> None:
        self._index, self._without_line = index, without_line
        self._fast_path = FastPathReader.for_table(spec)
        self._reader = LineReader(spec, model)
        self._own = tuple(own_columns(spec))
        #: The single rows of the last chunk, and their positions in the chunk.
        self.single_rows: list[Row] = []
        self.single_positions: Sequence[int] = ()
        self._fast_columns: Columns = {}
        #: Number of rows whose line says that the batch ended before they ran, and of rows with an unreadable line.
        self.ended_early = self.unreadable_rows = 0
        #: Position in the last chunk of a row without a line; None where all have one.
        self.without_line_at: int | None = None

    def read(self, start: int, states: Sequence[State]) -> Columns:
        """
        Return the columns of the next chunk.

        :param start: Position of its first row in the shard, from 0.
        :param states: For each row the state after its last round; None in the first round.
        """
        lines = self._index.read(start, len(states))
        self._fast_columns, self.single_positions = {}, range(len(lines))
        if self._fast_path is not None:
            self._fast_columns, self.single_positions = self._fast_path.read(lines)
            if 2 * sum(bool(lines[at]) for at in self.single_positions) > len(lines):
                self._fast_path = None  # most lines have another form: the attempts cost more than they save
        self.without_line_at = next((at for at in self.single_positions if not lines[at]), None)
        self.single_rows = [self._row(bytes(lines[at]), start + at, states[at]) for at in self.single_positions]
        return self.columns(len(lines))

    def columns(self, count: int) -> Columns:
        """
        Return the columns of the last chunk; call it again after changes to `single_rows`.

        :param count: Number of rows in the chunk.
        """
        if not self.single_rows:
            return self._fast_columns
        single = columns_of(self.single_rows, self._own)
        return _merged(self._fast_columns, single, self.single_positions, count) if self._fast_columns else single

    def _row(self, line: bytes, position: int, state: State) -> Row:
        if not line:
            return self._without_line(position, state)
        row = self._reader.read(line)
        if row.error_code == UNREADABLE:
            self._index.keep_unreadable(line)
            self.unreadable_rows += row.values is None
        self.ended_early += row.status in (EXPIRED, CANCELLED)
        return row


def _merged(first: Columns, second: Columns, positions: Sequence[int], count: int) -> Columns:
    """
    Return the columns of both, in the order of the rows.

    :param positions: Positions of the second's rows in the result.
    :param count: Number of rows in the result.
    """
    firsts = range(count - len(positions))
    order = list(firsts)
    for number, at in enumerate(positions, len(firsts)):
        order.insert(at, number)
    pick = itemgetter(*order)
    nulls = [None] * count
    return {
        name: pick([*first.get(name, nulls[: len(firsts)]), *second.get(name, nulls[: len(positions)])])
        for name in {**first, **second}
    }
