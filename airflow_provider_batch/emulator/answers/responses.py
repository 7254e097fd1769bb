"""`POST /v1/responses`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_batch.emulator.answers import prose, tokens
from airflow_provider_batch.emulator.answers.chat import (
    arguments_for,
    log_probabilities,
    spoken_text,
    wanted_tool,
)
from airflow_provider_batch.emulator.answers.common import Answer, Asked, text_of
from airflow_provider_batch.emulator.records import Tokens

_REFUSAL = "I'm sorry, but I can't help with that."
_THOUGHTS = 3
#: Fields of a request that its response repeats, with what stands there when they were not given.
_REPEATED: Mapping[str, Any] = {
    "background": False,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "service_tier": "default",
    "store": True,
    "temperature": 1.0,
    "tool_choice": "auto",
    "tools": [],
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
}


def answer(asked: Asked) -> Answer:
    """Return a response."""
    body = asked.body
    item, incomplete = _output_item(asked, _prompt(body.get("input")))
    spoken = tokens.count(item.get("arguments") or _said(item))
    reasoning = spoken * _THOUGHTS if asked.reasons else 0
    used = Tokens(input=tokens.of_request(asked.endpoint, body), output=spoken + reasoning, reasoning=reasoning)
    thoughts = [{"id": f"rs_{asked.digest[:48]}", "type": "reasoning", "summary": []}] if asked.reasons else []
    return Answer(
        body={
            "id": f"resp_{asked.digest[:48]}",
            "object": "response",
            "created_at": int(asked.now),
            "status": "incomplete" if incomplete else "completed",
            "error": None,
            "incomplete_details": {"reason": incomplete} if incomplete else None,
            "model": asked.model,
            "output": [*thoughts, item],
            "reasoning": body.get("reasoning") or {"effort": None, "summary": None},
            "text": body.get("text") or {"format": {"type": "text"}},
            **{name: body.get(name, default) for name, default in _REPEATED.items()},
            "usage": used.to_api(),
        },
        tokens=used,
    )


def _prompt(value: Any) -> str:
    if not isinstance(value, list):
        return text_of(value)
    users = [item for item in value if isinstance(item, Mapping) and item.get("role") == "user"]
    return text_of(users[-1].get("content")) if users else ""


def _said(item: Mapping[str, Any]) -> str:
    return "".join(part.get("text") or part.get("refusal") or "" for part in item.get("content") or ())


def _output_item(asked: Asked, prompt: str) -> tuple[dict[str, Any], str | None]:
    """Return the one output item, and the reason where the response is incomplete."""
    body = asked.body
    if (tool := wanted_tool(body)) is not None and not (asked.is_twisted("refusal") or asked.is_twisted("no_content")):
        arguments = arguments_for(tool.get("parameters") or {}, prompt, asked.digest)
        call_id = f"call_{asked.digest[:24]}"
        call = {"id": f"fc_{asked.digest[:48]}", "type": "function_call", "status": "completed"}
        return {**call, "arguments": arguments, "call_id": call_id, "name": tool["name"]}, None
    reason: str | None = None
    if asked.is_twisted("refusal"):
        part: dict[str, Any] = {"type": "refusal", "refusal": (asked.twist and asked.twist.text) or _REFUSAL}
    else:
        text, reason = _text(asked, prompt)
        part = {"type": "output_text", "annotations": [], "logprobs": [], "text": text}
        if "message.output_text.logprobs" in (body.get("include") or ()):
            part["logprobs"] = log_probabilities(text, body)["content"]
    parts = [] if asked.is_twisted("no_content") else [part]
    status = "incomplete" if reason else "completed"
    message = {"id": f"msg_{asked.digest[:48]}", "type": "message", "status": status}
    return {**message, "content": parts, "role": "assistant"}, reason


def _text(asked: Asked, prompt: str) -> tuple[str, str | None]:
    if asked.is_twisted("content_filter"):
        return "", "content_filter"
    text_format = (asked.body.get("text") or {}).get("format")
    text, cut = prose.fit(spoken_text(asked, prompt, text_format), asked.body.get("max_output_tokens"))
    is_short = cut or asked.is_twisted("truncated")
    return prose.twisted(text, asked), "max_output_tokens" if is_short else None
