"""Log the changes of a trigger's batches in the log of its task: each change once, and nothing for other polls."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from airflow_provider_batch.api import statuses
from airflow_provider_batch.api.objects import Batch
from airflow_provider_batch.polling.schedule import Changes, Gone, PollProblem, Seen
from airflow_provider_batch.polling.wait_policy import WaitState, duration_text, progress_line
from airflow_provider_batch.utils import metrics

#: Batch ids in one log line, at most.
MOST_NAMED = 10


class TaskLog:
    """
    Log lines and metrics of one wait.

    :param conn_id: Id of the Airflow connection.
    :param progress: The job's counts before this wait, as for `progress_line`.
    :param log: Logger of the task.
    """

    def __init__(self, conn_id: str, progress: Mapping[str, Any] | None, log: Any) -> None:
        self._conn_id, self._progress, self._log = conn_id, progress, log
        self._line = ""
        #: What was logged or sent once, by its kind.
        self._noted: set[tuple[str, ...]] = set()
        self._kinds: set[str] = set()

    def log_changes(self, changes: Changes, wait_state: WaitState, *, now: float) -> None:
        """
        Log changed poll outcomes, and send the durations of batches as metrics.

        :param changes: Changed poll outcomes by batch id.
        :param wait_state: The wait, in which these changes are already recorded.
        :param now: Epoch seconds.
        """
        for outcome in changes.values():
            if isinstance(outcome, Seen):
                self._log_unknown_status(outcome.batch)
                self._send_durations(outcome.batch, now)
                if outcome.is_stalled:
                    self._log_stalled(outcome.batch, now)
        self._log_gone([batch_id for batch_id, outcome in changes.items() if isinstance(outcome, Gone)])
        self._log_progress(wait_state)
        self._log_problems([outcome for outcome in changes.values() if isinstance(outcome, PollProblem)], wait_state)

    def _is_new(self, *what: str) -> bool:
        """Note what is logged or sent once, and say whether it was not noted before."""
        is_new = what not in self._noted
        self._noted.add(what)
        return is_new

    def _log_unknown_status(self, batch: Batch) -> None:
        if batch.status not in statuses.TERMINAL | statuses.RUNNING and self._is_new("status", batch.status):
            self._log.warning("Batch %s has the unknown status %r; it counts as running.", batch.id, batch.status)

    def _log_gone(self, batch_ids: Collection[str]) -> None:
        new = [batch_id for batch_id in batch_ids if self._is_new("gone", batch_id)]
        if not new:
            return
        more = f" and {len(new) - MOST_NAMED:,} more" if len(new) > MOST_NAMED else ""
        self._log.warning(
            "Batch %s%s: unknown to the account of connection %s.", ", ".join(new[:MOST_NAMED]), more, self._conn_id
        )

    def _log_stalled(self, batch: Batch, now: float) -> None:
        if not self._is_new("stalled", batch.id, batch.status):
            return
        begun = batch.created_at if batch.status == "validating" else batch.finalizing_at
        length = "" if begun is None else f" for {duration_text(now - begun)}"
        self._log.warning(
            "Batch %s has been %s%s, longer than usual. The task goes on waiting; see the vendor's dashboard.",
            batch.id, batch.status, length,
        )  # fmt: skip

    def _log_progress(self, wait_state: WaitState) -> None:
        line = progress_line(self._progress, wait_state.latest) if wait_state.latest else ""
        if line != self._line:
            self._log.info("%s", line)
            self._line = line

    def _log_problems(self, problems: Iterable[PollProblem], wait_state: WaitState) -> None:
        """Log each kind of problem once while it lasts, and once that it has ended."""
        for problem in problems:
            if problem.kind not in self._kinds:
                self._kinds.add(problem.kind)
                self._log.warning(
                    "The batches cannot be polled now; they go on, and polling is retried: %s", problem.text
                )
        if self._kinds and wait_state.problem_since is None:
            self._kinds.clear()
            self._log.info("The batches can be polled again.")

    def _send_durations(self, batch: Batch, now: float) -> None:
        if batch.created_at is None:
            return
        if batch.in_progress_at is not None and self._is_new("queued", batch.id):
            metrics.queue_seconds(self._conn_id, max(0.0, batch.in_progress_at - batch.created_at))
        if batch.has_ended and self._is_new("ended", batch.id):
            metrics.batch_seconds(self._conn_id, batch.status, max(0.0, now - batch.created_at))
