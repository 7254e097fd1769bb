"""
The response body of a result line as JSON text, for the column `response`.

The base64 data of images is replaced by null: images are stored as files beside the table.
"""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec

from airflow_provider_batch.answers.answer_format import ResultLine
from airflow_provider_batch.arrow.utf8 import scrub
from airflow_provider_batch.results.lines.lenient_path import read_json
from airflow_provider_batch.results.lines.typed_lines import RawLine

#: The base64 data of an image, and of an image of a response's image tool. Neither pattern matches inside of a JSON
#: string, where the quotes are escaped.
_IMAGE = re.compile(
    rb'("b64_json"\s*:\s*)"[^"\\]*(?:\\.[^"\\]*)*"|("result"\s*:\s*)"(?:[A-Za-z0-9+/=]|\\/){64,}"',
)

_decode = msgspec.json.Decoder(RawLine).decode


def read_raw_body(raw: ResultLine) -> str | None:
    """
    Return the unchanged body of a result line, or None where the line has no body or is not JSON.

    Some servers write the body as a JSON string that contains JSON; such a body is decoded once.

    :param raw: The result line.
    """
    try:
        response = _decode(raw).response
        body = b"" if response is None else bytes(response.body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _parsed(bytes(raw))
    if body in (b"", b"null"):
        return None
    # The decoder does not check the values that it skips: they can contain bytes that are not UTF-8.
    return _parsed(bytes(raw)) if body.startswith(b'"') else _without_images(body).decode("utf-8", "replace")


def _without_images(body: bytes) -> bytes:
    if b'"b64_json"' in body or b'"image_generation_call"' in body:
        return _IMAGE.sub(rb"\1\2null", body)
    return body


def _parsed(raw: bytes) -> str | None:
    try:
        response = _unwrapped(read_json(raw)).get("response")
        body = _unwrapped(response).get("body")
        if body is None:
            return None
        text = scrub(json.dumps(_unwrapped(body) or body, ensure_ascii=False))
        return _without_images(text.encode()).decode()
    except (ValueError, RecursionError):
        return None


def _unwrapped(value: Any) -> dict[str, Any]:
    """Return a JSON object, the object in a JSON string, or an empty dictionary."""
    if isinstance(value, str):
        try:
            value = read_json(value.encode("utf-8", "surrogatepass"))
        except ValueError:
            return {}
    return value if isinstance(value, dict) else {}
