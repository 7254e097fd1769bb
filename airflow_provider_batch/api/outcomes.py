"""
Outcomes of a create call: the batch was accepted, it was refused, or this is unknown.

Only *accepted* and *refused* permit a next step. For *unknown* the job must search the account's list first, since a
repeated create can make a second, paid batch:

- no response (timeout, dropped connection), one that cannot be parsed, 408, 409, 5xx: unknown, the server may have
  created the batch;
- 409 because the input file is not ready: refused;
- any other 4xx, 429 included: refused, the response says that no batch was created;
- a connection that never opened (DNS, connection refused, TLS): refused, the request was never sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from airflow_provider_batch.api.objects import Batch
from airflow_provider_batch.api.refusals import passing_kind
from airflow_provider_batch.exceptions import ApiError, ApiUnavailableError

#: HTTP statuses of an error that do not say whether a batch was created.
DOUBTFUL_STATUSES = frozenset({408, 409})


@dataclass(frozen=True)
class Accepted:
    """
    The API created a batch.

    :param batch: The new batch.
    """

    batch: Batch


@dataclass(frozen=True)
class Refused:
    """
    The API created no batch.

    :param error: Why; ``error.retryable`` says whether the same call can succeed later.
    :param queue_full: Whether the account's limit of enqueued tokens is reached; it passes when batches end.
    :param file_not_ready: Whether the input file is not found or not processed yet; it passes in seconds or minutes.
    """

    error: ApiError
    queue_full: bool = False
    file_not_ready: bool = False


@dataclass(frozen=True)
class Unknown:
    """
    The API may have created a batch.

    :param error: Why this is unknown.
    """

    error: ApiError


CreateOutcome: TypeAlias = Accepted | Refused | Unknown


#: HTTP statuses with which services refuse an input file that is not ready.
FILE_STATUSES = frozenset({400, 404, 409, 412, 422, 423, 425})
#: Values of ``param`` in a refusal that is about the input file.
_FILE_PARAMS = (None, "file_id", "input_file_id", "input_file", "file", "id")


def outcome_of(error: ApiError, *, was_sent: bool) -> Refused | Unknown:
    """
    Return the outcome of a create call that failed.

    :param error: The error of the call.
    :param was_sent: Whether the request may have been sent; False if the connection never opened.
    """
    status = error.status_code
    kind = passing_kind(error.code, str(error) if error.server_text is None else error.server_text)
    not_ready = kind == "file not ready" and status in FILE_STATUSES and error.param in _FILE_PARAMS
    answered = status is not None and 400 <= status < 500 and status not in DOUBTFUL_STATUSES
    if kind == "queue full" or answered or not_ready or not was_sent:
        refusal = _passing(error) if not_ready else error
        return Refused(refusal, queue_full=kind == "queue full", file_not_ready=not_ready)
    return Unknown(error)


def _passing(error: ApiError) -> ApiError:
    """Return the same error as a retryable one."""
    if error.retryable:
        return error
    passing = ApiUnavailableError(*error.args, status_code=error.status_code, code=error.code, param=error.param)
    passing.server_text = error.server_text
    return passing
