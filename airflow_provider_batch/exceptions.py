"""
The errors of this package, and whether a retry can help.

::

    OpenAIBatchError
    ├── InputError                  nothing was sent; the same input fails again
    │   ├── SourceError             a table cannot be read; the message names file, row or line, column
    │   ├── TemplateError           a ``body`` or ``custom_id`` template cannot be filled
    │   ├── RequestError            a request line that the API would refuse
    │   └── ConfigurationError      a connection, destination, state path or argument is wrong
    ├── ApiError                    a call of the API failed
    │   ├── ApiUnavailableError     network, timeout, 408/409/429/5xx: a retry can help
    │   ├── AuthenticationError     401/403: the connection must be corrected first
    │   ├── NotFoundError           404: the account has no such file or batch
    │   └── ApiRefusedError         any other 4xx: the same call is refused again
    ├── StorageError                a ledger, shard or part cannot be read or written; it is never taken for missing
    └── JobError                    something was sent; the message ends with what this costs
        ├── ChangedInputError       batches of another input are unfinished
        ├── UnknownOutcomeError     the response to a create call was lost, and the list cannot be searched now
        ├── NotCancelledError       batches of an old input still run after their cancellation was requested
        ├── JobTakenError           another attempt works on this job
        ├── JobTimeoutError         the job's ``timeout`` is over
        ├── ResultsMissingError     a completed batch has no result files, or fewer results than it counts
        ├── ResultsUnclearError     results cannot be matched with their rows
        └── JobFailedError          the job ended without success
            └── PassingRefusalError the API refused a file or a batch too often, for a reason that passes
"""

from __future__ import annotations

from typing import ClassVar


class OpenAIBatchError(Exception):
    """Base class of all errors of this package."""

    #: Whether the same call can succeed later. If False, an Airflow task fails without retries.
    retryable: ClassVar[bool] = False
    #: What the error means for the job's batches and cost, and what a retry will do; set by the job.
    consequence: str = ""

    def __str__(self) -> str:
        return f"{super().__str__()} {self.consequence}".rstrip()


class InputError(OpenAIBatchError):
    """The input or an argument is wrong; nothing was sent."""


class SourceError(InputError):
    """
    A source table cannot be read.

    :param problem: What was expected, what was found and what to do.
    :param file: URI of the file; None if unknown.
    :param row: Row number within the whole source, counted from 0.
    :param line: Line within the file, counted from 1.
    :param column: Name of the column.
    """

    def __init__(
        self,
        problem: str,
        *,
        file: str | None = None,
        row: int | None = None,
        line: int | None = None,
        column: str | None = None,
    ) -> None:
        self.problem, self.file, self.row, self.line, self.column = problem, file, row, line, column
        super().__init__(place(file=file, row=row, line=line, column=column) + problem)


class TemplateError(SourceError):
    """A template names a missing column, or a value cannot be inserted."""


class RequestError(SourceError):
    """The API would refuse a request; nothing was sent."""


class ConfigurationError(InputError):
    """A connection, a destination, a state path or an argument is wrong."""


class ApiError(OpenAIBatchError):
    """
    A call of the API failed.

    :param message: The call, the response and what to do.
    :param status_code: HTTP status; None if there was no response.
    :param code: The API's error code.
    :param param: The request parameter that the API names.
    """

    #: The API's error text, without text of this package; None if the error is not from a response.
    server_text: str | None = None

    def __init__(
        self, message: str, *, status_code: int | None = None, code: str | None = None, param: str | None = None
    ) -> None:
        self.status_code, self.code, self.param = status_code, code, param
        super().__init__(message)


class ApiUnavailableError(ApiError):
    """The API did not respond, or said "later"; ``retry_after`` is the pause in seconds that it requested, or None."""

    retryable = True
    retry_after: float | None = None


class AuthenticationError(ApiError):
    """The API refused the key, or the key has no permission for the call."""


class NotFoundError(ApiError):
    """The account has no such file or batch."""


class ApiRefusedError(ApiError):
    """The API refused the call, and would refuse it again."""


class StorageError(OpenAIBatchError):
    """A file in storage cannot be read or written."""

    retryable = True


class JobError(OpenAIBatchError):
    """A job cannot go on after it has sent something."""


class ChangedInputError(JobError):
    """The input has changed, and batches of the old input are unfinished."""


class UnknownOutcomeError(JobError):
    """A create call may have made a batch, and the account's list cannot be searched now."""

    retryable = True


class NotCancelledError(JobError):
    """Batches of an old input have not ended yet after their cancellation was requested."""

    retryable = True


class JobTakenError(JobError):
    """Another attempt of the same task instance works on this job."""

    retryable = True


class JobTimeoutError(JobError):
    """The job's ``timeout`` is over."""


class ResultsMissingError(JobError):
    """A batch is ``completed``, and its results are missing."""

    retryable = True


class ResultsUnclearError(JobError):
    """Paid results cannot be matched with their rows; nothing is sent again."""


class JobFailedError(JobError):
    """The job has ended, and too few rows succeeded."""


class PassingRefusalError(JobFailedError):
    """The API refused a file or a batch more often than one attempt waits for; the reason passes by itself."""

    retryable = True


def place(*, file: str | None, row: int | None, line: int | None, column: str | None) -> str:
    """
    Return the beginning of a message, ``"file.csv, row 7, column 'text': "``; an empty string if all are None.

    :param file: URI of the file.
    :param row: Row number in the whole source, counted from 0.
    :param line: Line of the file, counted from 1.
    :param column: Name of the column.
    """
    parts = [
        file,
        None if line is None else f"line {line}",
        None if row is None else f"row {row}",
        None if column is None else f"column '{column}'",
    ]
    text = ", ".join(part for part in parts if part is not None)
    return f"{text}: " if text else ""
