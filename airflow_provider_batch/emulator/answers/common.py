"""Types that the answers of all endpoints share: the request, the answer, the fault, the names of models."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import msgspec

from airflow_provider_batch.emulator.faults import FaultRule
from airflow_provider_batch.emulator.records import Tokens

#: Dated snapshot that the API names in its answers, by the short name in the request.
SNAPSHOTS = {
    "gpt-4o": "gpt-4o-2024-08-06",
    "gpt-4o-mini": "gpt-4o-mini-2024-07-18",
    "gpt-4.1": "gpt-4.1-2025-04-14",
    "gpt-4.1-mini": "gpt-4.1-mini-2025-04-14",
    "gpt-4.1-nano": "gpt-4.1-nano-2025-04-14",
    "gpt-5": "gpt-5-2025-08-07",
    "gpt-5-mini": "gpt-5-mini-2025-08-07",
    "gpt-5-nano": "gpt-5-nano-2025-08-07",
    "o3": "o3-2025-04-16",
    "o4-mini": "o4-mini-2025-04-16",
    "gpt-3.5-turbo-instruct": "gpt-3.5-turbo-instruct",
}
_REASONING = ("o1", "o3", "o4", "gpt-5")


def snapshot_of(model: str | None) -> str | None:
    """
    Return the dated snapshot of a model, or the name itself where it has none.

    :param model: Name of the model in a request; None for a request without a model.
    """
    return None if model is None else SNAPSHOTS.get(model, model)


@dataclass
class Answer:
    """
    Body of a response and its tokens.

    :param body: Response body. It holds the keys of `raw` in place of the values.
    :param tokens: Tokens that the response bills.
    :param raw: Encoded JSON by the text that replaces it in `body`: long vectors are encoded once, and fast.
    """

    body: dict[str, Any]
    tokens: Tokens = field(default_factory=Tokens)
    raw: dict[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelRequest:
    """
    One request to an endpoint, with what its answer depends on.

    :param endpoint: Path of the endpoint, such as `/v1/embeddings`.
    :param body: Request body.
    :param now: Epoch seconds, for the members of the answer that name a time.
    :param dated_models: Name the dated snapshot of a well-known model, as the API does.
    :param fault: Fault rule that changes the answer; None for a plain answer.
    :param embedding_sizes: Numbers in an embedding by model, where they are not OpenAI's.
    """

    endpoint: str
    body: Mapping[str, Any]
    now: float
    dated_models: bool = True
    fault: FaultRule | None = None
    embedding_sizes: Mapping[str, int] = field(default_factory=dict)

    @cached_property
    def digest(self) -> str:
        """Hash of the body as 64 hex digits; equal bodies have equal hashes."""
        return hashlib.blake2b(msgspec.json.encode(self.body), digest_size=32).hexdigest()

    @property
    def model(self) -> str:
        """Name of the model in the answer."""
        name = str(self.body["model"])
        return (snapshot_of(name) or name) if self.dated_models else name

    @property
    def is_reasoning_model(self) -> bool:
        """Whether the model bills reasoning tokens."""
        return str(self.body["model"]).startswith(_REASONING)

    def has_fault(self, kind: str) -> bool:
        """
        Say whether a fault of this kind changes the answer.

        :param kind: Kind of the fault rule.
        """
        return self.fault is not None and self.fault.kind == kind


def text_of(content: Any) -> str:
    """
    Return the text of a message's content; parts that are no text are left out.

    :param content: A string, or a list of content parts.
    """
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    texts = [part if isinstance(part, str) else part.get("text") for part in content if isinstance(part, str | Mapping)]
    return "\n".join(text for text in texts if isinstance(text, str))
