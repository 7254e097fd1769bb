"""
Poll and cancel batches through one Airflow connection on an event loop.

A poll never raises: it returns poll results and errors. After a refused key, and after a round without any response,
the connection is read again, since keys and addresses can change while a batch runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import replace

from airflow_provider_batch import exceptions
from airflow_provider_batch.api.async_client import AsyncBatchClient
from airflow_provider_batch.hooks.openai_batch import OpenAIBatchHook
from airflow_provider_batch.polling.status_reader import PollResult, StatusReader
from airflow_provider_batch.polling.wait_policy import duration_text

#: Timeout of one poll round, in seconds.
POLL_TIMEOUT = 120.0
#: Concurrent cancel calls: a killed task has seconds, and a job may have a thousand batches.
CANCELS_AT_A_TIME = 32
#: Timeout for closing the client, in seconds.
CLOSE_TIMEOUT = 5.0


class ConnectionPoller:
    """
    Poll and cancel batches through one Airflow connection.

    :param conn_id: Id of the Airflow connection.
    """

    def __init__(self, conn_id: str) -> None:
        self._hook = OpenAIBatchHook(conn_id)
        self._client: AsyncBatchClient | None = None
        self._reader = StatusReader()

    async def close(self) -> None:
        """Close the client; the next poll opens a new one."""
        client, self._client = self._client, None
        if client is not None:
            with suppress(Exception):  # a failure to close changes nothing for the batches
                async with asyncio.timeout(CLOSE_TIMEOUT):
                    await client.close()

    async def poll(self, due: Sequence[str], *, wanted: Collection[str] = ()) -> PollResult:
        """
        Poll batches, and return the result.

        :param due: Ids of the batches to poll.
        :param wanted: Ids of other batches, which are returned if a page shows them.
        """
        poll_result = PollResult()
        try:
            async with asyncio.timeout(POLL_TIMEOUT):
                await self._reader.poll(await self._connected(), due, poll_result, wanted=wanted)
        except exceptions.OpenAIBatchError as error:
            poll_result.halt = poll_result.halt or error
        except TimeoutError:
            if not poll_result.batches:
                poll_result.halt = exceptions.ApiUnavailableError(f"No response within {duration_text(POLL_TIMEOUT)}.")
        except Exception as error:  # a bug here must not fail every task that waits
            problem = exceptions.ApiUnavailableError(f"The poll failed ({type(error).__name__}: {error}).")
            poll_result.halt = poll_result.halt or problem
        if self._is_worth_reading_again(poll_result):
            await self.close()
        return poll_result

    async def cancel(self, batch_ids: Sequence[str]) -> dict[str, exceptions.OpenAIBatchError | None]:
        """
        Request the cancellation of batches; return by batch id None, or the error of the request.

        :param batch_ids: Ids of the batches.
        """
        client = await self._connected()
        gate = asyncio.Semaphore(CANCELS_AT_A_TIME)

        async def cancel(batch_id: str) -> exceptions.OpenAIBatchError | None:
            async with gate:
                try:
                    await client.cancel(batch_id)
                except exceptions.OpenAIBatchError as error:
                    return error
                return None

        return dict(zip(batch_ids, await asyncio.gather(*map(cancel, batch_ids)), strict=True))

    @staticmethod
    def _is_worth_reading_again(poll_result: PollResult) -> bool:
        problem = poll_result.problem
        if (
            isinstance(problem, exceptions.AuthenticationError) and problem.status_code != 403
        ):  # a 403 may concern one batch
            return True
        limited = getattr(problem, "status_code", None) == 429
        return problem is not None and not limited and not poll_result.batches and not poll_result.gone

    async def _connected(self) -> AsyncBatchClient:
        if self._client is None:
            try:
                settings = await self._hook.aget_settings()
            except exceptions.OpenAIBatchError:
                raise
            except Exception as error:  # a secrets backend or API server that is down must not fail a job
                raise exceptions.ConfigurationError(
                    f"Connection '{self._hook.conn_id}' could not be read ({type(error).__name__}: {error})."
                ) from error
            # The next poll is the retry: the SDK's own retries would multiply the calls.
            self._client = await AsyncBatchClient.connect(replace(settings, max_retries=0))
        return self._client
