"""
Read the requests of a foreign batch: one that another tool, a gateway or a script created.

The rows are the requests in its input file. The file is read leniently: numbers as ids, lone surrogates, a byte order
mark and any order of fields are accepted. Any other line stops the load with an error that names it, because its answer
may be charged. Where the batch has no endpoint (Azure can return null), the endpoint is taken from the input lines;
where the input file does not exist any more, from the answers.
"""

from __future__ import annotations

import codecs
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa

from airflow_provider_batch.api.client import BatchClient
from airflow_provider_batch.api.endpoints import FACTS, Endpoint, endpoint_in
from airflow_provider_batch.api.objects import Batch
from airflow_provider_batch.exceptions import ConfigurationError, NotFoundError, SourceError
from airflow_provider_batch.jobs.landing.shard import fetch_results
from airflow_provider_batch.jobs.landing.staging import NEEDS
from airflow_provider_batch.jobs.ledger.shard_record import ShardRecord
from airflow_provider_batch.requests.shards import SIDECAR_ROWS
from airflow_provider_batch.requests.sidecar import sidecar_schema
from airflow_provider_batch.results.landing import ShardResults
from airflow_provider_batch.results.lines.lenient_path import read_as
from airflow_provider_batch.storage.local_disk import scratch

#: The largest size of one line, in bytes: no service accepts larger files, and a file without line breaks must not fill
#: the memory.
MAX_LINE_BYTES = 256 << 20
#: The largest size of a line for the lenient path, in bytes: it creates Python objects for the whole line.
MAX_LENIENT_BYTES = 64 << 20

#: Field `object` of a response body → its endpoint.
_OBJECTS = {facts.answer_object: endpoint for endpoint, facts in FACTS.items() if facts.answer_object is not None}


class _Request(msgspec.Struct):
    """The fields of a request line that the loader needs; of a result line only the id."""

    custom_id: str | None = None
    url: str | None = None


class _Body(msgspec.Struct):
    object: str | None = None


class _Response(msgspec.Struct):
    body: _Body | None = None


class _Answer(msgspec.Struct):
    response: _Response | None = None


class _RawRequest(msgspec.Struct):
    custom_id: msgspec.Raw = msgspec.Raw(b"null")
    url: msgspec.Raw = msgspec.Raw(b"null")


_decode = msgspec.json.Decoder(_Request).decode
_decode_raw = msgspec.json.Decoder(_RawRequest).decode


@dataclass(frozen=True)
class ForeignRows:
    """
    The rows of one batch.

    :param path: Local sidecar with the rows.
    :param count: Number of rows in the sidecar.
    :param lost: Number of rows that are known only from the request counts of the batch.
    :param positions: Position of the row by line of the input file, both from 0; empty where both are equal.
    """

    path: Path
    count: int
    lost: int
    positions: Mapping[int, int] = field(default_factory=dict)

    def with_row_positions(self, results: ShardResults) -> ShardResults:
        """
        Return the results with the errors of the API by position of the row; the API counts lines, also blank ones.

        :param results: Results of the batch, with its errors by line of the input file.
        """
        if not self.positions or not results.refused:
            return results
        refused = {self.positions[line]: error for line, error in results.refused.items() if line in self.positions}
        return replace(results, refused=refused)


def read_foreign(
    batch: Batch, shard: ShardRecord, client: BatchClient, folder: Path, first_row: int, log: logging.Logger
) -> tuple[Endpoint, ForeignRows]:
    """
    Return the endpoint of a foreign batch, and its rows.

    :param batch: The batch.
    :param shard: The batch as a shard that has ended.
    :param client: Client of the account.
    :param folder: Local folder for the sidecar.
    :param first_row: Row number of the batch's first row in the table, from 0.
    :param log: Logger of the task.
    :raises SourceError: A line of the input file is not a request, or two requests have the same id.
    :raises ConfigurationError: The endpoint is unknown, or the input file has lines of several endpoints.
    """
    path = folder / f"{shard.key}.arrow"
    with scratch(f"reading batch {batch.id}", NEEDS) as work:
        try:
            if shard.file_id is None:
                raise NotFoundError(f"Batch {batch.id} has no input file.")
            client.download(shard.file_id, work / "input.jsonl")
        except NotFoundError:
            log.warning(
                "Batch %s: its input file does not exist any more. Rows without a result line cannot be landed; %s.",
                batch.id, "only their number is known" if batch.total else "the batch has no request counts either",
            )  # fmt: skip
            files = _result_files(shard, client, work)
            count = _write_sidecar(path, _result_ids(files, batch), first_row)
            rows = ForeignRows(path, count, max(0, batch.total - count))
            endpoint = endpoint_in(batch.endpoint) or _endpoint_of_answers(files, batch)
        else:
            requests = _Requests(batch)
            count = _write_sidecar(path, requests.ids(work / "input.jsonl"), first_row)
            rows = ForeignRows(path, count, max(0, batch.total - count), requests.positions)
            endpoint = requests.endpoint() or _endpoint_of_answers(_result_files(shard, client, work), batch)
    if endpoint is None:
        names = ", ".join(endpoint.value for endpoint in Endpoint)
        raise ConfigurationError(
            f"Batch {batch.id}: its endpoint is unknown: the batch has {batch.endpoint or 'none'}, and neither the "
            f"'url' of its input lines nor its answers belong to one of {names}. Nothing was landed; the batch's "
            "result files contain the answers."
        )
    return endpoint, rows


class _Requests:
    """Read the requests in the input file of one batch."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._lines: dict[str, int] = {}
        self._endpoints: dict[Endpoint, int] = {}
        self._positions: dict[int, int] = {}
        #: A batch without result files can have duplicate ids: the API may have refused the file because of them.
        self._unique = bool(batch.output_file_id or batch.error_file_id)

    @property
    def positions(self) -> dict[int, int]:
        """Position of the row by line; empty where both are equal."""
        return {} if all(line == row for line, row in self._positions.items()) else self._positions

    def endpoint(self) -> Endpoint | None:
        """
        Return the endpoint of the lines, or that of the batch where the lines have none.

        The lines come first: on Azure a batch of `/v1/responses` has the endpoint `/chat/completions`.
        """
        if len(self._endpoints) > 1:
            found = " and ".join(f"{one.value} (line {number + 1:,})" for one, number in self._endpoints.items())
            raise ConfigurationError(
                f"Batch {self._batch.id}: the lines of its input file {self._batch.input_file_id} have the endpoints "
                f"{found}. A table has the answers of one endpoint. Nothing was landed; the batch's result files "
                "contain the answers."
            )
        return next(iter(self._endpoints), None) or endpoint_in(self._batch.endpoint)

    def ids(self, file: Path) -> Iterator[str]:
        """Yield the id of each request, in order."""
        for number, line in _lines(file, self._batch):
            read = _read(line)
            if read is None or read.custom_id is None:
                raise SourceError(_not_a_request(line, number, self._batch, read))
            first = self._lines.setdefault(read.custom_id, number)
            if self._unique and first != number:
                raise SourceError(_duplicate_id(read.custom_id, first, number, self._batch))
            if read.url is not None and (endpoint := endpoint_in(read.url)) is not None:
                self._endpoints.setdefault(endpoint, number)
            self._positions[number] = len(self._positions)
            yield read.custom_id


def _not_a_request(line: bytes, number: int, batch: Batch, read: _Request | None) -> str:
    shown = line[:80].decode("utf-8", "replace").strip()
    if line.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        found = "UTF-16 text"
    elif len(line) > MAX_LENIENT_BYTES:
        found = f"{len(line):,} bytes that cannot be read as JSON"
    else:
        found = f"no JSON object: {shown}" if read is None else f"no custom_id: {shown}"
    return (
        f"Line {number + 1:,} of {batch.input_file_id}, the input file of batch {batch.id}: expected a request with a "
        f"custom_id, found {found}. Nothing was landed, because the answer to this line cannot be matched; the batch's "
        "result files contain the answers."
    )


def _duplicate_id(custom_id: str, first: int, second: int, batch: Batch) -> str:
    return (
        f"Lines {first + 1:,} and {second + 1:,} of {batch.input_file_id}, the input file of batch {batch.id}, have "
        f"the same custom_id {custom_id!r}, so their answers cannot be matched. Nothing was landed; the batch's result "
        "files contain the answers."
    )


def _endpoint_of_answers(files: Sequence[Path], batch: Batch) -> Endpoint | None:
    for path in files:
        for _, line in _lines(path, batch):
            try:
                read = read_as(line, _Answer)
            except ValueError:
                continue
            body = None if read.response is None else read.response.body
            if body is not None and (endpoint := _OBJECTS.get(body.object or "")) is not None:
                return endpoint
    return None


def _result_ids(files: Sequence[Path], batch: Batch) -> Iterator[str]:
    """Yield each id of the result lines once; lines without an id count as unreadable when the batch is landed."""
    seen: dict[str, None] = {}
    for path in files:
        for _, line in _lines(path, batch):
            read = _read(line)
            if read is not None and read.custom_id is not None:
                seen.setdefault(read.custom_id)
    return iter(seen)


def _result_files(shard: ShardRecord, client: BatchClient, folder: Path) -> list[Path]:
    results = fetch_results(client, shard, folder / "rows.arrow", folder)
    return [path for path in (results.output, results.error) if path is not None]


def _lines(path: Path, batch: Batch) -> Iterator[tuple[int, bytes]]:
    r"""Yield the lines that are not blank with their numbers, from 0; a line ends at `\n` only."""
    number = 0
    with path.open("rb") as file:
        while line := file.readline(MAX_LINE_BYTES):
            if len(line) == MAX_LINE_BYTES and not line.endswith(b"\n"):
                raise SourceError(
                    f"Batch {batch.id}: line {number + 1:,} of one of its files is longer than "
                    f"{MAX_LINE_BYTES >> 20} MB; expected one JSON object per line. Nothing was landed; the "
                    "batch's result files contain the answers."
                )
            if line.removeprefix(codecs.BOM_UTF8).strip():
                yield number, line
            number += 1


def _read(line: bytes) -> _Request | None:
    try:
        return _decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        pass
    try:  # an id that is a number: the other fields, which may be long, are skipped and not decoded
        raw = _decode_raw(line)
        return read_as(b'{"custom_id":%b,"url":%b}' % (bytes(raw.custom_id), bytes(raw.url)), _Request)
    except (msgspec.MsgspecError, RecursionError, ValueError):
        if len(line) > MAX_LENIENT_BYTES:
            return None
    try:
        return read_as(line, _Request)
    except ValueError:
        return None


def _write_sidecar(path: Path, custom_ids: Iterator[str], first_row: int) -> int:
    """Write a sidecar without carried columns; return the number of rows."""
    schema = sidecar_schema(pa.schema([]))
    count = 0
    with pa.ipc.new_file(str(path), schema) as writer:
        while ids := list(islice(custom_ids, SIDECAR_ROWS)):
            writer.write_batch(pa.RecordBatch.from_pylist(_rows(ids, first_row + count), schema=schema))
            count += len(ids)
    return count


def _rows(ids: Sequence[str], first: int) -> list[dict[str, Any]]:
    return [{"row_number": number, "custom_id": one, "state": {"attempts": 0}} for number, one in enumerate(ids, first)]
