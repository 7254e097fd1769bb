"""
The files that a ledger consists of, as bytes. `store.py` reads and writes them.

    ledger.json                        names the files that are valid: the birth and the newest base
    ledger-<birth>-000012.json         a base: the ledger as of event file 12
    shards-<birth>-<hash>.jsonl        shards at rest, whose sums are in the base: a header line, then one line for each
                                       shard (`segments.py`)
    events-<birth>-000013.jsonl        event file 13: a header line, then one line for each event

Every file carries the version of its format. A newer version is refused, and so is an unknown field: writing the ledger
without that field would lose what a newer release has recorded.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial, reduce
from operator import or_
from typing import Any, TypeVar

import msgspec

from airflow_provider_batch.exceptions import StorageError
from airflow_provider_batch.jobs.ledger.events import Event
from airflow_provider_batch.jobs.ledger.ledger import Ledger
from airflow_provider_batch.jobs.ledger.shard_list import Places, Resting, Segment, ShardKeys, ShardList
from airflow_provider_batch.jobs.ledger.shard_record import ShardRecord

LEDGER = "ledger.json"
#: The newest format of a ledger that this release can read. In format 1 `ledger.json` was the whole ledger, in format 2
#: a base held all shards.
VERSION = 3
#: Bytes from which an event file gets no further event. Each event reads its file and writes it again.
#: Part of the format: two releases with different values would append to two different files.
EVENT_FILE_BYTES = 8_192
#: A new base is written when the events since the last one have this many bytes, and this share of its size.
BASE_EVERY_BYTES, BASE_EVERY_SHARE = 65_536, 0.25

_FILE = re.compile(
    r"ledger\.json|ledger-[0-9a-f]+-\d+\.json|events-[0-9a-f]+-\d+\.jsonl|shards-[0-9a-f]+-[0-9a-f]+\.jsonl"
)
_Struct = TypeVar("_Struct")
_EVENTS: Any = reduce(or_, Event.__subclasses__())


class Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    The content of `ledger.json`.

    :param version: Version of the format.
    :param birth: Random hex digits that name the ledger's files.
    :param base: Number of the last event file that the newest base includes.
    """

    version: int
    birth: str
    base: int


class _EventFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: int
    ledger: str
    number: int


class _ShardFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: int
    ledger: str
    places: Places


class _Base(Ledger, frozen=True, omit_defaults=True, forbid_unknown_fields=True, dict=True):
    """A ledger whose `shards` are those that are in no segment; `keys` are the runs of all keys."""

    keys: tuple[tuple[str, int], ...] = ()
    segments: tuple[Segment, ...] = ()


class _Version(msgspec.Struct):
    version: int = 1


def is_ledger_file(name: str) -> bool:
    """
    Return whether a file's name is one of a ledger's.

    :param name: Name without its folder.
    """
    return _FILE.fullmatch(name) is not None


def base_name(birth: str, number: int) -> str:
    """
    Return the name of a base.

    :param birth: The ledger's random hex digits.
    :param number: Number of the last event file that the base includes.
    """
    return f"ledger-{birth}-{number:06}.json"


def events_name(birth: str, number: int) -> str:
    """
    Return the name of an event file.

    :param birth: The ledger's random hex digits.
    :param number: Number of the file, from 1.
    """
    return f"events-{birth}-{number:06}.jsonl"


def encode_head(birth: str, base: int) -> bytes:
    """
    Return the content of `ledger.json`.

    :param birth: The ledger's random hex digits.
    :param base: Number of the last event file that the newest base includes.
    """
    return _json(Head(VERSION, birth, base)) + b"\n"


def decode_head(data: bytes, where: object) -> Head | Ledger:
    """
    Decode `ledger.json`: it names the valid files, or holds the whole ledger in the format of release 0.1.

    :param data: Content of the file.
    :param where: Location of the file, for messages.
    :raises StorageError: It is neither, or a newer release wrote it.
    """
    if _format_version(data, where) == 1:
        return _decode(data, Ledger, where)
    return _decode(data, Head, where)


def encode_ledger(ledger: Ledger, segments: Sequence[Segment] = ()) -> bytes:
    """
    Return a ledger as a JSON document with a line for each shard.

    :param ledger: The ledger.
    :param segments: The segments that hold shards at rest; these shards are left out. Without segments, all shards are
        in the document.
    """
    shards: Sequence[ShardRecord] = ledger.shards
    if segments:
        shards = list(ledger.shard_list.each(skip=lambda segment: True))
    lists = {"shards": shards, **({"keys": ledger.shard_list.keys.runs, "segments": segments} if segments else {})}
    text = b",\n ".join(
        b'"%s": [\n  %s\n ]' % (name.encode(), b",\n  ".join(map(_json, lines))) for name, lines in lists.items()
    )
    head = msgspec.json.format(_json(ledger.changed(version=VERSION, shards=())), indent=1)
    return head.replace(b'"shards": []', text, 1) + b"\n"


def decode_ledger(data: bytes, where: object, read: Callable[[str], bytes] | None = None) -> Ledger:
    """
    Return the ledger that `encode_ledger` wrote.

    :param data: Content of the file.
    :param where: Location of the file, for messages.
    :param read: Returns the content of a file of shards at rest by its name; called when one of its shards is needed.
    :raises StorageError: The content is not a ledger, or files that it names cannot be read.
    """
    _format_version(data, where)
    base = _decode(data, _Base, where)
    if not base.segments:
        return _ledger_of(base, base.shard_list)
    if read is None:
        raise _unreadable(where, len(data), "some of its shards are in other files")
    slots: list[ShardRecord | Resting | None] = [None] * sum(count for _, count in base.keys)
    for segment in base.segments:
        resting = Resting(segment, partial(_read_shards, segment, base.birth, read, where))
        for start, end in segment.places:
            slots[start:end] = [resting] * (end - start)
    others = iter(base.shards)
    filled = [next(others, None) if slot is None else slot for slot in slots]
    known = [slot for slot in filled if slot is not None]
    if len(known) != len(filled) or next(others, None) is not None:
        raise _unreadable(where, len(data), "its shards are not as many as their keys")
    return _ledger_of(base, ShardList(known, ShardKeys(base.keys)))


def _ledger_of(base: _Base, shards: ShardList) -> Ledger:
    fields = {name: getattr(base, name) for name in Ledger.__struct_fields__}
    return Ledger(**{**fields, "shards": shards})


def encode_shards(birth: str, places: Places, shards: Sequence[ShardRecord]) -> tuple[str, bytes]:
    """
    Return the name and the content of a file of shards at rest.

    :param birth: The ledger's random hex digits.
    :param places: The places of these shards in the ledger.
    :param shards: The shards, in the order of their places.
    """
    data = b"\n".join(map(_json, (_ShardFile(VERSION, birth, places), *shards))) + b"\n"
    return f"shards-{birth}-{_digest(data)}.jsonl", data


def decode_shards(data: bytes, birth: str, segment: Segment, where: object) -> Mapping[int, ShardRecord]:
    """
    Return the shards of a file by their places in the ledger.

    :param data: Content of the file.
    :param birth: The ledger's random hex digits.
    :param segment: What the base says of the file.
    :param where: Location of the file, for messages.
    :raises StorageError: The file was changed or cut off, or belongs to another ledger.
    """
    first, *lines = data.split(b"\n")
    _format_version(first, where)
    header = _decode(first, _ShardFile, where)
    places = [place for begin, end in header.places for place in range(begin, end)]
    if header.ledger != birth or f"-{_digest(data)}." not in segment.file or len(places) != len(lines) - 1:
        raise _unreadable(where, len(data), "it was cut off or changed, or belongs to another ledger")
    return {place: _decode(line, ShardRecord, where) for place, line in zip(places, lines[:-1], strict=True)}


def _read_shards(segment: Segment, birth: str, read: Callable[[str], bytes], base: object) -> Mapping[int, ShardRecord]:
    return decode_shards(read(segment.file), birth, segment, f"{segment.file}, named by {base}")


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def encode_event(event: Event) -> bytes:
    """
    Return an event as one line.

    :param event: The event.
    """
    return _json(event) + b"\n"


def decode_event(line: bytes, where: object) -> Event:
    """
    Return the event of one line.

    :param line: The line.
    :param where: Location of the file, for messages.
    :raises StorageError: The line is not an event.
    """
    event: Event = _decode(line, _EVENTS, where)
    return event


def event_file_header(birth: str, number: int) -> bytes:
    """
    Return the first line of an event file.

    :param birth: The ledger's random hex digits.
    :param number: Number of the file, from 1.
    """
    return _json(_EventFile(VERSION, birth, number)) + b"\n"


def decode_events(data: bytes, birth: str, number: int, where: object) -> Iterator[Event]:
    """
    Yield the events of a file.

    :param data: Content of the file.
    :param birth: The ledger's random hex digits.
    :param number: Number of the file, from 1.
    :param where: Location of the file, for messages.
    :raises StorageError: The file belongs to another ledger, or was cut off.
    """
    first, *lines = data.split(b"\n")
    _format_version(first, where)
    header = _decode(first, _EventFile, where)
    if (header.ledger, header.number) != (birth, number) or not lines or lines.pop():
        raise _unreadable(where, len(data), "it was cut off, or belongs to another ledger")
    for line in lines:
        yield decode_event(line, where)


def _format_version(data: bytes, where: object) -> int:
    version = _decode(data, _Version, where).version
    if version > VERSION:
        raise StorageError(
            f"{where}: this ledger has format {version}, and this release of airflow-provider-batch reads formats up "
            f"to {VERSION}: a newer release wrote it. Nothing was changed. Install that release here too."
        )
    return version


def _decode(data: bytes, type_: type[_Struct], where: object) -> _Struct:
    try:
        return msgspec.json.decode(data, type=type_)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise _unreadable(where, len(data), str(error)) from error


def _unreadable(where: object, size: int, why: str) -> StorageError:
    return StorageError(
        f"{where}: expected the ledger of a job, found {size:,} bytes that cannot be read as one ({why}). Nothing is "
        "sent while this file is there, since batches of the job may be running. If a newer release of "
        "airflow-provider-batch wrote it, install that release here too; else restore the file, or move ledger.json "
        "away to start a new job, which pays again for what was sent."
    )


def _json(value: Any) -> bytes:
    try:
        return msgspec.json.encode(value, enc_hook=list)
    except UnicodeEncodeError:  # half of a surrogate pair in an error message of the API
        text = json.dumps(msgspec.to_builtins(value, enc_hook=list), ensure_ascii=False, separators=(",", ":"))
        return text.encode("utf-8", "replace")
