"""What all tests of operators start from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_batch.emulator.testing import Emulator
from airflow_provider_batch.operators.openai_batch import OpenAIBatchOperator
from tests.jobs.support import BODY


@pytest.fixture
def operator(emulator: Emulator, connection: Callable[..., str], tmp_path: Path) -> Callable[..., OpenAIBatchOperator]:
    """Make an operator that talks to the emulator; a test gives the source."""
    connection(host=emulator.base_url)

    def make(**changes: Any) -> OpenAIBatchOperator:
        given = {
            "task_id": "task",
            "endpoint": "/v1/chat/completions",
            "body": BODY,
            "destination": str(tmp_path / "table"),
            "poll_interval": 0.05,
            "max_shard_rows": 10,
            **changes,
        }
        return OpenAIBatchOperator(**given)

    return make
