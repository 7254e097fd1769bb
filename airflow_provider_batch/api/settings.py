"""Settings of a client: address, key and limits. The key appears in no `repr` and in no message."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from airflow_provider_batch.api.service import Service
from airflow_provider_batch.api.services import service_of
from airflow_provider_batch.exceptions import ConfigurationError

#: OpenAI's address. It is always passed to the SDK, so that `OPENAI_BASE_URL` on one worker cannot redirect a job.
DEFAULT_BASE_URL = "https://api.openai.com/v1"
#: What Azure's tokens are for; clouds of governments have their own.
ENTRA_SCOPE = "https://cognitiveservices.azure.com/.default"
#: A short-lived token, which some servers quote in errors.
_TOKEN = re.compile(r"eyJ[\w-]{8,}\.[\w-]+\.[\w-]*")


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
class EntraIdentity:
    """
    Access to Azure with tokens of Entra ID instead of an API key; the installed `azure-identity` gets and renews them.

    With a tenant, an id and a secret it is a service principal. Without a secret, what the machine offers is used: a
    managed identity (the one with the given id, if any), a workload identity, or the environment.

    :param tenant_id: Id of the tenant.
    :param client_id: Id of the service principal or of the managed identity.
    :param client_secret: Secret of the service principal.
    :param scope: What the tokens are for.
    """

    tenant_id: str | None = None
    client_id: str | None = None
    client_secret: str | None = field(default=None, repr=False)
    scope: str = ENTRA_SCOPE


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
    :param entra_identity: Access to Azure without an API key; None to use the key.
    :param api_version: Value of the query parameter ``api-version`` of Azure's older addresses; None without it.
    :param chosen_service: The service at the address; None where its host says it.
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
    entra_identity: EntraIdentity | None = None
    api_version: str | None = None
    chosen_service: Service | None = None
    name: str = field(default="the client settings", compare=False)

    def __post_init__(self) -> None:
        if not self.api_key and self.workload_identity is None and self.entra_identity is None:
            raise ConfigurationError(f"{self.name}: there is no API key.")
        if not self.api_key.isascii() or any(character.isspace() for character in self.api_key):
            raise ConfigurationError(f"{self.name}: the API key contains spaces, line breaks or non-ASCII characters.")
        self._check_service()
        parts = urlsplit(self.address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigurationError(
                f"{self.name}: the base URL {self.shown_address!r} is no URL; "
                "expected one like https://api.openai.com/v1."
            )
        if not self.timeout > 0 or self.max_retries < 0:
            raise ConfigurationError(f"{self.name}: timeout must be above 0 and max_retries at least 0.")

    def _check_service(self) -> None:
        """Raise ConfigurationError for a service that cannot be called."""
        service = self.service
        if service.other_shape is not None:
            raise ConfigurationError(
                f"{self.name}: {service.name} has no Batch API of OpenAI's shape: {service.other_shape}. Nothing was "
                "sent. If a gateway at this address translates, set the connection's Service to 'other'."
            )
        chosen = self.chosen_service
        if not self.base_url and chosen is not None and chosen.base_url and chosen.default_base_url is None:
            raise ConfigurationError(
                f"{self.name}: {chosen.name} needs a base URL as the host, such as {chosen.base_url}."
            )

    @property
    def address(self) -> str:
        """The base URL of all calls."""
        default = None if self.chosen_service is None else self.chosen_service.default_base_url
        return (self.base_url or default or DEFAULT_BASE_URL).rstrip("/")

    @property
    def shown_address(self) -> str:
        """The base URL without user, password and query, for messages."""
        parts = urlsplit(self.address)
        return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))

    @property
    def service(self) -> Service:
        """The service at the address, with its limits."""
        service = self.chosen_service or service_of(urlsplit(self.address).hostname or "")
        return service if self.api_version is None else service.with_version(self.api_version)

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
        identity = None if self.entra_identity is None else self.entra_identity.client_secret
        for secret in (self.api_key, password, identity):
            if secret and len(secret) >= 4:
                text = text.replace(secret, "***")
        return _TOKEN.sub("***", text)
