"""A task instance's context made by hand: what an operator needs to run without a scheduler."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_batch.emulator.testing import Emulator


class FakeTaskInstance:
    """Keeps what a task pushes; the rest of Airflow is not there."""

    def __init__(self, map_index: int = -1, max_tries: int = 0) -> None:
        self.dag_id, self.task_id, self.run_id = "dag", "task", "run"
        self.map_index, self.max_tries = map_index, max_tries
        self.pushed: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushed[key] = value


class FakeStateStore(dict[str, Any]):
    """Airflow's task state store: survives attempts, holds JSON values."""

    def set(self, key: str, value: Any, **_: Any) -> None:
        self[key] = value


def a_context(ti: FakeTaskInstance | None = None, store: FakeStateStore | None = None) -> Any:
    return {"ti": ti or FakeTaskInstance(), **({} if store is None else {"task_state_store": store})}


def finish(emulator: Emulator) -> None:
    """Let all batches that were held complete."""
    emulator.configure(progress="immediate")
    while {batch["status"] for batch in emulator.state()["batches"]} != {"completed"}:
        time.sleep(0.05)
