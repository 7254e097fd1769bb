"""Tables of unusual shape: compressed in parts, with byte order marks, thousands of columns wide, full of nulls."""

from __future__ import annotations

import codecs
import gzip
import json
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_provider_batch.api.endpoints import Endpoint
from airflow_provider_batch.exceptions import SourceError
from airflow_provider_batch.requests.prepare import RequestSpec, prepare
from airflow_provider_batch.requests.shards import Shard
from airflow_provider_batch.sources.files.formats import InputFormat
from airflow_provider_batch.sources.filters import Selection
from airflow_provider_batch.sources.open_source import open_source
from tests.sources.test_source import rows_of, write_csv

WIDE = 5_000


class TestCompression:
    @pytest.mark.parametrize("codec", ["gz", "zst"])
    def test_members_that_were_joined_are_all_read(self, tmp_path: Path, codec: str) -> None:
        parts = [b'{"a": 1}\n{"a"', b": 2}\n", b'{"a": 3}']
        packed = [gzip.compress(part) if codec == "gz" else pa.compress(part, "zstd", asbytes=True) for part in parts]
        (tmp_path / f"a.jsonl.{codec}").write_bytes(b"".join(packed))
        assert rows_of(open_source(str(tmp_path / f"a.jsonl.{codec}"))) == [{"a": 1}, {"a": 2}, {"a": 3}]

    @pytest.mark.parametrize("ending", ["jsonl", "csv"])
    @pytest.mark.parametrize("codec", ["gz", "zst"])
    def test_a_file_that_ends_too_early_is_named(self, tmp_path: Path, ending: str, codec: str) -> None:
        text = b'{"a": "%d"}\n' if ending == "jsonl" else b'"%d"\n'
        data = (b'"a"\n' if ending == "csv" else b"") + b"".join(text % number for number in range(50_000))
        packed = gzip.compress(data) if codec == "gz" else pa.compress(data, "zstd", asbytes=True)
        (tmp_path / f"a.{ending}.{codec}").write_bytes(packed[: len(packed) // 2])
        with pytest.raises(
            SourceError, match=rf"a\.{ending}\.{codec}: the content cannot be read .* Is the file complete"
        ):
            rows_of(open_source(str(tmp_path / f"a.{ending}.{codec}")))

    def test_a_name_that_promises_what_the_file_is_not(self, tmp_path: Path) -> None:
        (tmp_path / "a.jsonl.gz").write_bytes(b'{"a": 1}\n')
        with pytest.raises(SourceError, match=r"a\.jsonl\.gz: the content cannot be read"):
            rows_of(open_source(str(tmp_path / "a.jsonl.gz")))


@pytest.mark.parametrize(("ending", "text"), [("csv", "a,b\n1,é\n"), ("jsonl", '{"a": "1", "b": "é"}\n')])
class TestByteOrderMarks:
    def test_of_utf_8_are_no_part_of_the_first_name(self, tmp_path: Path, ending: str, text: str) -> None:
        (tmp_path / f"a.{ending}").write_bytes(codecs.BOM_UTF8 + text.encode())
        assert rows_of(open_source(str(tmp_path / f"a.{ending}"))) == [{"a": "1", "b": "é"}]

    @pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
    def test_utf_16_and_32_are_named_and_read_where_they_are_stated(
        self, tmp_path: Path, ending: str, text: str, encoding: str
    ) -> None:
        path = tmp_path / f"a.{ending}"
        path.write_bytes(text.encode(encoding))
        family, stated = encoding[:6].upper(), f'format_options={{"encoding": "{encoding}"}}'
        with pytest.raises(SourceError) as raised:
            rows_of(open_source(str(path)))
        assert f"line 1: expected UTF-8, found what looks like {family}. Give {stated}" in str(raised.value)
        form = InputFormat.of(None, {"encoding": encoding})
        assert rows_of(open_source(str(path), form=form)) == [{"a": "1", "b": "é"}]

    def test_in_the_middle_are_named_with_their_line(self, tmp_path: Path, ending: str, text: str) -> None:
        path = tmp_path / f"a.{ending}"
        for first, line in ((text, 3 if ending == "csv" else 2), (text.rstrip("\n"), 2 if ending == "csv" else 1)):
            path.write_bytes(first.encode() + codecs.BOM_UTF8 + text.encode())
            with pytest.raises(SourceError, match=rf"a\.{ending}, line {line}: found a byte order mark in the middle"):
                rows_of(open_source(str(path)))

    def test_two_at_the_beginning_are_named(self, tmp_path: Path, ending: str, text: str) -> None:
        (tmp_path / f"a.{ending}").write_bytes(codecs.BOM_UTF8 * 2 + text.encode())
        with pytest.raises(SourceError, match=r"line 1: found a (second )?byte order mark"):
            rows_of(open_source(str(tmp_path / f"a.{ending}")))

    def test_within_values_are_text(self, tmp_path: Path, ending: str, text: str) -> None:
        mark = "\ufeff"
        rows = [{"a": f"{mark}x", "b": f"y{mark}"}, {"a": f"x\n{mark}x", "b": "z"}]
        if ending == "csv":
            write_csv(tmp_path / "a.csv", rows)
        else:
            lines = [json.dumps(row, ensure_ascii=False) for row in rows]
            (tmp_path / "a.jsonl").write_text("\n".join(lines), encoding="utf-8")
        assert rows_of(open_source(str(tmp_path / f"a.{ending}"))) == rows


def test_one_column_that_was_joined_without_a_line_break_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text\na\nb\ufefftext\nc\n", encoding="utf-8")
    with pytest.raises(SourceError, match=r"a\.csv, line 3: found a byte order mark in the middle"):
        rows_of(open_source(str(tmp_path / "a.csv")))


def test_line_breaks_in_quotes_belong_to_the_field_and_count_as_lines(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b'id,text\r\n1,"a\r\nb\n\nc"\r\n2,"say ""hi"""\r\n3\r\n')
    with pytest.raises(SourceError, match=r"a\.csv, line 7: expected 2 fields, as in the header, found 1"):
        rows_of(open_source(str(tmp_path / "a.csv")))
    (tmp_path / "a.csv").write_bytes(b'id,text\r\n1,"a\r\nb\n\nc"\r\n2,"say ""hi"""\r\n')
    assert [row["text"] for row in rows_of(open_source(str(tmp_path / "a.csv")))] == ["a\r\nb\n\nc", 'say "hi"']


@pytest.mark.parametrize("ending", ["parquet", "csv", "jsonl"])
def test_thousands_of_columns_are_no_matter(tmp_path: Path, ending: str) -> None:
    names = [f"c{number}" for number in range(WIDE)]
    path = tmp_path / f"a.{ending}"
    if ending == "parquet":
        pq.write_table(pa.table([pa.array(["x", None])] * WIDE, names=names), path)
    elif ending == "csv":
        path.write_text("\n".join([",".join(names), ",".join(["x"] * WIDE), ",".join([""] * WIDE)]) + "\n")
    else:
        path.write_text("\n".join([json.dumps(dict.fromkeys(names, "x")), json.dumps(dict.fromkeys(names))]) + "\n")
    shards: list[Shard] = []
    spec = RequestSpec(Endpoint.RESPONSES, {"model": "m", "input": "<{c4999}>"}, null_text="", carry=["c0", "c2500"])
    started = time.process_time()
    prepared = prepare(open_source(str(path)), spec, tmp_path / "out", shards.append)
    everything = RequestSpec(Endpoint.RESPONSES, {"model": "m", "input": "<{c4999}>"}, null_text="")
    prepare(open_source(str(path)), everything, tmp_path / "all", shards.append)
    assert time.process_time() - started < 60  # quadratic work over the columns takes minutes
    assert (prepared.row_count, prepared.carried.names) == (2, ["c0", "c2500"])
    assert json.loads(shards[0].lines.read_bytes().splitlines()[0])["body"]["input"] == "<x>"


@pytest.mark.parametrize("ending", ["parquet", "jsonl"])
def test_a_dotted_path_reaches_through_nulls(tmp_path: Path, ending: str) -> None:
    rows = [{"m": {"a": {"b": 1}}}, {"m": {"a": None}}, {"m": None}]
    path = tmp_path / f"a.{ending}"
    if ending == "parquet":
        kind = pa.struct([("a", pa.struct([("b", pa.int64())]))])
        pq.write_table(pa.table({"m": pa.array([row["m"] for row in rows], kind)}), path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    shards: list[Shard] = []
    spec = RequestSpec(
        Endpoint.RESPONSES, {"model": "m", "input": "<{m.a.b}>", "vendor": {"b": "{m.a.b}"}}, null_text="-"
    )
    prepare(open_source(str(path)), spec, tmp_path / "out", shards.append)
    bodies = [json.loads(line)["body"] for line in shards[0].lines.read_bytes().splitlines()]
    assert [(body["input"], body["vendor"]["b"]) for body in bodies] == [("<1>", 1), ("<->", None), ("<->", None)]
    selected = open_source(str(path)).select(Selection.of([("m.a.b", "is null")]))
    assert [row for batch in selected.batches() for row in batch.row_numbers] == [1, 2]


@pytest.mark.parametrize("ending", ["parquet", "jsonl", "csv"])
def test_nothing_but_nulls_is_carried_and_filtered(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a.{ending}"
    if ending == "parquet":
        pq.write_table(pa.table({"a": pa.nulls(3), "b": pa.nulls(3, pa.list_(pa.int8())), "t": ["x"] * 3}), path)
    else:
        path.write_text("a,b,t\n" + ",,x\n" * 3 if ending == "csv" else '{"a":null,"b":null,"t":"x"}\n' * 3)
    spec = RequestSpec(Endpoint.RESPONSES, {"model": "m", "input": "{t}"}, filters=[("a", "is null"), ("b", "is null")])
    assert prepare(open_source(str(path)), spec, tmp_path / "out", lambda shard: None).row_count == 3
    none = RequestSpec(Endpoint.RESPONSES, {"model": "m", "input": "{t}"}, filters=[("a", "!=", "x")])
    assert prepare(open_source(str(path)), none, tmp_path / "none", lambda shard: None).row_count == 0
