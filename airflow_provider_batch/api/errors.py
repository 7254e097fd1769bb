"""
Vendor error → our error, in one table.

Each message says what was asked and where, what came back, and what to do. A 404 counts as "no such batch" only when
the API itself says so: a wrong base URL answers 404 too, and taking that for a batch that is gone would lose paid work.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from airflow_provider_batch.api.bounds import bounded_pause
from airflow_provider_batch.api.lenient_json import words_in
from airflow_provider_batch.api.refusals import MODEL_ADVICE, is_about_the_model, is_queue_full, passing_kind
from airflow_provider_batch.api.settings import ClientSettings
from airflow_provider_batch.exceptions import (
    ApiError,
    ApiRefusedError,
    ApiUnavailableError,
    AuthenticationError,
    NotFoundError,
)

#: Codes of a 429 that no waiting mends.
BILLING_CODES = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"})
#: Characters of a server's own text that a message keeps.
TEXT_LIMIT = 500


@dataclass(frozen=True)
class Answer:
    """What came back, as far as anything did."""

    text: str
    status_code: int | None = None
    code: str | None = None
    param: str | None = None
    is_html: bool = False
    retry_after: float | None = None


@dataclass(frozen=True)
class Rule:
    """One row of the table: which answers, which error, what to do. `{name}` and `{address}` are the settings'."""

    applies: Callable[[Answer], bool]
    error: type[ApiError]
    advice: str


RULES: tuple[Rule, ...] = (
    Rule(lambda a: a.status_code is None, ApiUnavailableError, "Check the network and the base URL of {name}."),
    Rule(
        lambda a: is_queue_full(a.code, a.text),
        ApiUnavailableError,
        "The account's enqueued-token limit is reached; it passes when batches end.",
    ),
    Rule(
        lambda a: a.status_code == 429 and a.code in BILLING_CODES,
        ApiRefusedError,
        "The account has no credit left: see its billing page.",
    ),
    Rule(lambda a: a.status_code in (408, 409, 429), ApiUnavailableError, "Try again later."),
    Rule(lambda a: (a.status_code or 0) >= 500, ApiUnavailableError, "The server is in trouble; try again later."),
    Rule(lambda a: a.status_code == 401, AuthenticationError, "Check the API key of {name}."),
    Rule(
        lambda a: a.status_code == 403,
        AuthenticationError,
        "Check the rights of the API key, the organization and the project of {name}.",
    ),
    Rule(
        lambda a: a.is_html or (a.status_code or 0) < 400,
        ApiRefusedError,
        "This is no answer of a Batch API: check the base URL of {name}, which usually ends in /v1.",
    ),
    Rule(
        lambda a: a.status_code == 404 and _is_about_the_address(a.text),
        ApiRefusedError,
        "The server has no such address: check the base URL of {name}, which usually ends in /v1.",
    ),
    Rule(lambda a: is_about_the_model(a.code, a.text), ApiRefusedError, MODEL_ADVICE),
    Rule(
        lambda a: a.status_code == 404,
        NotFoundError,
        "It is gone, or belongs to another account than that of {name}.",
    ),
    Rule(
        lambda a: passing_kind(a.code, a.text) == "file not ready",
        ApiRefusedError,
        "A file that was just uploaded can take a while to be found and processed; else it was deleted or has expired.",
    ),
    Rule(
        lambda a: passing_kind(a.code, a.text) == "try again",
        ApiUnavailableError,
        "The server says that it is in trouble; try again later.",
    ),
    Rule(lambda a: True, ApiRefusedError, "The same call will be refused again."),
)


def translate(error: Exception, *, asked: str, settings: ClientSettings) -> ApiError:
    """
    Return our error for what the SDK or its transport raised.

    :param asked: What was asked, as the beginning of a sentence: ``"Retrieving batch batch_1"``.
    """
    try:
        answer = _answer(error)
    except Exception:  # the error of an answer that nobody thought of is still one of ours
        answer = Answer(type(error).__name__)
    return from_answer(answer, asked=asked, settings=settings)


def from_answer(answer: Answer, *, asked: str, settings: ClientSettings) -> ApiError:
    """Return our error for an answer, by the first rule that applies."""
    rule = next(rule for rule in RULES if rule.applies(answer))
    status = None if answer.status_code is None else f"HTTP {answer.status_code}"
    text = answer.text.strip()[:TEXT_LIMIT].rstrip(".")
    came_back = ": ".join(part for part in (status, text) if part)
    advice = rule.advice.replace("{name}", settings.name)
    message = settings.without_secrets(f"{asked} at {settings.shown_address} failed: {came_back}. {advice}")
    translated = rule.error(message, status_code=answer.status_code, code=answer.code, param=answer.param)
    translated.words = answer.text
    if isinstance(translated, ApiUnavailableError):
        translated.retry_after = answer.retry_after
    return translated


def unreadable(content: bytes, *, status_code: int, asked: str, settings: ClientSettings) -> ApiError:
    """Return the error for a successful status with an answer that is not what the API sends."""
    start = content[:200].decode("utf-8", "replace").strip()
    is_html = start.startswith("<")
    text = "an HTML page came back" if is_html else f"an answer that cannot be read came back ({start[:80]!r})"
    return from_answer(Answer(text, status_code=status_code, is_html=is_html), asked=asked, settings=settings)


def chain(error: Exception, settings: ClientSettings) -> Exception | None:
    """Return what to name as the cause: a vendor error that quotes the key is left out, since tracebacks are logged."""
    return error if settings.without_secrets(f"{error}{error!r}") == f"{error}{error!r}" else None


def _answer(error: Exception) -> Answer:
    """Read what can be known from an exception of the SDK, of its transport or of our `guard`."""
    cause: BaseException | None = error
    while cause is not None:  # older SDKs wrap what is raised below them
        if isinstance(known := getattr(cause, "answer", None), Answer):
            return known
        cause = cause.__cause__
    response = getattr(error, "response", None)
    status_code = getattr(error, "status_code", None)
    if response is None or not isinstance(status_code, int):
        return Answer(_reason(error))
    body = getattr(error, "body", None)
    if target := response.extensions.get("redirected_to"):
        host = urlsplit(target).hostname or "nowhere"
        return Answer(f"the answer is a redirect to {host}, which is not followed", status_code=status_code)
    starts_as_html = isinstance(body, str) and body.lstrip().startswith("<")
    is_html = "html" in response.headers.get("content-type", "") or starts_as_html
    return Answer(
        text="an HTML page came back" if is_html else _words(body),
        status_code=status_code,
        code=_text(getattr(error, "code", None)),
        param=_text(getattr(error, "param", None)),
        is_html=is_html,
        retry_after=retry_after_of(response.headers),
    )


def _words(body: Any) -> str:
    """Return the server's own words: `message` is the API's, the others are those of compatible servers."""
    if isinstance(body, Mapping):
        return next((words for key in ("message", "detail", "msg", "error") if (words := words_in(body.get(key)))), "")
    return words_in(body) if isinstance(body, str) else ""


def _is_about_the_address(text: str) -> bool:
    """Return whether the text of a 404 speaks of the URL, or of nothing, instead of a batch or a file."""
    return text.startswith("Invalid URL") or text.strip().rstrip(".").lower() in ("", "not found", "404 page not found")


def retry_after_of(headers: Mapping[str, str]) -> float | None:
    """Return the seconds `retry-after-ms` or `Retry-After` (seconds or a date) asks for, up to an hour, or None."""
    for header, divisor in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        value = headers.get(header)
        if value is None:
            continue
        try:
            return bounded_pause(float(value) / divisor)
        except ValueError:
            pass
        try:
            until, now = parsedate_to_datetime(value), parsedate_to_datetime(headers["date"])
            return bounded_pause((until - now).total_seconds())
        except (KeyError, TypeError, ValueError, OverflowError):
            continue
    return None


def _reason(error: BaseException) -> str:
    """Return the innermost cause in words: the SDK's own text is just "Connection error."."""
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    text = str(cause) or str(error)
    return f"{type(cause).__name__}: {text}" if cause is not error else (text or type(error).__name__)


def _text(value: Any) -> str | None:
    return words_in(value) or None
