"""Which boundaries of a scenario are disturbed, and how."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from tests.faults.scenarios import Scenario

Kind = Literal["killed", "killed twice", "held", "held before the wire", "overtaken", "thawed"]
KINDS: tuple[Kind, ...] = ("killed", "killed twice", "held", "held before the wire", "overtaken", "thawed")

#: Boundaries at which a process changes the table; one that holds no lock is held there over a whole generation.
LATE = ("write part-", "write _unreadable", "move ", "replace _manifest", "delete part-")
#: Pairs of crashes that are tried, out of thousands.
PAIRS = 24
#: Holding is tried at each n-th boundary; those before the wire all are.
HELD_EVERY, OVERTAKEN_EVERY, THAWED_EVERY = 3, 7, 5


@dataclass(frozen=True)
class Point:
    """Where a scenario is disturbed: the numbers of one or two boundaries, from 1."""

    scenario: str
    kind: Kind
    at: tuple[int, ...]


def points_of(
    scenario: Scenario, names: Sequence[str], held: Sequence[str], kinds: Sequence[Kind], *, every: int = 1
) -> list[Point]:
    """
    Return the points of a scenario.

    :param names: The boundaries at which it is killed, in order.
    :param held: Those at which it is held: reads of the ledger count too.
    """
    found = {
        "killed": [(number,) for number in range(1, len(names) + 1)],
        "killed twice": list(_pairs(scenario, len(names))),
    }
    if scenario.phase.style == "blocking":
        found["held"] = [(n,) for n in range(1, len(held) + 1, HELD_EVERY) if not is_before_the_wire(held, n)]
        if scenario.thaws:
            found["thawed"] = [(n,) for n, name in enumerate(held, 1) if name.startswith(LATE)][::THAWED_EVERY]
        found["overtaken"] = [(n, 1 + (n // OVERTAKEN_EVERY) % 2) for n in range(1, len(held) + 1, OVERTAKEN_EVERY)]
    if scenario.phase.style == "blocking" and not scenario.loses_answers:  # one fault beyond the guarantee is enough
        found["held before the wire"] = [(n,) for n in range(1, len(held) + 1) if is_before_the_wire(held, n)]
    return [Point(scenario.name, kind, at) for kind in kinds for at in found.get(kind, ())[(every - 1) // 2 :: every]]


def is_before_the_wire(names: Sequence[str], number: int) -> bool:
    """Whether a process at this boundary has checked its lease for the last time before a create."""
    return any(name == "create: before" for name in names[number - 1 : number + 1])


def _pairs(scenario: Scenario, count: int) -> Iterator[tuple[int, int]]:
    choice = random.Random(scenario.name)
    for _ in range(PAIRS):
        first = choice.randint(1, count)
        yield first, first + choice.randint(1, max(1, min(count, 60)))
