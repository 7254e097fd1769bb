"""`POST /v1/completions`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

from airflow_provider_batch.emulator.answers import prose, tokens
from airflow_provider_batch.emulator.answers.chat import log_probabilities
from airflow_provider_batch.emulator.answers.common import Answer, Asked
from airflow_provider_batch.emulator.records import Tokens

#: What the endpoint takes where the request does not say.
_DEFAULT_MAX_TOKENS = 16


def answer(asked: Asked) -> Answer:
    """Return `n` completions for each prompt."""
    body = asked.body
    prompts = body["prompt"] if isinstance(body["prompt"], list) else [body["prompt"]]
    if prompts and isinstance(prompts[0], int):
        prompts = [prompts]
    copies = int(body.get("n") or 1)
    choices = [
        _choice(asked, prompt, at * copies + copy) for at, prompt in enumerate(prompts) for copy in range(copies)
    ]
    used = Tokens(
        input=tokens.of_request(asked.endpoint, body),
        output=sum(tokens.count(choice["text"] or "") for choice in choices),
    )
    total = used.input + used.output
    usage = {"prompt_tokens": used.input, "completion_tokens": used.output, "total_tokens": total}
    return Answer(
        body={
            "id": f"cmpl-{asked.digest[:29]}",
            "object": "text_completion",
            "created": int(asked.now),
            "model": asked.model,
            "choices": choices,
            "usage": usage,
        },
        tokens=used,
    )


def _choice(asked: Asked, prompt: Any, index: int) -> dict[str, Any]:
    text = prompt if isinstance(prompt, str) else " ".join(map(str, prompt))
    said, cut = prose.fit(prose.summary(text), asked.body.get("max_tokens", _DEFAULT_MAX_TOKENS))
    said = prose.twisted(said, asked)
    finish = "length" if cut or asked.is_twisted("truncated") else "stop"
    if asked.is_twisted("content_filter"):
        said, finish = "", "content_filter"
    if asked.is_twisted("no_content"):
        return {"text": None, "index": index, "logprobs": None, "finish_reason": "stop"}
    told = (text if asked.body.get("echo") else "") + said
    asked_for = asked.body.get("logprobs")
    logprobs = None if asked_for is None else _parallel(log_probabilities(told, {"top_logprobs": asked_for})["content"])
    return {"text": told, "index": index, "logprobs": logprobs, "finish_reason": finish}


def _parallel(tokens: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return log-probabilities as this endpoint has them: lists side by side."""
    lengths = (len(token["token"]) for token in tokens)
    return {
        "tokens": [token["token"] for token in tokens],
        "token_logprobs": [token["logprob"] for token in tokens],
        "top_logprobs": [{top["token"]: top["logprob"] for top in token["top_logprobs"]} for token in tokens],
        "text_offset": list(accumulate(lengths, initial=0))[: len(tokens)],
    }
