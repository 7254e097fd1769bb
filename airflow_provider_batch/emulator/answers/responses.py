"""Answer `POST /v1/responses`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_batch.emulator.answers import prose, tokens
from airflow_provider_batch.emulator.answers.chat import (
    answer_text,
    arguments_for,
    log_probabilities,
    wanted_tool,
)
from airflow_provider_batch.emulator.answers.common import Answer, ModelRequest, text_of
from airflow_provider_batch.emulator.records import Tokens

#: Endpoints that this module answers → member that a request needs.
NEEDED: Mapping[str, str | None] = {"/v1/responses": None}

_REFUSAL = "I'm sorry, but I can't help with that."
_REASONING_TOKENS = 3
#: Members of a response in the order of those recorded in 2026, with the value where neither the request, which a
#: response repeats, nor the answer has one.
_MEMBERS: Mapping[str, Any] = {
    "id": None,
    "object": "response",
    "created_at": None,
    "status": None,
    "background": False,
    "billing": {"payer": "developer"},
    "completed_at": None,
    "error": None,
    "frequency_penalty": 0.0,
    "incomplete_details": None,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "model": None,
    "moderation": None,
    "output": None,
    "parallel_tool_calls": True,
    "presence_penalty": 0.0,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "prompt_cache_retention": "24h",
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "service_tier": "default",
    "store": True,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}, "verbosity": "medium"},
    "tool_choice": "auto",
    "tool_usage": {
        "image_gen": {
            "input_tokens": 0,
            "input_tokens_details": {"image_tokens": 0, "text_tokens": 0},
            "output_tokens": 0,
            "output_tokens_details": {"image_tokens": 0, "text_tokens": 0},
            "total_tokens": 0,
        },
        "web_search": {"num_requests": 0},
    },
    "tools": [],
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
    "usage": None,
    "user": None,
    "metadata": {},
}


def answer(request: ModelRequest) -> Answer:
    """
    Return a response.

    :param request: Request to `/v1/responses`.
    """
    body = request.body
    item, incomplete = _output_item(request, _prompt(body.get("input")))
    visible = tokens.count(item.get("arguments") or _visible_text(item))
    reasoning = visible * _REASONING_TOKENS if request.is_reasoning_model else 0
    used = Tokens(input=tokens.of_request(request.endpoint, body), output=visible + reasoning, reasoning=reasoning)
    thinking = {"id": f"rs_{request.digest[:48]}", "type": "reasoning", "summary": []}
    now = int(request.now)
    made = {
        "id": f"resp_{request.digest[:48]}",
        "created_at": now,
        "status": "incomplete" if incomplete else "completed",
        "completed_at": None if incomplete else now,
        "incomplete_details": {"reason": incomplete} if incomplete else None,
        "model": request.model,
        "output": [thinking, item] if request.is_reasoning_model else [item],
        "usage": _usage(used),
    }
    repeated = {name: value for name, value in body.items() if value is not None and name in _MEMBERS}
    settings = {name: {**_MEMBERS[name], **repeated.get(name, {})} for name in ("reasoning", "text")}
    return Answer(body={**_MEMBERS, **repeated, **settings, **made}, tokens=used)


def _usage(used: Tokens) -> dict[str, Any]:
    usage = used.to_api()
    return {**usage, "input_tokens_details": {"cache_write_tokens": 0, **usage["input_tokens_details"]}}


def _prompt(value: Any) -> str:
    if not isinstance(value, list):
        return text_of(value)
    users = [item for item in value if isinstance(item, Mapping) and item.get("role") == "user"]
    return text_of(users[-1].get("content")) if users else ""


def _visible_text(item: Mapping[str, Any]) -> str:
    return "".join(part.get("text") or part.get("refusal") or "" for part in item.get("content") or ())


def _output_item(request: ModelRequest, prompt: str) -> tuple[dict[str, Any], str | None]:
    """Return the one output item, and the reason where the response is incomplete."""
    body = request.body
    if (tool := wanted_tool(body)) is not None and not (
        request.has_fault("refusal") or request.has_fault("no_content")
    ):
        arguments = arguments_for(tool.get("parameters") or {}, prompt, request.digest)
        call_id = f"call_{request.digest[:24]}"
        call = {"id": f"fc_{request.digest[:48]}", "type": "function_call", "status": "completed"}
        return {**call, "arguments": arguments, "call_id": call_id, "name": tool["name"]}, None
    reason: str | None = None
    if request.has_fault("refusal"):
        part: dict[str, Any] = {"type": "refusal", "refusal": (request.fault and request.fault.message) or _REFUSAL}
    else:
        text, reason = _text(request, prompt)
        part = {"type": "output_text", "annotations": [], "logprobs": [], "text": text}
        if "message.output_text.logprobs" in (body.get("include") or ()):
            part["logprobs"] = log_probabilities(text, body)["content"]
    parts = [] if request.has_fault("no_content") else [part]
    status = "incomplete" if reason else "completed"
    message = {"id": f"msg_{request.digest[:48]}", "type": "message", "status": status}
    return {**message, "content": parts, "phase": "final_answer", "role": "assistant"}, reason


def _text(request: ModelRequest, prompt: str) -> tuple[str, str | None]:
    if request.has_fault("content_filter"):
        return "", "content_filter"
    text_format = (request.body.get("text") or {}).get("format")
    text, cut = prose.fit(answer_text(request, prompt, text_format), request.body.get("max_output_tokens"))
    is_short = cut or request.has_fault("truncated")
    return prose.with_fault(text, request), "max_output_tokens" if is_short else None
