"""
What the package needs of a store; a subclass for each kind says how it does it.

The class itself serves any fsspec file system with folders that is not known otherwise (SFTP, HDFS …): a condition is
checked and then written, which holds among the threads of this process.
"""

from __future__ import annotations

import hashlib
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, ClassVar

from fsspec.spec import AbstractFileSystem

from airflow_provider_batch.storage.local_files import unfinished_name

_in_process = threading.Lock()


@dataclass(frozen=True)
class Stored:
    """
    The content of a file and its version.

    :param data: Bytes of the whole file.
    :param version: What changes with the content: S3's and Azure's ETag, the generation of Google Cloud Storage,
        elsewhere the SHA-256 of the bytes.
    """

    data: bytes
    version: str


class Put(Enum):
    """The result of a conditional write or deletion that the store has answered."""

    DONE = "done"
    LOST = "lost"
    CONFLICT = "conflict"
    NO_CONDITIONS = "no conditions"


class Meaning(Enum):
    """What an error of a store means, whatever words the store has for it."""

    NO_CONTAINER = "no such bucket or container"
    DENIED = "the credentials are wrong, or lack the permission"
    EXPIRED = "the credentials have expired"
    LOST = "the condition of the write is not met"
    CONFLICT = "another write is in progress"
    NO_CONDITIONS = "the store knows no conditions"


class NoContainerError(OSError):
    """The bucket or container of a path does not exist."""


class Store:
    """
    A file system with folders that has no conditional writes.

    :param fs: fsspec file system.
    """

    #: What the store calls the first part of a path.
    container: ClassVar[str] = "bucket"
    #: Whether files are in folders that exist, and an unfinished upload is visible, so that it needs another name.
    has_folders: ClassVar[bool] = True
    #: Whether a condition holds among the writers of all machines.
    has_conditions: ClassVar[bool] = False
    #: The store's own code of an error → what it means.
    meanings: ClassVar[Mapping[str, Meaning]] = {}
    #: Arguments of `put_file` and of `get_file` that bound the bytes in memory.
    upload_options: ClassVar[Mapping[str, Any]] = {}
    download_options: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, fs: AbstractFileSystem) -> None:
        self.fs = fs

    @staticmethod
    def code(error: BaseException) -> str | None:
        """
        Return the code of the store's response behind an error, None where the error is not of this store's client.

        :param error: Any error.
        """
        return None

    def get(self, path: str) -> Stored:
        """
        Return a file's bytes with the version that belongs to them.

        :param path: Path within the file system.
        :raises FileNotFoundError: The file does not exist; `check_container` says whether its container does.
        """
        data = bytes(self.fs.cat_file(path))
        return Stored(data, digest(data))

    def put_if(self, path: str, data: bytes, version: str | None, *, keeps_lock: bool = True) -> Put:
        """
        Write a file if it has not changed.

        `Put.LOST` can also be the answer to a write that was made: its response was lost, and the client library has
        repeated it. An error that is no refusal leaves it open whether the file was written.

        :param path: Path within the file system.
        :param data: Content of the file.
        :param version: Version from `get`; None means that no file may exist.
        :param keeps_lock: Whether the lock file of a local folder stays; other stores have none.
        """
        with self.locked(path, keeps_lock):
            if self._version(path) != version:
                return Put.LOST
            self._replace(path, data)
            return Put.DONE

    def delete_if(self, path: str, version: str) -> Put:
        """
        Delete a file if it has not changed; an absent file is fine.

        :param path: Path within the file system.
        :param version: Version from `get`.
        """
        with self.locked(path, keeps_lock=False):
            current = self._version(path)
            if current is not None and current != version:
                return Put.LOST
            if current is not None:
                self.fs.rm_file(path)
            return Put.DONE

    def upload(self, local: Path, path: str) -> None:
        """
        Copy a finished local file to the store, so that it appears whole.

        :param local: The local file.
        :param path: Path within the file system.
        """
        folder, _, name = path.rstrip("/").rpartition("/")
        self.fs.makedirs(folder, exist_ok=True)
        uploaded = f"{folder}/{unfinished_name(name)}"
        self.fs.put_file(str(local), uploaded)
        try:
            self.fs.mv(uploaded, path)
        except Exception:  # no rename onto an existing file: deleting it first would make readers believe it is absent
            self.fs.put_file(str(local), path)
            self.fs.rm_file(uploaded)

    def download(self, path: str, local: Path) -> None:
        """
        Copy a file to the local disk.

        :param path: Path within the file system.
        :param local: The local file to write.
        """
        self.fs.get_file(path, str(local), **self.download_options)

    def entries(self, path: str) -> Sequence[Mapping[str, Any]]:
        """
        Return the files and folders directly in a folder, as fsspec lists them: ``name``, ``type``.

        :param path: Path within the file system.
        """
        listed: Sequence[Mapping[str, Any]] = self.fs.ls(path, detail=True)
        return listed

    def move(self, source: str, to: str) -> None:
        """
        Move a file.

        :param source: Path of the file.
        :param to: New path; no file may exist there.
        :raises FileNotFoundError: The file does not exist.
        """
        self.fs.info(source)  # not every file system raises FileNotFoundError for a rename
        self.fs.makedirs(to.rpartition("/")[0], exist_ok=True)
        self.fs.mv(source, to)

    @contextmanager
    def locked(self, path: str, keeps_lock: bool) -> Iterator[None]:
        """
        Keep other writers out between reading and writing: those of this process.

        :param path: The file that is written.
        :param keeps_lock: Whether the lock file of a local folder stays.
        """
        with _in_process:
            yield

    def check_container(self, path: str) -> None:
        """
        Raise where the store says that the bucket or container of a path does not exist.

        :param path: Path within the file system.
        :raises NoContainerError: It does not exist.
        """

    def check_absent(self, path: str, error: FileNotFoundError) -> None:
        """
        Raise where an error does not mean that a file is absent: its bucket or container does not exist.

        :param path: Path within the file system.
        :param error: What the file system has raised.
        :raises NoContainerError: The bucket or container does not exist.
        """

    def _version(self, path: str) -> str | None:
        """Return the version of the current file, None where it is absent."""
        try:
            return self.get(path).version
        except FileNotFoundError:
            return None

    def _replace(self, path: str, data: bytes) -> None:
        with tempfile.NamedTemporaryFile(prefix="openai-batch-") as file:
            file.write(data)
            file.flush()
            self.upload(Path(file.name), path)


def digest(data: bytes) -> str:
    """
    Return the version of a file in a store that has none: the SHA-256 of its bytes.

    :param data: The bytes.
    """
    return hashlib.sha256(data).hexdigest()


def protocols(fs: AbstractFileSystem) -> set[str]:
    """
    Return the schemes of a file system.

    :param fs: fsspec file system.
    """
    return {fs.protocol} if isinstance(fs.protocol, str) else set(fs.protocol)
