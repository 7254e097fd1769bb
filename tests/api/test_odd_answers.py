"""Whatever a server answers, what leaves the clients is a value that is right or an error of ours."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from airflow_provider_batch.api.async_client import AsyncBatchClient
from airflow_provider_batch.api.client import BatchClient
from airflow_provider_batch.api.lenient_json import decode
from airflow_provider_batch.api.objects import Batch
from airflow_provider_batch.api.outcomes import Accepted, Refused, Unknown
from airflow_provider_batch.api.response_reader import Page
from airflow_provider_batch.api.settings import ClientSettings
from airflow_provider_batch.exceptions import ApiError
from tests.api.stub import Reply, StubApi, running_stub
from tests.api.test_objects import JSON, WHOLE

DEEP = b"[" * 100_000 + b"]" * 100_000
GOOD = {"id": "batch_9", "status": "completed"}
ODD = st.one_of(
    JSON,
    st.fixed_dictionaries({}, optional=dict.fromkeys([*WHOLE, "data", "has_more", "last_id", "error"], JSON)),
    st.fixed_dictionaries({"data": st.lists(JSON, max_size=3), "has_more": JSON}),
)
STATUSES = st.sampled_from([200, 200, 200, 201, 400, 404, 409, 429, 500])


def as_bytes(value: Any) -> bytes:
    return json.dumps(value).encode("utf-8", "surrogatepass")


class Clients:
    """Both clients of one server that answers all calls alike."""

    def __init__(self, stub: StubApi, loop: asyncio.AbstractEventLoop) -> None:
        self.stub, self.loop = stub, loop
        self.settings = ClientSettings(api_key="sk-test", base_url=stub.base_url, max_retries=0)
        self.blocking = BatchClient(self.settings)
        self.waiting = AsyncBatchClient(self.settings)

    def answer(self, content: bytes, status: int = 200) -> None:
        reply = Reply(status, content)
        for method, path in (
            ("GET", "/batches/batch_9"),
            ("GET", "/batches"),
            ("POST", "/batches"),
            ("POST", "/batches/batch_9/cancel"),
            ("GET", "/files/file-9"),
            ("POST", "/files"),
        ):
            self.stub.on(method, path, reply)

    def calls(self, folder: Path) -> Iterator[Callable[[], Any]]:
        client, loop = self.blocking, self.loop
        yield lambda: client.retrieve("batch_9")
        yield lambda: client.cancel("batch_9")
        yield lambda: client.list_page()
        yield lambda: client.file_status("file-9")
        yield lambda: client.file_created_at("file-9")
        yield lambda: client.upload((folder / "input.jsonl").open("rb"), "input.jsonl")
        yield lambda: client.create(input_file_id="file-9", endpoint="/v1/responses", metadata={})
        yield lambda: loop.run_until_complete(self.waiting.retrieve("batch_9"))
        yield lambda: loop.run_until_complete(self.waiting.cancel("batch_9"))
        yield lambda: loop.run_until_complete(self.waiting.list_page())


@pytest.fixture(scope="module")
def clients() -> Iterator[Clients]:
    loop = asyncio.new_event_loop()
    with running_stub() as stub:
        made = Clients(stub, loop)
        yield made
        made.blocking.close()
        loop.run_until_complete(made.waiting.close())
    loop.close()


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(content=ODD.map(as_bytes) | st.binary(max_size=20), status=STATUSES)
@example(content=DEEP, status=200)
@example(content=DEEP, status=400)
@example(content=as_bytes({**WHOLE, "created_at": 10**400}), status=200)
@example(content=b'{"error": ' + b'{"message": ' * 950 + b"1" + b"}" * 951, status=400)
@example(content=b'{"error": {"code": {"a": NaN}, "message": ["x"], "param": 1}}', status=404)
def test_nothing_but_our_own_errors_leaves_the_clients(
    clients: Clients, tmp_path: Path, content: bytes, status: int
) -> None:
    (tmp_path / "input.jsonl").write_bytes(b"{}\n")
    clients.answer(content, status)
    for call in clients.calls(tmp_path):
        try:
            found = call()
        except ApiError as error:
            found = str(error)
        assert isinstance(found, Batch | Page | Accepted | Refused | Unknown | str | float | None)


@pytest.mark.parametrize(
    "bad",
    [b"null", b"7", b'"text"', b"[]", b"{}", b'{"id": null}', b'{"id": {}}', DEEP, b'{"id": NaN, "status": true}'],
    ids=lambda bad: bad[:12].decode(),
)
def test_a_member_of_the_list_that_is_no_batch_hides_no_other_and_is_counted(clients: Clients, bad: bytes) -> None:
    good = as_bytes(GOOD)
    clients.answer(b'{"has_more": "true", "data": [' + good + b", " + bad + b", " + good + b"]}")
    for page in (clients.blocking.list_page(), clients.loop.run_until_complete(clients.waiting.list_page())):
        assert [(one.id, one.status) for one in page.batches] == [("batch_9", "completed")] * 2
        assert (page.next_after, page.claims_more, page.unread) == ("batch_9", True, 1)


def test_a_batch_with_a_member_nested_beyond_reason_is_read(clients: Clients) -> None:
    members = as_bytes(WHOLE)[1:-1]
    clients.answer(b'{"metadata": {"x": ' + DEEP + b'}, "x": {"y": ' + DEEP + b"}, " + members + b"}")
    assert clients.blocking.retrieve("batch_9") == Batch.from_api(WHOLE)


@settings(max_examples=25, deadline=None)
@given(value=JSON.filter(lambda value: "00000" not in str(value)), levels=st.integers(0, 20))
def test_what_lies_within_32_levels_is_read_however_deep_the_rest_is(value: Any, levels: int) -> None:
    content = b'{"a": ' + as_bytes(value) + b', "b": ' + b"[" * 2_000 * levels + b"1" + b"]" * 2_000 * levels
    read = decode(content + b', "c": [[1], "]["]}')
    assert json.dumps(read["a"]) == json.dumps(value)
    assert read["c"] == [[1], "]["]
