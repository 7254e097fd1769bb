"""The asynchronous client: the calls of a trigger, for an event loop that must never block."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from airflow_provider_batch.api.bounds import MAX_REDIRECTS
from airflow_provider_batch.api.errors import chain, translate
from airflow_provider_batch.api.objects import Batch
from airflow_provider_batch.api.response_reader import MAX_PAGE, Page, Reader, check_can_cancel, check_has_list
from airflow_provider_batch.api.settings import ClientSettings
from airflow_provider_batch.api.transport import http_client
from airflow_provider_batch.api.transport.guard import HEADERS, Guard
from airflow_provider_batch.exceptions import ApiUnavailableError, OpenAIBatchError

T = TypeVar("T")


class AsyncBatchClient:
    """
    Retrieve, list and cancel the batches of one account on one event loop.

    On a running event loop create it with `connect`: the constructor imports the SDK and builds a TLS context, which
    can block for seconds.

    :param settings: Account, address and limits of the client.
    """

    def __init__(self, settings: ClientSettings) -> None:
        import openai

        self.settings = settings
        guard = Guard(settings.address, http_client.key_header(settings))
        hooks: Any = {"request": [guard.async_request], "response": [guard.async_response]}
        self._http = openai.DefaultAsyncHttpxClient(
            verify=http_client.ssl_context(), event_hooks=hooks, max_redirects=MAX_REDIRECTS, headers=HEADERS
        )
        arguments = {**http_client.client_arguments(settings, is_async=True), "http_client": self._http}
        self._sdk: Any = http_client.pin_account(
            openai.AsyncOpenAI(**arguments, max_retries=settings.max_retries), settings
        )
        self._once: Any = http_client.pin_account(openai.AsyncOpenAI(**arguments, max_retries=0), settings)
        # The SDK imports its resources at their first use: do it here, not on the event loop.
        self._retrieve = self._sdk.batches.with_raw_response.retrieve
        self._list = self._sdk.batches.with_raw_response.list
        self._cancel = self._once.batches.with_raw_response.cancel

    @classmethod
    async def connect(cls, settings: ClientSettings) -> AsyncBatchClient:
        """
        Return a new client, built in a thread so that the event loop goes on.

        :param settings: Account, address and limits of the client.
        """
        return await asyncio.to_thread(cls._build, settings)

    @classmethod
    def _build(cls, settings: ClientSettings) -> AsyncBatchClient:
        """
        Build a client, with the garbage collector off while the SDK is imported.

        The import creates hundreds of thousands of objects. Each makes a garbage collection more likely, and one over
        all objects of a triggerer stops every thread for 100 to 200 ms.
        """
        if "openai" in sys.modules or not gc.isenabled():
            return cls(settings)
        gc.disable()
        try:
            return cls(settings)
        finally:
            gc.freeze()  # modules are never freed: later collections need not visit them
            gc.enable()

    async def __aenter__(self) -> AsyncBatchClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def retrieve(self, batch_id: str) -> Batch:
        """
        Return a batch as the API shows it now.

        :param batch_id: Id of the batch.
        :raises NotFoundError: This account has no such batch.
        """
        action = f"Retrieving batch {batch_id}"
        response = await self._call(action, lambda: self._retrieve(batch_id, timeout=self._short))
        return Reader(action, self.settings).batch(response)

    async def list_page(self, *, after: str | None = None, limit: int = MAX_PAGE) -> Page:
        """
        Return one page of the account's batches, newest first.

        :param after: Id of the batch after which the page begins; None for the first page.
        :param limit: Batches of the page, 1 to 100.
        """
        action = "Listing batches"
        check_has_list(action, self.settings)
        given = {"limit": limit} if after is None else {"limit": limit, "after": after}
        response = await self._call(action, lambda: self._list(**given, timeout=self._short))
        return Reader(action, self.settings).page(response)

    async def cancel(self, batch_id: str) -> Batch:
        """
        Request the cancellation of a batch once, and return the batch; one that has ended is returned unchanged.

        :param batch_id: Id of the batch.
        """
        action = f"Cancelling batch {batch_id}"
        check_can_cancel(action, self.settings)
        try:
            response = await self._call(action, lambda: self._cancel(batch_id, timeout=self._short))
        except ApiUnavailableError as error:
            if error.status_code == 409:
                return await self.retrieve(batch_id)
            raise
        return Reader(action, self.settings).batch(response)

    @property
    def _short(self) -> float:
        return http_client.call_timeout(self.settings)

    async def _call(self, action: str, call: Callable[[], Awaitable[T]]) -> T:
        try:
            with http_client.quiet():
                return await call()
        except OpenAIBatchError:
            raise
        except Exception as error:  # an unexpected response can make the SDK raise any exception
            raise translate(error, action=action, settings=self.settings) from chain(error, self.settings)
