"""
Where a job lives on storage, and the one way to change its ledger.

    <state_path>/<run key>/<job>/ledger.json, ledger-….json, shards-….jsonl, events-….jsonl     the ledger
    <state_path>/<run key>/<job>/g1/r01-s00001.jsonl, .arrow, .retry.arrow       shards

A ledger is a base and the events since, in files numbered without a gap. An event is recorded by a conditional write:
the last event file is written again with one more line while it is exactly what this attempt has read; once it is full,
the next number is created while no such file is there. So the events of all attempts have one order, of several
attempts one goes on, and the others get JobTakenError, whatever they had seen before. A crash leaves the old or the
new state. Nothing is ever removed, so an attempt that was held for hours still finds its last file, and what came
after. A base only saves reading: it is written from full event files, after the files of shards at rest that it names,
and found through `ledger.json`, which is written after it (`ledger_files.py` says what they hold).

How far "one goes on" holds is the store's affair (see `storage`): everywhere on S3 and stores that know its conditional
writes, among all processes that share the locks of a local disk, among the threads of a process in memory. On any other
store two attempts that write within the same moment may both believe that they won, until the next reading of either.

What is read and written grows with the number of events, not with its square: an event costs two transfers of half an
event file (8 KB), a base a quarter of what was written since the last one, a check of the lease one event file. Opening
a ledger reads what is at work, and of shards at rest a line for each 64; those are read when they are asked for.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from airflow_provider_batch.exceptions import JobTakenError, OpenAIBatchError, StorageError
from airflow_provider_batch.jobs.identity import Identity
from airflow_provider_batch.jobs.ledger.events import Begun, Event, Finished
from airflow_provider_batch.jobs.ledger.files import (
    BASE_EVERY_BYTES,
    BASE_EVERY_SHARE,
    EVENT_FILE_BYTES,
    LEDGER,
    VERSION,
    Head,
    base_name,
    decode_event,
    decode_events,
    decode_head,
    decode_ledger,
    encode_event,
    encode_head,
    encode_ledger,
    event_file_start,
    events_name,
    is_ledger_file,
)
from airflow_provider_batch.jobs.ledger.ledger import Ledger
from airflow_provider_batch.jobs.ledger.segments import lay_out, segments_of
from airflow_provider_batch.jobs.ledger.transitions import IllegalEventError, apply
from airflow_provider_batch.storage import Location

__all__ = ["LEDGER", "VERSION", "LedgerStore", "job_folder"]


@dataclass(frozen=True)
class _Tail:
    """
    The last event file of a ledger, as it was read or written.

    :param number: Its number, that of the base where there is no event after it.
    :param data: Its content, empty where there is none.
    :param sequence: How many events the ledger has with it.
    :param base_bytes: Size of the newest base.
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
        """Whether a base may and should be made of it: it will not change, and much was written since the last."""
        due = max(BASE_EVERY_BYTES, BASE_EVERY_SHARE * self.base_bytes)
        return bool(self.data) and self.is_full and self.event_bytes >= due


class LedgerStore:
    """
    The ledger of one job.

    :param folder: The job's own folder.
    """

    def __init__(self, folder: Location) -> None:
        self.folder = folder
        self._tail: _Tail | None = None

    @property
    def location(self) -> Location:
        """The file that makes the folder a job's: without it there is no ledger."""
        return self.folder / LEDGER

    def load(self) -> Ledger | None:
        """Return the ledger, or None where there surely is none; raise StorageError for anything in between."""
        self._tail = None
        data = self.location.read_or_none()
        if data is None:
            return None
        head = decode_head(data, self.location)
        return head if isinstance(head, Ledger) else self._read(head)

    def begin(self, ledger: Ledger, after: Ledger | None = None) -> Ledger:
        """
        Write the first ledger of a generation and return it as it will be read.

        :param after: The last ledger of the generation before; None where there was no job.
        :raises JobTakenError: Another attempt has begun it; nothing was written.
        """
        stored = self.load()
        if after is not None and stored is not None and _place(stored) == _place(after) and stored.lease == after.lease:
            return self.record(stored, Begun(ledger))
        if after is not None or stored is not None or (begun := self._put_first(ledger, None)) is None:
            raise self._begun()
        return begun

    def record(self, ledger: Ledger, event: Event) -> Ledger:
        """
        Apply an event and write it.

        :param ledger: The ledger as this attempt knows it; no event may have been recorded since.
        :raises JobTakenError: Another attempt holds the lease; nothing was written.
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
        line = encode_event(event)
        after = _applied(ledger, decode_event(line, self.location))
        is_end = isinstance(event, Finished)
        if is_end:  # after it nobody may come who would remove what a killed writer left
            self.folder.remove_left_overs(is_ledger_file)
        written = self._append(tail, line)
        if written is None:
            self._check(self.load(), ledger)
            raise self._taken()
        self._tail = written
        if written.wants_base and not is_end:
            return self._put_base(written, after)
        return after

    def check_lease(self, ledger: Ledger) -> None:
        """Look again whether another attempt has taken over, and raise JobTakenError; the base is not read for it."""
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
        (self.shards(ledger.generation) / LEDGER).write(encode_ledger(ledger))

    def shards(self, generation: int) -> Location:
        """Return the folder of a generation's shards."""
        return self.folder / f"g{generation}"

    def _read(self, head: Head) -> Ledger:
        """Read the base and the events since."""
        base = self.folder / base_name(head.birth, head.base)
        data = self._content(base.name)
        ledger = decode_ledger(data, base, self._content)
        tail = _Tail(head.birth, head.base, b"", ledger.sequence, len(data))
        while tail.is_full:
            location = self._events(head.birth, tail.number + 1)
            events = location.read_or_none()
            if events is None:
                break
            for event in decode_events(events, head.birth, tail.number + 1, location):
                ledger = _replayed(ledger, event, location)
            tail = replace(tail, number=tail.number + 1, data=events, event_bytes=tail.event_bytes + len(events))
        self._tail = replace(tail, sequence=ledger.sequence)
        return ledger

    def _content(self, name: str) -> bytes:
        """Read a file that the ledger consists of."""
        location = self.folder / name
        data = location.read_or_none()
        if data is None:
            raise StorageError(f"{location}: this file of the ledger is gone; restore it. Nothing is sent without it.")
        return data

    def _append(self, tail: _Tail, line: bytes) -> _Tail | None:
        """Write one more line after what this attempt knows; None where something else is there."""
        if tail.is_full:
            number, data = tail.number + 1, event_file_start(tail.birth, tail.number + 1) + line
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
        Make `ledger.json` point to a base of this ledger; None where another file is there.

        :param version: Version of the `ledger.json` that is there, None where there is none.
        """
        birth = secrets.token_hex(4)
        ledger, data, names = self._write_base(birth, 0, ledger.changed(birth=birth, sequence=0))
        if not self.location.write_if(encode_head(birth, 0), version):
            for name in names:
                (self.folder / name).delete()
            return None
        self.folder.remove_left_overs(is_ledger_file)
        self._tail = _Tail(birth, 0, b"", 0, len(data))
        return decode_ledger(data, self.folder / base_name(birth, 0), self._content)

    def _write_base(self, birth: str, number: int, ledger: Ledger) -> tuple[Ledger, bytes, list[str]]:
        """Write shards that have come to rest, then the base; return the ledger so, the base, and all files' names."""
        ledger, files = lay_out(ledger, birth)
        data = encode_ledger(ledger, segments_of(ledger.shard_list))
        files = {**files, base_name(birth, number): data}
        for name, content in files.items():
            (self.folder / name).write_if(content, None)
        return ledger, data, list(files)

    def _put_base(self, tail: _Tail, ledger: Ledger) -> Ledger:
        """Write a base of full event files; whoever does so late writes what is there, and moves nothing back."""
        ledger, data, _ = self._write_base(tail.birth, tail.number, ledger)
        self.folder.remove_left_overs(is_ledger_file)
        self._tail = replace(tail, base_bytes=len(data), event_bytes=0)
        stored = self.location.read_stored()
        head = None if stored is None else decode_head(stored.data, self.location)
        if stored is not None and isinstance(head, Head) and head.birth == tail.birth and head.base < tail.number:
            self.location.write_if(encode_head(tail.birth, tail.number), stored.version)
        return ledger

    def _renew(self, ledger: Ledger) -> Ledger:
        """Bring a ledger of release 0.1 into the form of today; from then on that release refuses it."""
        stored = self.location.read_stored()
        found = None if stored is None else decode_head(stored.data, self.location)
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
        head = decode_head(stored, self.location)
        if (head.birth if isinstance(head, Head) else "") != ledger.birth:
            raise self._taken()

    def _check(self, stored: Ledger | None, ledger: Ledger) -> None:
        if stored is None:
            raise self._gone()
        if (stored.birth, stored.generation, stored.lease) != (ledger.birth, ledger.generation, ledger.lease):
            raise self._taken()

    def _events(self, birth: str, number: int) -> Location:
        return self.folder / events_name(birth, number)

    def _gone(self) -> StorageError:
        return StorageError(f"{self.location}: the ledger is gone while its job is at work.")

    def _begun(self) -> JobTakenError:
        return JobTakenError(f"{self.location}: another attempt of this task has begun the job at the same time.")

    def _taken(self) -> JobTakenError:
        return JobTakenError(f"{self.location}: a later attempt of this task has taken the job over.")


def job_folder(state: Location, identity: Identity) -> Location:
    """Return the folder of a task instance's job."""
    return state / identity.run_key / identity.job


def _place(ledger: Ledger) -> tuple[str, int]:
    return ledger.birth, ledger.sequence


def _applied(ledger: Ledger, event: Event) -> Ledger:
    return apply(ledger, event).changed(version=VERSION, birth=ledger.birth, sequence=ledger.sequence + 1)


def _replayed(ledger: Ledger, event: Event, where: Location) -> Ledger:
    try:
        return _applied(ledger, event)
    except (IllegalEventError, KeyError) as error:
        raise StorageError(f"{where}: these events do not follow from the ledger before them ({error}).") from error
