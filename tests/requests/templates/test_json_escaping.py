"""Rendering whole Arrow columns gives the same bytes and errors as rendering value by value."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_batch.api.endpoints import Endpoint
from airflow_provider_batch.arrow.values import plain_column
from airflow_provider_batch.exceptions import InputError
from airflow_provider_batch.requests.request_lines import Lines
from airflow_provider_batch.requests.templates.json_escaping import ESCAPES, escaped, escaped_column
from airflow_provider_batch.requests.templates.rendering import TemplateRenderer
from airflow_provider_batch.sources.column_paths import Columns
from airflow_provider_batch.sources.row_chunk import SourceBatch

#: Characters with and without a form of their own in JSON, and one of each length in UTF-8.
ALPHABET = '"\\\n\r\t\b\f\x00\x01\x1f\x7f\x85\u2028\ufeff\uffff/,:u0n aé日😀'
TEXT = st.text(ALPHABET, max_size=12) | st.text('a"\\', max_size=12) | st.text(max_size=5)
NUMBER = st.integers(-(2**63), 2**63 - 1)
BODIES = [
    {"model": "m", "input": "<{t}>", "metadata": {"alone": "{t}", "n": "{n}", "both": "{n}{t}{d}"}},
    {"model": "m", "input": "{t}", "user": "{s.x}"},
    {"model": "{t}", "input": ["{n}", "{t} {t}", "{f}"]},
    {"model": "m-{n}", "input": "{s}{f}{b}"},
]


def large(texts: list[str]) -> pa.Array:
    return pa.array(texts, pa.large_string())


@settings(max_examples=200, deadline=None)
@given(texts=st.lists(TEXT, max_size=12), start=st.integers(0, 5))
def test_a_column_is_escaped_as_its_texts_are(texts: list[str], start: int) -> None:
    column = escaped_column(large(texts).slice(start))
    assert column.cast(pa.large_binary()).to_pylist() == escaped(texts[start:])


@settings(max_examples=200, deadline=None)
@given(texts=st.lists(st.text('",\n[]\\a', max_size=4), max_size=6))
def test_texts_with_the_marks_of_json_are_each_escaped_to_their_own_ends(texts: list[str]) -> None:
    wanted = [json.dumps(text)[1:-1].encode() for text in texts]
    assert escaped(texts) == wanted
    assert escaped_column(large(texts)).cast(pa.large_binary()).to_pylist() == wanted


@pytest.mark.parametrize("character", list(map(chr, range(0x100))))
def test_every_character_has_the_form_of_json(character: str) -> None:
    (inside,) = escaped_column(large([f"<{character}>"])).cast(pa.string()).to_pylist()
    assert json.loads(f'"{inside}"') == f"<{character}>"
    assert (character in ESCAPES) == (inside != f"<{character}>")


def test_texts_of_more_bytes_than_are_looked_at_at_a_time_are_escaped_to_their_ends() -> None:
    texts = ["a" * 70_000 + '"', "b" * 70_000, "\n" + "é" * 40_000 + "\\"]
    assert escaped_column(large(texts)).cast(pa.large_binary()).to_pylist() == escaped(texts)


def column_of(values: list[bytes], kind: pa.DataType) -> pa.Array:
    return pa.array(values, pa.binary()).view(kind)


@settings(max_examples=300, deadline=None)
@given(
    value=st.binary(max_size=4)
    | st.tuples(st.integers(0xE0, 0xF5), st.binary(max_size=3)).map(lambda x: bytes([x[0]]) + x[1])
)
def test_a_column_is_sound_where_python_can_read_it(value: bytes) -> None:
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        assert plain_column(column_of([b"a", value], pa.string())) is None
    else:
        assert plain_column(column_of([b"a", value], pa.string())) is not None


def optional(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(values, values, values, st.none())


@st.composite
def batches(draw: st.DrawFn) -> SourceBatch:
    """Rows of Arrow; some columns have nulls, some texts no valid UTF-8."""
    count = draw(st.integers(1, 5))

    def column(values: st.SearchStrategy[Any], kind: pa.DataType) -> pa.Array:
        given = draw(st.lists(draw(st.sampled_from([values, optional(values)])), min_size=count, max_size=count))
        return pa.array(given, kind)

    texts = column(TEXT, draw(st.sampled_from([pa.string(), pa.large_string()])))
    if draw(st.integers(0, 9)) == 0:
        texts = column(st.binary(max_size=3), pa.binary()).view(pa.string())
    inner = column(TEXT, pa.string())
    columns = {
        "t": texts,
        "n": column(NUMBER, pa.int64()) if draw(st.booleans()) else column(st.integers(0, 9), pa.uint8()),
        "d": column(TEXT, pa.string()).dictionary_encode(),
        "f": column(st.floats(), pa.float64()),
        "b": column(st.binary(max_size=3), pa.binary()),
        "s": pa.StructArray.from_arrays([inner], ["x"], mask=pa.array([draw(st.booleans())] * count)),
    }
    rows = pa.RecordBatch.from_arrays(list(columns.values()), list(columns))
    start = draw(st.integers(0, count - 1))
    return SourceBatch(rows.slice(start), first_row=draw(st.sampled_from([0, 10_000])) + start)


def outcome(batch: SourceBatch, body: dict[str, Any], custom_id: str | None, null_text: str | None) -> Any:
    columns = Columns(batch.rows.schema)
    renderer = TemplateRenderer(Endpoint.EMBEDDINGS, body, columns, custom_id=custom_id, null_text=null_text)
    try:
        rendered = renderer.render(batch)
    except InputError as error:
        return type(error), str(error)
    lines = list(rendered.lines)
    assert [json.loads(line)["custom_id"] for line in lines] == rendered.identifiers.to_pylist()
    return lines, rendered.identifiers.to_pylist(), list(rendered.models), list(rendered.inputs)


@settings(max_examples=300, deadline=None)
@given(
    batch=batches(),
    body=st.sampled_from(BODIES),
    custom_id=st.sampled_from([None, "{n}", "c-{t}{n}", "{d}"]),
    null_text=st.sampled_from([None, "", '"∅\\', "\ud800"]),
)
def test_columns_and_values_give_the_same_lines_and_the_same_errors(
    batch: SourceBatch, body: dict[str, Any], custom_id: str | None, null_text: str | None
) -> None:
    by_column = outcome(batch, body, custom_id, null_text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SourceBatch, "plain", lambda self, path: None)
        assert outcome(batch, body, custom_id, null_text) == by_column


@settings(max_examples=100, deadline=None)
@given(texts=st.lists(st.binary(max_size=5).map(lambda text: text.replace(b"\n", b" ")), max_size=9), data=st.data())
def test_lines_know_where_they_end(texts: list[bytes], data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(texts)))
    lines, wanted = Lines(Lines.of(texts).array.slice(start)), texts[start:]
    assert list(lines) == wanted
    assert len(lines) == len(wanted)
    assert lines.sizes == [len(text) + 1 for text in wanted]
    assert list(lines.ends) == [sum(lines.sizes[: index + 1]) for index in range(len(wanted))]
    assert lines.byte_count == sum(lines.sizes)
    first = data.draw(st.integers(0, len(wanted)))
    last = data.draw(st.integers(first, len(wanted)))
    assert lines.text(first, last).to_pybytes() == b"".join(text + b"\n" for text in wanted[first:last])
    picked = data.draw(st.lists(st.integers(0, len(wanted) - 1), max_size=4)) if wanted else []
    assert list(lines.take(picked)) == [wanted[index] for index in picked]
