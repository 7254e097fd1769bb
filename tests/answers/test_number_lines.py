"""Numbers that simdjson reads are the numbers that the typed decoder reads."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_batch.answers import number_lines
from airflow_provider_batch.answers.endpoints.embeddings import EmbeddingsBody, vector_bytes
from airflow_provider_batch.answers.number_lines import NumberLineDecoder
from airflow_provider_batch.results.lines.typed_lines import Line
from tests.results.recorded import EMBEDDINGS_LINES, Recorded, embeddings_body
from tests.results.support import encoded, success

decode = msgspec.json.Decoder(Line[EmbeddingsBody]).decode

ODD = [
    encoded({"embedding": [9, 9], **success("1", {**embeddings_body([1.0]), "data": [{"embedding": "AACAPw=="}]})}),
    encoded(success("1", {**embeddings_body(), "embedding": [9.0]})),
    encoded(success('a"embedding": [1]', embeddings_body([1.0]))),
    encoded(success("1", embeddings_body([1.0], [2.0]))),
    encoded({"padding": "x" * 2_000, **success("1", embeddings_body([1.0]))}),
    encoded({"padding": "x" * 2_000, **success("1", embeddings_body("AACAPw=="))}),
    *(encoded({"padding": "x" * cut, **success("1", embeddings_body("AACAPw=="))}) for cut in range(820, 870)),
    encoded(success("1", embeddings_body([[1.0]]))),
    encoded(success("1", embeddings_body([1e39, -1e39, 1e-50, 10**25]))),
    encoded(success("1", embeddings_body([1.0])))[:-80],
    encoded(success("1", embeddings_body([1.0]))).replace(b"[1.0]", b"[1.0, ]"),
    encoded(success("1", embeddings_body([1.0]))).replace(b"[1.0]", b"[ 1.0\t,2 ]"),
    encoded(success("1", embeddings_body([1.0]))).replace(b"[1.0]", b"[+1.0]"),
]


def vectors_of(read: Any, raw: bytes) -> Any:
    """Return the vectors of a line as bytes, or that it cannot be read."""
    try:
        line = read(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return "unreadable"
    body = line.response and line.response.body
    return body and [vector_bytes(item.embedding) for item in body.data or ()]


@pytest.fixture(params=["simdjson", "without"])
def numbers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> NumberLineDecoder:
    if request.param == "simdjson":
        pytest.importorskip("simdjson")
    else:
        monkeypatch.setattr(number_lines, "_simdjson_parser", lambda: None)
    return NumberLineDecoder(decode)


@pytest.mark.parametrize("case", EMBEDDINGS_LINES, ids=lambda case: case.name)
def test_recorded_lines_have_the_same_vectors(case: Recorded, numbers: NumberLineDecoder) -> None:
    assert vectors_of(numbers.decode, case.line) == vectors_of(decode, case.line)


@pytest.mark.parametrize("raw", ODD)
def test_unusual_lines_have_the_same_vectors(raw: bytes, numbers: NumberLineDecoder) -> None:
    assert vectors_of(numbers.decode, raw) == vectors_of(decode, raw)
    assert vectors_of(numbers.decode, memoryview(raw)) == vectors_of(decode, raw)
    # An unreadable line does not break the parser: the next line can be read.
    good = encoded(success("1", embeddings_body([1.0, 2.0])))
    assert vectors_of(numbers.decode, good) == vectors_of(decode, good)


def test_a_list_of_numbers_never_becomes_python_floats() -> None:
    pytest.importorskip("simdjson")
    line = NumberLineDecoder(decode).decode(encoded(success("1", embeddings_body([1.0, 2.0]))))
    assert line.response.body.data[0].embedding == b"\0\0\x80?\0\0\0@"


@settings(deadline=None)
@given(
    st.lists(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**20), 10**20), min_size=1),
    st.booleans(),
)
def test_any_numbers_are_read_alike(numbers: list[float], spaces: bool) -> None:
    pytest.importorskip("simdjson")
    raw = encoded(success("1", embeddings_body(numbers)), spaces=spaces)
    assert vectors_of(NumberLineDecoder(decode).decode, raw) == vectors_of(decode, raw)
    assert json.loads(raw)["response"]["body"]["data"][0]["embedding"] == numbers
