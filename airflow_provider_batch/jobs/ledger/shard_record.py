"""One shard in the ledger, from planned to landed."""

from __future__ import annotations

from typing import Literal

import msgspec

from airflow_provider_batch.api.objects import Batch
from airflow_provider_batch.requests.shards import Shard, ShardKey

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
