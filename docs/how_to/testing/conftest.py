"""A home for Airflow that is nobody's, and the Batch API on this machine."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

# Airflow reads these when it is first imported.
os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="airflow-tests-")
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
os.environ["AIRFLOW__CORE__DAGS_FOLDER"] = str(Path(os.environ.get("DAGS_FOLDER", "dags")).absolute())

from airflow_provider_batch.emulator.testing import Emulator, running_emulator


@pytest.fixture(scope="session", autouse=True)
def airflow_database() -> None:
    """An empty metadata database, which ``dag.test()`` needs."""
    from airflow.utils import db

    db.initdb()


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    """The Batch API on this machine, and the connection that leads to it."""
    with running_emulator() as running, pytest.MonkeyPatch.context() as patch:
        connection = {"conn_type": "openai_batch", "host": running.base_url, "password": "any-key"}
        patch.setenv("AIRFLOW_CONN_OPENAI_DEFAULT", json.dumps(connection))
        yield running
