"""Text that can be encoded as UTF-8."""

from __future__ import annotations

import re

#: Half of a surrogate pair has no UTF-8 form; U+FFFD is what Unicode puts in its place.
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def scrub(text: str) -> str:
    """Return the text with lone surrogates replaced, so that it has a UTF-8 form."""
    return text if text.isascii() else _LONE_SURROGATE.sub("\ufffd", text)
