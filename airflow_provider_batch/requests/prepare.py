"""
A table as shards: every row becomes one request line in exactly one shard, in order, or an error names the row.

Everything is checked here before anything is sent: templates, members, limits, and that each ``custom_id`` is
different. Memory holds one chunk of rows, whatever the table's size; finished shards are handed over as soon as they
are full.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa

from airflow_provider_batch import storage
from airflow_provider_batch.api.endpoints import FACTS, Endpoint
from airflow_provider_batch.api.service import MAX_EMBEDDING_INPUTS, MAX_FILE_BYTES, MAX_REQUESTS
from airflow_provider_batch.arrow.values import unstorable_type
from airflow_provider_batch.exceptions import ConfigurationError, RequestError, SourceError, TemplateError
from airflow_provider_batch.requests.duplicate_ids import IdentifierCheck
from airflow_provider_batch.requests.ready_lines import MEMBERS, ReadyRenderer
from airflow_provider_batch.requests.shards import Cut, Shard, ShardWriter, size_problem
from airflow_provider_batch.requests.sidecar import STATE, sidecar_schema
from airflow_provider_batch.requests.templates.data_urls import DataUrls
from airflow_provider_batch.requests.templates.rendering import Rendered, TemplateRenderer
from airflow_provider_batch.requests.templates.template import NullInTextError
from airflow_provider_batch.sources.column_paths import Columns, columns_hint
from airflow_provider_batch.sources.filters import Selection
from airflow_provider_batch.sources.row_chunk import BATCH_BYTES, Place, SourceBatch
from airflow_provider_batch.sources.schema_agreement import check_similar_names_of_rows, similar_columns
from airflow_provider_batch.sources.source import Source
from airflow_provider_batch.storage import Resolver
from airflow_provider_batch.structured.response_format import directive
from airflow_provider_batch.structured.response_model import ResponseModel

#: Renders rows as request lines: from a template, or rows that are request lines.
Renderer = TemplateRenderer | ReadyRenderer
#: Suspected duplicates whose ids are compared; further ones are not read again.
_COMPARED_PAIRS = 10_000


@dataclass(frozen=True)
class RequestSpec:
    """
    How rows become requests.

    :param endpoint: The endpoint of all requests.
    :param body: Template of the request body; None means that the rows are request lines.
    :param custom_id: Template of the id; None means the row number.
    :param carry: Columns to carry to the result table; None means all (without a body: all that are not part of the
        request line).
    :param null_text: Text for a null inside a longer text; None makes it an error.
    :param filters: Which rows are wanted; see `filters`. None means all.
    :param sample: Share of these rows, above 0 and up to 1, picked by their numbers; None means all.
    :param limit: Highest number of rows; None means no limit.
    :param data_urls: Columns of bytes or of URIs that become data URLs in the body.
    :param max_shard_rows: Highest number of requests in one input file.
    :param max_shard_bytes: Highest size of one input file, in bytes.
    :param response_model: Model of the answers; becomes members of the body whose texts are not templates.
    :param by_any: Whether values that other services accept are accepted, not only those of OpenAI and Azure.
    :param check_bodies: Whether the kinds of values are checked against what the endpoint accepts.
    :param url: The ``url`` of the request lines; None means the endpoint's own path.
    :param base64_vectors: Whether embeddings are requested as base64 where the body does not say how.
    """

    endpoint: Endpoint
    body: Mapping[str, Any] | None
    custom_id: str | None = None
    carry: Sequence[str] | None = None
    null_text: str | None = None
    filters: Sequence[Any] | None = None
    sample: float | None = None
    limit: int | None = None
    data_urls: Sequence[str] = ()
    max_shard_rows: int = MAX_REQUESTS
    max_shard_bytes: int = MAX_FILE_BYTES
    response_model: ResponseModel | None = None
    by_any: bool = False
    check_bodies: bool = True
    url: str | None = None
    base64_vectors: bool = True

    @property
    def selection(self) -> Selection:
        """The rows that are wanted; raises ConfigurationError where an argument is not valid."""
        return Selection.of(self.filters, self.sample, self.limit)


@dataclass(frozen=True)
class Prepared:
    """
    The shards of a job and their totals.

    :param row_count: Number of requests.
    :param byte_count: Size of all input files, in bytes.
    :param token_estimate: Rough number of input tokens.
    :param carried: The carried columns under their own names.
    :param shards: In the order of their numbers.
    :param models: Models in the order of the shards that use them first; None where requests name no model.
    """

    row_count: int
    byte_count: int
    token_estimate: int
    carried: pa.Schema
    shards: Sequence[Shard] = field(default=())
    models: Sequence[str | None] = field(default=())


def prepare(
    source: Source,
    spec: RequestSpec,
    folder: Path,
    on_shard: Callable[[Shard], None],
    *,
    resolve: Resolver = storage.resolve,
    cuts: Sequence[Cut] = (),
) -> Prepared:
    """
    Write a table's requests as shards of round 1.

    :param source: The table.
    :param spec: How rows become requests.
    :param folder: Local folder for the files.
    :param on_shard: Called with each finished shard; may move its files away. An error that is found later is raised
        all the same.
    :param resolve: Turns the URIs of `data_urls` into a `Location`.
    :param cuts: Shards of an earlier preparation; the same shards are made again.
    :raises InputError: A row, a template or an argument is not valid; nothing was sent.
    """
    _check_arguments(spec)
    source = source.select(spec.selection)
    renderer = _renderer(source, spec)
    carried = _carried(source, spec)
    used = _used_columns(source, renderer, spec)
    source.check_named(used)
    similar = similar_columns(used, source.names)
    # The values of rows given as objects are read from these; a source without columns has no rows.
    has_columns = source.columns_known and not source.keeps_objects
    columns = list(dict.fromkeys([*(renderer.columns if has_columns else ()), *carried.names]))
    data_urls = DataUrls(spec.data_urls, Columns(source.schema, source.columns_known), resolve)
    shards: list[Shard] = []
    limits = {"max_rows": spec.max_shard_rows, "max_bytes": spec.max_shard_bytes}

    def finished(shard: Shard) -> None:
        shards.append(shard)
        on_shard(shard)

    rows = 0
    try:
        with (
            ShardWriter(folder, 1, spec.endpoint, finished, cuts=cuts, **limits) as writer,
            IdentifierCheck(folder) as identifiers,
        ):
            whole = data_urls.shown(source.batches(columns))
            for batch in chain.from_iterable(batch.pieces(_rows_at_once(renderer, batch)) for batch in whole):
                rows += len(batch)
                _check_variety(renderer, rows)
                check_similar_names_of_rows(batch, similar)
                rendered = renderer.render(batch)
                _check_sizes(rendered, batch, spec)
                if renderer.identifier_columns is not None:
                    identifiers.add(rendered.identifiers.to_pylist())
                writer.add(rendered.lines, _sidecar_rows(batch, rendered, carried), rendered.models, rendered.inputs)
            if suspects := identifiers.suspects():
                _check_suspects(suspects, source, renderer)
    except NullInTextError as error:
        raise _counted(error, source) from error
    shards.sort(key=lambda shard: shard.key)
    return Prepared(
        row_count=rows,
        byte_count=sum(shard.byte_count for shard in shards),
        token_estimate=sum(shard.token_estimate for shard in shards),
        carried=carried,
        shards=tuple(shards),
        models=tuple(dict.fromkeys(shard.model for shard in shards)),
    )


def _check_arguments(spec: RequestSpec) -> None:
    for name in ("max_shard_rows", "max_shard_bytes"):
        if getattr(spec, name) < 1:
            raise ConfigurationError(f"{name}: expected at least 1, found {getattr(spec, name)}.")
    if spec.body is None and spec.custom_id is not None:
        raise ConfigurationError(
            "custom_id: without a body the rows are request lines, which have their own custom_id. Leave custom_id out."
        )
    if isinstance(spec.carry, str):
        raise ConfigurationError(f"carry: expected a list of columns, found the text {spec.carry!r}.")
    if spec.body is None and spec.data_urls:
        raise ConfigurationError(
            "data_urls: without a body the rows are request lines and are sent unchanged. Leave it out."
        )
    if spec.body is not None and not isinstance(spec.body, Mapping):
        raise TemplateError(f"body: expected a mapping, found {type(spec.body).__name__}.")


def _renderer(source: Source, spec: RequestSpec) -> Renderer:
    if spec.body is None:
        names = source.names if source.columns_known else None
        return ReadyRenderer(spec.endpoint, names, url=spec.url, by_any=spec.by_any, check_bodies=spec.check_bodies)
    return TemplateRenderer(
        spec.endpoint,
        spec.body,
        Columns(source.schema, source.columns_known),
        custom_id=spec.custom_id,
        null_text=spec.null_text,
        verbatim=directive(spec.endpoint, spec.response_model, spec.body),
        url=spec.url,
        base64_vectors=spec.base64_vectors,
        by_any=spec.by_any,
        check_bodies=spec.check_bodies,
    )


def _used_columns(source: Source, renderer: Renderer, spec: RequestSpec) -> list[str]:
    """Return the columns that the job uses, each once."""
    paths = spec.selection.paths(Columns(source.schema, source.columns_known)).values()
    return list(dict.fromkeys([*renderer.columns, *(path[0] for path in paths), *(spec.carry or ())]))


def _carried(source: Source, spec: RequestSpec) -> pa.Schema:
    schema = source.schema
    fields = {field.name: field for field in schema}
    if spec.carry is None:
        picked = [name for name in fields if spec.body is not None or name not in MEMBERS]
    else:
        picked = list(dict.fromkeys(spec.carry))
        for name in picked:
            if name not in fields and source.columns_known:
                raise SourceError(f"carry: no such column. {columns_hint(name, schema.names)}", column=name)
    for name in picked:
        if name in fields and (kind := unstorable_type(fields[name].type)) is not None:
            problem = f"carry: a value of type {kind} cannot be kept in Parquet. Leave the column out with carry=[…]."
            raise SourceError(problem, column=name)
    return pa.schema([fields[name] for name in picked if name in fields])


def _check_variety(renderer: Renderer, rows: int) -> None:
    if rows > 1 and not renderer.varies:
        raise TemplateError(
            "body: expected a {column} somewhere in it, found none, and the source has several rows: "
            "every row would send and pay for the same request. Name a column, or set limit=1."
        )


def _rows_at_once(renderer: Renderer, batch: SourceBatch) -> int:
    """
    Return how many rows to render at a time.

    The size of the rows in memory counts too: a Parquet file stores a long text that many rows repeat only once.
    """
    fitting = len(batch) * BATCH_BYTES // max(1, int(batch.rows.nbytes))
    return max(1, min(renderer.rows_at_once, fitting))


def _check_sizes(rendered: Rendered, batch: SourceBatch, spec: RequestSpec) -> None:
    """Raise RequestError for a row that does not fit into an input file of its own."""
    max_inputs = MAX_EMBEDDING_INPUTS if FACTS[spec.endpoint].counts_inputs else 1
    if rendered.lines.byte_count <= spec.max_shard_bytes and max(rendered.inputs, default=0) <= max_inputs:
        return
    for index, (size, inputs) in enumerate(zip(rendered.lines.sizes, rendered.inputs, strict=True)):
        if size > spec.max_shard_bytes or inputs > max_inputs:
            problem = size_problem(size, inputs, spec.max_shard_bytes, max_inputs)
            raise RequestError(problem, **batch.place(index))


def _sidecar_rows(batch: SourceBatch, rendered: Rendered, carried: pa.Schema) -> pa.RecordBatch:
    arrays = [batch.number_column, rendered.identifiers, _first_state(len(batch))]
    if len(carried):
        found = dict(zip(batch.rows.schema.names, batch.rows.columns, strict=True))
        columns = [found[name] for name in carried.names]
        arrays.append(pa.StructArray.from_arrays(columns, fields=list(carried)))
    return pa.RecordBatch.from_arrays(arrays, schema=sidecar_schema(carried))


@lru_cache(maxsize=8)
def _first_state(count: int) -> pa.Array:
    """Return the state of rows that were never sent; it is cached, as most batches have the same number of rows."""
    attempts = pa.Array.from_buffers(pa.int16(), count, [None, pa.py_buffer(bytes(2 * count))])
    nulls = [pa.nulls(count, STATE.field(index).type) for index in range(1, STATE.num_fields)]
    return pa.StructArray.from_arrays([attempts, *nulls], fields=list(STATE))


def _check_suspects(suspects: Sequence[tuple[int, int]], source: Source, renderer: Renderer) -> None:
    """Compare the ids of rows with the same hash; raise RequestError for the first duplicate, with both rows."""
    wanted = sorted({position for pair in suspects[:_COMPARED_PAIRS] for position in pair})
    first_rows: dict[str, int] = {}
    for name, place in _identifiers_of(wanted, source, renderer):
        if name in first_rows:
            more = f" {len(suspects) - 1:,} more rows repeat a custom_id too." if len(suspects) > 1 else ""
            problem = (
                f"expected a different custom_id for each row, found '{name}', which row {first_rows[name]} has "
                f"already.{more}"
            )
            raise RequestError(problem, **place)
        first_rows[name] = place["row"]


def _identifiers_of(wanted: Sequence[int], source: Source, renderer: Renderer) -> Iterator[tuple[str, Place]]:
    """
    Yield the ``custom_id`` and the place of some rows; reads the source once more.

    :param wanted: Positions of the rows, in ascending order.
    """
    position, start = 0, 0
    for batch in source.batches(renderer.identifier_columns):
        end = start + len(batch)
        if position < len(wanted) and wanted[position] < end:
            names = renderer.identifiers(batch)
            while position < len(wanted) and wanted[position] < end:
                index = wanted[position] - start
                yield names[index].as_py(), batch.place(index)
                position += 1
        if position == len(wanted):
            break
        start = end


def _counted(error: NullInTextError, source: Source) -> NullInTextError:
    """Return the error with the number of further rows that have it; reads one column again."""
    bad = sum(
        sum(1 for value in batch.values(error.slot.path) if value is None or value != value)
        for batch in source.batches([error.slot.path[0]])
    )
    more = f", and in {bad - 1:,} more rows" if bad > 1 else ""
    return NullInTextError(error.slot, error.batch, error.index, more)
