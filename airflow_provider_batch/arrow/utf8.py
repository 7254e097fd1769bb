"""Text without lone surrogates, which can be encoded as UTF-8, and text that is cut for messages."""

from __future__ import annotations

import re

#: Half of a surrogate pair has no UTF-8 form; Unicode replaces it by U+FFFD.
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def scrub(text: str) -> str:
    """
    Return a text with lone surrogates replaced by U+FFFD, so that it has a UTF-8 form.

    :param text: Any text.
    """
    return text if text.isascii() else _LONE_SURROGATE.sub("\ufffd", text)


def shortened(text: str, most: int = 60) -> str:
    """
    Return a text, cut where it is longer than a message should show.

    :param text: Any text.
    :param most: Highest number of characters of the result.
    """
    return text if len(text) <= most else f"{text[: most - 3]}..."
