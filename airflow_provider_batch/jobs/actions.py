"""The actions that `decisions` can return: the one that is to be done next. `runner` does it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from airflow_provider_batch.api.objects import Batch
from airflow_provider_batch.jobs.ledger.ledger import Closing


@dataclass(frozen=True)
class OfShard:
    """
    An action for one shard.

    :param shard: Key of the shard.
    """

    shard: str


class Resolve(OfShard):
    """
    Look up whether an intent without a response made a batch.

    :param shard: Key of the shard.
    """


@dataclass(frozen=True)
class RecordEnd(OfShard):
    """
    Record that the shard's batch has ended and its files are known.

    :param shard: Key of the shard.
    :param batch: The batch as it was polled.
    """

    batch: Batch


class NoteLate(OfShard):
    """
    Record that the shard's batch has ended without its files; their waiting time starts.

    :param shard: Key of the shard.
    """


class GiveUpOnFiles(OfShard):
    """
    Fail the task: the files of a `completed` batch did not arrive in time, and nothing else runs.

    :param shard: Key of the shard.
    """


@dataclass(frozen=True)
class Requeue(OfShard):
    """
    Send a shard again later: the API refused its batch for a full queue or another reason that goes away by itself.

    :param shard: Key of the shard.
    :param error: What the API said.
    :param retry_at: Epoch seconds before which the shard is not sent again.
    :param passes: Whether the reason is another one than a full queue.
    :param upload_again: Whether the file is uploaded again for the next batch.
    """

    error: str
    retry_at: float
    passes: bool = False
    upload_again: bool = False


@dataclass(frozen=True)
class Close:
    """
    Send nothing more.

    :param closing: Why nothing more is sent.
    """

    closing: Closing


class Land(OfShard):
    """
    Write the shard's results to a part.

    :param shard: Key of the shard.
    """


class Trim(OfShard):
    """
    Remove the rows that were sent again from the shard's part.

    :param shard: Key of the shard.
    """


@dataclass(frozen=True)
class Cancel:
    """
    Ask the API to cancel the running batches.

    :param batch_ids: Ids of the batches.
    """

    batch_ids: tuple[str, ...]


@dataclass(frozen=True)
class PlanRound:
    """
    Put the rows without a final result into new shards.

    :param number: Number of the new round, from 1.
    """

    number: int


class Submit(OfShard):
    """
    Upload the shard's input file unless it is stored at the API, and create its batch.

    :param shard: Key of the shard.
    """


@dataclass(frozen=True)
class Wait:
    """
    Do nothing until one of some batches ends, or until a moment.

    :param until: Epoch seconds.
    :param batch_ids: Ids of the batches.
    """

    until: float
    batch_ids: tuple[str, ...] = ()


@dataclass(frozen=True)
class Finish:
    """
    End the job, or this attempt.

    :param reason: `done`; `submitted` where the job does not wait; else the reason of its closing.
    """

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
