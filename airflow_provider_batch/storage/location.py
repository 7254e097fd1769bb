"""
The one seam to storage: read, write whole, list, delete, on any fsspec file system.

A file appears whole or not at all: on a local disk by a rename within its folder, on an object store by one upload of
a finished local file, which shows only at its end, on any other file system by an upload beside it and a rename; where
such a one cannot rename onto a file, a reader may find half of a file that is being replaced, and never none. "It is
not there" and "it could not be read" are different answers; a bucket that does not exist is the second one.

`Location.write_if` replaces a file only while it is what the caller read, or creates it only while there is none:

| store | of several writers at once |
|---|---|
| S3, and compatible stores with conditional writes | one wins, wherever they run (`If-Match`, `If-None-Match`) |
| local disk | one wins among the processes of all machines that share its locks (`flock`) |
| in memory | one wins among the threads of the process |
| other object stores | one wins among the threads of the process, and one creates wherever fsspec can say "create" |
| any other | one wins among the threads of the process |

Where processes are not held apart, the later write stands if both had looked before either wrote.
A store that answers conditions with "not implemented", or that ignores them, is one of the others.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import shutil
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import fsspec
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.spec import AbstractFileSystem

from airflow_provider_batch.exceptions import ConfigurationError, StorageError
from airflow_provider_batch.storage import object_stores
from airflow_provider_batch.storage.local_disk import free, is_full
from airflow_provider_batch.storage.object_stores import Put

#: Turns a URI into a file system and a path in it. The Airflow face passes one that knows Airflow's connections.
Resolver = Callable[[str], "Location"]

#: Seconds to wait for another process that holds the lock of a local file.
LOCK_PATIENCE = 30.0
#: Name of what a writer that was killed leaves on a local disk.
_TEMPORARY = re.compile(r"\.(.+)\.[0-9a-f]{8}\.tmp")
#: Seconds between tries of a write that met another one.
_CONFLICT_PAUSES = (0.1, 0.2, 0.4, 0.8, 1.6)

_in_process = threading.Lock()


@dataclass(frozen=True)
class Stored:
    """A file's content, and what changes with it: S3's ETag, elsewhere a hash."""

    data: bytes
    version: str


@dataclass(frozen=True)
class Location:
    """A file or a folder: the URI that messages show, and where that is."""

    uri: str
    fs: AbstractFileSystem
    path: str

    def __truediv__(self, name: str) -> Location:
        return Location(f"{self.uri.rstrip('/')}/{name}", self.fs, f"{self.path.rstrip('/')}/{name}")

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
    def _is_in_memory(self) -> bool:
        return isinstance(self.fs, MemoryFileSystem)

    def at(self, path: str) -> Location:
        """Return another path of the same file system, with a URI that matches it."""
        head = self.uri.partition("://")
        uri, own = self.uri.rstrip("/"), self.path.strip("/")
        base = uri[: -len(own)] if own and uri.endswith(own) else (head[0] + head[1] if head[1] else "")
        return Location(base + (path.lstrip("/") if base else path), self.fs, path)

    def exists(self) -> bool:
        """Return whether something stands there; raise StorageError where that cannot be told."""
        with _io(self, "look at"):
            self.fs.invalidate_cache()
            try:
                self.fs.info(self.path)  # `fs.exists` answers "no" to every failure
            except FileNotFoundError as error:
                return _check_absent(error)
            return True

    def read_or_none(self) -> bytes | None:
        """Return the file's bytes, or None if it is surely absent; raise StorageError for anything in between."""
        if object_stores.is_s3(self.fs):
            stored = self.read_stored()
            return None if stored is None else stored.data
        with _io(self, "read"):
            self.fs.invalidate_cache()
            try:
                return bytes(self.fs.cat_file(self.path))
            except FileNotFoundError:
                return None

    def read_stored(self) -> Stored | None:
        """Like `read_or_none`, with the version that `write_if` asks for."""
        if not object_stores.is_s3(self.fs):
            data = self.read_or_none()
            return None if data is None else Stored(data, _digest(data))
        with _io(self, "read"):
            try:
                return Stored(*object_stores.get(self.fs, self.path))
            except FileNotFoundError as error:
                _check_absent(error)
                return None

    def open(self) -> IO[bytes]:
        """Open for reading, in blocks of 8 MB where the file system is remote; raise StorageError."""
        with _io(self, "read"):
            opened: IO[bytes] = self.fs.open(self.path, "rb", **({} if self.is_local else {"block_size": 8 << 20}))
            return opened

    def write(self, data: bytes) -> None:
        """Write the file whole, replacing what stands there."""
        with self.writing() as temporary, _io(self, "write"):
            temporary.write_bytes(data)

    def write_if(self, data: bytes, version: str | None, *, keeps_lock: bool = True) -> bool:
        """
        Write the file whole unless it has changed meanwhile, and return whether it was written.

        :param data: Something that no other writer would write: a content that stands there already counts as ours,
            since S3 refuses the second try of a write whose answer was lost.
        :param version: What `read_stored` gave; None where it gave none, and none may stand there.
        :param keeps_lock: Whether the lock file of a local folder stays; not where release 0.1 uses it too.
        """
        if object_stores.is_s3(self.fs):
            return self._write_if_on_s3(data, version)
        with self._locked(keeps_lock):
            if self._version() != version:
                return False
            if version is None and (self._is_in_memory or object_stores.is_object_store(self.fs)):
                return self._create(data)
            self._remove_left_over()
            self.write(data)
            return True

    @contextmanager
    def writing(self) -> Iterator[Path]:
        """Give a local path to write to; the file appears here, whole, when the block ends without an error."""
        with _io(self, "write"):
            folder = None
            if self.is_local:
                parent = Path(self.path).parent
                parent.mkdir(parents=True, exist_ok=True)
                temporary = parent / f".{self.name}.{uuid.uuid4().hex[:8]}.tmp"
            else:
                folder = tempfile.mkdtemp(prefix="openai-batch-")
                temporary = Path(folder, self.name)
        try:
            yield temporary
            with _io(self, "write"):
                self._publish(temporary)
        finally:
            temporary.unlink(missing_ok=True)
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)

    def put(self, local: Path) -> None:
        """Copy a finished local file here, whole."""
        if self.is_local:
            with self.writing() as temporary, _io(self, "write"):
                shutil.copyfile(local, temporary)
            return
        with _io(self, "write"):
            self._publish(local)

    @contextmanager
    def as_local(self) -> Iterator[Path]:
        """Give a local path with the file's content: the file itself, or a copy that goes when the block ends."""
        if self.is_local:
            with _io(self, "read"):
                Path(self.path).stat()
            yield Path(self.path)
            return
        with tempfile.TemporaryDirectory(prefix="openai-batch-") as folder:
            copy = Path(folder, self.name)
            with _io(self, "read"):
                self.fs.get_file(self.path, str(copy), **object_stores.transfer_options(self.fs))
            yield copy

    def list(self) -> Sequence[str]:
        """Return the names of the files directly in this folder, sorted; an absent folder has none."""
        return self._entries("file")

    def list_folders(self) -> Sequence[str]:
        """Return the names of the folders directly in this folder, sorted; an absent folder has none."""
        return self._entries("directory")

    def _entries(self, kind: str) -> Sequence[str]:
        with _io(self, "list"):
            self.fs.invalidate_cache()
            try:
                entries: Sequence[dict[str, Any]] = self.fs.ls(self.path, detail=True)
            except FileNotFoundError as error:
                _check_absent(error)
                return []
            own = self.path.rstrip("/")
            names = (str(entry["name"]).rstrip("/") for entry in entries if entry.get("type") == kind)
            return sorted(name.rpartition("/")[2] for name in names if name != own)

    def delete(self) -> None:
        """Remove the file; absent is fine."""
        with _io(self, "delete"):
            try:
                self.fs.rm_file(self.path)
            except FileNotFoundError:
                return

    def remove_if_empty(self) -> bool:
        """Remove an empty folder of the local disk; return whether it is gone."""
        try:
            os.rmdir(self.path)
        except FileNotFoundError:
            return True
        except OSError:
            return False
        return True

    def remove_folder(self) -> None:
        """Remove the folder and all that is in it; absent is fine."""
        with _io(self, "delete"):
            self.fs.invalidate_cache()
            try:
                self.fs.rm(self.path, recursive=True)
            except FileNotFoundError as error:
                _check_absent(error)
            self.fs.invalidate_cache()

    def _publish(self, temporary: Path) -> None:
        if self.is_local:
            _sync(temporary)
            os.replace(temporary, self.path)
            _sync(Path(self.path).parent)  # without it a power failure can undo the rename
            return
        if self._is_in_memory:
            self.fs.pipe_file(self.path, temporary.read_bytes())  # `put_file` would show it growing
        elif object_stores.is_object_store(self.fs):
            self.fs.put_file(str(temporary), self.path, **object_stores.transfer_options(self.fs))
        else:
            self._put_and_rename(temporary)
        self.fs.invalidate_cache()

    def _put_and_rename(self, temporary: Path) -> None:
        """Publish on a remote file system with folders (SFTP, HDFS …), where an upload shows while it grows."""
        folder = self.path.rstrip("/").rpartition("/")[0]
        self.fs.makedirs(folder, exist_ok=True)
        beside = f"{folder}/.{self.name}.{uuid.uuid4().hex[:8]}.tmp"
        self.fs.put_file(str(temporary), beside)
        try:
            self.fs.mv(beside, self.path)
        except Exception:  # no renaming onto a file there: never remove it first, "absent" would be believed
            self.fs.put_file(str(temporary), self.path)
            self.fs.rm_file(beside)

    def remove_left_overs(self, is_meant: Callable[[str], bool]) -> None:
        """
        Remove what killed writers left in this folder of the local disk.

        :param is_meant: Tells names of files that are written by `write_if` alone: nobody is writing them meanwhile.
        """
        if self.is_local:
            with (self / "any")._locked():
                _remove_temporary(Path(self.path), is_meant)

    def _remove_left_over(self) -> None:
        """Remove what killed writers left of this file; under its lock, so that nobody else is writing it."""
        if self.is_local:
            _remove_temporary(Path(self.path).parent, lambda name: name == self.name)

    def _version(self) -> str | None:
        """Return the version of what stands there now, None where nothing does."""
        with _io(self, "read"):
            try:
                data = Path(self.path).read_bytes() if self.is_local else bytes(self.fs.cat_file(self.path))
            except FileNotFoundError:
                return None
            return _digest(data)

    def _create(self, data: bytes) -> bool:
        """Create an object, exclusively where fsspec knows how."""
        try:
            self.fs.pipe_file(self.path, data, mode="create")
        except Exception as error:
            there = self.read_or_none()
            if there is None and not isinstance(error, TypeError | ValueError | NotImplementedError):
                raise StorageError(f"{self}: cannot write it ({_reason(error)}).") from error
            if there is None:
                self.write(data)
            return there is None or there == data
        self.fs.invalidate_cache()
        return True

    def _write_if_on_s3(self, data: bytes, version: str | None) -> bool:
        for pause in (*_CONFLICT_PAUSES, None):
            with _io(self, "write"):
                put = object_stores.put_if(self.fs, self.path, data, version)
            if put is Put.WRITTEN:
                return True
            stored = self.read_stored()
            if stored is not None and stored.data == data:
                return True  # ours after all: the answer to the first try was lost
            if put is Put.LOST or (None if stored is None else stored.version) != version:
                return False
            if put is Put.NO_CONDITIONS:
                self.write(data)
                return True
            if pause is not None:
                time.sleep(pause)
        raise StorageError(f"{self}: cannot write it (the store reports conflicting writes, again and again).")

    @contextmanager
    def _locked(self, keeps_lock: bool = True) -> Iterator[None]:
        """Hold others off between looking and writing: by a lock file on a local disk, else within this process."""
        if not self.is_local:
            with _in_process:
                yield
            return
        path = Path(self.path).parent / ".lock"
        with _io(self, "lock"):
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = _locked_file(path)
        with handle:
            yield
            if not keeps_lock:
                path.unlink(missing_ok=True)  # while it is held: who waits for it looks whether it is still the file


def _remove_temporary(folder: Path, is_meant: Callable[[str], bool]) -> None:
    for path in folder.glob(".*.tmp"):
        name = finished_name(path.name)
        if name is not None and is_meant(name):
            path.unlink(missing_ok=True)


def finished_name(name: str) -> str | None:
    """Return the name that a file would have got had its writer not been killed, None for any other file's name."""
    found = _TEMPORARY.fullmatch(name)
    return found[1] if found else None


def resolve(uri: str) -> Location:
    """
    Resolve a URI or a plain path by fsspec alone: what the command line and the tests use.

    :raises ConfigurationError: No file system is known or installed for it, or it lacks something.
    :raises StorageError: Its file system cannot be reached.
    """
    try:
        fs, path = fsspec.core.url_to_fs(uri)
    except (ImportError, ValueError, TypeError) as error:
        raise ConfigurationError(f"{uri}: no file system for this address ({error}).") from error
    except Exception as error:  # some connect at once, and raise what their client raises
        raise StorageError(f"{uri}: its file system cannot be reached ({_reason(error)}).") from error
    return Location(uri, fs, path)


@contextmanager
def _io(where: Location, verb: str) -> Iterator[None]:
    """Turn what a file system raises into StorageError; ours pass."""
    try:
        yield
    except StorageError:
        raise
    except Exception as error:
        disk = Path(where.path).parent if where.is_local else tempfile.gettempdir()
        room = f"; {free(disk)} in {disk}: make room there" if is_full(error) else ""
        raise StorageError(f"{where}: cannot {verb} it ({_reason(error)}){room}.") from error


def _reason(error: BaseException) -> str:
    if object_stores.s3_code(error) == "NoSuchBucket":
        return "the bucket does not exist"
    return " ".join(f"{type(error).__name__}: {error}".split())


def _check_absent(error: FileNotFoundError) -> bool:
    """Return False for a file that is not there; raise what does not say so."""
    if object_stores.s3_code(error) == "NoSuchBucket":
        raise error
    return False


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _locked_file(path: Path) -> IO[Any]:
    """Open a lock file and take its lock; again where its last holder has removed it meanwhile."""
    deadline = time.monotonic() + LOCK_PATIENCE
    while True:
        handle = path.open("w")
        try:
            _lock(handle, deadline)
            if os.path.samestat(os.fstat(handle.fileno()), os.stat(path)):
                return handle
        except FileNotFoundError:
            pass
        except BaseException:
            handle.close()
            raise
        handle.close()


def _lock(handle: IO[Any], deadline: float) -> None:
    """Take the lock, or raise at the deadline: a process that is frozen must not freeze every later attempt."""
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise TimeoutError(errno.ETIMEDOUT, "another process has held its lock for too long") from None
            time.sleep(0.01)
        else:
            return
