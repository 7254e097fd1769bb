"""What a trigger says in its task's log about its batches: each change once, and nothing at each look."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from airflow_provider_batch.api import statuses
from airflow_provider_batch.api.objects import Batch
from airflow_provider_batch.polling.schedule import Gone, Seen, Snapshot, Trouble
from airflow_provider_batch.polling.wait_policy import WaitState, progress_line
from airflow_provider_batch.utils import metrics

#: Batches that one line of the log names.
MOST_NAMED = 10


class Report:
    """
    The account of one wait.

    :param progress: What the job had done before; see `progress_line`.
    :param log: The task's log.
    """

    def __init__(self, conn_id: str, progress: Mapping[str, Any] | None, log: Any) -> None:
        self._conn_id, self._progress, self._log = conn_id, progress, log
        self._line = ""
        self._odd_statuses: set[str] = set()
        self._stalled: set[tuple[str, str]] = set()
        self._queued: set[str] = set()
        self._ended: set[str] = set()
        self._gone: set[str] = set()
        self._kinds: set[str] = set()

    def take_in(self, news: Snapshot, wait_state: WaitState, *, now: float) -> None:
        """Say what is new; `watch` knows it already."""
        for outcome in news.values():
            match outcome:
                case Seen(batch=batch, is_stalled=is_stalled):
                    self._say_odd_status(batch)
                    self._time(batch, now)
                    if is_stalled:
                        self._say_stalled(batch, now)
                case Gone() | Trouble():
                    pass
        self._say_gone([batch_id for batch_id, outcome in news.items() if isinstance(outcome, Gone)])
        self._say_progress(wait_state)
        self._say_trouble([outcome for outcome in news.values() if isinstance(outcome, Trouble)], wait_state)

    def _say_odd_status(self, batch: Batch) -> None:
        if batch.status in statuses.TERMINAL | statuses.RUNNING or batch.status in self._odd_statuses:
            return
        self._odd_statuses.add(batch.status)
        self._log.warning("Batch %s has the status %r, taken for still running.", batch.id, batch.status)

    def _say_gone(self, batch_ids: Collection[str]) -> None:
        new = [batch_id for batch_id in batch_ids if batch_id not in self._gone]
        if not new:
            return
        self._gone.update(new)
        more = f" and {len(new) - MOST_NAMED:,} more" if len(new) > MOST_NAMED else ""
        self._log.warning(
            "Batch %s%s: unknown to the account of connection %s.", ", ".join(new[:MOST_NAMED]), more, self._conn_id
        )

    def _say_stalled(self, batch: Batch, now: float) -> None:
        if (batch.id, batch.status) in self._stalled:
            return
        self._stalled.add((batch.id, batch.status))
        begun = batch.created_at if batch.status == "validating" else batch.finalizing_at
        length = "" if begun is None else f" for {max(0.0, now - begun) / 60:,.0f} minutes"
        self._log.warning(
            "Batch %s has been %s%s, longer than is usual. It is waited for; the vendor's dashboard may say more.",
            batch.id, batch.status, length,
        )  # fmt: skip

    def _say_progress(self, wait_state: WaitState) -> None:
        line = progress_line(self._progress, wait_state.latest) if wait_state.latest else ""
        if line != self._line:
            self._log.info("%s", line)
            self._line = line

    def _say_trouble(self, troubles: Iterable[Trouble], wait_state: WaitState) -> None:
        """Each kind of problem once while it lasts, and that it is over."""
        for trouble in troubles:
            if trouble.kind not in self._kinds:
                self._kinds.add(trouble.kind)
                self._log.warning("The batches cannot be looked at, trying on: %s", trouble.text)
        if self._kinds and wait_state.troubled_since is None:
            self._kinds.clear()
            self._log.info("The batches can be looked at again.")

    def _time(self, batch: Batch, now: float) -> None:
        if batch.created_at is None:
            return
        if batch.in_progress_at is not None and batch.id not in self._queued:
            self._queued.add(batch.id)
            metrics.queue_seconds(self._conn_id, max(0.0, batch.in_progress_at - batch.created_at))
        if batch.has_ended and batch.id not in self._ended:
            self._ended.add(batch.id)
            metrics.batch_seconds(self._conn_id, batch.status, max(0.0, now - batch.created_at))
