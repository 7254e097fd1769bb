"""
The ledger: the durable record of a job, as values. `events.py` has the events that change it.

Shards at rest are read from storage when they are needed (`shard_list.py`); everything else is in memory.

The state of a shard is derived from what is recorded of it, and is not stored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any, Literal, cast

import msgspec

from airflow_provider_batch.jobs.identity import Fingerprint, Identity
from airflow_provider_batch.jobs.ledger.shard_index import DELAYED, UNTRIMMED, ShardIndex
from airflow_provider_batch.jobs.ledger.shard_list import ShardList, Skip
from airflow_provider_batch.jobs.ledger.shard_record import ShardRecord, State
from airflow_provider_batch.jobs.ledger.totals import Totals
from airflow_provider_batch.requests.shards import Cut, ShardKey


class Lease(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    The attempt that may write the ledger.

    An attempt takes over with a higher epoch; the older attempt notices before its next POST.

    :param owner: Name of the attempt, for people.
    :param epoch: Counts the attempts that have taken over.
    :param at: Epoch seconds.
    """

    owner: str
    epoch: int
    at: float


class Claim(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    The mapped instance that works on a job.

    :param map_index: Index of the instance; -1 for a task that is not mapped.
    :param clear_number: How often the instance's run had been cleared when it claimed the job.
    """

    map_index: int
    clear_number: int


class Closing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    Why nothing more is sent.

    :param reason: Kind of the reason.
    :param message: The reason, for people.
    :param at: Epoch seconds.
    :param final: Whether the job ends; otherwise a new attempt may continue it.
    :param retryable: Whether that attempt starts by itself, by Airflow's retries.
    """

    reason: Literal["timeout", "cancelled", "refused"]
    message: str
    at: float
    final: bool = True
    retryable: bool = False


class Ledger(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True, dict=True):
    """
    The whole record of a job's current generation. Times are epoch seconds.

    :param identity: The task instance that began the job.
    :param fingerprint: Digests of the input and of the options.
    :param endpoint: Path of the API's endpoint.
    :param rows: Rows of the input.
    :param created_at: When the generation began.
    :param lease: The attempt that may write.
    :param shards: The shards, in order; a `ShardList`.
    :param columns: Arrow schema of the carried columns, serialised, in base64.
    :param generation: Number of the generation, from 1: a changed input begins a new one.
    :param destination: URI of the table's folder; None where the job lands no table.
    :param version: Version of the ledger's format.
    :param first_submitted_at: When the first batch was asked for; the job's time counts from it. None before.
    :param cancel_asked_at: When the API was asked to cancel the running batches; None if never.
    :param closing: Why nothing more is sent; None while the job may send.
    :param finished_at: When every input row had its result; None before.
    :param embedding_size: Numbers in each vector of an embeddings job; None where it is not known.
    :param embedding_size_from: What the size comes from: "dimensions" of the requests, or the first "answers"; empty
        where it is not known, and in ledgers of earlier releases, which also took it from the name of the model.
    :param usual_embedding_size: Numbers that the models return at OpenAI; the type of a part without vectors.
    :param era: Tells a clear of the task from a retry: the number of the clear that the job continues for.
    :param first_round: First round of the latest rerun.
    :param lands_again: Whether a finished job lands its table once more.
    :param response_schema: JSON Schema of the answers, where a response model was given.
    :param partition_by: Partition columns of what has landed.
    :param token: Random, made with the job's first ledger and kept over its generations. Batches that carry it are this
        job's (`submission/lookup.py`). Empty in ledgers of release 0.1.
    :param birth: Random hex digits that name the ledger's files.
    :param sequence: Number of events so far.
    :param claim: The mapped instance that works on the job (`opening/mapped_instances.py`); None in ledgers of release
        0.1.
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
    embedding_size_from: str = ""
    usual_embedding_size: int | None = None

    def __post_init__(self) -> None:
        """Convert shards given in any form."""
        if not isinstance(self.shards, ShardList):
            msgspec.structs.force_setattr(self, "shards", ShardList(self.shards))

    @property
    def shard_list(self) -> ShardList:
        """The shards, with the methods of `ShardList`."""
        return cast(ShardList, self.shards)

    @cached_property
    def index(self) -> ShardIndex:
        """The places of shards by state; `changed`, `with_shard` and `with_layout` keep it up to date."""
        return ShardIndex.of(self.shard_list)

    def changed(self, **fields: Any) -> Ledger:
        """
        Return the ledger with other values of some fields.

        :param fields: The new values by field name.
        """
        after = msgspec.structs.replace(self, **fields)
        if after.shards is self.shards and "index" in self.__dict__:
            after.__dict__["index"] = self.index
        return after

    def with_shard(self, shard: ShardRecord) -> Ledger:
        """
        Return the ledger with one shard replaced.

        :param shard: The new record; it replaces the one with the same key.
        """
        place = self.index.position(shard.key)
        after = msgspec.structs.replace(self, shards=self.shard_list.with_shard(place, shard))
        after.__dict__["index"] = self.index.moved(place, self.shards[place], shard)
        return after

    def with_more(self, shards: Sequence[ShardRecord]) -> Ledger:
        """
        Return the ledger with further shards.

        :param shards: The shards to append.
        """
        return self.changed(shards=self.shard_list + shards)

    def with_each(self, change: Callable[[ShardRecord], ShardRecord], skip: Skip | None = None) -> Ledger:
        """
        Return the ledger with each shard changed.

        :param change: Returns the new record of a shard.
        :param skip: Which segments of shards at rest stay unchanged and are not read; None for none.
        """
        return self.changed(shards=self.shard_list.with_each(change, skip))

    def with_layout(self, shards: ShardList) -> Ledger:
        """
        Return the ledger with the same shards, of which others are at rest.

        :param shards: The same shards in the new layout.
        """
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
        """The mapped instance that works on the job; at first the one that began it."""
        return Claim(self.identity.map_index, 0) if self.claim is None else self.claim

    @property
    def round(self) -> int:
        """The latest round that was planned."""
        return self.index.last_round

    def cuts(self, round: int) -> list[Cut]:  # noqa: A002 - the field's own word
        """
        Return where the rows of a round were cut into shards.

        :param round: Number of the round, from 1.
        """
        own = (shard for shard in self.shards if shard.round == round)
        return [Cut(ShardKey.parse(shard.key), shard.model, shard.rows) for shard in own]

    def shard(self, key: str) -> ShardRecord:
        """
        Return one shard.

        :param key: Its key.
        :raises KeyError: No shard has this key.
        """
        return self.shards[self.index.position(key)]

    def shards_in(self, *states: State) -> list[ShardRecord]:
        """
        Return the shards in any of some states, in order.

        :param states: The states.
        """
        return list(self.each_in(*states))

    def each_in(self, *states: State, skip: Skip | None = None) -> Iterator[ShardRecord]:
        """
        Yield the shards in any of some states, in order; only the shards that are taken are read.

        :param states: The states.
        :param skip: Which segments of shards at rest are left out and not read; None for none.
        """
        return self.shard_list.each(self.index.group(*states), skip)

    def count_in(self, *states: State) -> int:
        """
        Return how many shards are in any of some states.

        :param states: The states.
        """
        return self.index.count(*states)

    @property
    def delayed(self) -> list[ShardRecord]:
        """Planned shards that may not be sent before their `retry_at`, in order."""
        return [self.shards[position] for position in self.index.group(DELAYED)]

    @property
    def untrimmed(self) -> list[ShardRecord]:
        """Landed shards whose part still holds rows that a rerun has sent again, in order."""
        return [self.shards[position] for position in self.index.group(UNTRIMMED)]

    @property
    def batch_ids(self) -> list[str]:
        """The ids of all batches that this generation has paid for, in order of its shards."""
        return [shard.batch_id for shard in self.shards if shard.batch_id is not None]

    @property
    def batch_count(self) -> int:
        """The number of batches that this generation has paid for."""
        at_rest = sum(resting.segment.batches for resting in self.shard_list.at_rest)
        return at_rest + sum(shard.batch_id is not None for shard in self._not_at_rest())

    @property
    def active_ids(self) -> list[str]:
        """The ids of the batches that have not ended, as far as is recorded."""
        return [shard.batch_id for shard in self.shards_in("submitted") if shard.batch_id is not None]

    @property
    def unfetched(self) -> int:
        """The number of videos that are paid for and could not be fetched at landing."""
        return sum(shard.landing.unfetched for shard in self.shards if shard.landing is not None)

    @property
    def unplanned_rows(self) -> int:
        """The number of rows of the latest round that go into a next round."""
        latest = (self.shards[position].landing for position in self.index.in_last_round)
        return sum(landing.retry_rows for landing in latest if landing is not None)

    def totals(self) -> Totals:
        """Return the sums over the landed shards."""
        landings = [shard.landing for shard in self._not_at_rest()]
        at_rest = [resting.segment.totals for resting in self.shard_list.at_rest]
        return Totals.of(one for one in (*landings, *at_rest) if one is not None)

    def _not_at_rest(self) -> Iterable[ShardRecord]:
        return self.shard_list.each(skip=lambda segment: True)
