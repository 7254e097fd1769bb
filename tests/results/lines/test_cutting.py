"""Splitting files into lines."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_batch.results.lines import cutting
from airflow_provider_batch.results.lines.cutting import blocks_of_lines

SEPARATORS = "\u2028 \u2029 \u0085 \x0b \x0c \x1c \x1d \x1e"
TEXT = json.dumps({"custom_id": "1", "text": SEPARATORS}, ensure_ascii=False).replace("\\u001c", "\x1c").encode()


def lines_in(path: Path, data: bytes) -> list[bytes]:
    """Return the lines of a file, each read again at the offset of its block."""
    path.write_bytes(data)
    found = []
    descriptor = os.open(path, os.O_RDONLY)
    try:
        for offset, block in blocks_of_lines(descriptor):
            whole, _, _ = block.rpartition(b"\n")
            for line in whole.split(b"\n"):
                assert os.pread(descriptor, len(line), offset) == line
                found.append(line)
                offset += len(line) + 1
    finally:
        os.close(descriptor)
    return found


@pytest.mark.parametrize("ending", [b"", b"\n"])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 30, 1 << 20])
def test_the_lines_do_not_depend_on_the_size_of_a_read(
    size: int, ending: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cutting, "READ_BYTES", size)
    expected = [b'{"a": 1}', b"", TEXT, b'{"b": "\xe6\x9d\xb1"}\r']
    assert lines_in(tmp_path / "lines", b"\n".join(expected) + ending) == expected


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.lists(st.sampled_from([b"\n", b"a", b"\r"]), max_size=12).map(b"".join), size=st.integers(1, 5))
def test_any_file_gives_its_lines(data: bytes, size: int, tmp_path: Path) -> None:
    expected = data.split(b"\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cutting, "READ_BYTES", size)
        assert lines_in(tmp_path / "lines", data) == (expected if expected[-1] else expected[:-1])


def test_separators_that_are_no_line_feed_stay_within_their_line(tmp_path: Path) -> None:
    """Invariant 4: paid answers are landed."""
    assert lines_in(tmp_path / "lines", TEXT + b"\n" + TEXT) == [TEXT, TEXT]
    assert len(TEXT.decode().splitlines()) > 1  # so no text API may split them
