"""The page on compatibility: the lines as they ran."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.matrix.environments import BUILD, ROOT
from tests.matrix.lines import LINES, SHOWN

PAGE = ROOT / "docs" / "compatibility.md"
RESULTS = BUILD / "results.json"
BEGIN, END = "<!-- matrix: begin -->", "<!-- matrix: end -->"


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    What came of a line.

    :param day: Day of the run, ISO 8601.
    :param versions: Package → installed version.
    :param parts: Name of a part → its passed, failed and skipped tests.
    :param problem: Why the line did not run; empty if it ran.
    """

    day: str
    versions: Mapping[str, str] = field(default_factory=dict)
    parts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    problem: str = ""

    @property
    def is_good(self) -> bool:
        """Whether each part ran tests, and none failed."""
        return bool(self.parts) and all(not c["failed"] and c["passed"] for c in self.parts.values())


def record(name: str, outcome: Outcome) -> None:
    """
    Save the outcome of a line beside those of the other lines, and write the page anew.

    :param name: Name of the line.
    :param outcome: What came of it.
    """
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    known[name] = asdict(outcome)
    RESULTS.write_text(json.dumps(known, indent=1))
    head, _, rest = PAGE.read_text().partition(BEGIN)
    tail = rest.partition(END)[2]
    PAGE.write_text(f"{head}{BEGIN}\n{table({n: Outcome(**o) for n, o in known.items()})}\n{END}{tail}")


def table(outcomes: Mapping[str, Outcome]) -> str:
    """
    Return the lines as a table in Markdown.

    :param outcomes: Name of a line → what came of it.
    """
    short = [name.removeprefix("apache-airflow-providers-") for name in SHOWN]
    rows = [["Airflow", "Python", *short, "tests", "day"]]
    for line in LINES:
        outcome = outcomes.get(line.name)
        if outcome is None:
            continue
        python, airflow = outcome.versions.get("python", line.python), outcome.versions.get("apache-airflow")
        found = [outcome.versions.get(name, "") for name in SHOWN]
        rows.append([airflow or line.airflow, python, *found, _tests(outcome), outcome.day])
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], "|---" * len(rows[0]) + "|", *lines[1:]])


def _tests(outcome: Outcome) -> str:
    if outcome.problem:
        return f"not run: {outcome.problem}"
    return "; ".join(f"{name}: {_counts(counts)}" for name, counts in outcome.parts.items())


def _counts(counts: Mapping[str, int]) -> str:
    return (
        ", ".join(f"{counts[kind]:,} {kind}" for kind in ("passed", "failed", "skipped") if counts[kind]) or "no test"
    )


def counts_of(path: Path) -> dict[str, int]:
    """
    Return the counts of a JUnit report; one failed test if there is no report.

    :param path: The file.
    """
    from xml.etree import ElementTree  # a file that pytest has just written

    if not path.exists():
        return {"passed": 0, "failed": 1, "skipped": 0}
    suite = ElementTree.parse(path).getroot().find("testsuite")
    assert suite is not None
    total, skipped = int(suite.get("tests", 0)), int(suite.get("skipped", 0))
    failed = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
    return {"passed": total - skipped - failed, "failed": failed, "skipped": skipped}
