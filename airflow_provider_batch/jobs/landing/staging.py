"""
Writes one shard's results to a table's folder, for the job and the loader alike.

Images and videos are written while the rows are read, then the unreadable lines, then the part or its partitions, so
every name refers to a file that exists. Each file is written whole or not at all. Parts are in the landing folder until
the table is published (`table/publication.py`), under names with the attempt. Images and videos are named by
generation, shard, round and row, since the same results give the same files.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from airflow_provider_batch.api.client import BatchClient
from airflow_provider_batch.requests.shards import ShardKey
from airflow_provider_batch.results.landing import LandedShard, RowOutcome, ShardResults, land_shard
from airflow_provider_batch.results.media import MEDIA, MediaFiles
from airflow_provider_batch.storage import Location
from airflow_provider_batch.table.file_names import Attempt, files_folder, landing_name, part_name, unreadable_name
from airflow_provider_batch.table.part_footer import Origin
from airflow_provider_batch.table.partitions import split_part
from airflow_provider_batch.table.schema import TableSpec

#: What a landing writes to the local disk, for messages.
NEEDS = "a batch's result files and the part that is made of them"


@dataclass(frozen=True)
class Place:
    """
    The table that a shard's results go to, and the names of their files.

    :param table: Folder of the table.
    :param job: 12 hex digits of the job, or the loader's name of the table.
    :param attempt: Generation and attempt.
    :param key: Key of the shard.
    :param partition_by: Partition columns, outermost first.
    """

    table: Location
    job: str
    attempt: Attempt
    key: ShardKey
    partition_by: tuple[str, ...] = ()


@dataclass(frozen=True)
class StagedPart:
    """
    What a landing wrote to the table's folder.

    :param part: Name that the part will have; None where no row became final.
    :param folders: Rows of the part by partition folder; empty where the table is not partitioned.
    :param files_folder: Folder of the images and videos; None without any.
    :param files: Images and videos in that folder that the part names.
    :param unfetched: Videos that could not be fetched this time.
    :param unreadable_file: Name of the file with the unreadable lines; None without any.
    """

    part: str | None = None
    folders: dict[str, int] = field(default_factory=dict)
    files_folder: str | None = None
    files: int = 0
    unfetched: int = 0
    unreadable_file: str | None = None


class Staging:
    """
    One landing.

    :param place: The table, and the names of the files.
    :param spec: Columns of the table.
    :param client: Client of the account, to fetch videos.
    :param scratch: Local folder for work files.
    """

    def __init__(self, place: Place, spec: TableSpec, client: BatchClient, scratch: Path) -> None:
        self._place, self._spec, self._scratch = place, spec, scratch
        self.part, self.retry = scratch / "part.parquet", scratch / "retry.arrow"
        self._unreadable = scratch / "unreadable.txt"
        number, round_ = place.key.number, place.key.round
        self._files_folder = files_folder(place.job, place.attempt.generation, number, round_)
        self._media = None
        if spec.endpoint in MEDIA:
            self._media = MediaFiles(place.table, self._files_folder, spec.endpoint, client.download_video)

    def land(self, results: ShardResults, is_final: Callable[[RowOutcome], bool]) -> LandedShard:
        """
        Write the part and the retry rows to the scratch folder, and images and videos to the table's folder.

        :param results: The shard's rows and result files.
        :param is_final: Whether a row keeps its outcome.
        """
        origin = Origin(self._place.job, self._place.attempt.generation)
        return land_shard(
            results, self._spec, is_final, self.part, self.retry, self._unreadable, media=self._media, origin=origin
        )

    def put(self, landed: LandedShard) -> StagedPart:
        """
        Write everything else to the table's folder, the part last.

        :param landed: What `land` returned.
        """
        place, number, round_ = self._place, self._place.key.number, self._place.key.round
        unreadable = unreadable_name(place.job, number, round_, place.attempt) if landed.unreadable else None
        if unreadable is not None:
            (place.table / unreadable).put(self._unreadable)
        part = part_name(place.job, number, round_, place.attempt) if landed.rows else None
        folders = {} if part is None else self._put_part(part)
        files = unfetched = 0
        if self._media is not None:
            files, unfetched = self._media.count, self._media.failed
        return StagedPart(part, folders, self._files_folder if files else None, files, unfetched, unreadable)

    def _put_part(self, name: str) -> dict[str, int]:
        place = self._place
        if not place.partition_by:
            (place.table / landing_name(place.job, name)).put(self.part)
            return {}
        cut = self._scratch / "partitions"
        cut.mkdir()
        files = split_part(self.part, place.partition_by, cut)
        for file in files:
            (place.table / landing_name(place.job, f"{file.folder}/{name}")).put(file.path)
        return {file.folder: file.rows for file in files}
