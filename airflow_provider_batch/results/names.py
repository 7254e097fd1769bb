"""
The names of what a job leaves in its table's folder, and what stands there.

| name | what it is |
|---|---|
| ``part-<job>-<shard>-<round>.parquet`` | rows that became final there; partitions in folders ``column=value/`` |
| ``_files-<job>/<generation, shard, round>/`` | images and videos that the part's rows name |
| ``_unreadable-<job>-<shard>-<round>.txt`` | result lines that nobody could read, as they came |
| ``_unreadable-<job>-<shard>-<round>-output.txt`` | a result file that was not understood, whole; ``-error`` too |
| ``_manifest-<job>.json`` | written last; lists the others |

A name says whose it is, so jobs that share a folder cannot touch each other's files; readers pass by what starts with
``_``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from airflow_provider_batch.storage import Location

#: Hex digits of the job in names.
JOB_DIGITS = 12
_JOB = rf"([0-9a-f]{{{JOB_DIGITS}}})"
_PART = re.compile(rf"part-{_JOB}-(\d{{5,}})-(\d{{2,}})\.parquet")
_UNREADABLE = re.compile(rf"_unreadable-{_JOB}-\d{{5,}}-\d{{2,}}(?:-output|-error)?\.txt")
_MANIFEST = re.compile(rf"_manifest-{_JOB}\.json")
#: Folders within each other that are looked into: more than anybody partitions by.
PARTITION_DEPTH = 8


@dataclass(frozen=True)
class PartName:
    """Whose part a file is; shard and round count from 1."""

    job: str
    shard: int
    round: int


def part_name(job: str, shard: int, round: int) -> str:  # noqa: A002 - the API's and the table's word for it
    """Return the name of a part: ``part-<job>-<shard 5 digits>-<round 2 digits>.parquet``."""
    return f"part-{job}-{shard:05d}-{round:02d}.parquet"


def parse_part_name(name: str) -> PartName | None:
    """Return what a part's name says, None for any other file's name; folders ``column=value`` may stand before it."""
    *folders, last = name.split("/")
    found = _PART.fullmatch(last)
    if found is None or not all("=" in folder for folder in folders):
        return None
    return PartName(found[1], int(found[2]), int(found[3]))


def manifest_name(job: str) -> str:
    """Return the name of a job's manifest."""
    return f"_manifest-{job}.json"


def manifest_job(name: str) -> str | None:
    """Return the job whose manifest a file is, None where it is none."""
    found = _MANIFEST.fullmatch(name)
    return found[1] if found else None


def unreadable_name(job: str, shard: int, round: int) -> str:  # noqa: A002
    """Return the name of the file with the result lines of a shard that nobody could read."""
    return f"_unreadable-{job}-{shard:05d}-{round:02d}.txt"


def unclear_name(job: str, shard: int, round: int, which: str) -> str:  # noqa: A002
    """
    Return the name of a whole result file of a shard that was not understood.

    :param which: ``output`` or ``error``.
    """
    return unreadable_name(job, shard, round).replace(".txt", f"-{which}.txt")


def unreadable_job(name: str) -> str | None:
    """Return the job whose unreadable lines a file holds, None where it is another file."""
    found = _UNREADABLE.fullmatch(name)
    return found[1] if found else None


def files_root(job: str) -> str:
    """Return the folder of a job's images and videos."""
    return f"_files-{job}"


def files_folder(job: str, generation: int, shard: int, round: int) -> str:  # noqa: A002
    """Return the folder of one part's images and videos, relative to the table's."""
    return f"{files_root(job)}/g{generation}-{shard:05d}-{round:02d}"


def standing_files(table: Location) -> set[str]:
    """Return the files in a table's folder and in folders ``column=value`` below it, relative to it."""
    return {*table.list(), *_in_partitions(table, "", PARTITION_DEPTH)}


def _in_partitions(folder: Location, path: str, depth: int) -> Iterator[str]:
    for name in folder.list_folders() if depth else ():
        if "=" in name:
            below = f"{path}{name}/"
            yield from (f"{below}{file}" for file in (folder / name).list())
            yield from _in_partitions(folder / name, below, depth - 1)


def remove_part(table: Location, name: str) -> None:
    """Remove a part, and on a local disk the folders that are empty then; absent is fine."""
    (table / name).delete()
    folders = name.split("/")[:-1]
    while folders and table.is_local:
        if not (table / "/".join(folders)).remove_if_empty():
            return
        folders.pop()
