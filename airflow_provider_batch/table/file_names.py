"""
The names of the files that a job writes to its table's folder.

| name | content |
|---|---|
| ``part-<job>-<shard>-<round>-<attempt>.parquet`` | rows that became final there; may be in ``column=value/`` |
| ``_landing-<job>/…/part-….landing`` | staged parts, under the paths that they have after publication |
| ``_files-<job>/<generation, shard, round>/`` | images and videos that the part's rows refer to |
| ``_unreadable-<job>-<shard>-<round>-<attempt>.txt`` | result lines that cannot be read, unchanged |
| ``_unreadable-<job>-<shard>-<round>-output.txt`` | a whole result file without matching rows; also ``-error`` |
| ``_replaced-<job>.json`` | a copy of a manifest whose table `if_exists="replace"` is removing |
| ``_claim.json`` | the job that reserves the folder while a job with `if_exists="error"` runs |
| ``_manifest-<job>.json`` | the manifest: describes the table and lists its files |

Every name contains the job, so jobs that share a folder never touch each other's files. Readers of Parquet folders
ignore names that start with ``_``. ``<attempt>`` is the job's generation and the number of the attempt in it, such as
``g1a3``. No name is written twice, so a delayed attempt cannot overwrite a file of a later attempt. Release 0.1 named
parts without ``<attempt>``; such parts are read, listed and removed as well.
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
#: Name of the file with which a running job reserves the folder for its table, see `jobs/table_claims.py`.
CLAIM = "_claim.json"
#: Levels of nested partition folders that are listed.
PARTITION_DEPTH = 8


@dataclass(frozen=True, order=True)
class Attempt:
    """
    The attempt of a job that wrote a file; attempts compare in the order in which they took the job over.

    :param generation: Generation of the job, from 1; 0 for files of release 0.1.
    :param number: Number of the attempt in its generation, from 1; 0 for files of release 0.1.
    """

    generation: int = 0
    number: int = 0

    def __str__(self) -> str:
        return f"g{self.generation}a{self.number}"


@dataclass(frozen=True)
class PartName:
    """
    The fields of a part's name.

    :param job: The 12 hex digits of the job.
    :param shard: Number of the shard, from 1.
    :param round: Number of the round, from 1.
    :param attempt: The attempt that wrote the part.
    """

    job: str
    shard: int
    round: int
    attempt: Attempt = Attempt()


def part_name(job: str, shard: int, round: int, attempt: Attempt) -> str:  # noqa: A002 - the API's and the table's word
    """
    Return the name of a part: ``part-<job>-<shard, 5 digits>-<round, 2 digits>-<attempt>.parquet``.

    :param job: The 12 hex digits of the job.
    :param shard: Number of the shard, from 1.
    :param round: Number of the round, from 1.
    :param attempt: The attempt that writes the part.
    """
    return f"part-{job}-{shard:05d}-{round:02d}-{attempt}.parquet"


def parse_part_name(name: str) -> PartName | None:
    """
    Return the fields of a part's name, or None for the name of any other file.

    :param name: File name, or path relative to the table's folder; its folders must have the form ``column=value``.
    """
    *folders, last = name.split("/")
    found = _PART.fullmatch(last)
    if found is None or not all("=" in folder for folder in folders):
        return None
    return PartName(found[1], int(found[2]), int(found[3]), _attempt(found[4], found[5]))


def _attempt(generation: str | None, number: str | None) -> Attempt:
    return Attempt(int(generation or 0), int(number or 0))


def landing_folder(job: str) -> str:
    """
    Return the folder of a job's staged parts.

    :param job: The 12 hex digits of the job.
    """
    return f"_landing-{job}"


def landing_name(job: str, part: str) -> str:
    """
    Return the path of a staged part, relative to the table's folder; the pattern ``**/*.parquet`` does not match it.

    :param job: The 12 hex digits of the job.
    :param part: Path of the part after publication, relative to the table's folder.
    """
    return f"{landing_folder(job)}/{part.removesuffix('.parquet')}.landing"


def landed_part(name: str) -> str | None:
    """
    Return the path that a staged part has after publication, or None for any other file.

    :param name: Path of the file, relative to the job's landing folder.
    """
    part = f"{name.removesuffix('.landing')}.parquet"
    return part if name.endswith(".landing") and parse_part_name(part) is not None else None


def manifest_name(job: str) -> str:
    """
    Return the name of a job's manifest.

    :param job: The 12 hex digits of the job.
    """
    return f"_manifest-{job}.json"


def manifest_job(name: str) -> str | None:
    """
    Return the job of a manifest, or None for any other file.

    :param name: File name.
    """
    found = _MANIFEST.fullmatch(name)
    return found[1] if found else None


def replaced_name(job: str) -> str:
    """
    Return the name of the copy of a manifest whose table is being removed.

    :param job: The 12 hex digits of the job.
    """
    return f"_replaced-{job}.json"


def replaced_job(name: str) -> str | None:
    """
    Return the job whose table is being removed, or None for any other file.

    :param name: File name.
    """
    found = _REPLACED.fullmatch(name)
    return found[1] if found else None


def unreadable_name(job: str, shard: int, round: int, attempt: Attempt) -> str:  # noqa: A002
    """
    Return the name of the file with the unreadable result lines of a shard.

    :param job: The 12 hex digits of the job.
    :param shard: Number of the shard, from 1.
    :param round: Number of the round, from 1.
    :param attempt: The attempt that writes the file.
    """
    return f"_unreadable-{job}-{shard:05d}-{round:02d}-{attempt}.txt"


def unclear_name(job: str, shard: int, round: int, which: str) -> str:  # noqa: A002
    """
    Return the name of a copy of a whole result file that could not be matched to the rows of its shard.

    :param job: The 12 hex digits of the job.
    :param shard: Number of the shard, from 1.
    :param round: Number of the round, from 1.
    :param which: The result file: ``output`` or ``error``.
    """
    return f"_unreadable-{job}-{shard:05d}-{round:02d}-{which}.txt"


def unreadable_job(name: str) -> str | None:
    """
    Return the job of a file of unreadable lines, or None for any other file.

    :param name: File name.
    """
    found = _UNREADABLE.fullmatch(name)
    return found[1] if found else None


def attempt_of(name: str) -> Attempt:
    """
    Return the attempt that wrote a part or a file of unreadable lines; `Attempt()` for any other file.

    :param name: File name, or path relative to the table's folder.
    """
    last = name.rpartition("/")[2]
    found = _PART.fullmatch(last)
    if found is not None:
        return _attempt(found[4], found[5])
    unreadable = _UNREADABLE.fullmatch(last)
    return Attempt() if unreadable is None else _attempt(unreadable[2], unreadable[3])


def files_root(job: str) -> str:
    """
    Return the folder of a job's images and videos, relative to the table's folder.

    :param job: The 12 hex digits of the job.
    """
    return f"_files-{job}"


def files_folder(job: str, generation: int, shard: int, round: int) -> str:  # noqa: A002
    """
    Return the folder of one part's images and videos, relative to the table's folder.

    :param job: The 12 hex digits of the job.
    :param generation: Generation of the job, from 1.
    :param shard: Number of the shard, from 1.
    :param round: Number of the round, from 1.
    """
    return f"{files_root(job)}/g{generation}-{shard:05d}-{round:02d}"


def files_generation(name: str) -> int:
    """
    Return the generation in the name of a part's folder of images and videos, or 0 where the name has none.

    :param name: Name of the folder, without its parent.
    """
    found = re.match(r"g(\d+)-", name)
    return int(found[1]) if found else 0


def list_files(table: Location) -> set[str]:
    """
    List the files in a table's folder and in its folders ``column=value``, as paths relative to the table's folder.

    :param table: Folder of the table.
    """
    return {*table.list(), *_in_partitions(table, "", PARTITION_DEPTH)}


def _in_partitions(folder: Location, path: str, depth: int) -> Iterator[str]:
    for name in folder.list_folders() if depth else ():
        if "=" in name:
            below = f"{path}{name}/"
            yield from (f"{below}{file}" for file in (folder / name).list())
            yield from _in_partitions(folder / name, below, depth - 1)


def remove_part(table: Location, name: str) -> None:
    """
    Remove a part, and on a local disk the folders that become empty; a missing part is no error.

    :param table: Folder of the table.
    :param name: Path of the part, relative to the table's folder.
    """
    (table / name).delete()
    folders = name.split("/")[:-1]
    while folders and table.is_local:
        if not (table / "/".join(folders)).remove_if_empty():
            return
        folders.pop()
