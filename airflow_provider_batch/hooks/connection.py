"""
Turn the fields of an Airflow connection into `ClientSettings`.

Only keys on an allow-list are accepted: people who edit connections are not always those who write DAGs, and an
arbitrary client argument could redirect calls or run code. The keys of the official OpenAI provider's connection are on
the list, so that one connection serves both providers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from airflow_provider_batch.api.settings import ClientSettings, WorkloadIdentity
from airflow_provider_batch.exceptions import ConfigurationError

#: Accepted connection types (empty or None: no type is set). The key of any other type is not sent to the API.
CONNECTION_TYPES = frozenset({"openai_batch", "openai", "", None})
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
EXTRA_KEYS = (*CLIENT_KEYS, "auth_type", "openai_client_kwargs", *IDENTITY_KEYS)


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
    """

    conn_type: str | None
    host: str | None
    port: int | None
    schema: str | None
    password: str | None
    extra: Mapping[str, Any]

    def __repr__(self) -> str:
        return f"Fields(conn_type={self.conn_type!r})"


def client_settings(conn_id: str, fields: Fields) -> ClientSettings:
    """
    Return the client settings of a connection.

    :param conn_id: Id of the connection, for messages.
    :param fields: Fields of the connection.
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
    identity = _identity(name, extra)
    return ClientSettings(
        api_key="" if identity else _key(name, inner.get("api_key") or fields.password),
        base_url=_text(chosen["base_url"]) or base_url(fields.host, fields.port, fields.schema),
        organization=_text(chosen["organization"]),
        project=_text(chosen["project"]),
        timeout=_number(name, "timeout", chosen["timeout"], ClientSettings.timeout),
        max_retries=int(_number(name, "max_retries", chosen["max_retries"], ClientSettings.max_retries)),
        workload_identity=identity,
        name=name,
    )


def base_url(host: str | None, port: int | None, schema: str | None) -> str | None:
    """
    Return the base URL of a connection's host, port and schema; None without a host.

    A host without a scheme gets https, except localhost. Only OpenAI's host gets the path ``/v1`` by default.

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
    if not path and netloc == "api.openai.com":
        path = "/v1"
    return f"{parts.scheme}://{netloc}{path}"


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
    if kind == "api_key":
        return None
    if kind != "workload_identity":
        raise ConfigurationError(f"{name}: auth_type {kind!r} is unknown; expected 'api_key' or 'workload_identity'.")
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


def _number(name: str, key: str, value: Any, default: float) -> float:
    if value is None:
        return default
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ConfigurationError(f"{name}: '{key}' must be a number, found {value!r}.") from None


def _text(value: Any) -> str | None:
    return str(value).strip() or None if value is not None else None
