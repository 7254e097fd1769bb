"""
Cancelling: what was asked is not what was done, so a batch counts as cancelled once it was seen to have ended.

A cancel can be refused, be lost, or take ten minutes in which the batch still works and is billed; and a batch may end
by itself before it is heard.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from airflow_provider_batch.api import statuses
from airflow_provider_batch.api.objects import Batch
from airflow_provider_batch.exceptions import ApiError, ApiUnavailableError, NotCancelledError, UnknownOutcomeError
from airflow_provider_batch.jobs import decisions
from airflow_provider_batch.jobs.job_request import Tools
from airflow_provider_batch.polling.blocking_reader import poll_batches

#: Seconds between two looks at batches whose cancellation is waited for.
LONGEST_PAUSE = 15.0


def cancel(tools: Tools, batch_ids: Iterable[str]) -> list[str]:
    """Ask the API to cancel batches, and return those ids; what cannot be cancelled is logged, not raised."""
    asked = []
    for batch_id in batch_ids:
        try:
            tools.client.cancel(batch_id)
            asked.append(batch_id)
        except ApiError as error:
            tools.log.warning("Batch %s could not be cancelled: %s", batch_id, error)
    return asked


def cancel_duplicates(tools: Tools, found: Sequence[Batch]) -> None:
    """
    Cancel all but the first of a shard's batches.

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
                "be billed if it goes on: the next attempt tries again, or cancel it in the vendor's dashboard."
            ) from error


def unheard(batch_ids: Iterable[str], seen: Mapping[str, Batch]) -> list[str]:
    """Return those whose last look shows that a cancel has not reached them."""
    latest = [seen[batch_id] for batch_id in batch_ids if batch_id in seen]
    return [batch.id for batch in latest if not batch.has_ended and batch.status != statuses.CANCELLING]


def see_cancelled(
    tools: Tools, batch_ids: Iterable[str], ended: Callable[[Batch], None], *, poll_interval: float
) -> None:
    """
    Cancel batches, and wait until each of them is seen to have ended, for `CANCEL_PATIENCE` at the most.

    :param ended: Called with each as soon as it is.
    :param poll_interval: Seconds; the longest time between two looks.
    :raises NotCancelledError: Some have not ended; nothing may be sent in their place.
    """
    patience = decisions.CANCEL_PATIENCE
    left, waited = list(batch_ids), 0.0
    pause = min(max(poll_interval, 0.01), LONGEST_PAUSE)
    seen: dict[str, Batch] = {}
    while True:
        asked = unheard(left, seen) if seen else left
        if asked:
            tools.log.warning("Asked to cancel: %s.", ", ".join(cancel(tools, asked)) or "nothing")
        try:
            seen = poll_batches(tools.client, left)
        except ApiUnavailableError as error:
            tools.log.warning("Looking at the batches failed; trying again: %s", error)
        for batch in [seen[batch_id] for batch_id in left if batch_id in seen and seen[batch_id].has_ended]:
            left.remove(batch.id)
            ended(batch)
        if not left:
            return
        if waited >= patience:
            raise NotCancelledError(
                f"The cancellation of {len(left)} batches was asked for and is not seen to be done after "
                f"{patience / 60:.0f} minutes ({', '.join(left[:5])}). Nothing is sent in their place while they may "
                "be at work: retry the task, or cancel them in the vendor's dashboard."
            )
        tools.sleep(pause)
        waited += pause
