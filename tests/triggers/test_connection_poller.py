"""When a connection is read again."""

from __future__ import annotations

from collections.abc import Callable

from airflow_provider_batch.triggers.connection_poller import ConnectionPoller
from tests.api.stub import StubApi, batch, error


async def test_one_batch_that_the_key_may_not_see_is_no_reason_to_read_the_connection_again(
    stub: StubApi, connection: Callable[..., str]
) -> None:
    stub.on("GET", "/batches/b1", error(403, "You may not see this batch."))
    stub.on("GET", "/batches/b2", batch("b2"))
    poller = ConnectionPoller(connection(host=stub.base_url))
    poll_result = await poller.poll(["b1", "b2"])
    client = poller._client
    assert (set(poll_result.batches), set(poll_result.problems), poll_result.halt) == ({"b2"}, {"b1"}, None)
    assert client is not None
    await poller.poll(["b1"])  # nothing at all can be seen: the key may have been changed
    assert poller._client is None
