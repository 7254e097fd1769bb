"""Answer `POST /v1/completions`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

from airflow_provider_batch.emulator.answers import prose, tokens
from airflow_provider_batch.emulator.answers.chat import log_probabilities
from airflow_provider_batch.emulator.answers.common import Answer, ModelRequest
from airflow_provider_batch.emulator.records import Tokens

#: Endpoints that this module answers → member that a request needs.
NEEDED: Mapping[str, str | None] = {"/v1/completions": "prompt"}

#: `max_tokens` of the endpoint where the request has none.
_DEFAULT_MAX_TOKENS = 16


def answer(request: ModelRequest) -> Answer:
    """
    Return `n` completions for each prompt.

    :param request: Request to `/v1/completions`.
    """
    body = request.body
    prompts = body["prompt"] if isinstance(body["prompt"], list) else [body["prompt"]]
    if prompts and isinstance(prompts[0], int):
        prompts = [prompts]
    copies = int(body.get("n") or 1)
    choices = [
        _choice(request, prompt, at * copies + copy) for at, prompt in enumerate(prompts) for copy in range(copies)
    ]
    used = Tokens(
        input=tokens.of_request(request.endpoint, body),
        output=sum(tokens.count(choice["text"] or "") for choice in choices),
    )
    total = used.input + used.output
    usage = {"prompt_tokens": used.input, "completion_tokens": used.output, "total_tokens": total}
    return Answer(
        body={
            "id": f"cmpl-{request.digest[:29]}",
            "object": "text_completion",
            "created": int(request.now),
            "model": request.model,
            "choices": choices,
            "usage": usage,
        },
        tokens=used,
    )


def _choice(request: ModelRequest, prompt: Any, index: int) -> dict[str, Any]:
    text = prompt if isinstance(prompt, str) else " ".join(map(str, prompt))
    answered, cut = prose.fit(prose.summary(text), request.body.get("max_tokens", _DEFAULT_MAX_TOKENS))
    answered = prose.with_fault(answered, request)
    finish = "length" if cut or request.has_fault("truncated") else "stop"
    if request.has_fault("content_filter"):
        answered, finish = "", "content_filter"
    if request.has_fault("no_content"):
        return {"text": None, "index": index, "logprobs": None, "finish_reason": "stop"}
    shown = (text if request.body.get("echo") else "") + answered
    top = request.body.get("logprobs")
    logprobs = None if top is None else _parallel(log_probabilities(shown, {"top_logprobs": top})["content"])
    return {"text": shown, "index": index, "logprobs": logprobs, "finish_reason": finish}


def _parallel(tokens: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return log-probabilities as this endpoint has them: lists side by side."""
    lengths = (len(token["token"]) for token in tokens)
    return {
        "tokens": [token["token"] for token in tokens],
        "token_logprobs": [token["logprob"] for token in tokens],
        "top_logprobs": [{top["token"]: top["logprob"] for top in token["top_logprobs"]} for token in tokens],
        "text_offset": list(accumulate(lengths, initial=0))[: len(tokens)],
    }
