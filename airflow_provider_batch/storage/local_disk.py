"""
Work files on the local disk, and errors for a full disk: they name the folder, what it needs and how much is free.
"""

from __future__ import annotations

import errno
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from airflow_provider_batch.exceptions import StorageError

#: Error numbers of a local disk without room: the disk is full, the quota is used up, the file has its largest size.
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def scratch(purpose: str, needs: str) -> Iterator[Path]:
    """
    Yield a local folder for work files and remove it when the block ends.

    :param purpose: What the files are for, such as "landing shard r01-s00001"; for the error.
    :param needs: What has to fit into the folder; for the error.
    :raises StorageError: The local disk has no room for the files.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="openai-batch-") as folder:
            yield Path(folder)
    except OSError as error:
        if not is_full(error):
            raise
        raise StorageError(
            f"{tempfile.gettempdir()}: no room for {purpose} ({_reason(error)}). It needs room for {needs}; "
            f"{free(tempfile.gettempdir())}. Make room, or set TMPDIR to a folder on a larger disk."
        ) from error


def not_written(path: Path, error: OSError) -> StorageError:
    """
    Return the error for a local file that could not be written.

    :param path: The file.
    :param error: What the operating system reports.
    """
    room = f"; {free(path.parent)}: make room, or set TMPDIR to a folder on a larger disk" if is_full(error) else ""
    return StorageError(f"{path}: cannot be written ({_reason(error)}){room}.")


def _reason(error: OSError) -> str:
    return " ".join(str(error).split())


def is_full(error: BaseException) -> bool:
    """
    Return whether an error means that a disk has no room left.

    :param error: Any error.
    """
    return isinstance(error, OSError) and error.errno in _NO_ROOM


def free(folder: str | Path) -> str:
    """
    Return how many bytes the disk of a folder has free, as a phrase for messages.

    :param folder: Local folder.
    """
    try:
        return f"{shutil.disk_usage(folder).free:,} bytes are free"
    except OSError:
        return "the free space is not known"
