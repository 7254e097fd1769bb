"""
Whole files on any fsspec file system: read, write, list, delete.

A file appears whole or not at all. On a local disk it is renamed within its folder; on an object store one upload of a
finished local file makes it visible at its end; on any other file system it is uploaded under a temporary name and
renamed. Where such a file system cannot rename onto an existing file, a reader may see a half-written file while it is
replaced, but never an absent one. "The file is absent" and "the file could not be read" are different results; an
absent bucket is the second one.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Self

from fsspec.implementations.local import LocalFileSystem
from fsspec.spec import AbstractFileSystem

from airflow_provider_batch.storage.errors import storage_errors
from airflow_provider_batch.storage.local_files import unfinished_name
from airflow_provider_batch.storage.stores import Store, store_of


@dataclass(frozen=True)
class WholeFile:
    """
    A file or a folder that is read and written whole.

    :param uri: URI that messages show.
    :param fs: fsspec file system.
    :param path: Path within the file system.
    """

    uri: str
    fs: AbstractFileSystem
    path: str

    def __truediv__(self, name: str) -> Self:
        return replace(self, uri=f"{self.uri.rstrip('/')}/{name}", path=f"{self.path.rstrip('/')}/{name}")

    def __str__(self) -> str:
        return self.uri

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rstrip("/").rpartition("/")[2]

    @property
    def is_local(self) -> bool:
        """Whether this is a path of the local disk."""
        return isinstance(self.fs, LocalFileSystem)

    @property
    def store(self) -> Store:
        """How the file system is read and written."""
        return store_of(self.fs)

    def at(self, path: str) -> Self:
        """
        Return another path of the same file system, with a URI that matches it.

        :param path: Path within the file system.
        """
        head = self.uri.partition("://")
        uri, own = self.uri.rstrip("/"), self.path.strip("/")
        base = uri[: -len(own)] if own and uri.endswith(own) else (head[0] + head[1] if head[1] else "")
        return replace(self, uri=base + (path.lstrip("/") if base else path), path=path)

    def exists(self) -> bool:
        """
        Return whether a file or a folder exists.

        :raises StorageError: The file system does not say so: no access, no connection, no such bucket.
        """
        with self._errors("check"):
            self.fs.invalidate_cache()
            try:
                self.fs.info(self.path)  # `fs.exists` answers "no" to every failure
            except FileNotFoundError as error:
                self.store.check_absent(self.path, error)
                return False
            return True

    def read_or_none(self) -> bytes | None:
        """
        Return the file's bytes, or None where the file is certainly absent.

        :raises StorageError: The file cannot be read.
        """
        with self._errors("read"):
            self.fs.invalidate_cache()
            try:
                return self.store.get(self.path).data
            except FileNotFoundError as error:
                self.store.check_absent(self.path, error)
                return None

    def open(self) -> IO[bytes]:
        """
        Open the file for reading, on remote file systems in blocks of 8 MB.

        :raises StorageError: The file is absent or cannot be opened.
        """
        with self._errors("read"):
            opened: IO[bytes] = self.fs.open(self.path, "rb", **({} if self.is_local else {"block_size": 8 << 20}))
            return opened

    def write(self, data: bytes) -> None:
        """
        Write the file whole; an existing file is replaced.

        :param data: Content of the file.
        :raises StorageError: The file cannot be written.
        """
        with self.writing() as temporary, self._errors("write"):
            temporary.write_bytes(data)

    @contextmanager
    def writing(self) -> Iterator[Path]:
        """
        Yield a local path to write to; the file appears here, whole, when the block ends without an error.

        :raises StorageError: The file cannot be written.
        """
        with self._errors("write"):
            folder = None
            if self.is_local:
                parent = Path(self.path).parent
                parent.mkdir(parents=True, exist_ok=True)
                temporary = parent / unfinished_name(self.name)
            else:
                folder = tempfile.mkdtemp(prefix="openai-batch-")
                temporary = Path(folder, self.name)
        try:
            yield temporary
            with self._errors("write"):
                self._publish(temporary)
        finally:
            temporary.unlink(missing_ok=True)
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)

    def put(self, local: Path) -> None:
        """
        Copy a finished local file here, whole.

        :param local: The local file; it is kept.
        :raises StorageError: The file cannot be written.
        """
        if self.is_local:
            with self.writing() as temporary, self._errors("write"):
                shutil.copyfile(local, temporary)
            return
        with self._errors("write"):
            self._publish(local)

    @contextmanager
    def as_local(self) -> Iterator[Path]:
        """
        Yield a local path with the file's content: the file itself, or a copy that is deleted when the block ends.

        :raises StorageError: The file cannot be read.
        """
        if self.is_local:
            with self._errors("read"):
                Path(self.path).stat()
            yield Path(self.path)
            return
        with tempfile.TemporaryDirectory(prefix="openai-batch-") as folder:
            copy = Path(folder, self.name)
            with self._errors("read"):
                self.store.download(self.path, copy)
            yield copy

    def list(self) -> Sequence[str]:
        """
        Return the sorted names of the files directly in this folder; empty where the folder is absent.

        :raises StorageError: The folder cannot be listed.
        """
        return self._entries("file")

    def list_folders(self) -> Sequence[str]:
        """
        Return the sorted names of the folders directly in this folder; empty where the folder is absent.

        :raises StorageError: The folder cannot be listed.
        """
        return self._entries("directory")

    def _entries(self, kind: str) -> Sequence[str]:
        with self._errors("list"):
            self.fs.invalidate_cache()
            try:
                entries = self.store.entries(self.path)
            except FileNotFoundError as error:
                self.store.check_absent(self.path, error)
                return []
            own = self.path.rstrip("/")
            names = (str(entry["name"]).rstrip("/") for entry in entries if entry.get("type") == kind)
            return sorted(name.rpartition("/")[2] for name in names if name != own)

    def delete(self) -> None:
        """
        Delete the file; an absent file is fine.

        :raises StorageError: The file cannot be deleted.
        """
        with self._errors("delete"):
            try:
                self.fs.rm_file(self.path)
            except FileNotFoundError:
                return

    def remove_if_empty(self) -> bool:
        """Delete the folder of the local disk if it is empty, and return whether it is absent afterwards."""
        try:
            os.rmdir(self.path)
        except FileNotFoundError:
            return True
        except OSError:
            return False
        return True

    def remove_folder(self) -> None:
        """
        Delete the folder with everything in it; an absent folder is fine.

        :raises StorageError: The folder cannot be deleted.
        """
        with self._errors("delete"):
            self.fs.invalidate_cache()
            try:
                self.fs.rm(self.path, recursive=True)
            except FileNotFoundError as error:
                self.store.check_absent(self.path, error)
            self.fs.invalidate_cache()

    def _publish(self, temporary: Path) -> None:
        self.store.upload(temporary, self.path)
        if not self.is_local:
            self.fs.invalidate_cache()

    @contextmanager
    def _errors(self, verb: str) -> Iterator[None]:
        disk = Path(self.path).parent if self.is_local else tempfile.gettempdir()
        with storage_errors(self.uri, verb, disk):
            try:
                yield
            except FileNotFoundError as error:
                self.store.check_absent(self.path, error)
                raise
