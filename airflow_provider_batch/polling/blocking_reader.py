"""
Looking at batches where a caller may block: a worker, the loader, a sensor. What a trigger does is in `looking.py`.

One by one while they are few, through the list's pages when that takes fewer calls.
"""

from __future__ import annotations

from collections.abc import Sequence

from airflow_provider_batch.api.client import BatchClient
from airflow_provider_batch.api.objects import Batch
from airflow_provider_batch.exceptions import NotFoundError
from airflow_provider_batch.polling.status_reader import FEW

#: Pages that are read before the rest is retrieved one by one: other people's batches can fill an account's list.
MAX_PAGES = 10
PAGE = 100


def poll_batches(client: BatchClient, batch_ids: Sequence[str]) -> dict[str, Batch]:
    """
    Return the batches by id, as the API shows them now.

    :raises NotFoundError: One of them is unknown to this account.
    """
    seen: dict[str, Batch] = {}
    wanted = set(batch_ids)
    if len(wanted) > FEW:
        for number, batch in enumerate(client.list(PAGE)):
            if batch.id in wanted:
                seen[batch.id] = batch
            if len(seen) == len(wanted) or number >= MAX_PAGES * PAGE:
                break
    for batch_id in batch_ids:
        if batch_id not in seen or seen[batch_id].has_ended:
            seen[batch_id] = _retrieve(client, batch_id)
    return seen


def _retrieve(client: BatchClient, batch_id: str) -> Batch:
    try:
        return client.retrieve(batch_id)
    except NotFoundError as error:
        raise NotFoundError(
            f"Batch {batch_id} is unknown to this account. It was made with another key, organisation or project than "
            "the connection has now: point the connection back to that account and clear the task.",
            status_code=error.status_code,
            code=error.code,
            param=error.param,
        ) from error
