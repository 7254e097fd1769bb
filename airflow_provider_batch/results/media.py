"""
Store images and videos as files in the table's folder; the table contains their paths.

A path is relative to the table's folder: ``_files-<job>/<generation, shard, round>/<row>-<number or id>.<suffix>``. The
folder name starts with ``_``, so Spark, pyarrow and patterns such as ``*.parquet`` ignore it. The name depends on the
row only, so a repeated landing overwrites its own files and adds none.

Files are stored while the rows are read, a few at a time: memory contains one chunk of the result file, and the local
disk a few videos. The part is stored after its files. A video that cannot be fetched makes its row fail, with the
reason; a video that is already stored is not fetched again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from airflow_provider_batch.answers.answer import FAILED
from airflow_provider_batch.api.endpoints import FACTS, Endpoint
from airflow_provider_batch.exceptions import ApiError
from airflow_provider_batch.results.line_reader import Row
from airflow_provider_batch.storage import Location
from airflow_provider_batch.storage.local_disk import scratch
from airflow_provider_batch.storage.parallel import call_in_threads
from airflow_provider_batch.table.columns import ENDPOINT_COLUMNS

#: Fetches the video with an id to a local path.
FetchVideo = Callable[[str, Path], object]

#: Endpoints whose answers are files, or can contain files.
MEDIA = frozenset(endpoint for endpoint, facts in FACTS.items() if facts.has_files)
#: Error code of a video that was created and charged, and could not be fetched.
NOT_FETCHED = "file_not_fetched"
#: Number of files that are fetched and stored in parallel.
PARALLEL_FILES = 4
#: First bytes of an image → suffix of its file name.
_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"\xff\xd8\xff", "jpeg"),
    (b"GIF8", "gif"),
    (b"<svg", "svg"),
    (b"<?xml", "svg"),
)
#: Characters of an id that are replaced in a file name.
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]")
_SHOWN = 500


class MediaFiles:
    """
    Store the images and videos of one part's rows.

    :param table: Folder of the table.
    :param folder: Folder for the files of the part, relative to the table's folder.
    :param endpoint: Endpoint of the requests, one of `MEDIA`.
    :param fetch_video: Fetches a video; None to store no videos.
    """

    def __init__(self, table: Location, folder: str, endpoint: Endpoint, fetch_video: FetchVideo | None = None) -> None:
        #: Number of videos that could not be fetched.
        self.failed = 0
        self._folder, self._location = folder, table / folder
        self._endpoint, self._fetch_video = endpoint, fetch_video
        own = list(ENDPOINT_COLUMNS[endpoint])
        self._at = own.index("video_id" if endpoint is Endpoint.VIDEOS else "images")
        self._format_at = own.index("output_format") if "output_format" in own else None
        self._names: set[str] = set()
        self._existing: frozenset[str] | None = None

    @property
    def count(self) -> int:
        """Number of files that the part refers to."""
        return len(self._names)

    def store(self, rows: Sequence[Row], final: Sequence[int], row_numbers: pa.Array[Any]) -> None:
        """
        Store the files of the final rows, and set their paths in the rows.

        :param rows: Rows of a chunk; changed in place.
        :param final: For each row 1 where it is final, else 0.
        :param row_numbers: For each row its position in the source.
        :raises StorageError: A file cannot be written.
        """
        places = [at for at, row in enumerate(rows) if row.values and row.values[self._at] and final[at]]
        wanted = [(rows[at], row_numbers[at].as_py()) for at in places if rows[at].status != FAILED]
        if not wanted:
            return
        store = self._store_video if self._endpoint is Endpoint.VIDEOS else self._store_images
        call_in_threads(lambda one: store(*one), wanted, threads=PARALLEL_FILES, name="openai-batch-files")
        self.failed += sum(row.error_code == NOT_FETCHED for row, _ in wanted)

    def _store_images(self, row: Row, number: int) -> None:
        assert row.values is not None
        for index, image in enumerate(row.values[self._at]):
            data = image.pop("data")
            if data:
                name = f"{number:09d}-{index}.{file_suffix(data, self._stated_format(row))}"
                (self._location / name).write(data)
                image["file"] = self._reference(name)

    def _stated_format(self, row: Row) -> str | None:
        return row.values[self._format_at] if row.values and self._format_at is not None else None

    def _store_video(self, row: Row, number: int) -> None:
        assert row.values is not None
        if self._fetch_video is None:
            return
        video_id, *others = row.values
        name = f"{number:09d}-{_UNSAFE.sub('_', video_id)[:100]}.mp4"
        try:
            if name not in self._existing_files():
                self._fetch(self._fetch_video, video_id, name)
        except ApiError as error:
            row.status, row.error_code, row.error_message = FAILED, NOT_FETCHED, _not_fetched(error)
            return
        row.values = (video_id, self._reference(name), *others[1:])

    def _fetch(self, fetch_video: FetchVideo, video_id: str, name: str) -> None:
        with scratch(f"video {video_id}", "the videos that are fetched in parallel") as folder:
            local = folder / name
            fetch_video(video_id, local)
            (self._location / name).put(local)

    def _existing_files(self) -> frozenset[str]:
        if self._existing is None:
            self._existing = frozenset(self._location.list())
        return self._existing

    def _reference(self, name: str) -> str:
        self._names.add(name)
        return f"{self._folder}/{name}"


def file_suffix(data: bytes, output_format: str | None) -> str:
    """
    Return the file suffix of an image, from its first bytes or from the format in the answer; `bin` where unknown.

    :param data: Bytes of the image.
    :param output_format: Image format that the answer states; None where it states none.
    """
    for signature, found in _SIGNATURES:
        if data.startswith(signature):
            return found
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    return output_format if output_format in ("png", "jpeg", "webp", "gif", "svg") else "bin"


def _not_fetched(error: ApiError) -> str:
    return (
        f"The video was created and charged, and its file could not be fetched: {str(error)[:_SHOWN]} "
        "To fetch it, clear the task or load the batch again; this is free while the API keeps the video."
    )
