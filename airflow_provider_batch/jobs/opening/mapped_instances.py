"""
Which job belongs to which of a task's mapped instances, when a clear has changed their order or two inputs are equal.

    <state_path>/<run key>/inputs/<input>-<job>       empty; the job was begun with this input
    <state_path>/<run key>/claims/<map index>.json    the job that the instance works on, where it is not its first,
                                                      and whether it has left it

Each ledger has one claim: the map index that works on it, and how often the run had been cleared when that began
(Airflow's `clear_number`, the same for all instances). Equal inputs are interchangeable, so the rule is short:

- An instance keeps the job it has while its input is that job's.
- Otherwise it takes a job with its input whose claim is older than the latest clear, by a conditional write: of several
  instances one gets it. A claim as new as the clear is never taken, so equal instances of one run are separate jobs.
- A claim that is older is still left alone where Airflow says that its instance was not cleared: it is deferred, waits
  for a retry, or has ended. Of one that is running that cannot be told; it is waited for, then the task fails and can
  be retried.
- Else it begins a job of its own.

Guaranteed: no ledger has two claimants, and after a clear that changes only the order no input is paid for again. If
one instance alone is cleared and gets an input that it did not have before, equal to that of an instance which is just
then being scheduled, the latter may have to begin a job of its own.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence

import msgspec

from airflow_provider_batch.exceptions import JobTakenError, StorageError
from airflow_provider_batch.jobs.identity import Fingerprint, Identity, digest
from airflow_provider_batch.jobs.job_request import JobRequest, Tools
from airflow_provider_batch.jobs.ledger.events import Leased
from airflow_provider_batch.jobs.ledger.ledger import Claim, Ledger
from airflow_provider_batch.jobs.ledger.store import LedgerStore, job_folder
from airflow_provider_batch.storage import Location

INPUTS, CLAIMS = "inputs", "claims"
#: The newest form of a claim's file that this release can read.
VERSION = 1
#: Seconds between two looks at an instance that may have been cleared and has not said what its input is now; how many.
PAUSE, PAUSES = 2.0, 30
#: How often a claim is tried while another attempt writes to the ledger.
CLAIM_TRIES = 10
#: States of a task instance that was not cleared since it last worked on its job.
UNCLEARED = frozenset(
    {"deferred", "up_for_retry", "up_for_reschedule", "success", "failed", "skipped", "upstream_failed"}
)


class _Claimed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`has_left` says that the job may be taken: its instance has another input now, and looks for one with that."""

    version: int
    job: str
    has_left: bool = False


def own_folder(state: Location, identity: Identity) -> Location:
    """Return the folder of the job that a task instance works on: its first one, where it has claimed no other."""
    said = _read_claim(state, identity) if identity.map_index >= 0 else None
    return job_folder(state, identity) if said is None else state / identity.run_key / said.job


def find_moved(request: JobRequest, tools: Tools, asked: Fingerprint) -> tuple[LedgerStore, Ledger] | None:
    """
    Claim a job of this input that no instance works on any more, after a clear; None where there is none.

    :raises JobTakenError: Whether another instance still works on it could not be told.
    """
    if request.clear_number == 0:  # no claim can be older
        return None
    for folder, is_certain in _candidates(request, asked):
        store = LedgerStore(folder)
        try:
            ledger = _claimed_if_free(request, tools, store, asked)
        except StorageError as error:
            if is_certain:  # a job of this very input: whether it was paid for is not known
                raise
            tools.log.warning("%s is left out of the search for this input's job: %s", folder, error)
            continue
        if ledger is not None:
            index = ledger.identity.map_index
            tools.log.info("This input's job is that of map index %s: the order has changed.", index)
            return store, ledger
    return None


def _claimed_if_free(request: JobRequest, tools: Tools, store: LedgerStore, asked: Fingerprint) -> Ledger | None:
    """Claim a ledger if it has this input and no instance works on it; None otherwise."""
    for _ in range(CLAIM_TRIES):
        ledger = store.load()
        if ledger is None or ledger.destination != request.table.destination or ledger.fingerprint.changes(asked):
            return None
        if not _is_free(request, tools, store, ledger):
            return None
        try:
            return claim(request, tools, store, ledger)
        except JobTakenError:
            taken = store.load()
            if taken is None or is_own(request, taken):  # by another attempt of this instance: it has found its job
                raise
    raise JobTakenError(
        f"{store.location}: other instances write to this job, which has the same input; retry the task."
    )


def claim(request: JobRequest, tools: Tools, store: LedgerStore, ledger: Ledger) -> Ledger:
    """Take a ledger's lease for this instance; raise JobTakenError where another one has."""
    return store.record(ledger, Leased(owner=uuid.uuid4().hex, at=tools.clock(), claim=claim_of(request)))


def claim_of(request: JobRequest) -> Claim | None:
    """Return the claim that this instance makes on a ledger; None for a task that is not mapped."""
    index = request.identity.map_index
    return None if index < 0 else Claim(index, request.clear_number)


def is_own(request: JobRequest, ledger: Ledger) -> bool:
    """Return whether a ledger is this instance's."""
    return request.identity.map_index < 0 or ledger.claimed_by.map_index == request.identity.map_index


def leave(request: JobRequest, tools: Tools, store: LedgerStore, ledger: Ledger) -> Ledger:
    """
    Say that this instance has another input now, so that its job may be taken by the one that has got that.

    An earlier attempt of this instance that is still at work on the job loses its lease.
    """
    if request.clear_number == 0:
        return ledger
    _write_claim(request, _Claimed(VERSION, ledger.job, has_left=True))
    if not is_own(request, ledger) or ledger.finished_at is not None:
        return ledger
    try:
        return store.record(ledger, Leased(owner=uuid.uuid4().hex, at=tools.clock()))
    except JobTakenError:
        return store.load() or ledger


def keep(request: JobRequest, ledger: Ledger) -> None:
    """Note which job this instance works on."""
    if request.identity.map_index >= 0:
        _write_claim(request, _Claimed(VERSION, ledger.job))


def unused_identity(request: JobRequest) -> Identity:
    """Return an identity for another job of this instance, since its first one is another instance's by now."""
    identity = request.identity
    for number in range(1, 1000):
        another = msgspec.structs.replace(identity, copy=number)
        ledger = LedgerStore(job_folder(request.state, another)).load()
        if ledger is None or ledger.claimed_by.map_index == identity.map_index:
            return another
    raise StorageError(f"{request.state / identity.run_key}: expected fewer than 1,000 jobs of one task instance.")


def mark_input(request: JobRequest, asked: Fingerprint, identity: Identity) -> None:
    """Make a job findable by its input; before its ledger is begun, so that no ledger is without it."""
    if identity.map_index >= 0:
        (_run(request) / INPUTS / f"{_input_key(request, asked)}-{identity.job}").write(b"")


def _candidates(request: JobRequest, asked: Fingerprint) -> Iterator[tuple[Location, bool]]:
    """
    Yield the folders of jobs with this input, and whether that is certain; each instance begins at another one.

    Jobs of release 0.1 have no mark, and are all looked at.
    """
    run, key, own = _run(request), _input_key(request, asked), request.identity.job
    marks = (run / INPUTS).list()
    equal = [name.rpartition("-")[2] for name in marks if name.startswith(f"{key}-")]
    start = request.identity.map_index % max(1, len(equal))
    yield from ((run / job, True) for job in (*equal[start:], *equal[:start]))
    known = {name.rpartition("-")[2] for name in marks} | {INPUTS, CLAIMS, own}
    yield from ((run / name, False) for name in run.list_folders() if name not in known)


def _is_free(request: JobRequest, tools: Tools, store: LedgerStore, ledger: Ledger) -> bool:
    """Return whether the claim on a ledger is over; waits where that is about to be seen."""
    pauses = iter(range(PAUSES))
    while True:
        claimed = ledger.claimed_by
        if claimed.map_index == request.identity.map_index:
            return True
        if claimed.clear_number >= request.clear_number:
            return False
        if tools.sibling_state is None or _has_left(request, ledger):
            return True
        state = _state_of(claimed.map_index, tools, store)
        if state in UNCLEARED:
            return _has_left(request, ledger)  # it may have left, and been deferred, since that was asked
        if state not in ("running", "restarting"):
            return True
        if next(pauses, None) is None:
            raise JobTakenError(
                f"{store.location}: map index {claimed.map_index} is running and may still work on this job, which has "
                f"the input of map index {request.identity.map_index} too. Nothing was sent; retry the task when the "
                "other one has ended or is deferred."
            )
        tools.sleep(PAUSE)
        reread = store.load()
        if reread is None:
            return False
        ledger = reread


def _state_of(map_index: int, tools: Tools, store: LedgerStore) -> str | None:
    assert tools.sibling_state is not None
    try:
        return tools.sibling_state(map_index)
    except Exception as error:  # whatever Airflow raises: it is not known whether the other instance was cleared
        raise JobTakenError(
            f"{store.location}: this job has the input of map index {map_index} too, and the state of that instance "
            f"cannot be asked for ({error}). Nothing was sent; retry the task."
        ) from error


def _has_left(request: JobRequest, ledger: Ledger) -> bool:
    """Return whether the instance that claims a ledger says that it works on another one, or looks for one."""
    other = msgspec.structs.replace(request.identity, map_index=ledger.claimed_by.map_index)
    try:
        said = _read_claim(request.state, other)
    except StorageError:
        return False
    return said is not None and (said.has_left or said.job != ledger.job)


def _read_claim(state: Location, identity: Identity) -> _Claimed | None:
    location = _claim_file(state, identity)
    data = location.read_or_none()
    if data is None:
        return None
    try:
        claimed = msgspec.json.decode(data, type=_Claimed)
    except msgspec.MsgspecError as error:
        raise StorageError(
            f"{location}: expected the note of which job a task instance works on, found something else ({error}). A "
            "newer release of airflow-provider-batch may have written it: install that here too."
        ) from error
    if claimed.version > VERSION:
        raise StorageError(
            f"{location}: a newer release of airflow-provider-batch wrote this (form {claimed.version}, and this "
            f"release knows none after {VERSION}). Install that release here too; nothing was changed."
        )
    return claimed


def _write_claim(request: JobRequest, claimed: _Claimed) -> None:
    first = _Claimed(VERSION, msgspec.structs.replace(request.identity, copy=0).job)
    if (_read_claim(request.state, request.identity) or first) != claimed:
        _claim_file(request.state, request.identity).write(msgspec.json.encode(claimed))


def _claim_file(state: Location, identity: Identity) -> Location:
    return state / identity.run_key / CLAIMS / f"{identity.map_index}.json"


def _run(request: JobRequest) -> Location:
    return request.state / request.identity.run_key


def _input_key(request: JobRequest, asked: Fingerprint) -> str:
    parts: Sequence[object] = msgspec.structs.astuple(msgspec.structs.replace(asked, content=""))
    return digest(*parts, request.table.destination)[:16]
