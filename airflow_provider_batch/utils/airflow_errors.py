"""Translate this package's errors into Airflow's, so that a task is retried only if a retry can help."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from airflow_provider_batch.exceptions import OpenAIBatchError


class OpenAIBatchTaskError(AirflowException):
    """The task failed, and a retry can help: Airflow retries it as often as its ``retries`` say."""


class OpenAIBatchTaskFailed(AirflowFailException):
    """The task failed, and a retry would fail again: Airflow does not retry it."""


@contextmanager
def airflow_errors() -> Iterator[None]:
    """
    Translate errors of this package within a block, with their message and the original error as the cause.

    :raises OpenAIBatchTaskError: The error is retryable.
    :raises OpenAIBatchTaskFailed: The error is not retryable.
    """
    try:
        yield
    except OpenAIBatchError as error:
        raise translated(error) from error


def translated(error: OpenAIBatchError) -> AirflowException:
    """
    Return the Airflow exception for an error of this package.

    :param error: The error; its ``retryable`` decides about the class.
    """
    kind: type[AirflowException] = OpenAIBatchTaskError if error.retryable else OpenAIBatchTaskFailed
    return kind(str(error))
