"""
Cancels batches. A batch counts as cancelled once a poll has shown that it has ended.

A cancel can be refused or lost, or take ten minutes in which the batch still runs and is billed; and a batch can end by
itself before the cancel arrives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from airflow_provider_batch.api import statuses
from airflow_provider_batch.api.objects import Batch
from airflow_provider_batch.exceptions import ApiError, ApiUnavailableError, NotCancelledError, UnknownOutcomeError
from airflow_provider_batch.jobs import decisions
from airflow_provider_batch.jobs.job_request import Tools
from airflow_provider_batch.polling.blocking_reader import poll_batches
from airflow_provider_batch.polling.wait_policy import duration_text

#: Seconds between two polls of batches that are to be cancelled, at most.
LONGEST_PAUSE = 15.0


def cancel(tools: Tools, batch_ids: Iterable[str]) -> list[str]:
    """
    Ask the API to cancel batches, and return the ids that it accepted; what cannot be cancelled is logged.

    :param tools: Tools of the job.
    :param batch_ids: Ids of the batches.
    """
    accepted = []
    for batch_id in batch_ids:
        try:
            tools.client.cancel(batch_id)
            accepted.append(batch_id)
        except ApiError as error:
            tools.log.warning("Batch %s could not be cancelled: %s", batch_id, error)
    return accepted


def cancel_duplicates(tools: Tools, found: Sequence[Batch]) -> None:
    """
    Cancel all but the first of a shard's batches.

    :param tools: Tools of the job.
    :param found: The batches, the one to keep first.
    :raises UnknownOutcomeError: One cannot be cancelled. The create stays open, so that the next attempt finds it too.
    """
    for duplicate in found[1:]:
        if duplicate.has_ended or duplicate.status == statuses.CANCELLING:
            continue
        tools.log.warning("Batch %s is a duplicate of %s and is cancelled.", duplicate.id, found[0].id)
        try:
            tools.client.cancel(duplicate.id)
        except ApiError as error:
            raise UnknownOutcomeError(
                f"Batch {duplicate.id} is a duplicate of {found[0].id} and could not be cancelled ({error}). Both will "
                "be billed if it runs on: the next attempt tries again, or cancel it in the vendor's dashboard."
            ) from error


def not_cancelling(batch_ids: Iterable[str], seen: Mapping[str, Batch]) -> list[str]:
    """
    Return the ids of those batches whose last poll shows that a cancel has not reached them.

    :param batch_ids: Ids of the batches.
    :param seen: The latest polled batch by batch id.
    """
    latest = [seen[batch_id] for batch_id in batch_ids if batch_id in seen]
    return [batch.id for batch in latest if not batch.has_ended and batch.status != statuses.CANCELLING]


def cancel_and_wait(
    tools: Tools, batch_ids: Iterable[str], on_end: Callable[[Batch], None], *, poll_interval: float
) -> None:
    """
    Cancel batches, and wait until a poll has shown the end of each, for `CANCEL_PATIENCE` at most.

    :param tools: Tools of the job.
    :param batch_ids: Ids of the batches.
    :param on_end: Called with each batch as soon as it has ended.
    :param poll_interval: Seconds between two polls, at most.
    :raises NotCancelledError: Some batches have not ended; nothing may be sent in their place.
    """
    patience = decisions.CANCEL_PATIENCE
    left, waited = list(batch_ids), 0.0
    pause = min(max(poll_interval, 0.01), LONGEST_PAUSE)
    seen: dict[str, Batch] = {}
    while True:
        to_cancel = not_cancelling(left, seen) if seen else left
        if to_cancel:
            tools.log.warning("Asked to cancel: %s.", ", ".join(cancel(tools, to_cancel)) or "nothing")
        try:
            seen = poll_batches(tools.client, left)
        except ApiUnavailableError as error:
            tools.log.warning("The poll of the batches failed; trying again: %s", error)
        for batch in [seen[batch_id] for batch_id in left if batch_id in seen and seen[batch_id].has_ended]:
            left.remove(batch.id)
            on_end(batch)
        if not left:
            return
        if waited >= patience:
            raise NotCancelledError(
                f"{len(left)} batches were asked to cancel and have not ended after {duration_text(patience)} "
                f"({', '.join(left[:5])}). They may still be billed, and nothing is sent in their place while they may "
                "run: retry the task, or cancel them in the vendor's dashboard."
            )
        tools.sleep(pause)
        waited += pause
