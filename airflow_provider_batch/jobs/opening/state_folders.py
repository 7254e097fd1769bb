"""
In which of several folders a job's ledger is: the state path can be given, configured or changed while a job runs.

A new ledger is begun only where none of the places has one, and each of them was read: a place that cannot be read may
hold a job whose batches are running.
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

_Question = Callable[[Location, Identity], bool]


def find_state(
    places: Sequence[str], identity: Identity, resolve: Resolver, *, preferred: str, destination: str | None
) -> Location:
    """
    Return the folder of ledgers that the job of a task instance goes on in.

    :param places: URIs where its ledger may be; the first that has it counts.
    :param preferred: The one of them where a new job is begun.
    :param destination: Folder URI of the table; a manifest in it says where its job's ledger is.
    :raises StorageError: One of the places cannot be read.
    """
    states = [resolve(place) for place in dict.fromkeys(places)]
    if len(states) > 1:
        for has_a_job in (_has_own, _has_sibling):
            for state in states:
                if _asked(has_a_job, state, identity):
                    return state
    recorded = None if destination is None else _recorded(resolve(destination), identity)
    if recorded is not None and recorded not in places and _asked(_has_own, resolve(recorded), identity):
        return resolve(recorded)
    return resolve(preferred)


def _asked(question: _Question, state: Location, identity: Identity) -> bool:
    try:
        return question(state, identity)
    except StorageError as error:
        raise StorageError(
            f"{state}: this task's ledger may be there, from an attempt with another state_path, and it cannot be read "
            f"({error}). Nothing was sent. Make the place readable, or take it out of the configuration if no job was "
            "ever begun there."
        ) from error


def _has_own(state: Location, identity: Identity) -> bool:
    return (own_folder(state, identity) / LEDGER).exists()


def _has_sibling(state: Location, identity: Identity) -> bool:
    """Whether other mapped instances of the task have jobs there: the input's job may be one of theirs."""
    return identity.map_index >= 0 and bool((state / identity.run_key).list_folders())


def _recorded(destination: Location, identity: Identity) -> str | None:
    """Return the state path of the job whose table is in the destination."""
    manifest = read_manifest(destination / manifest_name(identity.job))
    if manifest is None or manifest.ledger is None:
        return None
    end = f"/{identity.run_key}/{identity.job}/{LEDGER}"
    return manifest.ledger.removesuffix(end) if manifest.ledger.endswith(end) else None
