"""
What takes too long for each change: `make thorough`, or some of its parts::

    python -m tests.thorough --only waits --only demo
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

PYTEST = ("-m", "pytest", "-q", "-n", "2", "-m")


@dataclass(frozen=True)
class Part:
    """One command, and what it covers."""

    name: str
    covers: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)


PARTS = (
    Part(
        "properties",
        "each property test with ten times its examples: request lines, shards, sources, templates, landing, decisions",
        (*PYTEST, "property and not thorough"),
        {"TEST_EXAMPLES": "10"},
    ),
    Part("demo", "the demo stopped with Ctrl-C at each of its steps: nothing is left behind", (*PYTEST, "thorough")),
    Part("waits", "the trigger's wait, disturbed by each kind of event at each call", ("-m", "tests.faults.waiting")),
    Part(
        "jobs", "each scenario of a job, killed, held and overtaken at each of its boundaries", ("-m", "tests.faults")
    ),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the parts one after the other and say what came of them; return 1 where one has failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.thorough", description=__doc__.splitlines()[1])
    parser.add_argument("--only", action="append", choices=[part.name for part in PARTS], help="one part")
    only = parser.parse_args(arguments).only
    parts = [part for part in PARTS if not only or part.name in only]
    for part in parts:
        print(f"{part.name:<12} {part.covers}")
    outcomes = [_run(part) for part in parts]
    for outcome in outcomes:
        print(outcome[1])
    return 0 if all(is_good for is_good, _ in outcomes) else 1


def _run(part: Part) -> tuple[bool, str]:
    print(f"\n{part.name}: {part.covers}", flush=True)
    begun = time.monotonic()
    code = subprocess.run(
        [sys.executable, *part.command], env={**os.environ, **part.environment}, check=False
    ).returncode
    how = "good" if code == 0 else f"failed, exit code {code}"
    return code == 0, f"{part.name:<12} {how}, {time.monotonic() - begun:,.0f} s"


if __name__ == "__main__":
    raise SystemExit(main())
