"""
Looking at batches from an event loop, whatever the network, the vendor and the connection's owner do meanwhile.

A look never raises: it returns what was seen and, apart from that, what went wrong. After a refused key the connection
is read again, since keys are rotated while a batch runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from airflow_provider_batch.api.async_client import AsyncBatchClient
from airflow_provider_batch.api.objects import Batch
from airflow_provider_batch.exceptions import (
    ApiUnavailableError,
    AuthenticationError,
    ConfigurationError,
    NotFoundError,
    OpenAIBatchError,
)
from airflow_provider_batch.hooks.openai_batch import OpenAIBatchHook

#: Calls at a time: more do not come back sooner, and their bursts hold up the loop.
CONCURRENCY = 10
#: Seconds for one look at all batches.
LOOK_TIMEOUT = 120.0


@dataclass(frozen=True)
class Sighting:
    """
    What one look has shown.

    :param batches: By id.
    :param gone: Ids that the account does not know.
    :param problem: Why some could not be looked at.
    """

    batches: dict[str, Batch]
    gone: tuple[str, ...] = ()
    problem: OpenAIBatchError | None = None

    @property
    def retry_after(self) -> float:
        """Seconds that the vendor asked for."""
        return getattr(self.problem, "retry_after", None) or 0.0


class Lookout:
    """
    Looks at, and cancels, batches with one connection.

    :param conn_id: Id of the Airflow connection.
    """

    def __init__(self, conn_id: str) -> None:
        self._hook = OpenAIBatchHook(conn_id)
        self._client: AsyncBatchClient | None = None

    async def close(self) -> None:
        """Close the client; the next look opens another."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def look(self, batch_ids: Sequence[str], *, patience: float = LOOK_TIMEOUT) -> Sighting:
        """
        Return how the batches are now.

        :param patience: Seconds after which the look is given up.
        """
        try:
            async with asyncio.timeout(patience):
                sighting = await self._look(batch_ids)
        except OpenAIBatchError as error:
            sighting = Sighting({}, problem=error)
        except TimeoutError:
            sighting = Sighting({}, problem=ApiUnavailableError(f"No answer within {patience:,.0f} seconds."))
        if isinstance(sighting.problem, AuthenticationError):
            await self.close()
        return sighting

    async def cancel(self, batch_ids: Sequence[str]) -> dict[str, OpenAIBatchError | None]:
        """Ask that batches be cancelled; return by id None, or why it could not be asked."""
        client = await self._connected()
        gate = asyncio.Semaphore(CONCURRENCY)

        async def cancel(batch_id: str) -> OpenAIBatchError | None:
            async with gate:
                try:
                    await client.cancel(batch_id)
                except OpenAIBatchError as error:
                    return error
                return None

        return dict(zip(batch_ids, await asyncio.gather(*map(cancel, batch_ids)), strict=True))

    async def _look(self, batch_ids: Sequence[str]) -> Sighting:
        if not batch_ids:
            return Sighting({})
        client = await self._connected()
        gate = asyncio.Semaphore(CONCURRENCY)

        async def retrieve(batch_id: str) -> Batch | OpenAIBatchError:
            async with gate:
                try:
                    return await client.retrieve(batch_id)
                except OpenAIBatchError as error:
                    return error

        answers = await asyncio.gather(*map(retrieve, batch_ids))
        seen = dict(zip(batch_ids, answers, strict=True))
        return Sighting(
            batches={batch_id: answer for batch_id, answer in seen.items() if isinstance(answer, Batch)},
            gone=tuple(batch_id for batch_id, answer in seen.items() if isinstance(answer, NotFoundError)),
            problem=_worst(seen.values()),
        )

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
            self._client = await AsyncBatchClient.connect(settings)
        return self._client


def _worst(answers: Iterable[Batch | OpenAIBatchError]) -> OpenAIBatchError | None:
    """Return the problem to act on: a refused key before what waiting mends; a batch that is gone is none."""
    problems = [
        error for error in answers if isinstance(error, OpenAIBatchError) and not isinstance(error, NotFoundError)
    ]
    return next((error for error in problems if isinstance(error, AuthenticationError)), next(iter(problems), None))
