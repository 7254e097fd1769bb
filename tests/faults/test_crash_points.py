"""
A representative part of the fault suite; `make faults` runs all of it.

In a process of its own: it forks, and must not have used what other tests use.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.faults.points import KINDS
from tests.faults.scenarios import SCENARIOS

#: Of each scenario's points, each n-th; the number shares no factor with the three boundaries of a write.
EVERY = 61


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What came of the points."""
    found = tmp_path_factory.mktemp("faults") / "verdicts"
    command = [sys.executable, "-m", "tests.faults", "--every", str(EVERY), "--json", str(found)]
    ended = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert found.exists(), ended.stderr
    return [json.loads(line) for line in found.read_text().splitlines()[1:]]


@pytest.mark.parametrize("scenario", [scenario.name for scenario in SCENARIOS])
def test_a_job_that_is_killed_or_held_ends_as_if_nothing_had_happened(
    verdicts: list[dict[str, Any]], scenario: str
) -> None:
    """Invariants 1, 2, 3 and 9: one row for each input row, nothing paid twice, nothing left over."""
    of_it = [verdict for verdict in verdicts if verdict["point"]["scenario"] == scenario]
    assert of_it or scenario == "no rows"
    assert [verdict for verdict in of_it if verdict["wrong"]] == []


def test_the_points_are_where_they_are_meant_to_be(verdicts: list[dict[str, Any]]) -> None:
    """Each kind of disturbance is tried, and nearly all of them happen."""
    assert {verdict["point"]["kind"] for verdict in verdicts} >= {"killed", "held"}
    assert {verdict["point"]["kind"] for verdict in verdicts} <= set(KINDS)
    missed = [verdict for verdict in verdicts if verdict["outcome"] == "not reached"]
    assert len(missed) <= len(verdicts) / 10
