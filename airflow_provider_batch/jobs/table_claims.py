"""
Claiming a destination: of several jobs with `if_exists="error"` that start at the same moment, one lands.

The claim is the file ``_claim.json`` in the table's folder, made by a conditional write before anything is sent, and
removed once the job's manifest stands, which says the same from then on. It is made after the ledger, so a claim whose
ledger is gone is nobody's. Another job takes a claim over only where its ledger proves that its owner sends nothing:
it is finished, it has ended without a table, nothing of it was ever sent, or its table goes elsewhere by now. An owner
that comes back then finds the other's claim or table before it sends anything; right before its first batch it looks
once more.

A job that has batches at work goes on without a claim, too: they are paid for.

A loader claims a folder while it lands there. It has no ledger: that it was killed is proved by nothing, and its claim
is taken over by a load of the same tables alone. The message to others names the file.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

import msgspec

from airflow_provider_batch import __version__
from airflow_provider_batch.exceptions import ConfigurationError, JobTakenError, StorageError
from airflow_provider_batch.jobs.job_request import IfExists, JobRequest, Tools
from airflow_provider_batch.jobs.ledger.ledger import Ledger
from airflow_provider_batch.jobs.ledger.store import LedgerStore
from airflow_provider_batch.storage import Location
from airflow_provider_batch.table.file_names import CLAIM, manifest_name
from airflow_provider_batch.table.manifest import check_destination

#: How often a claim that others change at the same moment is tried again.
TRIES = 5
#: How the `state` of a loader's claim begins; the names of its tables follow.
LOADER = "load:"


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """
    Whose table a folder is to have.

    :param state: URI of the folder of the job's ledger, or a loader's tables.
    :param destination: The table's folder, as the job names it.
    :param at: Epoch seconds.
    """

    job: str
    state: str
    destination: str
    at: float
    package_version: str = __version__


def check_claim(destination: Location, if_exists: IfExists, tools: Tools, store: LedgerStore | None) -> None:
    """
    Check, before anything is prepared, that no other job has claimed a destination.

    :param store: The ledger of the job that asks; None where it has none.
    :raises ConfigurationError: One has; the message names it.
    """
    stored = (destination / CLAIM).read_or_none() if if_exists == "error" else None
    if stored is not None:
        _check_free(destination, _decode(stored, destination), tools, () if store is None else (store.folder.uri,))


@contextmanager
def claimed_by_loader(
    destination: Location, if_exists: IfExists, tools: Tools, jobs: Sequence[str], stores: Sequence[LedgerStore]
) -> Iterator[None]:
    """
    Claim a destination while a loader lands and publishes there.

    :param jobs: The tables that are landed together.
    :param stores: The ledgers of those that are of jobs of ours: such a job's claim holds the place as well.
    :raises ConfigurationError: Somebody else has claimed it, or has a table there.
    """
    if if_exists != "error":
        yield
        return
    named = f"{LOADER}{','.join(sorted(jobs))}"
    own = Claim(job=jobs[0], state=named, destination=destination.uri, at=tools.clock())
    try:
        _claim(destination, own, tools, {named, *(store.folder.uri for store in stores)})
        for job in jobs:
            check_destination(destination, job, if_exists, beside=jobs)  # a table that came since the first look
        yield
    finally:
        _release(destination, named)


def claim_table(request: JobRequest, tools: Tools, store: LedgerStore, ledger: Ledger) -> None:
    """
    Claim the destination for a job that is to send something; call it before it does.

    :raises ConfigurationError: Another job has claimed it, or has landed its table there.
    :raises JobTakenError: A later attempt has taken the job over.
    """
    if not _needs_claim(request, tools, ledger):
        return
    assert request.table.destination is not None
    destination = tools.resolve(request.table.destination)
    try:
        with store.holding(ledger):  # a later attempt that finishes meanwhile removes what is left over here
            uri, to = store.folder.uri, request.table.destination
            _claim(destination, Claim(job=ledger.job, state=uri, destination=to, at=tools.clock()), tools, {uri})
            check_destination(
                destination, ledger.job, request.table.if_exists
            )  # a table that came since the first look
        store.check_lease(ledger)
    except ConfigurationError:
        if not is_at_work(ledger):
            release_table(destination, store)
            raise
    except JobTakenError:  # a later attempt may have landed, and released the claim, before this one made it again
        later = store.load()
        if later is None or not is_at_work(later):
            release_table(destination, store)
        raise


def check_still_claimed(request: JobRequest, tools: Tools, store: LedgerStore, ledger: Ledger) -> None:
    """
    Check right before a job's first batch that nobody has taken its claim over.

    :raises ConfigurationError: Somebody has.
    """
    if ledger.first_submitted_at is None and _needs_claim(request, tools, ledger):
        claim_table(request, tools, store, ledger)


def release_table(destination: Location, store: LedgerStore) -> None:
    """Remove the job's claim, if it has one."""
    _release(destination, store.folder.uri)


def _release(destination: Location, state: str) -> None:
    stored = (destination / CLAIM).read_or_none()
    if stored is not None and _decode(stored, destination).state == state:
        (destination / CLAIM).delete()


def is_at_work(ledger: Ledger) -> bool:
    """Return whether a job has sent something, or may have, and goes on by itself."""
    if ledger.finished_at is not None:
        return False
    is_open = ledger.closing is None and (ledger.first_submitted_at is not None or ledger.batch_count > 0)
    return is_open or bool(ledger.active_ids) or bool(ledger.shards_in("intended"))


def _needs_claim(request: JobRequest, tools: Tools, ledger: Ledger) -> bool:
    """A job whose own table stands there needs none: the manifest holds the place."""
    if request.table.destination is None or request.table.if_exists != "error" or ledger.finished_at is not None:
        return False
    return not (tools.resolve(request.table.destination) / manifest_name(ledger.job)).exists()


def _claim(destination: Location, own: Claim, tools: Tools, ours: Collection[str]) -> None:
    """
    Write a claim, unless one of ours is there.

    :param ours: The `state` of each claim that holds the place for us.
    """
    for _ in range(TRIES):
        stored = (destination / CLAIM).read_stored()
        if stored is not None:
            claim = _decode(stored.data, destination)
            if claim.state in ours:
                return
            _check_free(destination, claim, tools, ours)
        data = msgspec.json.format(msgspec.json.encode(own), indent=1)
        if (destination / CLAIM).write_if(data, None if stored is None else stored.version, keeps_lock=False):
            return
    raise StorageError(f"{destination / CLAIM}: others have changed it again and again while it was to be written.")


def _check_free(destination: Location, claim: Claim, tools: Tools, ours: Collection[str]) -> None:
    """Raise ConfigurationError unless a claim is ours, or its owner's ledger proves that it sends nothing."""
    if claim.state in ours:
        return
    if claim.state.startswith(LOADER):
        raise ConfigurationError(
            f"{destination}: expected no table of another job, and a loader, which lands batches as table {claim.job}, "
            "has claimed this folder. Nothing was sent. Wait for it, choose another folder, or say if_exists='append' "
            "to write beside it or if_exists='replace' to remove its table when the new one stands. If that loader was "
            f"killed, run it again, or remove {destination / CLAIM}."
        )
    why = ""
    try:
        ledger = LedgerStore(tools.resolve(claim.state)).load()
    except (StorageError, ConfigurationError) as error:
        why = f" Whether that job is still at work cannot be told: {error}"
    else:
        if ledger is None or ledger.destination != claim.destination or not is_at_work(ledger):
            return
    raise ConfigurationError(
        f"{destination}: expected no table of another job, and job {claim.job}, which is at work, has claimed this "
        f"folder for its own; its ledger is {claim.state}.{why} Wait for it, choose another folder, or say "
        "if_exists='append' to write beside it or if_exists='replace' to remove its table when the new one stands. If "
        f"nobody will go on with that job, remove {destination / CLAIM}."
    )


def _decode(data: bytes, destination: Location) -> Claim:
    try:
        return msgspec.json.decode(data, type=Claim)
    except msgspec.MsgspecError as error:
        raise StorageError(
            f"{destination / CLAIM}: expected the claim of a job, found something else ({error}). Move the file away "
            "if nothing needs it."
        ) from error
