"""
What a worker that is told to die does about its batches.

It has seconds, and does not know why it dies: a person who marked the task failed, a time-out, an eviction, a clear.
So the task instance's state is asked, off the main thread (which may hold the very connection that answers), and in
doubt the batches go on.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from airflow_provider_batch.utils.task_state import FINISHED, task_state

if TYPE_CHECKING:
    from airflow_provider_batch.jobs.runner import Job

log = logging.getLogger(__name__)

#: Seconds. Airflow sends SIGKILL five seconds after SIGTERM.
PATIENCE = 4.0


def cancel_if_killed(job: Job) -> None:
    """Cancel a job's running batches if its task instance is finished or gone; otherwise leave them and say so."""
    active = job.ledger.active_ids
    if not active:
        return
    thread = threading.Thread(target=_look_up_and_cancel, args=(job,), daemon=True)
    thread.start()
    thread.join(PATIENCE)
    if thread.is_alive():
        log.warning("Not known to be cancelled, and billed if they go on: %s", ", ".join(active))


def _look_up_and_cancel(job: Job) -> None:
    # The ledger's own identity may be of another map index, whose task instance is alive or done for itself.
    who, active = job.request.identity, ", ".join(job.ledger.active_ids)
    try:
        state = task_state(dag_id=who.dag_id, task_id=who.task_id, run_id=who.run_id, map_index=who.map_index)
        if state not in FINISHED:
            log.info("Not cancelled, since the task instance is %s: %s", state, active)
            return
        log.info("Asked to cancel, since the task was killed: %s", ", ".join(job.cancel()) or "nothing")
    except Exception as error:  # whatever goes wrong here, the batches go on and the ids must be known
        log.error("Not cancelled (%s: %s), and billed if they go on: %s", type(error).__name__, error, active)
