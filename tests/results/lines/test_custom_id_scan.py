"""The scan of custom_ids gives the same index as reading line by line, or leaves the file to the latter."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_batch.results.lines import line_index
from airflow_provider_batch.results.lines.line_index import LineIndex

ROWS = [b"a", b"b", b"c-3", "ü".encode(), b"e" * 64]
BODY = b'"response": {"status_code": 200, "body": {}}}'
OTHER_IDS = [b"foreign", b'q\\"uoted', b"x" * 300]


def usual(custom_id: bytes, filling: int = 0) -> bytes:
    return b'{"id": "batch_req_1", "custom_id": "%s", "x": "%s", %s' % (custom_id, b"y" * filling, BODY)


def forms(custom_id: bytes) -> list[bytes]:
    """Lines of one id: as the API writes them, as other servers do, and broken."""
    return [
        usual(custom_id),
        usual(custom_id).replace(b'": ', b'":').replace(b", ", b","),
        b'{"custom_id": "%s", %s' % (custom_id, BODY),
        b' {"custom_id":  "%s", %s' % (custom_id, BODY),
        b'{%s, "custom_id": "%s"}' % (BODY[:-1], custom_id),
        b'{"custom_id": "%s", "response": {"status_code": 500}}\r' % custom_id,
        b'{"custom_id": "%s' % custom_id,
    ]


lines = st.sampled_from([*(form for one in [*ROWS, *OTHER_IDS] for form in forms(one)), b"", b" ", b"\xff", b"no JSON"])
usual_lines = st.builds(usual, st.sampled_from(ROWS), st.integers(0, 60))
file_contents = st.builds(
    lambda given, tail: b"\n".join(given) + tail,
    st.lists(lines, max_size=8) | st.lists(usual_lines, max_size=5, unique_by=lambda line: line.split(b'"')[7]),
    st.sampled_from([b"", b"\n", b"\n\n"]),
)


def found(files: Sequence[Path], unreadable: Path | None = None) -> tuple[Any, ...]:
    """Return the line of each row in an index, and its counters."""
    with LineIndex(pa.array(ROWS, pa.binary()), files, unreadable) as made:
        rows = [bytes(line) for line in made.read(0, len(ROWS))]
        return rows, made.duplicates, made.foreign, made.unreadable


@settings(deadline=None)
@given(st.lists(file_contents, max_size=2), st.integers(8, 200))
def test_both_ways_find_the_same(contents: list[bytes], block: int) -> None:
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        files = [Path(folder, str(number)) for number in range(len(contents))]
        for file, content in zip(files, contents, strict=True):
            file.write_bytes(content)
        patch.setattr("airflow_provider_batch.results.lines.cutting.READ_BYTES", block)
        patch.setattr("airflow_provider_batch.results.lines.custom_id_scan._SCANNED_TOGETHER", 2)
        quick = found(files)
        patch.setattr(line_index, "MAPPED_BYTES", -1)
        copied = found(files)
        patch.setattr(LineIndex, "_index_fast", lambda *_: False)
        assert quick == copied == found(files)


@pytest.mark.parametrize(
    ("content", "is_quick"),
    [
        ([usual(row) for row in ROWS], True),
        ([usual(row) for row in reversed(ROWS[1:])], True),
        ([], True),
        ([usual(ROWS[0]), usual(ROWS[0])], False),
        ([usual(ROWS[0]), usual(b"foreign")], False),
        ([usual(ROWS[0]), b""], False),
    ],
)
def test_only_files_with_unusual_lines_are_read_line_by_line(
    content: list[bytes], is_quick: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "output").write_bytes(b"".join(line + b"\n" for line in content))
    looked: list[int] = []
    monkeypatch.setattr(LineIndex, "_scan", lambda _, descriptor, positions: looked.append(descriptor))
    with LineIndex(pa.array(ROWS, pa.binary()), [tmp_path / "output"]):
        assert (looked == []) is is_quick


@pytest.mark.parametrize("filling", [10, 30_000])
def test_short_lines_are_read_in_place_and_long_ones_copied(filling: int, tmp_path: Path) -> None:
    (tmp_path / "output").write_bytes(b"".join(usual(row, filling) + b"\n" for row in ROWS))
    with LineIndex(pa.array(ROWS, pa.binary()), [tmp_path / "output"]) as made:
        assert {type(line) for line in made.read(0, len(ROWS))} == {memoryview if filling == 10 else bytes}
