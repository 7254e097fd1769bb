"""
Publishing a table: the one step that changes what readers see.

Parts wait in ``_landing-<job>/`` (`names.py`), so that until then the table that stood there stands, for those who
follow the manifest and for those who read ``*.parquet``. Then, in this order:

1. the new parts are moved to their places, under names that no file ever had;
2. the manifest is replaced, on condition that it is the one that was read before: of several attempts one goes on;
3. what no manifest lists any more is removed: parts of the manifest that was replaced, and what this attempt and those
   before it have left. What a later attempt has written is never removed, whenever this one was held up.

A reader that follows the manifest sees one whole table at every moment. One that reads a pattern sees the old table,
for the moment between 1 and 3 (renames on a disk; copies within the store, a second or so, on an object store) the old
and the new one, then the new one. Stopped at any point, the same call again ends the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import msgspec

from airflow_provider_batch.exceptions import StorageError
from airflow_provider_batch.storage import Location, finished_name
from airflow_provider_batch.storage.moves import move_files
from airflow_provider_batch.storage.object_stores import is_object_store
from airflow_provider_batch.table.file_names import (
    Attempt,
    attempt_of,
    files_generation,
    files_root,
    landed_part,
    landing_folder,
    landing_name,
    manifest_job,
    manifest_name,
    parse_part_name,
    remove_part,
    replaced_job,
    replaced_name,
    standing_files,
    unreadable_job,
)
from airflow_provider_batch.table.manifest import (
    IfExists,
    Manifest,
    decode_manifest,
    encode_manifest,
    probe_name,
    read_manifest,
)

#: How often a manifest that others change at the same moment is read again.
TRIES = 3


@dataclass(frozen=True)
class Publisher:
    """
    Who publishes.

    :param attempt: This attempt; files of later ones are left alone.
    :param check: Raises where a later attempt has taken the job over.
    :param landed: Return the parts that the job's ledger has by now: a later attempt may be about to list them.
    """

    attempt: Attempt
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
    Make the listed parts the job's table, and return the manifest that stands.

    :param beside: Other jobs whose tables "replace" leaves alone.
    :raises StorageError: A listed part is not there, or something cannot be moved, removed or written.
    """
    for _ in range(TRIES):
        stored = (destination / manifest_name(manifest.job)).read_stored()
        before = None if stored is None else decode_manifest(stored.data, destination / manifest_name(manifest.job))
        standing, waiting = standing_files(destination), _waiting(destination, manifest.job)
        others = _others(destination, {manifest.job, *beside}, standing) if if_exists == "replace" else {}
        publisher.check()
        moved = _put_in_place(destination, manifest, standing, waiting)
        if before is not None and _is_same(before, manifest):
            manifest = before
        elif not _replace_manifest(destination, manifest, None if stored is None else stored.version):
            _check_or_take_back(destination, manifest.job, moved, publisher)
            continue
        _remove_obsolete(destination, manifest, before, publisher.attempt, standing, waiting)
        for job in others:
            _remove_other(destination, job, others[job])
        for name in standing if others else ():
            if replaced_job(finished_name(name) or "") in others:  # its writer was killed
                (destination / name).delete()
        return manifest
    raise StorageError(
        f"{destination / manifest_name(manifest.job)}: others have changed it again and again while it was to be "
        "replaced; nothing of the table that stands was touched."
    )


def part_location(destination: Location, job: str, name: str) -> Location:
    """Return where a part of a job stands: in its place, or where it waits for it."""
    waits = destination / landing_name(job, name)
    return waits if waits.exists() else destination / name


def withdraw(destination: Location, job: str, parts: Collection[str], unreadable: str | None) -> None:
    """Remove what an attempt has landed and nobody lists, since a later attempt had taken the job over."""
    for name in parts:
        remove_part(destination, landing_name(job, name))
    if unreadable is not None:
        (destination / unreadable).delete()


def _waiting(destination: Location, job: str) -> set[str]:
    """Return the files of the landing folder, relative to it."""
    return standing_files(destination / landing_folder(job))


def _put_in_place(destination: Location, manifest: Manifest, standing: set[str], waiting: set[str]) -> list[str]:
    job, listed = manifest.job, {part.name for part in manifest.parts}
    ready = {part for name in waiting if (part := landed_part(name)) is not None}
    if missing := sorted(listed - standing - ready):
        raise StorageError(f"{destination / missing[0]}: expected a part of the table, found nothing; land it again.")
    due = sorted(listed & ready)
    move_files([(destination / landing_name(job, name), destination / name) for name in due])
    return due


def _is_same(before: Manifest, manifest: Manifest) -> bool:
    """Return whether a manifest says what the one before it says; the moment is not what it is about."""
    alike = {"created_at": before.created_at, "package_version": before.package_version}
    return msgspec.structs.replace(manifest, **alike) == before


def _replace_manifest(destination: Location, manifest: Manifest, version: str | None) -> bool:
    return (destination / manifest_name(manifest.job)).write_if(encode_manifest(manifest), version, keeps_lock=False)


def _check_or_take_back(destination: Location, job: str, moved: Collection[str], publisher: Publisher) -> None:
    """Take parts back where a later attempt has taken the job over; an attempt that goes on needs them in place."""
    try:
        publisher.check()
    except BaseException:
        _take_back(destination, job, moved, publisher)
        raise


def _take_back(destination: Location, job: str, moved: Collection[str], publisher: Publisher) -> None:
    """Remove parts that were moved to their places, but for those that others list: the manifest, or the ledger."""
    location = destination / manifest_name(job)
    kept = set(publisher.landed()) if moved else set()
    stored = location.read_stored()
    listed = set() if stored is None else {part.name for part in decode_manifest(stored.data, location).parts}
    for name in moved:
        if name not in listed | kept:
            remove_part(destination, name)


def _remove_obsolete(
    destination: Location,
    manifest: Manifest,
    before: Manifest | None,
    attempt: Attempt,
    standing: set[str],
    waiting: set[str],
) -> None:
    """Remove what is no part of the table any more, by the names that stood there before the manifest was replaced."""
    job = manifest.job
    kept = {part.name for part in manifest.parts} | set(manifest.unreadable)
    replaced = {*(part.name for part in before.parts), *before.unreadable} if before is not None else set()
    for name in sorted(standing - kept):
        if _is_own(name, job) and (name in replaced or attempt_of(finished_name(name) or name) <= attempt):
            remove_part(destination, name)
    for name in sorted(waiting):
        part = landed_part(_finished(name))
        if part is None or attempt_of(part) <= attempt:
            remove_part(destination, f"{landing_folder(job)}/{name}")
    if destination.is_local:
        (destination / landing_folder(job)).remove_if_empty()
    files = set() if before is None else {name.rpartition("/")[2] for name in before.files}
    _remove_files(destination, job, manifest.files, files, attempt.generation)


def _is_own(name: str, job: str) -> bool:
    """Whether a file is a part of the job, lines that it kept, or what a killed writer of it left."""
    finished = _finished(name)
    part = parse_part_name(finished)
    if part is not None:
        return part.job == job
    is_temporary = finished != name
    return unreadable_job(finished) == job or (is_temporary and finished in (manifest_name(job), probe_name(job)))


def _finished(name: str) -> str:
    """Return the name that a file would have got had its writer not been killed."""
    folder, _, last = name.rpartition("/")
    return f"{folder}/{finished_name(last) or last}".lstrip("/")


def _remove_files(
    destination: Location, job: str, kept: Collection[str], replaced: Collection[str], generation: int
) -> None:
    """
    Remove a job's folders of images and videos that are not listed.

    :param replaced: Names of folders that were listed before.
    :param generation: That of the attempt: folders of later ones are left alone unless they were listed before.
    """
    root = files_root(job)
    if root not in destination.list_folders():
        return
    for name in (destination / root).list_folders():
        folder = destination / root / name
        if f"{root}/{name}" in kept:
            _remove_temporary(folder)
        elif name in replaced or files_generation(name) <= generation:
            folder.remove_folder()
    if destination.is_local and not kept:
        (destination / root).remove_if_empty()


def _remove_temporary(folder: Location) -> None:
    for name in folder.list() if not is_object_store(folder.fs) else ():
        if finished_name(name) is not None:
            (folder / name).delete()


def _others(destination: Location, kept: Collection[str], standing: set[str]) -> dict[str, bytes | None]:
    """
    Return the manifests of the tables that are to be removed, by job; None for one whose removal has begun before.

    :raises StorageError: One cannot be read, or is no manifest.
    """
    found: dict[str, bytes | None] = {job: None for name in standing if (job := replaced_job(name)) is not None}
    for name in standing:
        job = manifest_job(name)
        if job is not None and job not in kept and (data := (destination / name).read_or_none()) is not None:
            decode_manifest(data, destination / name)
            found[job] = data
    return found


def _remove_other(destination: Location, job: str, manifest: bytes | None) -> None:
    """
    Remove another job's table: its manifest before the parts that it lists, so that none says what is not true.

    Its copy under another name, written before, tells a second call what is left to remove. A manifest that its job has
    published since is another table than the one that was to be replaced: it stands, and so do the parts that it lists.
    """
    if manifest is not None:
        (destination / replaced_name(job)).write(manifest)
        if (destination / manifest_name(job)).read_or_none() == manifest:
            (destination / manifest_name(job)).delete()
    _remove_replaced(destination, job)


def _remove_replaced(destination: Location, other: str) -> None:
    """Remove what a replaced manifest lists, but for what its job may have published anew since."""
    location = destination / replaced_name(other)
    manifest, now = read_manifest(location), read_manifest(destination / manifest_name(other))
    if manifest is None:
        return
    listed = {part.name for part in now.parts} | set(now.unreadable) if now is not None else set()
    for part in manifest.parts:
        # A manifest is a file that anyone can write: it is not believed about files of any other kind.
        parsed = parse_part_name(part.name)
        if parsed is not None and parsed.job == other and part.name not in listed:
            remove_part(destination, part.name)
    for name in manifest.unreadable:
        if unreadable_job(name) == other and name not in listed:
            (destination / name).delete()
    if manifest.files:
        folders = {name.rpartition("/")[2] for name in manifest.files}
        _remove_files(destination, other, () if now is None else now.files, folders, manifest.generation)
    location.delete()
