"""
Places on any fsspec file system, and writes on a condition.

`Location.write_if` replaces a file only if it has not changed since the caller read it, or creates it only if it is
absent:

| store | with several writers at once |
|---|---|
| S3, and stores like it with conditional writes | one writer succeeds on all machines (`If-Match`, `If-None-Match`) |
| local disk | one writer succeeds among the processes of all machines that share its locks (`flock`) |
| in memory | one writer succeeds among the threads of the process |
| other object stores | the same; where fsspec has mode "create", one writer creates the file on all machines |
| any other | one writer succeeds among the threads of the process |

Where processes are not kept apart and both read before either wrote, the later write replaces the earlier one. A store
that answers conditions with "not implemented", or that ignores them, counts as "any other".
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import fsspec

from airflow_provider_batch.exceptions import ConfigurationError, StorageError
from airflow_provider_batch.storage import object_stores
from airflow_provider_batch.storage.errors import check_absent, reason
from airflow_provider_batch.storage.local_files import locked_file, remove_unfinished
from airflow_provider_batch.storage.object_stores import Put
from airflow_provider_batch.storage.whole_files import WholeFile

#: Turns a URI into a file system and a path in it. The Airflow classes pass one that knows Airflow's connections.
Resolver = Callable[[str], "Location"]

#: Seconds between tries of a conditional write that conflicts with another write.
_CONFLICT_PAUSES = (0.1, 0.2, 0.4, 0.8, 1.6)

_in_process = threading.Lock()


@dataclass(frozen=True)
class Stored:
    """
    The content of a file and its version.

    :param data: Bytes of the whole file.
    :param version: What changes with the content: S3's ETag, elsewhere the SHA-256 of the bytes.
    """

    data: bytes
    version: str


class Location(WholeFile):
    """A file or a folder, see `WholeFile`; its files have versions and can be written on a condition."""

    def read_stored(self) -> Stored | None:
        """
        Return the file's bytes with the version that `write_if` takes, or None where the file is certainly absent.

        :raises StorageError: The file cannot be read.
        """
        if not object_stores.is_s3(self.fs):
            data = self.read_or_none()
            return None if data is None else Stored(data, _digest(data))
        with self._errors("read"):
            try:
                return Stored(*object_stores.get(self.fs, self.path))
            except FileNotFoundError as error:
                check_absent(error)
                return None

    def write_if(self, data: bytes, version: str | None, *, keeps_lock: bool = True) -> bool:
        """
        Write the file whole if it has not changed meanwhile, and return whether it was written.

        :param data: Content that no other writer would write: a file with this content counts as written by this call,
            since S3 refuses the second try of a write whose response was lost.
        :param version: Version from `read_stored`; None means that no file may exist.
        :param keeps_lock: Whether the lock file of a local folder is kept. It is not kept where release 0.1 uses the
            folder too.
        :raises StorageError: The file cannot be written.
        """
        if object_stores.is_s3(self.fs):
            return self._write_if_on_s3(data, version)
        with self._locked(keeps_lock):
            if self._version() != version:
                return False
            if version is None and (self._is_in_memory or object_stores.is_object_store(self.fs)):
                return self._create(data)
            self._remove_unfinished()
            self.write(data)
            return True

    def remove_left_overs(self, is_wanted: Callable[[str], bool]) -> None:
        """
        Delete the unfinished files that killed writers have left in this folder of the local disk.

        The lock of the folder is held meanwhile, so that `write_if` is not writing any of them.

        :param is_wanted: Says of a final name whether only `write_if` writes such files; other unfinished files are
            kept.
        """
        if self.is_local:
            with (self / "any")._locked():
                remove_unfinished(Path(self.path), is_wanted)

    def _remove_unfinished(self) -> None:
        """Delete the unfinished copies of this file; its lock is held, so no other process is writing it."""
        if self.is_local:
            remove_unfinished(Path(self.path).parent, lambda name: name == self.name)

    def _version(self) -> str | None:
        """Return the version of the current file, None where it is absent."""
        with self._errors("read"):
            try:
                data = Path(self.path).read_bytes() if self.is_local else bytes(self.fs.cat_file(self.path))
            except FileNotFoundError:
                return None
            return _digest(data)

    def _create(self, data: bytes) -> bool:
        """Create an object, on the condition that it is absent where fsspec has that."""
        try:
            self.fs.pipe_file(self.path, data, mode="create")
        except Exception as error:
            current = self.read_or_none()
            if current is None and not isinstance(error, TypeError | ValueError | NotImplementedError):
                raise StorageError(f"{self}: cannot write it ({reason(error)}).") from error
            if current is None:
                self.write(data)
            return current is None or current == data
        self.fs.invalidate_cache()
        return True

    def _write_if_on_s3(self, data: bytes, version: str | None) -> bool:
        for pause in (*_CONFLICT_PAUSES, None):
            with self._errors("write"):
                put = object_stores.put_if(self.fs, self.path, data, version)
            if put is Put.WRITTEN:
                return True
            stored = self.read_stored()
            if stored is not None and stored.data == data:
                return True  # this call wrote it: the response to its first try was lost
            if put is Put.LOST or (None if stored is None else stored.version) != version:
                return False
            if put is Put.NO_CONDITIONS:
                self.write(data)
                return True
            if pause is not None:
                time.sleep(pause)
        tries = len(_CONFLICT_PAUSES) + 1
        problem = f"in {tries} tries the store has reported that another process is writing it"
        raise StorageError(f"{self}: cannot write it ({problem}).")

    @contextmanager
    def _locked(self, keeps_lock: bool = True) -> Iterator[None]:
        """
        Keep other writers out between reading and writing: by a lock file on a local disk, else within this process.
        """
        if not self.is_local:
            with _in_process:
                yield
            return
        path = Path(self.path).parent / ".lock"
        with self._errors("lock"):
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = locked_file(path)
        with handle:
            yield
            if not keeps_lock:
                path.unlink(missing_ok=True)  # before the release: `locked_file` notices that the file was deleted


def resolve(uri: str) -> Location:
    """
    Resolve a URI or a plain path by fsspec alone, without Airflow's connections.

    :param uri: URI, or a path of the local disk.
    :raises ConfigurationError: No file system is known or installed for the scheme, or the URI lacks something.
    :raises StorageError: The file system cannot be reached.
    """
    try:
        fs, path = fsspec.core.url_to_fs(uri)
    except (ImportError, ValueError, TypeError) as error:
        raise ConfigurationError(f"{uri}: no file system for this address ({error}).") from error
    except Exception as error:  # some file systems connect at once and raise the errors of their client
        raise StorageError(f"{uri}: its file system cannot be reached ({reason(error)}).") from error
    return Location(uri, fs, path)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
