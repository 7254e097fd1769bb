"""The answers of `/v1/embeddings`."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import pyarrow as pa
from msgspec import Struct

from airflow_provider_batch.answers.answer import FAILED, NO_ANSWER, SUCCEEDED, Answer, no_answer
from airflow_provider_batch.answers.answer_format import AnswerFormat, Columns, ResultLine, UsualAnswers, each
from airflow_provider_batch.answers.body import Body, Count, ModelName, PromptUsage
from airflow_provider_batch.answers.column import Column
from airflow_provider_batch.answers.number_lines import NumberLineDecoder
from airflow_provider_batch.api.endpoints import Endpoint


class EmbeddingItem(Struct, gc=False):
    """
    One embedding.

    :param index: Position of the input, from 0.
    :param embedding: The numbers, or the bytes of little-endian 32-bit floats, which are base64 in the line.
    """

    index: Count | None = None
    embedding: bytes | list[float] | None = None


class EmbeddingsBody(Body, gc=False):
    """
    Body of `/v1/embeddings`.

    :param data: One embedding for each input.
    """

    data: list[EmbeddingItem] | None = None


def embeddings(size: int | None, reason: str) -> Callable[[EmbeddingsBody], Answer]:
    """
    Return the extractor of `/v1/embeddings` for embeddings of one size.

    :param size: Numbers in each embedding; None to accept every size.
    :param reason: Why they have this size, for messages.
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
                return _invalid_vector(vector, size, reason)
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


def _invalid_vector(vector: bytes | None, size: int | None, reason: str) -> Answer:
    if vector is None:
        return Answer(FAILED, NO_ANSWER, "The request succeeded, but its body has no readable embedding.", None)
    if len(vector) % 4:
        return Answer(
            FAILED, "embedding_size", f"An embedding of {len(vector)} bytes is not a list of 32-bit floats.", None
        )
    message = (
        f"Expected an embedding of {size} numbers, {reason}, found {len(vector) // 4}. All embeddings of a table have "
        "the same size: set the same `dimensions` in every request, or run a job for each size."
    )
    return Answer(FAILED, "embedding_size", message, None)


class UsualEmbeddingsBody(Struct, gc=False):
    """
    Usual body of `/v1/embeddings`.

    :param model: The model that answered.
    :param usage: Tokens of the request.
    :param data: The only embedding.
    """

    model: ModelName
    usage: PromptUsage
    data: tuple[EmbeddingItem]


def usual_columns(bodies: Sequence[UsualEmbeddingsBody]) -> Columns:
    """
    Return the columns of `/v1/embeddings`.

    :param bodies: The usual bodies, in order, with embeddings as bytes.
    """
    return {"embedding": [item.embedding for (item,) in each("data", bodies)]}


class _VectorLines:
    """Decode lines with embeddings to bytes; reject an embedding of another size than the table's."""

    def __init__(self, decode: Callable[[ResultLine], Any], size: int) -> None:
        self._decode, self._bytes = NumberLineDecoder(decode).decode, 4 * size

    def decode(self, raw: ResultLine) -> Any:
        line = self._decode(raw)
        (item,) = line.response.body.data
        item.embedding = vector_bytes(item.embedding)
        if item.embedding is None or len(item.embedding) != self._bytes:
            raise msgspec.ValidationError("The embedding has another size than the table's.")
        return line


def _of_size(size: int | None, reason: str = "") -> AnswerFormat:
    """Return the format for embeddings of one size; None accepts every size and has no fast path."""
    vector = pa.list_(pa.float32(), size or -1)
    columns = {
        "embedding": Column(vector, "the embedding, where the request has one input"),
        "embeddings": Column(pa.list_(vector), "the embeddings in order of the inputs, where the request has several"),
    }
    usual = None
    if size is not None:
        usual = UsualAnswers(UsualEmbeddingsBody, usual_columns, lambda decode: _VectorLines(decode, size).decode)
    return AnswerFormat(
        columns,
        EmbeddingsBody,
        embeddings(size, reason),
        usual,
        decoder=lambda decode: NumberLineDecoder(decode).decode,
        of_size=_of_size,
    )


ANSWERS: Mapping[Endpoint, AnswerFormat] = {Endpoint.EMBEDDINGS: _of_size(None)}
