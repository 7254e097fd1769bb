"""Finish reasons of the API and of compatible servers; an unknown reason counts as a complete answer."""

from __future__ import annotations

#: Finish reasons in lower case, by their meaning.
_AT_LIMIT = frozenset({"length", "max_tokens", "max_output_tokens", "model_length"})
_BROKEN_OFF = frozenset({"abort", "aborted", "error", "cancelled"})
_WITHHELD = frozenset({"content_filter", "safety"})


def ending_of(reason: str | None) -> tuple[str, str, str] | None:
    """
    Return status, error code and error message of an incomplete or withheld answer; None for a complete one.

    :param reason: The finish reason of a choice, in any case; None counts as complete.
    """
    known = (reason or "").lower()
    if known in _AT_LIMIT:
        return "truncated", "length", "The answer was cut off at the token limit."
    if known in _BROKEN_OFF:
        return "truncated", known, f"The server stopped the answer before its end ({reason})."
    if known in _WITHHELD:
        return "refused", "content_filter", "A content filter withheld the answer."
    return None


def is_completed(status: str | None) -> bool:
    """
    Return whether a response, a message or a video is complete.

    :param status: Its status, in any case; None counts as complete.
    """
    return (status or "completed").lower() == "completed"
