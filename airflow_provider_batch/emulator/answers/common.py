"""What the answers of all endpoints share: the question, the answer's parts, names of models, ids."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import msgspec

from airflow_provider_batch.emulator.records import Tokens

#: Snapshots that the API names in its answers when asked for the short name.
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


@dataclass(frozen=True)
class Twist:
    """How a fault changes an answer; `text` goes with `answer` and `refusal`."""

    kind: Literal["content_filter", "refusal", "no_content", "truncated", "answer", "raw_separators", "lone_surrogate"]
    text: str | None = None


@dataclass
class Answer:
    """
    The body of a response and what it costs.

    :param raw: Values that are JSON already, by the text that stands for them in `body`: long vectors are encoded
    once, and fast.
    """

    body: dict[str, Any]
    tokens: Tokens = field(default_factory=Tokens)
    raw: dict[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Asked:
    """One request, as an answering function gets it."""

    endpoint: str
    body: Mapping[str, Any]
    now: float
    dated_models: bool = True
    twist: Twist | None = None

    @cached_property
    def digest(self) -> str:
        """64 hex digits that are the same for the same body."""
        return hashlib.blake2b(msgspec.json.encode(self.body), digest_size=32).hexdigest()

    @property
    def model(self) -> str:
        """The model's name as the answer gives it."""
        name = str(self.body["model"])
        return SNAPSHOTS.get(name, name) if self.dated_models else name

    @property
    def reasons(self) -> bool:
        """Whether the model is one that thinks before it answers."""
        return str(self.body["model"]).startswith(_REASONING)

    def is_twisted(self, kind: str) -> bool:
        """Whether a fault of that kind is on this request."""
        return self.twist is not None and self.twist.kind == kind


def text_of(content: Any) -> str:
    """Return the text of a message's content: a text, or parts of which some are text."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    texts = [part if isinstance(part, str) else part.get("text") for part in content if isinstance(part, str | Mapping)]
    return "\n".join(text for text in texts if isinstance(text, str))
