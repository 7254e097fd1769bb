"""Call Airflow's REST API: a small client for the demo and the system tests."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from demo.airflow_generations import AIRFLOW_2, Generation, installed
from demo.waiting import NotReadyError, Patience

#: Final states of a run or a task instance.
FINISHED = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})

#: Fields of a log message that are left out: they are the same for all lines of one task's log, or are shown anyway.
LOG_NOISE = frozenset(
    {"timestamp", "event", "level", "logger", "filename", "lineno", "loc"}
    | {"dag_id", "task_id", "run_id", "map_index", "try_number", "ti_id"}
)

#: Seconds to wait for an answer; after them a wait sends the request again.
REQUEST_TIMEOUT = 300.0
#: Seconds between two polls of a task or a run; each costs the API server processor time.
TICK = 0.5


class AirflowApiError(RuntimeError):
    """
    Airflow answered with an error.

    :param status: HTTP status.
    :param message: Method, path and body of the answer.
    """

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        super().__init__(f"{status}: {message}")


class AirflowUnavailableError(OSError):
    """Airflow cannot answer now, for example while its database is locked; a wait tries again."""


class RunFailedError(RuntimeError):
    """A run did not end as expected; the message holds the logs of its tasks and the scheduler's notes about them."""


@dataclass(frozen=True)
class Pool:
    """
    Slots of a pool at one moment.

    :param total: Size of the pool.
    :param running: Slots of running tasks.
    :param queued: Slots of queued tasks.
    :param deferred: Deferred tasks; they hold no slot.
    :param open: Free slots.
    """

    total: int
    running: int
    queued: int
    deferred: int
    open: int


class AirflowApi:
    """
    Client of Airflow's REST API on this machine; it uses no proxy.

    :param base_url: Address of the API server, without a trailing slash.
    :param patience: How long to wait for tasks and runs; None takes the defaults.
    :param generation: Major version of Airflow; None takes the one that is installed.
    """

    def __init__(self, base_url: str, patience: Patience | None = None, generation: Generation | None = None) -> None:
        self.base_url, self.generation = base_url, generation or installed()
        self.patience = patience or Patience()
        self._token: str | None = None
        self._open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open

    def health(self) -> dict[str, Any]:
        """
        Return the health of each component.

        :raises OSError: The server does not run yet.
        """
        return self._ask("GET", self.generation.health, authenticated=False)

    def alive_jobs(self, job_type: str) -> list[dict[str, Any]]:
        """
        Return the components of a type that have sent a recent heartbeat.

        :param job_type: Type of the job, such as ``SchedulerJob``.
        """
        if self.generation is AIRFLOW_2:  # it has no list of jobs
            component = job_type.removesuffix("Job").lower()
            heartbeat = self.health()[component][f"latest_{component}_heartbeat"]
            return [{"start_date": heartbeat}] if heartbeat else []
        jobs: list[dict[str, Any]] = self.get("/jobs", job_type=job_type, is_alive="true", limit="100")["jobs"]
        return jobs

    def dag_ids(self) -> set[str]:
        """Return the ids of all DAGs that were parsed."""
        return {dag["dag_id"] for dag in self.get("/dags", limit="500")["dags"]}

    def import_errors(self) -> list[str]:
        """Return the tracebacks of DAG files that cannot be parsed."""
        return [error["stack_trace"] for error in self.get("/importErrors")["import_errors"]]

    def trigger(self, dag_id: str, conf: Mapping[str, Any] | None = None, logical_date: str | None = None) -> str:
        """
        Start a run and return its id.

        :param dag_id: Id of the DAG.
        :param conf: Values of the DAG's params; None takes their defaults.
        :param logical_date: ISO 8601; without one templates have no ``ds``.
        """
        # The client chooses the id: a request that is sent again after a lost answer starts no second run.
        run_id = f"manual__{uuid.uuid4().hex}"
        body: dict[str, Any] = {"dag_run_id": run_id, "conf": dict(conf or {})}
        if logical_date is not None or self.generation is not AIRFLOW_2:
            body["logical_date"] = logical_date
        try:
            self.post(f"/dags/{dag_id}/dagRuns", body)
        except AirflowApiError as error:
            if error.status != 409:
                raise
        return run_id

    def dag_runs(self, dag_id: str) -> list[dict[str, Any]]:
        """
        Return the runs of a DAG.

        :param dag_id: Id of the DAG.
        """
        runs: list[dict[str, Any]] = self.get(f"/dags/{dag_id}/dagRuns", limit="100")["dag_runs"]
        return runs

    def asset_events(self) -> list[dict[str, Any]]:
        """Return the events of all assets; each has ``uri`` and ``extra``."""
        path, key = self.generation.asset_events
        events = self.get(path, limit="100")[key]
        return [{"uri": event[self.generation.asset_uri], "extra": event["extra"]} for event in events]

    def run_state(self, dag_id: str, run_id: str) -> str:
        """
        Return the state of a run.

        :param dag_id: Id of the DAG.
        :param run_id: Id of the run.
        """
        state: str = self.get(f"/dags/{dag_id}/dagRuns/{run_id}")["state"]
        return state

    def task_instances(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """
        Return all task instances of a run, mapped ones included.

        :param dag_id: Id of the DAG.
        :param run_id: Id of the run.
        """
        page = self.get(f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances", limit="1000")
        instances: list[dict[str, Any]] = page["task_instances"]
        return instances

    def task_instance(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> dict[str, Any]:
        """
        Return one task instance.

        :param dag_id: Id of the DAG.
        :param run_id: Id of the run.
        :param task_id: Id of the task.
        :param map_index: Index of a mapped task; -1 for a task that is not mapped.
        """
        suffix = "" if map_index < 0 else f"/{map_index}"
        return self.get(f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}{suffix}")

    def task_state(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> str | None:
        """
        Return the state of one task instance; None before it is scheduled.

        :param dag_id: Id of the DAG.
        :param run_id: Id of the run.
        :param task_id: Id of the task.
        :param map_index: Index of a mapped task; -1 for a task that is not mapped.
        """
        state: str | None = self.task_instance(dag_id, run_id, task_id, map_index)["state"]
        return state

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value", map_index: int = -1) -> Any:
        """
        Return an XCom value; None where the key has none.

        :param dag_id: Id of the DAG.
        :param run_id: Id of the run.
        :param task_id: Id of the task.
        :param key: Key of the XCom.
        :param map_index: Index of a mapped task; -1 for a task that is not mapped.
        """
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/{key}"
        try:
            return self.get(path, map_index=str(map_index), stringify="false")["value"]
        except AirflowApiError as error:
            if error.status == 404:
                return None
            raise

    def task_log(self, dag_id: str, run_id: str, task_id: str, attempt: int = 1, map_index: int = -1) -> str:
        """
        Return the log of one attempt as text, one line for each message.

        :param dag_id: Id of the DAG.
        :param run_id: Id of the run.
        :param task_id: Id of the task.
        :param attempt: Number of the attempt, from 1.
        :param map_index: Index of a mapped task; -1 for a task that is not mapped.
        """
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{attempt}"
        content = self.get(path, full_content="true", map_index=str(map_index))["content"]
        if isinstance(content, str):
            return content
        return "\n".join(line if isinstance(line, str) else _log_line(line) for line in content)

    def pool(self, name: str = "default_pool") -> Pool:
        """
        Return the use of a pool's slots.

        :param name: Name of the pool.
        """
        answer = self.get(f"/pools/{name}")
        return Pool(
            total=answer["slots"],
            running=answer["running_slots"],
            queued=answer["queued_slots"],
            deferred=answer["deferred_slots"],
            open=answer["open_slots"],
        )

    def clear(self, dag_id: str, run_id: str, task_ids: Sequence[str]) -> None:
        """
        Clear task instances of a run, as the button in the UI does: they run again.

        :param dag_id: Id of the DAG.
        :param run_id: Id of the run.
        :param task_ids: Ids of the tasks.
        """
        body = {"dag_run_id": run_id, "task_ids": list(task_ids), "dry_run": False}
        body |= {"only_failed": False, "reset_dag_runs": True}
        self.post(f"/dags/{dag_id}/clearTaskInstances", body)

    def mark(self, dag_id: str, run_id: str, task_id: str, state: str) -> None:
        """
        Mark a task instance as success or failed, as the button in the UI does.

        :param dag_id: Id of the DAG.
        :param run_id: Id of the run.
        :param task_id: Id of the task.
        :param state: New state.
        """
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}"
        self._send("PATCH", f"{self.generation.api}{path}", {"new_state": state})

    def wait_for_task(
        self,
        dag_id: str,
        run_id: str,
        task_id: str,
        states: Sequence[str],
        *,
        on_poll: Callable[[str | None], None] | None = None,
    ) -> str:
        """
        Wait until a task is in one of some states, and return its state.

        :param dag_id: Id of the DAG.
        :param run_id: Id of the run.
        :param task_id: Id of the task.
        :param states: States to wait for.
        :param on_poll: Called with the state at every poll.
        :raises RunFailedError: The task has finished in another state; the message ends with its log.
        :raises NotReadyError: The run shows no activity any more.
        """
        seen: list[str | None] = [None]

        def reached() -> bool:
            seen.append(self.task_state(dag_id, run_id, task_id))
            if on_poll is not None:
                on_poll(seen[-1])
            if seen[-1] in FINISHED and seen[-1] not in states:
                wanted = ", ".join(states)
                raise RunFailedError(
                    f"{dag_id}.{task_id} is {seen[-1]}, not one of {wanted}.\n{self.run_report(dag_id, run_id)}"
                )
            return seen[-1] in states

        self._wait(f"{dag_id}.{task_id} is one of {', '.join(states)}", reached, dag_id, run_id)
        return str(seen[-1])

    def wait_for_run(self, dag_id: str, run_id: str) -> str:
        """
        Wait until a run has finished, and return its state.

        :param dag_id: Id of the DAG.
        :param run_id: Id of the run.
        :raises NotReadyError: The run shows no activity any more.
        """
        seen: list[str] = []

        def finished() -> bool:
            seen.append(self.run_state(dag_id, run_id))
            return seen[-1] in FINISHED

        self._wait(f"the run {run_id} of {dag_id} has finished", finished, dag_id, run_id)
        return seen[-1]

    def wait_for_success(self, dag_id: str, run_id: str) -> None:
        """
        Wait until a run has succeeded.

        :param dag_id: Id of the DAG.
        :param run_id: Id of the run.
        :raises RunFailedError: The run has failed; the message holds the logs of its tasks.
        :raises NotReadyError: The run shows no activity any more.
        """
        if (state := self.wait_for_run(dag_id, run_id)) != "success":
            raise RunFailedError(f"The run {run_id} of {dag_id} is {state}.\n{self.run_report(dag_id, run_id)}")

    def _wait(self, what: str, condition: Callable[[], bool], dag_id: str, run_id: str) -> None:
        def state() -> str:
            tasks = self.task_instances(dag_id, run_id)
            return ", ".join(f"{task['task_id']} [{task['map_index']}] {task['state']}" for task in tasks)

        try:
            self.patience.wait_until(what, condition, state=state, tick=TICK)
        except NotReadyError as error:
            raise NotReadyError(f"{error}\n{self.run_report(dag_id, run_id)}") from None

    def run_report(self, dag_id: str, run_id: str) -> str:
        """
        Return the logs of a run's tasks and the scheduler's notes about them.

        :param dag_id: Id of the DAG.
        :param run_id: Id of the run.
        """
        parts = []
        for task in self.task_instances(dag_id, run_id):
            if task["try_number"]:
                parts.append(f"{task['task_id']} [{task['map_index']}] is {task['state']}. Its log:")
                parts.append(self.task_log(dag_id, run_id, task["task_id"], task["try_number"], task["map_index"]))
        notes = self.get("/eventLogs", dag_id=dag_id, run_id=run_id, limit="100")["event_logs"]
        parts += [f"{n['when']} {n['event']}, {n['task_id']}: {n['extra']}" for n in notes if n["extra"]]
        return "\n".join(parts)

    def get(self, path: str, **query: str) -> dict[str, Any]:
        """
        Send a GET and return the decoded answer.

        :param path: Path below ``/api/v2``, or ``/api/v1`` of Airflow 2.
        :param query: Query parameters.
        """
        return self._send(
            "GET", f"{self.generation.api}{path}" + (f"?{urllib.parse.urlencode(query)}" if query else "")
        )

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """
        Send a POST and return the decoded answer.

        :param path: Path below ``/api/v2``, or ``/api/v1`` of Airflow 2.
        :param body: Body, sent as JSON.
        """
        return self._send("POST", f"{self.generation.api}{path}", body)

    def _send(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Send a request until Airflow can answer: on a busy machine its database is locked at times."""
        answers: list[dict[str, Any]] = []

        def is_answered() -> bool:
            answers.append(self._ask(method, path, body))
            return True

        self.patience.wait_until(f"Airflow answers {method} {path}", is_answered, tick=TICK)
        return answers[0]

    def _ask(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, authenticated: bool = True
    ) -> dict[str, Any]:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if authenticated and self.generation.token is not None:
            headers["Authorization"] = f"Bearer {self._get_token()}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self.base_url + urllib.parse.quote(path, safe="/?&=%"), data, headers, method=method
        )
        try:
            with self._open(request, timeout=REQUEST_TIMEOUT) as response:
                answer: dict[str, Any] = json.loads(response.read() or b"null")
                return answer
        except urllib.error.HTTPError as error:
            message = f"{method} {path}: {error.read().decode(errors='replace')}"
            if error.code >= 500:
                raise AirflowUnavailableError(f"{error.code}: {message}") from None
            raise AirflowApiError(error.code, message) from None

    def _get_token(self) -> str:
        if self._token is None:
            self._token = self._ask("GET", str(self.generation.token), authenticated=False)["access_token"]
        return self._token


def _log_line(message: Mapping[str, Any]) -> str:
    details = {key: value for key, value in message.items() if key not in LOG_NOISE}
    errors = [f"\n    {error['exc_type']}: {error['exc_value']}" for error in details.pop("error_detail", None) or []]
    head = f"{message.get('timestamp') or ''} {str(message.get('level', '')).upper():<7} {message.get('event', '')}"
    return head + (f"  {details}" if details else "") + "".join(errors)
