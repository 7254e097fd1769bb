"""
The boundaries of a process that drives a job, and what happens to it at one of them.

A boundary lies before and after each call of the API, and at each storage write before it, between the finished
temporary file and its becoming visible, and after it; deletions have two. Between two boundaries a process changes
nothing that outlives it, so killing it at each of them is killing it everywhere. `reads` adds one behind each read of
a ledger: nothing changes there either, but a process that is *held* there goes on with what is no longer true.

The package knows nothing of this: `install` patches it, in the driven process only.
"""

from __future__ import annotations

import mmap
import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from airflow_provider_batch.api.client import BatchClient
from airflow_provider_batch.jobs.ledger.files import is_ledger_file
from airflow_provider_batch.storage import Location, moves
from airflow_provider_batch.storage.stores.disk import Disk
from tests.faults.reader import TableReader

API_CALLS = (
    "upload",
    "create",
    "retrieve",
    "list_page",
    "file_created_at",
    "cancel",
    "download",
    "download_video",
    "delete_file",
)
_BIRTH = re.compile(r"(?<=ledger|events)-[0-9a-f]+(?=-)|(?<=shards)-[0-9a-f]+-[0-9a-f]+")


def is_of_a_ledger(boundary: str) -> bool:
    """Return whether a boundary is a read or a write of one of a ledger's files."""
    return "ledger" in boundary or "events" in boundary or "shards" in boundary


def shown(name: str) -> str:
    """Return a file's name without what is random in it."""
    return _BIRTH.sub("", name)


class Counter:
    """A number that processes made by `fork` share, so that it outlives those that are killed."""

    def __init__(self) -> None:
        self._shared = mmap.mmap(-1, 8)

    def __int__(self) -> int:
        return int.from_bytes(self._shared[:8], "little")

    def add(self) -> int:
        value = int(self) + 1
        self._shared[:8] = value.to_bytes(8, "little")
        return value


@dataclass
class Boundaries:
    """
    Counts the boundaries that a process (and those after it) passes, from 1.

    :param trace: File that gets one line a boundary.
    :param stops: Number of a boundary → the signal that the process sends itself there.
    :param reads: Whether reading a ledger counts.
    :param reader: Looks at each boundary; what it finds wrong is in `seen`.
    """

    trace: Path
    stops: dict[int, signal.Signals] = field(default_factory=dict)
    reads: bool = False
    counter: Counter = field(default_factory=Counter)
    reader: TableReader | None = None

    def passed(self, name: str) -> None:
        """Count one; it may be the last."""
        number = self.counter.add()
        with self.trace.open("a") as trace:
            trace.write(f"{number} {os.getpid()} {name}\n")
        if self.reader is not None and (wrong := self.reader.look(name)) is not None:
            with self._seen.open("a") as seen:
                seen.write(f"boundary {number} ({name}), a reader finds {wrong}\n")
        if number in self.stops:
            os.kill(os.getpid(), self.stops[number])

    @property
    def _seen(self) -> Path:
        return self.trace.with_name("seen")

    @property
    def seen(self) -> list[str]:
        """What a reader of the table found wrong."""
        return self._seen.read_text().splitlines() if self._seen.exists() else []

    @property
    def names(self) -> list[str]:
        """The boundaries so far, in order; the first is number 1."""
        return [line.split(" ", 2)[2] for line in self.trace.read_text().splitlines()] if self.trace.exists() else []


def install(boundaries: Boundaries) -> None:
    """Patch the client and the storage of this process, for its whole life."""
    for name in API_CALLS:
        setattr(BatchClient, name, _around(getattr(BatchClient, name), name, boundaries))
    _watch_writes(boundaries)
    if boundaries.reads:
        _watch_reads(boundaries)


def _around(call: Callable[..., Any], name: str, boundaries: Boundaries) -> Callable[..., Any]:
    def counted(self: BatchClient, *args: Any, **kwargs: Any) -> Any:
        boundaries.passed(f"{name}: before")
        try:
            return call(self, *args, **kwargs)
        finally:
            boundaries.passed(f"{name}: after")

    return counted


def _watch_writes(boundaries: Boundaries) -> None:
    writing, replacing, upload = Location.writing, Disk._replace, Disk.upload

    @contextmanager
    def counted_writing(self: Location) -> Iterator[Path]:
        boundaries.passed(f"write {shown(self.name)}: before")
        with writing(self) as temporary:
            yield temporary

    def counted_replacing(self: Disk, path: str, data: bytes) -> None:
        boundaries.passed(f"write {shown(Path(path).name)}: before")
        replacing(self, path, data)

    def counted_upload(self: Disk, local: Path, path: str) -> None:
        boundaries.passed(f"write {shown(Path(path).name)}: not visible yet")
        upload(self, local, path)
        boundaries.passed(f"write {shown(Path(path).name)}: visible")

    Location.writing = counted_writing  # type: ignore[method-assign]
    Disk._replace = counted_replacing  # type: ignore[method-assign]
    Disk.upload = counted_upload  # type: ignore[method-assign]
    move, replace = moves.move_file, Location.write_if

    def counted_move(source: Location, to: Location) -> None:
        boundaries.passed(f"move {shown(to.name)}: before")
        move(source, to)
        boundaries.passed(f"move {shown(to.name)}: after")

    def counted_replace(self: Location, *args: Any, **options: Any) -> bool:
        if not is_of_a_ledger(self.name):  # before its lock is taken: held there, nobody has to wait
            boundaries.passed(f"replace {shown(self.name)}: before")
        return replace(self, *args, **options)

    moves.move_file = counted_move
    Location.write_if = counted_replace  # type: ignore[method-assign]
    for name in ("delete", "remove_folder"):
        setattr(Location, name, _removing(getattr(Location, name), boundaries))


def _removing(remove: Callable[[Location], None], boundaries: Boundaries) -> Callable[[Location], None]:
    def counted(self: Location) -> None:
        boundaries.passed(f"delete {shown(self.name)}: before")
        remove(self)
        boundaries.passed(f"delete {shown(self.name)}: after")

    return counted


def _watch_reads(boundaries: Boundaries) -> None:
    read = Location.read_or_none

    def counted_read(self: Location) -> bytes | None:
        data = read(self)
        if is_ledger_file(self.name):
            boundaries.passed(f"read {shown(self.name)}: after")
        return data

    Location.read_or_none = counted_read  # type: ignore[method-assign]
