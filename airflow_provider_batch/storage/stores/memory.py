"""fsspec's store in memory, for tests: a condition holds among the threads of the process."""

from __future__ import annotations

from pathlib import Path

from airflow_provider_batch.storage.stores.object_store import ObjectStore
from airflow_provider_batch.storage.stores.store import Store


class Memory(ObjectStore):
    """Files in the memory of this process, which no other process sees."""

    has_conditions = True
    put_if = Store.put_if

    def upload(self, local: Path, path: str) -> None:
        """
        Copy a finished local file; `put_file` would show a part of it.

        :param local: The local file.
        :param path: Path within the file system.
        """
        self.fs.pipe_file(path, local.read_bytes())
