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


#: A file, or the member of a request that names one. What stands between it and the verdict must not be about a model
#: or a line: a file can hold those that nobody has.
_FILE = r"(?<![a-z])files?(?:_id| id)?(?![a-z])"
_BETWEEN = r"(?:(?!\b(?:models?|deployments?|lines?|url|purpose)\b).){0,120}?"
_NOT = r"\b(?:not|cannot|can't|hasn't|isn't|never)"

#: The first row that applies counts.
PASSING: tuple[PassingRefusal, ...] = (
    # The account's enqueued-token limit: it passes when batches end. Services share only these words.
    PassingRefusal("queue full", frozenset({"token_limit_exceeded"}), _words(r"nqueued token")),
    # The uploaded file is not found, not processed or not checked yet: it passes in seconds, at Azure in minutes.
    PassingRefusal(
        "file not ready",
        frozenset({"file_not_found", "file_not_ready", "file_not_processed", "invalid_file_status"}),
        _words(
            rf"{_FILE}{_BETWEEN}{_NOT} (?:\w+ ){{0,3}}?"
            r"(?:found|ready|processed|available|uploaded|visible|located|finished|completed?)\b",
            rf"{_FILE}{_BETWEEN}(?:(?:does not|doesn't) exist|not in (?:an? )?\S+ (?:state|status)|pending"
            r"|in progress)\b",
            rf"{_FILE}{_BETWEEN}\b(?:is|was) (?:\w+ )?(?:queued|incomplete|unavailable|unknown)\b",
            rf"{_FILE}{_BETWEEN}\b(?:is|still|being|currently) (?:\w+ )?"
            r"(?:process|upload|validat|scann|check|import)(?:ed|ing)\b",
            rf"{_FILE} (?:must|has to|needs to) (?:first )?(?:be|have) (?:in )?(?:\S+ )?processed\b",
            rf"\b(?:cannot|can't|can not|could not|couldn't|unable to) (?:find|locate) (?:the |your |input )*{_FILE}",
            rf"\b(?:no|unknown|no such) (?:input |such )?{_FILE}(?! (?:format|type|name|extension|encoding|purpose))",
        ),
    ),
    # The service stumbled, and says that it did.
    PassingRefusal(
        "try again",
        frozenset(
            {
                "server_error",
                "internal_error",
                "internal_server_error",
                "service_unavailable",
                "timeout",
                "rate_limit_exceeded",
            }
        ),
        _words(
            r"something went wrong",
            r"(?:try|retry)(?: your request| it| the batch)? (?:again )?(?:later|in a )",
            r"please (?:try again|retry)|\btry again\.?$|had an error while processing",
            r"unable to process your request at",
            r"temporar(?:y|ily)",
            r"(?:internal|unexpected|unknown|server) (?:server )?error",
            r"overloaded|at capacity|high demand|service unavailable|timed out|deadline exceeded|bad gateway",
            r"rate limit (?:was |is )?(?:reached|exceeded)|too many requests|internal failure",
            r"connection (?:reset|error)",
        ),
    ),
)
#: Codes of refusals that no waiting mends, whatever their text says.
LASTING_CODES = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "invalid_api_key"})

#: Names in quotes, and "in your file", which is where a model is named: left out before a text about a model is read.
_ASIDE = re.compile(
    r"(?<!\w)[`'\"][^`'\"]{1,100}[`'\"](?!\w)"
    r"|\b(?:in|of|by) (?:the |your |this )(?:\w{1,20} )?files?\b(?: file[\w-]{1,40})?",
    re.IGNORECASE,
)
_MODEL = r"\b(?:models?|deployments?)\b"
_OF_A_MODEL = r"(?:(?!\bfiles?\b).){0,120}?"
#: Characters of a text that are read.
_MOST = 2_000
#: The model that the requests name is not there, or not for this account.
MODEL_CODES = frozenset(
    {"model_not_found", "unknown_model", "invalid_model", "DeploymentNotFound", "deployment_not_found"}
)
_MODEL_WORDS = _words(
    rf"{_MODEL}{_OF_A_MODEL}\b(?:(?:does not|doesn't|do not|don't) exist|(?:not|cannot be|can't be) found)\b",
    rf"{_MODEL}{_OF_A_MODEL}\b(?:is|are) (?:unknown|not supported|not a valid|no longer)\b",
    rf"\b(?:no|not have|n't have|without|lacks?) access to (?:\w+ ){{0,2}}?{_MODEL}",
    rf"\b(?:allowed|authorized|authorised|permitted|verified) to (?:use|access|sample from) (?:\w+ ){{0,2}}?{_MODEL}",
    rf"\b(?:unknown|no such|invalid|unsupported) {_MODEL}",
    r"\bmodel_not_found\b",
)
#: What to do about it.
MODEL_ADVICE = "Name a model that this account may use in batches as 'model' in body; sending it again changes nothing."


def is_about_the_model(code: str | None, text: str) -> bool:
    """
    Return whether an error says that the model which requests name does not exist for this account.

    :param code: The API's own code.
    :param text: The API's own words, without ours around them.
    """
    return code in MODEL_CODES or _MODEL_WORDS.search(_ASIDE.sub("", text[:_MOST])) is not None


def passing_kind(code: str | None, text: str) -> Kind | None:
    """
    Return which refusal that passes an error is; None for one that would come again.

    :param code: The API's own code.
    :param text: The API's own words, without ours around them.
    """
    if code in LASTING_CODES or is_about_the_model(code, text):
        return None
    return next((row.kind for row in PASSING if code in row.codes or row.words.search(text)), None)


def is_queue_full(code: str | None, message: str) -> bool:
    """Return whether an error speaks of the enqueued-token limit."""
    return passing_kind(code, message) == "queue full"
