"""Extractor of `/v1/embeddings`."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable
from typing import Any

from airflow_provider_batch.results.extractors.answer import FAILED, NO_ANSWER, SUCCEEDED, Answer, no_answer
from airflow_provider_batch.results.lines.typed_bodies import EmbeddingsBody


def embeddings(size: int | None) -> Callable[[EmbeddingsBody], Answer]:
    """
    Return the extractor of `/v1/embeddings` for embeddings of one size.

    :param size: Numbers in each embedding; None to accept every size.
    """

    def read(body: EmbeddingsBody) -> Answer:
        if not body.data:
            return no_answer(body, "data")
        items = body.data
        if len(items) > 1 and all(item.index is not None for item in items):
            items = sorted(items, key=lambda item: item.index or 0)
        vectors = [vector_bytes(item.embedding) for item in items]
        for vector in vectors:
            if vector is None or len(vector) % 4 or (size is not None and len(vector) != 4 * size):
                return _invalid_vector(vector, size)
        values = (vectors[0], None) if len(vectors) == 1 else (None, vectors)
        return Answer(SUCCEEDED, None, None, values)

    return read


def vector_bytes(embedding: Any) -> bytes | None:
    """
    Return an embedding as the bytes of 32-bit floats in the byte order of the machine, or None where it is empty.

    :param embedding: List of numbers, or bytes of little-endian 32-bit floats.
    """
    if not embedding:
        return None
    if isinstance(embedding, list):
        return array("f", embedding).tobytes()
    if sys.byteorder == "big":
        swapped = array("f", embedding)
        swapped.byteswap()
        return swapped.tobytes()
    return bytes(embedding)


def _invalid_vector(vector: bytes | None, size: int | None) -> Answer:
    if vector is None:
        return Answer(FAILED, NO_ANSWER, "The request succeeded, but its body has no readable embedding.", None)
    if len(vector) % 4:
        return Answer(
            FAILED, "embedding_size", f"An embedding of {len(vector)} bytes is not a list of 32-bit floats.", None
        )
    message = (
        f"Expected an embedding of {size} numbers, as in the other rows, found {len(vector) // 4}. "
        "Set the same `dimensions` in every request."
    )
    return Answer(FAILED, "embedding_size", message, None)
