"""Our errors as Airflow's."""

from __future__ import annotations

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from airflow_provider_batch import exceptions
from airflow_provider_batch.utils.airflow_errors import airflow_errors

EVERY_ERROR = [
    kind
    for kind in vars(exceptions).values()
    if isinstance(kind, type) and issubclass(kind, exceptions.OpenAIBatchError)
]


@pytest.mark.parametrize("kind", EVERY_ERROR)
def test_only_what_a_retry_can_mend_leaves_airflow_its_retries(kind: type[exceptions.OpenAIBatchError]) -> None:
    with pytest.raises(AirflowException, match="what to do") as caught, airflow_errors():
        raise kind("what to do")
    assert isinstance(caught.value, AirflowFailException) is not kind.retryable
    assert isinstance(caught.value.__cause__, kind)


def test_other_errors_pass() -> None:
    with pytest.raises(KeyError), airflow_errors():
        raise KeyError("x")
