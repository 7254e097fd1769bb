"""
Every error this package raises, and whether trying again can help.

::

    OpenAIBatchError
    ├── InputError                  before anything was sent; the same input fails again
    │   ├── SourceError             a table that cannot be read: names file, row or line, column
    │   ├── TemplateError           a ``body`` or ``custom_id`` template that cannot be filled
    │   ├── RequestError            a request line that the API would refuse
    │   └── ConfigurationError      connection, destination, state path, an argument
    ├── ApiError                    an answer, or none, from the API
    │   ├── ApiUnavailableError     network, time-out, 408/409/429/5xx: trying again helps
    │   ├── AuthenticationError     401/403: the connection has to change first
    │   ├── NotFoundError           404: no such file or batch for this account
    │   └── ApiRefusedError         any other 4xx: the same call is refused again
    ├── StorageError                a ledger, shard or part that cannot be read or written; "unreadable" is never
    "absent" └── JobError                    after something was sent; the message ends with where the money is
        ├── ChangedInputError       batches of another input are still unfinished
        ├── UnknownOutcomeError     a create whose answer was lost and which cannot be looked up now
        ├── NotCancelledError       batches of an old input still run, although they were to be cancelled
        ├── JobTakenError           another attempt holds this job
        ├── JobTimeoutError         the job's wall-clock time is over
        ├── ResultsMissingError     a completed batch without the files, or the answers, that its counts promise
        ├── ResultsUnclearError     results that came and that cannot be matched with the rows they are of
        └── JobFailedError          the job ended, and its result is a failure
            └── PassingRefusalError the API refused a file or a batch for a reason that passes, too often for now
"""

from __future__ import annotations

from typing import ClassVar


class OpenAIBatchError(Exception):
    """Base of all errors of this package."""

    #: Whether the same call, made later, can succeed. The Airflow face turns ``False`` into a failure without retries.
    retryable: ClassVar[bool] = False
    #: Where the money is, added by the job that the error ends: what is still running, and what a retry will do.
    consequence: str = ""

    def __str__(self) -> str:
        return f"{super().__str__()} {self.consequence}".rstrip()


class InputError(OpenAIBatchError):
    """The input is at fault; nothing was sent."""


class SourceError(InputError):
    """
    A source table cannot be read.

    :param problem: What was expected, what was found and what to do.
    :param file: URI of the file, when one is known.
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
    """A template names a column that is not there, or a value cannot be put in its place."""


class RequestError(SourceError):
    """A request that the API would refuse, found before it was sent."""


class ConfigurationError(InputError):
    """A connection, a destination, a state path or an argument is wrong."""


class ApiError(OpenAIBatchError):
    """
    The API did not do what was asked.

    :param message: What was asked, what came back and what to do.
    :param status_code: HTTP status, or None where no answer came.
    :param code: The API's own error code.
    :param param: The parameter that the API names.
    """

    #: The API's own words, without ours around them; None where the error was not made of an answer.
    server_text: str | None = None

    def __init__(
        self, message: str, *, status_code: int | None = None, code: str | None = None, param: str | None = None
    ) -> None:
        self.status_code, self.code, self.param = status_code, code, param
        super().__init__(message)


class ApiUnavailableError(ApiError):
    """No answer, or one that says "later"; ``retry_after`` holds the seconds that the API asked for."""

    retryable = True
    retry_after: float | None = None


class AuthenticationError(ApiError):
    """The key was refused."""


class NotFoundError(ApiError):
    """No such file or batch for this account."""


class ApiRefusedError(ApiError):
    """The call itself is refused, and would be again."""


class StorageError(OpenAIBatchError):
    """A file that should be readable or writable is not."""

    retryable = True


class JobError(OpenAIBatchError):
    """A job that has sent something cannot go on."""


class ChangedInputError(JobError):
    """Unfinished batches belong to another input."""


class UnknownOutcomeError(JobError):
    """A create may or may not have made a batch, and the list cannot say so now."""

    retryable = True


class NotCancelledError(JobError):
    """Batches that make room for others were not seen to have ended."""

    retryable = True


class JobTakenError(JobError):
    """Another attempt of the same task works on this job."""

    retryable = True


class JobTimeoutError(JobError):
    """The job's time is over."""


class ResultsMissingError(JobError):
    """A batch says ``completed`` and its results are nowhere."""

    retryable = True


class ResultsUnclearError(JobError):
    """Results came, are paid for, and cannot be matched with the rows that they are of; nothing is sent again."""


class JobFailedError(JobError):
    """The job has ended; too few rows succeeded."""


class PassingRefusalError(JobFailedError):
    """The API refused a file or a batch for a reason that passes, more often than one attempt waits for."""

    retryable = True


def place(*, file: str | None, row: int | None, line: int | None, column: str | None) -> str:
    """Return ``"file.csv, row 7, column 'text': "``, or an empty string when nothing is known."""
    parts = [
        file,
        None if line is None else f"line {line}",
        None if row is None else f"row {row}",
        None if column is None else f"column '{column}'",
    ]
    known = ", ".join(part for part in parts if part is not None)
    return f"{known}: " if known else ""
