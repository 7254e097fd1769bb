"""Fields and columns that several endpoints share: log-probabilities, tool calls, images."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
from msgspec import Struct

from airflow_provider_batch.answers.column import DOUBLE, INT64, STRING, Column, list_of_structs
from airflow_provider_batch.arrow.utf8 import scrub

LOGPROBS = list_of_structs(token=STRING, logprob=DOUBLE, top_logprobs=list_of_structs(token=STRING, logprob=DOUBLE))
TOOL_CALLS = list_of_structs(id=STRING, type=STRING, name=STRING, arguments=STRING)
TEXT_COLUMN = Column(STRING, "the answer")
FINISH_REASON_COLUMN = Column(STRING, "why the model stopped", has_dictionary=True, has_statistics=True)
REFUSAL_COLUMN = Column(STRING, "the text with which the model refused to answer")
LOGPROBS_COLUMN = Column(LOGPROBS, "log-probabilities of the answer's tokens, where the request asks for them")
CHOICE_FIELDS: Mapping[str, pa.DataType] = {
    "index": INT64,
    "text": STRING,
    "finish_reason": STRING,
    "logprobs": LOGPROBS,
}
IMAGES_TYPE = list_of_structs(url=STRING, file=STRING, revised_prompt=STRING)


class TokenChance(Struct, gc=False):
    """
    One of the likely tokens at a position.

    :param token: Text of the token.
    :param logprob: Natural logarithm of its probability.
    """

    token: str | None = None
    logprob: float | None = None


class TokenLogprob(Struct, gc=False):
    """
    The chosen token at a position.

    :param token: Text of the token.
    :param logprob: Natural logarithm of its probability.
    :param top_logprobs: The most likely tokens at this position.
    """

    token: str | None = None
    logprob: float | None = None
    top_logprobs: list[TokenChance] | None = None


def json_text(value: Any) -> str | None:
    """
    Return text unchanged and other values as JSON, because some tools and servers return arguments as an object.

    :param value: Any JSON value; None gives None.
    """
    if value is None or isinstance(value, str):
        return value
    return scrub(json.dumps(value, ensure_ascii=False))


def logprobs_of(tokens: Sequence[TokenLogprob] | None) -> list[Mapping[str, Any]] | None:
    """
    Return the value of the column `logprobs`, or None where there are no tokens.

    :param tokens: The tokens of the answer, in order.
    """
    if not tokens:
        return None
    return [
        {
            "token": token.token,
            "logprob": token.logprob,
            "top_logprobs": [{"token": top.token, "logprob": top.logprob} for top in token.top_logprobs or ()],
        }
        for token in tokens
    ]


def image_value(url: str | None, revised_prompt: str | None, data: bytes | None) -> dict[str, Any]:
    """
    Return one element of the column `images`, with its data for `media.py`, which stores a file and sets its path.

    :param url: Temporary address of the image at the API; None where there is none.
    :param revised_prompt: Prompt of the image, as the API changed it; None where it did not.
    :param data: Bytes of the image; None where there are none.
    """
    return {"url": url, "file": None, "revised_prompt": revised_prompt, "data": data}
