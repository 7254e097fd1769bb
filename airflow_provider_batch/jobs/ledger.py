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

from airflow_provider_batch.api.objects import Batch
from airflow_provider_batch.jobs.identity import Fingerprint, Identity
from airflow_provider_batch.jobs.shard_index import HELD, UNTRIMMED, ShardIndex
from airflow_provider_batch.jobs.shard_list import ShardList, Skip
from airflow_provider_batch.jobs.totals import Totals
from airflow_provider_batch.requests.shards import Cut, Shard, ShardKey

State = Literal["planned", "intended", "submitted", "ended", "landed"]


class Intent(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """
    One POST. `at` is when it was about to be made, `unanswered_at` when it ended without a clear answer; `open` until
    its outcome is known.
    """

    number: int
    at: float
    outcome: Literal["open", "accepted", "refused", "absent"] = "open"
    batch_id: str | None = None
    error: str | None = None
    unanswered_at: float | None = None

    @property
    def last_at(self) -> float:
        """The last moment at which it may have made a batch, as far as is recorded."""
        return self.at if self.unanswered_at is None else self.unanswered_at


class Ending(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What the API said of a batch when nothing more would happen to it."""

    status: str
    output_file_id: str | None = None
    error_file_id: str | None = None
    total: int = 0
    completed: int = 0
    failed: int = 0
    at: float = 0.0

    @classmethod
    def of(cls, batch: Batch, at: float = 0.0) -> Ending:
        """
        Return the end of a batch that was seen to have ended.

        :param at: Epoch seconds of that look; 0 where it does not matter.
        """
        return cls(
            status=batch.status,
            output_file_id=batch.output_file_id,
            error_file_id=batch.error_file_id,
            total=batch.total,
            completed=batch.completed,
            failed=batch.failed,
            at=at,
        )


class Landing(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """
    What came of a shard: `part` is None when no row of it became final; `closed` says that none was left for another
    round. `max_attempts` and `max_rounds` are the limits by which rows were left for one. `folders` are the partitions
    that the part was cut into, with their rows; `files` counts the images and videos in `files_folder`, `unfetched`
    the videos that could not be fetched.
    """

    rows: int
    statuses: dict[str, int]
    part: str | None = None
    retry_rows: int = 0
    usage: dict[str, int] = {}
    cost_usd: str | None = None
    unpriced: int = 0
    unreadable: int = 0
    duplicates: int = 0
    foreign: int = 0
    closed: bool = False
    max_attempts: int = 0
    max_rounds: int = 0
    at: float = 0.0
    folders: dict[str, int] = {}
    files_folder: str | None = None
    files: int = 0
    unfetched: int = 0
    unreadable_file: str | None = None
    retry_sha256: str = ""
    row_checksum: str | None = None

    @property
    def unsuccessful(self) -> int:
        """Final rows that did not succeed."""
        return self.rows - self.statuses.get("succeeded", 0)

    @property
    def part_files(self) -> dict[str, int]:
        """The part's files, as the paths below the table's folder that they have once published, with their rows."""
        if self.part is None:
            return {}
        if not self.folders:
            return {self.part: self.rows}
        return {f"{folder}/{self.part}": rows for folder, rows in self.folders.items()}


class ShardRecord(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """
    One shard. `tokens` is the estimate of its input tokens; `retry_at` (epoch seconds) holds it back until then;
    `passing_refusals` counts those in a row that pass by themselves and are not of a full queue;
    `landed_before` is the landing that is to be repeated; `row_checksum` is that of its row numbers, None in ledgers of
    release 0.1; `unclear` says that a task has failed since nobody can tell what came of it, `given_up` that a clear
    takes it as "nothing came".
    """

    key: str
    rows: int
    bytes: int
    inputs: int
    tokens: int
    sha256: str
    model: str | None = None
    file_id: str | None = None
    intents: tuple[Intent, ...] = ()
    batch_id: str | None = None
    ending: Ending | None = None
    landing: Landing | None = None
    retry_at: float | None = None
    refusals: int = 0
    passing_refusals: int = 0
    late_since: float | None = None
    untrimmed: bool = False
    landed_before: Landing | None = None
    row_checksum: str | None = None
    given_up: bool = False
    unclear: bool = False

    @property
    def state(self) -> State:
        """Where the shard stands, derived from what is recorded."""
        if self.landing is not None:
            return "landed"
        if self.ending is not None:
            return "ended"
        if self.batch_id is not None:
            return "submitted"
        return "intended" if self.intents and self.intents[-1].outcome == "open" else "planned"

    @property
    def round(self) -> int:
        """The pass of submissions that it belongs to, from 1."""
        return ShardKey.parse(self.key).round

    @property
    def was_sent(self) -> bool:
        """Whether a batch was ever made of it."""
        return self.batch_id is not None

    @classmethod
    def of(cls, shard: Shard) -> ShardRecord:
        """Record a prepared shard."""
        return cls(
            key=str(shard.key),
            rows=shard.row_count,
            bytes=shard.byte_count,
            inputs=shard.input_count,
            tokens=shard.token_estimate,
            sha256=f"{shard.sha256}-{shard.rows_sha256}",
            model=shard.model,
            row_checksum=shard.row_checksum,
        )


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
