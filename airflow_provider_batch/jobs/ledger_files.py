"""
The files that a ledger consists of, as bytes; `store.py` reads and writes them.

    ledger.json                        which files are in force: the birth and the newest base
    ledger-<birth>-000012.json         a base: the whole ledger as of event file 12
    events-<birth>-000013.jsonl        event file 13: a line that says what it is, then one line for each event

Everything carries the version of the form that it was written in. A newer one, and a field that this release does not
know, is refused: a ledger that is written again without it would lose what the newer release had recorded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, TypeVar

import msgspec

from airflow_provider_batch.exceptions import StorageError
from airflow_provider_batch.jobs.entries import Entry
from airflow_provider_batch.jobs.ledger import Ledger

LEDGER = "ledger.json"
#: The newest form of a ledger that this release can read. In form 1 `ledger.json` was the whole ledger.
VERSION = 2
#: Bytes from which on an event file gets no further event. Each event writes its file again, and reads it before.
#: Part of form 2: two releases that disagreed on it would write on in two different files.
EVENT_FILE_BYTES = 8_192
#: A new base is written when the events since the last one have so many bytes, and this share of its size.
BASE_EVERY_BYTES, BASE_EVERY_SHARE = 65_536, 0.25

_FILE = re.compile(r"ledger\.json|ledger-[0-9a-f]+-\d+\.json|events-[0-9a-f]+-\d+\.jsonl")
_Form = TypeVar("_Form")


class Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    What `ledger.json` holds.

    :param birth: Random hex digits that name the ledger's files.
    :param base: Number of the event file that the newest base includes.
    """

    version: int
    birth: str
    base: int


class _EventFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: int
    ledger: str
    number: int


class _Version(msgspec.Struct):
    version: int = 1


def is_ledger_file(name: str) -> bool:
    """Return whether a file's name is one of those above."""
    return _FILE.fullmatch(name) is not None


def base_name(birth: str, number: int) -> str:
    """Return the name of the base that includes the event files up to a number."""
    return f"ledger-{birth}-{number:06}.json"


def events_name(birth: str, number: int) -> str:
    """Return the name of an event file; the first has the number 1."""
    return f"events-{birth}-{number:06}.jsonl"


def encode_head(birth: str, base: int) -> bytes:
    """Return the content of `ledger.json`."""
    return _json(Head(VERSION, birth, base)) + b"\n"


def decode_head(data: bytes, where: object) -> Head | Ledger:
    """
    Return what `ledger.json` says: which files are in force, or the whole ledger in the form of release 0.1.

    :raises StorageError: It is neither, or of a newer release.
    """
    if _form(data, where) == 1:
        return _decode(data, Ledger, where)
    return _decode(data, Head, where)


def encode_ledger(ledger: Ledger) -> bytes:
    """Return a whole ledger as a JSON document with a line for each shard."""
    ledger = ledger.changed(version=VERSION)
    head = msgspec.json.format(_json(msgspec.structs.replace(ledger, shards=())), indent=1)
    shards = b",\n  ".join(_json(shard) for shard in ledger.shards)
    return head.replace(b'"shards": []', b'"shards": [\n  ' + shards + b"\n ]", 1) + b"\n"


def decode_ledger(data: bytes, where: object) -> Ledger:
    """Return what `encode_ledger` wrote; raise StorageError."""
    _form(data, where)
    return _decode(data, Ledger, where)


def encode_event(entry: Entry) -> bytes:
    """Return the line of an event."""
    return _json(entry) + b"\n"


def decode_event(line: bytes, where: object) -> Entry:
    """Return the event of a line; raise StorageError."""
    event: Entry = _decode(line, Entry, where)  # type: ignore[arg-type]
    return event


def event_file_start(birth: str, number: int) -> bytes:
    """Return the first line of an event file."""
    return _json(_EventFile(VERSION, birth, number)) + b"\n"


def decode_events(data: bytes, birth: str, number: int, where: object) -> Iterator[Entry]:
    """Yield the events of a file; raise StorageError where it is another file, or was cut off."""
    first, *lines = data.split(b"\n")
    _form(first, where)
    start = _decode(first, _EventFile, where)
    if (start.ledger, start.number) != (birth, number) or not lines or lines.pop():
        raise _unreadable(where, len(data), "it was cut off, or belongs to another ledger")
    for line in lines:
        yield decode_event(line, where)


def _form(data: bytes, where: object) -> int:
    form = _decode(data, _Version, where).version
    if form > VERSION:
        raise StorageError(
            f"{where}: this ledger has form {form}, and this release of airflow-provider-batch knows no form after "
            f"{VERSION}: a newer release wrote it. Install that release here too; nothing was changed."
        )
    return form


def _decode(data: bytes, form: type[_Form], where: object) -> _Form:
    try:
        return msgspec.json.decode(data, type=form)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise _unreadable(where, len(data), str(error)) from error


def _unreadable(where: object, size: int, why: str) -> StorageError:
    return StorageError(
        f"{where}: expected the ledger of a job, found {size:,} bytes that cannot be read as one ({why}). Nothing is "
        "sent while they are there, since batches of the job may be running. If a newer release of "
        "airflow-provider-batch wrote them, install it here too; else restore the file, or move ledger.json away to "
        "begin anew, which pays again for what was sent."
    )


def _json(value: Any) -> bytes:
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:  # half of a surrogate pair, in what the API said of an error
        text = json.dumps(msgspec.to_builtins(value), ensure_ascii=False, separators=(",", ":"))
        return text.encode("utf-8", "replace")
