"""Make result files as the API writes them, in shuffled order, each with the sidecar of its shard."""

from __future__ import annotations

import base64
import json
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

VOCABULARY = "data model batch table result price token answer engine river window garden letter the a of to in is"
WORDS = VOCABULARY.split()
SIZE = 1536
CHAT_MODEL, EMBEDDING_MODEL = "gpt-4o-mini-2024-07-18", "text-embedding-3-small"


#: Lines of the chat and responses files, and of the embedding files.
ROWS, VECTORS = 50_000, 10_000
QUICK_ROWS, QUICK_VECTORS = 10_000, 2_000


def make_files(folder: Path, rows: int = ROWS, vectors: int = VECTORS) -> None:
    """
    Write result files and sidecars of all kinds, unless they exist.

    :param folder: Folder to write to.
    :param rows: Lines of the chat and responses files.
    :param vectors: Lines of the embedding files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    make_chat(folder, "chat", rows)
    write_lines(folder, "responses", rows, lambda i: responses_body(i, text(i)))
    write_lines(folder, "numbers", vectors, lambda i: embedding_body(list(struct.unpack(f"<{SIZE}f", vector(i)))))
    write_lines(folder, "base64", vectors, lambda i: embedding_body(base64.b64encode(vector(i)).decode()))


def make_chat(folder: Path, name: str, rows: int) -> None:
    """
    Write a file of chat results of about 2 KB each, unless it exists.

    :param folder: Folder to write to.
    :param name: Name of the files, without suffix.
    :param rows: Number of lines.
    """
    write_lines(folder, name, rows, lambda i: chat_body(i, text(i)))


def make_vectors(folder: Path, name: str, rows: int, size: int) -> None:
    """
    Write embeddings as JSON numbers, unless they exist; 300 vectors repeat, so that gigabytes take seconds.

    :param folder: Folder to write to.
    :param name: Name of the files, without suffix.
    :param rows: Number of lines.
    :param size: Numbers in each vector.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / f"{name}.arrow").exists():
        return
    rng = random.Random(size)
    vectors = [json.dumps([rng.random() * 0.08 - 0.04 for _ in range(size)]) for _ in range(300)]
    with (folder / f"{name}.jsonl").open("w") as file:
        for i in range(rows):
            line = json.dumps(result_line(i, embedding_body("vector")))
            file.write(line.replace('"vector"', vectors[i % 300]) + "\n")
    write_sidecar(folder / f"{name}.arrow", rows)


def text(i: int) -> str:
    """
    Return about 1,200 characters; every ninth text has characters beyond ASCII.

    :param i: Number of the row, from 0.
    """
    rng = random.Random(i)
    return " ".join(rng.choices(WORDS, k=rng.randint(180, 300))) + (" Größe 東京 ✓" if i % 9 == 0 else "")


def vector(i: int) -> bytes:
    """
    Return a vector as 32-bit floats; as JSON numbers they have about 20 characters, as in the API's answers.

    :param i: Number of the row, from 0.
    """
    rng = random.Random(i)
    return struct.pack(f"<{SIZE}f", *[rng.random() * 0.08 - 0.04 for _ in range(SIZE)])


def write_lines(folder: Path, kind: str, rows: int, body: Callable[[int], dict[str, Any]]) -> None:
    """
    Write a result file in shuffled order and its sidecar in row order, unless they exist.

    :param folder: Folder to write to.
    :param kind: Name of the files, without suffix.
    :param rows: Number of lines.
    :param body: Returns the response body of a row.
    """
    sidecar = folder / f"{kind}.arrow"
    if sidecar.exists():
        return
    order = list(range(rows))
    random.Random(rows).shuffle(order)
    with (folder / f"{kind}.jsonl").open("w") as file:
        for i in order:
            file.write(json.dumps(result_line(i, body(i))) + "\n")
    write_sidecar(sidecar, rows)


def result_line(i: int, body: dict[str, Any]) -> dict[str, Any]:
    """
    Return the result line of a request that succeeded.

    :param i: Number of the row, from 0.
    :param body: Response body.
    """
    response = {"status_code": 200, "request_id": f"{i:032x}", "body": body}
    return {"id": f"batch_req_{i:032x}", "custom_id": custom_id(i), "response": response, "error": None}


def custom_id(i: int) -> str:
    """
    Return the id of a row: a prefix and a number, the only form that common.ai supports.

    :param i: Number of the row, from 0.
    """
    return f"row-{i}"


def write_sidecar(path: Path, rows: int) -> None:
    """
    Write the sidecar of a shard without carried columns.

    :param path: Arrow file to write.
    :param rows: Number of rows.
    """
    import pyarrow as pa

    from airflow_provider_batch.requests.sidecar import STATE

    schema = pa.schema([("row_number", pa.int64()), ("custom_id", pa.string()), ("state", STATE)])
    with pa.ipc.new_file(str(path), schema) as writer:
        for start in range(0, rows, 2048):
            numbers = list(range(start, min(start + 2048, rows)))
            columns = [numbers, [custom_id(number) for number in numbers], [None] * len(numbers)]
            arrays = [pa.array(values, kind) for values, kind in zip(columns, schema.types, strict=True)]
            writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=schema))


def chat_body(i: int, text: str) -> dict[str, Any]:
    """
    Return a chat completion.

    :param i: Number of the row, from 0.
    :param text: Text of the answer.
    """
    message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None, "annotations": []}
    if i % 20 == 0:
        function = {"name": "look_up", "arguments": json.dumps({"row": i})}
        message["tool_calls"] = [{"id": f"call_{i}", "type": "function", "function": function}]
    return {
        "id": f"chatcmpl-{i:024x}",
        "object": "chat.completion",
        "created": 1760000000 + i,
        "model": CHAT_MODEL,
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
    """
    Return a response.

    :param i: Number of the row, from 0.
    :param text: Text of the answer.
    """
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
        "model": CHAT_MODEL,
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
    """
    Return the response body with one embedding.

    :param vector: List of numbers, or base64 text.
    """
    return {
        "object": "list",
        "data": [{"object": "embedding", "index": 0, "embedding": vector}],
        "model": EMBEDDING_MODEL,
        "usage": {"prompt_tokens": 8, "total_tokens": 8},
    }
