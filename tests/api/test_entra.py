"""Tokens of Entra ID: one before each call, and clear errors where there is none; `azure.identity` is a stand-in."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any, ClassVar

import pytest

from airflow_provider_batch.api.async_client import AsyncBatchClient
from airflow_provider_batch.api.client import BatchClient
from airflow_provider_batch.api.outcomes import Refused
from airflow_provider_batch.api.services import service_named
from airflow_provider_batch.api.settings import ClientSettings, EntraIdentity
from airflow_provider_batch.emulator.testing import Emulator
from airflow_provider_batch.exceptions import AuthenticationError, ConfigurationError


class ClientAuthenticationError(Exception):
    message = "AADSTS7000222: The provided client secret keys for app 'app' are expired."


class Credential:
    """What `azure.identity` gives, with a new token for each call."""

    made: ClassVar[list[tuple[Any, ...]]] = []
    fail: Callable[[], Exception] | None = None
    tokens = 0

    def __init__(self, *given: Any, **named: Any) -> None:
        Credential.made.append((*given, *named.items()))

    def get_token(self, scope: str) -> Any:
        if Credential.fail is not None:
            raise Credential.fail()
        Credential.tokens += 1
        return type("Token", (), {"token": f"token-{Credential.tokens}"})


@pytest.fixture(autouse=True)
def _identity(monkeypatch: pytest.MonkeyPatch) -> None:
    Credential.made, Credential.fail, Credential.tokens = [], None, 0
    modules: dict[str, dict[str, Any]] = {
        "azure": {},
        "azure.identity": {"ClientSecretCredential": Credential, "DefaultAzureCredential": Credential},
        "azure.core": {},
        "azure.core.exceptions": {"ClientAuthenticationError": ClientAuthenticationError},
    }
    for name, members in modules.items():
        module = ModuleType(name)
        vars(module).update(members)
        monkeypatch.setitem(sys.modules, name, module)


def settings_for(emulator: Emulator, identity: EntraIdentity) -> ClientSettings:
    return ClientSettings(
        "",
        base_url=emulator.base_url,
        max_retries=0,
        entra_identity=identity,
        chosen_service=service_named("azure"),
        name="connection 'c'",
    )


PRINCIPAL = EntraIdentity("tenant", "app", "secret-of-the-app")


async def test_each_call_has_a_valid_token_in_the_worker_and_in_the_triggerer(emulator: Emulator) -> None:
    emulator.configure(service="azure", api_keys=["token-1", "token-2", "token-3"])
    settings = settings_for(emulator, PRINCIPAL)
    with BatchClient(settings) as client:
        client.list_page()
        client.list_page()
    async with await AsyncBatchClient.connect(settings) as other:
        await other.list_page()
    assert Credential.tokens == 3
    assert Credential.made == [("tenant", "app", "secret-of-the-app")] * len(Credential.made)
    assert [call["status"] for call in emulator.calls("GET", "/v1/batches")] == [200] * 3


def test_without_a_secret_the_identity_of_the_machine_is_used(emulator: Emulator) -> None:
    BatchClient(settings_for(emulator, EntraIdentity(None, "managed")))
    assert set(Credential.made) == {
        (("managed_identity_client_id", "managed"), ("workload_identity_client_id", "managed"))
    }


def test_an_expired_secret_is_the_platform_s_words_and_sends_nothing(emulator: Emulator) -> None:
    emulator.configure(service="azure")
    client = BatchClient(settings_for(emulator, PRINCIPAL))
    Credential.fail = ClientAuthenticationError
    with pytest.raises(AuthenticationError, match=r"AADSTS7000222.*Nothing was sent\. Renew the secret") as caught:
        client.list_page()
    assert "secret-of-the-app" not in str(caught.value)
    outcome = client.create(input_file_id="file-1", endpoint="/v1/chat/completions", metadata={})
    assert isinstance(outcome, Refused)
    Credential.fail = lambda: TimeoutError("no route to the identity service")
    outcome = client.create(input_file_id="file-1", endpoint="/v1/chat/completions", metadata={})
    assert isinstance(outcome, Refused)
    assert outcome.error.retryable
    assert emulator.calls() == []


def test_a_missing_package_is_named(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "azure.identity", None)
    with pytest.raises(ConfigurationError, match=r"install airflow-provider-batch\[azure\]"):
        BatchClient(settings_for(emulator, PRINCIPAL))
