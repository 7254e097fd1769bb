"""Ready-made request lines pass through unchanged, after everything the API would refuse was looked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_provider_batch.api.endpoints import Endpoint
from airflow_provider_batch.exceptions import InputError, RequestError
from airflow_provider_batch.requests.prepare import Prepared, RequestSpec, prepare
from airflow_provider_batch.requests.sidecar import read_sidecar
from airflow_provider_batch.sources.open_source import open_source

URL = "/v1/responses"
SPEC = RequestSpec(Endpoint.RESPONSES, None)


def line(number: int, **change: Any) -> dict[str, Any]:
    given = {"custom_id": f"c{number}", "method": "POST", "url": URL, "body": {"model": "m", "input": f"x{number}"}}
    return {name: value for name, value in {**given, **change}.items() if value is not ...}


def prepared(folder: Path, source: Any, spec: RequestSpec = SPEC) -> Prepared:
    return prepare(open_source(source), spec, folder / "out", lambda shard: None)


def lines_of(result: Prepared) -> list[bytes]:
    return [row for shard in result.shards for row in shard.lines.read_bytes().split(b"\n")[:-1]]


def carried_of(result: Prepared) -> list[Any]:
    return [row.get("carried") for shard in result.shards for b in read_sidecar(shard.rows) for row in b.to_pylist()]


def test_jsonl_lines_pass_through_byte_by_byte(tmp_path: Path) -> None:
    odd = (
        b'{ "url" : "/v1/responses", "custom_id":"\\u0061",\t"method":"POST",'
        b'"body":{"input":"\xe2\x80\xa8 \\u00e9","temperature":1.0e0,"model":"m", "x":12345678901234567890123} } '
    )
    plain = json.dumps(line(2)).encode()
    (tmp_path / "a.jsonl").write_bytes(odd + b"\r\n\n" + plain + b"\n")
    result = prepared(tmp_path, str(tmp_path / "a.jsonl"))
    assert lines_of(result) == [odd, plain]
    assert carried_of(result) == [None, None]
    (sidecar,) = read_sidecar(result.shards[0].rows)
    assert sidecar.column("custom_id").to_pylist() == ["a", "c2"]


def test_other_members_of_a_line_are_carried_and_not_sent(tmp_path: Path) -> None:
    body = b'{"model":"m" , "input":"x","top_p":1e0}'
    (tmp_path / "a.jsonl").write_bytes(
        b'{"doc":7,"custom_id":"a","method":"POST","url":"/v1/responses","body":' + body + b"}\n"
    )
    result = prepared(tmp_path, str(tmp_path / "a.jsonl"))
    assert lines_of(result) == [b'{"custom_id":"a","method":"POST","url":"/v1/responses","body":' + body + b"}"]
    assert carried_of(result) == [{"doc": 7}]


def test_rows_of_a_list_are_lines_too(tmp_path: Path) -> None:
    rows = [line(0, doc=1), line(1, body='{"model":"m",\r\n "input":"x"}', doc=2)]
    result = prepared(tmp_path, rows)
    assert json.loads(lines_of(result)[0]) == line(0)
    assert json.loads(lines_of(result)[1])["body"] == {"model": "m", "input": "x"}
    assert len(lines_of(result)) == 2
    assert carried_of(result) == [{"doc": 1}, {"doc": 2}]


def test_a_body_in_parquet_is_a_struct_or_json_text(tmp_path: Path) -> None:
    bodies = [{"model": "m", "input": "x", "top_p": None}, {"model": "m", "input": "y", "top_p": 0.5}]
    pq.write_table(pa.Table.from_pylist([line(n, body=body) for n, body in enumerate(bodies)]), tmp_path / "a.parquet")
    texts = [line(n, body=json.dumps(body)) for n, body in enumerate(bodies)]
    pq.write_table(pa.Table.from_pylist(texts), tmp_path / "b.parquet")
    structs = [json.loads(row)["body"] for row in lines_of(prepared(tmp_path, str(tmp_path / "a.parquet")))]
    assert structs == [{"model": "m", "input": "x"}, bodies[1]]
    assert [json.loads(row)["body"] for row in lines_of(prepared(tmp_path, str(tmp_path / "b.parquet")))] == bodies


def test_lines_of_several_models_are_grouped_and_inputs_counted(tmp_path: Path) -> None:
    url = Endpoint.EMBEDDINGS.value
    rows = [line(n, url=url, body={"model": "ab"[n % 2], "input": ["x", "y"]}) for n in range(4)]
    result = prepared(tmp_path, rows, RequestSpec(Endpoint.EMBEDDINGS, None))
    assert [(shard.model, shard.row_count, shard.input_count) for shard in result.shards] == [("a", 2, 4), ("b", 2, 4)]
    assert "encoding_format" not in json.loads(lines_of(result)[0])["body"]


BAD = [
    ({"custom_id": ...}, "row 1, column 'custom_id': expected a text, found none"),
    ({"custom_id": 7}, "row 1, column 'custom_id': expected a text, found int 7"),
    ({"custom_id": "x" * 65}, "row 1: expected a custom_id of 1 to 64 characters, found 65"),
    ({"custom_id": "c0"}, "row 1: expected a different custom_id for each row, found 'c0', which row 0 has already"),
    ({"method": "post"}, "row 1, column 'method': expected 'POST', found 'post'"),
    ({"method": ...}, "row 1, column 'method': expected 'POST', found none"),
    ({"url": "/v1/embeddings"}, "row 1, column 'url': expected '/v1/responses', .* found '/v1/embeddings'"),
    ({"body": ...}, "row 1, column 'body': expected an object, found none"),
    ({"body": [1]}, "row 1, column 'body': expected an object, found"),
    ({"body": {"input": "x"}}, "row 1, column 'body': /v1/responses needs 'model'"),
    ({"body": {"model": "m", "input": "x", "stream": True}}, "row 1, column 'body': .*does not stream"),
]


@pytest.mark.parametrize("source", ["list", "jsonl"])
@pytest.mark.parametrize(("change", "expected"), BAD)
def test_a_line_that_would_be_refused_is_named(
    tmp_path: Path, change: dict[str, Any], expected: str, source: str
) -> None:
    rows = [line(0), line(1, **change), line(2)]
    given: Any = rows
    if source == "jsonl":
        (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
        given, expected = str(tmp_path / "a.jsonl"), "a.jsonl, line 2, " + expected
    with pytest.raises(RequestError, match=expected):
        prepared(tmp_path, given)


def test_a_body_as_text_is_refused_where_the_line_is_sent_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps(line(0, body="{}")))
    with pytest.raises(RequestError, match=r"line 1, row 0, column 'body': expected an object, found '\{\}'"):
        prepared(tmp_path, str(tmp_path / "a.jsonl"))


def test_a_byte_order_mark_is_left_out(tmp_path: Path) -> None:
    raw = json.dumps(line(0)).encode()
    (tmp_path / "a.jsonl").write_bytes(b"\xef\xbb\xbf" + raw)
    prepared(tmp_path, str(tmp_path / "a.jsonl"))
    assert (tmp_path / "out" / "r01-s00001.jsonl").read_bytes() == raw + b"\n"


@pytest.mark.parametrize("body", ["{", '"x"', "[1]"])
def test_json_text_that_is_no_object_is_named(tmp_path: Path, body: str) -> None:
    with pytest.raises(RequestError, match="row 0, column 'body': expected a"):
        prepared(tmp_path, [line(0, body=body)])


def test_a_line_that_alone_is_too_large_is_named(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="row 0: this request alone has"):
        prepared(tmp_path, [line(0)], RequestSpec(Endpoint.RESPONSES, None, max_shard_bytes=50))


def test_rows_that_are_no_request_lines_say_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"missing: method, url, body\. Give body=.* The columns are: custom_id, text"):
        prepared(tmp_path, [{"custom_id": "a", "text": "x"}])


def test_no_lines_are_no_shards(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").touch()
    assert prepared(tmp_path, str(tmp_path / "a.jsonl")).shards == ()
