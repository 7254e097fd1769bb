"""One table of a load, with the parts and files that are landed so far."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from airflow_provider_batch.api.endpoints import Endpoint
from airflow_provider_batch.api.objects import Batch
from airflow_provider_batch.jobs.job_request import Tools
from airflow_provider_batch.jobs.landing.staging import StagedPart
from airflow_provider_batch.jobs.ledger.ledger import Ledger
from airflow_provider_batch.jobs.ledger.shard_record import ShardRecord
from airflow_provider_batch.jobs.ledger.store import LedgerStore
from airflow_provider_batch.jobs.ledger.totals import Totals
from airflow_provider_batch.loader.foreign_batches import ForeignRows
from airflow_provider_batch.requests.shards import ShardKey
from airflow_provider_batch.results.landing import LandedShard
from airflow_provider_batch.table.file_names import Attempt
from airflow_provider_batch.table.manifest import Manifest, Part


@dataclass
class LoadedTable:
    """
    One table of a load: the batches of one job, or all foreign batches together.

    :param job: The 12 hex digits that name the table's files.
    :param endpoint: Endpoint of the batches.
    :param ledger: Ledger of the job; None for foreign batches.
    :param store: Storage of the ledger; None for foreign batches.
    :param batches: The batches, each with its shard.
    :param parts: The landed parts.
    :param landed: The landed rows of each shard, as numbers.
    :param files: Number of files by folder of images and videos.
    :param unreadable: Number of lines by file of unreadable result lines.
    :param lost: Number of rows that are known only from the request counts of their batches.
    :param unmatched: Number of result lines that belong to no row, by batch id.
    :param foreign_rows: Rows of the foreign batches, by batch id.
    :param number: Attempt number in the file names of this load: milliseconds since the epoch, so no load overwrites
        files of another one.
    """

    job: str
    endpoint: Endpoint
    ledger: Ledger | None = None
    store: LedgerStore | None = None
    batches: list[tuple[Batch, ShardRecord]] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)
    landed: list[LandedShard] = field(default_factory=list)
    files: dict[str, int] = field(default_factory=dict)
    unreadable: dict[str, int] = field(default_factory=dict)
    lost: int = 0
    unmatched: dict[str, int] = field(default_factory=dict)
    foreign_rows: dict[str, ForeignRows] = field(default_factory=dict)
    number: int = field(default_factory=lambda: time.time_ns() // 1_000_000)

    @property
    def generation(self) -> int:
        """Generation of the job; 1 for foreign batches."""
        return 1 if self.ledger is None else self.ledger.generation

    @property
    def attempt(self) -> Attempt:
        """Generation and number that the names of this load's files contain."""
        return Attempt(self.generation, self.number)

    def add(self, batch: Batch, key: ShardKey, landed: LandedShard, staged: StagedPart, tools: Tools) -> None:
        """
        Add the landed files of one batch, for the manifest.

        :param batch: The batch.
        :param key: Number and round of its shard.
        :param landed: The landed rows of the shard, as numbers.
        :param staged: The stored files of the shard.
        :param tools: Gives the logger.
        """
        files = {f"{folder}/{staged.part}": rows for folder, rows in staged.folders.items()}
        if staged.part is not None:
            for name, rows in (files or {staged.part: landed.rows}).items():
                self.parts.append(Part(name=name, rows=rows, shard=key.number, round=key.round, batch_id=batch.id))
        if staged.files_folder is not None:
            self.files[staged.files_folder] = staged.files
        if staged.unreadable_file is not None:
            self.unreadable[staged.unreadable_file] = landed.unreadable
            tools.log.warning(
                "Batch %s: %d result lines cannot be read. They are stored unchanged in %s of the table's folder.",
                batch.id, landed.unreadable, staged.unreadable_file,
            )  # fmt: skip
        if staged.unfetched:
            tools.log.warning(
                "Batch %s: %d videos could not be fetched; their rows failed. Land it again while the API keeps them.",
                batch.id, staged.unfetched,
            )  # fmt: skip

    def manifest(self, partition_by: Sequence[str], now: float) -> Manifest:
        """
        Return the manifest of the table; call it after all batches are landed.

        :param partition_by: The partition columns.
        :param now: Current time in seconds since the epoch.
        """
        return Manifest(
            partition_by=list(partition_by),
            files=self.files,
            unreadable=self.unreadable,
            job=self.job,
            generation=self.generation,
            endpoint=self.endpoint.value,
            **msgspec.to_builtins(Totals.of(self.landed)),
            parts=self.parts,
            batch_ids=[batch.id for batch, _ in self.batches],
            created_at=now,
            ledger=None if self.store is None else self.store.location.uri,
            embedding_size=next((landed.embedding_size for landed in self.landed if landed.embedding_size), None),
        )
