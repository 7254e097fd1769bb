"""
Stores the ledger of a job; the only way to change it.

    <state_path>/<run key>/<job>/ledger.json, ledger-….json, shards-….jsonl, events-….jsonl     the ledger
    <state_path>/<run key>/<job>/g1/r01-s00001.jsonl, .arrow, .retry.arrow       shards

A ledger is a base and the events since, in files numbered without a gap. A conditional write records an event: the
attempt writes the last event file again with one more line, on condition that the file is exactly what this attempt has
read. Once the file is full, the attempt creates the next number, on condition that no such file exists. So the events
of all attempts have one order: of several attempts one continues, and the others get JobTakenError. After a crash the
ledger has its old or its new state. No file is ever removed, so an attempt that was paused for hours still finds its
last file and what was written after it. A base only saves reading. It is written from full event files, after the files
of shards at rest that it names. `ledger.json`, which is written after the base, names it (`files.py` defines what these
files hold).

"One attempt continues" depends on the store (see `storage`). It holds for S3 and for stores with the same conditional
writes, for all processes that share the locks of a local disk, and for the threads of one process in memory. On any
other store, two attempts that write at the same moment may both continue until either of them reads again.

The bytes read and written grow with the number of events, not with its square. An event costs two transfers of half an
event file (8 KB), a base a quarter of what was written since the last one, a check of the lease one event file. Opening
a ledger reads the shards at work, and one line for each 64 shards at rest; those are read when they are needed.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from airflow_provider_batch.exceptions import JobTakenError, OpenAIBatchError, StorageError
from airflow_provider_batch.jobs.identity import Identity
from airflow_provider_batch.jobs.ledger import files
from airflow_provider_batch.jobs.ledger.events import Begun, Event, Finished
from airflow_provider_batch.jobs.ledger.files import BASE_EVERY_BYTES, BASE_EVERY_SHARE, EVENT_FILE_BYTES
from airflow_provider_batch.jobs.ledger.ledger import Ledger
from airflow_provider_batch.jobs.ledger.segments import lay_out, segments_of
from airflow_provider_batch.jobs.ledger.transitions import IllegalEventError, apply
from airflow_provider_batch.storage import Location


@dataclass(frozen=True)
class _Tail:
    """
    The last event file of a ledger, as it was read or written.

    :param birth: Random hex digits that name the ledger's files.
    :param number: Number of the file; that of the base where no event follows it.
    :param data: Its content; empty where there is none.
    :param sequence: Number of events of the ledger, this file's included.
    :param base_bytes: Bytes of the newest base.
    :param event_bytes: Bytes of the event files since.
    """

    birth: str
    number: int
    data: bytes
    sequence: int
    base_bytes: int
    event_bytes: int = 0

    @property
    def is_full(self) -> bool:
        """Whether the next event goes to the next file."""
        return not self.data or len(self.data) >= EVENT_FILE_BYTES

    @property
    def wants_base(self) -> bool:
        """Whether a base is due: this file does not change any more, and much was written since the last base."""
        due = max(BASE_EVERY_BYTES, BASE_EVERY_SHARE * self.base_bytes)
        return bool(self.data) and self.is_full and self.event_bytes >= due


class LedgerStore:
    """
    Reads and writes the ledger of one job.

    :param folder: The job's folder.
    """

    def __init__(self, folder: Location) -> None:
        self.folder = folder
        self._tail: _Tail | None = None

    @property
    def location(self) -> Location:
        """The file `ledger.json`: without it the folder has no ledger."""
        return self.folder / files.LEDGER

    def load(self) -> Ledger | None:
        """
        Return the ledger; None where there certainly is none.

        :raises StorageError: There is one, or may be, and it cannot be read.
        """
        self._tail = None
        data = self.location.read_or_none()
        if data is None:
            return None
        head = files.decode_head(data, self.location)
        return head if isinstance(head, Ledger) else self._read(head)

    def begin(self, ledger: Ledger, after: Ledger | None = None) -> Ledger:
        """
        Write the first ledger of a generation, and return it as it will be read.

        :param ledger: The first ledger.
        :param after: The last ledger of the generation before; None where there was no job.
        :raises JobTakenError: Another attempt has begun the generation; nothing was written.
        """
        stored = self.load()
        if after is not None and stored is not None and _place(stored) == _place(after) and stored.lease == after.lease:
            return self.record(stored, Begun(ledger))
        if after is not None or stored is not None or (begun := self._put_first(ledger, None)) is None:
            raise self._begun()
        return begun

    def record(self, ledger: Ledger, event: Event) -> Ledger:
        """
        Apply an event, write it, and return the ledger after it.

        :param ledger: The ledger as this attempt knows it; no event may have been recorded since.
        :param event: The event.
        :raises JobTakenError: Another attempt has the lease; nothing was written.
        """
        self._check_head(ledger)
        if not ledger.birth:
            ledger = self._renew(ledger)
        tail = self._tail
        if tail is None or (tail.birth, tail.sequence) != _place(ledger):
            self._check(self.load(), ledger)
            tail = self._tail
        if tail is None or (tail.birth, tail.sequence) != _place(ledger):
            raise self._taken()
        line = files.encode_event(event)
        after = _applied(ledger, files.decode_event(line, self.location))
        is_end = isinstance(event, Finished)
        if is_end:  # the last chance to remove the temporary files of a killed writer
            self.folder.remove_left_overs(files.is_ledger_file)
        written = self._append(tail, line)
        if written is None:
            self._check(self.load(), ledger)
            raise self._taken()
        self._tail = written
        if written.wants_base and not is_end:
            return self._put_base(written, after)
        return after

    def check_lease(self, ledger: Ledger) -> None:
        """
        Check that no other attempt has taken over the job; the base is not read for it.

        :param ledger: The ledger as this attempt knows it.
        :raises JobTakenError: Another attempt has.
        """
        tail = self._tail
        if tail is not None and (tail.birth, tail.sequence) == _place(ledger):
            self._check_head(ledger)
            if tail.is_full:
                unchanged = self._events(tail.birth, tail.number + 1).read_or_none() is None
            else:
                unchanged = self._events(tail.birth, tail.number).read_or_none() == tail.data
            if unchanged:
                return
        self._check(self.load(), ledger)

    @contextmanager
    def checking_lease(self, ledger: Ledger | None) -> Iterator[None]:
        """
        Raise JobTakenError instead of an error that another attempt has caused, by removing files as it finishes.

        :param ledger: The ledger as this attempt knows it; None while it begins the job.
        :raises JobTakenError: Another attempt has taken over, or has begun the job.
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
        """
        Copy the ledger of a generation that ends here into the folder of its shards.

        :param ledger: The last ledger of the generation.
        """
        (self.shards(ledger.generation) / files.LEDGER).write(files.encode_ledger(ledger))

    def shards(self, generation: int) -> Location:
        """
        Return the folder of a generation's shards.

        :param generation: Number of the generation, from 1.
        """
        return self.folder / f"g{generation}"

    def _read(self, head: files.Head) -> Ledger:
        """Read the base and the events since."""
        base = self.folder / files.base_name(head.birth, head.base)
        data = self._content(base.name)
        ledger = files.decode_ledger(data, base, self._content)
        tail = _Tail(head.birth, head.base, b"", ledger.sequence, len(data))
        while tail.is_full:
            location = self._events(head.birth, tail.number + 1)
            events = location.read_or_none()
            if events is None:
                break
            for event in files.decode_events(events, head.birth, tail.number + 1, location):
                ledger = _replayed(ledger, event, location)
            tail = replace(tail, number=tail.number + 1, data=events, event_bytes=tail.event_bytes + len(events))
        self._tail = replace(tail, sequence=ledger.sequence)
        return ledger

    def _content(self, name: str) -> bytes:
        """Read a file that the ledger consists of."""
        location = self.folder / name
        data = location.read_or_none()
        if data is None:
            raise StorageError(
                f"{location}: this file of the ledger is missing. Nothing is sent without it. Restore it."
            )
        return data

    def _append(self, tail: _Tail, line: bytes) -> _Tail | None:
        """Write one more line after what this attempt knows; return None where something else is stored."""
        if tail.is_full:
            number, data = tail.number + 1, files.event_file_header(tail.birth, tail.number + 1) + line
            if not self._events(tail.birth, number).write_if(data, None):
                return None
            added = len(data)
        else:
            number, data, added = tail.number, tail.data + line, len(line)
            location = self._events(tail.birth, number)
            stored = location.read_stored()
            if stored is None or stored.data != tail.data or not location.write_if(data, stored.version):
                return None
        return replace(tail, number=number, data=data, sequence=tail.sequence + 1, event_bytes=tail.event_bytes + added)

    def _put_first(self, ledger: Ledger, version: str | None) -> Ledger | None:
        """
        Make `ledger.json` name a base of this ledger; return None where another file is stored.

        :param version: Storage version of the present `ledger.json`; None where there is none.
        """
        birth = secrets.token_hex(4)
        ledger, data, names = self._write_base(birth, 0, ledger.changed(birth=birth, sequence=0))
        if not self.location.write_if(files.encode_head(birth, 0), version):
            for name in names:
                (self.folder / name).delete()
            return None
        self.folder.remove_left_overs(files.is_ledger_file)
        self._tail = _Tail(birth, 0, b"", 0, len(data))
        return files.decode_ledger(data, self.folder / files.base_name(birth, 0), self._content)

    def _write_base(self, birth: str, number: int, ledger: Ledger) -> tuple[Ledger, bytes, list[str]]:
        """Write shards that have come to rest, then the base; return the ledger so, the base, and all files' names."""
        ledger, contents = lay_out(ledger, birth)
        data = files.encode_ledger(ledger, segments_of(ledger.shard_list))
        contents = {**contents, files.base_name(birth, number): data}
        for name, content in contents.items():
            (self.folder / name).write_if(content, None)
        return ledger, data, list(contents)

    def _put_base(self, tail: _Tail, ledger: Ledger) -> Ledger:
        """
        Write a base of full event files. An attempt that is late writes the same files, and `ledger.json` never goes
        back.
        """
        ledger, data, _ = self._write_base(tail.birth, tail.number, ledger)
        self.folder.remove_left_overs(files.is_ledger_file)
        self._tail = replace(tail, base_bytes=len(data), event_bytes=0)
        stored = self.location.read_stored()
        head = None if stored is None else files.decode_head(stored.data, self.location)
        if stored is not None and isinstance(head, files.Head) and head.birth == tail.birth and head.base < tail.number:
            self.location.write_if(files.encode_head(tail.birth, tail.number), stored.version)
        return ledger

    def _renew(self, ledger: Ledger) -> Ledger:
        """Convert a ledger of release 0.1 to the present format; that release refuses it afterwards."""
        stored = self.location.read_stored()
        found = None if stored is None else files.decode_head(stored.data, self.location)
        if stored is None or not isinstance(found, Ledger) or found != ledger:
            self._check(found if isinstance(found, Ledger) else self.load(), ledger)
            raise self._taken()
        renewed = self._put_first(ledger, stored.version)
        if renewed is None:
            raise self._taken()
        return renewed

    def _check_head(self, ledger: Ledger) -> None:
        """Raise where `ledger.json` is gone, cannot be read, or is another ledger's."""
        stored = self.location.read_or_none()
        if stored is None:
            raise self._gone()
        head = files.decode_head(stored, self.location)
        if (head.birth if isinstance(head, files.Head) else "") != ledger.birth:
            raise self._taken()

    def _check(self, stored: Ledger | None, ledger: Ledger) -> None:
        if stored is None:
            raise self._gone()
        if (stored.birth, stored.generation, stored.lease) != (ledger.birth, ledger.generation, ledger.lease):
            raise self._taken()

    def _events(self, birth: str, number: int) -> Location:
        return self.folder / files.events_name(birth, number)

    def _gone(self) -> StorageError:
        return StorageError(f"{self.location}: the ledger is gone while its job is running.")

    def _begun(self) -> JobTakenError:
        return JobTakenError(f"{self.location}: another attempt of this task has begun the job at the same time.")

    def _taken(self) -> JobTakenError:
        return JobTakenError(f"{self.location}: a later attempt of this task has taken over the job.")


def job_folder(state: Location, identity: Identity) -> Location:
    """
    Return the folder of a task instance's job.

    :param state: The folder of ledgers (`state_path`).
    :param identity: The task instance.
    """
    return state / identity.run_key / identity.job


def _place(ledger: Ledger) -> tuple[str, int]:
    return ledger.birth, ledger.sequence


def _applied(ledger: Ledger, event: Event) -> Ledger:
    return apply(ledger, event).changed(version=files.VERSION, birth=ledger.birth, sequence=ledger.sequence + 1)


def _replayed(ledger: Ledger, event: Event, where: Location) -> Ledger:
    try:
        return _applied(ledger, event)
    except (IllegalEventError, KeyError) as error:
        raise StorageError(f"{where}: these events do not fit the ledger before them ({error}).") from error
