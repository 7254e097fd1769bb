"""
The index of a ledger's shards by state: built once, then updated with each event.

A job with thousands of shards needs this at each of its steps. Going through all shards each time would cost the square
of their number.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence

from airflow_provider_batch.jobs.ledger.shard_list import Resting, ShardKeys, ShardList
from airflow_provider_batch.jobs.ledger.shard_record import ShardRecord

#: Groups beside the states: planned shards with a `retry_at`, and landed ones whose part is to be trimmed.
DELAYED, UNTRIMMED = "delayed", "untrimmed"


class ShardIndex:
    """
    The places of shards by key and by group; immutable.

    :param keys: The keys of the ledger's shards.
    :param groups: Places in ascending order by group: a state, `DELAYED` or `UNTRIMMED`.
    """

    __slots__ = ("_groups", "_keys")

    def __init__(self, keys: ShardKeys, groups: Mapping[str, tuple[int, ...]]) -> None:
        self._keys, self._groups = keys, groups

    @classmethod
    def of(cls, shards: ShardList) -> ShardIndex:
        """
        Index all shards of a ledger without reading those at rest.

        :param shards: The shards.
        """
        groups: dict[str, list[int]] = {}
        for position, slot in enumerate(shards.slots):
            for group in (slot.segment.state,) if isinstance(slot, Resting) else _groups_of(slot):
                groups.setdefault(group, []).append(position)
        return cls(shards.keys, {group: tuple(places) for group, places in groups.items()})

    @property
    def last_round(self) -> int:
        """The latest round that has shards; 1 without shards."""
        return self._keys.last_round

    @property
    def in_last_round(self) -> tuple[int, ...]:
        """The places of the latest round's shards."""
        return self._keys.places_in(self.last_round)

    def position(self, key: str) -> int:
        """
        Return the place of a shard.

        :param key: Key of the shard.
        :raises KeyError: No shard has this key.
        """
        return self._keys.place(key)

    def group(self, *names: str) -> Sequence[int]:
        """
        Return the places of the shards in any of some groups, in ascending order.

        :param names: States, `DELAYED` or `UNTRIMMED`.
        """
        if len(names) == 1:
            return self._groups.get(names[0], ())
        return sorted(position for name in names for position in self._groups.get(name, ()))

    def count(self, *names: str) -> int:
        """
        Return how many shards are in any of some groups.

        :param names: States, `DELAYED` or `UNTRIMMED`.
        """
        return sum(len(self._groups.get(name, ())) for name in names)

    def moved(self, position: int, before: ShardRecord, after: ShardRecord) -> ShardIndex:
        """
        Return the index after one shard has changed.

        :param position: Place of the shard.
        :param before: The shard before the change.
        :param after: The shard after the change.
        """
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
        yield DELAYED
    if shard.untrimmed and shard.landing is not None:
        yield UNTRIMMED
