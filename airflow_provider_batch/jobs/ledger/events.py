"""
The entries that change a ledger; what each makes of it stands in `transitions.py`.

Theory. A job is a set of shards that pass through five states, each reached by recorded facts only::

    planned ──Intended──▶ intended ──Accepted──▶ submitted ──Ended──▶ ended ──Landed──▶ landed
       ▲                     │                       │
       └──Refused, Absent────┘◀──────Requeued────────┘

An intent is recorded *before* a POST, its outcome after. A ledger that is opened with an open intent says: a batch
may exist.
"""

from __future__ import annotations

import msgspec

from airflow_provider_batch.jobs.ledger.ledger import Claim, Closing, Ledger
from airflow_provider_batch.jobs.ledger.shard_record import Ending, Landing, ShardRecord


class Begun(msgspec.Struct, frozen=True, tag=True, omit_defaults=True, forbid_unknown_fields=True):
    """A generation begins, with this as its first ledger."""

    ledger: Ledger


class Leased(msgspec.Struct, frozen=True, tag=True, omit_defaults=True, forbid_unknown_fields=True):
    """
    An attempt took the job over; with an `era`, it goes on with what that clear of the task has found unfinished; with
    a `claim`, for that mapped instance. `given_up` are shards whose results were not understood, or of whose create
    nobody can tell what it made: what is unclear goes again, on purpose.
    """

    owner: str
    at: float
    era: int | None = None
    claim: Claim | None = None
    given_up: tuple[str, ...] = ()


class Uploaded(msgspec.Struct, frozen=True, tag=True, omit_defaults=True, forbid_unknown_fields=True):
    """A shard's input file stands at the API."""

    shard: str
    file_id: str


class Intended(msgspec.Struct, frozen=True, tag=True, omit_defaults=True, forbid_unknown_fields=True):
    """A POST is about to be made."""

    shard: str
    at: float


class Accepted(msgspec.Struct, frozen=True, tag=True, omit_defaults=True, forbid_unknown_fields=True):
    """The POST made this batch, whether its answer came or a look-up found it."""

    shard: str
    batch_id: str
    at: float


class Refused(msgspec.Struct, frozen=True, tag=True, omit_defaults=True, forbid_unknown_fields=True):
    """
    The POST surely made no batch; `retry_at` says when another may be made.

    `passes` says that the reason passes by itself and is no full queue, `upload_again` that the file is of no use.
    """

    shard: str
    error: str
    retry_at: float | None = None
    passes: bool = False
    upload_again: bool = False


class Unanswered(msgspec.Struct, frozen=True, tag=True, omit_defaults=True, forbid_unknown_fields=True):
    """The POST ended without a clear answer: what it made, the API's list shows some time from now."""

    shard: str
    at: float


class Absent(msgspec.Struct, frozen=True, tag=True, omit_defaults=True, forbid_unknown_fields=True):
    """A look-up showed that the POST made no batch."""

    shard: str


class Requeued(msgspec.Struct, frozen=True, tag=True, omit_defaults=True, forbid_unknown_fields=True):
    """
    The batch was made and refused as a whole before anything ran: the file waits for its next POST.

    `passes` and `upload_again` are those of `Refused`.
    """

    shard: str
    error: str
    retry_at: float
    passes: bool = False
    upload_again: bool = False


class Ended(msgspec.Struct, frozen=True, tag=True, omit_defaults=True, forbid_unknown_fields=True):
    """Nothing more will happen to the shard's batch."""

    shard: str
    ending: Ending


class Late(msgspec.Struct, frozen=True, tag=True, omit_defaults=True, forbid_unknown_fields=True):
    """The batch says `completed` and its files are not there yet."""

    shard: str
    at: float


class Unclear(msgspec.Struct, frozen=True, tag=True, omit_defaults=True, forbid_unknown_fields=True):
    """The task says that the shard's results are not understood, or that nobody can tell what its POST made."""

    shard: str


class Landed(msgspec.Struct, frozen=True, tag=True, omit_defaults=True, forbid_unknown_fields=True):
    """The shard's final rows stand in a part, the others in its retry file."""

    shard: str
    landing: Landing
    embedding_size: int | None = None


class RoundPlanned(msgspec.Struct, frozen=True, tag=True, omit_defaults=True, forbid_unknown_fields=True):
    """The rows without a final answer stand in new shards."""

    shards: tuple[ShardRecord, ...]


class CancelAsked(msgspec.Struct, frozen=True, tag=True, omit_defaults=True, forbid_unknown_fields=True):
    """We asked the API to cancel what is running."""

    at: float


class Closed(msgspec.Struct, frozen=True, tag=True, omit_defaults=True, forbid_unknown_fields=True):
    """Nothing more is sent; what runs is waited for and landed."""

    closing: Closing


class Reopened(msgspec.Struct, frozen=True, tag=True, omit_defaults=True, forbid_unknown_fields=True):
    """A new attempt goes on after a closing that was not final; `at` starts the job's time anew."""

    at: float | None = None


class Relanding(msgspec.Struct, frozen=True, tag=True, omit_defaults=True, forbid_unknown_fields=True):
    """
    Every ended shard is to be landed again, from the same batches, at a destination and in partitions that may be
    others.
    """

    destination: str
    partition_by: tuple[str, ...] = ()


class RerunPlanned(msgspec.Struct, frozen=True, tag=True, omit_defaults=True, forbid_unknown_fields=True):
    """
    The rows without success stand in new shards, to be sent once more on purpose.

    Their old results stay in the parts until these are trimmed, so that a crash in between loses none.
    """

    shards: tuple[ShardRecord, ...]
    era: int


class Trimmed(msgspec.Struct, frozen=True, tag=True, omit_defaults=True, forbid_unknown_fields=True):
    """
    A part holds succeeded rows only: the others have moved on to a rerun. `part` is its new name; release 0.1 wrote it
    in the place of the old one.
    """

    shard: str
    rows: int
    folders: dict[str, int] = {}
    part: str | None = None
    row_checksum: str | None = None


class Finished(msgspec.Struct, frozen=True, tag=True, omit_defaults=True, forbid_unknown_fields=True):
    """Every input row has its result."""

    at: float


Event = (
    Begun
    | Leased
    | Uploaded
    | Intended
    | Accepted
    | Refused
    | Unanswered
    | Absent
    | Requeued
    | Ended
    | Late
    | Unclear
    | Landed
    | RoundPlanned
    | CancelAsked
    | Closed
    | Reopened
    | Relanding
    | RerunPlanned
    | Trimmed
    | Finished
)
