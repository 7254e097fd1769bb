"""
Poll batches where a caller may block: a worker, the loader, a sensor. Triggers use `status_reader`.

A few batches are retrieved one by one; many are read from the pages of the account's list, which takes fewer calls.
"""

from __future__ import annotations

from collections.abc import Sequence

from airflow_provider_batch.api.client import BatchClient
from airflow_provider_batch.api.objects import Batch
from airflow_provider_batch.exceptions import NotFoundError
from airflow_provider_batch.polling.status_reader import FEW

#: Pages of the list that are read before the rest is retrieved: batches of others can fill an account's list.
MAX_PAGES = 10
PAGE = 100


def poll_batches(client: BatchClient, batch_ids: Sequence[str]) -> dict[str, Batch]:
    """
    Return batches by id, as the API shows them now.

    :param client: Client of the account.
    :param batch_ids: Ids of the batches.
    :raises NotFoundError: The account has no such batch.
    """
    seen: dict[str, Batch] = {}
    wanted = set(batch_ids)
    if len(wanted) > FEW and client.settings.service.has_list:
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
            f"This account has no batch {batch_id}: it was created with another key, organization or project than the "
            "connection has now. Set the connection to that account again and clear the task.",
            status_code=error.status_code,
            code=error.code,
            param=error.param,
        ) from error
