"""The rows of one piece of a shard, by columns: usual lines together, the others and the absent ones one by one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any

from airflow_provider_batch.results.extractors import UNREADABLE
from airflow_provider_batch.results.fast_path import FastPathReader
from airflow_provider_batch.results.line_reader import CANCELLED, EXPIRED, Columns, LineReader, Row, columns_of
from airflow_provider_batch.results.lines.line_index import LineIndex
from airflow_provider_batch.table.schema import TableSpec, own_columns

State = Mapping[str, Any] | None


class ChunkReader:
    """
    Reads the rows of one shard.

    :param absent: Returns the row of a request without a result line, by its position and its last state.
    :param model: The model that was asked.
    """

    def __init__(
        self, spec: TableSpec, index: LineIndex, absent: Callable[[int, State], Row], model: str | None = None
    ) -> None:
        self._index, self._absent = index, absent
        self._usual = FastPathReader.for_table(spec)
        self._reader = LineReader(spec, model)
        self._own = tuple(own_columns(spec))
        #: Those of the last rows that were read one by one, and their places among all of them.
        self.apart: list[Row] = []
        self.apart_places: Sequence[int] = ()
        self._usual_columns: Columns = {}
        #: Rows whose line says that the batch ended before them, and rows whose line cannot be read.
        self.ended_early = self.unreadable_rows = 0
        #: The place of one of the last rows that has no line.
        self.absent_at: int | None = None

    def read(self, start: int, states: Sequence[State]) -> Columns:
        """
        Return the values of the next rows.

        :param start: Position of the first of them in the shard.
        :param states: What the last round of each of them ended as, where there was one.
        """
        lines = self._index.read(start, len(states))
        self._usual_columns, self.apart_places = {}, range(len(lines))
        if self._usual is not None:
            self._usual_columns, self.apart_places = self._usual.read(lines)
            if 2 * sum(bool(lines[at]) for at in self.apart_places) > len(lines):
                self._usual = None  # not worth a try in this shard
        self.absent_at = next((at for at in self.apart_places if not lines[at]), None)
        self.apart = [self._row(bytes(lines[at]), start + at, states[at]) for at in self.apart_places]
        return self.columns(len(lines))

    def columns(self, count: int) -> Columns:
        """Return the values of the last rows: also once those in `apart` were changed."""
        if not self.apart:
            return self._usual_columns
        apart = columns_of(self.apart, self._own)
        return _merged(self._usual_columns, apart, self.apart_places, count) if self._usual_columns else apart

    def _row(self, line: bytes, position: int, state: State) -> Row:
        if not line:
            return self._absent(position, state)
        row = self._reader.read(line)
        if row.error_code == UNREADABLE:
            self._index.keep_unreadable(line)
            self.unreadable_rows += row.values is None
        self.ended_early += row.status in (EXPIRED, CANCELLED)
        return row


def _merged(first: Columns, second: Columns, seconds: Sequence[int], count: int) -> Columns:
    """
    Return the columns of both, in order.

    :param seconds: The places of the second's rows.
    :param count: The rows of both.
    """
    places = range(count - len(seconds))
    order = list(places)
    for number, at in enumerate(seconds, len(places)):
        order.insert(at, number)
    pick = itemgetter(*order)
    nothing = [None] * count
    return {
        name: pick([*first.get(name, nothing[: len(places)]), *second.get(name, nothing[: len(seconds)])])
        for name in {**first, **second}
    }
