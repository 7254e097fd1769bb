"""
DAGs of the durability tests: a job whose worker can be killed at a named point, once, and one that polls on the
worker.
"""

import os
import signal
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_batch.operators.openai_batch import OpenAIBatchOperator

BODY = {"model": "gpt-6-luna", "messages": [{"role": "user", "content": "Translate into English:\n\n{text}"}]}
PARAMS = {"source": "", "destination": "", "stop_at": "", "trace": "", "seconds": 0}
JOB: dict[str, Any] = {
    "task_id": "answer",
    "endpoint": "/v1/chat/completions",
    "source": "{{ params.source }}",
    "body": BODY,
    "destination": "{{ params.destination }}",
    "max_shard_rows": 40,
    "poll_interval": 1,
    "retries": 3,
    "retry_delay": 1.0,
}


class MortalOperator(OpenAIBatchOperator):
    """Kills its own process with SIGKILL the first time that a boundary of the wanted name is passed."""

    def execute(self, context: Any) -> Any:
        _arm(context["params"])
        return super().execute(context)

    def execute_complete(self, context: Any, event: dict[str, Any], job: str | None = None) -> Any:
        _arm(context["params"])
        return super().execute_complete(context, event, job)


def _arm(params: Any) -> None:
    from tests.faults.boundaries import Boundaries, install

    if not params["stop_at"]:
        return

    class Once(Boundaries):
        def passed(self, name: str) -> None:
            dead = self.trace.with_suffix(".dead")
            if fnmatchcase(name, params["stop_at"]) and not dead.exists():
                dead.touch()
                os.kill(os.getpid(), signal.SIGKILL)

    install(Once(trace=Path(params["trace"])))


with DAG(dag_id="durable", schedule=None, params=PARAMS, max_active_runs=32):
    MortalOperator(deferrable=True, **JOB)

with DAG(dag_id="durable_on_the_worker", schedule=None, params=PARAMS):
    MortalOperator(deferrable=False, **JOB)

SOAK: dict[str, Any] = {
    **JOB,
    "body": {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "{text}"}]},
    "custom_id": "{id}",
    "carry": ["id"],
    "state_path": "{{ params.state }}",
}
del SOAK["max_shard_rows"]


class SoakOperator(MortalOperator):
    """Cuts its table as the run says: the number is no template field of the operator."""

    def execute(self, context: Any) -> Any:
        self.max_shard_rows = int(context["params"]["rows"])
        return super().execute(context)

    def execute_complete(self, context: Any, event: dict[str, Any], job: str | None = None) -> Any:
        self.max_shard_rows = int(context["params"]["rows"])
        return super().execute_complete(context, event, job)


with DAG(dag_id="soak", schedule=None, params={**PARAMS, "state": "", "rows": 1}):
    SoakOperator(deferrable=True, **SOAK)
