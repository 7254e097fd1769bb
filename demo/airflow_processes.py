"""
Airflow as it runs in production, on this machine and for a few minutes: scheduler, triggerer, dag-processor and
api-server as processes of their own, LocalExecutor, SQLite, a temporary home, free ports. The demo and the system tests
use it.

What it starts it ends, in every way in which its block can be left. Each component can be stopped, killed, frozen and
restarted by itself, and triggerers can be added, which is how the fault tests do what a bad day does.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import socket
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack, closing
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from demo.airflow_api import AirflowApi
from demo.processes import BackgroundProcess, Reaper, end_sessions
from demo.waiting import Patience

log = logging.getLogger(__name__)

#: Seconds a component waits for SQLite's one writer.
SQLITE_TIMEOUT = 30

#: Seconds between two looks at a component that starts.
TICK = 0.3

#: Component → type of the job that it reports its heartbeats under.
JOB_TYPES = {"scheduler": "SchedulerJob", "triggerer": "TriggererJob", "dag-processor": "DagProcessorJob"}


class AirflowProcesses:
    """
    A running Airflow; use as a context manager.

    :param dags_folder: Folder of the DAG files; it is read where it stands.
    :param connections: Connection id → fields as in Airflow's JSON form (``conn_type``, ``host``, ``password``,
        ``extra`` …).
    :param config: ``section.key`` → value of Airflow's configuration.
    :param environment: More variables for every component.
    :param parallelism: Tasks that may run at once; a deferred task is none.
    :param say: Called with what is waited for while it starts.
    """

    def __init__(
        self,
        dags_folder: Path,
        *,
        connections: Mapping[str, Mapping[str, Any]] | None = None,
        config: Mapping[str, str] | None = None,
        environment: Mapping[str, str] | None = None,
        parallelism: int = 4,
        say: Callable[[str], None] = log.debug,
    ) -> None:
        self.dags_folder, self.parallelism, self._say = dags_folder, parallelism, say
        self._connections, self._config, self._environment = connections or {}, config or {}, environment or {}
        self._components: dict[str, BackgroundProcess] = {}
        self._cleanup = ExitStack()

    def __enter__(self) -> Self:
        self.home = Path(tempfile.mkdtemp(prefix="airflow-provider-batch-"))
        self._reaper = self._cleanup.enter_context(Reaper(self.home))
        self.environment = self._make_environment()
        try:
            self._start_all()
        except BaseException as error:
            self._end(keep_home=isinstance(error, Exception))
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(keep_home=isinstance(error, Exception))

    @property
    def logs(self) -> Path:
        """Folder of the components' output and of the tasks' logs."""
        return self.home / "logs"

    @property
    def _database(self) -> Path:
        return self.home / "airflow.db"

    def component(self, name: str) -> BackgroundProcess:
        """Return a component: ``scheduler``, ``triggerer``, ``dag-processor``, ``api-server`` or an added one."""
        return self._components[name]

    def restart(self, name: str) -> None:
        """Stop a component if it runs, start it again and return once it works."""
        self.component(name).restart()
        self.wait_for_component(name)

    def add_triggerer(self) -> BackgroundProcess:
        """Start one more triggerer and return it once it works; its name is ``triggerer-2`` and so on."""
        number = sum(name.startswith("triggerer") for name in self._components) + 1
        component = self._start(f"triggerer-{number}", "triggerer", "--skip-serve-logs")
        self.wait_for_component(component.name)
        return component

    def wait_for_component(self, name: str) -> None:
        """Return once a component has reported for duty since it was last started."""
        component, job_type = self.component(name), JOB_TYPES.get(name.rstrip("-0123456789"))

        def works() -> bool:
            if job_type is None:
                return bool(self.api.health())
            return any(_started_at(job) >= component.started_at for job in self.api.alive_jobs(job_type))

        self._say(name)
        self.patience.wait_until(f"{name} works", works, tick=TICK)

    def wait_for_dags(self, dag_ids: Collection[str]) -> None:
        """Return once these DAGs are parsed; raise RuntimeError with the trace when a file cannot be."""

        def parsed() -> bool:
            if errors := self.api.import_errors():
                raise RuntimeError("A DAG file cannot be read:\n" + "\n".join(errors))
            return set(dag_ids) <= self.api.dag_ids()

        self._say("the DAGs" if len(dag_ids) > 1 else "the DAG")
        self.patience.wait_until(f"DAGs {', '.join(dag_ids)} are parsed", parsed, tick=TICK)

    def _needed(self) -> list[BackgroundProcess]:
        """Return the components that nobody has stopped on purpose."""
        return [component for component in self._components.values() if component.is_needed]

    def require_running(self) -> None:
        """Raise ProcessEndedError with the end of its log if a component has ended by itself."""
        for component in self._needed():
            component.require_running()

    def _start_all(self) -> None:
        # The scheduler would otherwise race the others for the tables; this also writes the configuration file.
        self._say("the metadata database")
        migration = self._run("db-migrate", "db", "migrate")
        waiting = Patience(lambda: [migration] if migration.is_running else [], [migration.log])
        waiting.wait_until("the metadata database is made", lambda: not migration.is_running)
        migration.collect()
        if migration.exit_code:
            raise RuntimeError(f"airflow db migrate failed:\n{migration.tail()}")
        # So that a reader, and there are four components, does not lock out the writer.
        with closing(sqlite3.connect(self._database)) as database:
            database.execute("PRAGMA journal_mode=WAL")
        self._start("api-server", "api-server", "--host", "127.0.0.1", "--port", str(self.port))
        self._start("scheduler", "scheduler", "--skip-serve-logs")
        self._start("dag-processor", "dag-processor")
        self._start("triggerer", "triggerer", "--skip-serve-logs")
        for name in list(self._components):
            self.wait_for_component(name)

    def _start(self, name: str, *arguments: str) -> BackgroundProcess:
        self._components[name] = component = self._run(name, *arguments)
        return component

    def _run(self, name: str, *arguments: str) -> BackgroundProcess:
        command = [sys.executable, "-m", "airflow", *arguments]
        process = BackgroundProcess(name, command, self.environment, self.logs / f"{name}.log", self._reaper)
        process.start()
        return process

    def _end(self, *, keep_home: bool) -> None:
        # By force: the home is temporary, so there is nothing that a component could still put in order.
        started = [component for component in self._components.values() if component.is_started]
        end_sessions([component.pid for component in started], patience=0)
        for component in started:
            component.collect()
        if keep_home:
            log.warning("Airflow's logs are kept in %s", self.logs)
            self._reaper.keep()
        self._cleanup.close()
        self._components.clear()

    def _make_environment(self) -> dict[str, str]:
        self.logs.mkdir()
        self.port = free_port()
        address = f"http://127.0.0.1:{self.port}"
        self.patience = Patience(self._needed, [self.logs])
        self.api = AirflowApi(address, self.patience)
        config = {
            "core.executor": "LocalExecutor",
            "core.dags_folder": str(self.dags_folder.resolve()),
            "core.load_examples": "False",
            "core.parallelism": str(self.parallelism),
            "core.dags_are_paused_at_creation": "False",
            "core.execution_api_server_url": f"{address}/execution/",
            "core.simple_auth_manager_all_admins": "True",
            "core.fernet_key": _secret(),
            "api.base_url": address,
            "api.port": str(self.port),
            "api.workers": "1",
            "api.secret_key": _secret(),
            "api_auth.jwt_secret": _secret(),
            "database.sql_alchemy_conn": f"sqlite:///{self._database}?timeout={SQLITE_TIMEOUT}",
            "database.load_default_connections": "False",
            "logging.base_log_folder": str(self.logs),
            "scheduler.scheduler_idle_sleep_time": "0.2",
            # DAG files are read once, at the start: nobody edits them meanwhile.
            "dag_processor.refresh_interval": "300",
            "dag_processor.min_file_process_interval": "300",
            "usage_data_collection.enabled": "False",
            **self._config,
        }
        # The user's own Airflow and keys must neither shine through nor be touched.
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "OPENAI_"))}
        # Without compiled modules every component pays seconds for its imports, at every start of a task.
        inherited.pop("PYTHONDONTWRITEBYTECODE", None)
        return {
            **inherited,
            "AIRFLOW_HOME": str(self.home),
            **{f"AIRFLOW__{name.replace('.', '__').upper()}": value for name, value in config.items()},
            **{f"AIRFLOW_CONN_{name.upper()}": json.dumps(fields) for name, fields in self._connections.items()},
            # What we talk to is on this machine.
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
            **self._environment,
        }


def free_port() -> int:
    """Return a port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _started_at(job: Mapping[str, Any]) -> float:
    return datetime.fromisoformat(job["start_date"]).timestamp()


def _secret() -> str:
    return base64.urlsafe_b64encode(os.urandom(32)).decode()
