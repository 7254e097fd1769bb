"""
Files of the local disk: temporary names of unfinished files, durable renames, and locks between processes.

A writer that is killed leaves a temporary file and possibly a lock file. The operating system releases the lock of a
process that ends, and `remove_unfinished` deletes temporary files.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

#: Seconds to wait for another process that holds the lock of a folder.
LOCK_PATIENCE = 30.0
#: Name of an unfinished file: a dot, the final name, 8 hex digits, ``.tmp``.
_UNFINISHED = re.compile(r"\.(.+)\.[0-9a-f]{8}\.tmp")


def unfinished_name(name: str) -> str:
    """
    Return a new temporary name for a file that is being written.

    :param name: Name of the file once it is finished.
    """
    return f".{name}.{uuid.uuid4().hex[:8]}.tmp"


def finished_name(name: str) -> str | None:
    """
    Return the final name of an unfinished file, or None where a name is not temporary.

    :param name: Name of a file, without its folder.
    """
    found = _UNFINISHED.fullmatch(name)
    return found[1] if found else None


def remove_unfinished(folder: Path, is_wanted: Callable[[str], bool]) -> None:
    """
    Delete the unfinished files of a folder.

    :param folder: Folder of the local disk; an absent one is fine.
    :param is_wanted: Says of a final name whether its unfinished files are deleted.
    """
    for path in folder.glob(".*.tmp"):
        name = finished_name(path.name)
        if name is not None and is_wanted(name):
            path.unlink(missing_ok=True)


def rename(source: str | Path, target: str | Path) -> None:
    """
    Rename a file and sync the target's folder, so that a power failure cannot undo the rename.

    :param source: Path of the file.
    :param target: New path on the same disk; a file there is replaced.
    """
    os.replace(source, target)
    sync(Path(target).parent)


def sync(path: Path) -> None:
    """
    Write a file or a folder through to the disk (`fsync`).

    :param path: The file or folder.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def locked_file(path: Path) -> IO[Any]:
    """
    Open a lock file and take its lock; closing the file releases the lock.

    :param path: The lock file; created where it is absent.
    :raises TimeoutError: Another process has held the lock for `LOCK_PATIENCE` seconds.
    """
    deadline = time.monotonic() + LOCK_PATIENCE
    while True:
        handle = path.open("w")
        try:
            _lock(handle, deadline)
            # The last holder may have deleted the file before it released the lock: then lock the new one.
            if os.path.samestat(os.fstat(handle.fileno()), os.stat(path)):
                return handle
        except FileNotFoundError:
            pass
        except BaseException:
            handle.close()
            raise
        handle.close()


def _lock(handle: IO[Any], deadline: float) -> None:
    """Take the lock, or raise TimeoutError at the deadline: one frozen process must not block all later attempts."""
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise TimeoutError(errno.ETIMEDOUT, "another process has held its lock for too long") from None
            time.sleep(0.01)
        else:
            return
