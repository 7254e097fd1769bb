"""The ways to land a result file: ours, by hand, by DuckDB, and by the common.ai provider."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from benchmarks.measuring import Prepare

BATCH = "batch_1"
#: Dollars for an input and for an output token of the chat model and the embedding model, at the batch price.
PRICES = {
    "chat": (Decimal("0.000000075"), Decimal("0.0000003")),
    "responses": (Decimal("0.000000075"), Decimal("0.0000003")),
    "numbers": (Decimal("0.00000001"), Decimal(0)),
}


def ours(kind: str, raw: str = "errors", without: str | None = None) -> Prepare:
    """Return the way that lands with `land_shard`; ``without`` names a module that is to be absent."""

    def prepare(folder: Path) -> Callable[[], int]:
        if without:
            sys.modules[without] = None  # type: ignore[assignment]
        from airflow_provider_batch.economics.prices import price_list
        from airflow_provider_batch.results.landing import ShardResults, land_shard

        spec = _table(kind, raw)
        price_list("gpt-4o-mini-2024-07-18", spec.endpoint)  # loads the price table
        results = ShardResults(folder / f"{kind}.arrow", folder / f"{kind}.jsonl", None, BATCH, "completed", 1)
        part, retry = folder / f"{kind}-ours.parquet", folder / "retry.arrow"
        return lambda: land_shard(results, spec, lambda outcome: True, part, retry).rows

    return prepare


def _table(kind: str, raw: str = "errors") -> Any:
    from airflow_provider_batch.api.endpoints import Endpoint
    from airflow_provider_batch.results.schema import TableSpec

    endpoint = {"chat": Endpoint.CHAT_COMPLETIONS, "responses": Endpoint.RESPONSES}.get(kind, Endpoint.EMBEDDINGS)
    return TableSpec(endpoint, raw=raw, embedding_size=1536 if endpoint is Endpoint.EMBEDDINGS else None)  # type: ignore[arg-type]


def diy(kind: str, chunk: int = 8192, raw: bool = False) -> Prepare:
    """Return the way that takes `json.loads` and `Table.from_pylist`, a chunk of lines at a time."""

    def prepare(folder: Path) -> Callable[[], int]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        from airflow_provider_batch.results.schema import result_schema

        schema = result_schema(_table(kind), pa.schema([]))
        pa.Table.from_pylist([{"row_number": 1}], schema=schema)  # imports what it needs

        def run() -> int:
            count = 0
            with pq.ParquetWriter(folder / f"{kind}-diy.parquet", schema, compression="zstd") as writer:
                for rows in _chunks(folder, kind, chunk, raw):
                    writer.write_table(pa.Table.from_pylist(rows, schema=schema))
                    count += len(rows)
            return count

        return run

    return prepare


def _chunks(folder: Path, kind: str, chunk: int, raw: bool) -> Iterator[list[dict[str, Any]]]:
    own = {"chat": _chat_columns, "responses": _responses_columns}.get(kind, _embedding_columns)
    rows: list[dict[str, Any]] = []
    with (folder / f"{kind}.jsonl").open("rb") as lines:
        for text in lines:
            line = json.loads(text)
            row = {**_common_columns(line, *PRICES[kind]), **own(line["response"]["body"])}
            if raw:
                row["response"] = json.dumps(line["response"]["body"], ensure_ascii=False)
            rows.append(row)
            if len(rows) == chunk:
                yield rows
                rows = []
    if rows:
        yield rows


def _common_columns(line: Mapping[str, Any], input_price: Decimal, output_price: Decimal) -> dict[str, Any]:
    """Return the columns that every endpoint has; what is left out becomes null."""
    response = line["response"]
    body = response["body"]
    usage = body["usage"]
    asked = usage.get("prompt_tokens_details") or usage.get("input_tokens_details") or {}
    given = usage.get("completion_tokens_details") or usage.get("output_tokens_details") or {}
    tokens = usage.get("prompt_tokens", usage.get("input_tokens"))
    output = usage.get("completion_tokens", usage.get("output_tokens"))
    error = line.get("error") or body.get("error") or {}
    return {
        "row_number": int(line["custom_id"].rpartition("-")[2]),
        "custom_id": line["custom_id"],
        "status": "succeeded" if response["status_code"] == 200 else "failed",
        "error_code": error.get("code"),
        "error_message": error.get("message"),
        "status_code": response["status_code"],
        "request_id": response["request_id"],
        "model": body["model"],
        "batch_id": BATCH,
        "round": 1,
        "input_tokens": tokens,
        "output_tokens": output,
        "total_tokens": usage["total_tokens"],
        "cached_tokens": asked.get("cached_tokens"),
        "reasoning_tokens": given.get("reasoning_tokens"),
        "input_audio_tokens": asked.get("audio_tokens"),
        "output_audio_tokens": given.get("audio_tokens"),
        "cost_usd": tokens * input_price + (output or 0) * output_price,
    }


def _chat_columns(body: Mapping[str, Any]) -> dict[str, Any]:
    choice = body["choices"][0]
    message = choice["message"]
    calls = message.get("tool_calls")
    return {
        "text": message["content"],
        "finish_reason": choice["finish_reason"],
        "refusal": message["refusal"],
        "tool_calls": calls and [{"id": call["id"], "type": call["type"], **call["function"]} for call in calls],
    }


def _responses_columns(body: Mapping[str, Any]) -> dict[str, Any]:
    parts = [part for item in body["output"] if item["type"] == "message" for part in item["content"]]
    calls = [
        {"id": item["call_id"], "type": item["type"], "name": item["name"], "arguments": item["arguments"]}
        for item in body["output"]
        if item["type"] == "function_call"
    ]
    return {
        "text": "".join(part["text"] for part in parts if part["type"] == "output_text"),
        "finish_reason": body["status"],
        "refusal": "".join(part["refusal"] for part in parts if part["type"] == "refusal") or None,
        "tool_calls": calls or None,
        "response_id": body["id"],
    }


def _embedding_columns(body: Mapping[str, Any]) -> dict[str, Any]:
    return {"embedding": body["data"][0]["embedding"]}


# DuckDB

_DETAILS = "STRUCT(cached_tokens BIGINT, cache_write_tokens BIGINT, reasoning_tokens BIGINT, audio_tokens BIGINT, image_tokens BIGINT)"
_CALL = "STRUCT(id VARCHAR, type VARCHAR, function STRUCT(name VARCHAR, arguments VARCHAR))"
_TOP = "STRUCT(token VARCHAR, logprob DOUBLE)"
_LOGPROBS = f"STRUCT(token VARCHAR, logprob DOUBLE, top_logprobs {_TOP}[])[]"
_FLAT_CALLS = "STRUCT(id VARCHAR, type VARCHAR, name VARCHAR, arguments VARCHAR)[]"
_CHOICES = f"STRUCT(index BIGINT, text VARCHAR, finish_reason VARCHAR, refusal VARCHAR, tool_calls {_FLAT_CALLS})[]"

#: Kind → names of its tokens, the type of its body's own fields, and its own columns.
_SQL: Mapping[str, tuple[str, str, str, str]] = {
    "chat": (
        "prompt",
        "completion",
        "choices STRUCT(finish_reason VARCHAR, "
        f"message STRUCT(content VARCHAR, refusal VARCHAR, tool_calls {_CALL}[]), logprobs STRUCT(content {_LOGPROBS}))[]",
        "body.choices[1].message.content AS text, body.choices[1].finish_reason AS finish_reason, "
        "body.choices[1].message.refusal AS refusal, NULL::VARCHAR AS reasoning, "
        "list_transform(body.choices[1].message.tool_calls, lambda call: {'id': call.id, 'type': call.type, "
        "'name': call.function.name, 'arguments': call.function.arguments}) AS tool_calls, "
        f"body.choices[1].logprobs.content AS logprobs, NULL::{_CHOICES} AS choices",
    ),
    "responses": (
        "input",
        "output",
        "id VARCHAR, status VARCHAR, output STRUCT(type VARCHAR, call_id VARCHAR, name VARCHAR, arguments VARCHAR, "
        "content STRUCT(type VARCHAR, text VARCHAR, refusal VARCHAR)[])[]",
        "list_filter(body.output, lambda item: item.type = 'message')[1].content[1].text AS text, "
        "body.status AS finish_reason, "
        "list_filter(body.output, lambda item: item.type = 'message')[1].content[1].refusal AS refusal, "
        "NULL::VARCHAR AS reasoning, "
        "list_transform(list_filter(body.output, lambda item: item.type = 'function_call'), lambda item: "
        "{'id': item.call_id, 'type': item.type, 'name': item.name, 'arguments': item.arguments}) AS tool_calls, "
        f"NULL::{_LOGPROBS} AS logprobs, body.id AS response_id",
    ),
    "numbers": (
        "prompt",
        "completion",
        "data STRUCT(embedding FLOAT[])[]",
        "body.data[1].embedding::FLOAT[1536] AS embedding, NULL::FLOAT[1536][] AS embeddings",
    ),
}


def duckdb_copy(kind: str, raw: bool = False) -> Prepare:
    """Return the way that has DuckDB read the lines with a given type and write the same columns."""

    def prepare(folder: Path) -> Callable[[], int]:
        import duckdb

        connection = duckdb.connect(config={"threads": 2})
        connection.execute("SELECT 1").fetchall()
        source, target = folder / f"{kind}.jsonl", folder / f"{kind}-duckdb.parquet"
        sql = f"COPY ({_select(kind, str(source), raw)}) TO '{target}' (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1)"

        def run() -> int:
            written: Any = connection.execute(sql).fetchone()
            return int(written[0])

        return run

    return prepare


def _select(kind: str, source: str, raw: bool) -> str:
    asked, given, fields, own = _SQL[kind]
    usage = (
        f"STRUCT({asked}_tokens BIGINT, {given}_tokens BIGINT, total_tokens BIGINT, "
        f"{asked}_tokens_details {_DETAILS}, {given}_tokens_details {_DETAILS})"
    )
    body = f"STRUCT(model VARCHAR, usage {usage}, {fields})"
    # The text of a body can only be kept by reading it as JSON, and that again for its fields.
    typed = f"response.body::{body}" if raw else "response.body"
    read = (
        f"read_json('{source}', format = 'newline_delimited', maximum_object_size = 33554432, columns = "
        "{custom_id: 'VARCHAR', error: 'STRUCT(code VARCHAR, message VARCHAR)', "
        f"response: 'STRUCT(status_code SMALLINT, request_id VARCHAR, body {'JSON' if raw else body})'}})"
    )
    details = {
        "cached_tokens": f"{asked}_tokens_details.cached_tokens",
        "cache_write_tokens": f"{asked}_tokens_details.cache_write_tokens",
        "reasoning_tokens": f"{given}_tokens_details.reasoning_tokens",
        "input_audio_tokens": f"{asked}_tokens_details.audio_tokens",
        "output_audio_tokens": f"{given}_tokens_details.audio_tokens",
        "input_image_tokens": f"{asked}_tokens_details.image_tokens",
        "output_image_tokens": f"{given}_tokens_details.image_tokens",
    }
    prices = PRICES[kind]
    return (
        "SELECT split_part(custom_id, '-', 2)::BIGINT AS row_number, custom_id, "
        "CASE WHEN response.status_code = 200 THEN 'succeeded' ELSE 'failed' END AS status, "
        "error.code AS error_code, error.message AS error_message, response.status_code AS status_code, "
        f"response.request_id AS request_id, body.model AS model, '{BATCH}' AS batch_id, 1::SMALLINT AS round, "
        f"body.usage.{asked}_tokens AS input_tokens, body.usage.{given}_tokens AS output_tokens, "
        "body.usage.total_tokens AS total_tokens, "
        + "".join(f"body.usage.{path} AS {name}, " for name, path in details.items())
        + f"(body.usage.{asked}_tokens * {prices[0]:f} + coalesce(body.usage.{given}_tokens, 0) * {prices[1]:f})"
        f"::DECIMAL(18, 12) AS cost_usd, {own}, {'body_text' if raw else 'NULL::VARCHAR'} AS response "
        f"FROM (SELECT custom_id, error, response, {typed} AS body, "
        f"{'response.body::VARCHAR' if raw else 'NULL'} AS body_text FROM {read})"
    )


# The common.ai provider


def common_ai(folder: Path) -> Callable[[], int]:
    """Prepare the common.ai provider's loop over the result lines, with a client that reads the local file."""
    from airflow.providers.common.ai.batch.openai import OpenAIBatchAdapter
    from airflow.providers.common.ai.batch.output_schema import build_output_spec
    from airflow.providers.common.ai.batch.results import stream_results_to_jsonl
    from airflow.sdk import ObjectStoragePath

    def content(_: str) -> Any:
        file = (folder / "chat.jsonl").open(encoding="utf-8", newline="\n")
        return nullcontext(SimpleNamespace(iter_lines=lambda: file))

    batch = SimpleNamespace(output_file_id="file", error_file_id=None)
    client = SimpleNamespace(
        batches=SimpleNamespace(retrieve=lambda _: batch),
        files=SimpleNamespace(with_streaming_response=SimpleNamespace(content=content)),
    )
    with (folder / "chat.jsonl").open("rb") as lines:
        count = sum(1 for _ in lines)
    destination = ObjectStoragePath(f"file://{folder}/chat-common-ai.jsonl")
    destination.write_text("")  # Airflow's first write takes seconds

    def run() -> int:
        counts, _ = stream_results_to_jsonl(
            adapter=OpenAIBatchAdapter(client=client),
            batch_id=BATCH,
            output_spec=build_output_spec(str),
            request_count=count,
            custom_id_prefix="row",
            destination=destination,
        )
        return counts["success"]

    return run
