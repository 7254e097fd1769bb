"""An Airflow connection's fields, ours and the official provider's, as client settings."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_batch.api.settings import ClientSettings, WorkloadIdentity
from airflow_provider_batch.exceptions import ConfigurationError
from airflow_provider_batch.hooks.connection import Fields, base_url, client_settings
from tests.conftest import SECRET


def settings_of(
    *, conn_type: str | None = "openai_batch", password: str | None = SECRET, **given: Any
) -> ClientSettings:
    fields = {"host": None, "port": None, "schema": None, "extra": {}, **given}
    return client_settings("c", Fields(conn_type=conn_type, password=password, **fields))


@pytest.mark.parametrize(
    ("host", "port", "schema", "expected"),
    [
        (None, None, None, None),
        ("", 8080, None, None),
        ("https://api.openai.com/v1", None, None, "https://api.openai.com/v1"),
        ("https://api.openai.com/v1/", None, None, "https://api.openai.com/v1"),
        ("api.openai.com", None, None, "https://api.openai.com/v1"),
        ("r.openai.azure.com/openai/v1/", None, None, "https://r.openai.azure.com/openai/v1"),
        ("localhost:8080/v1", None, None, "http://localhost:8080/v1"),
        ("127.0.0.1", 8080, "v1", "http://127.0.0.1:8080/v1"),
        ("http://proxy", 8080, None, "http://proxy:8080"),
        ("http://proxy:9090/v1", 8080, None, "http://proxy:9090/v1"),
        ("http://proxy/v1", 8080, None, "http://proxy:8080/v1"),
        ("http://[::1]:1/v1", 8080, None, "http://[::1]:1/v1"),
        ("gateway.example.com", None, "https", "https://gateway.example.com"),
    ],
)
def test_host_port_and_schema_make_the_base_url(
    host: str | None, port: int | None, schema: str | None, expected: str | None
) -> None:
    assert base_url(host, port, schema) == expected


def test_a_key_is_enough() -> None:
    settings = settings_of()
    assert settings == ClientSettings(SECRET)
    assert settings.name == "connection 'c'"


def test_the_extra_says_the_rest_and_empty_fields_of_a_form_say_nothing() -> None:
    extra = {"organization": "org", "project": "", "timeout": "30", "max_retries": 0, "base_url": "http://h/v1"}
    assert settings_of(host="http://other/v1", extra=extra) == ClientSettings(
        SECRET, base_url="http://h/v1", organization="org", timeout=30.0, max_retries=0
    )


def test_a_connection_of_the_official_provider_is_accepted_as_it_is() -> None:
    extra = {
        "auth_type": "api_key",
        "openai_client_kwargs": {"api_key": SECRET, "base_url": "http://h/v1", "timeout": 5},
    }
    settings = settings_of(conn_type="openai", password=None, host="http://other/v1", extra=extra)
    assert settings == ClientSettings(SECRET, base_url="http://h/v1", timeout=5.0)


def test_a_workload_identity_of_the_official_provider_is_accepted() -> None:
    extra = {
        "auth_type": "workload_identity",
        "identity_provider_id": "idp",
        "service_account_id": "sa",
        "workload_identity_provider": "azure",
        "client_id": "c",
        "refresh_buffer_seconds": "60",
    }
    settings = settings_of(conn_type="openai", password=None, extra=extra)
    assert settings.workload_identity == WorkloadIdentity("idp", "sa", "azure", {"client_id": "c"}, 60.0)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"password": None}, "has no API key"),
        ({"password": "  "}, "has no API key"),
        ({"conn_type": "aws"}, "of type 'aws'"),
        ({"extra": {"http_client": "x"}}, "extra has 'http_client', which is not allowed"),
        (
            {"extra": {"openai_client_kwargs": {"default_headers": {}}}},
            "'openai_client_kwargs' has 'default_headers'",
        ),
        ({"extra": {"openai_client_kwargs": "x"}}, "must be an object"),
        ({"extra": {"timeout": "soon"}}, "'timeout' must be a number"),
        ({"extra": {"auth_type": "magic"}}, "auth_type 'magic' is unknown"),
        ({"extra": {"auth_type": "workload_identity"}}, "needs identity_provider_id"),
        (
            {
                "extra": {
                    "auth_type": "workload_identity",
                    "identity_provider_id": "i",
                    "service_account_id": "s",
                    "workload_identity_provider": "custom",
                }
            },
            "'custom' is not supported",
        ),
    ],
)
def test_what_is_wrong_is_named_without_the_key(given: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigurationError, match="connection 'c'") as caught:
        settings_of(**given)
    assert problem in str(caught.value)
    assert SECRET not in str(caught.value)


def test_the_fields_do_not_show_the_key() -> None:
    assert SECRET not in repr(Fields("openai", None, None, None, SECRET, {"openai_client_kwargs": {"api_key": SECRET}}))
