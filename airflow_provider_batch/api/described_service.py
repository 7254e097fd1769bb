"""Read the description of a service that has no row, from a connection's extra."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from airflow_provider_batch.api import statuses
from airflow_provider_batch.api.endpoints import Endpoint
from airflow_provider_batch.api.service import Service, window_hours
from airflow_provider_batch.api.services import KEYS, OTHER, service_named
from airflow_provider_batch.exceptions import ConfigurationError

_Count = Annotated[int, Meta(ge=1)]


class _Description(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """
    What a connection says of its service: fields of `Service`, each as there, over those of the service `like`.

    :param like: Key of the service whose other facts apply.
    """

    like: str = OTHER
    name: str | UnsetType = UNSET
    endpoints: tuple[Endpoint, ...] | UnsetType = UNSET
    max_requests: _Count | UnsetType = UNSET
    max_file_bytes: _Count | UnsetType = UNSET
    windows: tuple[str, str] | UnsetType = UNSET
    purpose: str | UnsetType = UNSET
    upload_path: Annotated[str, Meta(pattern="^/")] | UnsetType = UNSET
    takes_metadata: bool | UnsetType = UNSET
    takes_cancel: bool | UnsetType = UNSET
    has_list: bool | UnsetType = UNSET
    expiry: tuple[_Count, _Count] | UnsetType | None = UNSET
    input_expiry: _Count | UnsetType | None = UNSET
    lists_pending_files: bool | UnsetType = UNSET
    batches_expire: bool | UnsetType = UNSET
    max_active_batches: _Count | UnsetType | None = UNSET
    creates: tuple[_Count, Annotated[float, Meta(gt=0)]] | UnsetType | None = UNSET
    line_prefix: str | UnsetType = UNSET
    takes_base64_vectors: bool | UnsetType = UNSET
    has_openai_bodies: bool | UnsetType = UNSET
    prices: str | UnsetType | None = UNSET
    share: Annotated[float, Meta(gt=0, le=1)] | UnsetType = UNSET
    statuses: dict[str, str] | UnsetType = UNSET


#: Fields that a description may have.
FIELDS: tuple[str, ...] = _Description.__struct_fields__


def described(given: Mapping[str, Any], name: str) -> Service:
    """
    Return the service that a description describes.

    :param given: The description: fields of `FIELDS`.
    :param name: Name of the connection, for messages.
    :raises ConfigurationError: A field is not known, or a value is wrong.
    """
    try:
        description = msgspec.convert(dict(given), _Description)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"{name}: service: {error}. A description may have {', '.join(FIELDS)}.") from error
    base = known_service(description.like, name)
    said = {field: getattr(description, field) for field in FIELDS if field != "like"}
    said = {field: value for field, value in said.items() if value is not UNSET}
    _check_texts(said, name)
    if "share" in said:
        said["share"] = Decimal(str(said["share"]))
    return replace(base, **said)


def known_service(key: str, name: str) -> Service:
    """
    Return the service with a key.

    :param key: Value of the connection's field *Service*.
    :param name: Name of the connection, for messages.
    :raises ConfigurationError: There is no such service; the message lists all.
    """
    service = service_named(key)
    if service is None:
        raise ConfigurationError(
            f"{name}: service {key!r} is not known; expected one of {', '.join(KEYS)}. For a service that is not in "
            f"this list, use {OTHER!r}, or describe it in the extra (docs/services.md)."
        )
    return service


def _check_texts(said: Mapping[str, Any], name: str) -> None:
    for window in said.get("windows", ()):
        if window_hours(window) is None:
            raise ConfigurationError(
                f"{name}: service: windows: expected times such as '24h' or '7d', found {window!r}."
            )
    for word, meant in said.get("statuses", {}).items():
        if meant not in statuses.KNOWN:
            raise ConfigurationError(
                f"{name}: service: statuses: {word!r} means {meant!r}; expected one of "
                f"{', '.join(sorted(statuses.KNOWN))}."
            )
    if "statuses" in said and any(word != word.lower() for word in said["statuses"]):
        raise ConfigurationError(f"{name}: service: statuses: write the service's words in lower case.")
