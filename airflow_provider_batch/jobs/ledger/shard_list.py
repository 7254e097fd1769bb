"""
The shards of a ledger. Those at rest are read from their files only when they are needed.

A shard is at rest while no work is pending for it: it was never sent, or it has landed. A resumed worker needs the
other shards; of those at rest it needs their number, their sums, and the next ones that may be sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Literal, TypeAlias, overload

import msgspec

from airflow_provider_batch.jobs.ledger.shard_record import ShardRecord
from airflow_provider_batch.jobs.ledger.totals import Totals
from airflow_provider_batch.requests.shards import ShardKey

#: Ranges of places in the order of shards, counted from 0: the first place, and the one after the last.
Places: TypeAlias = tuple[tuple[int, int], ...]


class Segment(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """
    What a ledger's base says of a file of shards at rest.

    :param file: Name of the file.
    :param state: State of its shards.
    :param places: The places in the ledger of those shards that are still at rest there.
    :param batches: How many of them have a batch.
    :param totals: Sums over them; None for planned shards.
    :param tokens: For each model, the fewest estimated tokens of one shard; empty for landed shards.
    :param absent_at: Epoch seconds of the last create that a look-up did not find; None without one.
    """

    file: str
    state: Literal["planned", "landed"]
    places: Places
    batches: int = 0
    totals: Totals | None = None
    tokens: tuple[tuple[str | None, int], ...] = ()
    absent_at: float | None = None


#: Whether a segment is left out, so that its file is not read.
Skip: TypeAlias = Callable[[Segment], bool]


class Resting:
    """
    The shards of a segment, read once.

    :param segment: What the ledger's base says of them.
    :param read: Returns them by their places in the ledger.
    """

    def __init__(self, segment: Segment, read: Callable[[], Mapping[int, ShardRecord]]) -> None:
        self.segment, self._read = segment, read

    def record(self, place: int) -> ShardRecord:
        """
        Return a shard.

        :param place: Its place in the ledger.
        :raises StorageError: The segment's file cannot be read.
        """
        return self.records[place]

    @cached_property
    def records(self) -> Mapping[int, ShardRecord]:
        """All shards of the file by their places in the ledger."""
        return self._read()


class ShardKeys:
    """
    The keys of a ledger's shards in order, kept as runs of consecutive numbers.

    :param runs: The first key of each run, and the number of its keys.
    """

    def __init__(self, runs: Iterable[tuple[str, int]]) -> None:
        self.runs = tuple(runs)
        self._starts: list[tuple[ShardKey, int, int]] = []
        self.count = 0
        for first, count in self.runs:
            self._starts.append((ShardKey.parse(first), count, self.count))
            self.count += count

    @classmethod
    def of(cls, keys: Iterable[str]) -> ShardKeys:
        """
        Find the runs in a sequence of keys.

        :param keys: Keys of shards, in order.
        """
        runs: list[tuple[str, int]] = []
        expected = ""
        for text in keys:
            key = ShardKey.parse(text)
            if text == expected:
                runs[-1] = (runs[-1][0], runs[-1][1] + 1)
            else:
                runs.append((text, 1))
            expected = str(ShardKey(key.round, key.number + 1))
        return cls(runs)

    def place(self, key: str) -> int:
        """
        Return the place of a shard; the first place of equal keys.

        :param key: Key of the shard.
        :raises KeyError: No shard has this key.
        """
        try:
            wanted = ShardKey.parse(key)
        except ValueError as error:
            raise KeyError(key) from error
        for first, count, start in self._starts:
            if first.round == wanted.round and first.number <= wanted.number < first.number + count:
                return start + wanted.number - first.number
        raise KeyError(key)

    @property
    def last_round(self) -> int:
        """The latest round that has shards; 1 without shards."""
        return max((first.round for first, _, _ in self._starts), default=1)

    def places_in(self, round: int) -> tuple[int, ...]:  # noqa: A002 - the field's own word
        """
        Return the places of a round's shards.

        :param round: Number of the round, from 1.
        """
        own = (range(start, start + count) for first, count, start in self._starts if first.round == round)
        return tuple(place for places in own for place in places)


class ShardList(Sequence[ShardRecord]):
    """
    The shards of a ledger in order; immutable.

    :param slots: For each place a shard, or the segment where it is at rest.
    :param keys: Keys of the shards; None to find them.
    """

    def __init__(self, slots: Iterable[ShardRecord | Resting], keys: ShardKeys | None = None) -> None:
        self.slots = tuple(slots)
        if keys is not None:
            self.__dict__["keys"] = keys

    @cached_property
    def keys(self) -> ShardKeys:
        """The keys of the shards."""
        return ShardKeys.of(shard.key for shard in self)

    @property
    def at_rest(self) -> list[Resting]:
        """The segments with shards at rest, in order of their first shards."""
        return list(dict.fromkeys(slot for slot in self.slots if isinstance(slot, Resting)))

    def each(self, places: Iterable[int] | None = None, skip: Skip | None = None) -> Iterator[ShardRecord]:
        """
        Yield shards in order.

        :param places: Places of the shards; None for all.
        :param skip: Which segments are left out and not read; None for none.
        """
        for place in range(len(self.slots)) if places is None else places:
            slot = self.slots[place]
            if not isinstance(slot, Resting):
                yield slot
            elif skip is None or not skip(slot.segment):
                yield slot.record(place)

    def with_shard(self, place: int, shard: ShardRecord) -> ShardList:
        """
        Return the list with one shard replaced.

        :param place: Place of the shard.
        :param shard: The new record.
        """
        before = self.slots[place]
        # A segment's sums cover all its landed shards: when one changes, all are taken out of the segment.
        whole = self._without(before) if isinstance(before, Resting) and before.segment.totals is not None else self
        return ShardList((*whole.slots[:place], shard, *whole.slots[place + 1 :]), self.keys)

    def with_each(self, change: Callable[[ShardRecord], ShardRecord], skip: Skip | None = None) -> ShardList:
        """
        Return the list with each shard changed.

        :param change: Returns the new record of a shard.
        :param skip: Which segments stay unchanged and are not read; None for none.
        """

        def changed(place: int, slot: ShardRecord | Resting) -> ShardRecord | Resting:
            if not isinstance(slot, Resting):
                return change(slot)
            return slot if skip is not None and skip(slot.segment) else change(slot.record(place))

        return ShardList((changed(place, slot) for place, slot in enumerate(self.slots)), self.keys)

    def _without(self, resting: Resting) -> ShardList:
        slots = (resting.record(place) if slot is resting else slot for place, slot in enumerate(self.slots))
        return ShardList(slots, self.keys)

    def __add__(self, more: Sequence[ShardRecord]) -> ShardList:
        added = ShardKeys.of(shard.key for shard in more)
        return ShardList((*self.slots, *more), ShardKeys((*self.keys.runs, *added.runs)))

    def __len__(self) -> int:
        return len(self.slots)

    @overload
    def __getitem__(self, place: int) -> ShardRecord: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[ShardRecord]: ...
    def __getitem__(self, place: int | slice) -> ShardRecord | Sequence[ShardRecord]:
        if isinstance(place, slice):
            return tuple(self)[place]
        slot = self.slots[place]
        return slot.record(place % len(self.slots)) if isinstance(slot, Resting) else slot

    def __iter__(self) -> Iterator[ShardRecord]:
        return self.each()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(own == its for own, its in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"ShardList({list(self)!r})"
