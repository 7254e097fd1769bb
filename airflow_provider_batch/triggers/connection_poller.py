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
from airflow_provider_batch.polling.status_reader import Looker, Sighting

#: Seconds for one look at all batches.
LOOK_TIMEOUT = 120.0
#: A kill has seconds, and a job may have a thousand batches.
CANCELS_AT_A_TIME = 32
#: Seconds for connections to close.
CLOSE_TIMEOUT = 5.0


class Lookout:
    """
    Looks at, and cancels, batches with one connection.

    :param conn_id: Id of the Airflow connection.
    """

    def __init__(self, conn_id: str) -> None:
        self._hook = OpenAIBatchHook(conn_id)
        self._client: AsyncBatchClient | None = None
        self._looker = Looker()

    async def close(self) -> None:
        """Close the client; the next look opens another."""
        client, self._client = self._client, None
        if client is not None:
            with suppress(Exception):  # what cannot be closed is dropped
                async with asyncio.timeout(CLOSE_TIMEOUT):
                    await client.close()

    async def look(self, due: Sequence[str], *, wanted: Collection[str] = ()) -> Sighting:
        """
        Return how batches are now.

        :param due: Ids of those to look at; `wanted` are of interest where they are seen anyway.
        """
        sighting = Sighting()
        try:
            async with asyncio.timeout(LOOK_TIMEOUT):
                await self._looker.look(await self._connected(), due, sighting, wanted=wanted)
        except OpenAIBatchError as error:
            sighting.halt = sighting.halt or error
        except TimeoutError:
            if not sighting.batches:
                sighting.halt = ApiUnavailableError(f"No answer within {LOOK_TIMEOUT:,.0f} seconds.")
        except Exception as error:  # a defect here must not fail every task that waits
            problem = ApiUnavailableError(f"The look failed ({type(error).__name__}: {error}).")
            sighting.halt = sighting.halt or problem
        if self._is_worth_reading_again(sighting):
            await self.close()
        return sighting

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
    def _is_worth_reading_again(sighting: Sighting) -> bool:
        problem = sighting.problem
        if isinstance(problem, AuthenticationError) and problem.status_code != 403:  # a 403 may concern one batch
            return True
        limited = getattr(problem, "status_code", None) == 429
        return problem is not None and not limited and not sighting.batches and not sighting.gone

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
