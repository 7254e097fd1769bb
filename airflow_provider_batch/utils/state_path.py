"""Find the folder of a task's ledger: from its arguments, Airflow's configuration or its task state store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import conf

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_batch.jobs.identity import Identity
    from airflow_provider_batch.storage import Location

#: Key of the ledger folder's URI in Airflow's task state store (3.3 and later).
STATE_KEY = "openai_batch_state_path"


def find_state_path(identity: Identity, context: Context, state_path: str | None, destination: str | None) -> Location:
    """
    Return the folder that has the job's ledger; without a ledger, the folder for a new one.

    An existing ledger is found even if the task's state path has changed since the job began.

    :param identity: DAG, task, run and map index of the task instance.
    :param context: Context of the task instance.
    :param state_path: The task's argument ``state_path``; None if not given.
    :param destination: Folder URI of the table; None if not given.
    :raises ConfigurationError: No folder is configured.
    :raises StorageError: One of the folders cannot be read.
    """
    from airflow_provider_batch.exceptions import ConfigurationError
    from airflow_provider_batch.jobs.opening.state_folders import find_state
    from airflow_provider_batch.utils.object_storage import resolve_airflow

    store: Any = context.get("task_state_store")
    remembered = None if store is None else store.get(STATE_KEY)
    configured = conf.get("openai_batch", "state_path", fallback="")
    below = f"{destination.rstrip('/')}/_openai_batch" if destination else None
    folders = [str(folder) for folder in (state_path, configured, below) if folder]
    if not folders:
        raise ConfigurationError(
            "There is no folder for the job's ledger, and nothing was sent: give destination or state_path, or set "
            "[openai_batch] state_path to a folder that every worker can reach."
        )
    candidates = [str(remembered), *folders] if remembered else folders
    return find_state(candidates, identity, resolve_airflow, preferred=folders[0], destination=destination)


def remember_state_path(state: Location, context: Context) -> None:
    """
    Save the ledger's folder in Airflow's task state store, if there is one: a template may render differently later.

    :param state: Folder of the ledgers.
    :param context: Context of the task instance.
    """
    store: Any = context.get("task_state_store")
    if store is not None and store.get(STATE_KEY) != state.uri:
        store.set(STATE_KEY, state.uri)
