"""Where a task's ledger is: the places that a task, Airflow's configuration and its task state store name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import conf

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_batch.jobs.identity import Identity
    from airflow_provider_batch.storage import Location

#: Where the pointer to the job's folder stands in Airflow's task state store (3.3 and later).
STATE_KEY = "openai_batch_state_path"


def find_state_path(identity: Identity, context: Context, state_path: str | None, destination: str | None) -> Location:
    """
    Return where the job's ledger is, whatever the state path was when it was begun, or where it is to be.

    :param state_path: The task's argument.
    :param destination: Folder URI of the table.
    :raises ConfigurationError: No place is named.
    :raises StorageError: One of the places cannot be read.
    """
    from airflow_provider_batch.exceptions import ConfigurationError
    from airflow_provider_batch.jobs.opening.state_folders import find_state
    from airflow_provider_batch.utils.object_storage import resolve_airflow

    remembered: Any = context.get("task_state_store")
    known = None if remembered is None else remembered.get(STATE_KEY)
    configured = conf.get("openai_batch", "state_path", fallback="")
    below = f"{destination.rstrip('/')}/_openai_batch" if destination else None
    given = [str(place) for place in (state_path, configured, below) if place]
    if not given:
        raise ConfigurationError(
            "There is no place for the job's ledger: give destination, or state_path, or set [openai_batch] "
            "state_path to a folder that every worker reaches."
        )
    places = [str(known), *given] if known else given
    return find_state(places, identity, resolve_airflow, preferred=given[0], destination=destination)


def remember_state_path(state: Location, context: Context) -> None:
    """Where Airflow keeps task state, note where the ledger is: a path may render differently later."""
    remembered: Any = context.get("task_state_store")
    if remembered is not None and remembered.get(STATE_KEY) != state.uri:
        remembered.set(STATE_KEY, state.uri)
