"""The hook on real Airflow connections."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from airflow.providers.common.compat.sdk import AirflowNotFoundException

from airflow_provider_batch.exceptions import ConfigurationError
from airflow_provider_batch.hooks.openai_batch import OpenAIBatchHook
from tests.api.stub import StubApi, error
from tests.conftest import SECRET

if TYPE_CHECKING:
    from airflow_provider_batch.emulator.testing import Emulator


def test_the_test_button_says_what_it_reached(emulator: Emulator, connection: Callable[..., str]) -> None:
    hook = OpenAIBatchHook(connection(host=emulator.base_url))
    assert hook.test_connection() == (True, f"Connected to {emulator.base_url}; there are no batches yet.")


def test_the_test_button_says_what_is_wrong_and_not_the_key(stub: StubApi, connection: Callable[..., str]) -> None:
    stub.on("GET", "/batches", error(401, f"Incorrect API key provided: {SECRET}"))
    worked, message = OpenAIBatchHook(connection(host=stub.base_url)).test_connection()
    assert not worked
    assert "Check the API key of connection 'openai_default'" in message
    assert SECRET not in message


async def test_both_ways_to_the_settings_agree(connection: Callable[..., str]) -> None:
    hook = OpenAIBatchHook(connection("other", host="http://h:1/v1", extra={"project": "p"}))
    settings = await hook.aget_settings()
    assert settings == hook.get_settings()
    assert (settings.base_url, settings.project) == ("http://h:1/v1", "p")


def test_a_connection_given_as_a_uri_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_URI", "openai-batch://:key@127.0.0.1:8080/v1?project=p")
    settings = OpenAIBatchHook("uri").get_settings()
    assert (settings.api_key, settings.address, settings.project) == ("key", "http://127.0.0.1:8080/v1", "p")


async def test_a_missing_connection_is_one_clear_error(airflow_db: None) -> None:
    for settings in (OpenAIBatchHook("nowhere").get_settings, OpenAIBatchHook("nowhere").test_connection):
        try:
            result = settings()
        except ConfigurationError as error:
            result = (False, str(error))
        assert isinstance(result, tuple)
        assert result[1].startswith("There is no connection 'nowhere': create one of type 'OpenAI Batch'")
    with pytest.raises(ConfigurationError, match="There is no connection 'nowhere'"):
        await OpenAIBatchHook("nowhere").aget_settings()


async def test_where_airflow_has_no_asynchronous_way_the_other_one_is_taken(
    connection: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`dag.test()` with a connection of the metadata database."""

    async def not_found(conn_id: str) -> None:
        raise AirflowNotFoundException(conn_id)

    hook = OpenAIBatchHook(connection())
    monkeypatch.setattr(hook, "aget_connection", not_found, raising=False)  # Airflow 3.2 and later have it
    assert (await hook.aget_settings()).api_key == SECRET


def test_the_client_is_made_once(connection: Callable[..., str]) -> None:
    hook = OpenAIBatchHook(connection())
    assert hook.client is hook.client
    assert SECRET not in f"{hook!r}{hook.client!r}{hook.client.settings!r}"
