"""What differs between Airflow 2 and Airflow 3 when their processes are run and their REST API is called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version


@dataclass(frozen=True, slots=True)
class Generation:
    """
    A major version of Airflow.

    :param components: Component → arguments of the `airflow` command; ``{port}`` is the port of the API.
    :param job_types: Component → type of the job that sends its heartbeats.
    :param api: Path of the REST API.
    :param health: Path of the health endpoint.
    :param asset_events: Path of the events of assets, below the REST API; and the key of its list.
    :param asset_uri: Key of the asset's URI in an event.
    :param token: Path that gives a token; None if requests need none.
    :param environment: More environment variables of its processes.
    :param files: File of Airflow's home → its text.
    """

    components: Mapping[str, tuple[str, ...]]
    job_types: Mapping[str, str]
    api: str
    health: str
    asset_events: tuple[str, str]
    asset_uri: str
    token: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)


AIRFLOW_3 = Generation(
    components={
        "api-server": ("api-server", "--host", "127.0.0.1", "--port", "{port}"),
        "scheduler": ("scheduler", "--skip-serve-logs"),
        "dag-processor": ("dag-processor",),
        "triggerer": ("triggerer", "--skip-serve-logs"),
    },
    job_types={"scheduler": "SchedulerJob", "triggerer": "TriggererJob", "dag-processor": "DagProcessorJob"},
    api="/api/v2",
    health="/api/v2/monitor/health",
    asset_events=("/assets/events", "asset_events"),
    asset_uri="uri",
    token="/auth/token",
)

AIRFLOW_2 = Generation(
    components={
        "webserver": ("webserver", "--hostname", "127.0.0.1", "--port", "{port}", "--workers", "1"),
        "scheduler": ("scheduler", "--skip-serve-logs"),
        "triggerer": ("triggerer", "--skip-serve-logs"),
    },
    job_types={"scheduler": "SchedulerJob", "triggerer": "TriggererJob"},
    api="/api/v1",
    health="/api/v1/health",
    asset_events=("/datasets/events", "dataset_events"),
    asset_uri="dataset_uri",
    # It takes LocalExecutor with SQLite for unsafe: fine for some minutes, with SQLite's write-ahead log.
    environment={"_AIRFLOW__SKIP_DATABASE_EXECUTOR_COMPATIBILITY_CHECK": "1"},
    # Requests without a user are those of an administrator: the server listens on this machine alone, for minutes.
    files={"webserver_config.py": "AUTH_ROLE_PUBLIC = 'Admin'\n"},
)


def installed() -> Generation:
    """Return the generation of the Airflow that is installed in this environment."""
    try:
        version("apache-airflow-core")
    except PackageNotFoundError:
        return AIRFLOW_2
    return AIRFLOW_3
