"""
Tokens of Entra ID for Azure, by the installed `azure-identity`.

A token lives about an hour and a job about a day. The SDK asks for a token before each call; `azure-identity` keeps the
last one, and renews it before it ends.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Awaitable, Callable
from typing import Any

from airflow_provider_batch.api.errors import NO_TOKEN, ErrorResponse
from airflow_provider_batch.api.settings import EntraIdentity
from airflow_provider_batch.exceptions import ConfigurationError


class NoTokenError(Exception):
    """
    There is no token for a call, which therefore was not sent.

    :param error_response: What the identity platform said.
    """

    def __init__(self, error_response: ErrorResponse) -> None:
        super().__init__(error_response.text)
        self.error_response = error_response


def token_source(identity: EntraIdentity, name: str) -> Callable[[], str]:
    """
    Return a function that returns a valid token; threads may share it.

    :param identity: Whose tokens they are.
    :param name: Name of the connection, for messages.
    :raises ConfigurationError: `azure-identity` is not installed.
    """
    try:
        azure_identity = importlib.import_module("azure.identity")
        refused: type[Exception] = importlib.import_module("azure.core.exceptions").ClientAuthenticationError
    except ImportError as error:
        raise ConfigurationError(
            f"{name}: auth_type 'entra_id' needs the package azure-identity; install airflow-provider-batch[azure]."
        ) from error
    credential = _credential(identity, azure_identity)

    def token() -> str:
        try:
            return str(credential.get_token(identity.scope).token)
        except refused as error:
            text = f"Entra ID gave no token: {getattr(error, 'message', None) or error}"
            raise NoTokenError(ErrorResponse(text, status_code=401, code=NO_TOKEN)) from None
        except Exception as error:  # the network, or the identity service of the machine
            raise NoTokenError(ErrorResponse(f"Entra ID cannot be reached: {error}")) from None

    return token


def in_thread(source: Callable[[], str]) -> Callable[[], Awaitable[str]]:
    """
    Return a token source for an event loop, which must not wait for a token.

    :param source: The source, which may block.
    """

    async def token() -> str:
        return await asyncio.to_thread(source)

    return token


def _credential(identity: EntraIdentity, azure_identity: Any) -> Any:
    if identity.client_secret is not None:
        return azure_identity.ClientSecretCredential(identity.tenant_id, identity.client_id, identity.client_secret)
    given: dict[str, Any] = {}
    if identity.client_id is not None:
        given = {
            "managed_identity_client_id": identity.client_id,
            "workload_identity_client_id": identity.client_id,
        }
    if identity.tenant_id is not None:
        given["workload_identity_tenant_id"] = identity.tenant_id
    return azure_identity.DefaultAzureCredential(**given)
