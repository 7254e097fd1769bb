"""
Refusals that pass by themselves, in the words of those services that are known: one table.

The same words come as the answer to a create and as the error of a batch that was made and `failed` at once. What the
table does not know is taken as final.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Kind = Literal["queue full", "file not ready", "try again"]


@dataclass(frozen=True)
class PassingRefusal:
    """
    One row of the table.

    :param codes: Error codes that say it, whatever the text.
    :param words: Texts that say it, whatever the code.
    """

    kind: Kind
    codes: frozenset[str]
    words: re.Pattern[str]


def _words(*alternatives: str) -> re.Pattern[str]:
    return re.compile("|".join(alternatives), re.IGNORECASE | re.DOTALL)


#: The first row that applies counts.
PASSING: tuple[PassingRefusal, ...] = (
    # The account's enqueued-token limit: it passes when batches end. Services share only these words.
    PassingRefusal("queue full", frozenset({"token_limit_exceeded"}), _words(r"nqueued token")),
    # The uploaded file is not found, not processed or not checked yet: it passes in seconds, at Azure in minutes.
    PassingRefusal(
        "file not ready",
        frozenset({"file_not_found", "file_not_ready", "file_not_processed", "invalid_file_status"}),
        _words(
            r"\bfile\b.{0,120}?\b(?:not (?:be )?(?:yet )?(?:been )?(?:found|ready|processed|available|uploaded|visible)"
            r"|does(?: not|n't) exist|not in (?:an? )?\S+ (?:state|status)|pending|in progress|"
            r"(?:is|still|being) (?:being )?(?:processed|processing|uploaded|uploading|validated|validating))\b",
            r"\b(?:cannot|can't|can not|could not|couldn't|unable to) (?:find|locate) (?:the |your |input )*file",
            r"\bno such (?:input )?file",
        ),
    ),
    # The service stumbled, and says that it did.
    PassingRefusal(
        "try again",
        frozenset({"server_error", "internal_error", "internal_server_error", "service_unavailable", "timeout"}),
        _words(
            r"something went wrong",
            r"(?:try|retry)(?: your request| it| the batch)? (?:again )?(?:later|in a )",
            r"please (?:try again|retry)",
            r"temporar(?:y|ily)",
            r"(?:internal|unexpected|unknown|server) (?:server )?error",
            r"overloaded|at capacity|service unavailable|timed out",
        ),
    ),
)
#: Codes of refusals that no waiting mends, whatever their text says.
LASTING_CODES = frozenset(
    {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "model_not_found", "invalid_api_key"}
)


def passing_kind(code: str | None, text: str) -> Kind | None:
    """
    Return which refusal that passes an error is; None for one that would come again.

    :param code: The API's own code.
    :param text: The API's own words, without ours around them.
    """
    if code in LASTING_CODES:
        return None
    return next((row.kind for row in PASSING if code in row.codes or row.words.search(text)), None)


def is_queue_full(code: str | None, message: str) -> bool:
    """Return whether an error speaks of the enqueued-token limit."""
    return passing_kind(code, message) == "queue full"
