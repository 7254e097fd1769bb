"""Cutting bytes into lines."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_batch.results.lines import lines_with_offsets, split_lines

SEPARATORS = "\u2028 \u2029 \u0085 \x0b \x0c \x1c \x1d \x1e"
TEXT = json.dumps({"custom_id": "1", "text": SEPARATORS}, ensure_ascii=False).replace("\\u001c", "\x1c").encode()


@pytest.mark.parametrize("ending", [b"", b"\n"])
def test_the_same_lines_come_out_wherever_the_stream_is_cut(ending: bytes) -> None:
    data = b"\n".join([b'{"a": 1}', b"", TEXT, b'{"b": "\xe6\x9d\xb1"}']) + ending
    expected = [b'{"a": 1}', b"", TEXT, b'{"b": "\xe6\x9d\xb1"}']
    for cut in range(len(data) + 1):
        assert list(split_lines([data[:cut], data[cut:]])) == expected, cut
    assert list(split_lines(data[at : at + 1] for at in range(len(data)))) == expected


@given(st.lists(st.binary(max_size=5)))
def test_any_chunks_give_the_lines_that_the_whole_gives(chunks: list[bytes]) -> None:
    whole = b"".join(chunks)
    lines = whole.split(b"\n")
    assert list(split_lines(chunks)) == (lines[:-1] if whole.endswith(b"\n") or not whole else lines)


def test_separators_that_are_no_line_feed_stay_within_their_line() -> None:
    """Invariant 4: what was paid for is landed."""
    file = io.BytesIO(TEXT + b"\n" + TEXT)
    assert [line for _, line in lines_with_offsets(file)] == [TEXT, TEXT]
    assert len(TEXT.decode().splitlines()) > 1  # which is why no text API may cut them


def test_offsets_lead_back_to_the_lines() -> None:
    data = b'\n  \r\n{"a": 1}\r\n\n{"b": 2}\n{"c": 3}'
    found = list(lines_with_offsets(io.BytesIO(data)))
    assert [line for _, line in found] == [b'{"a": 1}', b'{"b": 2}', b'{"c": 3}']
    assert all(data[offset : offset + len(line)] == line for offset, line in found)
