"""
What is known after a batch was asked for: it was made, it was not, or nobody can say.

Only *accepted* and *refused* permit a next step. *Unknown* has to be looked up, since a repeated create is a second,
paid batch:

- no answer (time-out, dropped connection), an unreadable one, 408, 409, 5xx: unknown, the server may have gone on;
- 409 because the file is not ready: refused;
- any other 4xx, 429 included: refused, the answer itself says that no batch was made;
- a connection that never opened (name not found, refused, TLS): refused, since the request did not leave this machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from airflow_provider_batch.api.objects import Batch
from airflow_provider_batch.api.refusals import passing_kind
from airflow_provider_batch.exceptions import ApiError, ApiUnavailableError

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
    :param file_not_ready: The uploaded file is not found or not processed yet: it passes in seconds or minutes.
    """

    error: ApiError
    queue_full: bool = False
    file_not_ready: bool = False


@dataclass(frozen=True)
class Unknown:
    """There may be a batch."""

    error: ApiError


CreateOutcome: TypeAlias = Accepted | Refused | Unknown


#: HTTP statuses with which services refuse a file that is not ready.
FILE_STATUSES = frozenset({400, 404, 409, 412, 422, 423, 425})
#: What a refusal names as its parameter where it is about the input file.
_FILE_PARAMS = (None, "file_id", "input_file_id", "input_file", "file", "id")


def outcome_of(error: ApiError, *, was_sent: bool) -> Refused | Unknown:
    """
    Return what a failed create means.

    :param was_sent: False where the connection never opened.
    """
    status = error.status_code
    kind = passing_kind(error.code, str(error) if error.words is None else error.words)
    not_ready = kind == "file not ready" and status in FILE_STATUSES and error.param in _FILE_PARAMS
    answered = status is not None and 400 <= status < 500 and status not in DOUBTFUL_STATUSES
    if kind == "queue full" or answered or not_ready or not was_sent:
        refusal = _passing(error) if not_ready else error
        return Refused(refusal, queue_full=kind == "queue full", file_not_ready=not_ready)
    return Unknown(error)


def _passing(error: ApiError) -> ApiError:
    """Return the same error as one that passes."""
    if error.retryable:
        return error
    passing = ApiUnavailableError(*error.args, status_code=error.status_code, code=error.code, param=error.param)
    passing.words = error.words
    return passing
