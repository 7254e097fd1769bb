"""The services that the emulator speaks: what each takes, and how it writes."""

from __future__ import annotations

import uuid
from typing import Any

from airflow_provider_batch.api.service import Service
from airflow_provider_batch.api.services import SERVICES, service_named
from airflow_provider_batch.emulator.services import aibrix, azure, novita, together
from airflow_provider_batch.emulator.services.manners import LIKE_OPENAI, Manners

_MANNERS = {
    "azure": azure.MANNERS,
    "together": together.MANNERS,
    "novita": novita.MANNERS,
    "aibrix": aibrix.MANNERS,
}
#: Names of the services, as values of the setting `service`.
NAMES = tuple(service.key for service in SERVICES if service.other_shape is None and service.key != "other")


def facts(name: str) -> Service:
    """
    Return what a service takes.

    :param name: One of `NAMES`.
    """
    service = service_named(name)
    assert service is not None
    return service


def manners(name: str) -> Manners:
    """
    Return how a service writes.

    :param name: One of `NAMES`.
    """
    return _MANNERS.get(name, LIKE_OPENAI)


def preset(name: str) -> dict[str, Any]:
    """
    Return the settings that follow from a service; a setting that is given wins.

    :param name: One of `NAMES`; the settings of OpenAI are the defaults.
    """
    if name == "openai":
        return {}
    service = facts(name)
    creates = service.creates
    hourly = creates[0] if creates is not None and creates[1] == 3_600 else None
    return {
        "max_requests": service.max_requests,
        "max_file_bytes": service.max_file_bytes,
        "max_batches_per_hour": hourly,
        "keeps_metadata": service.takes_metadata,
        **manners(name).settings,
    }


def new_id(form: str) -> str:
    """
    Return a new id of a batch or a file.

    :param form: Form of the id, with ``{hex}`` or ``{uuid}``.
    """
    made = uuid.uuid4()
    return form.format(hex=made.hex, uuid=made)
