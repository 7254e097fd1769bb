"""Values that the columns of several endpoints share: log-probabilities, JSON text, images."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from airflow_provider_batch.arrow.utf8 import scrub
from airflow_provider_batch.results.lines.typed_bodies import TokenLogprob


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
