"""
The ledger: the durable record of a job, as values. What changes it stands in `entries.py`.

Shards at rest are read from storage when they are asked for (`shard_list.py`); all else is in memory.

The state of a shard is derived from what is recorded of it, never stored beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any, Literal, cast

import msgspec

from airflow_provider_batch.jobs.identity import Fingerprint, Identity
from airflow_provider_batch.jobs.ledger.shard_index import HELD, UNTRIMMED, ShardIndex
from airflow_provider_batch.jobs.ledger.shard_list import ShardList, Skip
from airflow_provider_batch.jobs.ledger.shard_record import ShardRecord, State
from airflow_provider_batch.jobs.ledger.totals import Totals
from airflow_provider_batch.requests.shards import Cut, ShardKey


class Lease(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The attempt that may write. A higher epoch takes over; the older attempt notices before its next POST."""

    owner: str
    epoch: int
    at: float


class Claim(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The mapped instance that works on a job, and how often its run had been cleared when it took it."""

    map_index: int
    clear_number: int


class Closing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why nothing more is sent. `final` ends the job; otherwise a new attempt may go on, by itself if `retryable`."""

    reason: Literal["timeout", "cancelled", "refused"]
    message: str
    at: float
    final: bool = True
    retryable: bool = False


class Ledger(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True, dict=True):
    """
    The whole record of a job's current generation. Times are epoch seconds.

    `era` tells a clear of the task from a retry; `first_round` is the first round of the latest rerun; `columns` is
    the Arrow schema of the carried columns, serialised, in base64. `lands_again` says that a job which was finished
    lands its table once more. `token` is random, made with the job's first ledger and kept over its generations:
    batches that carry it are this job's (`submission.py`); a ledger of release 0.1 has none. `response_schema` is the
    JSON Schema of the answers, where a response model was given; `partition_by` is the layout of what has landed.
    `birth` names the files of its events, `sequence` counts the events so far (`store.py`); `claim` says which mapped
    instance works on the job (`mapped_instances.py`), None in ledgers of release 0.1. `shards` is a `ShardList`.
    """

    identity: Identity
    fingerprint: Fingerprint
    endpoint: str
    rows: int
    created_at: float
    lease: Lease
    shards: Sequence[ShardRecord]
    columns: str = ""
    generation: int = 1
    destination: str | None = None
    version: int = 1
    first_submitted_at: float | None = None
    cancel_asked_at: float | None = None
    closing: Closing | None = None
    finished_at: float | None = None
    embedding_size: int | None = None
    era: int = 0
    first_round: int = 1
    lands_again: bool = False
    response_schema: dict[str, Any] | None = None
    partition_by: tuple[str, ...] = ()
    token: str = ""
    birth: str = ""
    sequence: int = 0
    claim: Claim | None = None

    def __post_init__(self) -> None:
        """Take shards in any form."""
        if not isinstance(self.shards, ShardList):
            msgspec.structs.force_setattr(self, "shards", ShardList(self.shards))

    @property
    def shard_list(self) -> ShardList:
        """The shards, as what they are."""
        return cast(ShardList, self.shards)

    @cached_property
    def index(self) -> ShardIndex:
        """Which shards are in which state; `changed`, `with_shard` and `laid_out` keep it up to date."""
        return ShardIndex.of(self.shard_list)

    def changed(self, **fields: Any) -> Ledger:
        """Return the ledger with other values for some fields."""
        after = msgspec.structs.replace(self, **fields)
        if after.shards is self.shards and "index" in self.__dict__:
            after.__dict__["index"] = self.index
        return after

    def with_shard(self, shard: ShardRecord) -> Ledger:
        """Return the ledger with one shard in the place of the one with its key."""
        place = self.index.position(shard.key)
        after = msgspec.structs.replace(self, shards=self.shard_list.with_shard(place, shard))
        after.__dict__["index"] = self.index.moved(place, self.shards[place], shard)
        return after

    def with_more(self, shards: Sequence[ShardRecord]) -> Ledger:
        """Return the ledger with further shards."""
        return self.changed(shards=self.shard_list + shards)

    def with_each(self, change: Callable[[ShardRecord], ShardRecord], skip: Skip | None = None) -> Ledger:
        """Return the ledger with each shard changed, but for those in segments that may be left alone."""
        return self.changed(shards=self.shard_list.with_each(change, skip))

    def laid_out(self, shards: ShardList) -> Ledger:
        """Return the ledger with the same shards, of which others are at rest."""
        after = msgspec.structs.replace(self, shards=shards)
        if "index" in self.__dict__:
            after.__dict__["index"] = self.index
        return after

    @property
    def job(self) -> str:
        """12 hex digits of the identity."""
        return self.identity.job

    @property
    def claimed_by(self) -> Claim:
        """The mapped instance that works on the job: at first the one that began it."""
        return Claim(self.identity.map_index, 0) if self.claim is None else self.claim

    @property
    def round(self) -> int:
        """The latest round that was planned."""
        return self.index.last_round

    def cuts(self, round: int) -> list[Cut]:  # noqa: A002 - the field's own word
        """Return where the rows of a round were cut into shards."""
        own = (shard for shard in self.shards if shard.round == round)
        return [Cut(ShardKey.parse(shard.key), shard.model, shard.rows) for shard in own]

    def shard(self, key: str) -> ShardRecord:
        """Return one shard by its key."""
        return self.shards[self.index.position(key)]

    def shards_in(self, *states: State) -> list[ShardRecord]:
        """Return the shards in any of these states, in order."""
        return list(self.each_in(*states))

    def each_in(self, *states: State, skip: Skip | None = None) -> Iterator[ShardRecord]:
        """
        Yield the shards in any of these states, in order; the first ones cost no more than themselves.

        :param skip: Which segments of shards at rest are left out, and not read.
        """
        return self.shard_list.each(self.index.group(*states), skip)

    def count_in(self, *states: State) -> int:
        """Return how many shards are in any of these states."""
        return self.index.count(*states)

    @property
    def held(self) -> list[ShardRecord]:
        """Planned shards that wait for a moment (`retry_at`), in order."""
        return [self.shards[position] for position in self.index.group(HELD)]

    @property
    def untrimmed(self) -> list[ShardRecord]:
        """Landed shards whose part still holds rows that go again, in order."""
        return [self.shards[position] for position in self.index.group(UNTRIMMED)]

    @property
    def batch_ids(self) -> list[str]:
        """Every batch that this generation paid for, in order of its shards."""
        return [shard.batch_id for shard in self.shards if shard.batch_id is not None]

    @property
    def batch_count(self) -> int:
        """How many batches this generation paid for."""
        at_rest = sum(resting.segment.batches for resting in self.shard_list.at_rest)
        return at_rest + sum(shard.batch_id is not None for shard in self._not_at_rest())

    @property
    def active_ids(self) -> list[str]:
        """The batches that have not ended, as far as is recorded."""
        return [shard.batch_id for shard in self.shards_in("submitted") if shard.batch_id is not None]

    @property
    def unfetched(self) -> int:
        """Videos that are paid for and could not be fetched when they were landed."""
        return sum(shard.landing.unfetched for shard in self.shards if shard.landing is not None)

    @property
    def unplanned_rows(self) -> int:
        """Rows of the latest round that wait for another one."""
        latest = (self.shards[position].landing for position in self.index.in_last_round)
        return sum(landing.retry_rows for landing in latest if landing is not None)

    def totals(self) -> Totals:
        """Sum up what has landed."""
        landings = [shard.landing for shard in self._not_at_rest() if shard.landing is not None]
        at_rest = (resting.segment.totals for resting in self.shard_list.at_rest)
        return Totals.of(landings, (totals for totals in at_rest if totals is not None))

    def _not_at_rest(self) -> Iterable[ShardRecord]:
        return self.shard_list.each(skip=lambda segment: True)
