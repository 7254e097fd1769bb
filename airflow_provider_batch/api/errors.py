"""
Translate errors of the SDK and of HTTP into the errors of this package, by one table.

Each message names the call and the address, what the server returned, and what to do. A 404 means "no such batch" only
if the API itself says so: a wrong base URL returns 404 too, and treating that as a deleted batch would lose paid work.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from airflow_provider_batch import exceptions
from airflow_provider_batch.api.bounds import bounded_pause
from airflow_provider_batch.api.lenient_json import readable_text
from airflow_provider_batch.api.refusals import MODEL_ADVICE, is_about_the_model, is_queue_full, passing_kind
from airflow_provider_batch.api.settings import ClientSettings

#: Codes of a 429 that does not pass by waiting.
BILLING_CODES = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"})
#: Code of a call that was not sent, because there is no token for it.
NO_TOKEN = "no_token"
#: Characters of the server's text that a message quotes.
TEXT_LIMIT = 500
#: Texts of a 404 that are about the URL.
_NO_ADDRESS = ("", "not found", "404 page not found", "resource not found")
_API_VERSION = re.compile(r"api[ -]?version", re.IGNORECASE)
_HTML = "the server returned an HTML page"


@dataclass(frozen=True)
class ErrorResponse:
    """
    What is known of the response to a failed call.

    :param text: The server's error text, or the reason why there is no response.
    :param status_code: HTTP status; None if no response arrived.
    :param code: The API's error code.
    :param param: The request parameter that the API names.
    :param is_html: Whether the response is an HTML page.
    :param retry_after: Seconds after which the server wants the next call.
    """

    text: str
    status_code: int | None = None
    code: str | None = None
    param: str | None = None
    is_html: bool = False
    retry_after: float | None = None


@dataclass(frozen=True)
class Rule:
    """
    One row of the table.

    :param applies: Returns whether the row is about this response.
    :param error: Class of the error to raise.
    :param advice: What to do, as a sentence; ``{name}`` stands for the name of the connection.
    """

    applies: Callable[[ErrorResponse], bool]
    error: type[exceptions.ApiError]
    advice: str


RULES: tuple[Rule, ...] = (
    Rule(
        lambda a: a.status_code is None, exceptions.ApiUnavailableError, "Check the network and the base URL of {name}."
    ),
    Rule(
        lambda a: is_queue_full(a.code, a.text),
        exceptions.ApiUnavailableError,
        "The account's enqueued-token limit is reached; it passes when batches end.",
    ),
    Rule(
        lambda a: a.status_code == 429 and a.code in BILLING_CODES,
        exceptions.ApiRefusedError,
        "The account has no credit left: see its billing page.",
    ),
    Rule(lambda a: a.status_code in (408, 409, 429), exceptions.ApiUnavailableError, "Try again later."),
    Rule(
        lambda a: (a.status_code or 0) >= 500,
        exceptions.ApiUnavailableError,
        "The server has a problem; try again later.",
    ),
    Rule(
        lambda a: a.code == NO_TOKEN,
        exceptions.AuthenticationError,
        "Nothing was sent. Renew the secret or check the identity of {name}, and retry the task.",
    ),
    Rule(lambda a: a.status_code == 401, exceptions.AuthenticationError, "Check the API key of {name}."),
    Rule(
        lambda a: a.status_code == 403,
        exceptions.AuthenticationError,
        "Check the rights of the API key, the organization and the project of {name}.",
    ),
    Rule(
        lambda a: a.is_html or (a.status_code or 0) < 400,
        exceptions.ApiRefusedError,
        "This is not a response of a Batch API: check the base URL of {name}, which usually ends in /v1.",
    ),
    Rule(
        lambda a: a.status_code in (400, 404) and _API_VERSION.search(a.text) is not None,
        exceptions.ApiRefusedError,
        "Check the api-version in the base URL or the extra of {name}, or leave it out and use the path /openai/v1.",
    ),
    Rule(
        lambda a: a.status_code == 404 and _is_about_the_address(a.text),
        exceptions.ApiRefusedError,
        "The server has no such address: check the base URL of {name}, which usually ends in /v1.",
    ),
    Rule(lambda a: is_about_the_model(a.code, a.text), exceptions.ApiRefusedError, MODEL_ADVICE),
    Rule(
        lambda a: a.status_code == 404,
        exceptions.NotFoundError,
        "It was deleted, or it belongs to another account than that of {name}.",
    ),
    Rule(
        lambda a: passing_kind(a.code, a.text) == "file not ready",
        exceptions.ApiRefusedError,
        "A new file is usable some seconds or minutes after its upload; an older one was deleted or has expired.",
    ),
    Rule(
        lambda a: passing_kind(a.code, a.text) == "try again",
        exceptions.ApiUnavailableError,
        "The server reports a temporary problem; try again later.",
    ),
    Rule(lambda a: True, exceptions.ApiRefusedError, "The same call will be refused again."),
)


def translate(error: Exception, *, action: str, settings: ClientSettings) -> exceptions.ApiError:
    """
    Return this package's error for an exception of the SDK or of its HTTP library.

    :param error: The exception.
    :param action: The call, as the beginning of a sentence: ``"Retrieving batch batch_1"``.
    :param settings: Settings of the client, for its address and the connection's name.
    """
    try:
        response = _error_response(error)
    except Exception:  # an unexpected exception must still become an error of this package
        response = ErrorResponse(type(error).__name__)
    return from_response(response, action=action, settings=settings)


def from_response(response: ErrorResponse, *, action: str, settings: ClientSettings) -> exceptions.ApiError:
    """
    Return the error for a response, by the first row of `RULES` that applies.

    :param response: What is known of the response.
    :param action: The call, as the beginning of a sentence.
    :param settings: Settings of the client, for its address and the connection's name.
    """
    rule = next(rule for rule in RULES if rule.applies(response))
    status = None if response.status_code is None else f"HTTP {response.status_code}"
    text = response.text.strip()[:TEXT_LIMIT].rstrip(".")
    returned = ": ".join(part for part in (status, text) if part)
    advice = rule.advice.replace("{name}", settings.name)
    if rule.advice is MODEL_ADVICE and settings.service.model_advice:
        advice = settings.service.model_advice
    message = settings.without_secrets(f"{action} at {settings.shown_address} failed: {returned}. {advice}")
    translated = rule.error(message, status_code=response.status_code, code=response.code, param=response.param)
    translated.server_text = response.text
    if isinstance(translated, exceptions.ApiUnavailableError):
        translated.retry_after = response.retry_after
    return translated


def unreadable(content: bytes, *, status_code: int, action: str, settings: ClientSettings) -> exceptions.ApiError:
    """
    Return the error for a response with a successful status and content that cannot be parsed.

    :param content: Bytes of the response.
    :param status_code: HTTP status.
    :param action: The call, as the beginning of a sentence.
    :param settings: Settings of the client, for its address and the connection's name.
    """
    start = content[:200].decode("utf-8", "replace").strip()
    is_html = start.startswith("<")
    text = _HTML if is_html else f"the response cannot be parsed ({start[:80]!r})"
    return from_response(
        ErrorResponse(text, status_code=status_code, is_html=is_html), action=action, settings=settings
    )


def chain(error: Exception, settings: ClientSettings) -> Exception | None:
    """
    Return the exception to chain as the cause; None if its text quotes a secret, since tracebacks are logged.

    :param error: Exception of the SDK.
    :param settings: Settings of the client, for its secrets.
    """
    return error if settings.without_secrets(f"{error}{error!r}") == f"{error}{error!r}" else None


def _error_response(error: Exception) -> ErrorResponse:
    """Read an exception of the SDK, of its HTTP library or of `transport.guard`."""
    cause: BaseException | None = error
    while cause is not None:  # older SDKs wrap the exceptions of the guard
        if isinstance(rejected := getattr(cause, "error_response", None), ErrorResponse):
            return rejected
        cause = cause.__cause__
    response = getattr(error, "response", None)
    status_code = getattr(error, "status_code", None)
    if response is None or not isinstance(status_code, int):
        return ErrorResponse(_reason(error))
    body = getattr(error, "body", None)
    if target := response.extensions.get("redirected_to"):
        host = urlsplit(target).hostname or "no host"
        return ErrorResponse(f"the response is a redirect to {host}, which is not followed", status_code=status_code)
    starts_as_html = isinstance(body, str) and body.lstrip().startswith("<")
    is_html = "html" in response.headers.get("content-type", "") or starts_as_html
    return ErrorResponse(
        text=_HTML if is_html else _error_text(body),
        status_code=status_code,
        code=_text(getattr(error, "code", None)),
        param=_text(getattr(error, "param", None)),
        is_html=is_html,
        retry_after=retry_after_of(response.headers),
    )


def _error_text(body: Any) -> str:
    """Return the server's error text: the API's key is `message`, the others are those of compatible servers."""
    if isinstance(body, Mapping):
        texts = (readable_text(body.get(key)) for key in ("message", "detail", "msg", "error"))
        return next((text for text in texts if text), "")
    return readable_text(body) if isinstance(body, str) else ""


def _is_about_the_address(text: str) -> bool:
    """Return whether the text of a 404 is empty or about the URL, instead of a batch or a file."""
    return text.startswith("Invalid URL") or text.strip().rstrip(".").lower() in _NO_ADDRESS


def retry_after_of(headers: Mapping[str, str]) -> float | None:
    """
    Return the seconds that `retry-after-ms` or `Retry-After` (seconds or a date) requests, at most an hour, or None.

    :param headers: Headers of the response, with names that ignore case.
    """
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
    """Return the innermost cause as text: the SDK's own text is only "Connection error."."""
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    text = str(cause) or str(error)
    return f"{type(cause).__name__}: {text}" if cause is not error else (text or type(error).__name__)


def _text(value: Any) -> str | None:
    return readable_text(value) or None
