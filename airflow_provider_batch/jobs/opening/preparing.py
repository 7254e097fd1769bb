"""
Prepares a job: checks its arguments and input, computes its fingerprint, and writes its first shards. Sends nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from airflow_provider_batch.api.endpoints import MAX_METADATA_KEY, MAX_METADATA_VALUE, Endpoint
from airflow_provider_batch.exceptions import ConfigurationError
from airflow_provider_batch.jobs.identity import Fingerprint, digest, fingerprint
from airflow_provider_batch.jobs.job_request import JobRequest, Tools
from airflow_provider_batch.jobs.ledger.shard_record import ShardRecord
from airflow_provider_batch.jobs.opening.overlap import check_overlap
from airflow_provider_batch.jobs.submission.create import MAX_USER_PAIRS, OWN_KEYS
from airflow_provider_batch.jobs.table_spec import check_response_model
from airflow_provider_batch.requests.prepare import Prepared, prepare
from airflow_provider_batch.requests.shards import Cut, Shard
from airflow_provider_batch.sources.open_source import open_source
from airflow_provider_batch.sources.source import Source
from airflow_provider_batch.storage.local_disk import scratch
from airflow_provider_batch.structured.column_type import ParsedColumn
from airflow_provider_batch.table.partitions import check_columns, check_values
from airflow_provider_batch.table.schema import EmbeddingSizes, TableSpec, embedding_sizes


def check_input(request: JobRequest, tools: Tools) -> dict[str, Any]:
    """
    Read and check the whole input as a job would, without sending or keeping anything.

    :param request: The job.
    :param tools: Its client, clock and functions.
    :return: What would be sent: rows, shards, bytes, tokens, models and columns, as JSON-safe values.
    :raises InputError: The input is wrong.
    """
    request = within_limits(request, tools)
    check_arguments(request)
    check_service(request, tools)
    check_overlap(request, tools)
    with open_source(request.input.source, resolve=tools.resolve, form=request.input.form) as source:
        prepared = prepare_shards(request, tools, source, discard)
    model = request.spec.response_model
    parsed = {} if model is None else {"parsed": str(ParsedColumn.of(model).type), "strict": model.not_strict is None}
    return {
        "rows": prepared.row_count,
        "shards": len(prepared.shards),
        "bytes": prepared.byte_count,
        "input_tokens_estimate": prepared.token_estimate,
        "models": list(prepared.models),
        "carried": list(prepared.carried.names),
        **parsed,
    }


def within_limits(request: JobRequest, tools: Tools) -> JobRequest:
    """
    Return the request with the limits of the service for shards, and with its rules for request bodies.

    :param request: The job.
    :param tools: Its client, clock and functions.
    """
    service, spec, limits = tools.client.settings.service, request.spec, request.limits
    limited = replace(
        spec,
        by_any=not service.has_openai_bodies,
        url=service.url_of(spec.endpoint),
        base64_vectors=service.takes_base64_vectors,
        max_shard_rows=min(spec.max_shard_rows, service.max_requests),
        max_shard_bytes=min(spec.max_shard_bytes, service.max_file_bytes),
    )
    most = min(limits.max_active_batches, service.max_active_batches or limits.max_active_batches)
    return replace(request, spec=limited, limits=replace(limits, max_active_batches=most, creates=service.creates))


def check_service(request: JobRequest, tools: Tools) -> None:
    """
    Check what the service has to offer for a job.

    :param request: The job.
    :param tools: Its client, clock and functions.
    :raises ConfigurationError: It has not this endpoint, completion window or expiry; the message names the service.
    """
    service, batch = tools.client.settings.service, request.batch
    problem = (
        service.endpoint_problem(request.spec.endpoint)
        or service.window_problem(batch.completion_window)
        or service.expiry_problem(batch.output_expires_after)
    )
    if problem is not None:
        raise ConfigurationError(f"{problem} Nothing was sent.")


def check_arguments(request: JobRequest) -> None:
    """
    Check what needs no input: metadata and limits.

    :param request: The job.
    :raises ConfigurationError: A value is wrong.
    """
    metadata = request.batch.metadata
    taken = sorted(set(metadata) & set(OWN_KEYS))
    if taken:
        raise ConfigurationError(f"metadata: {', '.join(taken)} belong to the provider; use other keys.")
    if len(metadata) > MAX_USER_PAIRS:
        raise ConfigurationError(f"metadata: expected at most {MAX_USER_PAIRS} pairs, found {len(metadata)}.")
    for key, value in metadata.items():
        if not isinstance(value, str) or len(key) > MAX_METADATA_KEY or len(value) > MAX_METADATA_VALUE:
            raise ConfigurationError(
                f"metadata: {key!r} has to be text of at most {MAX_METADATA_VALUE} characters under a key of at most "
                f"{MAX_METADATA_KEY}."
            )
    check_response_model(request.spec)
    if request.table.partition_by and request.table.destination is None:
        raise ConfigurationError("partition_by needs a destination: without one nothing is landed here.")
    limits = request.limits
    if limits.timeout <= 0 or request.limits.poll_interval <= 0:
        raise ConfigurationError("timeout and poll_interval have to be above 0 seconds.")
    if min(limits.max_attempts, limits.max_rounds, limits.max_active_batches) < 1:
        raise ConfigurationError("max_attempts, max_rounds and max_active_batches have to be at least 1.")


def current_fingerprint(request: JobRequest, tools: Tools, source: Source) -> Fingerprint:
    """
    Return the fingerprint of the present input and options, without the content of the shards.

    :param request: The job.
    :param tools: Its client, clock and functions.
    :param source: The source.
    """
    spec = request.spec
    options: dict[str, Any] = {
        "custom_id": spec.custom_id,
        "carry": spec.carry,
        "null_text": spec.null_text,
        "limit": spec.limit,
    }
    if spec.filters or spec.sample is not None or spec.data_urls:
        options["rows"] = [str(spec.selection.groups), spec.sample, list(spec.data_urls)]
    if request.input.form.is_stated:
        options["format"] = request.input.form.text()
    return fingerprint(
        endpoint=spec.endpoint.value,
        body=spec.body,
        response_model=None if spec.response_model is None else spec.response_model.text,
        options=options,
        account=tools.client.settings.account,
        listing=source.listing,
    )


def prepare_shards(
    request: JobRequest,
    tools: Tools,
    source: Source,
    on_shard: Callable[[Shard], None],
    cuts: Sequence[Cut] = (),
) -> Prepared:
    """
    Read, check and render the whole input into shards.

    :param request: The job.
    :param tools: Its client, clock and functions.
    :param source: The source.
    :param on_shard: Called with each finished shard; it removes the shard's local files.
    :param cuts: Where a ledger's shards end: the rows are cut there again, even if the size limits of a shard have
        changed.
    :raises InputError: A row, a file or a partition column is wrong.
    """
    table, spec = _table_columns(request), request.spec
    if cuts:
        spec = replace(spec, max_shard_bytes=tools.client.settings.service.max_file_bytes)

    def checked(shard: Shard) -> None:
        check_values(shard.rows, request.table.partition_by, table)
        on_shard(shard)

    with scratch("the shards of the input", "one shard of each model, and its rows") as local:
        take_shard = checked if request.table.partition_by else on_shard
        prepared = prepare(source, spec, local, take_shard, resolve=tools.resolve, cuts=cuts)
    check_partitions(request, prepared.carried)
    vector_sizes(request, prepared)
    return prepared


def vector_sizes(request: JobRequest, prepared: Prepared) -> EmbeddingSizes:
    """
    Return what the requests say about the size of the vectors.

    :param request: The job.
    :param prepared: The prepared input.
    :raises ConfigurationError: Its models give vectors of different sizes.
    """
    body = request.spec.body
    if body is None or request.spec.endpoint is not Endpoint.EMBEDDINGS:
        return EmbeddingSizes()
    return embedding_sizes(body, prepared.models or [body.get("model")])


def check_partitions(request: JobRequest, carried: pa.Schema) -> None:
    """
    Check that the table has the columns of `partition_by`.

    :param request: The job.
    :param carried: The table's columns that come from the input.
    :raises ConfigurationError: A column is missing or cannot be a partition.
    """
    if request.table.partition_by:
        check_columns(request.table.partition_by, _table_columns(request), carried)


def _table_columns(request: JobRequest) -> TableSpec:
    """Return what names the columns of the requested table."""
    model = request.spec.response_model
    return TableSpec(request.spec.endpoint, parsed=None if model is None else ParsedColumn.of(model))


def content_digest(shards: Sequence[Shard]) -> str:
    """
    Return the digest of all request lines and rows: the fingerprint's `content`.

    :param shards: The shards.
    """
    return digest([ShardRecord.of(shard).sha256 for shard in shards])


def discard(shard: Shard) -> None:
    """
    Remove a shard's local files; only its record is used.

    :param shard: The shard.
    """
    shard.lines.unlink()
    shard.rows.unlink()
