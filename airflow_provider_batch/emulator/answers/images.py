"""Answer `POST /v1/images/generations` and `/v1/images/edits`: a small PNG whose one colour depends on the request."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Mapping
from typing import Any

from airflow_provider_batch.emulator.answers import tokens
from airflow_provider_batch.emulator.answers.common import Answer, ModelRequest
from airflow_provider_batch.emulator.records import Tokens

#: Endpoints that this module answers → member that a request needs.
NEEDED: Mapping[str, str | None] = {"/v1/images/generations": "prompt", "/v1/images/edits": "prompt"}

#: Pixels of each side: small, so that a batch of many images is quick.
_SIDE = 8
#: Output tokens of one image.
_IMAGE_TOKENS = 272


def png(red: int, green: int, blue: int) -> bytes:
    """
    Return a PNG of one colour, 8 by 8 pixels.

    :param red: 0 to 255.
    :param green: 0 to 255.
    :param blue: 0 to 255.
    """
    row = b"\x00" + bytes((red, green, blue)) * _SIDE
    header = struct.pack(">IIBBBBB", _SIDE, _SIDE, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(row * _SIDE)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, data) for name, data in chunks)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def answer(request: ModelRequest) -> Answer:
    """
    Return `n` images; with `response_format="url"`, addresses under which there is no image.

    :param request: Request to one of the image endpoints.
    """
    body = request.body
    count = int(body.get("n") or 1)
    data = [_image(request, number) for number in range(count)]
    used = Tokens(input=tokens.of_request(request.endpoint, body), output=_IMAGE_TOKENS * count)
    usage = {
        "input_tokens": used.input,
        "input_tokens_details": {"image_tokens": 0, "text_tokens": used.input},
        "output_tokens": used.output,
        "output_tokens_details": {"image_tokens": used.output, "text_tokens": 0},
        "total_tokens": used.input + used.output,
    }
    reply = {"created": int(request.now), "background": "opaque", "data": data, "output_format": "png"}
    return Answer(body=reply | {"quality": "low", "size": body.get("size") or "1024x1024", "usage": usage}, tokens=used)


def _image(request: ModelRequest, number: int) -> dict[str, Any]:
    digest = bytes.fromhex(request.digest)
    revised = str(request.body["prompt"])
    if request.body.get("response_format") == "url":
        return {"url": f"https://images.example.com/{request.digest[:24]}-{number}.png", "revised_prompt": revised}
    picture = png(*digest[number % 29 : number % 29 + 3])
    return {"b64_json": base64.b64encode(picture).decode(), "revised_prompt": revised}
