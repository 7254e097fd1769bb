"""
What each endpoint takes, read off the types of the openai SDK: `python -m tests.requests.sdk_types` writes the table
that the package has of it, and a test compares the two.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import typing_extensions
from openai.types import (
    completion_create_params,
    embedding_create_params,
    image_edit_params,
    image_generate_params,
    moderation_create_params,
    video_create_params,
)
from openai.types.chat import completion_create_params as chat_completion_create_params
from openai.types.responses import response_create_params

from airflow_provider_batch.api.endpoints import Endpoint
from airflow_provider_batch.requests.accepted_values import ANYTHING, FILE, Accepted

PARAMETERS: Mapping[Endpoint, Any] = {
    Endpoint.RESPONSES: response_create_params.ResponseCreateParamsNonStreaming,
    Endpoint.CHAT_COMPLETIONS: chat_completion_create_params.CompletionCreateParamsNonStreaming,
    Endpoint.EMBEDDINGS: embedding_create_params.EmbeddingCreateParams,
    Endpoint.COMPLETIONS: completion_create_params.CompletionCreateParamsNonStreaming,
    Endpoint.MODERATIONS: moderation_create_params.ModerationCreateParams,
    Endpoint.IMAGES_GENERATIONS: image_generate_params.ImageGenerateParamsNonStreaming,
    Endpoint.IMAGES_EDITS: image_edit_params.ImageEditParamsNonStreaming,
    Endpoint.VIDEOS: video_create_params.VideoCreateParams,
}
#: Objects and arrays within each other past which only the kind of a value is kept.
DEPTH = 6
#: Members of which only the kind is kept: they are hardly ever made of columns, and half of all types.
SHALLOW = ("tools", "tool_choice")
#: What the API takes besides, though the types do not say so.
ALSO = {"logit_bias": Accepted("oz", each=Accepted("n"))}
_SCALARS = {str: "s", int: "i", float: "n", bool: "b", type(None): "z"}
_ARRAYS = (list, tuple, set, Iterable, Sequence)
_WRAPPERS = (typing.Required, typing.NotRequired, typing_extensions.Required, typing_extensions.NotRequired)
_ANY = Accepted(kinds=ANYTHING)


def table() -> dict[str, Accepted]:
    """Return what the body of each endpoint takes."""
    return {endpoint.value: _object([parameters], DEPTH) for endpoint, parameters in PARAMETERS.items()}


def _bare(kind: Any) -> Any:
    while True:
        origin = typing.get_origin(kind)
        if origin in _WRAPPERS or origin is typing.Annotated:
            kind = typing.get_args(kind)[0]
        elif hasattr(kind, "__value__"):
            kind = kind.__value__
        else:
            return kind


def _options(kind: Any) -> list[Any]:
    kind = _bare(kind)
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return [option for given in typing.get_args(kind) for option in _options(given)]
    return [kind]


def accepted(kind: Any, depth: int) -> Accepted:
    """Return what a type takes."""
    options = _options(kind)
    kinds, items, each = "", list[Any](), list[Any]()
    objects = [option for option in options if typing_extensions.is_typeddict(option)]
    for option in options:
        origin, arguments = typing.get_origin(option), typing.get_args(option)
        if option in _SCALARS:
            kinds += _SCALARS[option]
        elif origin in (typing.Literal, typing_extensions.Literal):
            kinds += "".join(_SCALARS[type(value)] for value in arguments)
        elif option in objects:
            kinds += "o"
        elif origin in (dict, Mapping):
            kinds += "o"
            each.append(arguments[1])
        elif origin in _ARRAYS or getattr(origin, "__name__", "") == "SequenceNotStr":
            kinds += "a"
            items.append(arguments[0])
        else:
            return _ANY
    found = _object(objects, depth) if objects and depth else Accepted()
    found.kinds = "".join(sorted(set(kinds)))
    if items and depth:
        found.items = _useful(accepted(typing.Union[tuple(items)], depth - 1))  # noqa: UP007
    if each and depth and not objects:
        found.each = _useful(accepted(typing.Union[tuple(each)], depth - 1))  # noqa: UP007
    return found


def _useful(found: Accepted) -> Accepted | None:
    return None if found == _ANY else found


def _object(options: Sequence[Any], depth: int) -> Accepted:
    hints = [typing_extensions.get_type_hints(option, include_extras=True) for option in options]
    key = next((key for key in ("type", "role") if len(hints) > 1 and all(_literals(own, key) for own in hints)), "")
    if not key:
        return Accepted(fields=_fields(hints, depth))
    variants: dict[str, list[Any]] = {}
    for own in hints:
        for value in _literals(own, key):
            variants.setdefault(value, []).append(own)
        if not _is_required(own[key]):
            variants.setdefault("", []).append(own)
    return Accepted(by=key, variants={value: _fields(own, depth) for value, own in sorted(variants.items())})


def _literals(hints: Mapping[str, Any], key: str) -> list[str]:
    options = _options(hints[key]) if key in hints else []
    literals = [option for option in options if typing.get_origin(option) is typing.Literal]
    if len(literals) < len([option for option in options if option is not type(None)]):
        return []
    return [value for option in literals for value in typing.get_args(option) if isinstance(value, str)]


def _fields(hints: Sequence[Mapping[str, Any]], depth: int) -> dict[str, Accepted]:
    """Return what members take; one that may be left out may be null."""
    found = {}
    for name in sorted({name for own in hints for name in own}):
        kinds = [own[name] for own in hints if name in own]
        one = accepted(typing.Union[tuple(map(_bare, kinds))], 0 if name in SHALLOW else depth - 1)  # noqa: UP007
        one = ALSO.get(name, one)
        if one == _ANY:
            continue
        if not all(map(_is_required, kinds)):
            one.kinds = "".join(sorted({*one.kinds, "z"}))
        found[name] = one
    return found


def _is_required(kind: Any) -> bool:
    return typing.get_origin(kind) in (typing.Required, typing_extensions.Required)


if __name__ == "__main__":
    entries = [
        f"{msgspec.json.encode(name).decode()}: {msgspec.json.encode(one).decode()}" for name, one in table().items()
    ]
    FILE.write_text("{\n" + ",\n".join(entries) + "\n}\n", encoding="utf-8")
