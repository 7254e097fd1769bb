"""A table becomes shards, whole and checked, or one error names the row that cannot."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_provider_batch.api.endpoints import Endpoint
from airflow_provider_batch.exceptions import ConfigurationError, InputError, RequestError, SourceError, TemplateError
from airflow_provider_batch.requests.prepare import Prepared, RequestSpec, prepare
from airflow_provider_batch.requests.shards import Shard
from airflow_provider_batch.requests.sidecar import read_sidecar
from airflow_provider_batch.requests.templates.rendering import Rendered, TemplateRenderer
from airflow_provider_batch.sources.open_source import open_source
from airflow_provider_batch.sources.row_chunk import SourceBatch
from airflow_provider_batch.structured.response_model import ResponseModel

BODY = {"model": "m", "input": "Say {text}"}


def spec(body: Any = BODY, endpoint: Endpoint = Endpoint.RESPONSES, **more: Any) -> RequestSpec:
    return RequestSpec(endpoint, body, **more)


def prepared(folder: Path, source: Any, given: RequestSpec) -> Prepared:
    handed: list[Shard] = []
    result = prepare(open_source(source), given, folder, handed.append)
    assert sorted(handed, key=lambda shard: shard.key) == list(result.shards)
    return result


def requests_of(result: Prepared) -> list[dict[str, Any]]:
    return [json.loads(line) for shard in result.shards for line in shard.lines.read_bytes().splitlines()]


def sidecar_of(result: Prepared) -> list[dict[str, Any]]:
    return [row for shard in result.shards for batch in read_sidecar(shard.rows) for row in batch.to_pylist()]


def texts(count: int) -> list[dict[str, Any]]:
    return [{"id": f"k{number}", "text": f"t{number}"} for number in range(count)]


class TestWhatIsWritten:
    def test_a_row_becomes_one_request_and_one_row_beside_it(self, tmp_path: Path) -> None:
        result = prepared(tmp_path, texts(2), spec())
        assert result.shards[0].lines.read_bytes().split(b"\n")[0] == (
            b'{"custom_id":"0","method":"POST","url":"/v1/responses","body":{"model":"m","input":"Say t0"}}'
        )
        assert sidecar_of(result)[1] == {
            "row_number": 1,
            "custom_id": "1",
            "state": {
                "attempts": 0,
                "status": None,
                "status_code": None,
                "error_code": None,
                "error_message": None,
                "batch_id": None,
            },
            "carried": {"id": "k1", "text": "t1"},
        }
        assert (result.row_count, result.models, len(result.shards)) == (2, ("m",), 1)
        assert result.byte_count == result.shards[0].lines.stat().st_size
        assert 0 < result.token_estimate < result.byte_count

    def test_rows_over_several_shards_and_batches_keep_their_order(self, tmp_path: Path) -> None:
        pq.write_table(pa.table({"text": [str(number) for number in range(7_000)]}), tmp_path / "a.parquet")
        result = prepared(tmp_path / "out", str(tmp_path / "a.parquet"), spec(max_shard_rows=3_000))
        assert [shard.row_count for shard in result.shards] == [3_000, 3_000, 1_000]
        assert [request["body"]["input"] for request in requests_of(result)] == [f"Say {n}" for n in range(7_000)]
        assert [row["row_number"] for row in sidecar_of(result)] == list(range(7_000))

    def test_models_of_a_template_are_grouped(self, tmp_path: Path) -> None:
        rows = [{"text": str(number), "kind": "ab"[number % 2]} for number in range(10)]
        result = prepared(tmp_path, rows, spec({"model": "m-{kind}", "input": "{text}"}, max_shard_rows=3))
        assert [(shard.model, shard.row_count) for shard in result.shards] == [
            ("m-a", 3),
            ("m-a", 2),
            ("m-b", 3),
            ("m-b", 2),
        ]
        for shard in result.shards:
            assert {json.loads(line)["body"]["model"] for line in shard.lines.read_bytes().splitlines()} == {
                shard.model
            }

    def test_an_endpoint_with_a_default_model_needs_none(self, tmp_path: Path) -> None:
        result = prepared(tmp_path, texts(2), spec({"input": "{text}"}, Endpoint.MODERATIONS))
        assert result.models == (None,)

    def test_custom_id_is_a_template(self, tmp_path: Path) -> None:
        result = prepared(tmp_path, texts(2), spec(custom_id='x"{id}'))
        assert [request["custom_id"] for request in requests_of(result)] == ['x"k0', 'x"k1']
        assert [row["custom_id"] for row in sidecar_of(result)] == ['x"k0', 'x"k1']

    @pytest.mark.parametrize(("carry", "names"), [(None, ["id", "text"]), (["text"], ["text"]), ([], [])])
    def test_carry_picks_what_stands_beside_the_request(
        self, tmp_path: Path, carry: list[str] | None, names: list[str]
    ) -> None:
        result = prepared(tmp_path, texts(1), spec(carry=carry))
        assert result.carried.names == names
        assert list(sidecar_of(result)[0].get("carried", {})) == names

    def test_limit_takes_the_first_rows_only(self, tmp_path: Path) -> None:
        result = prepared(tmp_path, texts(10), spec(limit=3))
        assert [request["custom_id"] for request in requests_of(result)] == ["0", "1", "2"]

    def test_a_response_model_is_sent_as_it_is_beside_templates(self, tmp_path: Path) -> None:
        schema = {"type": "object", "description": "{nobody}", "properties": {"{text}": {"type": "string"}}}
        body = {"model": "m", "input": "Say {text}", "text": {"verbosity": "{text}"}}
        result = prepared(tmp_path, texts(1), spec(body, response_model=ResponseModel.of(schema)))
        sent = requests_of(result)[0]["body"]
        assert (sent["input"], sent["text"]["verbosity"]) == ("Say t0", "t0")
        form = {"type": "json_schema", "name": "response", "strict": False, "schema": schema}
        assert sent["text"]["format"] == form

    @pytest.mark.parametrize("endpoint", [Endpoint.RESPONSES, Endpoint.COMPLETIONS])
    def test_sizes_are_counted_in_encoded_bytes(self, tmp_path: Path, endpoint: Endpoint) -> None:
        first, second = ("input", "user") if endpoint is Endpoint.RESPONSES else ("prompt", "user")
        body = {"model": "m", first: "{text}", second: "{text}"}
        result = prepared(tmp_path, [{"text": "日本\n\u2028😀"}] * 3, spec(body, endpoint, max_shard_bytes=180))
        assert len(result.shards) == 3
        for shard in result.shards:
            assert shard.lines.stat().st_size == shard.byte_count <= 180
            assert json.loads(shard.lines.read_bytes())["body"][first] == "日本\n\u2028😀"

    @pytest.mark.parametrize("source", ["a.jsonl", "a.csv", []])
    def test_an_empty_table_gives_no_shard(self, tmp_path: Path, source: Any) -> None:
        (tmp_path / "a.jsonl").touch()
        (tmp_path / "a.csv").write_text("id,text\n")
        result = prepared(tmp_path / "out", str(tmp_path / source) if source else source, spec())
        assert (result.row_count, result.byte_count, result.shards, result.models) == (0, 0, (), ())
        assert result.carried.names == (["id", "text"] if source == "a.csv" else [])


class TestEmbeddings:
    def test_vectors_are_asked_for_as_base64_unless_the_body_says_otherwise(self, tmp_path: Path) -> None:
        body = {"model": "e", "input": "{text}"}
        (default,) = requests_of(prepared(tmp_path, texts(1), spec(body, Endpoint.EMBEDDINGS)))
        assert default["body"]["encoding_format"] == "base64"
        stated = {**body, "encoding_format": "float"}
        (own,) = requests_of(prepared(tmp_path, texts(1), spec(stated, Endpoint.EMBEDDINGS)))
        assert own["body"]["encoding_format"] == "float"

    def test_the_elements_of_arrays_are_counted(self, tmp_path: Path) -> None:
        rows = [{"texts": ["x"] * 20_000}] * 5
        result = prepared(tmp_path, rows, spec({"model": "e", "input": "{texts}"}, Endpoint.EMBEDDINGS))
        assert [(shard.row_count, shard.input_count) for shard in result.shards] == [
            (2, 40_000),
            (2, 40_000),
            (1, 20_000),
        ]

    def test_a_list_in_the_body_counts_too(self, tmp_path: Path) -> None:
        result = prepared(tmp_path, texts(3), spec({"model": "e", "input": ["{text}", "{id}"]}, Endpoint.EMBEDDINGS))
        assert result.shards[0].input_count == 6

    def test_one_row_with_too_many_inputs_is_an_error(self, tmp_path: Path) -> None:
        rows = [{"texts": ["x"]}, {"texts": ["x"] * 50_001}]
        with pytest.raises(RequestError, match=r"row 1: this request has 50,001 inputs; a file takes at most 50,000"):
            prepared(tmp_path, rows, spec({"model": "e", "input": "{texts}"}, Endpoint.EMBEDDINGS))


class TestIdentifiers:
    def test_a_repeated_custom_id_names_both_rows_and_counts_the_rest(self, tmp_path: Path) -> None:
        rows = [{"id": str(number % 3_000), "text": "x"} for number in range(3_004)]
        (tmp_path / "a.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
        with pytest.raises(RequestError) as raised:
            prepared(tmp_path / "out", str(tmp_path / "a.jsonl"), spec(custom_id="c{id}"))
        assert "a.jsonl, line 3001, row 3000: " in str(raised.value)
        assert "found 'c0', which row 0 has already" in str(raised.value)
        assert "3 more rows" in str(raised.value)

    def test_equal_hashes_of_unequal_identifiers_are_no_duplicates(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("airflow_provider_batch.requests.duplicate_ids.hash", lambda text: 7, raising=False)
        assert prepared(tmp_path, texts(5), spec(custom_id="{id}")).row_count == 5
        with pytest.raises(RequestError, match=r"row 3: .* which row 0 has already"):
            prepared(tmp_path, [*texts(3), *texts(1)], spec(custom_id="{id}"))

    @pytest.mark.parametrize(
        ("custom_id", "expected"),
        [
            ("{id}" * 33, r"row 0: expected a custom_id of 1 to 64 characters, found 66 \('k0k0"),
            ("{empty}", "row 0: expected a custom_id of 1 to 64 characters, found none"),
            ("{nothing}", "row 0, column 'nothing': .* found null"),
            ("{iid}", r"custom_id: \{iid\} is not a column"),
            ("fixed", "row 1: expected a different custom_id for each row, found 'fixed'"),
        ],
    )
    def test_a_custom_id_that_is_none_is_an_error(self, tmp_path: Path, custom_id: str, expected: str) -> None:
        rows = [{**row, "empty": "", "nothing": None} for row in texts(2)]
        with pytest.raises(InputError, match=expected):
            prepared(tmp_path, rows, spec(custom_id=custom_id))


class TestBadInput:
    @pytest.mark.parametrize(
        ("given", "expected"),
        [
            (spec({"model": "m", "input": "{txt}"}), r"body\.input: \{txt\} is not a column\. Did you mean 'text'"),
            (spec({"model": "m", "input": "hello"}), "every row would send and pay for the same request"),
            (spec({"input": "{text}"}), "/v1/responses needs 'model' in the body, found the members input"),
            (spec({"model": "m"}), "needs 'input' or 'prompt'"),
            (
                spec({"model": "m", "messages": "{text}"}, Endpoint.CHAT_COMPLETIONS),
                "row 0, column 'text': .*'messages'",
            ),
            (spec({**BODY, "stream": True}), "does not stream"),
            (spec({**BODY, "stream": "{flag}"}), "row 1, column 'flag': .*does not stream"),
            (spec({"model": "{n}", "input": "{text}"}), "row 0, column 'n': .*model.*found int 1"),
            (spec({"model": "{e}", "input": "{text}"}), "row 1, column 'e': .*model.*found str ''"),
            (
                spec({"model": "m", "input": "{n}"}),
                "row 0, column 'n': expected text or a list as 'input', found int 1",
            ),
            (spec({"model": "m", "input": "{z}"}), "row 1, column 'z': expected a value for 'input', found null"),
            (spec(carry=["txt"]), "column 'txt': carry: no such column. Did you mean 'text'"),
            (spec(limit=-1), "limit: expected a number of rows, found -1"),
            (spec(max_shard_rows=0), "max_shard_rows: expected at least 1"),
            (spec(body="text"), "body: expected a mapping, found str"),
            (spec(max_shard_bytes=100), "row 0: this request alone has 102 bytes"),
            (spec(None, custom_id="{id}"), "custom_id: without a body"),
        ],
    )
    def test_is_one_clear_error(self, tmp_path: Path, given: RequestSpec, expected: str) -> None:
        rows = [
            {
                "text": f"1234{n}",
                "id": n,
                "flag": n == 1,
                "n": 1,
                "e": "m" if n == 0 else "",
                "z": "x" if n == 0 else None,
            }
            for n in range(2)
        ]
        if given.max_shard_bytes == 100:
            rows = [{"text": "1234567890"}]
        with pytest.raises(InputError, match=expected):
            prepared(tmp_path / "out", rows, given)

    def test_one_row_may_have_no_placeholder(self, tmp_path: Path) -> None:
        assert prepared(tmp_path, texts(1), spec({"model": "m", "input": "x"})).row_count == 1
        assert prepared(tmp_path, texts(5), spec({"model": "m", "input": "x"}, limit=1)).row_count == 1

    def test_a_null_in_a_text_is_counted_over_the_whole_source(self, tmp_path: Path) -> None:
        rows = [{"text": None if number % 1_000 == 999 else "x"} for number in range(5_000)]
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
        with pytest.raises(
            TemplateError, match=r"a\.parquet, row 999, column 'text': .*found null, and in 4 more rows"
        ):
            prepared(tmp_path / "out", str(tmp_path / "a.parquet"), spec())
        assert prepared(tmp_path / "out", str(tmp_path / "a.parquet"), spec(null_text="-")).row_count == 5_000

    def test_an_invalid_line_at_the_end_is_found_before_anything_is_written(self, tmp_path: Path) -> None:
        (tmp_path / "a.jsonl").write_text('{"text":"x"}\n' * 5_000 + "{")
        with pytest.raises(SourceError, match=r"a\.jsonl, line 5001: "):
            prepared(tmp_path / "out", str(tmp_path / "a.jsonl"), spec(max_shard_rows=10))
        assert not (tmp_path / "out").exists()

    def test_an_error_leaves_only_what_was_handed_over(self, tmp_path: Path) -> None:
        rows = [*texts(5), {"text": None}]
        handed: list[Shard] = []
        with pytest.raises(TemplateError):
            prepare(open_source(rows), spec(custom_id="{text}", max_shard_rows=2), tmp_path, handed.append)
        assert {path.stem for path in tmp_path.iterdir()} == {str(shard.key) for shard in handed}


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak from /proc")
def test_memory_does_not_grow_with_the_row_group(tmp_path: Path) -> None:
    """Invariant 8. One row group of 150 MB; the process takes some 70 MB before it reads a row."""
    text = pa.array([f"{number:0500d}" for number in range(300_000)])
    pq.write_table(pa.table({"text": text}), tmp_path / "a.parquet", row_group_size=300_000)
    code = """
from pathlib import Path
from airflow_provider_batch.api.endpoints import Endpoint
from airflow_provider_batch.requests.prepare import RequestSpec, prepare
from airflow_provider_batch.sources.open_source import open_source
spec = RequestSpec(Endpoint.RESPONSES, {"model": "m", "input": "{text}"})
prepare(open_source("a.parquet"), spec, Path("out"), lambda shard: (shard.lines.unlink(), shard.rows.unlink()))
print(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=tmp_path)
    assert int(done.stdout) / 1024 < 200


@pytest.fixture
def rendered(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The bytes of the lines that were made together, each time."""
    sizes: list[int] = []
    render = TemplateRenderer.render

    def counting(renderer: TemplateRenderer, batch: SourceBatch) -> Rendered:
        lines = render(renderer, batch)
        sizes.append(lines.lines.byte_count)
        return lines

    monkeypatch.setattr(TemplateRenderer, "render", counting)
    return sizes


def test_a_long_text_that_all_rows_share_takes_few_rows_at_a_time(tmp_path: Path, rendered: list[int]) -> None:
    result = prepared(tmp_path, texts(30), spec({"model": "m", "input": "x" * 1_000_000 + "{text}"}))
    assert [request["body"]["input"][1_000_000:] for request in requests_of(result)] == [f"t{n}" for n in range(30)]
    assert max(rendered) < 9_000_000
    assert len(rendered) < 10


def test_few_lines_are_made_together_where_rows_repeat_a_long_text(tmp_path: Path, rendered: list[int]) -> None:
    """A Parquet file holds the text once, and so says nothing of what its rows take."""
    count, text = 600, "x" * 100_000
    pq.write_table(pa.table({"n": [str(n) for n in range(count)], "text": [text] * count}), tmp_path / "in.parquet")
    assert (tmp_path / "in.parquet").stat().st_size < 1_000_000
    body = {"model": "m", "input": "{n} {text}"}
    result = prepared(tmp_path / "out", str(tmp_path / "in.parquet"), spec(body, carry=["n"]))
    assert [request["body"]["input"] for request in requests_of(result)] == [f"{n} {text}" for n in range(count)]
    assert max(rendered) < 9_000_000
    assert len(rendered) < 12


def test_wide_and_nested_columns_of_every_kind_are_carried(tmp_path: Path) -> None:
    table = pa.table(
        {
            "text": ["a", "b"],
            "when": pa.array([1_000, None], pa.timestamp("ns", "UTC")),
            "nested": [[{"k": [1.5]}], None],
            "map": pa.array([[("a", 1)], None], pa.map_(pa.string(), pa.int64())),
            "kind": pa.array(["x", "y"]).dictionary_encode(),
            "big": pa.array(["l", None], pa.large_string()),
            "vector": pa.array([[1, 2], None], pa.list_(pa.float32(), 2)),
            "raw": pa.array([b"\x00", None]),
            "dec": pa.array([None, None], pa.decimal128(5, 2)),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    result = prepared(tmp_path / "out", str(tmp_path / "a.parquet"), spec())
    (batch,) = read_sidecar(result.shards[0].rows)
    carried = pa.Table.from_batches([pa.RecordBatch.from_struct_array(batch.column("carried"))])
    assert carried.schema == result.carried
    assert carried.to_pydict() == table.to_pydict()


def test_carry_is_a_list_of_columns(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="carry: expected a list of columns, found the text 'id'"):
        prepared(tmp_path, texts(2), spec(carry="id"))
