"""
The names of what a job leaves in its table's folder, and what stands there.

| name | what it is |
|---|---|
| ``part-<job>-<shard>-<round>-<attempt>.parquet`` | rows that became final there; partitions: ``column=value/`` |
| ``_landing-<job>/…/part-….landing`` | parts that wait for their publication, under the paths that they will have |
| ``_files-<job>/<generation, shard, round>/`` | images and videos that the part's rows name |
| ``_unreadable-<job>-<shard>-<round>-<attempt>.txt`` | result lines that nobody could read, as they came |
| ``_unreadable-<job>-<shard>-<round>-output.txt`` | a result file that was not understood, whole; ``-error`` too |
| ``_replaced-<job>.json`` | a manifest whose table is being removed by `if_exists="replace"` |
| ``_claim.json`` | whose table the folder is to have, while a job with `if_exists="error"` is at work |
| ``_manifest-<job>.json`` | says what the table is; lists the others |

A name says whose it is, so jobs that share a folder cannot touch each other's files; readers pass by what starts with
``_``. ``<attempt>`` is the job's generation and the number of the attempt within it, such as ``g1a3``: no name is
written twice, so an attempt that was held up for hours cannot replace what a later one has written. Release 0.1 named
parts without it; these are read, listed and removed as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from airflow_provider_batch.storage import Location

#: Hex digits of the job in names.
JOB_DIGITS = 12
_JOB = rf"([0-9a-f]{{{JOB_DIGITS}}})"
_ATTEMPT = r"(?:-g(\d+)a(\d+))?"
_PART = re.compile(rf"part-{_JOB}-(\d{{5,}})-(\d{{2,}}){_ATTEMPT}\.parquet")
_UNREADABLE = re.compile(rf"_unreadable-{_JOB}-\d{{5,}}-\d{{2,}}{_ATTEMPT}(?:-output|-error)?\.txt")
_REPLACED = re.compile(rf"_replaced-{_JOB}\.json")
_MANIFEST = re.compile(rf"_manifest-{_JOB}\.json")
#: Name of the file that holds the place for the table of a job at work, see `jobs/table_claims.py`.
CLAIM = "_claim.json"
#: Folders within each other that are looked into: more than anybody partitions by.
PARTITION_DEPTH = 8


@dataclass(frozen=True, order=True)
class Attempt:
    """Who wrote a file: the attempts of a job in the order in which they took it over; 0 for files of release 0.1."""

    generation: int = 0
    number: int = 0

    def __str__(self) -> str:
        return f"g{self.generation}a{self.number}"


@dataclass(frozen=True)
class PartName:
    """Whose part a file is; shard and round count from 1."""

    job: str
    shard: int
    round: int
    attempt: Attempt = Attempt()


def part_name(job: str, shard: int, round: int, attempt: Attempt) -> str:  # noqa: A002 - the API's and the table's word
    """Return the name of a part: ``part-<job>-<shard 5 digits>-<round 2 digits>-<attempt>.parquet``."""
    return f"part-{job}-{shard:05d}-{round:02d}-{attempt}.parquet"


def parse_part_name(name: str) -> PartName | None:
    """Return what a part's name says, None for any other file's name; folders ``column=value`` may stand before it."""
    *folders, last = name.split("/")
    found = _PART.fullmatch(last)
    if found is None or not all("=" in folder for folder in folders):
        return None
    return PartName(found[1], int(found[2]), int(found[3]), _attempt(found[4], found[5]))


def _attempt(generation: str | None, number: str | None) -> Attempt:
    return Attempt(int(generation or 0), int(number or 0))


def landing_folder(job: str) -> str:
    """Return the folder of a job's parts that wait for their publication."""
    return f"_landing-{job}"


def landing_name(job: str, part: str) -> str:
    """Return where a part waits: no reader of ``**/*.parquet`` finds it there."""
    return f"{landing_folder(job)}/{part.removesuffix('.parquet')}.landing"


def landed_part(name: str) -> str | None:
    """Return the path that a waiting part will have, from its path in the landing folder; None for another file."""
    part = f"{name.removesuffix('.landing')}.parquet"
    return part if name.endswith(".landing") and parse_part_name(part) is not None else None


def manifest_name(job: str) -> str:
    """Return the name of a job's manifest."""
    return f"_manifest-{job}.json"


def manifest_job(name: str) -> str | None:
    """Return the job whose manifest a file is, None where it is none."""
    found = _MANIFEST.fullmatch(name)
    return found[1] if found else None


def replaced_name(job: str) -> str:
    """Return the name of the copy of a manifest whose table is being removed."""
    return f"_replaced-{job}.json"


def replaced_job(name: str) -> str | None:
    """Return the job whose table is being removed, None for any other file."""
    found = _REPLACED.fullmatch(name)
    return found[1] if found else None


def unreadable_name(job: str, shard: int, round: int, attempt: Attempt) -> str:  # noqa: A002
    """Return the name of the file with the result lines of a shard that nobody could read."""
    return f"_unreadable-{job}-{shard:05d}-{round:02d}-{attempt}.txt"


def unclear_name(job: str, shard: int, round: int, which: str) -> str:  # noqa: A002
    """
    Return the name of a whole result file of a shard that was not understood.

    :param which: ``output`` or ``error``.
    """
    return f"_unreadable-{job}-{shard:05d}-{round:02d}-{which}.txt"


def unreadable_job(name: str) -> str | None:
    """Return the job whose unreadable lines a file holds, None where it is another file."""
    found = _UNREADABLE.fullmatch(name)
    return found[1] if found else None


def attempt_of(name: str) -> Attempt:
    """Return the attempt that wrote a part or a file of unreadable lines."""
    last = name.rpartition("/")[2]
    found = _PART.fullmatch(last)
    if found is not None:
        return _attempt(found[4], found[5])
    unreadable = _UNREADABLE.fullmatch(last)
    return Attempt() if unreadable is None else _attempt(unreadable[2], unreadable[3])


def files_root(job: str) -> str:
    """Return the folder of a job's images and videos."""
    return f"_files-{job}"


def files_folder(job: str, generation: int, shard: int, round: int) -> str:  # noqa: A002
    """Return the folder of one part's images and videos, relative to the table's."""
    return f"{files_root(job)}/g{generation}-{shard:05d}-{round:02d}"


def files_generation(name: str) -> int:
    """Return the generation of a part's folder of images and videos, from the folder's own name."""
    found = re.match(r"g(\d+)-", name)
    return int(found[1]) if found else 0


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
