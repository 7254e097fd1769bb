"""
Change downloaded result files into forms that other servers, gateways and proxies send.

A batch's form is set when its files are published, and applied at each download; the stored file does not change.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping
from typing import Any, Literal

ResultForm = Literal[
    "html",
    "json_array",
    "pretty",
    "gzip",
    "utf-16",
    "byte_order_mark",
    "empty",
    "cut",
    "ids_trimmed",
    "ids_lower_case",
    "ids_elsewhere",
]

_PAGE = b"<!DOCTYPE html>\n<html><body><h1>Please sign in</h1></body></html>\n"


def in_form(content: bytes, form: str) -> bytes:
    """
    Return the bytes of a result file in another form.

    :param content: Bytes of the file.
    :param form: One of `ResultForm`.
    """
    return _FORMS[form](content)


def _lines(content: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in content.splitlines() if line.strip()]


def _array(content: bytes) -> bytes:
    return json.dumps(_lines(content), indent=1).encode()


def _pretty(content: bytes) -> bytes:
    return b"".join(json.dumps(line, indent=2).encode() + b"\n" for line in _lines(content))


def _cut(content: bytes) -> bytes:
    """Return the first half of the lines: a file that its server has not finished, with a correct length."""
    lines = content.splitlines(keepends=True)
    return b"".join(lines[: len(lines) // 2])


def _with_ids(change: Callable[[Any], Mapping[str, Any]]) -> Callable[[bytes], bytes]:
    def changed(content: bytes) -> bytes:
        lines = ({**line, **change(line["custom_id"])} for line in _lines(content))
        return b"".join(json.dumps(line).encode() + b"\n" for line in lines)

    return changed


_FORMS: Mapping[str, Callable[[bytes], bytes]] = {
    "html": lambda _: _PAGE,
    "json_array": _array,
    "pretty": _pretty,
    "gzip": gzip.compress,
    "utf-16": lambda content: content.decode().encode("utf-16"),
    "byte_order_mark": lambda content: b"\xef\xbb\xbf" + content,
    "empty": lambda _: b"",
    "cut": _cut,
    "ids_trimmed": _with_ids(lambda one: {"custom_id": one.strip()}),
    "ids_lower_case": _with_ids(lambda one: {"custom_id": one.lower()}),
    "ids_elsewhere": _with_ids(lambda one: {"custom_id": None, "key": one}),
}
