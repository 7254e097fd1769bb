"""
Finds the folder of a job's ledger: the state path can be set, configured or changed while a job runs.

A new ledger begins only if no place has one and each place was read: a place that cannot be read may hold a job whose
batches are running.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from airflow_provider_batch.exceptions import StorageError
from airflow_provider_batch.jobs.identity import Identity
from airflow_provider_batch.jobs.ledger.files import LEDGER
from airflow_provider_batch.jobs.opening.mapped_instances import own_folder
from airflow_provider_batch.storage import Location, Resolver
from airflow_provider_batch.table.file_names import manifest_name
from airflow_provider_batch.table.manifest import read_manifest

_Check = Callable[[Location, Identity], bool]


def find_state(
    places: Sequence[str], identity: Identity, resolve: Resolver, *, preferred: str, destination: str | None
) -> Location:
    """
    Return the folder of ledgers in which the job of a task instance continues.

    :param places: URIs of folders that may have its ledger; the first that has it counts.
    :param identity: The task instance.
    :param resolve: Returns the location of a URI.
    :param preferred: The folder among them where a new job begins.
    :param destination: Folder URI of the table, whose manifest names its job's ledger; None without a table.
    :raises StorageError: One of the places cannot be read.
    """
    states = [resolve(place) for place in dict.fromkeys(places)]
    if len(states) > 1:
        for has_job in (_has_own, _has_sibling):
            for state in states:
                if _check_state(has_job, state, identity):
                    return state
    recorded = None if destination is None else _recorded(resolve(destination), identity)
    if recorded is not None and recorded not in places and _check_state(_has_own, resolve(recorded), identity):
        return resolve(recorded)
    return resolve(preferred)


def _check_state(check: _Check, state: Location, identity: Identity) -> bool:
    try:
        return check(state, identity)
    except StorageError as error:
        raise StorageError(
            f"{state}: this folder may have this task's ledger, from an attempt with another state_path, and it cannot "
            f"be read ({error}). Nothing was sent. Make the folder readable, or remove it from the configuration if no "
            "job has ever used it."
        ) from error


def _has_own(state: Location, identity: Identity) -> bool:
    return (own_folder(state, identity) / LEDGER).exists()


def _has_sibling(state: Location, identity: Identity) -> bool:
    """Return whether other mapped instances of the task have jobs there: one of them may have this input's job."""
    return identity.map_index >= 0 and bool((state / identity.run_key).list_folders())


def _recorded(destination: Location, identity: Identity) -> str | None:
    """Return the state path of the job whose table is in the destination."""
    manifest = read_manifest(destination / manifest_name(identity.job))
    if manifest is None or manifest.ledger is None:
        return None
    end = f"/{identity.run_key}/{identity.job}/{LEDGER}"
    return manifest.ledger.removesuffix(end) if manifest.ledger.endswith(end) else None
