"""What `decisions` can answer: the one thing that is to be done next. `runner` does it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from airflow_provider_batch.api.objects import Batch
from airflow_provider_batch.jobs.ledger.ledger import Closing


@dataclass(frozen=True)
class Resolve:
    """Look up what an intent without an answer made."""

    shard: str


@dataclass(frozen=True)
class RecordEnd:
    """The shard's batch has ended and its files are known."""

    shard: str
    batch: Batch


@dataclass(frozen=True)
class NoteLate:
    """The shard's batch has ended without the files that it owes: start the patience."""

    shard: str


@dataclass(frozen=True)
class GiveUpOnFiles:
    """The patience with a `completed` batch's late files is over, and nothing else is left to wait for."""

    shard: str


@dataclass(frozen=True)
class Requeue:
    """
    The API refused the shard's batch for lack of room in its queue, or for another reason that passes (`passes`).

    :param upload_again: Whether the file is uploaded again for the next batch.
    """

    shard: str
    error: str
    retry_at: float
    passes: bool = False
    upload_again: bool = False


@dataclass(frozen=True)
class Close:
    """Send nothing more, and say why."""

    closing: Closing


@dataclass(frozen=True)
class Land:
    """Turn the shard's results into a part."""

    shard: str


@dataclass(frozen=True)
class Trim:
    """Take the rows that are sent again out of the shard's part."""

    shard: str


@dataclass(frozen=True)
class Cancel:
    """Ask the API to cancel what still runs."""

    batch_ids: tuple[str, ...]


@dataclass(frozen=True)
class PlanRound:
    """Put the rows without a final answer into new shards."""

    number: int


@dataclass(frozen=True)
class Submit:
    """Upload the shard's file if it is not there, and create its batch."""

    shard: str


@dataclass(frozen=True)
class Wait:
    """Nothing to do before one of these batches ends, or `until` (epoch seconds)."""

    until: float
    batch_ids: tuple[str, ...] = ()


@dataclass(frozen=True)
class Finish:
    """The job is over: `done`, `submitted` (it does not wait), or the reason of its closing."""

    reason: Literal["done", "submitted", "timeout", "cancelled", "refused"]


Action = (
    Resolve
    | RecordEnd
    | NoteLate
    | GiveUpOnFiles
    | Requeue
    | Close
    | Land
    | Trim
    | Cancel
    | PlanRound
    | Submit
    | Wait
    | Finish
)
