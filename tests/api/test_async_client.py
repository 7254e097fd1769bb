"""The async client: the same errors as the sync one, and nothing that blocks."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from airflow_provider_batch.api.async_client import AsyncBatchClient
from airflow_provider_batch.api.settings import ClientSettings
from airflow_provider_batch.exceptions import ApiUnavailableError, AuthenticationError, NotFoundError
from tests.api.stub import Reply, StubApi, batch, error
from tests.conftest import SECRET


@pytest_asyncio.fixture
async def client(stub: StubApi) -> AsyncIterator[AsyncBatchClient]:
    settings = ClientSettings(SECRET, base_url=stub.base_url, max_retries=0)
    async with await AsyncBatchClient.connect(settings) as client:
        yield client


async def test_a_batch_is_retrieved(client: AsyncBatchClient, stub: StubApi) -> None:
    stub.on("GET", "/batches/b", batch("b", "FINALIZING"))
    assert (await client.retrieve("b")).status == "finalizing"


async def test_pages_are_asked_for_one_by_one(client: AsyncBatchClient, stub: StubApi) -> None:
    stub.on("GET", "/batches", {"data": [batch("b1"), batch("b2")], "has_more": True, "last_id": "b2"})
    page = await client.list_page(after="b0", limit=2)
    assert [entry.id for entry in page.batches] == ["b1", "b2"]
    assert page.next_after == "b2"
    assert stub.requests[-1].query == {"after": "b0", "limit": "2"}


async def test_cancelling_what_has_ended_returns_it_unchanged(client: AsyncBatchClient, stub: StubApi) -> None:
    stub.on("POST", "/batches/b/cancel", error(409, "Cannot cancel a batch with status 'completed'."))
    stub.on("GET", "/batches/b", batch("b", "completed"))
    assert (await client.cancel("b")).status == "completed"


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (Reply(drop=True), ApiUnavailableError),
        (error(404, "No batch found"), NotFoundError),
        (error(401, f"Incorrect key {SECRET}"), AuthenticationError),
    ],
)
async def test_errors_are_those_of_the_table(
    client: AsyncBatchClient, stub: StubApi, reply: Reply, expected: type[Exception]
) -> None:
    stub.on("GET", "/batches/b", reply)
    with pytest.raises(expected) as caught:
        await client.retrieve("b")
    assert SECRET not in f"{caught.value!r}{caught.value.__cause__!r}"


def test_the_import_of_the_sdk_does_not_have_the_collector_look_through_the_process() -> None:
    """Invariant 6: in a triggerer that takes 100 to 200 ms each time, in whatever thread."""
    code = """
import asyncio, gc, sys
from airflow_provider_batch.api.async_client import AsyncBatchClient
from airflow_provider_batch.api.settings import ClientSettings
assert "openai" not in sys.modules
full = []
gc.callbacks.append(lambda phase, info: full.append(info) if info["generation"] == 2 else None)
async def main():
    await AsyncBatchClient.connect(ClientSettings(api_key="k"))
asyncio.run(main())
print("openai" in sys.modules, len(full), gc.isenabled(), gc.get_freeze_count() > 10_000)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["True", "0", "True", "True"], done.stderr
