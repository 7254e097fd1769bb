"""`POST /v1/chat/completions`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from airflow_provider_batch.emulator.answers import prose, tokens
from airflow_provider_batch.emulator.answers.common import Answer, Asked, text_of
from airflow_provider_batch.emulator.answers.schemas import value_for
from airflow_provider_batch.emulator.records import Tokens

_REFUSAL = "I'm sorry, but I can't help with that."
#: Tokens that a reasoning model thinks for each it says.
_THOUGHTS = 3


def answer(asked: Asked) -> Answer:
    """Return a chat completion."""
    body = asked.body
    prompt = _prompt(body["messages"])
    choices = [_choice(asked, prompt, index) for index in range(int(body.get("n") or 1))]
    spoken = sum(tokens.count(_said(choice["message"])) for choice in choices)
    reasoning = spoken * _THOUGHTS if asked.reasons else 0
    used = Tokens(
        input=tokens.of_request(asked.endpoint, body), output=spoken + reasoning, reasoning=reasoning, cached=0
    )
    return Answer(
        body={
            "id": f"chatcmpl-{asked.digest[:29]}",
            "object": "chat.completion",
            "created": int(asked.now),
            "model": asked.model,
            "choices": choices,
            "usage": _usage(used),
            "service_tier": "default",
            "system_fingerprint": "fp_" + asked.digest[-10:],
        },
        tokens=used,
    )


def _prompt(messages: Any) -> str:
    users = [message for message in messages if message.get("role") == "user"] or list(messages)
    return text_of(users[-1].get("content"))


def _said(message: Mapping[str, Any]) -> str:
    calls = "".join(call["function"]["arguments"] for call in message.get("tool_calls") or ())
    return (message["content"] or "") + (message["refusal"] or "") + calls


def _choice(asked: Asked, prompt: str, index: int) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": None, "refusal": None, "annotations": []}
    body, finish = asked.body, "stop"
    if asked.is_twisted("refusal"):
        message["refusal"] = (asked.twist and asked.twist.text) or _REFUSAL
    elif asked.is_twisted("content_filter"):
        message["content"], finish = "", "content_filter"
    elif asked.is_twisted("no_content"):
        pass
    elif (tool := wanted_tool(body)) is not None:
        arguments = arguments_for(tool.get("parameters") or {}, prompt, f"{asked.digest}{index}")
        call = {"name": tool["name"], "arguments": arguments}
        message["tool_calls"] = [{"id": f"call_{asked.digest[:24]}", "type": "function", "function": call}]
        # A tool that was asked for by name ends with "stop"; one that the model chose with "tool_calls".
        finish = "tool_calls" if body.get("tool_choice") == "required" else "stop"
    else:
        text = spoken_text(asked, prompt, body.get("response_format"), index)
        text, cut = prose.fit(text, body.get("max_completion_tokens", body.get("max_tokens")))
        message["content"] = prose.twisted(text, asked)
        finish = "length" if cut or asked.is_twisted("truncated") else "stop"
    logprobs = log_probabilities(message["content"] or "", body) if body.get("logprobs") else None
    return {"index": index, "message": message, "logprobs": logprobs, "finish_reason": finish}


def wanted_tool(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the function that the request insists on: the first with `required`, or the named one."""
    choice = body.get("tool_choice")
    functions: list[Mapping[str, Any]]
    functions = [tool.get("function") or tool for tool in body.get("tools") or () if tool.get("type") == "function"]
    if not functions or choice in (None, "auto", "none"):
        return None
    if isinstance(choice, Mapping):
        name = (choice.get("function") or choice).get("name")
        return next((function for function in functions if function.get("name") == name), functions[0])
    return functions[0]


def arguments_for(schema: Mapping[str, Any], prompt: str, seed: str) -> str:
    """Return a tool's arguments as JSON text."""
    value = value_for({"type": "object", **schema}, prompt=prompt, answer=prose.summary(prompt), seed=seed)
    return json.dumps(value, ensure_ascii=False)


def spoken_text(asked: Asked, prompt: str, text_format: Any, index: int = 0) -> str:
    """Return the answer's text: prose, or JSON where the format asks for it."""
    told = prose.summary(prompt)
    given = asked.is_twisted("answer")  # what a fault says needs no schema
    kind = text_format.get("type") if isinstance(text_format, Mapping) and not given else None
    if kind == "json_object":
        return json.dumps({"answer": told}, ensure_ascii=False)
    if kind == "json_schema":
        schema = (text_format.get("json_schema") or text_format).get("schema") or {}
        value = value_for(schema, prompt=prompt, answer=told, seed=f"{asked.digest}{index}")
        return json.dumps(value, ensure_ascii=False)
    return told if index == 0 else f"{told} [{index + 1}]"


def log_probabilities(text: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the `logprobs` of a text, one entry for each four characters."""
    top = int(body.get("top_logprobs") or 0)
    pieces = [text[at : at + 4] for at in range(0, len(text), 4)]
    return {"content": [token_probability(piece, number, top) for number, piece in enumerate(pieces)], "refusal": None}


def token_probability(piece: str, number: int, top: int) -> dict[str, Any]:
    """Return one token with its log-probability."""
    entry = {
        "token": piece,
        "logprob": -0.01 * (1 + number % 7),
        "bytes": list(piece.encode("utf-8", "surrogatepass")),
    }
    return {**entry, "top_logprobs": [dict(entry) for _ in range(min(1, top))]}


def _usage(used: Tokens) -> dict[str, Any]:
    return {
        "prompt_tokens": used.input,
        "completion_tokens": used.output,
        "total_tokens": used.input + used.output,
        "prompt_tokens_details": {"cached_tokens": used.cached, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": used.reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }
