"""
Where a job lives on storage, and the one way to change its ledger.

    <state_path>/<run key>/<job>/ledger.json
    <state_path>/<run key>/<job>/g1/r01-s00001.jsonl, .arrow, .retry.arrow

The ledger is one small document, written whole: a crash leaves the old or the new one. Every change states which
ledger it was made from. It is written only while exactly that one stands there, so that of several attempts one goes
on and the others get JobTakenError, whatever they had seen before; a first ledger is written only where there is none.
How far that holds is the store's affair (see `storage`): everywhere on S3 and stores that know its conditional writes,
among all processes that share the locks of a local disk, among the threads of a process in memory. On any other store
two attempts that write within the same moment may both believe that they won, until the next reading of either.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from airflow_provider_batch.exceptions import JobTakenError, OpenAIBatchError, StorageError
from airflow_provider_batch.jobs.entries import Entry, apply
from airflow_provider_batch.jobs.identity import Identity
from airflow_provider_batch.jobs.ledger import Ledger
from airflow_provider_batch.storage import Location

LEDGER = "ledger.json"
#: The newest form of a ledger that this release can read.
VERSION = 1


class _Form(msgspec.Struct):
    version: int = 1


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
        return self._read()[0]

    def begin(self, ledger: Ledger, after: Ledger | None = None) -> Ledger:
        """
        Write the first ledger of a generation and return it as it stands.

        :param after: The last ledger of the generation before; None where there was no job.
        :raises JobTakenError: Another attempt has begun it; nothing was written.
        """
        stored, version = self._read()
        if stored == after and (written := self._write(ledger, version)) is not None:
            return written
        raise self._begun()

    def record(self, ledger: Ledger, entry: Entry) -> Ledger:
        """
        Apply an entry and write the outcome.

        :param ledger: The ledger as this attempt knows it; no other may stand there.
        :raises JobTakenError: Another attempt holds the lease; nothing was written.
        """
        stored, version = self._read()
        self._check(stored, ledger)
        if stored == ledger and (written := self._write(apply(ledger, entry), version)) is not None:
            return written
        raise self._taken()

    def check_lease(self, ledger: Ledger) -> None:
        """Read the ledger again and raise JobTakenError if another attempt has taken over."""
        self._check(self.load(), ledger)

    @contextmanager
    def holding(self, ledger: Ledger | None) -> Iterator[None]:
        """
        Raise JobTakenError in place of an error that another attempt has caused: it finishes, and files go.

        :param ledger: The ledger as this attempt knows it; None while it begins the job.
        """
        try:
            yield
        except OpenAIBatchError:
            if ledger is not None:
                self.check_lease(ledger)
            elif self.load() is not None:
                raise self._begun() from None
            raise

    def archive(self, ledger: Ledger) -> None:
        """Keep the ledger of a generation that ends here beside its shards."""
        (self.shards(ledger.generation) / LEDGER).write(_encode(ledger))

    def shards(self, generation: int) -> Location:
        """Return the folder of a generation's shards."""
        return self.folder / f"g{generation}"

    def _read(self) -> tuple[Ledger | None, str | None]:
        """Return the ledger, and the version of its file to write after."""
        stored = self.location.read_stored()
        if stored is None:
            return None, None
        try:
            form = msgspec.json.decode(stored.data, type=_Form).version
            ledger = msgspec.json.decode(stored.data, type=Ledger) if form <= VERSION else None
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise StorageError(
                f"{self.location}: expected the ledger of a job, found {len(stored.data):,} bytes that cannot be read "
                f"as one ({error}). Nothing is sent while they stand there, since batches of the job may be at work. "
                "Restore the file; or move it away to begin anew, which pays again for what was sent."
            ) from error
        if ledger is None:
            raise StorageError(
                f"{self.location}: this ledger has form {form}, and this release of airflow-provider-batch knows no "
                f"form after {VERSION}: a newer release wrote it. Install that release here too; nothing was changed."
            )
        return ledger, stored.version

    def _write(self, ledger: Ledger, version: str | None) -> Ledger | None:
        """Write the ledger over that version and return it as it will be read; None where another one stands there."""
        data = _encode(ledger)
        if not self.location.write_if(data, version):
            return None
        return msgspec.json.decode(data, type=Ledger)

    def _check(self, stored: Ledger | None, ledger: Ledger) -> None:
        if stored is None:
            raise StorageError(f"{self.location}: the ledger is gone while its job is at work.")
        if (stored.generation, stored.lease) != (ledger.generation, ledger.lease):
            raise self._taken()

    def _begun(self) -> JobTakenError:
        return JobTakenError(f"{self.location}: another attempt of this task has begun the job at the same time.")

    def _taken(self) -> JobTakenError:
        return JobTakenError(f"{self.location}: a later attempt of this task has taken the job over.")


def job_folder(state: Location, identity: Identity) -> Location:
    """Return the folder of a task instance's job."""
    return state / identity.run_key / identity.job


def sibling_folders(state: Location, identity: Identity) -> list[Location]:
    """Return the folders of the same task's and run's other jobs: mapped instances whose index may have moved."""
    run = state / identity.run_key
    return [run / name for name in run.list_folders() if name != identity.job]


def _encode(ledger: Ledger) -> bytes:
    try:
        return msgspec.json.format(msgspec.json.encode(ledger), indent=1)
    except UnicodeEncodeError:  # half of a surrogate pair, in what the API said of an error
        text = json.dumps(msgspec.to_builtins(ledger), ensure_ascii=False, indent=1)
        return text.encode("utf-8", "replace")
