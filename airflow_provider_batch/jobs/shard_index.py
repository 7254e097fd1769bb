"""
Which shards of a ledger are in which state: counted once, then kept up to date from event to event.

A job of thousands of shards asks this at each of its steps; going through all of them each time would make its
work grow with the square of their number.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_batch.jobs.ledger import ShardRecord

#: Groups beside the states: planned shards that wait for a moment, and landed ones whose part is to be trimmed.
HELD, UNTRIMMED = "held", "untrimmed"


class ShardIndex:
    """
    The positions of shards, ascending, by key and by group; immutable.

    :param positions: Key of a shard → its place in the ledger.
    :param groups: State, `HELD` or `UNTRIMMED` → the places of its shards.
    :param last_round: The latest round that has shards, 1 without any.
    :param in_last_round: The places of its shards.
    """

    __slots__ = ("_groups", "_positions", "in_last_round", "last_round")

    def __init__(
        self,
        positions: Mapping[str, int],
        groups: Mapping[str, tuple[int, ...]],
        last_round: int,
        in_last_round: tuple[int, ...],
    ) -> None:
        self._positions, self._groups = positions, groups
        self.last_round, self.in_last_round = last_round, in_last_round

    @classmethod
    def of(cls, shards: Sequence[ShardRecord]) -> ShardIndex:
        """Index all shards of a ledger."""
        groups: dict[str, list[int]] = {}
        for position, shard in enumerate(shards):
            for group in _groups_of(shard):
                groups.setdefault(group, []).append(position)
        # The first of equal keys counts, as it would in a search from the start.
        positions = {shard.key: position for position, shard in reversed(list(enumerate(shards)))}
        rounds = [shard.round for shard in shards]
        last = max(rounds, default=1)
        in_last = tuple(position for position, number in enumerate(rounds) if number == last)
        return cls(positions, {group: tuple(places) for group, places in groups.items()}, last, in_last)

    def position(self, key: str) -> int:
        """Return the place of a shard; raise KeyError for an unknown key."""
        return self._positions[key]

    def group(self, *names: str) -> Sequence[int]:
        """Return the places of the shards in any of these groups, ascending."""
        if len(names) == 1:
            return self._groups.get(names[0], ())
        return sorted(position for name in names for position in self._groups.get(name, ()))

    def count(self, *names: str) -> int:
        """Return how many shards are in any of these states."""
        return sum(len(self._groups.get(name, ())) for name in names)

    def moved(self, position: int, before: ShardRecord, after: ShardRecord) -> ShardIndex:
        """Return the index after one shard has changed."""
        left, entered = set(_groups_of(before)), set(_groups_of(after))
        if left == entered:
            return self
        groups = dict(self._groups)
        for name in left - entered:
            places = groups[name]
            at = bisect_left(places, position)
            groups[name] = (*places[:at], *places[at + 1 :])
        for name in entered - left:
            places = groups.get(name, ())
            at = bisect_left(places, position)
            groups[name] = (*places[:at], position, *places[at:])
        return ShardIndex(self._positions, groups, self.last_round, self.in_last_round)


def _groups_of(shard: ShardRecord) -> Iterator[str]:
    state = shard.state
    yield state
    if state == "planned" and shard.retry_at is not None:
        yield HELD
    if shard.untrimmed and shard.landing is not None:
        yield UNTRIMMED
