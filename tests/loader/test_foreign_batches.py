"""Landing batches of other tools: every request is a row, or the load fails with an error that names the line."""

from __future__ import annotations

import json
import string
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_batch.api.client import BatchClient
from airflow_provider_batch.api.endpoints import Endpoint, endpoint_in
from airflow_provider_batch.api.settings import ClientSettings
from airflow_provider_batch.exceptions import ConfigurationError, JobFailedError, SourceError
from airflow_provider_batch.jobs.job_request import TableOptions, Tools
from airflow_provider_batch.loader import foreign_batches
from airflow_provider_batch.loader.load import LoadRequest, load_batches
from tests.api.stub import Reply, StubApi, batch, error
from tests.jobs.support import changed, statuses, table

BODY: dict[str, Any] = {"model": "gpt-6-luna", "messages": [{"role": "user", "content": "Hello"}]}
CHAT = {
    "object": "chat.completion",
    "model": "gpt-6-luna",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hi"}}],
}
RESPONSE = {
    "object": "response",
    "status": "completed",
    "model": "gpt-6-luna",
    "output": [{"type": "message", "content": [{"type": "output_text", "text": "Hi"}]}],
}


def request_line(custom_id: Any, url: str | None = "/v1/chat/completions", **changes: Any) -> bytes:
    return json.dumps({"custom_id": custom_id, "method": "POST", "url": url, "body": BODY, **changes}).encode()


def answer(custom_id: Any, body: Any = CHAT) -> bytes:
    response = {"status_code": 200, "request_id": "r", "body": body}
    return json.dumps({"id": "b", "custom_id": custom_id, "response": response, "error": None}).encode()


class Service:
    """A service that keeps whatever batches it is given."""

    def __init__(self, stub: StubApi, tmp_path: Path) -> None:
        self.stub, self.tmp_path = stub, tmp_path

    def has(
        self, lines: bytes | None, results: Sequence[bytes], *, name: str = "1", status: str = "completed", **given: Any
    ) -> str:
        """Add a batch that has ended; return its id."""
        fields = {"input_file_id": f"in-{name}", "output_file_id": f"out-{name}" if results else None, **given}
        self.stub.on("GET", f"/batches/batch_{name}", batch(f"batch_{name}", status, **fields))
        gone = error(404, f"No such File object: in-{name}", param="id")
        self.stub.on("GET", f"/files/in-{name}/content", gone if lines is None else Reply(body=lines))
        self.stub.on("GET", f"/files/out-{name}/content", Reply(body=b"".join(line + b"\n" for line in results)))
        return f"batch_{name}"

    def load(self, *batch_ids: str, **changes: Any) -> dict[str, Any]:
        settings = ClientSettings(api_key="k", base_url=self.stub.base_url, max_retries=0)
        request = LoadRequest(list(batch_ids), str(self.tmp_path / "table"), TableOptions(if_exists="replace"))
        request = changed(request, **changes)
        return load_batches(request, Tools(client=BatchClient(settings)))

    def lands(self, lines: bytes, results: Sequence[bytes]) -> list[tuple[Any, ...]]:
        """Land one batch; return its rows."""
        self.load(self.has(lines, results))
        return table(self.tmp_path, "custom_id, status, text")


@pytest.fixture
def service(stub: StubApi, tmp_path: Path) -> Service:
    return Service(stub, tmp_path)


TOOLS: dict[str, tuple[bytes, Any, str]] = {
    "curator": (b'{"custom_id": "0", "method": "POST", "url": "/v1/chat/completions", "body": {}}', "0", "0"),
    "ids that are numbers": (request_line(7), "7", "7"),
    "ids that are numbers in the results too": (request_line(7), 7, "7"),
    "ids that are numbers in the results only": (request_line("7"), 7, "7"),
    "ids with half a surrogate pair": (request_line("a\ud83d"), "a\ud83d", "a\ufffd"),
    "ids with half a surrogate pair, replaced": (request_line("a\ud83d"), "a\ufffd", "a\ufffd"),
    "half a surrogate pair in the body": (request_line("a", body={"prompt": "\ud83d"}), "a", "a"),
    "NaN in the body": (request_line("a", body={"temperature": float("nan")}), "a", "a"),
    "a byte order mark": (b"\xef\xbb\xbf" + request_line("a"), "a", "a"),
    "members in another order": (b'{"body":{},"url":"/v1/chat/completions","custom_id":"a"}', "a", "a"),
    "members of their own": (request_line("a", metadata={"row": 1}, priority=3), "a", "a"),
    "no method and url": (b'{"custom_id":"a","body":{}}', "a", "a"),
    "an escaped id": (rb'{"custom_id":"\u0061\/b","body":{}}', "a/b", "a/b"),
    "bytes that are no UTF-8": (b'{"custom_id":"a","body":{"prompt":"\xff"}}', "a", "a"),
    "carriage returns": (request_line("a") + b"\r", "a", "a"),
    "raw line separators": (b'{"custom_id":"a","body":{"prompt":"\xe2\x80\xa8"}}', "a", "a"),
}


@pytest.mark.parametrize("tool", TOOLS)
def test_every_request_that_another_tool_wrote_is_a_row(service: Service, tool: str) -> None:
    """Invariant 1."""
    line, answered, landed = TOOLS[tool]
    lines = request_line("first") + b"\n\n" + line
    assert service.lands(lines, [answer(answered), answer("first")]) == [
        ("first", "succeeded", "Hi"),
        (landed, "succeeded", "Hi"),
    ]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    ids=st.lists(st.text(string.printable + "é\u2028😀", max_size=5) | st.integers(), max_size=6, unique_by=str),
    before=st.sampled_from([b"", b"\xef\xbb\xbf", b"\n", b" \r\n"]),
    ending=st.sampled_from([b"", b"\n", b"\r\n", b"\n\n  \n"]),
)
def test_rows_are_the_requests_in_their_order_whatever_the_ids_are(
    service: Service, ids: list[Any], before: bytes, ending: bytes
) -> None:
    """Invariant 1."""
    lines = before + b"\n".join(request_line(one) for one in [*ids, "last one"]) + ending
    rows = service.lands(lines, [answer(one) for one in reversed([*ids, "last one"])])
    assert rows == [(str(one), "succeeded", "Hi") for one in [*ids, "last one"]]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (b"not json", "no JSON object: not json"),
        (b'["custom_id", "a"]', "no JSON object"),
        (b'{"body": {}}', "found no custom_id"),
        (b'{"custom_id": null, "body": {}}', "found no custom_id"),
        ("{}".encode("utf-16"), "UTF-16"),
    ],
)
def test_a_line_that_is_not_a_request_stops_the_load_with_an_error_that_names_it(
    service: Service, line: bytes, found: str
) -> None:
    """A skipped line may be the request of a paid answer."""
    batch_id = service.has(request_line("a") + b"\n\n" + line, [answer("a")])
    with pytest.raises(SourceError, match=rf"Line 3 of in-1, the input file of batch {batch_id}: .*{found}"):
        service.load(batch_id)
    assert not list(service.tmp_path.rglob("*.parquet"))


def test_two_requests_with_one_id_stop_the_load_where_there_are_answers(service: Service) -> None:
    lines = b"\n".join([request_line("b"), request_line("a"), request_line("a")])
    batch_id = service.has(lines, [answer("a"), answer("b"), answer("a")])
    with pytest.raises(SourceError, match=r"Lines 2 and 3 of in-1.* the same custom_id 'a'"):
        service.load(batch_id)
    service.load(service.has(lines, [], status="failed"))
    assert statuses(service.tmp_path) == {"failed": 3}


def test_a_refusal_names_the_row_also_behind_blank_lines(service: Service) -> None:
    errors = {"data": [{"code": "invalid_url", "message": "no", "line": 3}]}
    batch_id = service.has(request_line("a") + b"\n\n" + request_line("b"), [], status="failed", errors=errors)
    service.load(batch_id)
    assert table(service.tmp_path, "custom_id, error_message = 'no'") == [("a", False), ("b", True)]


@pytest.mark.parametrize("odd", ["A", " a", "a-1"])
def test_answers_of_no_request_fail_the_load_after_landing(service: Service, odd: str) -> None:
    """A paid answer never counts as foreign without an error."""
    batch_id = service.has(request_line("a") + b"\n" + request_line("b"), [answer(odd), answer("a"), answer("b")])
    with pytest.raises(JobFailedError, match=rf"no request of their batch has \(1 of {batch_id}\)"):
        service.load(batch_id)
    assert statuses(service.tmp_path) == {"succeeded": 2}
    assert service.load(batch_id, on_missing="land")["rows"] == 2


@pytest.mark.parametrize(
    ("said", "url"),
    [
        (None, "/v1/chat/completions"),
        ("", "/chat/completions"),
        ("/chat/completions", "/chat/completions"),
        ("/chat/completions", None),
        (None, "https://gateway.example/openai/v1/chat/completions/"),
        (None, "/openai/deployments/luna/chat/completions?api-version=2025-04-01"),
    ],
)
def test_the_endpoint_is_taken_from_the_lines_where_the_batch_has_none(
    service: Service, said: str | None, url: str | None
) -> None:
    line = request_line("a", url=url)
    service.load(service.has(line, [answer("a")], endpoint=said))
    assert table(service.tmp_path, "text") == [("Hi",)]


def test_the_lines_decide_where_azure_gives_every_batch_the_endpoint_of_chat_completions(service: Service) -> None:
    batch_id = service.has(request_line("a", "/v1/responses"), [answer("a", RESPONSE)], endpoint="/chat/completions")
    service.load(batch_id)
    assert table(service.tmp_path, "text, status") == [("Hi", "succeeded")]


@pytest.mark.parametrize("body", [CHAT, RESPONSE])
def test_the_endpoint_is_taken_from_the_answers_where_the_input_file_is_gone(service: Service, body: Any) -> None:
    service.load(service.has(None, [answer("a", body)], endpoint=None, total=1))
    assert table(service.tmp_path, "custom_id, text") == [("a", "Hi")]


def test_an_unknown_endpoint_is_an_error(service: Service) -> None:
    with pytest.raises(ConfigurationError, match="the batch has none, and neither the 'url' of its input lines"):
        service.load(service.has(None, [answer("a", {"object": "something"})], endpoint=None))


def test_batches_and_lines_of_two_endpoints_are_not_landed_as_one_table(service: Service) -> None:
    first = service.has(request_line("a"), [answer("a")], name="1")
    second = service.has(request_line("a", "/v1/responses"), [answer("a", RESPONSE)], name="2")
    with pytest.raises(
        ConfigurationError, match="batch_1 has the endpoint /v1/chat/completions, and batch batch_2 /v1/responses"
    ):
        service.load(first, second)
    mixed = request_line("a") + b"\n" + request_line("b", "/v1/responses")
    with pytest.raises(ConfigurationError, match=r"/v1/chat/completions \(line 1\) and /v1/responses \(line 2\)"):
        service.load(service.has(mixed, [answer("a"), answer("b")]))


def test_a_file_without_line_breaks_does_not_fill_the_memory(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreign_batches, "MAX_LINE_BYTES", 1000)
    with pytest.raises(SourceError, match="line 2 of one of its files is longer"):
        service.load(service.has(request_line("a") + b"\n" + b"x" * 1001, [answer("a")]))


def test_a_long_line_is_not_read_whole_for_its_id(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreign_batches, "MAX_LENIENT_BYTES", 100)
    assert service.lands(request_line(7, body={"prompt": "x" * 1000}), [answer("7")]) == [("7", "succeeded", "Hi")]
    with pytest.raises(SourceError, match=r"Line 1 .* bytes that cannot be read as JSON"):
        service.load(service.has(request_line("a\ud83d", body={"prompt": "x" * 1000}), [answer("a")]))


def test_a_batch_that_counts_more_requests_than_its_file_has_is_not_whole(service: Service) -> None:
    with pytest.raises(JobFailedError, match="2 rows are in neither result file"):
        service.load(service.has(request_line("a"), [answer("a")], total=3))


@pytest.mark.parametrize(
    "write", [str, str.upper, lambda url: url.removeprefix("/v1"), lambda url: f"https://h:1{url}"]
)
@pytest.mark.parametrize("endpoint", Endpoint)
def test_each_endpoint_is_read_from_each_way_to_write_it(endpoint: Endpoint, write: Callable[[str], str]) -> None:
    assert endpoint_in(write(endpoint.value)) is endpoint
    assert endpoint_in("/v1/messages") is None
