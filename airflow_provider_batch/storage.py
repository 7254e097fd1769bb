"""
The one seam to storage: read, write whole, list, delete, on any fsspec file system.

A file appears whole or not at all: on a local disk by a rename within its folder, elsewhere by one upload of a
finished local file, which object stores make visible only at its end. "It is not there" and "it could not be read"
are different answers.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from fsspec.implementations.local import LocalFileSystem
from fsspec.spec import AbstractFileSystem

from airflow_provider_batch.exceptions import ConfigurationError, StorageError

#: Turns a URI into a file system and a path in it. The Airflow face passes one that knows Airflow's connections.
Resolver = Callable[[str], "Location"]

#: Bytes a time when a file is copied.
COPY_BYTES = 1 << 20


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

    def at(self, path: str) -> Location:
        """Return another path of the same file system, with a URI that matches it."""
        head = self.uri.partition("://")
        own = self.path.lstrip("/")
        base = self.uri[: -len(own)] if own and self.uri.endswith(own) else (head[0] + head[1] if head[1] else "")
        return Location(base + (path.lstrip("/") if base else path), self.fs, path)

    def exists(self) -> bool:
        """Return whether something stands there; raise StorageError where that cannot be told."""
        with _io(self, "look at"):
            self.fs.invalidate_cache()
            return bool(self.fs.exists(self.path))

    def read_or_none(self) -> bytes | None:
        """Return the file's bytes, or None if it is surely absent; raise StorageError for anything in between."""
        try:
            self.fs.invalidate_cache()
            return bytes(self.fs.cat_file(self.path))
        except FileNotFoundError:
            return None
        except Exception as error:
            raise StorageError(f"{self}: cannot be read ({_reason(error)}).") from error

    def open(self) -> IO[bytes]:
        """Open for reading, in blocks of 8 MB where the file system is remote; raise StorageError."""
        with _io(self, "read"):
            opened: IO[bytes] = self.fs.open(self.path, "rb", **({} if self.is_local else {"block_size": 8 << 20}))
            return opened

    def write(self, data: bytes) -> None:
        """Write the file whole, replacing what stands there."""
        with self.writing() as temporary:
            temporary.write_bytes(data)

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
        with self.writing() as temporary:
            shutil.copyfile(local, temporary)

    @contextmanager
    def as_local(self) -> Iterator[Path]:
        """Give a local path with the file's content: the file itself, or a copy that goes when the block ends."""
        if self.is_local:
            yield Path(self.path)
            return
        with tempfile.TemporaryDirectory(prefix="openai-batch-") as folder:
            copy = Path(folder, self.name)
            with _io(self, "read"):
                self.fs.get_file(self.path, str(copy))
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
            except FileNotFoundError:
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

    def _publish(self, temporary: Path) -> None:
        if self.is_local:
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            os.replace(temporary, self.path)
            return
        self.fs.makedirs(self.path.rstrip("/").rpartition("/")[0], exist_ok=True)
        self.fs.put_file(str(temporary), self.path)
        self.fs.invalidate_cache()


def resolve(uri: str) -> Location:
    """Resolve a URI or a plain path by fsspec alone: what the command line and the tests use."""
    import fsspec

    try:
        fs, path = fsspec.core.url_to_fs(uri)
    except (ImportError, ValueError) as error:
        raise ConfigurationError(f"{uri}: no file system for this address ({error}).") from error
    return Location(uri, fs, path)


@contextmanager
def _io(where: Location, verb: str) -> Iterator[None]:
    """Turn what a file system raises into StorageError; ours pass."""
    try:
        yield
    except StorageError:
        raise
    except Exception as error:
        raise StorageError(f"{where}: cannot {verb} it ({_reason(error)}).") from error


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
