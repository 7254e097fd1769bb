"""
Read the state of a task instance, before batches are cancelled.

Airflow also calls `on_kill` when no user ended the task: on a clear, on an eviction, and when a paused triggerer loses
its triggers.
"""

from __future__ import annotations

#: States after which a task instance does not continue by itself; `removed` also stands for a deleted one.
FINISHED = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})


def task_state(*, dag_id: str, task_id: str, run_id: str, map_index: int) -> str | None:
    """
    Return the state of a task instance; `removed` if it was deleted, None if it is not scheduled. This blocks.

    Any exception of Airflow is raised: then the state is not known.

    :param dag_id: Id of the DAG.
    :param task_id: Id of the task.
    :param run_id: Id of the DAG run.
    :param map_index: Map index; -1 for a task that is not mapped.
    """
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    states = RuntimeTaskInstance.get_task_states(
        dag_id=dag_id, task_ids=[task_id], run_ids=[run_id], map_index=map_index
    )
    key = task_id if map_index < 0 else f"{task_id}_{map_index}"
    state = states.get(run_id, {}).get(key, "removed")
    return None if state is None else str(getattr(state, "value", state))
