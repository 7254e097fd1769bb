"""
Claims of a destination: of several jobs with `if_exists="error"` that start at the same moment, one lands its table.

The claim is the file ``_claim.json`` in the table's folder. A conditional write makes it before anything is sent, and
it is removed once the job's manifest is stored, which reserves the folder from then on. The claim is made after the
ledger, so a claim whose ledger is gone belongs to no job. Another job takes over a claim only where its ledger proves
that its owner sends nothing: it is finished, it has ended without a table, nothing of it was ever sent, or its table
goes elsewhere now. An owner that continues later finds the other job's claim or table before it sends anything; it
checks once more right before its first batch.

A job with running batches continues without a claim too, since they are paid for.

A loader claims a folder while it lands there. It has no ledger, so nothing can prove that it was killed, and only a
load of the same tables takes over its claim. The error that others get names the file.
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

#: How often a write of a claim is tried while other jobs change the file.
TRIES = 5
#: Start of the `state` of a loader's claim; the names of its tables follow.
LOADER = "load:"


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """
    The job that has reserved a folder for its table.

    :param job: 12 hex digits of the job, or the name of a loader's first table.
    :param state: URI of the folder of the job's ledger, or a loader's tables.
    :param destination: The table's folder, as the job names it.
    :param at: Epoch seconds.
    :param package_version: Version of this package that wrote the claim.
    """

    job: str
    state: str
    destination: str
    at: float
    package_version: str = __version__


def check_claim(destination: Location, if_exists: IfExists, tools: Tools, store: LedgerStore | None) -> None:
    """
    Check, before anything is prepared, that no other job has claimed a destination.

    :param destination: Folder of the table.
    :param if_exists: What to do where another job's table is; only `error` needs a claim.
    :param tools: Tools of the job.
    :param store: The ledger of the job that asks; None where it has none.
    :raises ConfigurationError: Another job has; the message names it.
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

    :param destination: Folder of the tables.
    :param if_exists: What to do where another job's table is; only `error` needs a claim.
    :param tools: Tools of the loader.
    :param jobs: The tables that are landed together.
    :param stores: The ledgers of those tables that belong to jobs of this package: such a job's claim counts as well.
    :raises ConfigurationError: Another job has claimed the folder, or has a table there.
    """
    if if_exists != "error":
        yield
        return
    named = f"{LOADER}{','.join(sorted(jobs))}"
    own = Claim(job=jobs[0], state=named, destination=destination.uri, at=tools.clock())
    try:
        _claim(destination, own, tools, {named, *(store.folder.uri for store in stores)})
        for job in jobs:
            check_destination(destination, job, if_exists, beside=jobs)  # a table published since the first check
        yield
    finally:
        _release(destination, named)


def claim_table(request: JobRequest, tools: Tools, store: LedgerStore, ledger: Ledger) -> None:
    """
    Claim the destination for a job, before the job sends anything.

    :param request: The job.
    :param tools: Tools of the job.
    :param store: Store of its ledger.
    :param ledger: Its ledger.
    :raises ConfigurationError: Another job has claimed the folder, or has landed its table there.
    :raises JobTakenError: A later attempt has taken over the job.
    """
    if not _needs_claim(request, tools, ledger):
        return
    assert request.table.destination is not None
    destination = tools.resolve(request.table.destination)
    try:
        with store.checking_lease(ledger):  # a later attempt that finishes meanwhile removes files here
            uri, to = store.folder.uri, request.table.destination
            _claim(destination, Claim(job=ledger.job, state=uri, destination=to, at=tools.clock()), tools, {uri})
            check_destination(
                destination, ledger.job, request.table.if_exists
            )  # a table published since the first check
        store.check_lease(ledger)
    except ConfigurationError:
        if not may_have_batches(ledger):
            release_table(destination, store)
            raise
    except JobTakenError:  # a later attempt may have landed, and released the claim, before this one made it again
        later = store.load()
        if later is None or not may_have_batches(later):
            release_table(destination, store)
        raise


def check_still_claimed(request: JobRequest, tools: Tools, store: LedgerStore, ledger: Ledger) -> None:
    """
    Check, right before a job's first batch, that no other job has taken over its claim.

    :param request: The job.
    :param tools: Tools of the job.
    :param store: Store of its ledger.
    :param ledger: Its ledger.
    :raises ConfigurationError: Another job has.
    """
    if ledger.first_submitted_at is None and _needs_claim(request, tools, ledger):
        claim_table(request, tools, store, ledger)


def release_table(destination: Location, store: LedgerStore) -> None:
    """
    Remove the job's claim, if it has one.

    :param destination: Folder of the table.
    :param store: Store of the job's ledger.
    """
    _release(destination, store.folder.uri)


def _release(destination: Location, state: str) -> None:
    stored = (destination / CLAIM).read_stored()
    if stored is not None and _decode(stored.data, destination).state == state:
        (destination / CLAIM).delete_if(stored.version)


def may_have_batches(ledger: Ledger) -> bool:
    """
    Return whether an unfinished job has sent something, or may have, and continues by itself.

    :param ledger: The job's ledger.
    """
    if ledger.finished_at is not None:
        return False
    is_open = ledger.closing is None and (ledger.first_submitted_at is not None or ledger.batch_count > 0)
    return is_open or bool(ledger.active_ids) or bool(ledger.shards_in("intended"))


def _needs_claim(request: JobRequest, tools: Tools, ledger: Ledger) -> bool:
    """Return whether a job needs a claim; a job whose own table is there does not: its manifest reserves the folder."""
    if request.table.destination is None or request.table.if_exists != "error" or ledger.finished_at is not None:
        return False
    return not (tools.resolve(request.table.destination) / manifest_name(ledger.job)).exists()


def _claim(destination: Location, own: Claim, tools: Tools, own_states: Collection[str]) -> None:
    """
    Write a claim, unless one of this job is there.

    :param own_states: The `state` of each claim that counts as this job's.
    """
    for _ in range(TRIES):
        stored = (destination / CLAIM).read_stored()
        if stored is not None:
            claim = _decode(stored.data, destination)
            if claim.state in own_states:
                return
            _check_free(destination, claim, tools, own_states)
        data = msgspec.json.format(msgspec.json.encode(own), indent=1)
        if (destination / CLAIM).write_if(data, None if stored is None else stored.version, keeps_lock=False):
            return
    raise StorageError(
        f"{destination / CLAIM}: other jobs changed it at each of {TRIES} tries to write it. Retry the task."
    )


def _check_free(destination: Location, claim: Claim, tools: Tools, own_states: Collection[str]) -> None:
    """Raise ConfigurationError unless a claim is this job's, or its owner's ledger proves that it sends nothing."""
    if claim.state in own_states:
        return
    if claim.state.startswith(LOADER):
        raise ConfigurationError(
            f"{destination}: expected no table of another job, and a loader, which lands batches as table {claim.job}, "
            "has claimed this folder. Nothing was sent. Wait for it, choose another folder, or set if_exists='append' "
            "to write beside it or if_exists='replace' to remove its table once the new one is published. If that "
            f"loader was killed, run it again, or remove {destination / CLAIM}."
        )
    why = ""
    try:
        ledger = LedgerStore(tools.resolve(claim.state)).load()
    except (StorageError, ConfigurationError) as error:
        why = f" It is not known whether that job still runs: {error}"
    else:
        if ledger is None or ledger.destination != claim.destination or not may_have_batches(ledger):
            return
    raise ConfigurationError(
        f"{destination}: expected no table of another job, and job {claim.job}, which is not finished, has claimed "
        f"this folder; its ledger is {claim.state}.{why} Wait for it, choose another folder, or set "
        "if_exists='append' to write beside it or if_exists='replace' to remove its table once the new one is "
        f"published. If no task will continue that job, remove {destination / CLAIM}."
    )


def _decode(data: bytes, destination: Location) -> Claim:
    try:
        return msgspec.json.decode(data, type=Claim)
    except msgspec.MsgspecError as error:
        raise StorageError(
            f"{destination / CLAIM}: expected the claim of a job, found something else ({error}). Move the file away "
            "if nothing needs it."
        ) from error
