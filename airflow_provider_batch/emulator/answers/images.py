"""`POST /v1/images/generations` and `/v1/images/edits`: a small PNG of one colour that depends on the prompt."""

from __future__ import annotations

import base64
import struct
import zlib
from typing import Any

from airflow_provider_batch.emulator.answers import tokens
from airflow_provider_batch.emulator.answers.common import Answer, Asked
from airflow_provider_batch.emulator.records import Tokens

#: Pixels a side. Small on purpose: a batch of images should cost nothing.
_SIDE = 8
#: Tokens that an image counts as.
_IMAGE_TOKENS = 272


def png(red: int, green: int, blue: int) -> bytes:
    """Return a valid PNG of one colour."""
    row = b"\x00" + bytes((red, green, blue)) * _SIDE
    header = struct.pack(">IIBBBBB", _SIDE, _SIDE, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(row * _SIDE)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, data) for name, data in chunks)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def answer(asked: Asked) -> Answer:
    """Return `n` images; `response_format="url"` gives addresses that lead nowhere."""
    body = asked.body
    count = int(body.get("n") or 1)
    data = [_image(asked, number) for number in range(count)]
    used = Tokens(input=tokens.of_request(asked.endpoint, body), output=_IMAGE_TOKENS * count)
    usage = used.to_api() | {"input_tokens_details": {"text_tokens": used.input, "image_tokens": 0}}
    reply = {"created": int(asked.now), "background": "opaque", "data": data, "output_format": "png"}
    return Answer(body=reply | {"quality": "low", "size": body.get("size") or "1024x1024", "usage": usage}, tokens=used)


def _image(asked: Asked, number: int) -> dict[str, Any]:
    digest = bytes.fromhex(asked.digest)
    revised = str(asked.body["prompt"])
    if asked.body.get("response_format") == "url":
        return {"url": f"https://images.example.com/{asked.digest[:24]}-{number}.png", "revised_prompt": revised}
    picture = png(*digest[number % 29 : number % 29 + 3])
    return {"b64_json": base64.b64encode(picture).decode(), "revised_prompt": revised}
