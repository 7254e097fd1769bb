"""Our errors as Airflow's: what no retry mends fails the task at once, the rest leaves it to the task's `retries`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from airflow_provider_batch.exceptions import OpenAIBatchError


class OpenAIBatchTaskError(AirflowException):
    """A task of this package failed in a way that another attempt can mend."""


class OpenAIBatchTaskFailed(AirflowFailException):
    """A task of this package failed, and would fail again."""


@contextmanager
def airflow_errors() -> Iterator[None]:
    """
    Turn our errors into Airflow's within a block, with their message and the original as the cause.

    :raises OpenAIBatchTaskError: Where trying again can help.
    :raises OpenAIBatchTaskFailed: Where it cannot: Airflow does not retry the task.
    """
    try:
        yield
    except OpenAIBatchError as error:
        raise translated(error) from error


def translated(error: OpenAIBatchError) -> AirflowException:
    """Return Airflow's form of one of our errors."""
    kind: type[AirflowException] = OpenAIBatchTaskError if error.retryable else OpenAIBatchTaskFailed
    return kind(str(error))
