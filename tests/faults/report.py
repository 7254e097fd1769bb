"""The table of a run: scenarios, points, outcomes, and what is wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from tests.faults.courses import Verdict
from tests.faults.points import KINDS
from tests.faults.scenarios import Scenario

#: Violations that are printed; all of them are in the JSON file.
SHOWN = 40


def print_report(scenarios: Sequence[Scenario], verdicts: Sequence[Verdict], *, seconds: float) -> int:
    """Print the table, and return the number of violations."""
    wrong = [verdict for verdict in verdicts if verdict.wrong]
    width = max(len(scenario.name) for scenario in scenarios)
    heads = [*KINDS, "as due", "not reached", "violations"]
    print(f"{'scenario':{width}}  {'  '.join(heads)}")
    for scenario in scenarios:
        _print_line(scenario.name, [v for v in verdicts if v.point.scenario == scenario.name], heads, width)
    _print_line("all", verdicts, heads, width)
    print()
    for outcome, count in Counter(verdict.outcome for verdict in verdicts).most_common():
        print(f"{count:6,}  {outcome}")
    made = sum(verdict.made_again for verdict in verdicts)
    paid = sum(verdict.paid_again for verdict in verdicts)
    wire = sum(verdict.point.kind == "held before the wire" for verdict in verdicts)
    print(f"\n{len(verdicts):,} points in {seconds:,.0f} s, {len(wrong)} violations")
    print(
        f"held between the last check and the wire, where the guarantee ends: {wire} points; {made} made a batch again "
        f"(it was cancelled), {paid} paid again"
    )
    for verdict in wrong[:SHOWN]:
        print(f"\n{verdict.point.scenario} | {verdict.point.kind} at {verdict.point.at}: {verdict.name}")
        print(f"  {verdict.outcome}")
        for one in verdict.wrong:
            print(f"  - {one[:600]}")
    return len(wrong)


def _print_line(name: str, verdicts: Sequence[Verdict], heads: Sequence[str], width: int) -> None:
    counts: Counter[str] = Counter(verdict.point.kind for verdict in verdicts)
    counts["violations"] = sum(bool(verdict.wrong) for verdict in verdicts)
    counts["as due"] = len(verdicts) - counts["violations"]
    counts["not reached"] = sum(verdict.outcome == "not reached" for verdict in verdicts)
    print(f"{name:{width}}  " + "  ".join(f"{counts[head]:{len(head)},}" for head in heads))
