"""Shards and result lines for the tests of `results/`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from airflow_provider_batch.api.endpoints import Endpoint
from airflow_provider_batch.requests.sidecar import STATE
from airflow_provider_batch.results.landing import LandedShard, RowOutcome, ShardResults, land_shard
from airflow_provider_batch.table.schema import TableSpec

MODEL = "gpt-4o-mini-2024-07-18"


def write_sidecar(
    path: Path,
    custom_ids: Sequence[str],
    *,
    carried: Sequence[Mapping[str, Any]] | None = None,
    states: Sequence[Mapping[str, Any] | None] | None = None,
    first_row: int = 0,
    batch_rows: int = 2_048,
) -> Path:
    """Write a shard's sidecar, as `requests/` does."""
    count = len(custom_ids)
    columns = {
        "row_number": pa.array(range(first_row, first_row + count), pa.int64()),
        "custom_id": pa.array(custom_ids, pa.string()),
        "state": pa.array(states or [None] * count, STATE),
    }
    if carried:
        columns["carried"] = pa.array(carried)
    batch = pa.record_batch(columns)
    with pa.ipc.new_file(str(path), batch.schema) as writer:
        for start in range(0, count, batch_rows):
            writer.write_batch(batch.slice(start, batch_rows))
    return path


def chat_body(text: str | None = "Hello.", **changes: Any) -> dict[str, Any]:
    """Return a chat completion as the API writes it."""
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1760000000,
        "model": MODEL,
        "choices": [chat_choice(text)],
        "usage": {
            "prompt_tokens": 20,
            "completion_tokens": 10,
            "total_tokens": 30,
            "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 2, "audio_tokens": 0},
        },
        "system_fingerprint": "fp_1",
    }
    return {**body, **changes}


def chat_choice(text: str | None, finish_reason: str = "stop", index: int = 0, **message: Any) -> dict[str, Any]:
    """Return one choice of a chat completion."""
    said = {"role": "assistant", "content": text, "refusal": None, "annotations": [], **message}
    return {"index": index, "message": said, "logprobs": None, "finish_reason": finish_reason}


def success(custom_id: str, body: Any = None, status_code: Any = 200) -> dict[str, Any]:
    """Return the result line of a request that succeeded."""
    response = {"status_code": status_code, "request_id": "req_1", "body": chat_body() if body is None else body}
    return {"id": f"batch_req_{custom_id}", "custom_id": custom_id, "response": response, "error": None}


def http_error(custom_id: str, status_code: int = 429, code: str | None = "rate_limit_exceeded") -> dict[str, Any]:
    """Return the result line of a request that the endpoint refused."""
    error = {"message": "Too many.", "type": "requests", "param": None, "code": code}
    return success(custom_id, {"error": error}, status_code)


def not_run(custom_id: str, code: str = "batch_expired", message: str = "Not run.") -> dict[str, Any]:
    """Return the result line of a request that did not run."""
    line = {"id": f"batch_req_{custom_id}", "custom_id": custom_id, "response": None}
    return {**line, "error": {"code": code, "message": message}}


def encoded(line: Any, *, spaces: bool = True, ascii_only: bool = True) -> bytes:
    """Return a line's JSON, by default as the API writes it."""
    separators = None if spaces else (",", ":")
    return json.dumps(line, separators=separators, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")


@dataclass(frozen=True)
class Landed:
    """The files and totals of a landing."""

    report: LandedShard
    rows: list[dict[str, Any]]
    retry: list[dict[str, Any]]
    unreadable: list[bytes]
    part: Path


def land(
    folder: Path,
    custom_ids: Sequence[str],
    output: Iterable[Any] | bytes | None = (),
    error: Iterable[Any] | bytes | None = None,
    *,
    spec: TableSpec | None = None,
    is_final: Callable[[RowOutcome], bool] = lambda outcome: True,
    batch_id: str | None = "batch_1",
    batch_status: str = "completed",
    round_number: int = 1,
    refused: Mapping[int, Any] | None = None,
    **sidecar: Any,
) -> Landed:
    """Write a shard and its result files, land it, and read everything back."""
    rows = write_sidecar(folder / "shard.arrow", custom_ids, **sidecar)
    results = ShardResults(
        rows=rows,
        output=_write(folder / "output.jsonl", output),
        error=_write(folder / "error.jsonl", error),
        batch_id=batch_id,
        batch_status=batch_status,
        round=round_number,
        refused=refused or {},
    )
    part, retry, unreadable = folder / "part.parquet", folder / "retry.arrow", folder / "unreadable.bin"
    for path in (part, retry, unreadable):
        path.unlink(missing_ok=True)
    spec = spec or TableSpec(Endpoint.CHAT_COMPLETIONS)
    report = land_shard(results, spec, is_final, part, retry, unreadable)
    assert part.exists() == (report.rows > 0)
    assert retry.exists() == (report.retry_rows > 0)
    return Landed(
        report=report,
        rows=pq.read_table(part).to_pylist() if part.exists() else [],
        retry=pa.ipc.open_file(str(retry)).read_all().to_pylist() if retry.exists() else [],
        unreadable=unreadable.read_bytes().split(b"\n")[:-1] if unreadable.exists() else [],
        part=part,
    )


def _write(path: Path, lines: Iterable[Any] | bytes | None) -> Path | None:
    if lines is None:
        return None
    if isinstance(lines, bytes):
        path.write_bytes(lines)
    else:
        path.write_bytes(b"".join((x if isinstance(x, bytes) else encoded(x)) + b"\n" for x in lines))
    return path
