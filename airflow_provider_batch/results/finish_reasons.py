"""Why an answer ended, in the words of the API and of compatible servers; unknown words mean a whole answer."""

from __future__ import annotations

#: Reasons in small letters.
_AT_LIMIT = frozenset({"length", "max_tokens", "max_output_tokens", "model_length"})
_BROKEN_OFF = frozenset({"abort", "aborted", "error", "cancelled"})
_WITHHELD = frozenset({"content_filter", "safety"})


def ending_of(reason: str | None) -> tuple[str, str, str] | None:
    """Return status, error code and message of a choice that is no whole answer; None for one that is."""
    known = (reason or "").lower()
    if known in _AT_LIMIT:
        return "truncated", "length", "The answer was cut off at the token limit."
    if known in _BROKEN_OFF:
        return "truncated", known, f"The answer was broken off ({reason})."
    if known in _WITHHELD:
        return "refused", "content_filter", "The answer was withheld by a content filter."
    return None


def is_completed(status: str | None) -> bool:
    """Return whether a response or a message is complete, also where nothing says so."""
    return (status or "completed").lower() == "completed"
