"""
Where a job lives on storage, and the one way to change its ledger.

    <state_path>/<run key>/<job>/ledger.json
    <state_path>/<run key>/<job>/g1/r01-s00001.jsonl, .arrow, .retry.arrow

The ledger is one small document, written whole: a crash leaves the old or the new one. Every change reads it again
first, so that an attempt which lost the lease notices before it acts on what it no longer owns.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from airflow_provider_batch.exceptions import JobTakenError, StorageError
from airflow_provider_batch.jobs.identity import Identity
from airflow_provider_batch.jobs.ledger import Entry, Ledger, apply
from airflow_provider_batch.storage import Location

LEDGER = "ledger.json"


class LedgerStore:
    """
    The ledger of one job.

    :param folder: The job's own folder.
    """

    def __init__(self, folder: Location) -> None:
        self.folder = folder

    @property
    def location(self) -> Location:
        """The ledger's file."""
        return self.folder / LEDGER

    def load(self) -> Ledger | None:
        """Return the ledger, or None where there surely is none; raise StorageError for anything in between."""
        data = self.location.read_or_none()
        if data is None:
            return None
        try:
            return msgspec.json.decode(data, type=Ledger)
        except msgspec.MsgspecError as error:
            raise StorageError(f"{self.location}: this is not a ledger that can be read ({error}).") from error

    def save(self, ledger: Ledger) -> Ledger:
        """Write the ledger as it is, whatever stands there; for a new generation, and under `guarded`."""
        self.location.write(msgspec.json.format(msgspec.json.encode(ledger), indent=1))
        return ledger

    def record(self, ledger: Ledger, entry: Entry) -> Ledger:
        """
        Apply an entry and write the outcome.

        :raises JobTakenError: Another attempt holds the lease; nothing was written.
        """
        with self._guarded():
            self.check_lease(ledger)
            return self.save(apply(ledger, entry))

    def check_lease(self, ledger: Ledger) -> None:
        """Read the ledger again and raise JobTakenError if another attempt has taken over."""
        stored = self.load()
        if stored is None:
            raise StorageError(f"{self.location}: the ledger is gone while its job is at work.")
        if (stored.generation, stored.lease) != (ledger.generation, ledger.lease):
            raise JobTakenError(f"{self.location}: a later attempt of this task has taken the job over.")

    def archive(self, ledger: Ledger) -> None:
        """Keep the ledger of a generation that ends here beside its shards."""
        (self.shards(ledger.generation) / LEDGER).write(msgspec.json.encode(ledger))

    def shards(self, generation: int) -> Location:
        """Return the folder of a generation's shards."""
        return self.folder / f"g{generation}"

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Hold other processes of this machine off between reading and writing, where storage is a local disk."""
        if not self.folder.is_local:
            yield
            return
        path = Path(self.folder.path, ".lock")
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield


def job_folder(state: Location, identity: Identity) -> Location:
    """Return the folder of a task instance's job."""
    return state / identity.run_key / identity.job


def sibling_folders(state: Location, identity: Identity) -> list[Location]:
    """Return the folders of the same task's and run's other jobs: mapped instances whose index may have moved."""
    run = state / identity.run_key
    return [run / name for name in run.list_folders() if name != identity.job]
