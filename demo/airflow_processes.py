"""
Run Airflow on this machine for some minutes, as in production; the demo and the system tests use it.

Scheduler, triggerer, dag-processor and api-server are processes of their own, with LocalExecutor, SQLite, a temporary
home and free ports. All processes end with the ``with`` block, however it is left. Each component can be stopped,
killed, frozen and restarted by itself, and triggerers can be added: the fault tests need it.
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

from demo import airflow_generations
from demo.airflow_api import AirflowApi
from demo.processes import BackgroundProcess, Reaper, end_sessions
from demo.waiting import Patience

log = logging.getLogger(__name__)

#: Seconds that a component waits while another one writes to SQLite.
SQLITE_TIMEOUT = 30

#: Seconds between two polls of a component that starts.
TICK = 0.3


class AirflowProcesses:
    """
    A running Airflow; use it as a context manager.

    :param dags_folder: Folder of the DAG files; Airflow reads it in place.
    :param connections: Connection id → fields in Airflow's JSON form (``conn_type``, ``host``, ``password``, ``extra``
        …).
    :param config: ``section.key`` → value of Airflow's configuration.
    :param environment: More environment variables for every component.
    :param parallelism: Tasks that may run at one time; deferred tasks do not count.
    :param say: Called with the name of the component that the start waits for.
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
        self.generation = airflow_generations.installed()
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
        """
        Return the process of a component.

        :param name: ``scheduler``, ``triggerer``, ``dag-processor``, ``api-server``, or the name of an added triggerer.
        """
        return self._components[name]

    def restart(self, name: str) -> None:
        """
        Stop a component if it runs, start it again, and wait until it works.

        :param name: Name of the component.
        """
        self.component(name).restart()
        self.wait_for_component(name)

    def add_triggerer(self) -> BackgroundProcess:
        """Start one more triggerer, named ``triggerer-2`` and so on, wait until it works, and return it."""
        number = sum(name.startswith("triggerer") for name in self._components) + 1
        component = self._start(f"triggerer-{number}", "triggerer", "--skip-serve-logs")
        self.wait_for_component(component.name)
        return component

    def wait_for_component(self, name: str) -> None:
        """
        Wait until a component has sent a heartbeat since its latest start.

        :param name: Name of the component.
        """
        component, job_type = self.component(name), self.generation.job_types.get(name.rstrip("-0123456789"))

        def works() -> bool:
            if job_type is None:
                return bool(self.api.health())
            return any(_started_at(job) >= component.started_at for job in self.api.alive_jobs(job_type))

        self._say(name)
        self.patience.wait_until(f"{name} works", works, tick=TICK)

    def wait_for_dags(self, dag_ids: Collection[str]) -> None:
        """
        Wait until DAGs are parsed.

        :param dag_ids: Ids of the DAGs.
        :raises RuntimeError: A DAG file cannot be parsed; the message holds the traceback.
        """

        def parsed() -> bool:
            if errors := self.api.import_errors():
                raise RuntimeError("A DAG file cannot be read:\n" + "\n".join(errors))
            return set(dag_ids) <= self.api.dag_ids()

        self._say("the DAGs" if len(dag_ids) > 1 else "the DAG")
        self.patience.wait_until(f"DAGs {', '.join(dag_ids)} are parsed", parsed, tick=TICK)

    def _needed(self) -> list[BackgroundProcess]:
        """Return the components that were not stopped on purpose."""
        return [component for component in self._components.values() if component.is_needed]

    def require_running(self) -> None:
        """
        Check that no component has ended by itself.

        :raises ProcessEndedError: One has ended; the message holds the end of its log.
        """
        for component in self._needed():
            component.require_running()

    def _start_all(self) -> None:
        # Before all components, which would create tables at the same time. It also writes the configuration file.
        self._say("the metadata database")
        migration = self._run("db-migrate", "db", "migrate")
        waiting = Patience(lambda: [migration] if migration.is_running else [], [migration.log])
        waiting.wait_until("the metadata database is made", lambda: not migration.is_running)
        migration.collect()
        if migration.exit_code:
            raise RuntimeError(f"airflow db migrate failed:\n{migration.tail()}")
        # With WAL, readers (there are four components) do not block the writer.
        with closing(sqlite3.connect(self._database)) as database:
            database.execute("PRAGMA journal_mode=WAL")
        for name, arguments in self.generation.components.items():
            self._start(name, *(argument.format(port=self.port) for argument in arguments))
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
        # By force: the home is temporary, so that a clean shutdown has nothing to save.
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
        for name, text in self.generation.files.items():
            (self.home / name).write_text(text)
        self.port = free_port()
        address = f"http://127.0.0.1:{self.port}"
        self.patience = Patience(self._needed, [self.logs])
        self.api = AirflowApi(address, self.patience, self.generation)
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
            "api.auth_backends": "airflow.api.auth.backend.default",
            "api_auth.jwt_secret": _secret(),
            "database.sql_alchemy_conn": f"sqlite:///{self._database}?timeout={SQLITE_TIMEOUT}",
            "database.load_default_connections": "False",
            "logging.base_log_folder": str(self.logs),
            "scheduler.scheduler_idle_sleep_time": "0.2",
            # DAG files are read once, at the start: they do not change.
            "dag_processor.refresh_interval": "300",
            "dag_processor.min_file_process_interval": "300",
            "usage_data_collection.enabled": "False",
            **self._config,
        }
        # The user's own Airflow settings and API keys are neither used nor changed.
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "OPENAI_"))}
        # Without compiled modules each start of a component or a task takes seconds longer.
        inherited.pop("PYTHONDONTWRITEBYTECODE", None)
        return {
            **inherited,
            "AIRFLOW_HOME": str(self.home),
            **{f"AIRFLOW__{name.replace('.', '__').upper()}": value for name, value in config.items()},
            **{f"AIRFLOW_CONN_{name.upper()}": json.dumps(fields) for name, fields in self._connections.items()},
            # All servers run on this machine.
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
            **self.generation.environment,
            **self._environment,
        }


def free_port() -> int:
    """Return a free port of this machine."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _started_at(job: Mapping[str, Any]) -> float:
    return datetime.fromisoformat(job["start_date"]).timestamp()


def _secret() -> str:
    return base64.urlsafe_b64encode(os.urandom(32)).decode()
