"""The local disk: a file appears by a rename, and a condition holds among all processes that share the disk's locks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from airflow_provider_batch.storage.local_files import locked_file, remove_unfinished, rename, sync, unfinished_name
from airflow_provider_batch.storage.stores.store import Store, Stored, digest


class Disk(Store):
    """The local disk, or one that is mounted as a folder."""

    has_conditions = True

    def get(self, path: str) -> Stored:
        """
        Return a file's bytes and their SHA-256.

        :param path: Path of the file.
        """
        data = Path(path).read_bytes()
        return Stored(data, digest(data))

    def upload(self, local: Path, path: str) -> None:
        """
        Rename a file of the same folder to its final name.

        :param local: The file under a temporary name.
        :param path: Its final path.
        """
        sync(local)
        rename(local, path)

    @contextmanager
    def locked(self, path: str, keeps_lock: bool) -> Iterator[None]:
        """
        Keep all other processes from writing files of the folder on a condition.

        :param path: A file of the folder.
        :param keeps_lock: Whether the lock file stays.
        :raises TimeoutError: Another process has held the lock for too long.
        """
        lock = Path(path).parent / ".lock"
        lock.parent.mkdir(parents=True, exist_ok=True)
        with locked_file(lock):
            yield
            if not keeps_lock:
                lock.unlink(missing_ok=True)  # before the release: `locked_file` notices that the file was deleted

    def _replace(self, path: str, data: bytes) -> None:
        target = Path(path)
        remove_unfinished(target.parent, lambda name: name == target.name)  # nobody else is writing: the lock is held
        temporary = target.parent / unfinished_name(target.name)
        try:
            temporary.write_bytes(data)
            self.upload(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
