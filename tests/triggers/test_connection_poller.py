"""When a connection is read again."""

from __future__ import annotations

from collections.abc import Callable

from airflow_provider_batch.triggers.connection_poller import Lookout
from tests.api.stub import StubApi, batch, error


async def test_one_batch_that_the_key_may_not_see_is_no_reason_to_read_the_connection_again(
    stub: StubApi, connection: Callable[..., str]
) -> None:
    stub.on("GET", "/batches/b1", error(403, "You may not see this batch."))
    stub.on("GET", "/batches/b2", batch("b2"))
    lookout = Lookout(connection(host=stub.base_url))
    sighting = await lookout.look(["b1", "b2"])
    client = lookout._client
    assert (set(sighting.batches), set(sighting.problems), sighting.halt) == ({"b2"}, {"b1"}, None)
    assert client is not None
    await lookout.look(["b1"])  # nothing at all can be seen: the key may have been changed
    assert lookout._client is None
