"""
Request lines and their rows, written as shards within the limits of the API.

A shard is two files: ``<key>.jsonl``, the input file as it is uploaded, and ``<key>.arrow``, its sidecar with one row
for each line in the same order. A shard never contains two models. Rows of one model keep their order. Each row is in
exactly one shard. No limit is exceeded. Memory holds only the batch that is being written.
"""

from __future__ import annotations

import hashlib
import re
from array import array
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Self

import pyarrow as pa

from airflow_provider_batch.api.endpoints import FACTS, Endpoint
from airflow_provider_batch.api.service import MAX_EMBEDDING_INPUTS, MAX_FILE_BYTES, MAX_REQUESTS
from airflow_provider_batch.arrow.arrays import int64_array
from airflow_provider_batch.exceptions import RequestError
from airflow_provider_batch.requests.background_writer import BackgroundWriter
from airflow_provider_batch.requests.request_lines import Lines
from airflow_provider_batch.requests.row_checksum import as_text, row_checksum

#: Rows in one record batch of a sidecar, and bytes after which it has fewer rows.
SIDECAR_ROWS, SIDECAR_BYTES = 2_048, 8 << 20
#: Shards of different models that are open at a time; beyond this the one with the most rows is finished early.
OPEN_SHARDS = 64
_UNLIMITED = 1 << 62
#: Bytes of a request line for one input token, roughly. English prose has 4.0 to 4.6, and the API does not count the
#: JSON around it. Chinese, Japanese and Korean have 2 to 3, so the estimate is too low for these.
BYTES_PER_TOKEN = 4


@dataclass(frozen=True, order=True)
class ShardKey:
    """
    The name of a shard within a job.

    :param round: Round of the job, from 1.
    :param number: Number of the shard within the round, from 1.
    """

    round: int
    number: int

    def __str__(self) -> str:
        return f"r{self.round:02d}-s{self.number:05d}"

    @classmethod
    def parse(cls, text: str) -> ShardKey:
        """
        Return the key for a text that ``str(key)`` has written.

        :param text: Such as ``r01-s00001``.
        :raises ValueError: The text is not a shard key.
        """
        match = re.fullmatch(r"r(\d{2,})-s(\d{5,})", text, re.ASCII)
        if match is None:
            raise ValueError(f"'{text}' is not a shard key; expected one such as r01-s00001.")
        return cls(int(match[1]), int(match[2]))


@dataclass(frozen=True)
class Shard:
    """
    One finished input file and its sidecar.

    :param key: Name of the shard.
    :param lines: Local input file.
    :param rows: Local sidecar.
    :param row_count: Number of requests.
    :param byte_count: Size of the input file, in bytes.
    :param input_count: Number of inputs of an embeddings shard; for other endpoints the number of rows.
    :param token_estimate: Rough number of input tokens.
    :param model: Model of all requests; None where they name none.
    :param sha256: SHA-256 of the input file.
    :param rows_sha256: SHA-256 of the sidecar; it changes with a carried value even where no line changes.
    :param row_checksum: Checksum of its row numbers, see `row_checksum.py`.
    """

    key: ShardKey
    lines: Path
    rows: Path
    row_count: int
    byte_count: int
    input_count: int
    token_estimate: int
    model: str | None
    sha256: str
    rows_sha256: str
    row_checksum: str


@dataclass(frozen=True)
class Cut:
    """
    A shard of an earlier preparation; the same rows are cut at the same row again.

    :param key: Name of the shard.
    :param model: Model of its requests; None where they name none.
    :param rows: Number of its rows.
    """

    key: ShardKey
    model: str | None
    rows: int


def request_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    r"""
    Yield (position from 0, line without its line break) for each line of an input file.

    Only the byte ``\n`` ends a line.

    :param path: Local input file.
    """
    with path.open("rb") as file:  # unlike str.splitlines, a binary file splits at \n only
        for position, line in enumerate(file):
            yield position, line.removesuffix(b"\n")


class _OpenShard:
    """A shard that is being written."""

    def __init__(
        self,
        folder: Path,
        key: ShardKey,
        model: str | None,
        limits: tuple[int, int, int],
        schema: pa.Schema,
        background: BackgroundWriter,
    ) -> None:
        self.key, self.model, self.limits = key, model, limits
        self.lines, self.rows = folder / f"{key}.jsonl", folder / f"{key}.arrow"
        self.row_count = self.byte_count = self.input_count = 0
        self._hash = hashlib.sha256()
        self._file = self.lines.open("wb", buffering=0)
        options = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
        self._sidecar = pa.ipc.new_file(str(self.rows), schema, options=options)
        self._background = background
        self._waiting: list[pa.RecordBatch] = []
        self._waiting_rows = self._waiting_bytes = 0
        self._row_checksum = 0

    def write(self, text: pa.Buffer, rows: pa.RecordBatch, input_count: int) -> None:
        self.row_count += rows.num_rows
        self.byte_count += text.size
        self.input_count += input_count
        self._background.run(partial(self._write, text, rows))

    def _write(self, text: pa.Buffer, rows: pa.RecordBatch) -> None:
        self._hash.update(text)
        left = memoryview(text)
        while left:  # an unbuffered file may write only a part at a time
            left = left[self._file.write(left) :]
        self._write_rows(rows)

    def _write_rows(self, rows: pa.RecordBatch) -> None:
        """Write full record batches; the remaining rows are kept, so that small chunks do not make small batches."""
        while rows.num_rows:
            head = rows.slice(0, SIDECAR_ROWS - self._waiting_rows)
            rows = rows.slice(head.num_rows)
            self._waiting.append(head)
            self._waiting_rows += head.num_rows
            self._waiting_bytes += head.nbytes
            if self._waiting_rows == SIDECAR_ROWS or self._waiting_bytes >= SIDECAR_BYTES:
                self._flush()

    def _flush(self) -> None:
        if not self._waiting:
            return
        # One chunk is copied too: a slice would be written with bytes of neighbouring rows as padding, and the same
        # rows would not give the same file.
        pieces = [self._waiting[0].slice(0, 0), *self._waiting]
        whole = pa.Table.from_batches(pieces).combine_chunks().to_batches()[0]
        self._row_checksum += row_checksum(whole.column("row_number"))
        size = max(1, whole.num_rows * SIDECAR_BYTES // max(self._waiting_bytes, SIDECAR_BYTES))
        for start in range(0, whole.num_rows, size):
            self._sidecar.write_batch(whole.slice(start, size))
        self._waiting, self._waiting_rows, self._waiting_bytes = [], 0, 0

    def finish(self) -> Shard:
        self._background.wait()
        self._flush()
        self._sidecar.close()
        self._file.close()
        with self.rows.open("rb") as file:
            rows_sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        return Shard(
            key=self.key,
            lines=self.lines,
            rows=self.rows,
            row_count=self.row_count,
            byte_count=self.byte_count,
            input_count=self.input_count,
            token_estimate=self.byte_count // BYTES_PER_TOKEN,
            model=self.model,
            sha256=self._hash.hexdigest(),
            rows_sha256=rows_sha256,
            row_checksum=as_text(self._row_checksum),
        )

    def discard(self) -> None:
        """Close and remove both files."""
        self._waiting = []
        self._file.close()
        with suppress(OSError):  # it writes the end of a file that is deleted next, on a disk that may be full
            self._sidecar.close()
        self.lines.unlink(missing_ok=True)
        self.rows.unlink(missing_ok=True)


class ShardWriter:
    """
    Writes lines and their rows as shards. A context manager that deletes unfinished files when its block fails.

    :param folder: Local folder for the files; created where it is absent.
    :param round: Round of all shards, from 1.
    :param endpoint: The endpoint; embeddings have a limit of inputs.
    :param on_shard: Called with each finished shard; may move the files away.
    :param max_rows: Highest number of requests in one shard.
    :param max_bytes: Highest size of one input file in bytes, line breaks included.
    :param max_inputs: Highest number of inputs in one shard; None means the API's limit, which only embeddings have.
    :param cuts: Shards of an earlier preparation of the same rows: they are cut at the same rows again, whatever the
        limits are now.
    """

    def __init__(
        self,
        folder: Path,
        round: int,  # noqa: A002 - the field's word
        endpoint: Endpoint,
        on_shard: Callable[[Shard], None],
        *,
        max_rows: int = MAX_REQUESTS,
        max_bytes: int = MAX_FILE_BYTES,
        max_inputs: int | None = None,
        cuts: Sequence[Cut] = (),
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._round, self._on_shard = folder, round, on_shard
        inputs = MAX_EMBEDDING_INPUTS if FACTS[endpoint].counts_inputs else _UNLIMITED
        self._limits = (max_rows, max_bytes, inputs if max_inputs is None else max_inputs)
        self._cuts: dict[str | None, deque[Cut]] = {}
        for cut in sorted(cuts, key=lambda cut: cut.key):
            self._cuts.setdefault(cut.model, deque()).append(cut)
        self._open: dict[str | None, _OpenShard] = {}
        self._background = BackgroundWriter()
        self._last_number = max((cut.key.number for cut in cuts), default=0)
        self._schema: pa.Schema | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self.close()
        finally:
            self.discard()

    def add(self, lines: Lines, rows: pa.RecordBatch, models: Sequence[str | None], inputs: Sequence[int]) -> None:
        """
        Add lines and their rows, of one or several models.

        :param lines: Request lines.
        :param rows: One row for each line, with the columns of a sidecar; a column ``position`` is left out.
        :param models: The model of each line; None where it names none.
        :param inputs: Number of inputs of each line.
        :raises RequestError: A single line exceeds a limit.
        """
        if not lines:
            return
        if "position" in rows.schema.names:
            rows = rows.drop_columns(["position"])
        self._schema = self._schema or rows.schema
        first = models[0]
        if models.count(first) == len(models):
            self._add_to(first, lines, rows, inputs)
            return
        groups: dict[str | None, list[int]] = {}
        for index, model in enumerate(models):
            groups.setdefault(model, []).append(index)
        for model, picked in groups.items():
            own = rows.take(int64_array(picked))
            self._add_to(model, lines.take(picked), own, [inputs[index] for index in picked])

    def close(self) -> None:
        """Finish the open shards, in the order of their numbers."""
        while self._open:
            self._finish(min(self._open, key=lambda model: self._open[model].key))
        self._background.stop()

    def discard(self) -> None:
        """Delete the files of the open shards; finished shards belong to the caller."""
        self._background.stop()
        while self._open:
            self._open.popitem()[1].discard()

    def _add_to(self, model: str | None, lines: Lines, rows: pa.RecordBatch, inputs: Sequence[int]) -> None:
        shard = self._shard_for(model)
        sizes = (len(lines), lines.byte_count, sum(inputs))
        if all(used + size < limit for used, size, limit in zip(_used(shard), sizes, shard.limits, strict=True)):
            shard.write(lines.text(0, len(lines)), rows, sizes[2])
        else:
            self._cut(model, lines, rows, inputs)

    def _cut(self, model: str | None, lines: Lines, rows: pa.RecordBatch, inputs: Sequence[int]) -> None:
        """Write the lines that fit, finish the shard, and continue with the next one."""
        ends = (range(1, len(lines) + 1), lines.ends, array("q", accumulate(inputs)))
        start = 0
        while start < len(lines):
            shard = self._shard_for(model)
            stop = len(lines)
            for sums, limit, used in zip(ends, shard.limits, _used(shard), strict=True):
                done = sums[start - 1] if start else 0
                stop = min(stop, bisect_right(sums, limit - used + done))
            if stop <= start:
                if not shard.row_count:
                    raise self._too_large(rows, start, lines.sizes[start], inputs[start])
                self._finish(model)
                continue
            shard.write(lines.text(start, stop), rows.slice(start, stop - start), sum(inputs[start:stop]))
            start = stop
            if any(used >= limit for used, limit in zip(_used(shard), shard.limits, strict=True)):
                self._finish(model)

    def _shard_for(self, model: str | None) -> _OpenShard:
        if model in self._open:
            return self._open[model]
        if len(self._open) >= OPEN_SHARDS:
            self._finish(max(self._open, key=lambda other: self._open[other].row_count))
        key, limits = self._next(model)
        assert self._schema is not None
        shard = self._open[model] = _OpenShard(self._folder, key, model, limits, self._schema, self._background)
        return shard

    def _next(self, model: str | None) -> tuple[ShardKey, tuple[int, int, int]]:
        """Return the key and the limits of the model's next shard."""
        if cuts := self._cuts.get(model):
            cut = cuts.popleft()
            return cut.key, (cut.rows, _UNLIMITED, _UNLIMITED)
        self._last_number += 1
        return ShardKey(self._round, self._last_number), self._limits

    def _finish(self, model: str | None) -> None:
        finished = self._open[model].finish()
        del self._open[model]
        self._on_shard(finished)

    def _too_large(self, rows: pa.RecordBatch, index: int, size: int, inputs: int) -> RequestError:
        row = rows.column("row_number")[index].as_py()
        return RequestError(size_problem(size, inputs, self._limits[1], self._limits[2]), row=row)


def size_problem(size: int, inputs: int, max_bytes: int, max_inputs: int) -> str:
    """
    Return why a single request does not fit into an input file of its own.

    :param size: Size of the request line in bytes.
    :param inputs: Number of inputs of the request.
    :param max_bytes: Highest size of an input file in bytes.
    :param max_inputs: Highest number of inputs in an input file.
    """
    if inputs > max_inputs:
        return (
            f"this request has {inputs:,} inputs; a file takes at most {max_inputs:,}. Spread them over several rows."
        )
    return f"this request alone has {size:,} bytes; a file takes at most {max_bytes:,}. Shorten or split the row."


def _used(shard: _OpenShard) -> tuple[int, int, int]:
    return shard.row_count, shard.byte_count, shard.input_count
