"""The endpoints of the Batch API and their facts (source: OpenAI's API reference and guide, November 2026)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Endpoint(StrEnum):
    """An endpoint that a batch may name; the value is the ``url`` of its request lines."""

    RESPONSES = "/v1/responses"
    CHAT_COMPLETIONS = "/v1/chat/completions"
    EMBEDDINGS = "/v1/embeddings"
    COMPLETIONS = "/v1/completions"
    MODERATIONS = "/v1/moderations"
    IMAGES_GENERATIONS = "/v1/images/generations"
    IMAGES_EDITS = "/v1/images/edits"
    VIDEOS = "/v1/videos"


def endpoint_in(url: str) -> Endpoint | None:
    """
    Return the endpoint that a batch or a request line names; None if it is none of `Endpoint`.

    Azure and gateways leave ``/v1`` out, put a deployment before it, or write a whole URL with a query.

    :param url: Path or URL, for example ``/v1/chat/completions``.
    """
    path = url.partition("?")[0].partition("#")[0].lower()
    steps = [step for step in path.split("/") if step]
    for endpoint in sorted(Endpoint, key=lambda one: -one.value.count("/")):
        tail = endpoint.value.split("/")[2:]
        if steps[-len(tail) :] == tail:
            return endpoint
    return None


@dataclass(frozen=True)
class EndpointFacts:
    """
    Facts about the requests and answers of an endpoint; its answers and their columns are in `answers/endpoints/`.

    :param required: Groups of members of a request body, of which each group needs at least one. If no group contains
        ``model``, the API has a default model.
    :param answer_object: Value of the member ``object`` in its answers; None if other endpoints have the same.
    :param takes_response_model: Whether it supports structured outputs.
    :param has_files: Whether its answers can contain images or videos, which are stored as files.
    :param counts_inputs: Whether the API limits the number of elements of ``input`` over all lines of an input file.
    """

    required: tuple[tuple[str, ...], ...]
    answer_object: str | None = None
    takes_response_model: bool = False
    has_files: bool = False
    counts_inputs: bool = False


_MODEL = ("model",)
#: The facts of each endpoint.
FACTS: Mapping[Endpoint, EndpointFacts] = {
    Endpoint.CHAT_COMPLETIONS: EndpointFacts((_MODEL, ("messages",)), "chat.completion", True),
    Endpoint.RESPONSES: EndpointFacts(
        (_MODEL, ("input", "prompt", "conversation", "previous_response_id")), "response", True, has_files=True
    ),
    Endpoint.EMBEDDINGS: EndpointFacts((_MODEL, ("input",)), "list", counts_inputs=True),
    Endpoint.COMPLETIONS: EndpointFacts((_MODEL, ("prompt",)), "text_completion"),
    Endpoint.MODERATIONS: EndpointFacts((("input",),)),
    Endpoint.IMAGES_GENERATIONS: EndpointFacts((("prompt",),), has_files=True),
    Endpoint.IMAGES_EDITS: EndpointFacts((("prompt",), ("images", "image")), has_files=True),
    Endpoint.VIDEOS: EndpointFacts((("prompt",),), "video", has_files=True),
}

#: Characters of a custom id. OpenAI publishes no maximum; 64 is the limit of other vendors.
MAX_CUSTOM_ID_LENGTH = 64
#: Limits of a batch's metadata: pairs, characters of a key, characters of a value.
MAX_METADATA_PAIRS, MAX_METADATA_KEY, MAX_METADATA_VALUE = 16, 64, 512
