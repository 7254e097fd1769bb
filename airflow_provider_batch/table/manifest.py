"""
The manifest of the table that a job writes to its destination.

- The manifest lists the parts, the folders of images and videos, and the files of unreadable lines. It is correct at
  every moment: a folder without this job's manifest contains no finished table of this job.
- A job removes only its own files. With `if_exists="replace"` it also removes the manifests of other jobs and the
  files that these manifests list. Files that no manifest lists are never removed.

See `file_names.py` for the names and `publication.py` for the step that replaces the manifest.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, Literal

import msgspec
from msgspec import Struct

from airflow_provider_batch import __version__
from airflow_provider_batch.exceptions import ConfigurationError, StorageError
from airflow_provider_batch.storage import Location
from airflow_provider_batch.table.file_names import manifest_job

IfExists = Literal["error", "append", "replace"]

#: The largest number of batch ids that a summary contains; a longer list is only in the manifest.
SUMMARY_BATCHES = 200
#: The newest version of the manifest format that this release reads; release 0.1 wrote version 1 without the number.
VERSION = 1


class Part(Struct, frozen=True):
    """
    One part of the table.

    :param name: Path of the file, relative to the table's folder.
    :param rows: Number of rows in the file.
    :param shard: Number of the shard, from 1.
    :param round: Round of submissions in which the rows became final, from 1.
    :param batch_id: The batch of the shard; None where none was created.
    """

    name: str
    rows: int
    shard: int
    round: int
    batch_id: str | None = None


class Manifest(Struct, frozen=True, kw_only=True):
    """
    The description of one job's table.

    :param job: The 12 hex digits of the job.
    :param endpoint: Endpoint path, such as ``/v1/responses``.
    :param rows: Number of rows in all parts.
    :param statuses: Number of rows by status; the sum is ``rows``.
    :param usage: Number of tokens by usage column.
    :param cost_usd: Sum of the known prices in US dollars, as decimal text; None where no price is known.
    :param unpriced: Number of answers without a known price.
    :param parts: The parts of the table.
    :param batch_ids: The batches of the table.
    :param generation: Generation of the job, from 1.
    :param created_at: Time of creation in seconds since the epoch.
    :param package_version: Release of this package that wrote the manifest.
    :param ledger: URI of the job's ledger; None where the job has none.
    :param partition_by: The partition columns, whose values are in the folder names and not in the files.
    :param files: Number of files by folder of images and videos, relative to the table's folder.
    :param unreadable: Number of lines by file of unreadable result lines, relative to the table's folder.
    :param version: Version of the manifest format.
    :param embedding_size: Numbers in each embedding; None for other endpoints, where it is not known, and in manifests
        of earlier releases.
    """

    job: str
    endpoint: str
    rows: int
    statuses: dict[str, int]
    usage: dict[str, int]
    cost_usd: str | None
    unpriced: int
    parts: list[Part]
    batch_ids: list[str]
    generation: int
    created_at: float
    package_version: str = __version__
    ledger: str | None = None
    partition_by: list[str] = []
    files: dict[str, int] = {}
    unreadable: dict[str, int] = {}
    version: int = VERSION
    embedding_size: int | None = None


class _Version(Struct, frozen=True):
    version: int = VERSION


def encode_manifest(manifest: Manifest) -> bytes:
    """
    Encode a manifest as indented JSON.

    :param manifest: The manifest of a job.
    """
    return msgspec.json.format(msgspec.json.encode(manifest), indent=2)


def read_manifest(location: Location) -> Manifest | None:
    """
    Read a manifest from storage; return None where the file does not exist.

    :param location: The manifest file.
    :raises StorageError: The file cannot be read, or is not a manifest that this release knows.
    """
    data = location.read_or_none()
    return None if data is None else decode_manifest(data, location)


def decode_manifest(data: bytes, location: Location) -> Manifest:
    """
    Decode a manifest.

    :param data: Content of the file.
    :param location: The manifest file, named in the error.
    :raises StorageError: The content is not a manifest, or a newer release wrote it.
    """
    try:
        version = msgspec.json.decode(data, type=_Version).version
        if version <= VERSION:
            return msgspec.json.decode(data, type=Manifest)
    except msgspec.MsgspecError as error:
        raise StorageError(
            f"{location}: expected a manifest of this package, found another content ({error}). Nothing was changed. "
            "Move the file to another folder if you do not need it here."
        ) from error
    raise StorageError(
        f"{location}: a newer release of airflow-provider-batch wrote this manifest: it has version {version}, and "
        f"this release reads versions up to {VERSION}. Nothing was changed. Install the newer release here too."
    )


def check_destination(destination: Location, job: str, if_exists: IfExists, beside: Collection[str] = ()) -> None:
    """
    Check that the table can be written; call it before any request is sent.

    :param destination: Folder of the table.
    :param job: The 12 hex digits of the job.
    :param if_exists: What to do where the folder contains the table of another job.
    :param beside: Other jobs whose tables are allowed in the folder, whatever ``if_exists`` is.
    :raises ConfigurationError: The folder is not writable, or ``if_exists`` is "error" and the folder contains the
        table of another job.
    """
    try:
        others = [name for name in destination.list() if manifest_job(name) not in (None, job, *beside)]
    except StorageError as error:
        raise ConfigurationError(f"{destination}: expected a folder that can be listed: {error}") from error
    if others and if_exists == "error":
        raise ConfigurationError(
            f"{destination}: expected no table of another job, found {others[0]}"
            f"{f' and {len(others) - 1} more' if len(others) > 1 else ''}. Choose another folder, or set "
            "if_exists='append' to keep both tables, or if_exists='replace' to remove the other table when the new "
            "table is published."
        )
    probe = destination / probe_name(job)
    try:
        probe.write(b"")
        probe.delete()
    except StorageError as error:
        raise ConfigurationError(f"{destination}: expected a folder that can be written to: {error}") from error


def probe_name(job: str) -> str:
    """
    Return the name of the file that tests write access; one per job, so the next attempt removes a leftover.

    :param job: The 12 hex digits of the job.
    """
    return f"_probe-{job}"


def summary(manifest: Manifest) -> dict[str, Any]:
    """
    Return the summary of a manifest that a task returns as XCom: a small dictionary of JSON types.

    :param manifest: The published manifest.
    """
    batch_ids = manifest.batch_ids if len(manifest.batch_ids) <= SUMMARY_BATCHES else []
    return {
        "job": manifest.job,
        "endpoint": manifest.endpoint,
        "rows": manifest.rows,
        "statuses": dict(manifest.statuses),
        "usage": {name: count for name, count in manifest.usage.items() if count},
        "cost_usd": None if manifest.cost_usd is None else float(manifest.cost_usd),
        "unpriced": manifest.unpriced,
        "parts": len(manifest.parts),
        **({"files": sum(manifest.files.values())} if manifest.files else {}),
        **({"unreadable": dict(manifest.unreadable)} if manifest.unreadable else {}),
        "batches": len(manifest.batch_ids),
        "batch_ids": batch_ids,
        "generation": manifest.generation,
    }


def manifests(destination: Location) -> Iterator[Manifest]:
    """
    Yield the manifests in a destination, in the order of their file names.

    :param destination: Folder of the tables.
    """
    for name in destination.list():
        if manifest_job(name) is not None and (manifest := read_manifest(destination / name)) is not None:
            yield manifest
