"""The Batch API from an Airflow connection."""

from __future__ import annotations

import asyncio
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.connection import get_async_connection, get_async_extra_dejson
from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook

from airflow_provider_batch.exceptions import ConfigurationError, OpenAIBatchError
from airflow_provider_batch.hooks.connection import Fields, client_settings

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Connection

    from airflow_provider_batch.api.client import BatchClient
    from airflow_provider_batch.api.settings import ClientSettings


class OpenAIBatchHook(BaseHook):
    """
    Use the Batch API with an Airflow connection of type ``openai_batch``, or of the official provider's type
    ``openai``.

    The password is the API key; host is the base URL, and empty for OpenAI's own. The extra may hold ``organization``,
    ``project``, ``timeout``, ``max_retries`` and ``base_url``.

    :param conn_id: Id of the connection.
    """

    conn_name_attr = "conn_id"
    default_conn_name = "openai_default"
    conn_type = "openai_batch"
    hook_name = "OpenAI Batch"

    def __init__(self, conn_id: str = default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.conn_id = conn_id

    @cached_property
    def client(self) -> BatchClient:
        """The synchronous client; whoever uses the hook beyond one task closes it."""
        from airflow_provider_batch.api.client import BatchClient

        return BatchClient(self.get_settings())

    def get_settings(self) -> ClientSettings:
        """Return what the connection says; raise ConfigurationError when it is missing or wrong."""
        try:
            connection = self.get_connection(self.conn_id)
        except AirflowNotFoundException as error:
            raise self._missing() from error
        return client_settings(self.conn_id, _fields(connection, connection.extra_dejson))

    async def aget_settings(self) -> ClientSettings:
        """Return what `get_settings` returns, without blocking the event loop."""
        try:
            connection = await get_async_connection(self.conn_id, hook=self)
            extra = await get_async_extra_dejson(connection)
        except Exception:  # `dag.test()` has no asynchronous way to the metadata database, and calls that "not found"
            return await asyncio.to_thread(self.get_settings)
        return client_settings(self.conn_id, _fields(connection, extra))

    def test_connection(self) -> tuple[bool, str]:
        """Try the connection: what the Test button of Airflow's connection form does."""
        try:
            return True, self.client.account_check()
        except OpenAIBatchError as error:
            return False, str(error)

    def _missing(self) -> ConfigurationError:
        return ConfigurationError(
            f"There is no connection '{self.conn_id}': create one of type {self.hook_name!r} (`{self.conn_type}`) "
            "with the API key as its password."
        )


def _fields(connection: Connection, extra: dict[str, Any]) -> Fields:
    return Fields(
        conn_type=connection.conn_type,
        host=connection.host,
        port=connection.port,
        schema=connection.schema,
        password=connection.password,
        extra=extra,
    )
