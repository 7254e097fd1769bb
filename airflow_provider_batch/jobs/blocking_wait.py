"""Waits for batches in this process: the blocking counterpart of the trigger."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_batch.exceptions import ApiUnavailableError
from airflow_provider_batch.jobs.actions import Wait
from airflow_provider_batch.jobs.job_request import Tools
from airflow_provider_batch.polling.blocking_reader import poll_batches
from airflow_provider_batch.polling.wait_policy import WaitState, progress_line


def wait_here(tools: Tools, wait: Wait, progress: Mapping[str, Any], poll_interval: float) -> None:
    """
    Poll batches until a wait is over, and log each change of the progress.

    :param tools: Tools of the job.
    :param wait: The batches, and the moment at which the wait ends at the latest.
    :param progress: What the job had done before; see `progress_line`.
    :param poll_interval: At least this many seconds between two polls.
    """
    wait_state = WaitState(wait.batch_ids, until=wait.until)
    last_line = ""
    while True:
        try:
            seen = poll_batches(tools.client, wait_state.active)
        except ApiUnavailableError as error:
            tools.log.warning("The poll of the batches failed; trying again: %s", error)
            seen = {}
        now = tools.clock()
        is_over = wait_state.update(seen, now=now)
        line = progress_line(progress, wait_state.latest)
        if line != last_line:
            tools.log.info("%s", line)
            last_line = line
        if is_over:
            return
        tools.sleep(wait_state.delay(now, poll_interval))
