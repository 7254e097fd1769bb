"""
Refusals that pass by themselves, recognised by the error codes and texts of known services: one table.

The same text is used for a refused create call and for a batch that was created and `failed` at once. A refusal that is
not in the table is final.
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

    :param kind: The reason of the refusal.
    :param codes: Error codes of this reason, whatever the text.
    :param pattern: Matches error texts of this reason, whatever the code.
    """

    kind: Kind
    codes: frozenset[str]
    pattern: re.Pattern[str]


def _words(*alternatives: str) -> re.Pattern[str]:
    return re.compile("|".join(alternatives), re.IGNORECASE | re.DOTALL)


#: A file, or the member of a request that names one. The text between it and its state must not mention a model or a
#: line: "model x in your file does not exist" is not about the file.
_FILE = r"(?<![a-z])files?(?:_id| id)?(?![a-z])"
_BETWEEN = r"(?:(?!\b(?:models?|deployments?|lines?|url|purpose)\b).){0,120}?"
_NOT = r"\b(?:not|cannot|can't|hasn't|isn't|never)"

#: The first row that matches decides.
PASSING: tuple[PassingRefusal, ...] = (
    # A limit on what an account has at one time passes when batches end or files are deleted: enqueued tokens (these
    # are the only words that services share), batches, files.
    PassingRefusal(
        "queue full",
        frozenset({"token_limit_exceeded", "batch_limit_exceeded", "too_many_batches", "file_limit_exceeded"}),
        _words(
            r"nqueued token",
            r"\b(?:too many|(?:maximum|max|limit)(?: number)? (?:of|on)) (?:\w+ ){0,3}?(?:batches|batch jobs)\b",
            r"\b(?:batches|batch jobs) (?:\w+ ){0,3}?(?:limit|quota) (?:is |was |has been )?(?:reached|exceeded)\b",
            r"\b(?:too many|(?:maximum|max|limit)(?: number)? (?:of|on)) (?:\w+ ){0,2}?files\b",
            r"\bfiles? (?:count|number) (?:limit|quota)\b",
        ),
    ),
    # The uploaded file is not found, processed or checked yet: it passes in seconds, at Azure in minutes.
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
    # The service reports a temporary problem of its own.
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
#: Codes of refusals that do not pass by waiting, whatever their text says.
LASTING_CODES = frozenset(
    {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "invalid_api_key", "too_many_tasks"}
)

#: Names in quotes, and phrases such as "in your file": removed before a text is searched for a model.
_ASIDE = re.compile(
    r"(?<!\w)[`'\"][^`'\"]{1,100}[`'\"](?!\w)"
    r"|\b(?:in|of|by) (?:the |your |this )(?:\w{1,20} )?files?\b(?: file[\w-]{1,40})?",
    re.IGNORECASE,
)
_MODEL = r"\b(?:models?|deployments?)\b"
_OF_A_MODEL = r"(?:(?!\bfiles?\b).){0,120}?"
#: Characters of a text that are searched.
_MOST = 2_000
#: Error codes for a model that does not exist, or not for this account.
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
#: What to do about a model that does not exist.
MODEL_ADVICE = (
    "Set 'model' in body to one that this account may use in batches; a retry with the same model fails again."
)


def is_about_the_model(code: str | None, text: str) -> bool:
    """
    Return whether an error says that the requests' model does not exist for this account.

    :param code: The API's error code.
    :param text: The API's error text, without text of this package.
    """
    return code in MODEL_CODES or _MODEL_WORDS.search(_ASIDE.sub("", text[:_MOST])) is not None


def passing_kind(code: str | None, text: str) -> Kind | None:
    """
    Return the reason of a refusal that passes by waiting; None for a final one.

    :param code: The API's error code.
    :param text: The API's error text, without text of this package.
    """
    if code in LASTING_CODES or is_about_the_model(code, text):
        return None
    return next((row.kind for row in PASSING if code in row.codes or row.pattern.search(text)), None)


def is_queue_full(code: str | None, message: str) -> bool:
    """
    Return whether an error says that the account's enqueued-token limit is reached.

    :param code: The API's error code.
    :param message: The API's error text.
    """
    return passing_kind(code, message) == "queue full"
