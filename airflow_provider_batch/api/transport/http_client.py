"""What both clients share: construction of the SDK, one TLS context, errors of the HTTP library."""

from __future__ import annotations

import importlib
import logging
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import ModuleType
from typing import Any

from airflow_provider_batch.api.settings import ClientSettings, WorkloadIdentity
from airflow_provider_batch.api.transport.entra import in_thread, token_source
from airflow_provider_batch.exceptions import ConfigurationError

#: Timeout for opening a connection, in seconds.
CONNECT_TIMEOUT = 15.0
#: Timeout of calls without a file, in seconds. They usually take less than one.
CALL_TIMEOUT = 60.0

#: Errors of the HTTP library that happen before the first byte of a request is sent.
BEFORE_SENDING = frozenset(
    {"ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError", "UnsupportedProtocol", "NoTokenError"}
)

_lock = threading.Lock()
_context: ssl.SSLContext | None = None
_is_quiet: ContextVar[bool] = ContextVar("openai_batch_is_quiet", default=False)


def transport() -> ModuleType:
    """Return the module of the HTTP library that the installed SDK uses; this imports the SDK."""
    import openai

    homes = (base.__module__.partition(".")[0] for base in openai.DefaultHttpxClient.__mro__)
    return importlib.import_module(next(home for home in homes if home.startswith("httpx")))  # httpx2 since openai 3


class _QuietFilter(logging.Filter):
    """Drop log lines about single requests: a day of polling would hide the task's own lines."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not (_is_quiet.get() and record.levelno <= logging.INFO)


_quiet_filter = _QuietFilter()


@contextmanager
def quiet() -> Iterator[None]:
    """Log no single requests and retries within a block; those of other code are logged."""
    for name in (transport().__name__, "openai._base_client"):
        logging.getLogger(name).addFilter(_quiet_filter)  # a filter is added only once
    token = _is_quiet.set(True)
    try:
        yield
    finally:
        _is_quiet.reset(token)


def ssl_context() -> ssl.SSLContext:
    """Return the TLS context of this process; building one for each client of a triggerer would take 40 ms each."""
    global _context
    with _lock:
        if _context is None:
            _context = transport().create_ssl_context()
        assert _context is not None
        return _context


def client_arguments(settings: ClientSettings, *, is_async: bool = False) -> dict[str, Any]:
    """
    Return the constructor arguments of an SDK client.

    :param settings: Account, address and limits of the client.
    :param is_async: Whether it is the asynchronous client.
    :raises ConfigurationError: The installed packages do not know the identity.
    """
    import openai

    credentials: dict[str, Any] = {"api_key": settings.api_key}
    if settings.workload_identity is not None:
        credentials = {"workload_identity": _identity(settings.workload_identity, settings.name)}
    elif settings.entra_identity is not None:
        source = token_source(settings.entra_identity, settings.name)
        credentials = {"api_key": in_thread(source) if is_async else source}
    if settings.api_version is not None:
        credentials["default_query"] = {"api-version": settings.api_version}
    return {
        **credentials,
        "base_url": settings.address,
        "organization": settings.organization,
        "project": settings.project,
        "timeout": openai.Timeout(settings.timeout, connect=min(settings.timeout, CONNECT_TIMEOUT)),
    }


def key_header(settings: ClientSettings) -> str | None:
    """
    Return the header that has the API key; None where it is ``Authorization``, as a token always is.

    :param settings: Account, address and limits of the client.
    """
    return None if settings.entra_identity or settings.workload_identity else settings.service.key_header


def pin_account(client: Any, settings: ClientSettings) -> Any:
    """
    Set the account of an SDK client exactly as in the settings, and return it: the SDK reads environment variables.

    :param client: Client of the SDK.
    :param settings: Settings with organization and project; None stays None.
    """
    client.organization, client.project = settings.organization, settings.project
    return client


def call_timeout(settings: ClientSettings) -> float:
    """
    Return the timeout of a call without a file, in seconds.

    :param settings: Account, address and limits of the client.
    """
    return min(settings.timeout, CALL_TIMEOUT)


def was_sent(error: BaseException) -> bool:
    """
    Return False only if a request was certainly never sent.

    :param error: Exception of the call.
    """
    cause: BaseException | None = error
    while cause is not None:
        if type(cause).__name__ in BEFORE_SENDING:
            return False
        cause = cause.__cause__
    return True


def _identity(identity: WorkloadIdentity, name: str) -> dict[str, Any]:
    """Return the SDK's form of a workload identity."""
    try:
        from openai import auth
    except ImportError as error:
        raise ConfigurationError(
            f"{name}: the installed `openai` package has no workload identity; upgrade it, or use an API key."
        ) from error
    sources: dict[str, Any] = {
        "kubernetes": auth.k8s_service_account_token_provider,
        "azure": auth.azure_managed_identity_token_provider,
        "gcp": auth.gcp_id_token_provider,
    }
    if identity.provider not in sources:
        raise ConfigurationError(
            f"{name}: no workload identity provider {identity.provider!r}; expected one of {', '.join(sources)}."
        )
    given: dict[str, Any] = {
        "identity_provider_id": identity.identity_provider_id,
        "service_account_id": identity.service_account_id,
        "provider": sources[identity.provider](**identity.options),
    }
    if identity.refresh_buffer_seconds is not None:
        given["refresh_buffer_seconds"] = identity.refresh_buffer_seconds
    return given
