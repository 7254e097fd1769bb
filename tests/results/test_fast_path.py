"""The fast path gives the same values as reading line by line."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_batch.api.endpoints import Endpoint
from airflow_provider_batch.results.chunk_reader import ChunkReader
from airflow_provider_batch.results.fast_path import FastPathReader
from airflow_provider_batch.results.line_reader import Columns, LineReader, columns_of
from airflow_provider_batch.structured.column_type import ParsedColumn
from airflow_provider_batch.structured.response_model import ResponseModel
from airflow_provider_batch.table.schema import TableSpec, own_columns
from tests.results.lines.test_lenient_path import QUICK, lines_like
from tests.results.recorded import LINES, embeddings_body, message
from tests.results.support import chat_body, chat_choice, encoded, http_error, land, success

RESPONSE = {
    "id": "resp_1",
    "status": "completed",
    "model": "gpt-5-mini",
    "error": None,
    "incomplete_details": None,
    "output": [
        {"type": "reasoning", "id": "rs_1", "summary": []},
        {
            "type": "message",
            "content": [{"type": "output_text", "text": "Hello.", "annotations": [], "logprobs": []}],
        },
    ],
    "usage": {
        "input_tokens": 20,
        "output_tokens": 10,
        "total_tokens": 30,
        "input_tokens_details": {"cached_tokens": 4},
        "output_tokens_details": {"reasoning_tokens": 2},
    },
}
CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
USUAL: dict[Endpoint, list[Any]] = {
    Endpoint.CHAT_COMPLETIONS: [
        chat_body(),
        chat_body(choices=[chat_choice(None, "tool_calls", tool_calls=[CALL])]),
        chat_body(model="no-such-model", usage={"prompt_tokens": 1, "total_tokens": 1}),
    ],
    Endpoint.RESPONSES: [
        RESPONSE,
        {**RESPONSE, "output": RESPONSE["output"][1:]},  # type: ignore[index]
        {**RESPONSE, "output": [message("First."), *RESPONSE["output"], message("")]},  # type: ignore[misc]
    ],
    Endpoint.EMBEDDINGS: [embeddings_body([0.5]), embeddings_body("AAAAPw==")],
}
ENDPOINTS = pytest.mark.parametrize("endpoint", USUAL, ids=lambda endpoint: endpoint.value)


def read_by_column(raws: list[bytes], spec: TableSpec) -> tuple[Columns, list[int]]:
    reader = FastPathReader.for_table(spec)
    assert reader is not None
    return reader.read(raws)


def read_one_by_one(raws: list[bytes], spec: TableSpec) -> Columns:
    reader = LineReader(spec)
    return columns_of([reader.read(raw) for raw in raws], list(own_columns(spec)))


def assert_same(columns: Columns, expected: Columns, count: int) -> None:
    nothing = [None] * count
    assert columns.keys() <= expected.keys()
    assert {name: list(columns.get(name, nothing)) for name in expected} == expected


@ENDPOINTS
def test_what_the_api_writes_is_usual(endpoint: Endpoint) -> None:
    spec = TableSpec(endpoint, raw="all", embedding_size=1)
    raws = [encoded(success(str(at), body)) for at, body in enumerate(USUAL[endpoint])]
    columns, others = read_by_column(raws, spec)
    assert others == []
    assert_same(columns, read_one_by_one(raws, spec), len(raws))


#: Field names and values that one of the readers handles, used in any place of a line.
NAMES = "error refusal reasoning reasoning_content logprobs summary content incomplete_details status input_tokens "
NAMES += "output_tokens prompt_tokens input_tokens_details prompt_tokens_details output_tokens_details"
VALUES: list[Any] = [None, [], {}, 0, 7, -1, 2.5, "7", "length", "completed", "Hm.", "\ud83d", {"reason": "x"}]
VALUES += [{"code": "x", "message": "m"}, {"cached_tokens": 3}, {"audio_tokens": 1}, {"cached_tokens": 99}]
VALUES += [[{"type": "summary_text", "text": "s"}], {"content": [{"token": "a"}]}, [{"token": "a"}]]


@ENDPOINTS
def test_any_change_makes_a_line_unusual_or_gives_the_same_values(endpoint: Endpoint) -> None:
    spec = TableSpec(endpoint, embedding_size=1)
    lines = [line for body in USUAL[endpoint] for line in changed(success("1", body))]
    raws = [json.dumps(line).encode() for line in lines]
    columns, others = read_by_column(raws, spec)
    usual = sorted(set(range(len(raws))) - set(others))
    assert 100 < len(usual) < len(raws) - 100
    expected = read_one_by_one([raws[at] for at in usual], spec)
    for name, values in expected.items():
        found = columns.get(name, [None] * len(usual))
        for at, one, other in zip(usual, found, values, strict=True):
            assert one == other, (name, raws[at])


@pytest.mark.parametrize("endpoint", [Endpoint.CHAT_COMPLETIONS, Endpoint.RESPONSES], ids=lambda one: one.value)
@QUICK
@given(
    texts=st.lists(st.sampled_from(['{"n": 1}', '{"n": 2}', '{"n": "a"}', "{", "null", None]), min_size=1, max_size=5)
)
def test_an_answer_that_does_not_validate_is_unusual(endpoint: Endpoint, texts: list[str | None]) -> None:
    model = ResponseModel.of({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]})
    spec = TableSpec(endpoint, raw="all", parsed=ParsedColumn.of(model))
    bodies = [chat_body(text) if endpoint is Endpoint.CHAT_COMPLETIONS else response_of(text) for text in texts]
    raws = [encoded(success(str(at), body)) for at, body in enumerate(bodies)]
    columns, others = read_by_column(raws, spec)
    assert others == [at for at, text in enumerate(texts) if text not in ('{"n": 1}', '{"n": 2}')]
    usual = [raw for at, raw in enumerate(raws) if at not in others]
    assert_same(columns, read_one_by_one(usual, spec) if usual else {}, len(usual))


def response_of(text: str | None) -> dict[str, Any]:
    reasoning, message = copy.deepcopy(RESPONSE["output"])  # type: ignore[misc]
    message["content"][0]["text"] = text
    return {**RESPONSE, "output": [reasoning] if text is None else [reasoning, message]}


MESSAGES = st.lists(
    st.builds(
        message,
        st.sampled_from(["", "a", "b", '{"n": 1}', '{"n": 2}', "{"]),
        st.sampled_from([None, "final_answer", "commentary"]),
        st.sampled_from([None, "completed", "completed", "incomplete", "in_progress"]),
    ),
    min_size=1,
    max_size=4,
)


@pytest.mark.parametrize("is_parsed", [False, True])
@QUICK
@given(messages=MESSAGES)
def test_the_text_of_several_messages_is_that_of_one_and_never_joined(
    is_parsed: bool, messages: list[dict[str, Any]]
) -> None:
    model = ResponseModel.of({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]})
    spec = TableSpec(Endpoint.RESPONSES, parsed=ParsedColumn.of(model) if is_parsed else None)
    raw = encoded(success("1", {**RESPONSE, "output": messages}))
    row = read_one_by_one([raw], spec)
    answering = [one for one in messages if one["phase"] != "commentary"] or messages
    whole = [one for one in answering if one["status"] in (None, "completed") and text_of(one)]
    assert row["text"][0] in list(map(text_of, whole or answering))
    if whole:
        assert row["text"][0] == text_of(whole[-1])
        assert row["status"][0] in ("succeeded", "invalid_output")
    columns, others = read_by_column([raw], spec)
    assert_same(columns, {} if others else row, 1 - len(others))


def text_of(one: dict[str, Any]) -> str:
    return str(one["content"][0]["text"])


def changed(line: Any) -> Iterator[Any]:
    """Yield the line with each of the values in each place, one at a time, and without each of its parts."""
    for place in list(places(line)):
        names = range(len(place)) if isinstance(place, list) else dict.fromkeys([*place, *NAMES.split()])
        for name in names:
            known = isinstance(place, list) or name in place
            before = place[name] if known else None
            for value in VALUES:
                place[name] = value
                yield copy.deepcopy(line)
            if isinstance(place, dict):
                del place[name]
                yield copy.deepcopy(line)
            if known:
                place[name] = before


def places(value: Any) -> Iterator[Any]:
    """Yield all objects and lists of a line."""
    if isinstance(value, dict | list):
        yield value
        for inner in value.values() if isinstance(value, dict) else value:
            yield from places(inner)


@ENDPOINTS
@QUICK
@given(data=st.data())
def test_reading_by_column_gives_the_same_as_reading_one_by_one(endpoint: Endpoint, data: st.DataObject) -> None:
    spec = TableSpec(endpoint, raw=data.draw(st.sampled_from(["errors", "all"])), embedding_size=1)
    raws = [encoded(success(str(at), body)) for at, body in enumerate(USUAL[endpoint])]
    raws += data.draw(st.lists(lines_like(endpoint, wild=False) | lines_like(endpoint, wild=True), max_size=3))
    raws = data.draw(st.permutations(raws))
    columns, others = read_by_column(raws, spec)
    usual = [raw for at, raw in enumerate(raws) if at not in others]
    assert_same(columns, read_one_by_one(usual, spec), len(usual))


@pytest.mark.parametrize("case", LINES, ids=lambda case: case.name)
def test_recorded_lines_are_read_alike(case: Any) -> None:
    spec = TableSpec(case.endpoint, embedding_size=3)
    reader = FastPathReader.for_table(spec)
    if reader is not None:
        columns, others = reader.read([case.line])
        assert_same(columns, {} if others else read_one_by_one([case.line], spec), 1 - len(others))


def test_rows_keep_their_order_whatever_is_usual(tmp_path: Path) -> None:
    ids = [str(number) for number in range(40)]
    kinds = [number * 7 % 5 for number in range(40)]
    lines = {
        0: lambda one: success(one, chat_body(f"text {one}")),
        1: lambda one: success(one, chat_body(f"text {one}")),
        2: lambda one: success(one, chat_body(choices=[chat_choice(f"text {one}", "length")])),
        3: http_error,
    }
    output = [lines[kind](one) for one, kind in zip(ids, kinds, strict=True) if kind in lines]
    landed = land(tmp_path, ids, output[::-1], batch_rows=16)
    statuses = {0: "succeeded", 1: "succeeded", 2: "truncated", 3: "failed", 4: "missing"}
    assert [row["status"] for row in landed.rows] == [statuses[kind] for kind in kinds]
    assert [row["text"] for row in landed.rows] == [
        f"text {one}" if kind < 3 else None for one, kind in zip(ids, kinds, strict=True)
    ]


def test_a_shard_of_unusual_lines_is_not_tried_on_the_fast_path_again() -> None:
    tried: list[int] = []

    class Usual:
        def read(self, lines: list[bytes]) -> tuple[Columns, list[int]]:
            tried.append(len(lines))
            return {}, list(range(len(lines)))

    class Index:
        def read(self, start: int, count: int) -> list[bytes]:
            return [encoded(http_error(str(start + at))) for at in range(count)]

    reader = ChunkReader(TableSpec(Endpoint.CHAT_COMPLETIONS), Index(), lambda *_: None)  # type: ignore[arg-type]
    reader._fast_path = Usual()  # type: ignore[assignment]
    for start in (0, 3):
        assert reader.read(start, [None] * 3)["status"] == ["failed"] * 3
    assert tried == [3]
