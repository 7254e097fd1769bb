"""
The events that change a ledger. `transitions.py` defines what each event changes.

A job is a set of shards. Each shard passes through five states, and only a recorded event moves it to the next one::

    planned ──Intended──▶ intended ──Accepted──▶ submitted ──Ended──▶ ended ──Landed──▶ landed
       ▲                     │                       │
       └──Refused, Absent────┘◀──────Requeued────────┘

An intent is recorded *before* the POST that creates a batch, and its outcome after the POST. So an intent without an
outcome means: a batch may exist at the API.
"""

from __future__ import annotations

import msgspec

from airflow_provider_batch.jobs.ledger.ledger import Claim, Closing, Ledger
from airflow_provider_batch.jobs.ledger.shard_record import Ending, Landing, ShardRecord


class Event(msgspec.Struct, frozen=True, tag=True, omit_defaults=True, forbid_unknown_fields=True):
    """An event of a ledger; it is stored with the name of its class."""


class Begun(Event, frozen=True):
    """
    A generation of the job begins.

    :param ledger: The first ledger of the generation.
    """

    ledger: Ledger


class Leased(Event, frozen=True):
    """
    An attempt has taken over the job.

    :param owner: Name of the attempt, for people.
    :param at: Epoch seconds.
    :param era: Number of the clear of the task that this attempt belongs to; None where it does not change.
    :param claim: The mapped instance that works on the job from now on; None where it does not change.
    :param given_up: Keys of shards that this clear sends or lands again on purpose although they are unclear: the
        results cannot be read, or it is unknown whether the create made a batch.
    """

    owner: str
    at: float
    era: int | None = None
    claim: Claim | None = None
    given_up: tuple[str, ...] = ()


class Uploaded(Event, frozen=True):
    """
    The input file of a shard is stored at the API.

    :param shard: Key of the shard.
    :param file_id: Id of the input file.
    """

    shard: str
    file_id: str


class Intended(Event, frozen=True):
    """
    A POST that creates a batch is about to be made.

    :param shard: Key of the shard.
    :param at: Epoch seconds.
    """

    shard: str
    at: float


class Accepted(Event, frozen=True):
    """
    The POST has made a batch: its response says so, or a look-up has found the batch.

    :param shard: Key of the shard.
    :param batch_id: Id of the batch.
    :param at: Epoch seconds.
    """

    shard: str
    batch_id: str
    at: float


class Refused(Event, frozen=True):
    """
    The POST has certainly made no batch.

    :param shard: Key of the shard.
    :param error: What the API said.
    :param retry_at: Epoch seconds before which the shard is not sent again; None for no delay.
    :param passes: Whether the reason goes away by itself and is not a full queue.
    :param upload_again: Whether the input file cannot be used, so that it has to be uploaded again.
    """

    shard: str
    error: str
    retry_at: float | None = None
    passes: bool = False
    upload_again: bool = False


class Postponed(Event, frozen=True):
    """
    A shard is not sent yet: the service takes no more files now, or has not processed this shard's.

    :param shard: Key of the shard.
    :param error: What the API said.
    :param at: Epoch seconds.
    :param retry_at: Epoch seconds before which the shard is not sent.
    :param passes: As in `Refused`.
    :param upload_again: As in `Refused`.
    """

    shard: str
    error: str
    at: float
    retry_at: float
    passes: bool = False
    upload_again: bool = False


class Unanswered(Event, frozen=True):
    """
    The POST has ended without a clear response. The API's list of batches shows later what it made.

    :param shard: Key of the shard.
    :param at: Epoch seconds.
    """

    shard: str
    at: float


class Absent(Event, frozen=True):
    """
    A look-up has shown that the POST made no batch.

    :param shard: Key of the shard.
    """

    shard: str


class Requeued(Event, frozen=True):
    """
    The batch was made, and refused as a whole before any request ran. The shard waits for its next POST.

    :param shard: Key of the shard.
    :param error: What the API said.
    :param retry_at: Epoch seconds before which the shard is not sent again.
    :param passes: As in `Refused`.
    :param upload_again: As in `Refused`.
    """

    shard: str
    error: str
    retry_at: float
    passes: bool = False
    upload_again: bool = False


class Ended(Event, frozen=True):
    """
    The batch of a shard has reached its last status.

    :param shard: Key of the shard.
    :param ending: The last status, the files and the counts.
    """

    shard: str
    ending: Ending


class Late(Event, frozen=True):
    """
    The batch has ended, and its files are not there yet.

    :param shard: Key of the shard.
    :param at: Epoch seconds.
    """

    shard: str
    at: float


class Unclear(Event, frozen=True):
    """
    The task reports that the results of a shard cannot be read, or that it is unknown whether its POST made a batch.

    :param shard: Key of the shard.
    """

    shard: str


class Landed(Event, frozen=True):
    """
    The final rows of a shard are stored in a part, the other rows in its retry file.

    :param shard: Key of the shard.
    :param landing: Counts, costs and file names.
    :param embedding_size: Numbers in each vector of an embeddings job; None for other endpoints.
    """

    shard: str
    landing: Landing
    embedding_size: int | None = None


class RoundPlanned(Event, frozen=True):
    """
    The rows without a final result are stored in new shards.

    :param shards: The new shards.
    """

    shards: tuple[ShardRecord, ...]


class CancelAsked(Event, frozen=True):
    """
    The API was asked to cancel the running batches.

    :param at: Epoch seconds.
    """

    at: float


class Closed(Event, frozen=True):
    """
    Nothing more is sent. Running batches are awaited and landed.

    :param closing: Why nothing more is sent.
    """

    closing: Closing


class Reopened(Event, frozen=True):
    """
    A new attempt continues after a closing that was not final.

    :param at: Epoch seconds from which the job's time counts again; None keeps the time of the first submission.
    """

    at: float | None = None


class Relanding(Event, frozen=True):
    """
    Every ended shard is landed again from the same batches.

    :param destination: URI of the table's folder; it may differ from the one before.
    :param partition_by: Partition columns; they may differ from those before.
    """

    destination: str
    partition_by: tuple[str, ...] = ()


class RerunPlanned(Event, frozen=True):
    """
    The rows without success are stored in new shards, to be sent once more on purpose.

    Their old results stay in the parts until those parts are trimmed, so that a crash in between loses no result.

    :param shards: The new shards.
    :param era: Number of the clear of the task that asked for the rerun.
    """

    shards: tuple[ShardRecord, ...]
    era: int


class Trimmed(Event, frozen=True):
    """
    A part holds succeeded rows only: the other rows were sent again by a rerun.

    :param shard: Key of the shard.
    :param rows: Rows of the part.
    :param folders: Rows of the part by partition folder.
    :param part: New name of the part; None in ledgers of release 0.1, which overwrote the old part.
    :param row_checksum: Checksum of the row numbers of the part; None where it is not known.
    """

    shard: str
    rows: int
    folders: dict[str, int] = {}
    part: str | None = None
    row_checksum: str | None = None


class Finished(Event, frozen=True):
    """
    Every input row has its result.

    :param at: Epoch seconds.
    """

    at: float
