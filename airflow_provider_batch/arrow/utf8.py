"""Text without lone surrogates, which can be encoded as UTF-8."""

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
