"""
Places on any fsspec file system, and writes on a condition.

`Location.write_if` replaces a file only if it has not changed since the caller read it, or creates it only if it is
absent:

| store | with several writers at once, one succeeds |
|---|---|
| S3, and stores like it with conditional writes | on all machines (`If-Match`, `If-None-Match`) |
| Google Cloud Storage | on all machines (`ifGenerationMatch`) |
| Azure Blob Storage, Data Lake Storage | on all machines (`If-Match`, `If-None-Match`) |
| local disk | among the processes of all machines that share its locks (`flock`) |
| in memory | among the threads of the process |
| other object stores | the same; where fsspec has mode "create", one writer creates the file on all machines |
| any other | among the threads of the process |

Where processes are not kept apart and both read before either wrote, the later write replaces the earlier one. A store
that answers conditions with "not implemented", or that ignores them, counts as "any other"; `keeps_writers_apart` finds
out. `stores/` has a module for each kind of store.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from pathlib import Path

import fsspec

from airflow_provider_batch.exceptions import ConfigurationError, StorageError
from airflow_provider_batch.storage.errors import reason
from airflow_provider_batch.storage.local_files import remove_unfinished
from airflow_provider_batch.storage.stores import Put, Store, Stored
from airflow_provider_batch.storage.whole_files import WholeFile

#: Turns a URI into a file system and a path in it. The Airflow classes pass one that knows Airflow's connections.
Resolver = Callable[[str], "Location"]

#: Seconds between tries of a conditional write that conflicts with another write.
_CONFLICT_PAUSES = (0.1, 0.2, 0.4, 0.8, 1.6)


class Location(WholeFile):
    """A file or a folder, see `WholeFile`; its files have versions and can be written on a condition."""

    def read_stored(self) -> Stored | None:
        """
        Return the file's bytes with the version that `write_if` takes, or None where the file is certainly absent.

        :raises StorageError: The file cannot be read.
        """
        with self._errors("read"):
            if not self.is_local:
                self.fs.invalidate_cache()
            try:
                return self.store.get(self.path)
            except FileNotFoundError as error:
                self.store.check_absent(self.path, error)
                return None

    def write_if(self, data: bytes, version: str | None, *, keeps_lock: bool = True) -> bool:
        """
        Write the file whole if it has not changed meanwhile, and return whether it was written.

        :param data: Content that no other writer would write: a file with this content counts as written by this call,
            since a store refuses the second try of a write whose response was lost.
        :param version: Version from `read_stored`; None means that no file may exist.
        :param keeps_lock: Whether the lock file of a local folder is kept. It is not kept where release 0.1 uses the
            folder too.
        :raises StorageError: The file cannot be written, or it is not known whether it was.
        """
        store = self.store
        for pause in (*_CONFLICT_PAUSES, None):
            with self._errors("write"):
                put = self._put(data, version, keeps_lock)
                if put is Put.NO_CONDITIONS:
                    put = Store.put_if(store, self.path, data, version)
            if put is Put.DONE:
                self.fs.invalidate_cache()
                return True
            stored = self.read_stored()
            if stored is not None and stored.data == data:
                return True  # this call wrote it: the response to its first try was lost
            if put is Put.LOST or (None if stored is None else stored.version) != version:
                return False
            if pause is not None:
                time.sleep(pause)
        tries = len(_CONFLICT_PAUSES) + 1
        problem = f"in {tries} tries the store has reported that another process is writing it"
        raise StorageError(f"{self}: cannot write it ({problem}).")

    def delete_if(self, version: str) -> bool:
        """
        Delete the file if it has not changed meanwhile, and return whether it is absent afterwards.

        :param version: Version from `read_stored`.
        :raises StorageError: The file cannot be deleted.
        """
        with self._errors("delete"):
            put = self.store.delete_if(self.path, version)
            if put is Put.NO_CONDITIONS:
                put = Store.delete_if(self.store, self.path, version)
        return put is Put.DONE or self.read_or_none() is None

    def keeps_writers_apart(self) -> bool:
        """
        Return whether the conditions of `write_if` hold among all machines; an object store shows it with a probe.

        :raises StorageError: The probe, a file in this folder, cannot be written or deleted.
        """
        if not self.store.has_conditions:
            return False
        if self.store.has_folders:
            return True
        probe = self / f".probe-{uuid.uuid4().hex}"
        with probe._errors("write"):
            first, second = (probe.store.put_if(probe.path, data, None) for data in (b"1", b"2"))
        probe.delete()
        return first is Put.DONE and second is Put.LOST

    def _put(self, data: bytes, version: str | None, keeps_lock: bool) -> Put:
        """Write on a condition; a write whose answer did not arrive is done if the file shows it."""
        try:
            return self.store.put_if(self.path, data, version, keeps_lock=keeps_lock)
        except FileNotFoundError as error:
            self.store.check_absent(self.path, error)
            if version is not None and not self.store.has_folders:
                return Put.LOST
            raise
        except Exception:
            if self.store.has_folders or not self._is(data):
                raise
            return Put.DONE

    def _is(self, data: bytes) -> bool:
        """Return whether the file certainly has this content."""
        try:
            return self.store.get(self.path).data == data
        except Exception:
            return False

    def remove_left_overs(self, is_wanted: Callable[[str], bool]) -> None:
        """
        Delete the unfinished files that killed writers have left in this folder of the local disk.

        The lock of the folder is held meanwhile, so that `write_if` is not writing any of them.

        :param is_wanted: Says of a final name whether only `write_if` writes such files; other unfinished files are
            kept.
        """
        if self.is_local:
            with self._errors("lock"), self.store.locked((self / "any").path, True):
                remove_unfinished(Path(self.path), is_wanted)


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
