"""
Assigns jobs to the mapped instances of a task, when a clear has changed their order or two inputs are equal.

    <state_path>/<run key>/inputs/<input>-<job>       empty; the job was begun with this input
    <state_path>/<run key>/claims/<map index>.json    the job that the instance works on, where it is not its first,
                                                      and whether it has left it

Each ledger has one claim: the map index that works on it, and how often the run had been cleared when that began
(Airflow's `clear_number`, the same for all instances). Equal inputs are interchangeable, so the rules are short:

- An instance keeps its job while its input is that job's.
- Otherwise it takes over a job with its input whose claim is older than the latest clear, by a conditional write: of
  several instances one gets it. A claim as new as the clear is never taken over, so equal instances of one run are
  separate jobs.
- An older claim is not taken over while Airflow reports that its instance was not cleared: it is deferred, is up for
  retry, or has ended. For a running instance this is not known; the task waits for it, then fails and can be retried.
- Else it begins a job of its own.

Guaranteed: no ledger has two claimants, and after a clear that changes only the order no input is paid for again. One
case is left: a single instance is cleared and gets an input that it did not have before, and at the same moment an
instance with an equal input is scheduled. The latter may have to begin a job of its own.
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
#: The newest format of a claim's file that this release can read.
VERSION = 1
#: Seconds between two checks of a running instance, which may have been cleared; how many checks.
PAUSE, PAUSES = 2.0, 30
#: How often a claim is tried while other attempts write to the ledger.
CLAIM_TRIES = 10
#: States of a task instance that was not cleared since it last worked on its job.
UNCLEARED = frozenset(
    {"deferred", "up_for_retry", "up_for_reschedule", "success", "failed", "skipped", "upstream_failed"}
)


class _Claimed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    The job of an instance. `has_left`: the instance has another input now, so other instances may take over the job.
    """

    version: int
    job: str
    has_left: bool = False


def own_folder(state: Location, identity: Identity) -> Location:
    """
    Return the folder of the job that a task instance works on: its first one, unless it has claimed another.

    :param state: Folder of all ledgers.
    :param identity: The task instance.
    :raises StorageError: The claim's file cannot be read.
    """
    claimed_job = _read_claim(state, identity) if identity.map_index >= 0 else None
    return job_folder(state, identity) if claimed_job is None else state / identity.run_key / claimed_job.job


def claim_moved_job(request: JobRequest, tools: Tools, current: Fingerprint) -> tuple[LedgerStore, Ledger] | None:
    """
    Claim a job of this input that no instance works on any more, after a clear; None where there is none.

    :param request: The job.
    :param tools: Its client, clock and functions.
    :param current: Fingerprint of the present input.
    :raises JobTakenError: It is not known whether another instance still works on it.
    """
    if request.clear_number == 0:  # no claim can be older
        return None
    for folder, is_certain in _candidates(request, current):
        store = LedgerStore(folder)
        try:
            ledger = _claimed_if_free(request, tools, store, current)
        except StorageError as error:
            if is_certain:  # this job has the same input, and may be paid for
                raise
            tools.log.warning("%s is skipped in the search for this input's job: %s", folder, error)
            continue
        if ledger is not None:
            index = ledger.identity.map_index
            tools.log.info("This input's job was map index %s's: the order of the inputs has changed.", index)
            return store, ledger
    return None


def _claimed_if_free(request: JobRequest, tools: Tools, store: LedgerStore, current: Fingerprint) -> Ledger | None:
    """Claim a ledger if it has this input and no instance works on it; None otherwise."""
    for _ in range(CLAIM_TRIES):
        ledger = store.load()
        if ledger is None or ledger.destination != request.table.destination or ledger.fingerprint.changes(current):
            return None
        if not _is_free(request, tools, store, ledger):
            return None
        try:
            return claim(request, tools, store, ledger)
        except JobTakenError:
            taken = store.load()
            if taken is None or is_own(request, taken):  # another attempt of this instance has it
                raise
    raise JobTakenError(
        f"{store.location}: other instances write to this job, which has the same input. Nothing was sent. Retry the "
        "task."
    )


def claim(
    request: JobRequest,
    tools: Tools,
    store: LedgerStore,
    ledger: Ledger,
    *,
    era: int | None = None,
    given_up: tuple[str, ...] = (),
) -> Ledger:
    """
    Take a ledger's lease for this instance, and return the ledger after that.

    :param request: The job.
    :param tools: Its client, clock and functions.
    :param store: Store of the ledger.
    :param ledger: The ledger.
    :param era: Number of the clear of the task that this attempt belongs to; None where it does not change.
    :param given_up: Keys of unclear shards that this clear sends or lands again on purpose.
    :raises JobTakenError: Another instance has taken it.
    """
    claimed = claim_of(request)
    return store.record(ledger, Leased(uuid.uuid4().hex, tools.clock(), era=era, claim=claimed, given_up=given_up))


def claim_of(request: JobRequest) -> Claim | None:
    """
    Return the claim that this instance makes on a ledger; None for a task that is not mapped.

    :param request: The job.
    """
    index = request.identity.map_index
    return None if index < 0 else Claim(index, request.clear_number)


def is_own(request: JobRequest, ledger: Ledger) -> bool:
    """
    Return whether a ledger is this instance's.

    :param request: The job.
    :param ledger: The ledger.
    """
    return request.identity.map_index < 0 or ledger.claimed_by.map_index == request.identity.map_index


def release_job(request: JobRequest, tools: Tools, store: LedgerStore, ledger: Ledger) -> Ledger:
    """
    Record that this instance has another input now, so that other instances may take over its job.

    An earlier attempt of this instance that still works on the job loses its lease.

    :param request: The job.
    :param tools: Its client, clock and functions.
    :param store: Store of the ledger.
    :param ledger: The ledger.
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


def record_job(request: JobRequest, ledger: Ledger) -> None:
    """
    Record which job this instance works on.

    :param request: The job.
    :param ledger: The job's ledger.
    """
    if request.identity.map_index >= 0:
        _write_claim(request, _Claimed(VERSION, ledger.job))


def unused_identity(request: JobRequest) -> Identity:
    """
    Return an identity for another job of this instance, since another instance has its first one now.

    :param request: The job.
    :raises StorageError: There are 1,000 jobs of this instance.
    """
    identity = request.identity
    for number in range(1, 1000):
        another = msgspec.structs.replace(identity, copy=number)
        ledger = LedgerStore(job_folder(request.state, another)).load()
        if ledger is None or ledger.claimed_by.map_index == identity.map_index:
            return another
    raise StorageError(f"{request.state / identity.run_key}: expected fewer than 1,000 jobs of one task instance.")


def mark_input(request: JobRequest, current: Fingerprint, identity: Identity) -> None:
    """
    Make a job findable by its input; called before its ledger begins, so that no ledger is without it.

    :param request: The job.
    :param current: Fingerprint of the present input.
    :param identity: Identity of the job.
    """
    if identity.map_index >= 0:
        (_run_folder(request) / INPUTS / f"{_input_key(request, current)}-{identity.job}").write(b"")


def _candidates(request: JobRequest, current: Fingerprint) -> Iterator[tuple[Location, bool]]:
    """
    Yield the folders of jobs with this input, and whether that is certain; each instance starts at another one.

    Jobs of release 0.1 have no mark, so all of them are candidates.
    """
    run, key, own = _run_folder(request), _input_key(request, current), request.identity.job
    marks = (run / INPUTS).list()
    equal = [name.rpartition("-")[2] for name in marks if name.startswith(f"{key}-")]
    start = request.identity.map_index % max(1, len(equal))
    yield from ((run / job, True) for job in (*equal[start:], *equal[:start]))
    known = {name.rpartition("-")[2] for name in marks} | {INPUTS, CLAIMS, own}
    yield from ((run / name, False) for name in run.list_folders() if name not in known)


def _is_free(request: JobRequest, tools: Tools, store: LedgerStore, ledger: Ledger) -> bool:
    """Return whether the claim on a ledger is over; wait while that is about to be known."""
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
            return _has_left(request, ledger)  # it may have left and been deferred since the first check
        if state not in ("running", "restarting"):
            return True
        if next(pauses, None) is None:
            raise JobTakenError(
                f"{store.location}: map index {claimed.map_index} is running and may still work on this job, which has "
                f"the input of map index {request.identity.map_index} too. Nothing was sent. Retry the task when the "
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
    except Exception as error:  # any error of Airflow: the other instance's state is unknown
        raise JobTakenError(
            f"{store.location}: this job has the input of map index {map_index} too, and the state of that instance "
            f"cannot be read ({error}). Nothing was sent. Retry the task."
        ) from error


def _has_left(request: JobRequest, ledger: Ledger) -> bool:
    """Return whether the instance that claims a ledger works on another one now, or searches for one."""
    other = msgspec.structs.replace(request.identity, map_index=ledger.claimed_by.map_index)
    try:
        claimed_job = _read_claim(request.state, other)
    except StorageError:
        return False
    return claimed_job is not None and (claimed_job.has_left or claimed_job.job != ledger.job)


def _read_claim(state: Location, identity: Identity) -> _Claimed | None:
    location = _claim_file(state, identity)
    data = location.read_or_none()
    if data is None:
        return None
    try:
        claimed = msgspec.json.decode(data, type=_Claimed)
    except msgspec.MsgspecError as error:
        raise StorageError(
            f"{location}: expected the record of a task instance's job, found something else ({error}). Nothing was "
            "sent. A newer release of airflow-provider-batch may have written it: install that here too."
        ) from error
    if claimed.version > VERSION:
        raise StorageError(
            f"{location}: a newer release of airflow-provider-batch wrote this (format {claimed.version}; this release "
            f"reads formats up to {VERSION}). Nothing was changed. Install that release here too."
        )
    return claimed


def _write_claim(request: JobRequest, claimed: _Claimed) -> None:
    first = _Claimed(VERSION, msgspec.structs.replace(request.identity, copy=0).job)
    if (_read_claim(request.state, request.identity) or first) != claimed:
        _claim_file(request.state, request.identity).write(msgspec.json.encode(claimed))


def _claim_file(state: Location, identity: Identity) -> Location:
    return state / identity.run_key / CLAIMS / f"{identity.map_index}.json"


def _run_folder(request: JobRequest) -> Location:
    return request.state / request.identity.run_key


def _input_key(request: JobRequest, current: Fingerprint) -> str:
    parts: Sequence[object] = msgspec.structs.astuple(msgspec.structs.replace(current, content=""))
    return digest(*parts, request.table.destination)[:16]
