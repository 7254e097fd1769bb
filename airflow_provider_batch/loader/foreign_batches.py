"""
The requests of a batch that somebody else made: other tools, gateways, scripts.

Its input file says which rows there are. It is read liberally, as result lines are: an id that is a number, half a
surrogate pair, a byte order mark, any order of members. A line that is no request all the same stops the load and is
named, since its answer may be paid for. Where the batch does not say its endpoint (Azure's may be null), its lines do,
and where the file is gone the answers.
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

#: Bytes of one line. No service takes larger files; a file without line breaks must not fill the memory.
MAX_LINE_BYTES = 256 << 20
#: Bytes of a line up to which the liberal reader is tried, which makes Python objects of the whole line.
MAX_LIBERAL_BYTES = 64 << 20

#: `object` of an answer, and whose answer it is.
_OBJECTS = {facts.answer_object: endpoint for endpoint, facts in FACTS.items() if facts.answer_object is not None}


class _Request(msgspec.Struct):
    """Of a request line what the loader needs, and of a result line its id."""

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
    The rows of a batch.

    :param path: Their sidecar, a local file.
    :param count: How many there are.
    :param lost: Rows that are known by count only.
    :param places: A row's place by the line of the input file, both from 0; empty where they are the same.
    """

    path: Path
    count: int
    lost: int
    places: Mapping[int, int] = field(default_factory=dict)

    def placed(self, results: ShardResults) -> ShardResults:
        """Return results whose refusals name rows: the API counts the lines of the file, blank ones too."""
        if not self.places or not results.refused:
            return results
        refused = {self.places[line]: error for line, error in results.refused.items() if line in self.places}
        return replace(results, refused=refused)


def read_foreign(
    batch: Batch, shard: ShardRecord, client: BatchClient, folder: Path, first_row: int, log: logging.Logger
) -> tuple[Endpoint, ForeignRows]:
    """
    Return which endpoint a batch asked, and its rows.

    :param shard: The batch as a shard that has ended.
    :param folder: Where the sidecar is written.
    :param first_row: Number of the batch's first row in the table.
    :raises SourceError: A line of its input file is no request, or two have the same id.
    :raises ConfigurationError: Nothing tells the endpoint, or the lines name several.
    """
    path = folder / f"{shard.key}.arrow"
    with scratch(f"reading batch {batch.id}", NEEDS) as work:
        try:
            if shard.file_id is None:
                raise NotFoundError(f"Batch {batch.id} names no input file.")
            client.download(shard.file_id, work / "input.jsonl")
        except NotFoundError:
            log.warning(
                "Batch %s: its input file is gone; rows that no result file holds are known by %s.",
                batch.id, "count only" if batch.total else "nothing: the batch says no count",
            )  # fmt: skip
            files = _result_files(shard, client, work)
            count = _write_sidecar(path, _result_ids(files, batch), first_row)
            rows = ForeignRows(path, count, max(0, batch.total - count))
            endpoint = endpoint_in(batch.endpoint) or _endpoint_of_answers(files, batch)
        else:
            requests = _Requests(batch)
            count = _write_sidecar(path, requests.ids(work / "input.jsonl"), first_row)
            rows = ForeignRows(path, count, max(0, batch.total - count), requests.places)
            endpoint = requests.endpoint() or _endpoint_of_answers(_result_files(shard, client, work), batch)
    if endpoint is None:
        names = ", ".join(endpoint.value for endpoint in Endpoint)
        raise ConfigurationError(
            f"Batch {batch.id}: its endpoint is {batch.endpoint or 'not said'}, and neither its input lines ('url') "
            f"nor its answers tell which of {names} it asked. It cannot be landed as a typed table."
        )
    return endpoint, rows


class _Requests:
    """The requests of one batch, while its input file is read."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._lines: dict[str, int] = {}
        self._endpoints: dict[Endpoint, int] = {}
        self._places: dict[int, int] = {}
        #: Without results no answer can be given to a wrong row: a file may have been refused for its doubled ids.
        self._unique = bool(batch.output_file_id or batch.error_file_id)

    @property
    def places(self) -> dict[int, int]:
        """A row's place by its line; empty where they are the same."""
        return {} if all(line == row for line, row in self._places.items()) else self._places

    def endpoint(self) -> Endpoint | None:
        """
        Return what the lines name, else what the batch says.

        Azure wants `/chat/completions` for a batch of `/v1/responses` too, and goes by the lines.
        """
        if len(self._endpoints) > 1:
            named = " and ".join(f"{told.value} (line {number + 1:,})" for told, number in self._endpoints.items())
            raise ConfigurationError(
                f"Batch {self._batch.id}: the lines of its input file {self._batch.input_file_id} name {named}. "
                "A table holds the answers of one endpoint."
            )
        return next(iter(self._endpoints), None) or endpoint_in(self._batch.endpoint)

    def ids(self, file: Path) -> Iterator[str]:
        """Yield the id of each request."""
        for number, line in _lines(file, self._batch):
            read = _read(line)
            if read is None or read.custom_id is None:
                raise SourceError(_no_request(line, number, self._batch, read))
            first = self._lines.setdefault(read.custom_id, number)
            if self._unique and first != number:
                raise SourceError(_doubled(read.custom_id, first, number, self._batch))
            if read.url is not None and (told := endpoint_in(read.url)) is not None:
                self._endpoints.setdefault(told, number)
            self._places[number] = len(self._places)
            yield read.custom_id


def _no_request(line: bytes, number: int, batch: Batch, read: _Request | None) -> str:
    shown = line[:80].decode("utf-8", "replace").strip()
    if line.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        found = "UTF-16 text"
    elif len(line) > MAX_LIBERAL_BYTES:
        found = f"{len(line):,} bytes that cannot be read as JSON"
    else:
        found = f"no JSON object: {shown}" if read is None else f"none: {shown}"
    return (
        f"Line {number + 1:,} of {batch.input_file_id}, the input file of batch {batch.id}: expected a request with a "
        f"custom_id, found {found}. Its answer could not be matched, so nothing was landed; the batch's result files "
        "hold the answers."
    )


def _doubled(custom_id: str, first: int, second: int, batch: Batch) -> str:
    return (
        f"Lines {first + 1:,} and {second + 1:,} of {batch.input_file_id}, the input file of batch {batch.id}, have "
        f"the same custom_id {custom_id!r}: which answer belongs to which cannot be told. Nothing was landed; the "
        "batch's result files hold the answers."
    )


def _endpoint_of_answers(files: Sequence[Path], batch: Batch) -> Endpoint | None:
    for path in files:
        for _, line in _lines(path, batch):
            try:
                read = read_as(line, _Answer)
            except ValueError:
                continue
            body = None if read.response is None else read.response.body
            if body is not None and (told := _OBJECTS.get(body.object or "")) is not None:
                return told
    return None


def _result_ids(files: Sequence[Path], batch: Batch) -> Iterator[str]:
    """Yield the ids of all result lines that have one, each once; the landing counts the others as unreadable."""
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
    r"""Yield the lines that are not blank with their numbers, from 0; cut at `\n` alone."""
    number = 0
    with path.open("rb") as file:
        while line := file.readline(MAX_LINE_BYTES):
            if len(line) == MAX_LINE_BYTES and not line.endswith(b"\n"):
                raise SourceError(
                    f"Batch {batch.id}: line {number + 1:,} of one of its files is longer than "
                    f"{MAX_LINE_BYTES >> 20} MB. Expected one JSON object a line. Nothing was landed."
                )
            if line.removeprefix(codecs.BOM_UTF8).strip():
                yield number, line
            number += 1


def _read(line: bytes) -> _Request | None:
    try:
        return _decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        pass
    try:  # an id that is a number: the rest of the line, which may be long, is looked over and not read
        raw = _decode_raw(line)
        return read_as(b'{"custom_id":%b,"url":%b}' % (bytes(raw.custom_id), bytes(raw.url)), _Request)
    except (msgspec.MsgspecError, RecursionError, ValueError):
        if len(line) > MAX_LIBERAL_BYTES:
            return None
    try:
        return read_as(line, _Request)
    except ValueError:
        return None


def _write_sidecar(path: Path, custom_ids: Iterator[str], first_row: int) -> int:
    """Write ids, and no carried columns; return the number of rows."""
    schema = sidecar_schema(pa.schema([]))
    count = 0
    with pa.ipc.new_file(str(path), schema) as writer:
        while ids := list(islice(custom_ids, SIDECAR_ROWS)):
            writer.write_batch(pa.RecordBatch.from_pylist(_rows(ids, first_row + count), schema=schema))
            count += len(ids)
    return count


def _rows(ids: Sequence[str], first: int) -> list[dict[str, Any]]:
    return [{"row_number": number, "custom_id": one, "state": {"attempts": 0}} for number, one in enumerate(ids, first)]
