"""
Count tokens without a vocabulary: four bytes of UTF-8 are one token.

The counts are not exact, but plausible and repeatable. The emulator uses them for usage, prices and token limits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: Tokens that the format adds to each chat message and to each prompt.
_PER_MESSAGE, _PER_PROMPT = 4, 3
#: Tokens of an image in a request.
_IMAGE = 85


def count(text: str) -> int:
    """
    Return the number of tokens of a text; 0 for an empty one.

    :param text: Any text.
    """
    size = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
    return (size + 3) // 4


def of_content(content: Any) -> int:
    """
    Return the number of tokens of a message's content.

    :param content: A string, or a list of content parts; an image counts 85 tokens.
    """
    if isinstance(content, str):
        return count(content)
    if isinstance(content, list):
        return sum(_of_part(part) for part in content)
    return 0


def _of_part(part: Any) -> int:
    if isinstance(part, str):
        return count(part)
    if not isinstance(part, Mapping):
        return 1
    text = part.get("text")
    return count(text) if isinstance(text, str) else _IMAGE


def of_request(endpoint: str, body: Mapping[str, Any]) -> int:
    """
    Return the number of input tokens of a request.

    :param endpoint: Path of the endpoint.
    :param body: Request body.
    """
    if endpoint == "/v1/chat/completions":
        messages = body.get("messages")
        listed = messages if isinstance(messages, list) else []
        contents = sum(of_content(m.get("content")) + _PER_MESSAGE for m in listed if isinstance(m, Mapping))
        return contents + _PER_PROMPT
    if endpoint == "/v1/responses":
        return of_content(body.get("instructions")) + _of_items(body.get("input")) + _PER_PROMPT
    return of_inputs(body.get("input", body.get("prompt")))


def of_inputs(value: Any) -> int:
    """
    Return the number of tokens of the `input` or `prompt` of a request.

    :param value: A string, a list of strings, a list of token numbers, or a list of such lists.
    """
    if isinstance(value, list):
        if value and isinstance(value[0], list):
            return sum(len(inner) for inner in value if isinstance(inner, list))
        return of_content(value)
    return of_content(value)


def _of_items(value: Any) -> int:
    if not isinstance(value, list):
        return of_content(value)
    items = [item for item in value if isinstance(item, Mapping)]
    return sum(of_content(item.get("content")) + _PER_MESSAGE for item in items)
