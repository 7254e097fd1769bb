"""
What is known after a batch was asked for: it was made, it was not, or nobody can say.

Only *accepted* and *refused* permit a next step. *Unknown* has to be looked up, since a repeated create is a second,
paid batch:

- no answer (time-out, dropped connection), an unreadable one, 408, 409, 5xx: unknown, the server may have gone on;
- any other 4xx, 429 included: refused, the answer itself says that no batch was made;
- a connection that never opened (name not found, refused, TLS): refused, since the request did not leave this machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from airflow_provider_batch.api.objects import Batch
from airflow_provider_batch.exceptions import ApiError

#: Answers that do not say whether a batch was made.
DOUBTFUL_STATUSES = frozenset({408, 409})


@dataclass(frozen=True)
class Accepted:
    """There is a batch."""

    batch: Batch


@dataclass(frozen=True)
class Refused:
    """
    There is no batch.

    :param error: Why; ``error.retryable`` says whether the same create can succeed later.
    :param queue_full: The account's limit of enqueued tokens is reached: it passes when batches end.
    :param file_not_ready: The uploaded file is not visible yet: it passes in seconds.
    """

    error: ApiError
    queue_full: bool = False
    file_not_ready: bool = False


@dataclass(frozen=True)
class Unknown:
    """There may be a batch."""

    error: ApiError


CreateOutcome: TypeAlias = Accepted | Refused | Unknown


def is_queue_full(code: str | None, message: str) -> bool:
    """Return whether an error speaks of the enqueued-token limit; vendors share only the words "nqueued token"."""
    return code == "token_limit_exceeded" or "nqueued token" in message


def is_file_not_ready(error: ApiError) -> bool:
    """Return whether a create was refused because its file is not visible yet."""
    named = error.param in (None, "file_id", "input_file_id")
    return error.status_code in (400, 404) and named and "cannot find file" in str(error).lower()


def outcome_of(error: ApiError, *, was_sent: bool) -> Refused | Unknown:
    """
    Return what a failed create means.

    :param was_sent: False where the connection never opened.
    """
    status = error.status_code
    queue_full = is_queue_full(error.code, str(error))
    answered = status is not None and 400 <= status < 500 and status not in DOUBTFUL_STATUSES
    if queue_full or answered or not was_sent:
        return Refused(error, queue_full=queue_full, file_not_ready=is_file_not_ready(error))
    return Unknown(error)
