"""
Files that change their place within one file system: a rename where there is one, else a copy made by the store.

On an object store the copy is checked by its size before the old file goes. Stopped anywhere, the same move again ends
the same way: a file that is gone from its old place and stands at its new one has been moved.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from airflow_provider_batch.exceptions import StorageError
from airflow_provider_batch.storage import Location, object_stores

#: Files that a store is asked to copy at a time.
AT_ONCE = 8


def move_files(moves: Sequence[tuple[Location, Location]]) -> None:
    """
    Move files, each from the first place to the second, which no other file may have.

    :raises StorageError: One stands at neither place, or cannot be moved; others may have been.
    """
    if not moves or moves[0][0].is_local:
        for source, to in moves:
            move_file(source, to)
        return
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="openai-batch-moves") as pool:
        started = [pool.submit(move_file, source, to) for source, to in moves]
        try:
            for future in started:
                future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def move_file(source: Location, to: Location) -> None:
    """Move one file; see `move_files`."""
    try:
        _way(source)(source, to)
    except FileNotFoundError as error:
        if not to.exists():
            raise StorageError(f"{source}: expected a file to move to {to.name}, found nothing.") from error
    except StorageError:
        raise
    except Exception as error:
        raise StorageError(f"{source}: cannot move it to {to} ({type(error).__name__}: {error}).") from error
    finally:
        to.fs.invalidate_cache()


def _way(source: Location) -> Callable[[Location, Location], None]:
    if source.is_local:
        return _rename
    has_folders = not object_stores.is_object_store(source.fs) and "memory" not in source.fs.protocol
    return _rename_remotely if has_folders else _copy


def _rename(source: Location, to: Location) -> None:
    folder = Path(to.path).parent
    folder.mkdir(parents=True, exist_ok=True)
    os.replace(source.path, to.path)
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)  # without it a power failure can undo the rename
    finally:
        os.close(handle)


def _rename_remotely(source: Location, to: Location) -> None:
    source.fs.info(source.path)  # not every file system says it of a rename
    source.fs.makedirs(to.path.rpartition("/")[0], exist_ok=True)
    source.fs.mv(source.path, to.path)


def _copy(source: Location, to: Location) -> None:
    source.fs.invalidate_cache()
    size = source.fs.info(source.path)["size"]
    source.fs.cp_file(source.path, to.path)
    source.fs.invalidate_cache()
    copied = to.fs.info(to.path)["size"]
    if copied != size:
        raise StorageError(f"{to}: the store has copied {copied:,} of {size:,} bytes of {source.name}.")
    source.delete()
