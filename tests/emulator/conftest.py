"""A client of the emulator."""

from __future__ import annotations

import openai
import pytest

from airflow_provider_batch.emulator.testing import Emulator
from tests.emulator.support import client_of


@pytest.fixture
def client(emulator: Emulator) -> openai.OpenAI:
    """The official SDK, one try a call."""
    return client_of(emulator.base_url)
