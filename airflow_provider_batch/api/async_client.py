"""The calls that a wait makes, asynchronously: for an event loop that must never stand still."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from airflow_provider_batch.api.bounds import MAX_REDIRECTS
from airflow_provider_batch.api.errors import chain, translate
from airflow_provider_batch.api.objects import Batch
from airflow_provider_batch.api.response_reader import MAX_PAGE, Page, Reader
from airflow_provider_batch.api.settings import ClientSettings
from airflow_provider_batch.api.transport.guard import HEADERS, Guard
from airflow_provider_batch.api.transport.http_client import (
    call_timeout,
    client_arguments,
    pin_account,
    quiet,
    ssl_context,
)
from airflow_provider_batch.exceptions import ApiUnavailableError, OpenAIBatchError

T = TypeVar("T")


class AsyncBatchClient:
    """
    Looks at batches and cancels them, for one account, within one event loop.

    Use `connect` on a running loop: the constructor imports the SDK and builds a TLS context, which can take seconds.
    """

    def __init__(self, settings: ClientSettings) -> None:
        import openai

        self.settings = settings
        guard = Guard(settings.address)
        hooks: Any = {"request": [guard.async_request], "response": [guard.async_response]}
        self._http = openai.DefaultAsyncHttpxClient(
            verify=ssl_context(), event_hooks=hooks, max_redirects=MAX_REDIRECTS, headers=HEADERS
        )
        arguments = {**client_arguments(settings), "http_client": self._http}
        self._sdk: Any = pin_account(openai.AsyncOpenAI(**arguments, max_retries=settings.max_retries), settings)
        self._once: Any = pin_account(openai.AsyncOpenAI(**arguments, max_retries=0), settings)
        # The SDK imports its resources at their first use; that is paid here too.
        self._retrieve = self._sdk.batches.with_raw_response.retrieve
        self._list = self._sdk.batches.with_raw_response.list
        self._cancel = self._once.batches.with_raw_response.cancel

    @classmethod
    async def connect(cls, settings: ClientSettings) -> AsyncBatchClient:
        """Return a client, built in a thread."""
        return await asyncio.to_thread(cls._build, settings)

    @classmethod
    def _build(cls, settings: ClientSettings) -> AsyncBatchClient:
        """
        Import the SDK, if that is to be done, without a pause of the whole process.

        A thread does not help against the garbage collector: the hundred thousands of objects that the import makes
        have it look through all of a triggerer's several times, 100 to 200 ms each.
        """
        if "openai" in sys.modules or not gc.isenabled():
            return cls(settings)
        gc.disable()
        try:
            return cls(settings)
        finally:
            gc.freeze()  # modules stay: they need not be looked through again
            gc.enable()

    async def __aenter__(self) -> AsyncBatchClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def retrieve(self, batch_id: str) -> Batch:
        """Return a batch as it is now; raise NotFoundError for one that this account does not have."""
        asked = f"Retrieving batch {batch_id}"
        response = await self._call(asked, lambda: self._retrieve(batch_id, timeout=self._short))
        return Reader(asked, self.settings).batch(response)

    async def list_page(self, *, after: str | None = None, limit: int = MAX_PAGE) -> Page:
        """Return one page of the list, newest first; ``after`` is the last page's ``next_after``."""
        asked = "Listing batches"
        given = {"limit": limit} if after is None else {"limit": limit, "after": after}
        response = await self._call(asked, lambda: self._list(**given, timeout=self._short))
        return Reader(asked, self.settings).page(response)

    async def cancel(self, batch_id: str) -> Batch:
        """Ask once that a batch be cancelled, and return it as it is then; one that has ended is returned unchanged."""
        asked = f"Cancelling batch {batch_id}"
        try:
            response = await self._call(asked, lambda: self._cancel(batch_id, timeout=self._short))
        except ApiUnavailableError as error:
            if error.status_code == 409:
                return await self.retrieve(batch_id)
            raise
        return Reader(asked, self.settings).batch(response)

    @property
    def _short(self) -> float:
        return call_timeout(self.settings)

    async def _call(self, asked: str, call: Callable[[], Awaitable[T]]) -> T:
        try:
            with quiet():
                return await call()
        except OpenAIBatchError:
            raise
        except Exception as error:  # the SDK passes on what its parts raise for an answer that nobody thought of
            raise translate(error, asked=asked, settings=self.settings) from chain(error, self.settings)
