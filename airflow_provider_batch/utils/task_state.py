"""
Whether a task instance is really over: the question before anything is cancelled.

Airflow calls `on_kill` when nobody killed anything, too: on a clear, on an eviction, when a paused triggerer loses
its triggers.
"""

from __future__ import annotations

#: States in which a task instance does not come back to its batches by itself; `removed` stands for "gone".
FINISHED = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})


def task_state(*, dag_id: str, task_id: str, run_id: str, map_index: int) -> str | None:
    """
    Return the task instance's state as Airflow has it now, `removed` where it is gone; blocks, and raises in doubt.
    """
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    states = RuntimeTaskInstance.get_task_states(
        dag_id=dag_id, task_ids=[task_id], run_ids=[run_id], map_index=map_index
    )
    key = task_id if map_index < 0 else f"{task_id}_{map_index}"
    state = states.get(run_id, {}).get(key, "removed")
    return None if state is None else str(getattr(state, "value", state))
