"""
Moves shards at rest into files of their own, so that a resumed worker need not read them.

A shard is written twice: as it was planned, and as it has landed. Each time it goes with other shards into a file that
never changes. The base says which shards are in which file, and has their sums; shards at work are in the base itself.
The name of a file holds the hash of its content, so several attempts that write such files do not overwrite each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import groupby

from airflow_provider_batch.jobs.ledger.files import decode_shards, encode_shards
from airflow_provider_batch.jobs.ledger.ledger import Ledger
from airflow_provider_batch.jobs.ledger.shard_list import Places, Resting, Segment, ShardList
from airflow_provider_batch.jobs.ledger.shard_record import ShardRecord
from airflow_provider_batch.jobs.ledger.totals import Totals

#: Shards in a file, at most: a resumed worker reads one file of planned shards, a base has a line for each file.
SEGMENT_SHARDS = 64
#: Fewer shards than these stay in the base.
SEGMENT_SHARDS_LEAST = 16


def lay_out(ledger: Ledger, birth: str) -> tuple[Ledger, dict[str, bytes]]:
    """
    Move the shards of a ledger that have come to rest into files.

    :param ledger: The ledger.
    :param birth: Random hex digits that name the ledger's files.
    :return: The same ledger in its new layout, and the content of the new files by name.
    """
    slots = list(ledger.shard_list.slots)
    files: dict[str, bytes] = {}
    for places in _groups(slots):
        records = [shard for shard in (slots[place] for place in places) if isinstance(shard, ShardRecord)]
        ranges = _ranges(places)
        name, data = encode_shards(birth, ranges, records)
        files[name] = data
        segment = _segment(name, ranges, records)
        resting = Resting(segment, partial(decode_shards, data, birth, segment, name))
        for place in places:
            slots[place] = resting
    if not files:
        return ledger, files
    return ledger.with_layout(ShardList(slots, ledger.shard_list.keys)), files


def segments_of(shards: ShardList) -> list[Segment]:
    """
    Return the segments of a ledger, each with the places that are still at rest.

    :param shards: The shards of the ledger.
    """
    places: dict[Resting, list[int]] = {}
    for place, slot in enumerate(shards.slots):
        if isinstance(slot, Resting):
            places.setdefault(slot, []).append(place)
    return [_with_places(resting.segment, _ranges(own)) for resting, own in places.items()]


def is_at_rest(shard: ShardRecord) -> bool:
    """
    Return whether a shard was never sent, or has landed and is not to be trimmed.

    :param shard: The shard.
    """
    if shard.given_up or shard.unclear or shard.untrimmed or shard.landed_before is not None:
        return False
    if shard.landing is not None:
        return True
    return shard.state == "planned" and not (shard.intents or shard.file_id or shard.refusals or shard.retry_at)


def _groups(slots: Sequence[ShardRecord | Resting]) -> Iterator[list[int]]:
    """Yield the places of shards that are to go into one file."""
    for state in ("planned", "landed"):
        places = [
            place
            for place, slot in enumerate(slots)
            if isinstance(slot, ShardRecord) and slot.state == state and is_at_rest(slot)
        ]
        for start in range(0, len(places), SEGMENT_SHARDS):
            group = places[start : start + SEGMENT_SHARDS]
            if len(group) >= SEGMENT_SHARDS_LEAST:
                yield group


def _ranges(places: Sequence[int]) -> Places:
    runs = (list(run) for _, run in groupby(enumerate(places), lambda pair: pair[1] - pair[0]))
    return tuple((run[0][1], run[-1][1] + 1) for run in runs)


def _segment(name: str, places: Places, records: Sequence[ShardRecord]) -> Segment:
    landings = [shard.landing for shard in records if shard.landing is not None]
    if not landings:
        models = {shard.model for shard in records}
        tokens = tuple((model, min(one.tokens for one in records if one.model == model)) for model in models)
        return Segment(name, "planned", places, tokens=tokens)
    absent = (intent.last_at for shard in records for intent in shard.intents if intent.outcome == "absent")
    return Segment(
        name,
        "landed",
        places,
        batches=sum(shard.batch_id is not None for shard in records),
        totals=Totals.of(landings),
        absent_at=max(absent, default=None),
    )


def _with_places(segment: Segment, places: Places) -> Segment:
    if segment.places == places:
        return segment
    return Segment(segment.file, segment.state, places, tokens=segment.tokens)
