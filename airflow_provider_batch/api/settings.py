"""Settings of a client: address, key and limits. The key appears in no `repr` and in no message."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from airflow_provider_batch.api.services import Service, service_of
from airflow_provider_batch.exceptions import ConfigurationError

#: OpenAI's address. It is always passed to the SDK, so that `OPENAI_BASE_URL` on one worker cannot redirect a job.
DEFAULT_BASE_URL = "https://api.openai.com/v1"


@dataclass(frozen=True)
class WorkloadIdentity:
    """
    Access with a short-lived identity token instead of an API key.

    :param identity_provider_id: Id of the identity provider, from the vendor's settings.
    :param service_account_id: Id of the service account of the identity.
    :param provider: Source of the token: ``kubernetes``, ``azure`` or ``gcp``.
    :param options: Arguments of that source, by the SDK's names.
    :param refresh_buffer_seconds: Seconds before its expiry at which a token is renewed; None for the SDK's default.
    """

    identity_provider_id: str
    service_account_id: str
    provider: str
    options: Mapping[str, Any] = field(default_factory=dict)
    refresh_buffer_seconds: float | None = None


@dataclass(frozen=True)
class ClientSettings:
    """
    Account, address and limits of a client.

    :param api_key: API key; empty only with a workload identity.
    :param base_url: Address with its path (``https://host/v1``); None for OpenAI.
    :param organization: Id of the organization; None for the key's default.
    :param project: Id of the project; None for the key's default.
    :param timeout: Seconds that one read or write of a file transfer may take; calls without a file take at most 60.
    :param max_retries: Further attempts of a failed call; the creation of a batch is never repeated.
    :param workload_identity: Access without an API key; None to use the key.
    :param name: Where a user changes these settings, for messages: ``connection 'openai_default'``.
    :raises ConfigurationError: The key is missing or malformed, the base URL is no URL, or a limit is out of range.
    """

    api_key: str = field(repr=False)
    base_url: str | None = None
    organization: str | None = None
    project: str | None = None
    timeout: float = 600.0
    max_retries: int = 4
    workload_identity: WorkloadIdentity | None = None
    name: str = field(default="the client settings", compare=False)

    def __post_init__(self) -> None:
        if not self.api_key and self.workload_identity is None:
            raise ConfigurationError(f"{self.name}: there is no API key.")
        if not self.api_key.isascii() or any(character.isspace() for character in self.api_key):
            raise ConfigurationError(f"{self.name}: the API key contains spaces, line breaks or non-ASCII characters.")
        parts = urlsplit(self.address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigurationError(
                f"{self.name}: the base URL {self.shown_address!r} is no URL; "
                "expected one like https://api.openai.com/v1."
            )
        if not self.timeout > 0 or self.max_retries < 0:
            raise ConfigurationError(f"{self.name}: timeout must be above 0 and max_retries at least 0.")

    @property
    def address(self) -> str:
        """The base URL of all calls."""
        return (self.base_url or DEFAULT_BASE_URL).rstrip("/")

    @property
    def shown_address(self) -> str:
        """The base URL without user, password and query, for messages."""
        parts = urlsplit(self.address)
        return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))

    @property
    def service(self) -> Service:
        """The service at the address, with its limits."""
        return service_of(urlsplit(self.address).hostname or "")

    @property
    def account(self) -> str:
        """Base URL, organization and project, which together identify an account; never the key."""
        return "|".join((self.shown_address, self.organization or "", self.project or ""))

    def without_secrets(self, text: str) -> str:
        """
        Return a text with ``***`` for the key and for a password of the base URL: some servers quote them in errors.

        :param text: Text for a message.
        """
        password = urlsplit(self.address).password
        for secret in (self.api_key, password):
            if secret and len(secret) >= 4:
                text = text.replace(secret, "***")
        return text
