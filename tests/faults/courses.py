"""Courses that a scenario can take, each with one disturbance, and whether it ended as the undisturbed one."""

from __future__ import annotations

import json
import signal
from dataclasses import dataclass, replace
from pathlib import Path

from airflow_provider_batch.emulator.testing import Emulator
from tests.faults.boundaries import Boundaries, is_of_a_ledger
from tests.faults.checking import MANIFEST, NO_MANIFEST, STRAY_STATE, EndState, differences, observe, wrong_with_rows
from tests.faults.driving import LONG_QUIET_PERIOD, End, Run, end_of, rows_of
from tests.faults.points import LATE, Point
from tests.faults.processes import PATIENCE, Child, in_a_process
from tests.faults.reader import TableReader
from tests.faults.scenarios import Scenario

#: Seconds after which a process is taken to wait for the lock of one that is held.
LOCKED = 0.6
#: Seconds in which one that waits for nothing ends.
ENDS_WITHIN = 20.0
#: Seconds after which a process that was held while a whole generation passed is one that never ends.
LONG_PATIENCE = 1800
#: What differs where a batch is made again, and where one is paid again.
MADE = ("batches:", "refused:", "parts:", "statuses:", "executed:", "manifest_cost:")
PAID = ("cost:", "billed_again:")


@dataclass(frozen=True)
class Undisturbed:
    """The course that others are compared with; `names` are its boundaries, `held` those where it can be held."""

    state: EndState
    names: list[str]
    held: list[str]


@dataclass(frozen=True)
class Verdict:
    """
    What came of one disturbance.

    :param outcome: How the disturbed process ended.
    :param wrong: What may not be; nothing is wrong where this is empty.
    :param made_again: A batch was made twice, where the guarantee ends: between the last check and the wire.
    :param paid_again: And some of it was executed twice.
    """

    point: Point
    name: str
    outcome: str
    wrong: tuple[str, ...] = ()
    made_again: bool = False
    paid_again: bool = False


def undisturbed(scenario: Scenario, folder: Path, emulator: Emulator) -> Undisturbed:
    """Run a scenario by itself; raises `AssertionError` where it does not do what it is for."""
    names = []
    for reads in (True, False):
        run = Run(scenario, folder, emulator, Boundaries(folder / "trace", reads=reads))
        run.prepare()
        run.boundaries.reader = TableReader(folder / "table") if scenario.has_a_table_before else None
        end = run.to_the_end()
        state, wrong = _end_state(run)
        wrong += run.boundaries.seen
        if end.kind != scenario.phase.ends or state.batches != scenario.batches or wrong:
            raise AssertionError(f"{scenario.name}, undisturbed: {end}, {state.batches} batches, {wrong}")
        names.append(run.boundaries.names)
    return Undisturbed(state, names=names[1], held=names[0])


def disturbed(scenario: Scenario, point: Point, folder: Path, emulator: Emulator, due: Undisturbed) -> Verdict:
    """Run a scenario with the disturbance of `point`."""
    match point.kind:
        case "killed" | "killed twice":
            return _killed(scenario, point, folder, emulator, due)
        case "held" | "held before the wire":
            return _held(scenario, point, folder, emulator, due)
        case "overtaken":
            return _overtaken(scenario, point, folder, emulator, due)
        case "thawed":
            return _thawed(scenario, point, folder, emulator)


def _killed(scenario: Scenario, point: Point, folder: Path, emulator: Emulator, due: Undisturbed) -> Verdict:
    """The process is killed at a boundary, the next one perhaps at another, and started until it ends."""
    stops = dict.fromkeys(point.at, signal.SIGKILL)
    run = Run(scenario, folder, emulator, Boundaries(folder / "trace", stops=stops))
    run.prepare()
    end = run.to_the_end()
    names = run.boundaries.names
    name = " + ".join(names[number - 1] for number in point.at if number <= len(names))
    kills = sum(end.kind == "killed" for end in run.ends)
    outcome = {0: "not reached", 1: "killed once"}.get(kills, "killed twice")
    return Verdict(point, name, outcome, tuple(_wrong(run, end, due)))


def _held(scenario: Scenario, point: Point, folder: Path, emulator: Emulator, due: Undisturbed) -> Verdict:
    """A process is held at a boundary, a second one works meanwhile, then the first goes on."""
    run, first, name = _first_held(scenario, point, folder, emulator)
    if not first.is_stopped:
        return Verdict(point, name, "not reached", tuple(_wrong(run, end_of(first), due)))
    second = run.start(None, "second")
    second.wait(LOCKED if _is_locked(name) else ENDS_WITHIN)
    waits = second.is_stopped
    first.go_on()
    first.wait()
    second.wait()
    return _both(run, point, name, first=end_of(first), second=end_of(second), due=due, note=", second waits" * waits)


def _overtaken(scenario: Scenario, point: Point, folder: Path, emulator: Emulator, due: Undisturbed) -> Verdict:
    """While one process is held, a second reads the ledger and is held too; the first goes on to its end."""
    run, first, name = _first_held(scenario, point, folder, emulator)
    if not first.is_stopped:
        return Verdict(point, name, "not reached", tuple(_wrong(run, end_of(first), due)))
    second = run.start(Boundaries(folder / "trace2", {point.at[1]: signal.SIGSTOP}, reads=True), "second")
    second.wait(LOCKED if _is_locked(name) else ENDS_WITHIN)
    first.go_on()
    first.wait(LOCKED * 2)
    waits = first.is_stopped
    second.wait(0.0)
    if second.is_stopped:
        second.go_on()
    first.wait()
    second.wait()
    return _both(run, point, name, first=end_of(first), second=end_of(second), due=due, note=", first waits" * waits)


def _thawed(scenario: Scenario, point: Point, folder: Path, emulator: Emulator) -> Verdict:
    """While a process is held as it lands or publishes, the job ends and a new generation too; then it goes on."""
    run, first, name = _first_held(scenario, point, folder, emulator, patience=LONG_PATIENCE)
    if not first.is_stopped:
        return Verdict(point, name, "not reached")
    if not name.startswith(LATE):  # numbers shift with timing: here it may hold a lock that the others need
        first.go_on()
        first.wait()
        return Verdict(point, name, "not reached")
    ends = []
    for number, changes in enumerate(({}, {"rerun": "all", "era": 7})):
        child = run.start(None, f"later-{number}", **changes)
        child.wait()
        ends.append(end_of(child))
    generation = _published_generation(run)
    first.go_on()
    first.wait()
    ends.append(end_of(first))
    allowed = ("JobTakenError", scenario.phase.ends)
    wrong = [f"an attempt ended as {one}" for one in ends if one.kind not in allowed]
    _, found = _end_state(run)
    wrong += [one for one in found if not one.startswith((STRAY_STATE, "statuses:"))]
    if _published_generation(run) != generation:
        wrong.append(f"generation {generation} was published, and {_published_generation(run)} stands")
    return Verdict(point, name, f"held over generation {generation}, then {ends[-1].kind}", tuple(wrong))


def _published_generation(run: Run) -> int:
    """Return the generation of the table, 0 where none is published."""
    manifests = list((run.folder / "table").glob(MANIFEST))
    return max((int(json.loads(manifest.read_text())["generation"]) for manifest in manifests), default=0)


def _is_locked(name: str) -> bool:
    """Whether a process that is held at a boundary may hold the lock of a file that others write too."""
    return is_of_a_ledger(name) or name.startswith(("write _manifest", "write _claim"))


def _first_held(
    scenario: Scenario, point: Point, folder: Path, emulator: Emulator, *, patience: int = PATIENCE
) -> tuple[Run, Child, str]:
    """Start a process that is held at the point's first boundary; return it, and that boundary's name."""
    held = Boundaries(folder / "trace", {point.at[0]: signal.SIGSTOP}, reads=True)
    run = Run(scenario, folder, emulator, held, LONG_QUIET_PERIOD)
    run.prepare()
    first = run.start(run.boundaries, "first", patience=patience)
    first.wait()
    return run, first, run.boundaries.names[-1]


def _both(run: Run, point: Point, name: str, *, first: End, second: End, due: Undisturbed, note: str) -> Verdict:
    final = run.scenario.phase.ends
    wrong = [f"an attempt ended as {one}" for one in (first, second) if one.kind not in ("JobTakenError", final)]
    end = second if second.kind == final else first if first.kind == final else run.to_the_end()
    outcome = f"first: {first.kind}, second: {second.kind}{note}"
    # What one that was overtaken writes into the state folder before it notices is in nobody's way.
    found = [one for one in _wrong(run, end, due) if not one.startswith(STRAY_STATE)]
    if point.kind == "held before the wire" or name == "create: before":  # timing can move it there
        point = replace(point, kind="held before the wire")
        # A second batch can also take a fault that was meant for another.
        paid = [one for one in found if one.startswith(PAID)]
        made = [one for one in found if one.startswith(MADE)]
        wrong += [one for one in found if one not in made + paid]
        return Verdict(point, name, outcome, tuple(wrong), made_again=bool(made), paid_again=bool(paid))
    return Verdict(point, name, outcome, tuple(wrong + found))


def _wrong(run: Run, end: End, due: Undisturbed) -> list[str]:
    wrong = [] if end.kind == run.scenario.phase.ends else [f"it ended as {end}"]
    state, more = _end_state(run)
    return wrong + more + differences(run.scenario, state, due.state)


def _end_state(run: Run) -> tuple[EndState, list[str]]:
    emulator = run.emulator.state()
    seen = in_a_process(lambda: observe(run.folder, emulator), run.folder / "seen.json")
    state = EndState(**seen["state"])
    if run.scenario.is_stopped:
        return state, [one for one in seen["wrong"] if one != NO_MANIFEST]
    given = rows_of(run.scenario.phase.request.get("rows", run.scenario.rows))
    return state, seen["wrong"] + wrong_with_rows(run.scenario, state, given)
