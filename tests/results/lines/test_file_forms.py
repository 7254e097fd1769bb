"""Result files in other forms than JSON Lines: converted where that is possible without loss, otherwise unchanged."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_batch.results.lines.file_forms import as_json_lines
from tests.results.support import success

QUICK = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
TEXTS = st.text(st.sampled_from('ab"\\{}[],\n\r\u2028é😀 '), max_size=8)
LINES = st.lists(
    st.dictionaries(TEXTS, st.recursive(TEXTS | st.integers() | st.none(), lambda one: st.lists(one, max_size=3))),
    max_size=4,
)


def read(path: Path) -> list[Any]:
    return [json.loads(line) for line in as_json_lines(path).read_bytes().split(b"\n")[:-1]]


@QUICK
@given(lines=LINES, ascii_only=st.booleans(), indent=st.sampled_from([None, 0, 1, 4]), mark=st.booleans())
def test_an_array_in_any_layout_becomes_its_objects(
    lines: list[Any], ascii_only: bool, indent: int | None, mark: bool, tmp_path: Path
) -> None:
    path = tmp_path / "output.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" * mark + json.dumps(lines, ensure_ascii=ascii_only, indent=indent).encode())
    assert read(path) == lines


@QUICK
@given(lines=LINES.filter(lambda lines: all(lines)), indent=st.sampled_from([1, 4]))
def test_objects_printed_over_several_lines_are_read(lines: list[Any], indent: int, tmp_path: Path) -> None:
    path = tmp_path / "output.jsonl"
    path.write_bytes(b"\n".join(json.dumps(line, indent=indent).encode() for line in lines) + b"\n" * bool(lines))
    assert read(path) == lines


@pytest.mark.parametrize("inner", [lambda text: text, lambda text: json.dumps([json.loads(text)]).encode()])
def test_a_packed_file_is_unpacked(inner: Any, tmp_path: Path) -> None:
    path = tmp_path / "output.jsonl"
    path.write_bytes(gzip.compress(inner(json.dumps(success("1")).encode()) + b"\n"))
    assert read(path) == [success("1")]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"<html>\n</html>",
        b'{"a": 1}\n{"b": 2}\n',
        b'{"a": 1}',
        b"[1, 2]",
        b'[{"a": 1}, 2]',
        b'[{"a": 1}] x',
        b'[{"a": 1}',
        b'{\n"a": 1',
        b'{\n"a": 1}\nrest',
        b'{\n"a": "b\nc"}\n',
        b'["a"]',
        b"\x1f\x8bnothing of the kind",
        gzip.compress(b'{"a": 1}\n', mtime=0)[:-9],
    ],
)
def test_a_file_in_any_other_form_is_unchanged(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "output.jsonl"
    path.write_bytes(content)
    assert as_json_lines(path) == path
    assert path.read_bytes() == content
