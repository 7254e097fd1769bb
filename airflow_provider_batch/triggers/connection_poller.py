"""
A connection's client on an event loop, whatever the network, the vendor and the connection's owner do meanwhile.

A look never raises: it returns what was seen and, apart from that, what went wrong. After a refused key, and after a
round without any answer, the connection is read again: keys are rotated and servers move while a batch runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import replace

from airflow_provider_batch.api.async_client import AsyncBatchClient
from airflow_provider_batch.exceptions import (
    ApiUnavailableError,
    AuthenticationError,
    ConfigurationError,
    OpenAIBatchError,
)
from airflow_provider_batch.hooks.openai_batch import OpenAIBatchHook
from airflow_provider_batch.polling.status_reader import PollResult, StatusReader

#: Seconds for one look at all batches.
POLL_TIMEOUT = 120.0
#: A kill has seconds, and a job may have a thousand batches.
CANCELS_AT_A_TIME = 32
#: Seconds for connections to close.
CLOSE_TIMEOUT = 5.0


class ConnectionPoller:
    """
    Looks at, and cancels, batches with one connection.

    :param conn_id: Id of the Airflow connection.
    """

    def __init__(self, conn_id: str) -> None:
        self._hook = OpenAIBatchHook(conn_id)
        self._client: AsyncBatchClient | None = None
        self._reader = StatusReader()

    async def close(self) -> None:
        """Close the client; the next look opens another."""
        client, self._client = self._client, None
        if client is not None:
            with suppress(Exception):  # what cannot be closed is dropped
                async with asyncio.timeout(CLOSE_TIMEOUT):
                    await client.close()

    async def poll(self, due: Sequence[str], *, wanted: Collection[str] = ()) -> PollResult:
        """
        Return how batches are now.

        :param due: Ids of those to look at; `wanted` are of interest where they are seen anyway.
        """
        poll_result = PollResult()
        try:
            async with asyncio.timeout(POLL_TIMEOUT):
                await self._reader.poll(await self._connected(), due, poll_result, wanted=wanted)
        except OpenAIBatchError as error:
            poll_result.halt = poll_result.halt or error
        except TimeoutError:
            if not poll_result.batches:
                poll_result.halt = ApiUnavailableError(f"No answer within {POLL_TIMEOUT:,.0f} seconds.")
        except Exception as error:  # a defect here must not fail every task that waits
            problem = ApiUnavailableError(f"The look failed ({type(error).__name__}: {error}).")
            poll_result.halt = poll_result.halt or problem
        if self._is_worth_reading_again(poll_result):
            await self.close()
        return poll_result

    async def cancel(self, batch_ids: Sequence[str]) -> dict[str, OpenAIBatchError | None]:
        """Ask that batches be cancelled; return by id None, or why it could not be asked."""
        client = await self._connected()
        gate = asyncio.Semaphore(CANCELS_AT_A_TIME)

        async def cancel(batch_id: str) -> OpenAIBatchError | None:
            async with gate:
                try:
                    await client.cancel(batch_id)
                except OpenAIBatchError as error:
                    return error
                return None

        return dict(zip(batch_ids, await asyncio.gather(*map(cancel, batch_ids)), strict=True))

    @staticmethod
    def _is_worth_reading_again(poll_result: PollResult) -> bool:
        problem = poll_result.problem
        if isinstance(problem, AuthenticationError) and problem.status_code != 403:  # a 403 may concern one batch
            return True
        limited = getattr(problem, "status_code", None) == 429
        return problem is not None and not limited and not poll_result.batches and not poll_result.gone

    async def _connected(self) -> AsyncBatchClient:
        if self._client is None:
            try:
                settings = await self._hook.aget_settings()
            except OpenAIBatchError:
                raise
            except Exception as error:  # a secrets backend or an API server that is away is no reason to give up a job
                raise ConfigurationError(
                    f"Connection '{self._hook.conn_id}' could not be read ({type(error).__name__}: {error})."
                ) from error
            # The next look is the retry; the SDK's own would come on top of it, for each call by itself.
            self._client = await AsyncBatchClient.connect(replace(settings, max_retries=0))
        return self._client
