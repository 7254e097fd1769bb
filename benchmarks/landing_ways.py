"""The ways to land a result file: this package, code by hand, DuckDB, and the common.ai provider."""

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
from benchmarks.result_files import SIZE

BATCH = "batch_1"
#: Kind → US dollars for one input and one output token, at the batch price.
PRICES = {
    "chat": (Decimal("0.000000075"), Decimal("0.0000003")),
    "responses": (Decimal("0.000000075"), Decimal("0.0000003")),
    "numbers": (Decimal("0.00000001"), Decimal(0)),
}


def ours(
    kind: str, raw: str = "errors", without: str | None = None, name: str | None = None, times: int = 1
) -> Prepare:
    """
    Return the way that lands with `land_shard`.

    :param kind: Kind of result file: ``chat``, ``responses``, ``numbers`` or ``base64``.
    :param raw: Rows whose response body is kept as text: "errors" or "all".
    :param without: Module that is made unimportable; None for none.
    :param name: Name of the files; None takes the kind.
    :param times: How often the shard is landed, each time into a part of its own.
    """

    def prepare(folder: Path) -> Callable[[], int]:
        if without:
            sys.modules[without] = None  # type: ignore[assignment]
        import pyarrow.compute  # noqa: F401  imported before the measurement

        from airflow_provider_batch.pricing.prices import price_list
        from airflow_provider_batch.results.landing import ShardResults, land_shard

        spec = _table(kind, raw)
        price_list("gpt-4o-mini-2024-07-18", spec.endpoint)  # loads the price table
        called = name or kind
        results = ShardResults(folder / f"{called}.arrow", folder / f"{called}.jsonl", None, BATCH, "completed", 1)
        parts = [folder / f"{called}-ours{f'-{number}' if number else ''}.parquet" for number in range(times)]
        retry = folder / "retry.arrow"
        return lambda: sum(land_shard(results, spec, lambda outcome: True, part, retry).rows for part in parts)

    return prepare


def _table(kind: str, raw: str = "errors") -> Any:
    from airflow_provider_batch.api.endpoints import Endpoint
    from airflow_provider_batch.table.schema import TableSpec

    endpoint = {"chat": Endpoint.CHAT_COMPLETIONS, "responses": Endpoint.RESPONSES}.get(kind, Endpoint.EMBEDDINGS)
    return TableSpec(endpoint, raw=raw, embedding_size=SIZE if endpoint is Endpoint.EMBEDDINGS else None)  # type: ignore[arg-type]


def diy(kind: str, chunk: int = 8192, raw: bool = False) -> Prepare:
    """
    Return the way that uses `json.loads` and `Table.from_pylist`.

    :param kind: Kind of result file.
    :param chunk: Lines that are converted at a time.
    :param raw: Keep every response body as text.
    """

    def prepare(folder: Path) -> Callable[[], int]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        from airflow_provider_batch.table.schema import result_schema

        schema = result_schema(_table(kind), pa.schema([]))
        pa.Table.from_pylist([{"row_number": 1}], schema=schema)  # imports lazily loaded modules before the measurement

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
    """Return the columns of all endpoints; missing ones become null."""
    response = line["response"]
    body = response["body"]
    usage = body["usage"]
    input_details = usage.get("prompt_tokens_details") or usage.get("input_tokens_details") or {}
    output_details = usage.get("completion_tokens_details") or usage.get("output_tokens_details") or {}
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
        "cached_tokens": input_details.get("cached_tokens"),
        "reasoning_tokens": output_details.get("reasoning_tokens"),
        "input_audio_tokens": input_details.get("audio_tokens"),
        "output_audio_tokens": output_details.get("audio_tokens"),
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

_TEXT, _COUNT = "VARCHAR", "BIGINT"
_DETAILS = dict.fromkeys(("cached_tokens", "cache_write_tokens", "reasoning_tokens", "audio_tokens"), _COUNT)
_DETAILS["image_tokens"] = _COUNT
_CHANCE = {"token": _TEXT, "logprob": "DOUBLE"}
_LOGPROBS = [{**_CHANCE, "top_logprobs": [_CHANCE]}]
_CALL = {"id": _TEXT, "type": _TEXT, "function": {"name": _TEXT, "arguments": _TEXT}}
_MESSAGE = {"content": _TEXT, "refusal": _TEXT, "tool_calls": [_CALL]}
_CALLS = [dict.fromkeys(("id", "type", "name", "arguments"), _TEXT)]
_CHOICE = {"index": _COUNT, "text": _TEXT, "finish_reason": _TEXT, "logprobs": _LOGPROBS}
_CHOICE |= {"refusal": _TEXT, "reasoning": _TEXT, "tool_calls": _CALLS}
_PART = dict.fromkeys(("type", "text", "refusal"), _TEXT)
_ITEM = {**dict.fromkeys(("type", "call_id", "name", "arguments"), _TEXT), "content": [_PART]}

#: Kind → names of its input and output tokens, and the members of its body that only it has.
_BODIES: Mapping[str, tuple[str, str, dict[str, Any]]] = {
    "chat": (
        "prompt",
        "completion",
        {"choices": [{"finish_reason": _TEXT, "message": _MESSAGE, "logprobs": {"content": _LOGPROBS}}]},
    ),
    "responses": ("input", "output", {"id": _TEXT, "status": _TEXT, "output": [_ITEM]}),
    "numbers": ("prompt", "completion", {"data": [{"embedding": ["FLOAT"]}]}),
}


def _sql_type(shape: Any) -> str:
    if isinstance(shape, dict):
        return f"STRUCT({', '.join(f'{name} {_sql_type(kind)}' for name, kind in shape.items())})"
    return f"{_sql_type(shape[0])}[]" if isinstance(shape, list) else shape


#: Kind → its own columns.
_OWN_SQL: Mapping[str, str] = {
    "chat": (
        "body.choices[1].message.content AS text, body.choices[1].finish_reason AS finish_reason, "
        "body.choices[1].message.refusal AS refusal, NULL::VARCHAR AS reasoning, "
        "list_transform(body.choices[1].message.tool_calls, lambda call: {'id': call.id, 'type': call.type, "
        "'name': call.function.name, 'arguments': call.function.arguments}) AS tool_calls, "
        f"body.choices[1].logprobs.content AS logprobs, NULL::{_sql_type([_CHOICE])} AS choices"
    ),
    "responses": (
        "list_filter(body.output, lambda item: item.type = 'message')[1].content[1].text AS text, "
        "body.status AS finish_reason, "
        "list_filter(body.output, lambda item: item.type = 'message')[1].content[1].refusal AS refusal, "
        "NULL::VARCHAR AS reasoning, "
        "list_transform(list_filter(body.output, lambda item: item.type = 'function_call'), lambda item: "
        "{'id': item.call_id, 'type': item.type, 'name': item.name, 'arguments': item.arguments}) AS tool_calls, "
        f"NULL::{_sql_type(_LOGPROBS)} AS logprobs, body.id AS response_id, "
        f"NULL::{_sql_type([dict.fromkeys(('url', 'file', 'revised_prompt'), _TEXT)])} AS images"
    ),
    "numbers": f"body.data[1].embedding::FLOAT[{SIZE}] AS embedding, NULL::FLOAT[{SIZE}][] AS embeddings",
}


def duckdb_copy(kind: str, raw: bool = False) -> Prepare:
    """
    Return the way in which DuckDB reads the lines with given types and writes the same columns.

    :param kind: Kind of result file.
    :param raw: Keep every response body as text.
    """

    def prepare(folder: Path) -> Callable[[], int]:
        import duckdb

        connection = duckdb.connect(config={"threads": 2})
        connection.execute("SELECT 1").fetchall()
        source, target = folder / f"{kind}.jsonl", folder / f"{kind}-duckdb.parquet"
        how = "FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1"
        sql = f"COPY ({_select(kind, str(source), raw)}) TO '{target}' ({how})"

        def run() -> int:
            written: Any = connection.execute(sql).fetchone()
            return int(written[0])

        return run

    return prepare


def _select(kind: str, source: str, raw: bool) -> str:
    prompt, completion, own_fields = _BODIES[kind]
    usage = {f"{prompt}_tokens": _COUNT, f"{completion}_tokens": _COUNT, "total_tokens": _COUNT}
    usage |= {f"{prompt}_tokens_details": _DETAILS, f"{completion}_tokens_details": _DETAILS}
    body = {"model": _TEXT, "usage": usage, **own_fields}
    # To keep the text of a body, DuckDB reads the body as JSON, and a second time for its members.
    typed = f"json_transform(response.body, '{json.dumps(body)}')" if raw else "response.body"
    response = f"STRUCT(status_code SMALLINT, request_id VARCHAR, body {'JSON' if raw else _sql_type(body)})"
    read = (
        f"read_json('{source}', format = 'newline_delimited', maximum_object_size = 33554432, columns = "
        f"{{custom_id: 'VARCHAR', error: 'STRUCT(code VARCHAR, message VARCHAR)', response: '{response}'}})"
    )
    details = {
        "cached_tokens": f"{prompt}_tokens_details.cached_tokens",
        "cache_write_tokens": f"{prompt}_tokens_details.cache_write_tokens",
        "reasoning_tokens": f"{completion}_tokens_details.reasoning_tokens",
        "input_audio_tokens": f"{prompt}_tokens_details.audio_tokens",
        "output_audio_tokens": f"{completion}_tokens_details.audio_tokens",
        "input_image_tokens": f"{prompt}_tokens_details.image_tokens",
        "output_image_tokens": f"{completion}_tokens_details.image_tokens",
    }
    prices = PRICES[kind]
    return (
        "SELECT split_part(custom_id, '-', 2)::BIGINT AS row_number, custom_id, "
        "CASE WHEN response.status_code = 200 THEN 'succeeded' ELSE 'failed' END AS status, "
        "error.code AS error_code, error.message AS error_message, response.status_code AS status_code, "
        f"response.request_id AS request_id, body.model AS model, '{BATCH}' AS batch_id, 1::SMALLINT AS round, "
        f"body.usage.{prompt}_tokens AS input_tokens, body.usage.{completion}_tokens AS output_tokens, "
        "body.usage.total_tokens AS total_tokens, "
        + "".join(f"body.usage.{path} AS {name}, " for name, path in details.items())
        + f"(body.usage.{prompt}_tokens * {prices[0]:f} + coalesce(body.usage.{completion}_tokens, 0) * {prices[1]:f})"
        f"::DECIMAL(18, 12) AS cost_usd, {_OWN_SQL[kind]}, {'body_text' if raw else 'NULL::VARCHAR'} AS response "
        f"FROM (SELECT custom_id, error, response, {typed} AS body, "
        f"{'response.body::VARCHAR' if raw else 'NULL'} AS body_text FROM {read})"
    )


# The common.ai provider


def common_ai(folder: Path) -> Callable[[], int]:
    """
    Prepare the common.ai provider's loop over the result lines, with a client that reads the local file.

    :param folder: Folder of the result files.
    :return: Lands the file and returns the number of rows.
    """
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
