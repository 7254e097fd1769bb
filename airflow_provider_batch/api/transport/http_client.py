"""What the sync and the async client share: how the SDK is constructed, one TLS context, the transport's errors."""

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
from airflow_provider_batch.exceptions import ConfigurationError

#: Seconds for a connection to open.
CONNECT_TIMEOUT = 15.0
#: Seconds for calls that move no file: they are answered within one, or something is wrong.
CALL_TIMEOUT = 60.0

#: The transport's errors that come before the first byte of a request is sent.
BEFORE_SENDING = frozenset({"ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError", "UnsupportedProtocol"})

_lock = threading.Lock()
_context: ssl.SSLContext | None = None
_is_quiet: ContextVar[bool] = ContextVar("openai_batch_is_quiet", default=False)


def transport() -> ModuleType:
    """Return the HTTP library that the installed SDK runs on; importing it costs what importing the SDK costs."""
    import openai

    homes = (base.__module__.partition(".")[0] for base in openai.DefaultHttpxClient.__mro__)
    return importlib.import_module(next(home for home in homes if home.startswith("httpx")))  # httpx2 since openai 3


class _OursLeftOut(logging.Filter):
    """Keeps lines on single requests out of the log: a day of polling would bury a task's own lines."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not (_is_quiet.get() and record.levelno <= logging.INFO)


_ours_left_out = _OursLeftOut()


@contextmanager
def quiet() -> Iterator[None]:
    """Leave the requests and retries of a block out of the log; those of others stay."""
    for name in (transport().__name__, "openai._base_client"):
        logging.getLogger(name).addFilter(_ours_left_out)  # the same filter is added once
    token = _is_quiet.set(True)
    try:
        yield
    finally:
        _is_quiet.reset(token)


def ssl_context() -> ssl.SSLContext:
    """Return the TLS context of this process: building one takes 40 ms, too long for each client of a triggerer."""
    global _context
    with _lock:
        if _context is None:
            _context = transport().create_ssl_context()
        assert _context is not None
        return _context


def client_arguments(settings: ClientSettings) -> dict[str, Any]:
    """Return the constructor arguments that both SDK clients take."""
    import openai

    credentials: dict[str, Any] = {"api_key": settings.api_key}
    if settings.workload_identity is not None:
        credentials = {"workload_identity": _identity(settings.workload_identity, settings.name)}
    return {
        **credentials,
        "base_url": settings.address,
        "organization": settings.organization,
        "project": settings.project,
        "timeout": openai.Timeout(settings.timeout, connect=min(settings.timeout, CONNECT_TIMEOUT)),
    }


def pin_account(client: Any, settings: ClientSettings) -> Any:
    """Return the SDK client with exactly the account of the settings: the SDK fills gaps from the environment."""
    client.organization, client.project = settings.organization, settings.project
    return client


def call_timeout(settings: ClientSettings) -> float:
    """Return the seconds that a call without a file may take."""
    return min(settings.timeout, CALL_TIMEOUT)


def was_sent(error: BaseException) -> bool:
    """Return False only where a request surely never left this machine."""
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
        raise ConfigurationError(f"{name}: the installed `openai` package knows no workload identity.") from error
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
