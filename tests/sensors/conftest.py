"""What all tests of the sensor start from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest.mock import MagicMock

import pytest

from airflow_provider_batch.sensors.openai_batch import OpenAIBatchSensor
from tests.api.stub import StubApi


@pytest.fixture
def sensor(stub: StubApi, connection: Callable[..., str]) -> Callable[..., OpenAIBatchSensor]:
    def make(batch_id: Any = "b1", **given: Any) -> OpenAIBatchSensor:
        conn_id = connection(host=stub.base_url, extra={"max_retries": 0})
        return OpenAIBatchSensor(task_id="wait", batch_id=batch_id, conn_id=conn_id, **{"poke_interval": 0.01, **given})

    return make


@pytest.fixture
def context() -> Any:
    ti = MagicMock()
    ti.get_first_reschedule_date.return_value = None
    return {"ti": ti}
