"""
Move files within one file system: by a rename where the file system has one, else by a copy that the store makes.

On an object store the copy's size is checked before the old file is deleted. A move that was interrupted can be
repeated: a file that is absent from its old place and exists at its new one counts as moved.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from airflow_provider_batch.exceptions import StorageError
from airflow_provider_batch.storage import Location
from airflow_provider_batch.storage.errors import reason
from airflow_provider_batch.storage.local_files import rename
from airflow_provider_batch.storage.parallel import call_in_threads

#: Files that are moved at the same time on a remote file system.
AT_ONCE = 8


def move_files(moves: Sequence[tuple[Location, Location]]) -> None:
    """
    Move files.

    :param moves: For each file its old and its new place; no file may exist at the new place.
    :raises StorageError: A file exists at neither place, or cannot be moved; other files may have been moved.
    """
    if not moves or moves[0][0].is_local:
        for source, to in moves:
            move_file(source, to)
        return
    call_in_threads(lambda move: move_file(*move), moves, threads=AT_ONCE, name="openai-batch-moves")


def move_file(source: Location, to: Location) -> None:
    """
    Move one file; see `move_files`.

    :param source: Old place.
    :param to: New place, on the same file system.
    :raises StorageError: The file exists at neither place, or cannot be moved.
    """
    try:
        _move(source, to)
    except FileNotFoundError as error:
        if not to.exists():
            raise StorageError(f"{source}: expected a file to move to {to.name}, found none.") from error
    except StorageError:
        raise
    except Exception as error:
        raise StorageError(f"{source}: cannot move it to {to} ({reason(error)}).") from error
    finally:
        to.fs.invalidate_cache()


def _move(source: Location, to: Location) -> None:
    if source.is_local:
        Path(to.path).parent.mkdir(parents=True, exist_ok=True)
        rename(source.path, to.path)
        return
    source.fs.invalidate_cache()
    source.store.move(source.path, to.path)
