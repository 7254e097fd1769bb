"""
Cancel the batches of a worker that receives SIGTERM, if its task instance is over.

The worker has a few seconds and does not know the reason: a person who marked the task failed, a timeout, an eviction
or a clear. So it reads the state of the task instance, in a thread, since the main thread may use the same connection.
If the state cannot be read, the batches go on.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from airflow_provider_batch.utils.task_state import FINISHED, task_state

if TYPE_CHECKING:
    from airflow_provider_batch.jobs.runner import Job

log = logging.getLogger(__name__)

#: Seconds for reading the state and cancelling: Airflow sends SIGKILL five seconds after SIGTERM.
PATIENCE = 4.0


def cancel_if_killed(job: Job) -> None:
    """
    Cancel a job's running batches if its task instance is finished or deleted; otherwise log their ids.

    :param job: The job, with its ledger and its task instance.
    """
    active = job.ledger.active_ids
    if not active:
        return
    thread = threading.Thread(target=_look_up_and_cancel, args=(job,), daemon=True)
    thread.start()
    thread.join(PATIENCE)
    if thread.is_alive():
        log.warning("Batches that may not be cancelled; they are billed if they go on: %s", ", ".join(active))


def _look_up_and_cancel(job: Job) -> None:
    # The ledger's identity can be that of another map index, whose task instance has another state.
    task, active = job.request.identity, ", ".join(job.ledger.active_ids)
    try:
        state = task_state(dag_id=task.dag_id, task_id=task.task_id, run_id=task.run_id, map_index=task.map_index)
        if state not in FINISHED:
            log.info("Not cancelled, since the task instance is %s; the batches go on: %s", state, active)
            return
        log.info("Cancellation requested, since the task was killed: %s", ", ".join(job.cancel()) or "no batch")
    except Exception as error:  # after any error the batches go on, so their ids must be in the log
        log.error("Not cancelled (%s: %s); billed if they go on: %s", type(error).__name__, error, active)
