"""
Images and videos, put beside the table as files; the table holds where they are.

A reference is a path relative to the table's folder:
``_files-<job>/<generation, shard, round>/<row>-<which>.<ending>``. That folder's name starts with ``_``, so that Spark,
pyarrow and every glob over ``*.parquet`` pass it by. A name follows from the row alone: a repeated landing
overwrites its own files and adds none.

Files are put while the rows are read, a few at a time, so that memory holds one piece of the result file and the disk
a few videos; the part that names them is put after them. A video that cannot be fetched is a failed row that says why;
what was fetched once is not fetched again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa

from airflow_provider_batch.api.endpoints import FACTS, Endpoint
from airflow_provider_batch.exceptions import ApiError
from airflow_provider_batch.results.extractors import FAILED
from airflow_provider_batch.results.line_reader import Row
from airflow_provider_batch.storage import Location
from airflow_provider_batch.storage.local_disk import scratch
from airflow_provider_batch.table.columns import ENDPOINT_COLUMNS

#: Streams a video's content to a local path.
FetchVideo = Callable[[str, Path], object]

#: Endpoints whose answers are files, or may hold some.
MEDIA = frozenset(endpoint for endpoint, facts in FACTS.items() if facts.has_files)
#: The error code of a video that is made and paid for, and could not be fetched.
NOT_FETCHED = "file_not_fetched"
#: Files that are put, or fetched and put, at a time.
AT_ONCE = 4
#: First bytes → ending of a name.
_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"\xff\xd8\xff", "jpeg"),
    (b"GIF8", "gif"),
    (b"<svg", "svg"),
    (b"<?xml", "svg"),
)
#: What a name may hold of an id that a server made up.
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]")
_SHOWN = 500


class MediaFiles:
    """
    Puts the files of one part's rows.

    :param table: The table's folder.
    :param folder: Name of the part's own folder of files below it.
    :param fetch_video: Where it is None, videos are not fetched and have no file.
    """

    def __init__(self, table: Location, folder: str, endpoint: Endpoint, fetch_video: FetchVideo | None = None) -> None:
        self.failed = 0
        self._folder, self._location = folder, table / folder
        self._endpoint, self._fetch_video = endpoint, fetch_video
        own = list(ENDPOINT_COLUMNS[endpoint])
        self._at = own.index("video_id" if endpoint is Endpoint.VIDEOS else "images")
        self._format_at = own.index("output_format") if "output_format" in own else None
        self._names: set[str] = set()
        self._standing: frozenset[str] | None = None

    @property
    def count(self) -> int:
        """How many files the part names."""
        return len(self._names)

    def keep(self, rows: Sequence[Row], final: Sequence[int], row_numbers: pa.Array[Any]) -> None:
        """
        Put the files of the final rows, and write their references into the rows.

        :param final: 1 for each row that is final, else 0.
        :raises StorageError: A file cannot be written.
        """
        places = [at for at, row in enumerate(rows) if row.values and row.values[self._at] and final[at]]
        wanted = [(rows[at], row_numbers[at].as_py()) for at in places if rows[at].status != FAILED]
        if not wanted:
            return
        keep = self._keep_video if self._endpoint is Endpoint.VIDEOS else self._keep_images
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="openai-batch-files") as pool:
            started = [pool.submit(keep, row, number) for row, number in wanted]
            try:
                for future in started:
                    future.result()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        self.failed += sum(row.error_code == NOT_FETCHED for row, _ in wanted)

    def _keep_images(self, row: Row, number: int) -> None:
        assert row.values is not None
        for index, image in enumerate(row.values[self._at]):
            data = image.pop("data")
            if data:
                name = f"{number:09d}-{index}.{ending(data, self._said_format(row))}"
                (self._location / name).write(data)
                image["file"] = self._named(name)

    def _said_format(self, row: Row) -> str | None:
        return row.values[self._format_at] if row.values and self._format_at is not None else None

    def _keep_video(self, row: Row, number: int) -> None:
        assert row.values is not None
        if self._fetch_video is None:
            return
        video_id, *others = row.values
        name = f"{number:09d}-{_UNSAFE.sub('_', video_id)[:100]}.mp4"
        try:
            if name not in self._found():
                self._fetch(self._fetch_video, video_id, name)
        except ApiError as error:
            row.status, row.error_code, row.error_message = FAILED, NOT_FETCHED, _not_fetched(error)
            return
        row.values = (video_id, self._named(name), *others[1:])

    def _fetch(self, fetch_video: FetchVideo, video_id: str, name: str) -> None:
        with scratch(f"video {video_id}", "the videos that are fetched at the same time") as folder:
            local = folder / name
            fetch_video(video_id, local)
            (self._location / name).put(local)

    def _found(self) -> frozenset[str]:
        if self._standing is None:
            self._standing = frozenset(self._location.list())
        return self._standing

    def _named(self, name: str) -> str:
        self._names.add(name)
        return f"{self._folder}/{name}"


def ending(data: bytes, output_format: str | None) -> str:
    """Return the ending of an image's name: by its first bytes, else by what the answer says."""
    for signature, found in _SIGNATURES:
        if data.startswith(signature):
            return found
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    return output_format if output_format in ("png", "jpeg", "webp", "gif", "svg") else "bin"


def _not_fetched(error: ApiError) -> str:
    return (
        f"The video is made and paid for, and its file could not be fetched: {str(error)[:_SHOWN]} "
        "Landing again fetches it, as long as the API keeps it."
    )
