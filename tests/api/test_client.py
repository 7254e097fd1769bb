"""The sync client over the real SDK and HTTP, faults on the wire included."""

from __future__ import annotations

import gzip
import io
import os
import socket
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from airflow_provider_batch.api.client import BatchClient
from airflow_provider_batch.api.errors import retry_after_of
from airflow_provider_batch.api.outcomes import Accepted, Refused, Unknown
from airflow_provider_batch.api.settings import ClientSettings
from airflow_provider_batch.exceptions import (
    ApiError,
    ApiRefusedError,
    ApiUnavailableError,
    AuthenticationError,
    NotFoundError,
    StorageError,
)
from tests.api.stub import Reply, StubApi, batch, error
from tests.conftest import SECRET


@pytest.fixture
def client(stub: StubApi, monkeypatch: pytest.MonkeyPatch) -> Iterator[BatchClient]:
    monkeypatch.setattr("airflow_provider_batch.api.client.FIRST_PAUSE", 0.01)
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.01)
    with BatchClient(ClientSettings(SECRET, base_url=stub.base_url, max_retries=2, timeout=5)) as client:
        yield client


def create(client: BatchClient) -> Accepted | Refused | Unknown:
    return client.create(input_file_id="file-1", endpoint="/v1/embeddings", metadata={"job": "abc"})


class OnlyRead:
    """Has `read` and nothing else: neither an `io.IOBase` nor seekable."""

    def __init__(self, content: bytes) -> None:
        self._file = io.BytesIO(content)

    def read(self, size: int = -1, /) -> bytes:
        return self._file.read(size)


def gzipped(content: bytes, path: Path) -> gzip.GzipFile:
    path.write_bytes(gzip.compress(content))
    return gzip.open(path)  # type: ignore[return-value]


CONTENT = b'{"custom_id": "1"}\n' * 5_000


class TestUpload:
    @pytest.mark.parametrize("kind", ["bytes", "file", "gzip", "only read"])
    def test_any_file_object_is_sent_whole_with_its_length(
        self, client: BatchClient, stub: StubApi, tmp_path: Path, kind: str
    ) -> None:
        (tmp_path / "f").write_bytes(CONTENT)
        files: dict[str, Callable[[], object]] = {
            "bytes": lambda: io.BytesIO(CONTENT),
            "file": lambda: (tmp_path / "f").open("rb"),
            "gzip": lambda: gzipped(CONTENT, tmp_path / "f.gz"),
            "only read": lambda: OnlyRead(CONTENT),
        }
        stub.on("POST", "/files", {"id": "file-1"})
        assert client.upload(files[kind](), "shard.jsonl", expires_after=3600) == "file-1"  # type: ignore[arg-type]
        received = stub.requests[-1]
        form = received.form()
        assert form["file"] == CONTENT
        assert form["purpose"] == b"batch"
        assert form["expires_after[seconds]"] == b"3600"
        assert received.headers["content-length"] == str(received.size)

    @pytest.mark.parametrize("make", [io.BytesIO, OnlyRead])
    def test_an_upload_that_is_repeated_sends_the_file_from_its_start(
        self, client: BatchClient, stub: StubApi, make: Callable[[bytes], io.BytesIO]
    ) -> None:
        stub.on("POST", "/files", Reply(503, {}), Reply(drop=True), Reply(body={"id": "file-2"}))
        assert client.upload(make(CONTENT), "shard.jsonl") == "file-2"
        assert [request.form()["file"] == CONTENT for request in stub.requests] == [True, True, True]

    def test_a_file_is_sent_from_its_start_wherever_it_stands(self, client: BatchClient, stub: StubApi) -> None:
        stub.on("POST", "/files", {"id": "file-1"})
        file = io.BytesIO(CONTENT)
        file.read()
        client.upload(file, "shard.jsonl")
        assert stub.requests[-1].form()["file"] == CONTENT

    def test_an_answer_without_an_id_is_an_error(self, client: BatchClient, stub: StubApi) -> None:
        stub.on("POST", "/files", {"object": "file"})
        with pytest.raises(ApiRefusedError, match="cannot be parsed"):
            client.upload(io.BytesIO(b"{}"), "shard.jsonl")


class TestCreate:
    def test_an_accepted_batch_carries_what_was_asked(self, client: BatchClient, stub: StubApi) -> None:
        stub.on("POST", "/batches", batch("batch_9", "validating", output_file_id=""))
        outcome = create(client)
        assert isinstance(outcome, Accepted)
        assert (outcome.batch.id, outcome.batch.status, outcome.batch.output_file_id) == ("batch_9", "validating", None)
        assert stub.requests[-1].json() == {
            "input_file_id": "file-1",
            "endpoint": "/v1/embeddings",
            "completion_window": "24h",
            "metadata": {"job": "abc"},
        }

    @pytest.mark.parametrize(
        "reply",
        [
            Reply(drop=True),
            Reply(500, {}),
            Reply(502, b"<html>Bad Gateway</html>", {"Content-Type": "text/html"}),
            error(408, "Request timeout"),
            error(409, "Conflict"),
            Reply(200, b"<html>login</html>"),
            Reply(200, b'{"id": "batch_'),
            Reply(200, {"object": "list", "data": []}),
            Reply(body=batch(), cut=10),
        ],
        ids=["dropped", "500", "502", "408", "409", "html", "half an answer", "no batch", "cut"],
    )
    def test_an_answer_that_leaves_doubt_is_unknown_and_not_repeated(
        self, client: BatchClient, stub: StubApi, reply: Reply
    ) -> None:
        """Invariant 2."""
        stub.on("POST", "/batches", reply)
        assert isinstance(create(client), Unknown)
        assert stub.count("POST", "/v1/batches") == 1

    def test_no_answer_in_time_is_unknown(self, stub: StubApi) -> None:
        """Invariant 2."""
        stub.on("POST", "/batches", Reply(body=batch(), delay=1))
        with BatchClient(ClientSettings(SECRET, base_url=stub.base_url, timeout=0.2)) as client:
            assert isinstance(create(client), Unknown)
        assert stub.count("POST", "/v1/batches") == 1

    @pytest.mark.parametrize(
        ("reply", "expected", "queue_full", "file_not_ready"),
        [
            (error(400, "Bad endpoint", code="invalid_value"), ApiRefusedError, False, False),
            (error(401, "Incorrect API key"), AuthenticationError, False, False),
            (error(404, "Invalid URL (POST /batches)"), ApiRefusedError, False, False),
            (error(429, "Too many requests", code="rate_limit_exceeded"), ApiUnavailableError, False, False),
            (error(429, "You exceeded your quota", code="insufficient_quota"), ApiRefusedError, False, False),
            (error(429, "x", code="token_limit_exceeded"), ApiUnavailableError, True, False),
            (error(400, "Enqueued token limit reached for gpt"), ApiUnavailableError, True, False),
            (error(400, "Too many enqueued tokens: wait"), ApiUnavailableError, True, False),
            (error(400, "Cannot find file file-1", param="file_id"), ApiUnavailableError, False, True),
            (error(400, "Cannot find file x", param="body.image"), ApiRefusedError, False, False),
        ],
    )
    def test_a_refusal_says_why(
        self,
        client: BatchClient,
        stub: StubApi,
        reply: Reply,
        expected: type[ApiError],
        queue_full: bool,
        file_not_ready: bool,
    ) -> None:
        stub.on("POST", "/batches", reply)
        outcome = create(client)
        assert isinstance(outcome, Refused)
        assert type(outcome.error) is expected
        assert (outcome.queue_full, outcome.file_not_ready) == (queue_full, file_not_ready)
        assert stub.count("POST", "/v1/batches") == 1

    @pytest.mark.parametrize("address", ["http://127.0.0.1:{closed}/v1", "http://no-such-host.invalid/v1"])
    def test_a_connection_that_never_opened_made_no_batch(self, address: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            closed = free.getsockname()[1]
        with BatchClient(ClientSettings(SECRET, base_url=address.format(closed=closed))) as client:
            outcome = create(client)
        assert isinstance(outcome, Refused)
        assert isinstance(outcome.error, ApiUnavailableError)

    def test_what_is_not_an_api_error_is_unknown_too(
        self, client: BatchClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(**_: object) -> None:
            raise RuntimeError("bug in a library")

        monkeypatch.setattr(client._once.batches.with_raw_response, "create", fail)
        assert isinstance(create(client), Unknown)


class TestReading:
    def test_the_list_is_read_page_by_page_as_needed(self, client: BatchClient, stub: StubApi) -> None:
        def page(request: object) -> Reply:
            query = stub.requests[-1].query
            first = int(query.get("after", "b0")[1:]) + 1
            ids = [f"b{n}" for n in range(first, min(first + int(query["limit"]), 8))]
            more = bool(ids) and ids[-1] != "b7"
            return Reply(body={"object": "list", "data": [batch(i) for i in ids], "last_id": ids[-1], "has_more": more})

        stub.on("GET", "/batches", page)
        batches = client.list(limit=3)
        assert next(batches).id == "b1"
        assert stub.count("GET", "/v1/batches") == 1
        assert [entry.id for entry in batches] == ["b2", "b3", "b4", "b5", "b6", "b7"]
        assert stub.count("GET", "/v1/batches") == 3

    def test_a_server_that_ignores_the_cursor_does_not_loop(self, client: BatchClient, stub: StubApi) -> None:
        stub.on("GET", "/batches", {"data": [batch("b1")], "last_id": "b1", "has_more": True})
        assert len(list(client.list())) == 2

    def test_cancelling_what_has_ended_returns_it_unchanged(self, client: BatchClient, stub: StubApi) -> None:
        stub.on("POST", "/batches/b/cancel", error(409, "Cannot cancel a batch with status 'completed'."))
        stub.on("GET", "/batches/b", batch("b", "completed"))
        assert client.cancel("b").status == "completed"
        assert stub.count("POST", "/v1/batches/b/cancel") == 1

    def test_a_retry_waits_as_long_as_the_server_asks(self, client: BatchClient, stub: StubApi) -> None:
        late = error(429, "slow down", headers={"Retry-After": "0.3"})
        times: list[float] = []

        def answer(_: object) -> Reply:
            times.append(__import__("time").monotonic())
            return late if len(times) == 1 else Reply(body=batch("b"))

        stub.on("GET", "/batches/b", answer)
        client.retrieve("b")
        assert times[1] - times[0] >= 0.3

    def test_an_error_keeps_the_seconds_that_the_server_asked_for(self, client: BatchClient, stub: StubApi) -> None:
        stub.on("GET", "/batches/b", error(429, "slow down", headers={"Retry-After": "900"}))
        with pytest.raises(ApiUnavailableError) as caught:
            client.retrieve("b")
        assert caught.value.retry_after == 900

    @pytest.mark.parametrize(
        ("retry_after", "date", "seconds"),
        [
            ("Wed, 21 Oct 2026 07:28:00 GMT", "Wed, 21 Oct 2026 07:27:00 GMT", 60),
            ("Wed, 21 Oct 2026 07:28:00 GMT", "some day", None),
            ("Wed, 21 Oct 2026 07:28:00 -0000", "Wed, 21 Oct 2026 07:27:00 GMT", None),
            ("soon", "Wed, 21 Oct 2026 07:27:00 GMT", None),
        ],
    )
    def test_an_odd_date_to_come_back_at_is_passed_over(
        self, retry_after: str, date: str, seconds: float | None
    ) -> None:
        assert retry_after_of({"retry-after": retry_after, "date": date}) == seconds

    def test_organization_and_project_are_those_of_the_settings_and_not_of_the_environment(
        self, stub: StubApi, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OPENAI_ORG_ID", "org-of-somebody")
        monkeypatch.setenv("OPENAI_BASE_URL", "http://elsewhere.invalid")
        stub.on("POST", "/batches", batch())
        stub.on("GET", "/batches/b", batch("b"))
        with BatchClient(ClientSettings(SECRET, base_url=stub.base_url, project="proj-1")) as client:
            create(client)
            client.retrieve("b")
        for request in stub.requests:
            assert "openai-organization" not in request.headers
            assert request.headers["openai-project"] == "proj-1"


class TestDownload:
    def test_a_transfer_that_is_cut_starts_again(self, client: BatchClient, stub: StubApi, tmp_path: Path) -> None:
        content = os.urandom(300_000)
        stub.on("GET", "/files/f/content", Reply(body=content, cut=100_000), Reply(503), Reply(body=content))
        assert client.download("f", tmp_path / "out") == len(content)
        assert (tmp_path / "out").read_bytes() == content

    def test_a_transfer_that_never_ends_leaves_nothing(
        self, client: BatchClient, stub: StubApi, tmp_path: Path
    ) -> None:
        (tmp_path / "out").write_bytes(b"before")
        stub.on("GET", "/files/f/content", Reply(body=b"x" * 1000, cut=10))
        with pytest.raises(ApiUnavailableError):
            client.download("f", tmp_path / "out")
        assert [path.name for path in tmp_path.iterdir()] == ["out"]
        assert (tmp_path / "out").read_bytes() == b"before"
        assert stub.count("GET", "/v1/files/f/content") == 3

    def test_a_compressed_transfer_is_unpacked(self, client: BatchClient, stub: StubApi, tmp_path: Path) -> None:
        packed = Reply(body=gzip.compress(CONTENT), headers={"Content-Encoding": "gzip"})
        stub.on("GET", "/files/f/content", packed)
        assert client.download("f", tmp_path / "out") == len(CONTENT)

    def test_an_html_page_is_no_result_file(self, client: BatchClient, stub: StubApi, tmp_path: Path) -> None:
        stub.on("GET", "/files/f/content", Reply(200, b"<html>", {"Content-Type": "text/html"}))
        with pytest.raises(ApiRefusedError, match="base URL"):
            client.download("f", tmp_path / "out")

    def test_an_empty_file_is_a_file(self, client: BatchClient, stub: StubApi, tmp_path: Path) -> None:
        stub.on("GET", "/files/f/content", Reply(body=b""))
        assert client.download("f", tmp_path / "out") == 0
        assert (tmp_path / "out").exists()

    def test_a_folder_that_is_not_there_is_a_storage_error(
        self, client: BatchClient, stub: StubApi, tmp_path: Path
    ) -> None:
        stub.on("GET", "/files/f/content", Reply(body=b"x"))
        with pytest.raises(StorageError, match="cannot be written"):
            client.download("f", tmp_path / "no" / "out")


class TestMessages:
    @pytest.mark.parametrize(
        ("reply", "expected", "advice"),
        [
            (error(401, f"Incorrect key: {SECRET}"), AuthenticationError, "Check the API key of connection 'x'"),
            (error(403, "no access"), AuthenticationError, "rights"),
            (Reply(404, {"detail": "Not Found"}), ApiRefusedError, "check the base URL of connection 'x'"),
            (Reply(404, b"<html>", {"Content-Type": "text/html"}), ApiRefusedError, "check the base URL"),
            (error(404, "Invalid URL (GET /batches/b)"), ApiRefusedError, "check the base URL"),
            (Reply(200, b"<!doctype html>"), ApiRefusedError, "check the base URL"),
            (error(404, "No batch found with id 'b'."), NotFoundError, "another account"),
            (Reply(404, {"detail": "Batch b does not exist"}), NotFoundError, "another account"),
            (Reply(502, b"<html>", {"Content-Type": "text/html"}), ApiUnavailableError, "try again later"),
            (Reply(drop=True), ApiUnavailableError, "Check the network"),
            (error(400, "Bad id"), ApiRefusedError, "refused again"),
        ],
    )
    def test_an_error_says_what_was_asked_what_came_back_and_what_to_do_and_never_the_key(
        self, stub: StubApi, reply: Reply, expected: type[ApiError], advice: str
    ) -> None:
        stub.on("GET", "/batches/b", reply)
        settings = ClientSettings(SECRET, base_url=stub.base_url, max_retries=0, name="connection 'x'")
        with BatchClient(settings) as client, pytest.raises(ApiError) as caught:
            client.retrieve("b")
        assert type(caught.value) is expected
        assert str(caught.value).startswith(f"Retrieving batch b at {stub.base_url} failed: ")
        assert advice in str(caught.value)
        chained: BaseException | None = caught.value
        while chained is not None:
            assert SECRET not in f"{chained}{chained!r}"
            chained = chained.__cause__

    def test_the_account_check_names_the_server(self, client: BatchClient, stub: StubApi) -> None:
        stub.on("GET", "/batches", {"data": [], "has_more": False})
        assert stub.base_url in client.account_check()


def test_the_log_has_no_line_for_each_request(
    client: BatchClient, stub: StubApi, caplog: pytest.LogCaptureFixture
) -> None:
    import httpx2

    stub.on("GET", "/batches/b", batch("b"))
    with caplog.at_level("INFO"):
        client.retrieve("b")
        assert caplog.records == []
        httpx2.get(stub.base_url)  # somebody else's
        assert len(caplog.records) == 1


class TestMemory:
    def test_files_pass_through_in_blocks(self, client: BatchClient, stub: StubApi, tmp_path: Path) -> None:
        """Invariant 8."""
        size = 100_000_000
        with (tmp_path / "big").open("wb") as big:
            big.truncate(size)
        stub.on("POST", "/files", {"id": "file-1"})
        tracemalloc.start()
        try:
            with (tmp_path / "big").open("rb") as big:
                client.upload(big, "big.jsonl")
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert stub.requests[-1].size > size
        assert peak < 16_000_000
