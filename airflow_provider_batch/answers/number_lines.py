"""
Decode result lines with embeddings as JSON numbers, several times faster than msgspec.

msgspec creates a float object for each number. Here the list of numbers is removed from the line. The typed decoder
reads the rest, and `simdjson` (the extra `airflow-provider-batch[simdjson]`) reads the numbers into a buffer. Lines of
any other form, and all lines where `simdjson` is not installed, are read by the typed decoder only.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable
from importlib import import_module
from typing import Any

import pyarrow as pa

from airflow_provider_batch.answers.answer_format import ResultLine

#: The JSON key; it cannot match inside of a JSON string, where the quotes are escaped.
_NAME = b'"embedding":'
_LIST = re.compile(rb"\s*\[")
#: Bytes at the beginning of a line that are searched for a base64 embedding before the line is copied.
_HEAD_BYTES = 1024
#: Replaces the numbers in the line, as base64; if the decoder returns it as embedding, the right list was removed.
_STAND_IN = b"the numbers are read apart!!"
_STAND_IN_JSON = b'"' + b64encode(_STAND_IN) + b'"'


class NumberLineDecoder:
    """
    Decode result lines of `/v1/embeddings`.

    :param decode: The typed decoder; it reads the line without its numbers, and lines without a list of numbers whole.
    """

    def __init__(self, decode: Callable[[ResultLine], Any]) -> None:
        self._whole = decode
        self._parser = _simdjson_parser()

    def decode(self, raw: ResultLine) -> Any:
        """
        Return a line as a struct; a list of numbers becomes the bytes of 32-bit floats.

        :param raw: The result line.
        :raises msgspec.MsgspecError: The typed decoder cannot read the line.
        """
        head = bytes(raw[:_HEAD_BYTES])
        _, name, value = head.partition(_NAME)
        if self._parser is None or (name and value.lstrip().startswith(b'"')):
            return self._whole(raw)  # base64, the usual form
        return self._read(bytes(raw))

    def _read(self, raw: bytes) -> Any:
        at = raw.find(_NAME)
        found = _LIST.match(raw, at + len(_NAME)) if at >= 0 else None
        end = raw.find(b"]", found.end()) + 1 if found else 0
        if found is None or end == 0 or raw.find(_NAME, end) >= 0:
            return self._whole(raw)
        start = found.end() - 1
        line = self._whole(b"".join((raw[:start], _STAND_IN_JSON, raw[end:])))
        body = None if line.response is None else line.response.body
        item = body.data[0] if body is not None and body.data else None
        if item is None or item.embedding != _STAND_IN:
            return self._whole(raw)  # another list of the line was removed
        item.embedding = self._floats(raw[start:end])
        return self._whole(raw) if item.embedding is None else line

    def _floats(self, text: bytes) -> bytes | None:
        try:
            doubles = pa.py_buffer(self._parser.parse(text).as_buffer(of_type="d"))
        except (ValueError, TypeError, RuntimeError, OverflowError):
            return None
        count = doubles.size // 8
        floats = pa.Array.from_buffers(pa.float64(), count, [None, doubles]).cast(pa.float32(), safe=False)
        data: Any = floats.buffers()[1]
        return bytes(data)[: 4 * count]


def _simdjson_parser() -> Any:
    """Return a parser, or None where `simdjson` is not installed."""
    try:
        simdjson = import_module("simdjson")
    except ImportError:
        return None
    return simdjson.Parser()
