"""Answer `POST /v1/chat/completions`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from airflow_provider_batch.emulator.answers import prose, tokens
from airflow_provider_batch.emulator.answers.common import Answer, ModelRequest, text_of
from airflow_provider_batch.emulator.answers.schemas import value_for
from airflow_provider_batch.emulator.records import Tokens

#: Endpoints that this module answers → member that a request needs.
NEEDED: Mapping[str, str | None] = {"/v1/chat/completions": "messages"}

_REFUSAL = "I'm sorry, but I can't help with that."
#: Reasoning tokens for each token of the visible answer.
_REASONING_TOKENS = 3


def answer(request: ModelRequest) -> Answer:
    """
    Return a chat completion.

    :param request: Request to `/v1/chat/completions`.
    """
    body = request.body
    prompt = _prompt(body["messages"])
    choices = [_choice(request, prompt, index) for index in range(int(body.get("n") or 1))]
    visible = sum(tokens.count(_visible_text(choice["message"])) for choice in choices)
    reasoning = visible * _REASONING_TOKENS if request.is_reasoning_model else 0
    used = Tokens(
        input=tokens.of_request(request.endpoint, body), output=visible + reasoning, reasoning=reasoning, cached=0
    )
    return Answer(
        body={
            "id": f"chatcmpl-{request.digest[:29]}",
            "object": "chat.completion",
            "created": int(request.now),
            "model": request.model,
            "choices": choices,
            "usage": _usage(used),
            "service_tier": "default",
            "system_fingerprint": "fp_" + request.digest[-10:],
        },
        tokens=used,
    )


def _prompt(messages: Any) -> str:
    users = [message for message in messages if message.get("role") == "user"] or list(messages)
    return text_of(users[-1].get("content"))


def _visible_text(message: Mapping[str, Any]) -> str:
    calls = "".join(call["function"]["arguments"] for call in message.get("tool_calls") or ())
    return (message["content"] or "") + (message["refusal"] or "") + calls


def _choice(request: ModelRequest, prompt: str, index: int) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": None, "refusal": None, "annotations": []}
    body, finish = request.body, "stop"
    if request.has_fault("refusal"):
        message["refusal"] = (request.fault and request.fault.message) or _REFUSAL
    elif request.has_fault("content_filter"):
        message["content"], finish = "", "content_filter"
    elif request.has_fault("no_content"):
        pass
    elif (tool := wanted_tool(body)) is not None:
        arguments = arguments_for(tool.get("parameters") or {}, prompt, f"{request.digest}{index}")
        call = {"name": tool["name"], "arguments": arguments}
        message["tool_calls"] = [{"id": f"call_{request.digest[:24]}", "type": "function", "function": call}]
        # As the API does: "stop" for a function that the request names, "tool_calls" for "required".
        finish = "tool_calls" if body.get("tool_choice") == "required" else "stop"
    else:
        text = answer_text(request, prompt, body.get("response_format"), index)
        text, cut = prose.fit(text, body.get("max_completion_tokens", body.get("max_tokens")))
        message["content"] = prose.with_fault(text, request)
        finish = "length" if cut or request.has_fault("truncated") else "stop"
    logprobs = log_probabilities(message["content"] or "", body) if body.get("logprobs") else None
    return {"index": index, "message": message, "logprobs": logprobs, "finish_reason": finish}


def wanted_tool(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """
    Return the function that the request makes the model call; None where the model may choose.

    :param body: Request body. With `tool_choice` "required" the first function is called, else the named one.
    """
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
    """
    Return the arguments of a tool call as JSON text.

    :param schema: JSON Schema of the function's parameters.
    :param prompt: Prompt that chooses among the values of an enum.
    :param seed: Makes the random choices repeatable.
    """
    value = value_for({"type": "object", **schema}, prompt=prompt, answer=prose.summary(prompt), seed=seed)
    return json.dumps(value, ensure_ascii=False)


def answer_text(request: ModelRequest, prompt: str, text_format: Any, index: int = 0) -> str:
    """
    Return the text of the answer: prose, or JSON where the request asks for JSON.

    :param request: Request that is answered.
    :param prompt: Text of the last user message.
    :param text_format: `response_format` of chat completions, or `text.format` of responses.
    :param index: Number of the choice, from 0; each choice has another text.
    """
    summary = prose.summary(prompt)
    is_given = request.has_fault("answer")  # the text of a fault need not match the schema
    kind = text_format.get("type") if isinstance(text_format, Mapping) and not is_given else None
    if kind == "json_object":
        return json.dumps({"answer": summary}, ensure_ascii=False)
    if kind == "json_schema":
        schema = (text_format.get("json_schema") or text_format).get("schema") or {}
        value = value_for(schema, prompt=prompt, answer=summary, seed=f"{request.digest}{index}")
        return json.dumps(value, ensure_ascii=False)
    return summary if index == 0 else f"{summary} [{index + 1}]"


def log_probabilities(text: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return made-up `logprobs` of a text, one entry for each four characters.

    :param text: Text of the answer.
    :param body: Request body; `top_logprobs` says how many alternatives each entry has, at most one here.
    """
    top = int(body.get("top_logprobs") or 0)
    pieces = [text[at : at + 4] for at in range(0, len(text), 4)]
    return {"content": [token_probability(piece, number, top) for number, piece in enumerate(pieces)], "refusal": None}


def token_probability(piece: str, number: int, top: int) -> dict[str, Any]:
    """
    Return one entry of `logprobs`.

    :param piece: Up to four characters of the answer.
    :param number: Position of the entry, from 0.
    :param top: Alternatives that were requested; more than one are served as one.
    """
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
