"""
Landing, measured: `land_shard` beside the do-it-yourself way, on this machine.

    python benchmarks/land.py [--rows 50000] [--vectors 10000] [--repeat 5] [--folder DIR] [--only chat]

Makes 50,000 chat results and as many responses of about 2 KB, and 10,000 embeddings of 1,536 numbers (as JSON numbers
and as base64), as the API writes them: in shuffled order, `json.dumps` with its default separators. Each measurement
runs in a process of its own; wall seconds are those of the landing alone (imports excluded), memory is the process's
peak by the operating system's account. The do-it-yourself way is `json.loads` and `Table.from_pylist` in chunks, with
the same columns; it keeps the file's order and joins nothing.
"""

from __future__ import annotations

import argparse
import base64
import json
import random
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

VOCABULARY = "data model batch table result price token answer engine river window garden letter the a of to in is"
WORDS = VOCABULARY.split()
SIZE = 1536


def main() -> None:
    """Make the files, run every measurement, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--vectors", type=int, default=10_000)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--only", default="", help="measurements whose name holds this")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measured(options.measure, options.folder)))
        return
    with tempfile.TemporaryDirectory(prefix="land-") as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        make_files(folder, options.rows, options.vectors)
        report(folder, options.repeat, options.only)


def report(folder: Path, repeat: int, only: str) -> None:
    """Run the measurements, interleaved, and print medians."""
    names = [name for name in MEASUREMENTS if only in name]
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for _ in range(repeat):
        for name in names:
            runs[name].append(one_process(name, folder))
    print(f"{'':36}{'wall s':>8}{'(min .. max)':>18}{'cpu s':>8}{'rows/s':>10}{'peak MB':>9}{'x DIY':>7}")
    medians = {name: statistics.median(run["wall"] for run in done) for name, done in runs.items()}
    for name, done in runs.items():
        walls = [run["wall"] for run in done]
        base = medians.get(MEASUREMENTS[name][1])
        ratio = f"{base / medians[name]:6.1f}x" if base else ""
        spread = f"({min(walls):.2f} .. {max(walls):.2f})"
        peak = max(run["peak"] for run in done)
        cpu = statistics.median(run["cpu"] for run in done)
        rate = done[0]["rows"] / medians[name]
        print(f"{name:36}{medians[name]:8.2f}{spread:>18}{cpu:8.2f}{rate:10,.0f}{peak:9.0f}{ratio:>7}")


def one_process(name: str, folder: Path) -> dict[str, float]:
    """Run one measurement in a process of its own."""
    command = [sys.executable, __file__, "--measure", name, "--folder", str(folder)]
    answer: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return answer


def measured(name: str, folder: Path) -> dict[str, float]:
    """Return wall and processor seconds, rows and peak memory of one measurement."""
    run = MEASUREMENTS[name][0]
    prepared = run(folder)  # imports and file names, outside the clock
    start, before = time.perf_counter(), time.process_time()
    rows = prepared()
    wall, cpu = time.perf_counter() - start, time.process_time() - before
    status = Path("/proc/self/status").read_text()
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024
    return {"wall": wall, "cpu": cpu, "rows": rows, "peak": peak}


# The candidates


def ours(kind: str, raw: str = "errors", without: str | None = None) -> Callable[[Path], Callable[[], int]]:
    """Land with `land_shard`; ``without`` names a module that is to be absent."""

    def prepare(folder: Path) -> Callable[[], int]:
        if without:
            sys.modules[without] = None  # type: ignore[assignment]
        from airflow_provider_batch.api.endpoints import Endpoint
        from airflow_provider_batch.economics.prices import price_list
        from airflow_provider_batch.results.landing import ShardResults, land_shard
        from airflow_provider_batch.results.schema import TableSpec

        endpoint = {"chat": Endpoint.CHAT_COMPLETIONS, "responses": Endpoint.RESPONSES}.get(kind, Endpoint.EMBEDDINGS)
        price_list("gpt-4o-mini-2024-07-18", endpoint)  # loads the price table
        results = ShardResults(folder / f"{kind}.arrow", folder / f"{kind}.jsonl", None, "batch_1", "completed", 1)
        out = folder / f"{kind}-ours.parquet"

        def run() -> int:
            spec = TableSpec(endpoint, raw=raw)  # type: ignore[arg-type]
            return land_shard(results, spec, lambda outcome: True, out, folder / "retry.arrow").rows

        return run

    return prepare


def diy(
    kind: str, flatten: Callable[[dict[str, Any], str], dict[str, Any]], chunk: int = 8192, raw: bool = False
) -> Callable[[Path], Callable[[], int]]:
    """Land with `json.loads` and `Table.from_pylist`, a chunk of lines at a time."""

    def prepare(folder: Path) -> Callable[[], int]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        def tables() -> Iterator[pa.Table]:
            rows: list[dict[str, Any]] = []
            with (folder / f"{kind}.jsonl").open("rb") as lines:
                for line in lines:
                    row = flatten(json.loads(line), "batch_1")
                    if raw:
                        row["response"] = line.decode()
                    rows.append(row)
                    if len(rows) == chunk:
                        yield pa.Table.from_pylist(rows)
                        rows = []
            if rows:
                yield pa.Table.from_pylist(rows)

        def run() -> int:
            count, writer = 0, None
            for table in tables():
                writer = writer or pq.ParquetWriter(folder / f"{kind}-diy.parquet", table.schema, compression="zstd")
                writer.write_table(table.cast(writer.schema))
                count += table.num_rows
            if writer:
                writer.close()
            return count

        return run

    return prepare


def head(line: dict[str, Any], batch_id: str) -> dict[str, Any]:
    """Return the columns that every endpoint has."""
    response = line["response"]
    body = response["body"]
    usage = body["usage"]
    asked = usage.get("prompt_tokens_details") or usage.get("input_tokens_details") or {}
    given = usage.get("completion_tokens_details") or usage.get("output_tokens_details") or {}
    prompt = usage.get("prompt_tokens", usage.get("input_tokens"))
    output = usage.get("completion_tokens", usage.get("output_tokens")) or 0
    error = line.get("error") or body.get("error") or {}
    return {
        "row_number": int(line["custom_id"]),
        "custom_id": line["custom_id"],
        "status": "succeeded" if response["status_code"] == 200 else "failed",
        "error_code": str(error.get("code") or ""),
        "error_message": str(error.get("message") or ""),
        "status_code": response["status_code"],
        "request_id": response["request_id"],
        "model": body["model"],
        "batch_id": batch_id,
        "round": 1,
        "input_tokens": prompt,
        "output_tokens": output,
        "total_tokens": usage["total_tokens"],
        "cached_tokens": asked.get("cached_tokens", 0),
        "reasoning_tokens": given.get("reasoning_tokens", 0),
        "input_audio_tokens": asked.get("audio_tokens", 0),
        "output_audio_tokens": given.get("audio_tokens", 0),
        "cost_usd": prompt * 7.5e-8 + output * 3e-7,
    }


def chat_row(line: dict[str, Any], batch_id: str) -> dict[str, Any]:
    """Return one chat result as a flat row."""
    row = head(line, batch_id)
    choice = line["response"]["body"]["choices"][0]
    message = choice["message"]
    row["text"] = message["content"]
    row["finish_reason"] = choice["finish_reason"]
    row["refusal"] = message["refusal"] or ""
    row["tool_calls"] = [
        {"id": call["id"], "type": call["type"], **call["function"]} for call in message.get("tool_calls") or ()
    ]
    return row


def responses_row(line: dict[str, Any], batch_id: str) -> dict[str, Any]:
    """Return one `/v1/responses` result as a flat row."""
    row = head(line, batch_id)
    body = line["response"]["body"]
    parts = [part for item in body["output"] if item["type"] == "message" for part in item["content"]]
    row["text"] = "".join(part["text"] for part in parts if part["type"] == "output_text")
    row["finish_reason"] = body["status"]
    row["refusal"] = "".join(part["refusal"] for part in parts if part["type"] == "refusal")
    row["tool_calls"] = [
        {"id": item["call_id"], "type": item["type"], "name": item["name"], "arguments": item["arguments"]}
        for item in body["output"]
        if item["type"] == "function_call"
    ]
    row["response_id"] = body["id"]
    return row


def embedding_row(line: dict[str, Any], batch_id: str) -> dict[str, Any]:
    """Return one embedding as a flat row."""
    row = head(line, batch_id)
    row["embedding"] = line["response"]["body"]["data"][0]["embedding"]
    return row


MEASUREMENTS: dict[str, tuple[Callable[[Path], Callable[[], int]], str]] = {
    "chat, DIY": (diy("chat", chat_row), ""),
    "chat, land_shard": (ours("chat"), "chat, DIY"),
    "chat + raw, DIY": (diy("chat", chat_row, raw=True), ""),
    "chat + raw, land_shard": (ours("chat", raw="all"), "chat + raw, DIY"),
    "responses, DIY": (diy("responses", responses_row), ""),
    "responses, land_shard": (ours("responses"), "responses, DIY"),
    "embeddings, DIY": (diy("numbers", embedding_row, chunk=500), ""),
    "embeddings, land_shard": (ours("numbers"), "embeddings, DIY"),
    "embeddings, no simdjson": (ours("numbers", without="simdjson"), "embeddings, DIY"),
    "embeddings base64, land_shard": (ours("base64"), "embeddings, DIY"),
}


# The files


def make_files(folder: Path, rows: int, vectors: int) -> None:
    """Write result files and sidecars, where they do not stand there yet."""
    write_lines(folder, "chat", rows, lambda i: chat_body(i, text(i)))
    write_lines(folder, "responses", rows, lambda i: responses_body(i, text(i)))
    write_lines(folder, "numbers", vectors, lambda i: embedding_body(list(struct.unpack(f"<{SIZE}f", vector(i)))))
    write_lines(folder, "base64", vectors, lambda i: embedding_body(base64.b64encode(vector(i)).decode()))


def text(i: int) -> str:
    """Return about 1,200 characters, every ninth time not ASCII alone."""
    rng = random.Random(i)
    return " ".join(rng.choices(WORDS, k=rng.randint(180, 300))) + (" Größe 東京 ✓" if i % 9 == 0 else "")


def vector(i: int) -> bytes:
    """Return a vector as 32-bit floats: as JSON numbers they have some 20 characters, as in the API's answers."""
    rng = random.Random(i)
    return struct.pack(f"<{SIZE}f", *[rng.random() * 0.08 - 0.04 for _ in range(SIZE)])


def write_lines(folder: Path, kind: str, rows: int, body: Callable[[int], dict[str, Any]]) -> None:
    """Write one result file in shuffled order, and its sidecar in row order."""
    import pyarrow as pa

    from airflow_provider_batch.requests.shards import STATE

    sidecar = folder / f"{kind}.arrow"
    if sidecar.exists():
        return
    order = list(range(rows))
    random.Random(rows).shuffle(order)
    with (folder / f"{kind}.jsonl").open("w") as file:
        for i in order:
            response = {"status_code": 200, "request_id": f"{i:032x}", "body": body(i)}
            line = {"id": f"batch_req_{i:032x}", "custom_id": str(i), "response": response, "error": None}
            file.write(json.dumps(line) + "\n")
    schema = pa.schema([("row_number", pa.int64()), ("custom_id", pa.string()), ("state", STATE)])
    with pa.ipc.new_file(str(sidecar), schema) as writer:
        for start in range(0, rows, 2048):
            numbers = list(range(start, min(start + 2048, rows)))
            columns = [numbers, [str(number) for number in numbers], [None] * len(numbers)]
            arrays = [pa.array(values, kind) for values, kind in zip(columns, schema.types, strict=True)]
            writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=schema))


def chat_body(i: int, text: str) -> dict[str, Any]:
    """Return a chat completion."""
    message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None, "annotations": []}
    if i % 20 == 0:
        function = {"name": "look_up", "arguments": json.dumps({"row": i})}
        message["tool_calls"] = [{"id": f"call_{i}", "type": "function", "function": function}]
    return {
        "id": f"chatcmpl-{i:024x}",
        "object": "chat.completion",
        "created": 1760000000 + i,
        "model": "gpt-4o-mini-2024-07-18",
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": {
            "prompt_tokens": 100 + i % 50,
            "completion_tokens": 240,
            "total_tokens": 340 + i % 50,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": 0,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        },
        "service_tier": "default",
        "system_fingerprint": "fp_0123456789",
    }


def responses_body(i: int, text: str) -> dict[str, Any]:
    """Return a response."""
    part = {"type": "output_text", "annotations": [], "logprobs": [], "text": text}
    message = {"id": f"msg_{i}", "type": "message", "status": "completed", "content": [part], "role": "assistant"}
    return {
        "id": f"resp_{i:032x}",
        "object": "response",
        "created_at": 1760000000 + i,
        "status": "completed",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "max_output_tokens": None,
        "model": "gpt-4o-mini-2024-07-18",
        "output": [message],
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "usage": {
            "input_tokens": 100 + i % 50,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 240,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 340 + i % 50,
        },
        "metadata": {},
    }


def embedding_body(vector: Any) -> dict[str, Any]:
    """Return a list of one embedding."""
    return {
        "object": "list",
        "data": [{"object": "embedding", "index": 0, "embedding": vector}],
        "model": "text-embedding-3-small",
        "usage": {"prompt_tokens": 8, "total_tokens": 8},
    }


if __name__ == "__main__":
    main()
