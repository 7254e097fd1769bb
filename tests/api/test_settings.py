"""What describes an account, and what it never shows."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_batch.api.settings import ClientSettings, WorkloadIdentity
from airflow_provider_batch.api.transport.http_client import client_arguments, ssl_context
from airflow_provider_batch.exceptions import ConfigurationError
from tests.conftest import SECRET


def test_the_key_is_in_no_repr_and_no_account() -> None:
    settings = ClientSettings(SECRET, base_url="https://user:password@host/v1?token=x", organization="org", project="p")
    assert SECRET not in repr(settings)
    assert settings.account == "https://host/v1|org|p"


def test_the_account_is_that_of_the_default_address_without_one() -> None:
    assert ClientSettings("k").account == "https://api.openai.com/v1||"


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"api_key": ""}, "no API key"),
        ({"api_key": "sk-a b"}, "spaces"),
        ({"api_key": "sk-\n"}, "line breaks"),
        ({"api_key": "sk-…"}, "non-ASCII"),
        ({"api_key": "k", "base_url": "api.openai.com/v1"}, "is no URL"),
        ({"api_key": "k", "base_url": "ftp://host"}, "is no URL"),
        ({"api_key": "k", "timeout": 0}, "timeout"),
        ({"api_key": "k", "max_retries": -1}, "max_retries"),
    ],
)
def test_what_cannot_work_is_refused_before_the_first_call(given: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem) as caught:
        ClientSettings(**given, name="connection 'x'")
    assert "connection 'x'" in str(caught.value)


def test_one_tls_context_serves_all_clients() -> None:
    assert ssl_context() is ssl_context()


@pytest.mark.parametrize(
    ("provider", "options"),
    [("kubernetes", {"token_file_path": "/t"}), ("azure", {"client_id": "c"}), ("gcp", {"audience": "a"})],
)
def test_a_workload_identity_takes_the_place_of_the_key(provider: str, options: dict[str, str]) -> None:
    import openai

    identity = WorkloadIdentity("idp", "sa", provider, options, refresh_buffer_seconds=60)
    arguments = client_arguments(ClientSettings("", workload_identity=identity))
    assert "api_key" not in arguments
    assert arguments["workload_identity"]["refresh_buffer_seconds"] == 60
    openai.OpenAI(**arguments)
