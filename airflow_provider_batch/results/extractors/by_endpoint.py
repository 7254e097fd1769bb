"""The extractor of each endpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from airflow_provider_batch.api.endpoints import Endpoint
from airflow_provider_batch.results.extractors.answer import Answer
from airflow_provider_batch.results.extractors.chat import chat, completion
from airflow_provider_batch.results.extractors.embeddings import embeddings
from airflow_provider_batch.results.extractors.images_and_videos import images, video
from airflow_provider_batch.results.extractors.moderations import moderations
from airflow_provider_batch.results.extractors.responses import responses
from airflow_provider_batch.results.lines.typed_bodies import (
    ChatBody,
    CompletionBody,
    EmbeddingsBody,
    ImagesBody,
    ModerationsBody,
    ResponsesBody,
    VideoBody,
)
from airflow_provider_batch.results.lines.typed_lines import Body

#: Endpoint → type of its bodies, and extractor. The extractor of embeddings depends on the table: see `extractor_for`.
_EXTRACTORS: Mapping[Endpoint, tuple[type[Body], Callable[[Any], Answer]]] = {
    Endpoint.CHAT_COMPLETIONS: (ChatBody, chat),
    Endpoint.RESPONSES: (ResponsesBody, responses),
    Endpoint.COMPLETIONS: (CompletionBody, completion),
    Endpoint.MODERATIONS: (ModerationsBody, moderations),
    Endpoint.IMAGES_GENERATIONS: (ImagesBody, images),
    Endpoint.IMAGES_EDITS: (ImagesBody, images),
    Endpoint.VIDEOS: (VideoBody, video),
}


def extractor_for(endpoint: Endpoint, embedding_size: int | None) -> tuple[type[Body], Callable[[Any], Answer]]:
    """
    Return the type of an endpoint's bodies, and its extractor.

    :param endpoint: The endpoint.
    :param embedding_size: Numbers in each embedding; None to accept every size.
    """
    if endpoint is Endpoint.EMBEDDINGS:
        return EmbeddingsBody, embeddings(embedding_size)
    return _EXTRACTORS[endpoint]
