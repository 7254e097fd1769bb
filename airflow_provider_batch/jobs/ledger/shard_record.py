"""The record of one shard in the ledger, from planned to landed."""

from __future__ import annotations

from typing import Literal

import msgspec

from airflow_provider_batch.api.objects import Batch
from airflow_provider_batch.requests.shards import Shard, ShardKey

State = Literal["planned", "intended", "submitted", "ended", "landed"]


class Intent(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """
    One POST that creates a batch. Times are epoch seconds.

    :param number: Number of the POST of this shard, from 1.
    :param at: When it was about to be made.
    :param outcome: What it made; `open` until that is known.
    :param batch_id: Id of the batch that it made; None without one.
    :param error: What the API said when it refused; None otherwise.
    :param unanswered_at: When it ended without a clear response; None otherwise.
    """

    number: int
    at: float
    outcome: Literal["open", "accepted", "refused", "absent"] = "open"
    batch_id: str | None = None
    error: str | None = None
    unanswered_at: float | None = None

    @property
    def last_at(self) -> float:
        """The last moment, in epoch seconds, at which it may have made a batch, as far as is recorded."""
        return self.at if self.unanswered_at is None else self.unanswered_at


class Ending(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """
    What the API said of a batch in its last status.

    :param status: The last status.
    :param output_file_id: Id of the result file; None without one.
    :param error_file_id: Id of the error file; None without one.
    :param total: Requests of the batch.
    :param completed: Requests that succeeded.
    :param failed: Requests that failed.
    :param at: Epoch seconds of the poll; 0 where it does not matter.
    """

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
        Return the ending of a batch.

        :param batch: A batch that has ended.
        :param at: Epoch seconds of the poll; 0 where it does not matter.
        """
        return msgspec.structs.replace(msgspec.convert(batch, cls, from_attributes=True), at=at)


class Landing(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """
    What the landing of a shard wrote.

    :param rows: Rows that have a final result.
    :param statuses: Rows by status.
    :param part: Name of the part; None where no row became final.
    :param retry_rows: Rows that are left for another round.
    :param usage: Sums of tokens by kind.
    :param cost_usd: Cost in US dollars, as decimal text; None where no price is known.
    :param unpriced: Rows with an answer whose price is not known.
    :param unreadable: Result lines that cannot be read.
    :param duplicates: Result lines of rows that had one already.
    :param foreign: Result lines that belong to no request of the shard.
    :param closed: Whether the job sends nothing more, so that no row was left for another round.
    :param max_attempts: The limit by which rows were left for another round.
    :param max_rounds: The limit by which rows were left for another round.
    :param at: Epoch seconds.
    :param folders: Rows of the part by partition folder; empty without partitions.
    :param files_folder: Folder of the images and videos, below the table's folder; None without any.
    :param files: Images and videos in that folder.
    :param unfetched: Videos that could not be fetched.
    :param unreadable_file: Name of the file that keeps the unreadable lines; None without any.
    :param retry_sha256: SHA-256 of the retry file, in hex digits; empty without one.
    :param row_checksum: Checksum of the row numbers of the part; None in ledgers of release 0.1.
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
        """The number of final rows that did not succeed."""
        return self.rows - self.statuses.get("succeeded", 0)

    @property
    def part_files(self) -> dict[str, int]:
        """Rows of the part's files by path below the table's folder, as they are once published."""
        if self.part is None:
            return {}
        if not self.folders:
            return {self.part: self.rows}
        return {f"{folder}/{self.part}": rows for folder, rows in self.folders.items()}


class ShardRecord(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """
    One shard.

    :param key: Its key, such as `r01-s00001`.
    :param rows: Its rows.
    :param bytes: Bytes of its request lines.
    :param inputs: Inputs of an embeddings shard; elsewhere as many as rows.
    :param tokens: Estimate of its input tokens.
    :param sha256: SHA-256 of its request lines and of its sidecar, in hex digits, joined by a hyphen.
    :param model: Its model; None where the requests name none.
    :param file_id: Id of its input file at the API; None before the upload.
    :param intents: The POSTs that were made for it.
    :param batch_id: Id of its batch; None before.
    :param ending: What the API said of its batch in its last status; None before.
    :param landing: What its landing wrote; None before.
    :param retry_at: Epoch seconds before which it is not sent; None for no delay.
    :param refusals: How often it was refused.
    :param passing_refusals: How many of the latest refusals in a row go away by themselves and are not of a full queue.
    :param late_since: Epoch seconds since when its batch has ended without its files; None otherwise.
    :param untrimmed: Whether its part still holds rows that a rerun has sent again.
    :param landed_before: The landing that is to be repeated; None otherwise.
    :param row_checksum: Checksum of its row numbers; None in ledgers of release 0.1.
    :param given_up: Whether a clear of the task takes what is unclear of this shard as "made nothing".
    :param unclear: Whether a task has failed because its results, or the outcome of its POST, are not known.
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
        """The state of the shard, derived from what is recorded."""
        if self.landing is not None:
            return "landed"
        if self.ending is not None:
            return "ended"
        if self.batch_id is not None:
            return "submitted"
        return "intended" if self.intents and self.intents[-1].outcome == "open" else "planned"

    @property
    def round(self) -> int:
        """The round of submissions that it belongs to, from 1."""
        return ShardKey.parse(self.key).round

    @property
    def was_sent(self) -> bool:
        """Whether a batch was made of it."""
        return self.batch_id is not None

    @classmethod
    def of(cls, shard: Shard) -> ShardRecord:
        """
        Return the record of a prepared shard.

        :param shard: The prepared shard.
        """
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
