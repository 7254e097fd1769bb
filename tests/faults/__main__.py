"""
Kill, hold and overtake jobs at each of their boundaries, and print what came of it::

    python -m tests.faults                      # all of it: `make faults`
    python -m tests.faults --every 10           # each tenth boundary
    python -m tests.faults --scenario rerun --kind killed --at 17

The exit code is 1 where anything is wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from airflow_provider_batch.emulator.testing import Emulator
from tests.faults.courses import Undisturbed, Verdict, disturbed, undisturbed
from tests.faults.points import KINDS, Point, points_of
from tests.faults.pool import Pool
from tests.faults.processes import warm_up
from tests.faults.report import print_report
from tests.faults.scenarios import SCENARIOS, Scenario


def main(arguments: Sequence[str] | None = None) -> int:
    given = _parser().parse_args(arguments)
    os.environ["no_proxy"] = "127.0.0.1,localhost"
    scenarios = [one for one in SCENARIOS if not given.scenario or any(part in one.name for part in given.scenario)]
    warm_up()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="faults-", dir=_quick_disk()) as folder:
        due, verdicts = _run(scenarios, given, Path(given.folder or folder))
    if given.json:
        lines = [{"points": {s.name: d.names for s, d in due}}, *(asdict(verdict) for verdict in verdicts)]
        Path(given.json).write_text("".join(json.dumps(line) + "\n" for line in lines))
    violations = print_report(scenarios, verdicts, seconds=time.monotonic() - begun)
    return 1 if violations else 0


def _run(
    scenarios: list[Scenario], given: argparse.Namespace, folder: Path
) -> tuple[list[tuple[Scenario, Undisturbed]], list[Verdict]]:
    with Pool(given.workers, folder) as pool:
        found = pool.map(lambda one, place, emulator: undisturbed(one, place, emulator), scenarios, "undisturbed")
        due = list(zip(scenarios, found, strict=True))
        points = [(scenario, point, course) for scenario, course in due for point in _points(scenario, course, given)]
        verdicts = pool.map(_verdict, points, "points")
    return due, verdicts


def _verdict(task: tuple[Scenario, Point, Undisturbed], folder: Path, emulator: Emulator) -> Verdict:
    """Disturb a job at a point; a course that fails itself is a violation of this point, and the others are kept."""
    scenario, point, course = task
    try:
        return disturbed(scenario, point, folder, emulator, course)
    except Exception:
        return Verdict(point, "", "the course failed", (traceback.format_exc(),))


def _points(scenario: Scenario, course: Undisturbed, given: argparse.Namespace) -> list[Point]:
    kinds = given.kind or KINDS
    if given.at:
        return [Point(scenario.name, kind, tuple(given.at)) for kind in kinds]
    return points_of(scenario, course.names, course.held, kinds, every=given.every)


def _quick_disk() -> str | None:
    """Thousands of small jobs write their ledgers: a disk in memory is kinder."""
    shared = Path("/dev/shm")
    return str(shared) if shared.is_dir() and os.access(shared, os.W_OK) else None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__.splitlines()[1])
    parser.add_argument("--every", type=int, default=1, help="take each n-th point only")
    parser.add_argument("--scenario", action="append", help="part of a scenario's name; may be given again")
    parser.add_argument("--kind", action="append", choices=KINDS, help="of disturbance; may be given again")
    parser.add_argument("--at", type=int, nargs="+", help="the boundaries' numbers: one point only")
    parser.add_argument("--workers", type=int, default=2 * (os.cpu_count() or 2))
    parser.add_argument("--folder", help="kept, to look into what the last points left")
    parser.add_argument("--json", help="file for all verdicts, one a line")
    return parser


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # the query engine complains about an interpreter that ends after a fork
