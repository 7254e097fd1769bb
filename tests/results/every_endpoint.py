"""The answers of the emulator at each of the eight endpoints, as result lines."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from airflow_provider_batch.api.endpoints import Endpoint
from airflow_provider_batch.emulator import answers
from tests.results.support import http_error, not_run, success

_USER = [{"role": "user", "content": "Say hello."}]
_TOOL = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}}}
_CALLED = {"tools": [_TOOL], "tool_choice": "required"}
_RESPONSES_TOOL = {"type": "function", "name": "look_up", "parameters": {"type": "object", "properties": {}}}

#: Endpoint → bodies of requests.
BODIES: Mapping[Endpoint, list[dict[str, Any]]] = {
    Endpoint.CHAT_COMPLETIONS: [
        {"model": "gpt-4o-mini", "messages": _USER, "logprobs": True, "top_logprobs": 1},
        {"model": "gpt-5-mini", "messages": _USER, "n": 2},
        {"model": "gpt-4o-mini", "messages": _USER, **_CALLED},
    ],
    Endpoint.RESPONSES: [
        {"model": "gpt-5-mini", "input": "Say hello."},
        {"model": "gpt-4o-mini", "input": "Say hello.", "tools": [_RESPONSES_TOOL], "tool_choice": "required"},
    ],
    Endpoint.EMBEDDINGS: [
        {"model": "text-embedding-3-small", "input": "one", "dimensions": 3},
        {"model": "text-embedding-3-small", "input": ["one", "two"], "dimensions": 3, "encoding_format": "base64"},
    ],
    Endpoint.COMPLETIONS: [
        {"model": "gpt-3.5-turbo-instruct", "prompt": "Hello", "logprobs": 1},
        {"model": "gpt-3.5-turbo-instruct", "prompt": "Hello", "n": 2},
    ],
    Endpoint.MODERATIONS: [
        {"model": "omni-moderation-latest", "input": "I will kill you."},
        {"model": "omni-moderation-latest", "input": ["Hello.", "You idiot."]},
    ],
    Endpoint.IMAGES_GENERATIONS: [
        {"model": "gpt-image-1", "prompt": "a cat", "n": 2},
        {"model": "dall-e-3", "prompt": "a dog", "response_format": "url"},
    ],
    Endpoint.IMAGES_EDITS: [
        {"model": "gpt-image-1", "prompt": "a hat", "images": [{"image_url": "https://example.com/cat.png"}]},
    ],
    Endpoint.VIDEOS: [{"model": "sora-2", "prompt": "a cat", "seconds": "8"}],
}


def lines(endpoint: Endpoint) -> list[dict[str, Any]]:
    """Return a success for each body, then a failed request and one that did not run."""
    made = []
    for number, body in enumerate(BODIES[endpoint]):
        answer = answers.answer(endpoint.value, body, now=1_760_000_000.0)
        found = dict(answer.body)
        if answer.raw:  # embeddings, which the emulator encodes separately
            found["data"] = [
                {**item, "embedding": json.loads(answer.raw.get(item["embedding"]) or json.dumps(item["embedding"]))}
                for item in found["data"]
            ]
        made.append(success(f"{number}", found))
    count = len(made)
    return [*made, http_error(f"{count}", 400, "bad"), not_run(f"{count + 1}")]
