"""
Which shards of a ledger are in which state: counted once, then kept up to date from event to event.

A job of thousands of shards asks this at each of its steps; going through all of them each time would make its
work grow with the square of their number.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from airflow_provider_batch.jobs.ledger.shard_list import Resting, ShardKeys, ShardList

if TYPE_CHECKING:
    from airflow_provider_batch.jobs.ledger.shard_record import ShardRecord

#: Groups beside the states: planned shards that wait for a moment, and landed ones whose part is to be trimmed.
HELD, UNTRIMMED = "held", "untrimmed"


class ShardIndex:
    """
    The places of shards, ascending, by key and by group; immutable.

    :param keys: The keys of the ledger's shards.
    :param groups: State, `HELD` or `UNTRIMMED` → the places of its shards.
    """

    __slots__ = ("_groups", "_keys")

    def __init__(self, keys: ShardKeys, groups: Mapping[str, tuple[int, ...]]) -> None:
        self._keys, self._groups = keys, groups

    @classmethod
    def of(cls, shards: ShardList) -> ShardIndex:
        """Index all shards of a ledger; those at rest are not read for it."""
        groups: dict[str, list[int]] = {}
        for position, slot in enumerate(shards.slots):
            for group in (slot.segment.state,) if isinstance(slot, Resting) else _groups_of(slot):
                groups.setdefault(group, []).append(position)
        return cls(shards.keys, {group: tuple(places) for group, places in groups.items()})

    @property
    def last_round(self) -> int:
        """The latest round that has shards, 1 without any."""
        return self._keys.last_round

    @property
    def in_last_round(self) -> tuple[int, ...]:
        """The places of the latest round's shards."""
        return self._keys.places_in(self.last_round)

    def position(self, key: str) -> int:
        """Return the place of a shard; raise KeyError for an unknown key."""
        return self._keys.place(key)

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
        return ShardIndex(self._keys, groups)


def _groups_of(shard: ShardRecord) -> Iterator[str]:
    state = shard.state
    yield state
    if state == "planned" and shard.retry_at is not None:
        yield HELD
    if shard.untrimmed and shard.landing is not None:
        yield UNTRIMMED
