"""How to reach an account: address, key and limits of a client. The key appears in no `repr` and in no message."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from airflow_provider_batch.api.services import Service, service_of
from airflow_provider_batch.exceptions import ConfigurationError

#: Where the SDK goes by itself. Named here so that `OPENAI_BASE_URL` on one worker cannot move a job elsewhere.
DEFAULT_BASE_URL = "https://api.openai.com/v1"


@dataclass(frozen=True)
class WorkloadIdentity:
    """
    Access by a short-lived identity token instead of a key.

    :param identity_provider_id: Id of the identity provider, from the vendor's settings.
    :param service_account_id: Id of the service account that the identity is bound to.
    :param provider: Where the token comes from: ``kubernetes``, ``azure`` or ``gcp``.
    :param options: Arguments of that source, as the SDK names them.
    :param refresh_buffer_seconds: Seconds before its end at which a token is renewed; None for the SDK's own.
    """

    identity_provider_id: str
    service_account_id: str
    provider: str
    options: Mapping[str, Any] = field(default_factory=dict)
    refresh_buffer_seconds: float | None = None


@dataclass(frozen=True)
class ClientSettings:
    """
    One account, and how patiently it is asked.

    :param api_key: The key; empty only with a workload identity.
    :param base_url: Address with its path (``https://host/v1``); None is OpenAI's own.
    :param timeout: Seconds that one read or write of a file transfer may take; short calls wait less.
    :param max_retries: Attempts after the first for every call but the creation of a batch, which is never repeated.
    :param name: What messages call the place to mend, for example ``connection 'openai_default'``.
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
            raise ConfigurationError(f"{self.name}: the API key holds spaces, line breaks or non-ASCII characters.")
        parts = urlsplit(self.address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigurationError(
                f"{self.name}: the base URL {self.shown_address!r} is no address; "
                "expected one like https://api.openai.com/v1."
            )
        if not self.timeout > 0 or self.max_retries < 0:
            raise ConfigurationError(f"{self.name}: timeout must be above 0 and max_retries at least 0.")

    @property
    def address(self) -> str:
        """The base URL that calls go to."""
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
        """Base URL, organisation and project: what makes two settings the same account. Never the key."""
        return "|".join((self.shown_address, self.organization or "", self.project or ""))

    def without_secrets(self, text: str) -> str:
        """Return a text with the key, and a password in the base URL, blotted out; some servers send them back."""
        password = urlsplit(self.address).password
        for secret in (self.api_key, password):
            if secret and len(secret) >= 4:
                text = text.replace(secret, "***")
        return text
