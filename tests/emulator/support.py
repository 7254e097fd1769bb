"""Helpers of the emulator tests: input files, running a batch to its end, its result lines."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import openai

CHAT, RESPONSES, EMBEDDINGS = "/v1/chat/completions", "/v1/responses", "/v1/embeddings"
ENDED = ("completed", "failed", "expired", "cancelled")


def client_of(base_url: str, **options: Any) -> openai.OpenAI:
    """Return a client that tries each call once."""
    return openai.OpenAI(base_url=base_url, api_key="any", max_retries=0, **options)


def chat_body(text: str = "A cat sat on the mat.", **extra: Any) -> dict[str, Any]:
    return {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": text}], **extra}


def chat_lines(count: int) -> list[dict[str, Any]]:
    """Return `count` different request lines, `r1` first."""
    return [line(f"r{number}", chat_body(f"Text number {number}.")) for number in range(1, count + 1)]


def line(custom_id: str, body: Mapping[str, Any], url: str = CHAT) -> dict[str, Any]:
    return {"custom_id": custom_id, "method": "POST", "url": url, "body": body}


def as_file(lines: Sequence[Any]) -> bytes:
    return b"".join(one if isinstance(one, bytes) else json.dumps(one).encode() + b"\n" for one in lines)


def upload(client: openai.OpenAI, lines: Sequence[Any]) -> str:
    return client.files.create(file=("input.jsonl", as_file(lines)), purpose="batch").id


def submit(client: openai.OpenAI, lines: Sequence[Any], endpoint: str = CHAT, **extra: Any) -> Any:
    """Upload lines and create a batch of them."""
    file_id = upload(client, lines)
    return client.batches.create(input_file_id=file_id, endpoint=endpoint, completion_window="24h", **extra)  # type: ignore[arg-type]


def until(condition: Callable[[], Any], what: str, seconds: float = 600.0) -> Any:
    """Return the first true value of `condition`; fail after some seconds."""
    give_up = time.monotonic() + seconds
    while time.monotonic() < give_up:
        if value := condition():
            return value
        time.sleep(0.01)
    raise AssertionError(f"not within {seconds} s: {what}")


def ended(client: openai.OpenAI, batch_id: str) -> Any:
    """Wait for the end of a batch and return it."""

    def poll() -> Any:
        batch = client.batches.retrieve(batch_id)
        return batch if batch.status.lower() in ENDED else None

    return until(poll, f"{batch_id} ends")


def run(client: openai.OpenAI, lines: Sequence[Any], endpoint: str = CHAT, **extra: Any) -> Any:
    """Submit lines and return the batch as it ended."""
    return ended(client, submit(client, lines, endpoint, **extra).id)


def content(client: openai.OpenAI, file_id: str | None) -> bytes:
    return b"" if file_id is None else client.files.content(file_id).content


def results(client: openai.OpenAI, file_id: str | None) -> dict[str, Any]:
    """Return a result file's lines by `custom_id`; a second line of the same id is an error."""
    found: dict[str, Any] = {}
    for raw in content(client, file_id).split(b"\n"):
        if raw:
            result = json.loads(raw)
            assert result["custom_id"] not in found
            found[result["custom_id"]] = result
    return found
