"""
Work files on the local disk, and the disk that has no room for them: an error that names the folder, says what it needs
and how much is free.
"""

from __future__ import annotations

import errno
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from airflow_provider_batch.exceptions import StorageError

#: What a local disk says that has no room left: it is full, a quota is used up, a file is as large as it may be.
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def scratch(purpose: str, needs: str) -> Iterator[Path]:
    """
    Give a local folder for work files; it goes when the block ends.

    :param purpose: What the files are for, as "landing shard r01-s00001".
    :param needs: What there has to be room for.
    :raises StorageError: The local disk has no room for them.
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
    """Return the error for a local file that could not be written."""
    room = f"; {free(path.parent)}: make room, or set TMPDIR to a folder on a larger disk" if is_full(error) else ""
    return StorageError(f"{path}: cannot be written ({_reason(error)}){room}.")


def _reason(error: OSError) -> str:
    return " ".join(str(error).split())


def is_full(error: BaseException) -> bool:
    """Return whether an error says that a disk has no room left."""
    return isinstance(error, OSError) and error.errno in _NO_ROOM


def free(folder: str | Path) -> str:
    """Return how many bytes are free where a folder is, as a phrase."""
    try:
        return f"{shutil.disk_usage(folder).free:,} bytes are free"
    except OSError:
        return "how much is free is not known"
