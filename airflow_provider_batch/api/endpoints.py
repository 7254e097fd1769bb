"""The endpoints and limits of the Batch API, each with its source (API reference and guide, November 2026)."""

from __future__ import annotations

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
    Return the endpoint that a batch or a request line names, or None.

    Azure and gateways leave ``/v1`` out, name a deployment before it, or write a whole URL with a query.
    """
    path = url.partition("?")[0].partition("#")[0].lower()
    steps = [step for step in path.split("/") if step]
    for endpoint in sorted(Endpoint, key=lambda one: -one.value.count("/")):
        tail = endpoint.value.split("/")[2:]
        if steps[-len(tail) :] == tail:
            return endpoint
    return None


#: Requests in one input file.
MAX_REQUESTS = 50_000
#: Bytes of one input file. The API counts 200 MB; which megabyte it means is not said, so the smaller one.
MAX_FILE_BYTES = 200_000_000
#: Inputs over all lines of one ``/v1/embeddings`` file; the elements of an array count.
MAX_EMBEDDING_INPUTS = 50_000
#: Characters. No maximum is published; 64 is what other vendors take.
MAX_CUSTOM_ID_LENGTH = 64
#: Pairs, and characters of key and value, in a batch's metadata.
MAX_METADATA_PAIRS, MAX_METADATA_KEY, MAX_METADATA_VALUE = 16, 64, 512
#: The only window that the API takes.
COMPLETION_WINDOW = "24h"
