"""Response bodies made of the official SDK's models: they contain every field, and every member of every union."""

from __future__ import annotations

import random
from collections.abc import Mapping
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from openai.types import Completion, CreateEmbeddingResponse, ImagesResponse, ModerationCreateResponse, Video
from openai.types.chat import ChatCompletion
from openai.types.responses import Response
from pydantic import BaseModel

from airflow_provider_batch.api.endpoints import Endpoint

MODELS: Mapping[Endpoint, type[BaseModel]] = {
    Endpoint.CHAT_COMPLETIONS: ChatCompletion,
    Endpoint.RESPONSES: Response,
    Endpoint.EMBEDDINGS: CreateEmbeddingResponse,
    Endpoint.COMPLETIONS: Completion,
    Endpoint.MODERATIONS: ModerationCreateResponse,
    Endpoint.IMAGES_GENERATIONS: ImagesResponse,
    Endpoint.IMAGES_EDITS: ImagesResponse,
    Endpoint.VIDEOS: Video,
}
PNG = "iVBORw0KGgo="
#: Values of fields that mean more than their type says.
FIXED: Mapping[str, Any] = {"b64_json": PNG, "result": PNG, "embedding": [0.5, 1, -2]}
TEXTS = ("", " é", " 😀", ' "q"\n', "\u2028", "\\ud83d")


def body(endpoint: Endpoint, seed: int) -> dict[str, Any]:
    """Return a body with every optional field, or for odd seeds with some of them null or missing."""
    return _Maker(seed).object(MODELS[endpoint])


class _Maker:
    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._nulls = 0.3 if seed % 2 else 0.0
        self._texts = 0

    def object(self, model: type[BaseModel], depth: int = 0) -> dict[str, Any]:
        made = {}
        for name, field in model.model_fields.items():
            value = FIXED.get(name) or self._value(field.annotation, depth + 1)
            if field.is_required() or not (depth > 12 or (value is None and self._random.random() < 0.5)):
                made[field.alias or name] = value
        return made

    def _value(self, kind: Any, depth: int) -> Any:
        kind = getattr(kind, "__value__", kind)
        origin, members = get_origin(kind), get_args(kind)
        if origin is Literal:
            return self._random.choice(members)
        if origin in (Union, UnionType):
            some = [member for member in members if member is not type(None)]
            nothing = len(some) < len(members) and self._random.random() < self._nulls
            return None if nothing else self._value(self._random.choice(some), depth)
        if origin is list:
            return [self._value(members[0], depth + 1) for _ in range(0 if depth > 9 else self._random.choice((1, 2)))]
        if origin is dict:
            return {self._text(): self._value(members[1], depth + 1) for _ in range(self._random.choice((0, 2)))}
        if members and origin is not None:  # annotated
            return self._value(members[0], depth)
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return self.object(kind, depth)
        return self._plain(kind)

    def _plain(self, kind: Any) -> Any:
        if kind is str:
            return self._text()
        if kind is int:
            return self._random.randrange(100_000)
        if kind is float:
            return self._random.choice((0.5, -0.25, 3, 1e-9))
        if kind is bool:
            return self._random.random() < 0.5
        assert kind in (Any, object), kind
        return self._random.choice(("text", 1, {"text": "é", "more": [1, None]}, [1], None))

    def _text(self) -> str:
        self._texts += 1
        return f"text {self._texts}{self._random.choice(TEXTS)}"
