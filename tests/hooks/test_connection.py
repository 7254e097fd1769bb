"""An Airflow connection's fields, ours and the official provider's, as client settings."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_batch.api.endpoints import Endpoint
from airflow_provider_batch.api.settings import ClientSettings, EntraIdentity, WorkloadIdentity
from airflow_provider_batch.exceptions import ConfigurationError
from airflow_provider_batch.get_provider_info import get_provider_info
from airflow_provider_batch.hooks.connection import Fields, azure_conn_id, base_url, client_settings
from airflow_provider_batch.hooks.openai_batch import OpenAIBatchHook
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


@pytest.mark.parametrize(
    ("host", "extra", "address", "api_version"),
    [
        ("https://r.openai.azure.com", {}, "https://r.openai.azure.com/openai/v1", None),
        ("r.openai.azure.com/openai/v1/", {}, "https://r.openai.azure.com/openai/v1", None),
        ("r.openai.azure.com", {"api_version": "2024-10-21"}, "https://r.openai.azure.com/openai", "2024-10-21"),
        (
            "https://r.openai.azure.com/openai?api-version=2024-10-21",
            {},
            "https://r.openai.azure.com/openai",
            "2024-10-21",
        ),
        ("https://r.openai.azure.com/?api-version=2024-10-21", {}, "https://r.openai.azure.com/openai", "2024-10-21"),
        (
            "https://r.openai.azure.com/openai/deployments/d/chat/completions?api-version=2024-10-21",
            {},
            "https://r.openai.azure.com/openai",
            "2024-10-21",
        ),
        (
            "https://gateway.example.com/openai",
            {"service": "azure", "api_version": "2024-10-21"},
            "https://gateway.example.com/openai",
            "2024-10-21",
        ),
        (None, {"service": "groq"}, "https://api.groq.com/openai/v1", None),
        ("api.together.xyz", {}, "https://api.together.xyz/v1", None),
    ],
)
def test_a_service_s_own_addresses_are_completed(
    host: str | None, extra: dict[str, Any], address: str, api_version: str | None
) -> None:
    settings = settings_of(host=host, extra=extra)
    assert (settings.address, settings.api_version) == (address, api_version)


def test_azure_s_older_addresses_have_lines_without_v1_and_expiry_policies_since_2025() -> None:
    def service(version: str | None) -> tuple[str, int | None]:
        extra = {} if version is None else {"api_version": version}
        found = settings_of(host="r.openai.azure.com", extra=extra).service
        return found.url_of(Endpoint.CHAT_COMPLETIONS), found.input_expiry

    assert service(None) == ("/v1/chat/completions", 1_209_600)
    assert service("2024-10-21") == ("/chat/completions", None)
    assert service("2025-03-01-preview") == ("/chat/completions", 1_209_600)


def test_the_extra_names_or_describes_the_service() -> None:
    assert settings_of(host="http://h/v1").service.key == "other"
    assert settings_of(host="http://h/v1", extra={"service": "AIBrix "}).service.key == "aibrix"
    for given in {"max_requests": 7}, '{"max_requests": 7}':
        assert settings_of(host="http://h/v1", extra={"service": given}).service.max_requests == 7
    with pytest.raises(ConfigurationError, match="connection 'c': service 'grok' is not known; expected one of openai"):
        settings_of(extra={"service": "grok"})
    with pytest.raises(ConfigurationError, match="service: expected a name or a JSON object"):
        settings_of(extra={"service": "{max_requests: 7}"})


AZURE: dict[str, Any] = {"host": None, "port": None, "schema": None}


def test_the_identity_of_entra_id_comes_from_the_extra_or_an_azure_connection() -> None:
    extra = {"auth_type": "entra_id", "azure_conn_id": "a"}
    own = Fields(conn_type="openai_batch", password=None, extra=extra, **{**AZURE, "host": "r.openai.azure.com"})
    assert azure_conn_id(own) == "a"
    principal = Fields(conn_type="azure", login="app", password=SECRET, extra={"tenantId": "t"}, **AZURE)
    settings = client_settings("c", own, principal)
    assert settings.entra_identity == EntraIdentity("t", "app", SECRET)
    assert SECRET not in repr(settings)
    assert settings.without_secrets(f"bad secret {SECRET}") == "bad secret ***"
    managed = Fields(conn_type="azure", password=None, extra={"managed_identity_client_id": "m"}, **AZURE)
    assert client_settings("c", own, managed).entra_identity == EntraIdentity(None, "m")
    alone = settings_of(password=None, extra={"auth_type": "entra_id", "managed_identity_client_id": "m"})
    assert alone.entra_identity == EntraIdentity(None, "m")


@pytest.mark.parametrize(
    ("azure", "error"),
    [
        ({"conn_type": "wasb"}, "azure_conn_id names a connection of type 'wasb'; expected 'azure'"),
        (
            {"conn_type": "azure", "login": "app"},
            "it also needs the service principal's id as its login, and 'tenantId'",
        ),
    ],
)
def test_an_azure_connection_that_names_no_identity_is_an_error(azure: dict[str, Any], error: str) -> None:
    own = Fields(conn_type="openai_batch", password=None, extra={"auth_type": "entra_id"}, **AZURE)
    with pytest.raises(ConfigurationError, match=error):
        client_settings("c", own, Fields(**{"password": SECRET, "extra": {}, **AZURE, **azure}))


def test_airflow_before_3_2_gets_the_same_form(monkeypatch: pytest.MonkeyPatch) -> None:
    made: dict[str, Any] = {"StringField": lambda label, **said: (label, said["description"])}
    modules = {
        "wtforms": SimpleNamespace(**made),
        "flask_babel": SimpleNamespace(lazy_gettext=str),
        "flask_appbuilder": SimpleNamespace(),
        "flask_appbuilder.fieldwidgets": SimpleNamespace(BS3TextFieldWidget=object),
    }
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    (connection,) = get_provider_info()["connection-types"]
    widgets = OpenAIBatchHook.get_connection_form_widgets()
    assert widgets.keys() == connection["conn-fields"].keys()
    assert widgets["service"][0] == "Service"
    assert set(OpenAIBatchHook.get_ui_field_behaviour()) == {"hidden_fields", "relabeling", "placeholders"}
