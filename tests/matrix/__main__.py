"""
Run the tests on each supported version of Airflow and Python, and write `docs/compatibility.md`: `make matrix`, or::

    python -m tests.matrix --only 2.11 --only 3.0
    python -m tests.matrix --only airflow-3.3-python-3.11-lowest --part "Airflow face"

The environments are made below `build/matrix` and used again. A line whose Python is not on the machine is named as not
run. The exit code is 1 where a test has failed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from tests.matrix.environments import BUILD, ROOT, InstallError, NoPythonError, make, versions
from tests.matrix.lines import LINES, Line
from tests.matrix.report import Outcome, counts_of, record

#: Lines of a part's output that are printed where a test failed.
SHOWN_LINES = 40


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the lines one after the other; return 1 where one has failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.matrix", description=(__doc__ or "").splitlines()[1])
    parser.add_argument("--only", action="append", help="a version of Airflow, or the name of a line")
    parser.add_argument("--part", action="append", help="a part of each line; the page is then left as it is")
    parser.add_argument("--list", action="store_true", help="print the lines and run nothing")
    given = parser.parse_args(arguments)
    lines = [line for line in LINES if not given.only or line.airflow in given.only or line.name in given.only]
    if given.list or not lines:
        print("\n".join(line.name for line in (lines or LINES)))
        return 0 if given.list else 2
    BUILD.mkdir(parents=True, exist_ok=True)
    outcomes = [_run(line, given.part) for line in lines]
    return 0 if all(outcome.is_good or outcome.problem for outcome in outcomes) else 1


def _run(line: Line, only: Sequence[str] | None) -> Outcome:
    """Run one line, and record what came of it."""
    day = datetime.now(UTC).date().isoformat()
    print(f"{line.name}: installing ...", flush=True)
    try:
        python = make(line)
    except NoPythonError as error:
        outcome = Outcome(day, problem=str(error))
    except InstallError as error:
        print(f"{line.name}: cannot be installed\n{error}", flush=True)
        outcome = Outcome(day, parts={"installation": {"passed": 0, "failed": 1, "skipped": 0}})
    else:
        parts = {name: tests for name, tests in line.parts.items() if not only or name in only}
        counts = {name: _run_part(line, name, tests, python) for name, tests in parts.items()}
        outcome = Outcome(day, versions(python), counts)
    if not only:
        record(line.name, outcome)
    if outcome.problem:
        print(f"{line.name}: not run: {outcome.problem}", flush=True)
    return outcome


def _run_part(line: Line, name: str, tests: Sequence[str], python: Path) -> dict[str, int]:
    slug = name.replace(" ", "-").lower()
    report, log = (BUILD / f"{line.name}-{slug}.{ending}" for ending in ("xml", "log"))
    report.unlink(missing_ok=True)
    begun = time.monotonic()
    options = ("-q", "-n", "2", "-m", "not thorough or matrix", "-p", "no:cacheprovider", f"--junitxml={report}")
    command = [str(python), "-m", "pytest", *options, *tests]
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    with log.open("w") as output:
        subprocess.run(command, cwd=ROOT, env=environment, stdout=output, stderr=output, check=False)
    counts = counts_of(report)
    print(f"{line.name}: {name}: {counts} in {time.monotonic() - begun:.0f} s", flush=True)
    if counts["failed"] or not counts["passed"]:
        print("\n".join(log.read_text(errors="replace").splitlines()[-SHOWN_LINES:]), flush=True)
    return counts


if __name__ == "__main__":
    sys.exit(main())
