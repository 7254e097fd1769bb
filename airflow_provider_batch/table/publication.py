"""
Publish a table: the only step that changes what readers see.

Before publication, parts are staged in ``_landing-<job>/`` (see `file_names.py`), so readers of the manifest and of
``*.parquet`` still see the previous table. Publication has three steps:

1. Move the new parts to their final paths. Their names are new: no file is overwritten.
2. Replace the manifest, on condition that it did not change since it was read. Of several attempts only one succeeds.
3. Remove the files that no manifest lists any more: the parts of the replaced manifest, and the leftovers of this
   attempt and of earlier ones. Files of a later attempt are never removed, even where this attempt was delayed.

A reader of the manifest sees one complete table at every moment. A reader of ``*.parquet`` sees the previous table,
then both tables between steps 1 and 3 (renames on a local disk, about a second of copies on an object store), then the
new table. A publication that was interrupted at any point is completed by the next call.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import msgspec

from airflow_provider_batch.exceptions import StorageError
from airflow_provider_batch.storage import Location, finished_name
from airflow_provider_batch.storage.moves import move_files
from airflow_provider_batch.table import file_names
from airflow_provider_batch.table.manifest import (
    IfExists,
    Manifest,
    decode_manifest,
    encode_manifest,
    probe_name,
    read_manifest,
)

#: Number of attempts to replace a manifest that other processes change at the same time.
TRIES = 3


@dataclass(frozen=True)
class Publisher:
    """
    The attempt that publishes a table.

    :param attempt: Generation and number of the attempt; it never removes files of later attempts.
    :param check: Raises an error where a later attempt has taken the job over.
    :param landed: Returns the parts that the job's ledger lists now, because a later attempt may publish them.
    """

    attempt: file_names.Attempt
    check: Callable[[], None] = lambda: None
    landed: Callable[[], Collection[str]] = tuple


def publish(
    destination: Location,
    manifest: Manifest,
    if_exists: IfExists,
    publisher: Publisher,
    beside: Collection[str] = (),
) -> Manifest:
    """
    Publish the parts that a manifest lists as the table of its job.

    :param destination: Folder of the table.
    :param manifest: The new manifest.
    :param if_exists: What to do with tables of other jobs; "replace" removes them after the manifest is replaced.
    :param publisher: The attempt that publishes.
    :param beside: Other jobs whose tables "replace" does not remove.
    :return: The manifest in the destination; the previous one where both have the same content.
    :raises StorageError: A listed part does not exist, or a file cannot be moved, removed or written.
    """
    location = destination / file_names.manifest_name(manifest.job)
    for _ in range(TRIES):
        stored = location.read_stored()
        before = None if stored is None else decode_manifest(stored.data, location)
        present = file_names.list_files(destination)
        staged = file_names.list_files(destination / file_names.landing_folder(manifest.job))
        others = _others(destination, {manifest.job, *beside}, present) if if_exists == "replace" else {}
        publisher.check()
        moved = _move_staged(destination, manifest, present, staged)
        if before is not None and _is_same(before, manifest):
            manifest = before
        elif not _replace_manifest(location, manifest, None if stored is None else stored.version):
            _check_or_take_back(destination, manifest.job, moved, publisher)
            continue
        _remove_obsolete(destination, manifest, before, publisher.attempt, present, staged)
        for job in others:
            _remove_other(destination, job, others[job])
        for name in present if others else ():
            if file_names.replaced_job(finished_name(name) or "") in others:  # the temporary file of a killed process
                (destination / name).delete()
        return manifest
    raise StorageError(
        f"{location}: other processes changed this manifest {TRIES} times "
        "while this one replaced it. The table in the folder was not changed. Make sure that no other process "
        "publishes the same job, and retry the task."
    )


def part_location(destination: Location, job: str, name: str) -> Location:
    """
    Return the location of a part: the staged file where it exists, otherwise the path after publication.

    :param destination: Folder of the table.
    :param job: The 12 hex digits of the job.
    :param name: Path of the part after publication, relative to the table's folder.
    """
    staged = destination / file_names.landing_name(job, name)
    return staged if staged.exists() else destination / name


def withdraw(destination: Location, job: str, parts: Collection[str], unreadable: str | None) -> None:
    """
    Remove the staged files of an attempt that did not get into the ledger because a later attempt took the job over.

    :param destination: Folder of the table.
    :param job: The 12 hex digits of the job.
    :param parts: Paths of the parts after publication, relative to the table's folder.
    :param unreadable: Name of the file of unreadable lines; None where there is none.
    """
    for name in parts:
        file_names.remove_part(destination, file_names.landing_name(job, name))
    if unreadable is not None:
        (destination / unreadable).delete()


def _move_staged(destination: Location, manifest: Manifest, present: set[str], staged: set[str]) -> list[str]:
    """Move the staged parts that the manifest lists to their final paths; return these paths."""
    job, listed = manifest.job, {part.name for part in manifest.parts}
    ready = {part for name in staged if (part := file_names.landed_part(name)) is not None}
    if missing := sorted(listed - present - ready):
        raise StorageError(
            f"{destination / missing[0]}: expected a part of the table, found no file. The table was not published. "
            "Land the results again, which is free while the API keeps them."
        )
    due = sorted(listed & ready)
    move_files([(destination / file_names.landing_name(job, name), destination / name) for name in due])
    return due


def _is_same(before: Manifest, manifest: Manifest) -> bool:
    """Return whether two manifests differ at most in time of creation and release."""
    ignored = {"created_at": before.created_at, "package_version": before.package_version}
    return msgspec.structs.replace(manifest, **ignored) == before


def _replace_manifest(location: Location, manifest: Manifest, version: str | None) -> bool:
    return location.write_if(encode_manifest(manifest), version, keeps_lock=False)


def _check_or_take_back(destination: Location, job: str, moved: Collection[str], publisher: Publisher) -> None:
    """Remove the moved parts where a later attempt has taken the job over; an attempt that retries keeps them."""
    try:
        publisher.check()
    except BaseException:
        _take_back(destination, job, moved, publisher)
        raise


def _take_back(destination: Location, job: str, moved: Collection[str], publisher: Publisher) -> None:
    """Remove the moved parts, except those that the current manifest or the ledger lists."""
    location = destination / file_names.manifest_name(job)
    kept = set(publisher.landed()) if moved else set()
    stored = location.read_stored()
    listed = set() if stored is None else {part.name for part in decode_manifest(stored.data, location).parts}
    for name in moved:
        if name not in listed | kept:
            file_names.remove_part(destination, name)


def _remove_obsolete(
    destination: Location,
    manifest: Manifest,
    before: Manifest | None,
    attempt: file_names.Attempt,
    present: set[str],
    staged: set[str],
) -> None:
    """
    Remove the files that do not belong to the table any more.

    :param present: Files in the folder before the manifest was replaced; newer files are not touched.
    """
    job = manifest.job
    kept = {part.name for part in manifest.parts} | set(manifest.unreadable)
    replaced = {*(part.name for part in before.parts), *before.unreadable} if before is not None else set()
    for name in sorted(present - kept):
        if _is_own(name, job) and (name in replaced or file_names.attempt_of(finished_name(name) or name) <= attempt):
            file_names.remove_part(destination, name)
    for name in sorted(staged):
        part = file_names.landed_part(_finished(name))
        if part is None or file_names.attempt_of(part) <= attempt:
            file_names.remove_part(destination, f"{file_names.landing_folder(job)}/{name}")
    if destination.is_local:
        (destination / file_names.landing_folder(job)).remove_if_empty()
    files = set() if before is None else {name.rpartition("/")[2] for name in before.files}
    _remove_files(destination, job, manifest.files, files, attempt.generation)


def _is_own(name: str, job: str) -> bool:
    """Return whether a file is a part or a file of unreadable lines of the job, or a temporary file of one."""
    finished = _finished(name)
    part = file_names.parse_part_name(finished)
    if part is not None:
        return part.job == job
    is_temporary = finished != name
    return file_names.unreadable_job(finished) == job or (
        is_temporary and finished in (file_names.manifest_name(job), probe_name(job))
    )


def _finished(name: str) -> str:
    """Return the final name of a temporary file that a killed process left; other names are unchanged."""
    folder, _, last = name.rpartition("/")
    return f"{folder}/{finished_name(last) or last}".lstrip("/")


def _remove_files(
    destination: Location, job: str, kept: Collection[str], replaced: Collection[str], generation: int
) -> None:
    """
    Remove a job's folders of images and videos that the manifest does not list.

    :param kept: Folders that the manifest lists.
    :param replaced: Names of folders that the replaced manifest listed; these are always removed.
    :param generation: Generation of the attempt; other folders of later generations are kept.
    """
    root = file_names.files_root(job)
    if root not in destination.list_folders():
        return
    for name in (destination / root).list_folders():
        folder = destination / root / name
        if f"{root}/{name}" in kept:
            _remove_temporary(folder)
        elif name in replaced or file_names.files_generation(name) <= generation:
            folder.remove_folder()
    if destination.is_local and not kept:
        (destination / root).remove_if_empty()


def _remove_temporary(folder: Location) -> None:
    for name in folder.list() if folder.store.has_folders else ():
        if finished_name(name) is not None:
            (folder / name).delete()


def _others(destination: Location, kept: Collection[str], present: set[str]) -> dict[str, bytes | None]:
    """
    Return the manifests of the tables to remove, by job; None where an earlier call began the removal.

    :raises StorageError: A manifest cannot be read, or is not a manifest.
    """
    found: dict[str, bytes | None] = {
        job: None for name in present if (job := file_names.replaced_job(name)) is not None
    }
    for name in present:
        job = file_names.manifest_job(name)
        if job is not None and job not in kept and (data := (destination / name).read_or_none()) is not None:
            decode_manifest(data, destination / name)
            found[job] = data
    return found


def _remove_other(destination: Location, job: str, manifest: bytes | None) -> None:
    """
    Remove another job's table: first its manifest, then the parts, so a manifest never lists missing parts.

    A copy of the manifest is written first, so that a second call knows which files are left to remove. If the other
    job has published a new manifest in the meantime, that manifest and its parts are kept.
    """
    if manifest is not None:
        (destination / file_names.replaced_name(job)).write(manifest)
        stored = (destination / file_names.manifest_name(job)).read_stored()
        if stored is not None and stored.data == manifest:
            (destination / file_names.manifest_name(job)).delete_if(stored.version)
    _remove_replaced(destination, job)


def _remove_replaced(destination: Location, other: str) -> None:
    """Remove the files that a replaced manifest lists, except those that a new manifest of its job lists."""
    location = destination / file_names.replaced_name(other)
    manifest, now = read_manifest(location), read_manifest(destination / file_names.manifest_name(other))
    if manifest is None:
        return
    listed = {part.name for part in now.parts} | set(now.unreadable) if now is not None else set()
    for part in manifest.parts:
        # Anyone can write a manifest: only files with the name of a part of its own job are removed.
        parsed = file_names.parse_part_name(part.name)
        if parsed is not None and parsed.job == other and part.name not in listed:
            file_names.remove_part(destination, part.name)
    for name in manifest.unreadable:
        if file_names.unreadable_job(name) == other and name not in listed:
            (destination / name).delete()
    if manifest.files:
        folders = {name.rpartition("/")[2] for name in manifest.files}
        _remove_files(destination, other, () if now is None else now.files, folders, manifest.generation)
    location.delete()
