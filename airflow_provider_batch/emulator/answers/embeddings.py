"""
Answer `POST /v1/embeddings`: vectors of length 1; texts that share words or parts of words have near vectors.

Each word and each trigram of characters is hashed to one position of the vector. Noise that depends on the whole text
fills the other positions, so that no two texts have the same vector and no number is 0. The noise is part of one
table. The sums of the table's squares are computed once, so that only the hashed positions are scaled to give the
vector length 1.
"""

from __future__ import annotations

import base64
import math
import random
import re
import zlib
from array import array
from collections.abc import Mapping
from functools import lru_cache
from itertools import accumulate
from typing import Any

import msgspec

from airflow_provider_batch.emulator.answers import tokens
from airflow_provider_batch.emulator.answers.common import Answer, ModelRequest
from airflow_provider_batch.emulator.records import Tokens

#: Endpoints that this module answers → member that a request needs.
NEEDED: Mapping[str, str | None] = {"/v1/embeddings": "input"}

_SIZES = {"text-embedding-3-small": 1536, "text-embedding-3-large": 3072, "text-embedding-ada-002": 1536}
_DEFAULT_SIZE, _LARGEST_SIZE = 1536, 8192
_WORD = re.compile(r"\w+")
#: Characters of a text whose words are used.
_MAX_CHARACTERS = 4_000
#: Weight of a word; a trigram has weight 1.
_WORD_WEIGHT = 2.0
#: Length of the noise in a vector of length 1.
_NOISE = 0.05
_TABLE = 4_096

_encode = msgspec.json.Encoder().encode


@lru_cache(maxsize=1)
def _noise() -> tuple[list[float], list[float]]:
    """Return the table of noise and the running sums of its squares."""
    choice = random.Random("noise")
    table = [round(choice.gauss(0.0, 1.0), 3) or 0.001 for _ in range(_TABLE + _LARGEST_SIZE)]
    return table, list(accumulate((value * value for value in table), initial=0.0))


@lru_cache(maxsize=16)
def _scaled_noise(size: int) -> list[float]:
    scale = _NOISE / math.sqrt(size)
    return [round(value * scale, 8) for value in _noise()[0]]


@lru_cache(maxsize=65_536)
def _place(part: str) -> tuple[int, float]:
    code = zlib.crc32(part.encode("utf-8", "surrogatepass"))
    return code >> 1, 1.0 if code & 1 else -1.0


def vector(text: str, size: int) -> list[float]:
    """
    Return the embedding of a text.

    :param text: Input text; characters after the first 4,000 change only the noise.
    :param size: Numbers in the vector, 1 to 8,192.
    """
    features: dict[int, float] = {}
    for word in _WORD.findall(text[:_MAX_CHARACTERS].lower()):
        at, sign = _place(word)
        features[at % size] = features.get(at % size, 0.0) + sign * _WORD_WEIGHT
        padded = f"#{word}#"
        for start in range(len(padded) - 2):
            at, sign = _place(padded[start : start + 3])
            features[at % size] = features.get(at % size, 0.0) + sign
    start = zlib.crc32(text.encode("utf-8", "surrogatepass")) % _TABLE
    numbers = _scaled_noise(size)[start : start + size]
    return _to_length_one(numbers, {at: value for at, value in features.items() if value}, start)


def _to_length_one(numbers: list[float], features: dict[int, float], start: int) -> list[float]:
    sums = _noise()[1]
    rest = (sums[start + len(numbers)] - sums[start]) * _NOISE * _NOISE / len(numbers)
    own = sum(value * value for value in features.values())
    if not own or rest >= 1.0:
        length = math.sqrt(sum(number * number for number in numbers))
        return [number / length for number in numbers]
    shared = sum(value * numbers[at] for at, value in features.items())
    # The length of (noise + scale * features) is 1: a quadratic equation in scale.
    scale = (-shared + math.sqrt(shared * shared + own * (1.0 - rest))) / own
    for at, value in features.items():
        numbers[at] += scale * value
    return numbers


def answer(request: ModelRequest) -> Answer:
    """
    Return one vector for each input, as numbers or as base64 of little-endian 32-bit floats.

    :param request: Request to `/v1/embeddings`.
    :raises ValueError: `dimensions` is out of range.
    :raises TypeError: `input` is neither a string nor an array.
    """
    body = request.body
    sizes = {**_SIZES, **request.embedding_sizes}
    size = int(body.get("dimensions") or sizes.get(str(body["model"]), _DEFAULT_SIZE))
    if not 1 <= size <= _LARGEST_SIZE:
        raise ValueError(f"'dimensions' has to be between 1 and {_LARGEST_SIZE}, found {size}")
    as_base64 = body.get("encoding_format") == "base64"
    reply = Answer(body={})
    data: list[dict[str, Any]] = []
    for index, text in enumerate(_texts(body["input"])):
        numbers = vector(text, size)
        if as_base64:
            embedding = base64.b64encode(array("f", numbers).tobytes()).decode()
        else:
            embedding = f"\x00{request.digest[:32]}/{index}\x00"
            reply.raw[embedding] = _encode(numbers)
        data.append({"object": "embedding", "index": index, "embedding": embedding})
    reply.tokens = Tokens(input=tokens.of_inputs(body["input"]))
    usage = {"prompt_tokens": reply.tokens.input, "total_tokens": reply.tokens.input}
    reply.body = {"object": "list", "data": data, "model": str(body["model"]), "usage": usage}
    return reply


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list):
        raise TypeError("'input' has to be a string or an array")
    if value and isinstance(value[0], int):
        return [" ".join(map(str, value))]
    return [one if isinstance(one, str) else " ".join(map(str, one)) for one in value]
