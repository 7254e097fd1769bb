"""
Turn the fields of an Airflow connection into `ClientSettings`.

Only keys on an allow-list are accepted: people who edit connections are not always those who write DAGs, and an
arbitrary client argument could redirect calls or run code. The keys of the official OpenAI provider's connection are on
the list, so that one connection serves both providers.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

from airflow_provider_batch.api.described_service import described, known_service
from airflow_provider_batch.api.service import Service
from airflow_provider_batch.api.services import service_of
from airflow_provider_batch.api.settings import ENTRA_SCOPE, ClientSettings, EntraIdentity, WorkloadIdentity
from airflow_provider_batch.exceptions import ConfigurationError

#: Accepted connection types (empty or None: no type is set). The key of any other type is not sent to the API.
CONNECTION_TYPES = frozenset({"openai_batch", "openai", "", None})
#: Types of the connection that `azure_conn_id` may name.
AZURE_TYPES = frozenset({"azure", "", None})
#: Keys with client settings, in `extra` itself and in the official provider's `openai_client_kwargs`.
CLIENT_KEYS = ("base_url", "organization", "project", "timeout", "max_retries")
#: Accepted options of each source of identity tokens.
IDENTITY_OPTIONS: Mapping[str, tuple[str, ...]] = {
    "kubernetes": ("token_file_path",),
    "azure": ("resource", "object_id", "client_id", "msi_res_id", "api_version"),
    "gcp": ("audience",),
}
IDENTITY_KEYS = (
    "identity_provider_id",
    "service_account_id",
    "workload_identity_provider",
    "refresh_buffer_seconds",
    *(key for keys in IDENTITY_OPTIONS.values() for key in keys),
)
#: Keys for access to Azure with tokens of Entra ID.
ENTRA_KEYS = ("azure_conn_id", "tenant_id", "managed_identity_client_id", "token_scope")
EXTRA_KEYS = (*CLIENT_KEYS, "service", "auth_type", "openai_client_kwargs", *IDENTITY_KEYS, *ENTRA_KEYS)
AUTH_TYPES = ("api_key", "workload_identity", "entra_id")


@dataclass(frozen=True)
class Fields:
    """
    The relevant fields of an Airflow connection.

    :param conn_type: Type of the connection.
    :param host: Host, or the whole base URL.
    :param port: Port of the host.
    :param schema: Path of the base URL.
    :param password: API key.
    :param extra: The extra as a mapping.
    :param login: Login; of a connection of type ``azure`` it is the id of a service principal.
    """

    conn_type: str | None
    host: str | None
    port: int | None
    schema: str | None
    password: str | None
    extra: Mapping[str, Any]
    login: str | None = None

    def __repr__(self) -> str:
        return f"Fields(conn_type={self.conn_type!r})"


def client_settings(conn_id: str, fields: Fields, azure: Fields | None = None) -> ClientSettings:
    """
    Return the client settings of a connection.

    :param conn_id: Id of the connection, for messages.
    :param fields: Fields of the connection.
    :param azure: Fields of the connection that its ``azure_conn_id`` names.
    :raises ConfigurationError: The connection has another type, no key, or a key in its extra that is not allowed.
    """
    name = f"connection '{conn_id}'"
    if fields.conn_type not in CONNECTION_TYPES:
        raise ConfigurationError(f"{name} is of type {fields.conn_type!r}; expected 'openai_batch' or 'openai'.")
    extra = _given(fields.extra)
    inner = extra.get("openai_client_kwargs", {})
    if not isinstance(inner, Mapping):
        raise ConfigurationError(f"{name}: 'openai_client_kwargs' must be an object, found {type(inner).__name__}.")
    inner = _given(inner)
    _refuse_unknown(name, "extra", extra, EXTRA_KEYS)
    _refuse_unknown(name, "extra 'openai_client_kwargs'", inner, ("api_key", *CLIENT_KEYS))
    chosen = {key: inner.get(key, extra.get(key)) for key in CLIENT_KEYS}
    identity, entra = _identity(name, extra), _entra(name, extra, azure)
    service = _service(name, extra.get("service"))
    url, api_version = _versioned(
        _text(chosen["base_url"]) or base_url(fields.host, fields.port, fields.schema),
        None if identity else _text(extra.get("api_version")),
        service,
    )
    return ClientSettings(
        api_key="" if identity or entra else _key(name, inner.get("api_key") or fields.password),
        base_url=url,
        organization=_text(chosen["organization"]),
        project=_text(chosen["project"]),
        timeout=_number(name, "timeout", chosen["timeout"], ClientSettings.timeout),
        max_retries=int(_number(name, "max_retries", chosen["max_retries"], ClientSettings.max_retries)),
        workload_identity=identity,
        entra_identity=entra,
        api_version=api_version,
        chosen_service=service,
        name=name,
    )


def base_url(host: str | None, port: int | None, schema: str | None) -> str | None:
    """
    Return the base URL of a connection's host, port and schema; None without a host.

    A host without a scheme gets https, except localhost. The path of a known service completes its host. A query is
    kept, since Azure's older addresses have one.

    :param host: Host, or a URL.
    :param port: Port; ignored if the host has one.
    :param schema: Path; ignored if the host has one, or if it is ``http`` or ``https``.
    """
    host = (host or "").strip().rstrip("/")
    if not host:
        return None
    if "://" not in host:
        name = host.partition("/")[0].rpartition(":")[0] or host.partition("/")[0]
        host = f"{'http' if name in ('localhost', '127.0.0.1') else 'https'}://{host}"
    parts = urlsplit(host)
    netloc, path = parts.netloc, parts.path.rstrip("/")
    if port and ":" not in netloc.rpartition("@")[2].rpartition("]")[2]:
        netloc = f"{netloc}:{port}"
    if not path and schema and schema not in ("http", "https"):
        path = f"/{schema.strip('/')}"
    path = path or service_of(parts.hostname or "").path
    query = f"?{parts.query}" if parts.query else ""
    return f"{parts.scheme}://{netloc}{path}{query}"


def _versioned(url: str | None, api_version: str | None, chosen: Service | None) -> tuple[str | None, str | None]:
    """Return the base URL with its path and without its query, and the ``api-version`` of the query or the extra."""
    if url is None:
        return None, api_version
    parts = urlsplit(url)
    api_version = api_version or next(iter(parse_qs(parts.query).get("api-version", ())), None)
    service = chosen or service_of(parts.hostname or "")
    path = parts.path.rstrip("/")
    if api_version is not None and service.versioned_path is not None:
        path = service.versioned_path if path in ("", service.path) else path.partition("/deployments/")[0]
    return f"{parts.scheme}://{parts.netloc}{path or service.path}", api_version


def _service(name: str, given: Any) -> Service | None:
    """Return the service that the extra names or describes; None where the base URL says it."""
    if given is None or given == "":
        return None
    if isinstance(given, Mapping):
        return described(given, name)
    text = str(given).strip()
    if text.startswith("{"):  # a form stores a description as text
        try:
            return described(json.loads(text), name)
        except ValueError as error:
            raise ConfigurationError(f"{name}: service: expected a name or a JSON object, found {text!r}.") from error
    return known_service(text, name)


def _given(extra: Mapping[str, Any]) -> dict[str, Any]:
    """Return the extra without empty values, which Airflow's form stores for empty fields."""
    return {str(key): value for key, value in extra.items() if value is not None and value != ""}


def _refuse_unknown(name: str, where: str, given: Mapping[str, Any], allowed: Iterable[str]) -> None:
    unknown = sorted(set(given) - set(allowed))
    if unknown:
        raise ConfigurationError(
            f"{name}: {where} has {', '.join(repr(key) for key in unknown)}, which is not allowed. "
            f"Allowed are {', '.join(dict.fromkeys(allowed))}."
        )


def _key(name: str, key: Any) -> str:
    text = _text(key)
    if not text:
        raise ConfigurationError(f"{name} has no API key: put it into the connection's password.")
    return text


def _identity(name: str, extra: Mapping[str, Any]) -> WorkloadIdentity | None:
    """Return the workload identity of the extra, by the official provider's keys; None with an API key."""
    kind = extra.get("auth_type", "api_key")
    if kind not in AUTH_TYPES:
        raise ConfigurationError(f"{name}: auth_type {kind!r} is unknown; expected one of {', '.join(AUTH_TYPES)}.")
    if kind != "workload_identity":
        return None
    missing = [key for key in IDENTITY_KEYS[:3] if key not in extra]
    if missing:
        raise ConfigurationError(f"{name}: auth_type 'workload_identity' also needs {', '.join(missing)} in the extra.")
    provider = str(extra["workload_identity_provider"])
    if provider not in IDENTITY_OPTIONS:
        raise ConfigurationError(
            f"{name}: workload_identity_provider {provider!r} is not supported; expected one of "
            f"{', '.join(IDENTITY_OPTIONS)}. A connection cannot name a provider of its own code."
        )
    buffer = extra.get("refresh_buffer_seconds")
    return WorkloadIdentity(
        identity_provider_id=str(extra["identity_provider_id"]),
        service_account_id=str(extra["service_account_id"]),
        provider=provider,
        options={key: extra[key] for key in IDENTITY_OPTIONS[provider] if key in extra},
        refresh_buffer_seconds=None if buffer is None else _number(name, "refresh_buffer_seconds", buffer, 0.0),
    )


def _entra(name: str, extra: Mapping[str, Any], azure: Fields | None) -> EntraIdentity | None:
    """Return the identity of Entra ID that the extra names; None with an API key."""
    if extra.get("auth_type") != "entra_id":
        return None
    scope = _text(extra.get("token_scope")) or ENTRA_SCOPE
    tenant, client = _text(extra.get("tenant_id")), _text(extra.get("managed_identity_client_id"))
    if azure is None:
        return EntraIdentity(tenant, client, None, scope)
    if azure.conn_type not in AZURE_TYPES:
        raise ConfigurationError(
            f"{name}: azure_conn_id names a connection of type {azure.conn_type!r}; expected 'azure', with the service "
            "principal's id as its login and its secret as its password, or with neither for a managed identity."
        )
    given = _given(azure.extra)
    tenant = _text(given.get("tenantId")) or _text(given.get("tenant_id")) or tenant
    secret, login = _text(azure.password), _text(azure.login)
    if secret and not (tenant and login):
        raise ConfigurationError(
            f"{name}: the connection of azure_conn_id has a secret; it also needs the service principal's id as its "
            "login, and 'tenantId' in its extra."
        )
    return EntraIdentity(tenant, login or _text(given.get("managed_identity_client_id")) or client, secret, scope)


def azure_conn_id(fields: Fields) -> str | None:
    """
    Return the id of the connection whose identity a connection uses; None where it has its own key or identity.

    :param fields: Fields of the connection.
    """
    extra = _given(fields.extra)
    return _text(extra.get("azure_conn_id")) if extra.get("auth_type") == "entra_id" else None


def _number(name: str, key: str, value: Any, default: float) -> float:
    if value is None:
        return default
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ConfigurationError(f"{name}: '{key}' must be a number, found {value!r}.") from None


def _text(value: Any) -> str | None:
    return str(value).strip() or None if value is not None else None
