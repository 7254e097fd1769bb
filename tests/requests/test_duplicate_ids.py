"""The check that identifiers are unique finds every repetition, in memory and on disk."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_batch.requests.duplicate_ids import IdentifierCheck


def repeated(identifiers: list[str]) -> list[tuple[int, int]]:
    """Each row that repeats an identifier, with the nearest row that has it before."""
    last: dict[str, int] = {}
    pairs = []
    for row, name in enumerate(identifiers):
        if name in last:
            pairs.append((last[name], row))
        last[name] = row
    return pairs


@settings(max_examples=150, deadline=None)
@given(
    pieces=st.lists(st.lists(st.integers(0, 60).map(str), max_size=15), max_size=8),
    memory_rows=st.sampled_from([1, 7, 1_000]),
)
def test_every_repetition_is_found_whatever_is_on_disk(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[list[str]], memory_rows: int
) -> None:
    folder = tmp_path_factory.mktemp("ids")
    with IdentifierCheck(folder, memory_rows) as check:
        for piece in pieces:
            check.add(piece)
        assert check.suspects() == repeated([name for piece in pieces for name in piece])
    assert list(folder.iterdir()) == []


def test_many_distinct_identifiers_are_no_suspects(tmp_path: Path) -> None:
    with IdentifierCheck(tmp_path, 50_000) as check:
        for start in range(0, 200_000, 10_000):
            check.add([f"row-{number}" for number in range(start, start + 10_000)])
        check.add(["row-123456"])
        assert check.suspects() == [(123_456, 200_000)]
