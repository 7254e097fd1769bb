"""Whatever the other side sends: an answer is bounded, and the key stays at home."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from airflow_provider_batch.api import bounds, client
from airflow_provider_batch.api.async_client import AsyncBatchClient
from airflow_provider_batch.api.client import BatchClient
from airflow_provider_batch.api.errors import retry_after_of
from airflow_provider_batch.api.objects import Batch
from airflow_provider_batch.api.outcomes import Unknown
from airflow_provider_batch.api.settings import ClientSettings
from airflow_provider_batch.api.transport import guard
from airflow_provider_batch.exceptions import ApiError, ApiRefusedError, ApiUnavailableError
from tests.api.stub import Reply, Request, StubApi, batch, error, running_stub

GZIP = {"Content-Encoding": "gzip"}
#: 32 MB of spaces in a JSON object: 32 KB on the wire.
BOMB = gzip.compress(b'{"id": "batch_1", "x": "' + b" " * (32 << 20) + b'"}', compresslevel=9)

Retrieve = Callable[[StubApi], Batch]


def settings_of(api: StubApi) -> ClientSettings:
    return ClientSettings(api_key="sk-secret-1234", base_url=api.base_url, max_retries=1)


def _blocking(api: StubApi) -> Batch:
    with BatchClient(settings_of(api)) as its_client:
        return its_client.retrieve("batch_1")


def _asynchronous(api: StubApi) -> Batch:
    async def ask() -> Batch:
        async with await AsyncBatchClient.connect(settings_of(api)) as its_client:
            return await its_client.retrieve("batch_1")

    return asyncio.run(ask())


BOTH = pytest.mark.parametrize("retrieve", [_blocking, _asynchronous])


@pytest.fixture
def api() -> Iterator[StubApi]:
    with running_stub() as stub:
        yield stub


@BOTH
def test_a_small_answer_that_unpacks_to_a_thousandfold_is_not_unpacked(api: StubApi, retrieve: Retrieve) -> None:
    api.on("GET", "/batches/batch_1", Reply(body=BOMB, headers=GZIP))
    assert len(BOMB) < 50_000
    with pytest.raises(ApiError, match="larger than any response of a Batch API"):
        retrieve(api)


@BOTH
def test_an_endless_answer_is_not_read_to_its_end(
    api: StubApi, retrieve: Retrieve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "MAX_RESPONSE_BYTES", 1000)
    api.on("GET", "/batches/batch_1", Reply(body=batch(metadata={"note": "x" * 2000})))
    with pytest.raises(ApiError, match="larger than any response of a Batch API"):
        retrieve(api)


@BOTH
@pytest.mark.parametrize(
    "pack",
    [
        gzip.compress,
        zlib.compress,
        lambda data: zlib.compress(data, wbits=-15),
        lambda data: gzip.compress(data[:50]) + gzip.compress(data[50:]),
    ],
)
def test_a_compressed_answer_is_read(
    api: StubApi, retrieve: Retrieve, pack: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "STEP", 7)
    packed = pack(Reply(body=batch()).content)
    encoding = "gzip" if packed.startswith(b"\x1f\x8b") else "deflate"
    api.on("GET", "/batches/batch_1", Reply(body=packed, headers={"Content-Encoding": encoding}))
    assert retrieve(api).id == "batch_1"


@BOTH
@pytest.mark.parametrize(
    ("body", "encoding"),
    [(gzip.compress(b'{"id": 1}', mtime=0)[:-9], "gzip"), (b"no gzip", "gzip"), (b"{}", "br"), (b"{}", "zstd, gzip")],
)
def test_an_answer_that_cannot_be_unpacked_is_an_error_of_ours(
    api: StubApi, retrieve: Retrieve, body: bytes, encoding: str
) -> None:
    api.on("GET", "/batches/batch_1", Reply(body=body, headers={"Content-Encoding": encoding}))
    with pytest.raises(ApiError, match="was rejected"):
        retrieve(api)


@BOTH
def test_deep_nesting_hides_only_the_member_it_is_in_and_is_an_error_of_ours_where_it_is_all(
    api: StubApi, retrieve: Retrieve
) -> None:
    deep = b"[" * 100_000 + b"]" * 100_000
    api.on("GET", "/batches/batch_1", Reply(body=b'{"status": ' + deep + b', "id": "b"}'))
    retrieve(api)
    api.on("GET", "/batches/batch_1", Reply(body=deep))
    with pytest.raises(ApiError):
        retrieve(api)


@BOTH
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_another_host_is_an_error_and_the_key_stays(
    api: StubApi, retrieve: Retrieve, status: int
) -> None:
    with running_stub() as elsewhere:
        elsewhere.on("GET", "/batches/batch_1", batch())
        to = {"Location": f"{elsewhere.base_url}/batches/batch_1"}
        api.on("GET", "/batches/batch_1", Reply(status, headers=to))
        with pytest.raises(ApiRefusedError, match=r"redirect to 127\.0\.0\.1, which is not followed"):
            retrieve(api)
        assert elsewhere.requests == []


@BOTH
def test_redirects_on_the_same_host_are_followed_a_few_times(api: StubApi, retrieve: Retrieve) -> None:
    api.on("GET", "/batches/batch_1", Reply(307, headers={"Location": f"{api.base_url}/moved"}))
    api.on("GET", "/moved", batch())
    assert retrieve(api).id == "batch_1"
    api.on("GET", "/moved", Reply(307, headers={"Location": "/v1/moved"}))
    with pytest.raises(ApiError):
        retrieve(api)
    assert len(api.requests) < 20


def test_a_create_that_is_redirected_is_an_unknown_outcome_and_is_sent_nowhere_else(api: StubApi) -> None:
    with running_stub() as elsewhere:
        api.on("POST", "/batches", Reply(307, headers={"Location": f"{elsewhere.base_url}/batches"}))
        with BatchClient(settings_of(api)) as its_client:
            outcome = its_client.create(input_file_id="f", endpoint="/v1/embeddings", metadata={})
        assert isinstance(outcome, Unknown)
        assert elsewhere.requests == []


def test_a_file_that_lies_with_another_host_is_fetched_without_the_key(
    api: StubApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "MAX_RESPONSE_BYTES", 2)  # of what is no file
    with running_stub() as elsewhere:
        elsewhere.on("GET", "/signed", Reply(body=b"lines"))
        api.on("GET", "/files/f/content", Reply(302, headers={"Location": f"{elsewhere.base_url}/signed"}))
        settings = ClientSettings("sk-secret-1234", api.base_url, organization="org-1", project="proj-1")
        with BatchClient(settings) as its_client:
            assert its_client.download("f", tmp_path / "f") == 5
        (asked,) = elsewhere.requests
        assert not {"authorization", "openai-organization", "openai-project"} & asked.headers.keys()
        assert "sk-secret" not in str(asked.headers)


def test_a_file_without_end_is_not_kept(api: StubApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "MAX_FILE_BYTES", 1 << 20)
    api.on("GET", "/files/f/content", Reply(body=BOMB, headers=GZIP))
    with BatchClient(settings_of(api)) as its_client, pytest.raises(ApiError, match="larger than"):
        its_client.download("f", tmp_path / "f")
    assert list(tmp_path.iterdir()) == []


def test_pages_without_end_are_read_up_to_a_bound(api: StubApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "MAX_PAGES", 5)

    def page(asked: Request) -> Reply:
        number = len(api.requests)
        return Reply(body={"data": [batch(f"batch_{number}")], "has_more": True})

    api.on("GET", "/batches", page)
    with BatchClient(settings_of(api)) as its_client:
        assert len(list(its_client.list())) == 5


@pytest.mark.parametrize("asked", ["1000000000", "inf", "1e400", "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_a_pause_of_years_that_a_server_asks_for_is_an_hour(asked: str) -> None:
    headers = {"retry-after": asked, "date": "Sun, 29 Nov 2026 12:00:00 GMT"}
    assert retry_after_of(headers) == bounds.MAX_RETRY_AFTER


@pytest.mark.parametrize("asked", ["nan", "soon", "", "Fri, 99 Dec 99999 23:59:59 GMT"])
def test_a_pause_that_is_no_number_is_none(asked: str) -> None:
    assert retry_after_of({"retry-after": asked, "date": "Sun, 29 Nov 2026 12:00:00 GMT"}) is None


def test_a_download_does_not_sleep_for_as_long_as_a_server_likes(
    api: StubApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr("airflow_provider_batch.api.client.time.sleep", slept.append)
    monkeypatch.setattr("openai._base_client.SyncAPIClient._sleep_for_retry", lambda *_, **__: None)
    api.on("GET", "/files/f/content", error(503, "busy", headers={"Retry-After": "1000000000"}))
    with BatchClient(settings_of(api)) as its_client, pytest.raises(ApiUnavailableError) as raised:
        its_client.download("f", tmp_path / "f")
    assert raised.value.retry_after == bounds.MAX_RETRY_AFTER
    assert slept == [client.LONGEST_PAUSE]
