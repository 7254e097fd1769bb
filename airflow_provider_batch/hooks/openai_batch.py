"""The hook of the Batch API."""

from __future__ import annotations

import asyncio
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.connection import get_async_connection, get_async_extra_dejson
from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook

from airflow_provider_batch.exceptions import ConfigurationError, OpenAIBatchError
from airflow_provider_batch.get_provider_info import get_provider_info
from airflow_provider_batch.hooks.connection import Fields, azure_conn_id, client_settings

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Connection

    from airflow_provider_batch.api.client import BatchClient
    from airflow_provider_batch.api.settings import ClientSettings


class OpenAIBatchHook(BaseHook):
    """
    Call the Batch API through an Airflow connection of type ``openai_batch`` (or ``openai``, the official provider's).

    The connection's password is the API key. Its host is the base URL; empty means OpenAI. Its extra may have
    ``service``, ``organization``, ``project``, ``timeout`` (seconds), ``max_retries``, ``base_url``, and the keys of
    Azure and of workload identities.

    .. code-block:: python

        @task
        def count_running() -> int:
            with OpenAIBatchHook("openai_default").client as client:
                return sum(not batch.has_ended for batch in client.list())

    :param conn_id: Id of the Airflow connection.
    """

    conn_name_attr = "conn_id"
    default_conn_name = "openai_default"
    conn_type = "openai_batch"
    hook_name = "OpenAI Batch"

    def __init__(self, conn_id: str = default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.conn_id = conn_id

    @staticmethod
    def get_connection_form_widgets() -> dict[str, Any]:
        """Return the form's fields in the form that Airflow before 3.2 reads; later ones read the provider's info."""
        from flask_appbuilder.fieldwidgets import BS3TextFieldWidget
        from flask_babel import lazy_gettext
        from wtforms import StringField

        (connection,) = get_provider_info()["connection-types"]
        return {
            name: StringField(
                lazy_gettext(field["label"]), widget=BS3TextFieldWidget(), description=field["description"]
            )
            for name, field in connection["conn-fields"].items()
        }

    @staticmethod
    def get_ui_field_behaviour() -> dict[str, Any]:
        """Return the form's labels in the form that Airflow before 3.2 reads; later ones read the provider's info."""
        (connection,) = get_provider_info()["connection-types"]
        return {key.replace("-", "_"): value for key, value in connection["ui-field-behaviour"].items()}

    @cached_property
    def client(self) -> BatchClient:
        """
        The synchronous client of the connection's account, created at the first use.

        Close it (or use it in ``with``) if the process goes on after the task.

        :raises ConfigurationError: The connection is missing or invalid.
        """
        from airflow_provider_batch.api.client import BatchClient

        return BatchClient(self.get_settings())

    def get_settings(self) -> ClientSettings:
        """
        Return address, key and limits from the connection.

        :raises ConfigurationError: The connection is missing or invalid.
        """
        fields = self._read(self.conn_id)
        other = azure_conn_id(fields)
        return client_settings(self.conn_id, fields, None if other is None else self._read(other, "azure"))

    def _read(self, conn_id: str, conn_type: str = conn_type) -> Fields:
        try:
            connection = self.get_connection(conn_id)
        except AirflowNotFoundException as error:
            raise _missing(conn_id, conn_type) from error
        return _fields(connection, connection.extra_dejson)

    async def aget_settings(self) -> ClientSettings:
        """
        Return the same as `get_settings`, without blocking the event loop.

        :raises ConfigurationError: The connection is missing or invalid.
        """
        try:
            fields = await self._aread(self.conn_id)
            other = azure_conn_id(fields)
            azure = None if other is None else await self._aread(other)
        except Exception:  # in `dag.test()` the asynchronous lookup fails with "not found"
            return await asyncio.to_thread(self.get_settings)
        return client_settings(self.conn_id, fields, azure)

    async def _aread(self, conn_id: str) -> Fields:
        connection = await get_async_connection(conn_id, hook=self)
        return _fields(connection, await get_async_extra_dejson(connection))

    def test_connection(self) -> tuple[bool, str]:
        """Call the API once, and return whether it worked, with a message for Airflow's Test button."""
        try:
            return True, self.client.account_check()
        except OpenAIBatchError as error:
            return False, str(error)


def _missing(conn_id: str, conn_type: str) -> ConfigurationError:
    if conn_type == "azure":
        what = "type `azure` with the service principal's id as its login and its secret as its password"
    else:
        what = f"type {OpenAIBatchHook.hook_name!r} (`{conn_type}`) with the API key as its password"
    return ConfigurationError(f"There is no connection '{conn_id}': create one of {what}.")


def _fields(connection: Connection, extra: dict[str, Any]) -> Fields:
    return Fields(
        **{name: getattr(connection, name) for name in ("conn_type", "host", "port", "schema", "password", "login")},
        extra=extra,
    )
