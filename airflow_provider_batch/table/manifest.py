"""
The manifest of the dataset that a job leaves in its destination, and who may write there. `names.py` has the names,
`publication.py` the one step that changes what readers see.

- The manifest lists the parts, the folders of images and videos and the files of unreadable lines, and is true at every
  moment: a folder without this job's manifest has no finished table of it.
- Only this job's own files are ever removed unasked. `if_exists="replace"` also removes what *other jobs' manifests
  list*, and those manifests; files that no manifest lists are left alone, whatever their names.
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

#: Batch ids that a summary names; past that the manifest has them.
SUMMARY_BATCHES = 200


#: The newest form of a manifest that this release can read; release 0.1 wrote form 1 without a number.
VERSION = 1


class Part(Struct, frozen=True):
    """One part of the table; `name` is its path below the table's folder."""

    name: str
    rows: int
    shard: int
    round: int
    batch_id: str | None = None


class Manifest(Struct, frozen=True, kw_only=True):
    """
    What a job landed.

    :param rows: Rows of the table, over all parts.
    :param statuses: Rows by status; they sum to ``rows``.
    :param usage: Tokens by usage column.
    :param cost_usd: Sum of the known prices as a decimal number, None where none is known.
    :param unpriced: Answers whose price is unknown.
    :param created_at: Epoch seconds.
    :param ledger: URI of the job's ledger, where it has one.
    :param partition_by: Columns whose values stand in the folders' names.
    :param files: Folder of images and videos → how many are in it.
    :param unreadable: File of result lines that nobody could read → how many are in it.
    :param version: Form of the manifest.
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


class _Version(Struct, frozen=True):
    version: int = VERSION


def encode_manifest(manifest: Manifest) -> bytes:
    """Return a manifest as the JSON that stands in the destination."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=2)


def read_manifest(location: Location) -> Manifest | None:
    """
    Return a manifest, None where there is none.

    :raises StorageError: It cannot be read, or is no manifest.
    """
    data = location.read_or_none()
    return None if data is None else decode_manifest(data, location)


def decode_manifest(data: bytes, location: Location) -> Manifest:
    """
    Return a manifest.

    :param location: Where it stands, for the error.
    :raises StorageError: The bytes are no manifest, or one of a newer release.
    """
    try:
        form = msgspec.json.decode(data, type=_Version).version
        if form <= VERSION:
            return msgspec.json.decode(data, type=Manifest)
    except msgspec.MsgspecError as error:
        raise StorageError(
            f"{location}: expected a manifest of this package, found something else ({error}). "
            "Move the file away if nothing needs it."
        ) from error
    raise StorageError(
        f"{location}: this manifest has form {form}, and this release of airflow-provider-batch knows no form after "
        f"{VERSION}: a newer release wrote it. Install that release here too; nothing was changed."
    )


def check_destination(destination: Location, job: str, if_exists: IfExists, beside: Collection[str] = ()) -> None:
    """
    Check, before anything is sent, that the table can be written.

    :param beside: Other jobs whose tables may stand there whatever ``if_exists`` says.
    :raises ConfigurationError: The folder is not writable, or holds another job's table and ``if_exists`` is "error".
    """
    try:
        others = [name for name in destination.list() if manifest_job(name) not in (None, job, *beside)]
    except StorageError as error:
        raise ConfigurationError(f"{destination}: expected a folder that can be listed: {error}") from error
    if others and if_exists == "error":
        raise ConfigurationError(
            f"{destination}: expected no table of another job, found {others[0]}"
            f"{f' and {len(others) - 1} more' if len(others) > 1 else ''}. Choose another folder, or say "
            "if_exists='append' to write beside it or if_exists='replace' to remove it when the new table stands."
        )
    probe = destination / probe_name(job)
    try:
        probe.write(b"")
        probe.delete()
    except StorageError as error:
        raise ConfigurationError(f"{destination}: expected a folder that can be written to: {error}") from error


def probe_name(job: str) -> str:
    """Return one name a job: what a killed attempt leaves is removed by the next one."""
    return f"_probe-{job}"


def summary(manifest: Manifest) -> dict[str, Any]:
    """Return what a task returns: small, and nothing but JSON's own types."""
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
    """Yield the manifests that stand in a destination, in the order of their names."""
    for name in destination.list():
        if manifest_job(name) is not None and (manifest := read_manifest(destination / name)) is not None:
            yield manifest
