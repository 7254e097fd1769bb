"""A small client for Airflow's REST API: what the demo and the system tests ask of it, and no more."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from demo.waiting import NotReadyError, Patience

#: States after which a run or a task instance does not change by itself.
FINISHED = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})

#: Fields of a log message that say nothing a reader of one task's log does not know.
LOG_NOISE = frozenset(
    {"timestamp", "event", "level", "logger", "filename", "lineno", "loc"}
    | {"dag_id", "task_id", "run_id", "map_index", "try_number", "ti_id"}
)

#: Seconds after which an unanswered request is given up; a wait asks again then.
REQUEST_TIMEOUT = 300.0
#: Seconds between two looks at a task or a run; each costs the API server some processor time.
TICK = 0.5


class AirflowApiError(RuntimeError):
    """Airflow answered with an error; `status` is the HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        super().__init__(f"{status}: {message}")


class AirflowUnavailableError(OSError):
    """Airflow cannot answer now, such as while its database is locked: a wait asks again."""


class RunFailedError(RuntimeError):
    """A run did not end as it should; the message holds the tasks' logs and what the scheduler noted about them."""


@dataclass(frozen=True)
class Pool:
    """Slots of a pool at one moment."""

    total: int
    running: int
    queued: int
    deferred: int
    open: int


class AirflowApi:
    """
    Airflow's REST API on this machine, without a proxy in between.

    :param base_url: Address of the API server, without a trailing slash.
    :param patience: How long to wait for tasks and runs.
    """

    def __init__(self, base_url: str, patience: Patience | None = None) -> None:
        self.base_url = base_url
        self.patience = patience or Patience()
        self._token: str | None = None
        self._open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open

    def health(self) -> dict[str, Any]:
        """Return what each component last said; raise OSError while the server is not up."""
        return self._ask("GET", "/api/v2/monitor/health", authenticated=False)

    def alive_jobs(self, job_type: str) -> list[dict[str, Any]]:
        """Return the components of a type that have sent a heartbeat lately."""
        jobs: list[dict[str, Any]] = self.get("/jobs", job_type=job_type, is_alive="true", limit="100")["jobs"]
        return jobs

    def dag_ids(self) -> set[str]:
        """Return the ids of all DAGs that were parsed."""
        return {dag["dag_id"] for dag in self.get("/dags", limit="500")["dags"]}

    def import_errors(self) -> list[str]:
        """Return what went wrong while DAG files were parsed."""
        return [error["stack_trace"] for error in self.get("/importErrors")["import_errors"]]

    def trigger(self, dag_id: str, conf: Mapping[str, Any] | None = None, logical_date: str | None = None) -> str:
        """
        Start a run and return its id.

        :param conf: Values of the DAG's params.
        :param logical_date: ISO 8601; without one templates have no ``ds``.
        """
        # With an id of ours, a request whose answer was lost can be sent again: it starts no second run.
        run_id = f"manual__{uuid.uuid4().hex}"
        body = {"dag_run_id": run_id, "logical_date": logical_date, "conf": dict(conf or {})}
        try:
            self.post(f"/dags/{dag_id}/dagRuns", body)
        except AirflowApiError as error:
            if error.status != 409:
                raise
        return run_id

    def run_state(self, dag_id: str, run_id: str) -> str:
        """Return the state of a run."""
        state: str = self.get(f"/dags/{dag_id}/dagRuns/{run_id}")["state"]
        return state

    def task_instances(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """Return all task instances of a run, mapped ones too."""
        page = self.get(f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances", limit="1000")
        instances: list[dict[str, Any]] = page["task_instances"]
        return instances

    def task_instance(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> dict[str, Any]:
        """Return one task instance."""
        suffix = "" if map_index < 0 else f"/{map_index}"
        return self.get(f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}{suffix}")

    def task_state(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> str | None:
        """Return the state of one task instance; None before it was scheduled."""
        state: str | None = self.task_instance(dag_id, run_id, task_id, map_index)["state"]
        return state

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value", map_index: int = -1) -> Any:
        """Return an XCom value; None when there is none under this key."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/{key}"
        try:
            return self.get(path, map_index=str(map_index), stringify="false")["value"]
        except AirflowApiError as error:
            if error.status == 404:
                return None
            raise

    def task_log(self, dag_id: str, run_id: str, task_id: str, attempt: int = 1, map_index: int = -1) -> str:
        """Return the log of one attempt as text, a line per message."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{attempt}"
        content = self.get(path, full_content="true", map_index=str(map_index))["content"]
        return "\n".join(line if isinstance(line, str) else _log_line(line) for line in content)

    def pool(self, name: str = "default_pool") -> Pool:
        """Return how the slots of a pool are used now."""
        answer = self.get(f"/pools/{name}")
        return Pool(
            total=answer["slots"],
            running=answer["running_slots"],
            queued=answer["queued_slots"],
            deferred=answer["deferred_slots"],
            open=answer["open_slots"],
        )

    def clear(self, dag_id: str, run_id: str, task_ids: Sequence[str]) -> None:
        """Clear task instances of a run, as the button in the UI does: they run again."""
        body = {"dry_run": False, "dag_run_id": run_id, "task_ids": list(task_ids), "only_failed": False}
        self.post(f"/dags/{dag_id}/clearTaskInstances", body)

    def mark(self, dag_id: str, run_id: str, task_id: str, state: str) -> None:
        """Mark a task instance as success or failed, as the button in the UI does."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}"
        self._send("PATCH", f"/api/v2{path}", {"new_state": state})

    def wait_for_task(
        self,
        dag_id: str,
        run_id: str,
        task_id: str,
        states: Sequence[str],
        *,
        look: Callable[[str | None], None] | None = None,
    ) -> str:
        """
        Return the state of a task once it is one of `states`.

        :param look: Called with the state at every look.
        :raises RunFailedError: The task has finished in another state; the message ends with its log.
        :raises NotReadyError: Nothing moves any more.
        """
        seen: list[str | None] = [None]

        def reached() -> bool:
            seen.append(self.task_state(dag_id, run_id, task_id))
            if look is not None:
                look(seen[-1])
            if seen[-1] in FINISHED and seen[-1] not in states:
                wanted = ", ".join(states)
                raise RunFailedError(
                    f"{dag_id}.{task_id} is {seen[-1]}, not one of {wanted}.\n{self.account(dag_id, run_id)}"
                )
            return seen[-1] in states

        self._wait(f"{dag_id}.{task_id} is one of {', '.join(states)}", reached, dag_id, run_id)
        return str(seen[-1])

    def wait_for_run(self, dag_id: str, run_id: str) -> str:
        """Return the final state of a run; raise NotReadyError where nothing moves any more."""
        seen: list[str] = []

        def finished() -> bool:
            seen.append(self.run_state(dag_id, run_id))
            return seen[-1] in FINISHED

        self._wait(f"the run {run_id} of {dag_id} has finished", finished, dag_id, run_id)
        return seen[-1]

    def wait_for_success(self, dag_id: str, run_id: str) -> None:
        """Return once a run has succeeded; raise RunFailedError when it fails, with the logs of its tasks."""
        if (state := self.wait_for_run(dag_id, run_id)) != "success":
            raise RunFailedError(f"The run {run_id} of {dag_id} is {state}.\n{self.account(dag_id, run_id)}")

    def _wait(self, what: str, condition: Callable[[], bool], dag_id: str, run_id: str) -> None:
        def state() -> str:
            tasks = self.task_instances(dag_id, run_id)
            return ", ".join(f"{task['task_id']} [{task['map_index']}] {task['state']}" for task in tasks)

        try:
            self.patience.wait_until(what, condition, state=state, tick=TICK)
        except NotReadyError as error:
            raise NotReadyError(f"{error}\n{self.account(dag_id, run_id)}") from None

    def account(self, dag_id: str, run_id: str) -> str:
        """Return what there is to say about a run: its tasks' logs, and the scheduler's notes on them."""
        parts = []
        for task in self.task_instances(dag_id, run_id):
            if task["try_number"]:
                parts.append(f"{task['task_id']} [{task['map_index']}] is {task['state']}. Its log:")
                parts.append(self.task_log(dag_id, run_id, task["task_id"], task["try_number"], task["map_index"]))
        notes = self.get("/eventLogs", dag_id=dag_id, run_id=run_id, limit="100")["event_logs"]
        parts += [f"{n['when']} {n['event']}, {n['task_id']}: {n['extra']}" for n in notes if n["extra"]]
        return "\n".join(parts)

    def get(self, path: str, **query: str) -> dict[str, Any]:
        """Send a GET below ``/api/v2``."""
        return self._send("GET", f"/api/v2{path}" + (f"?{urllib.parse.urlencode(query)}" if query else ""))

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Send a POST below ``/api/v2``."""
        return self._send("POST", f"/api/v2{path}", body)

    def _send(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Ask until Airflow can answer: on a busy machine its database is locked now and then."""
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
        if authenticated:
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
            self._token = self._ask("GET", "/auth/token", authenticated=False)["access_token"]
        return self._token


def _log_line(message: Mapping[str, Any]) -> str:
    details = {key: value for key, value in message.items() if key not in LOG_NOISE}
    errors = [f"\n    {error['exc_type']}: {error['exc_value']}" for error in details.pop("error_detail", None) or []]
    head = f"{message.get('timestamp') or ''} {str(message.get('level', '')).upper():<7} {message.get('event', '')}"
    return head + (f"  {details}" if details else "") + "".join(errors)
