"""
Move files within one file system: by a rename where the file system has one, else by a copy that the store makes.

On an object store the copy's size is checked before the old file is deleted. A move that was interrupted can be
repeated: a file that is absent from its old place and exists at its new one counts as moved.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from airflow_provider_batch.exceptions import StorageError
from airflow_provider_batch.storage import Location, object_stores
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
        _mover(source)(source, to)
    except FileNotFoundError as error:
        if not to.exists():
            raise StorageError(f"{source}: expected a file to move to {to.name}, found none.") from error
    except StorageError:
        raise
    except Exception as error:
        raise StorageError(f"{source}: cannot move it to {to} ({type(error).__name__}: {error}).") from error
    finally:
        to.fs.invalidate_cache()


def _mover(source: Location) -> Callable[[Location, Location], None]:
    if source.is_local:
        return _rename
    has_folders = not object_stores.is_object_store(source.fs) and "memory" not in source.fs.protocol
    return _rename_remotely if has_folders else _copy


def _rename(source: Location, to: Location) -> None:
    Path(to.path).parent.mkdir(parents=True, exist_ok=True)
    rename(source.path, to.path)


def _rename_remotely(source: Location, to: Location) -> None:
    source.fs.info(source.path)  # not every file system raises FileNotFoundError for a rename
    source.fs.makedirs(to.path.rpartition("/")[0], exist_ok=True)
    source.fs.mv(source.path, to.path)


def _copy(source: Location, to: Location) -> None:
    source.fs.invalidate_cache()
    size = source.fs.info(source.path)["size"]
    source.fs.cp_file(source.path, to.path)
    source.fs.invalidate_cache()
    copied = to.fs.info(to.path)["size"]
    if copied != size:
        raise StorageError(f"{to}: the store has copied {copied:,} of {size:,} bytes of {source}, which is kept.")
    source.delete()
