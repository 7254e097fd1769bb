"""
Poll many batches with few calls, even if the server's list is unreliable.

One page of the list shows 100 batches for one call. Since `after` takes any id, a page can begin right before the
wanted batches, and batches of others are skipped. A few batches, and those on no page, are retrieved one by one.

Only a retrieve call is trusted. A final status in the list is confirmed by a retrieve call, so that counts and file ids
are complete. Each round retrieves a few running batches too. If the list still shows an ended batch as running, it is
not used for a while. For a server without a list, or whose pages repeat, each batch is retrieved.

Only a cancellation is raised; errors of the API are part of the poll result.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from airflow_provider_batch import exceptions
from airflow_provider_batch.api.async_client import AsyncBatchClient
from airflow_provider_batch.api.objects import Batch
from airflow_provider_batch.api.response_reader import Page

#: Number of batches up to which each is retrieved; for more, pages take fewer calls.
FEW = 8
#: Concurrent retrieve calls and pages. More are not faster, and their responses together block the event loop.
CONCURRENCY, PAGES_AT_A_TIME = 8, 3
#: Pages in a row with fewer than two wanted batches, after which the rest is retrieved.
POOR_PAGES = 3
#: Rounds in which a batch that was on no page is not searched there again.
UNLISTED_ROUNDS = 3
#: Share of the listed batches that each round retrieves as a check, and their least number.
CHECKED_SHARE, CHECKED_LEAST = 0.01, 2
#: Seconds in which a list that is wrong or missing is not read.
DISTRUST = 600.0
#: Timeout for all pages of a round, in seconds, which leaves time to retrieve batches if the list hangs.
PAGES_TIMEOUT = 45.0
#: Seconds after which a call without a response is not repeated in the same round.
SLOW = 5.0
#: Failed calls in a row, before any success, after which the round ends.
MAX_FAILURES_IN_A_ROW = 4

T = TypeVar("T")


@dataclass
class PollResult:
    """
    The result of one poll round so far.

    :param batches: Batches that the API returned, by id.
    :param gone: Ids of batches that the account does not have.
    :param problems: Errors of the other batches, by id.
    :param halt: The error that ended the round early; None if there was none.
    :param failures_in_a_row: Number of failed calls before any success.
    """

    batches: dict[str, Batch] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    problems: dict[str, exceptions.OpenAIBatchError] = field(default_factory=dict)
    halt: exceptions.OpenAIBatchError | None = None
    failures_in_a_row: int = 0

    @property
    def problem(self) -> exceptions.OpenAIBatchError | None:
        """The error that decides about a pause: the one that ended the round, else the first of a batch."""
        return self.halt or next(iter(self.problems.values()), None)

    @property
    def retry_after(self) -> float:
        """The longest pause in seconds that the vendor requested; 0 without one."""
        every = [*self.problems.values(), *([self.halt] if self.halt else [])]
        return max((getattr(error, "retry_after", None) or 0.0 for error in every), default=0.0)

    def failed(self, error: exceptions.OpenAIBatchError) -> None:
        """
        Record a failed call, and end the round if all calls would fail. A 403 may be about one batch only.

        :param error: Error of the call.
        """
        status = getattr(error, "status_code", None)
        if status == 429 or (isinstance(error, exceptions.AuthenticationError) and status != 403):
            self.halt = self.halt or error
        elif not self.batches and not self.gone:
            self.failures_in_a_row += 1
            if self.failures_in_a_row >= MAX_FAILURES_IN_A_ROW:
                self.halt = self.halt or error


class StatusReader:
    """
    Poll batches with as few calls as possible, and remember their positions in the list.

    :param clock: Returns seconds of a monotonic clock.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._round = 0
        #: By batch id: the `after` of the page that showed it.
        self._page_starts: dict[str, str] = {}
        self._unlisted: dict[str, int] = {}
        self._checked: dict[str, int] = {}
        #: Batches that have ended by a retrieve call, although the list showed them as running.
        self._contradicted: set[str] = set()
        self._no_list_until = float("-inf")

    async def poll(
        self, client: AsyncBatchClient, due: Sequence[str], poll_result: PollResult, *, wanted: Collection[str] = ()
    ) -> None:
        """
        Poll batches once.

        :param client: Client of the account.
        :param due: Ids of the batches to poll.
        :param poll_result: Receives each response at once, so that a round that is cut off has a result too.
        :param wanted: Ids of other batches, which are recorded if a page shows them.
        """
        self._round += 1
        self._forget({*due, *wanted})
        listed = await self._read_pages(client, due, poll_result, wanted)
        running = {batch_id for batch_id, batch in listed.items() if not batch.has_ended}
        to_retrieve = dict.fromkeys(i for i in [*due, *listed] if i not in running)
        to_retrieve.update(dict.fromkeys(self._to_check(running)))
        await self._one_by_one(client, list(to_retrieve), poll_result)
        if listed:
            self._contradicted = {
                i for i in running if (seen := poll_result.batches.get(i)) is not None and seen.has_ended
            }

    def distrust(self) -> None:
        """Do not read the list for the next 10 minutes."""
        self._no_list_until = self._clock() + DISTRUST

    async def _read_pages(
        self, client: AsyncBatchClient, due: Sequence[str], poll_result: PollResult, wanted: Collection[str]
    ) -> dict[str, Batch]:
        if len(due) <= FEW or self._clock() < self._no_list_until:
            return {}
        pages = ListPages(client, poll_result, frozenset({*due, *wanted}), self._page_starts, self._contradicted)
        try:
            async with asyncio.timeout(PAGES_TIMEOUT):
                await pages.read([batch_id for batch_id in due if not self._is_unlisted(batch_id)])
        except Exception:  # the list is optional: the retrieve calls that follow report the same problem
            pages.is_broken = pages.is_refused = True
        if pages.is_refused or pages.contradicts_again:
            self.distrust()
        if pages.contradicts_again:
            poll_result.batches.clear()
            return {}
        if not pages.is_broken:
            self._unlisted.update({i: self._round for i in due if i not in pages.found and i not in self._unlisted})
        return pages.found

    def _forget(self, kept: Collection[str]) -> None:
        for by_id in (self._page_starts, self._unlisted, self._checked):
            for batch_id in by_id.keys() - kept:
                del by_id[batch_id]

    def _is_unlisted(self, batch_id: str) -> bool:
        since = self._unlisted.get(batch_id)
        if since is not None and self._round - since > UNLISTED_ROUNDS:
            del self._unlisted[batch_id]
            return False
        return since is not None

    def _to_check(self, running: Collection[str]) -> list[str]:
        """Return the batches that were not retrieved for the longest time."""
        if not running:
            return []
        count = max(CHECKED_LEAST, round(len(running) * CHECKED_SHARE))
        chosen = sorted(running, key=lambda batch_id: self._checked.get(batch_id, 0))[:count]
        self._checked.update(dict.fromkeys(chosen, self._round))
        return chosen

    async def _one_by_one(self, client: AsyncBatchClient, batch_ids: Sequence[str], poll_result: PollResult) -> None:
        left = iter(batch_ids)

        async def work() -> None:
            for batch_id in left:
                if poll_result.halt is not None:
                    return
                await retrieve(client, batch_id, poll_result)

        await gather(work() for _ in range(min(CONCURRENCY, len(batch_ids))))


class ListPages:
    """
    Read the pages of the account's list for one poll round.

    :param client: Client of the account.
    :param poll_result: Receives running batches, and errors that end the round.
    :param wanted: Ids of the batches to record.
    :param page_starts: By batch id, the `after` of the page that showed it last time; updated.
    :param contradicted: Ids of batches that have ended, although the list showed them as running.
    """

    def __init__(
        self,
        client: AsyncBatchClient,
        poll_result: PollResult,
        wanted: Collection[str],
        page_starts: dict[str, str],
        contradicted: Collection[str] = (),
    ) -> None:
        self._client, self._poll_result, self._wanted = client, poll_result, wanted
        self._page_starts, self._contradicted = page_starts, contradicted
        self._poor_pages = 0
        self._first_ids: set[str] = set()
        #: The wanted batches as the list shows them, by id.
        self.found: dict[str, Batch] = {}
        self.is_broken = self.is_refused = self.contradicts_again = False

    async def read(self, due: Sequence[str]) -> None:
        """
        Read the pages that showed the batches last time; if many are missing, read the list from its top.

        :param due: Ids of the batches to poll.
        """
        await self._read_known_pages(due)
        if len(self._left(due)) > FEW and not self._is_done:
            await self._scan(due)

    def _left(self, due: Sequence[str]) -> list[str]:
        return [batch_id for batch_id in due if batch_id not in self.found]

    @property
    def _is_done(self) -> bool:
        return self.is_broken or self._poll_result.halt is not None or self._poor_pages >= POOR_PAGES

    async def _read_known_pages(self, due: Sequence[str]) -> None:
        tried: set[str] = set()
        while not self._is_done:
            counts = Counter(self._page_starts[i] for i in self._left(due) if i in self._page_starts)
            starts = [start for start, count in counts.most_common() if count > 1 and start not in tried]
            if not starts:
                return
            tried.update(starts[:PAGES_AT_A_TIME])
            await gather(self._page(start) for start in starts[:PAGES_AT_A_TIME])

    async def _scan(self, due: Sequence[str]) -> None:
        """Read page after page; if one shows no wanted batch, go on at the position of a missing batch."""
        after: str | None = None
        while True:
            before = len(self.found)
            page = await self._page(after)
            gained = len(self.found) - before
            self._poor_pages = 0 if gained > 1 else self._poor_pages + 1
            left = self._left(due)
            if page is None or len(left) <= FEW or self._is_done:
                return
            after = page.next_after if gained else None
            after = after or await self._jump(left[0])
            if after is None:
                return

    async def _jump(self, batch_id: str) -> str | None:
        """Retrieve a missing batch; return its id if it exists, to read the page after it."""
        await retrieve(self._client, batch_id, self._poll_result)
        batch = self._poll_result.batches.get(batch_id)
        if batch is not None:
            self.found[batch_id] = batch
        return None if batch is None else batch_id

    async def _page(self, after: str | None) -> Page | None:
        try:
            page = await retry_once(lambda: self._client.list_page(after=after))
        except exceptions.OpenAIBatchError as error:
            self._note_failure(error, after)
            return None
        first = {batch.id for batch in page.batches[:1]}
        self.is_broken = self.is_broken or bool(first & self._first_ids)  # the server ignores `after`
        self._first_ids |= first
        for batch in page.batches:
            if batch.id in self._wanted:
                self._note(batch, after)
            elif batch.id in self._contradicted and not batch.has_ended:
                self.contradicts_again = True
        await asyncio.sleep(0)  # parsing a page takes milliseconds: let other tasks of the loop run
        return page

    def _note(self, batch: Batch, after: str | None) -> None:
        self.found[batch.id] = batch
        if not batch.has_ended:
            self._poll_result.batches.setdefault(batch.id, batch)
        if after is not None:
            self._page_starts[batch.id] = after
        else:
            self._page_starts.pop(batch.id, None)  # each new batch moves the first page

    def _note_failure(self, error: exceptions.OpenAIBatchError, after: str | None) -> None:
        """Distinguish a server with a problem, a server without a list, and an `after` that no longer exists."""
        if isinstance(error, exceptions.ApiUnavailableError) or getattr(error, "status_code", None) == 401:
            self.is_broken = True
            if getattr(error, "status_code", None) in (401, 429):
                self._poll_result.failed(error)
        elif after is None:
            self.is_broken = self.is_refused = True
        else:
            for batch_id in [i for i, start in self._page_starts.items() if start == after]:
                del self._page_starts[batch_id]


async def retrieve(client: AsyncBatchClient, batch_id: str, poll_result: PollResult) -> None:
    """
    Retrieve one batch, and record the response or the error.

    :param client: Client of the account.
    :param batch_id: Id of the batch.
    :param poll_result: Receives the batch or the error.
    """
    try:
        batch = await retry_once(lambda: client.retrieve(batch_id))
    except exceptions.NotFoundError:
        poll_result.gone.add(batch_id)
        poll_result.batches.pop(batch_id, None)
    except exceptions.OpenAIBatchError as error:
        if batch_id not in poll_result.batches:  # it may be known from a page
            poll_result.problems[batch_id] = error
        poll_result.failed(error)
    except Exception as error:  # an unexpected response must not end the polls of other batches
        problem = exceptions.ApiUnavailableError(
            f"Batch {batch_id} cannot be polled ({type(error).__name__}: {error})."
        )
        poll_result.problems[batch_id] = problem
        poll_result.failed(problem)
    else:
        poll_result.batches[batch_id] = batch


async def retry_once(call: Callable[[], Awaitable[T]]) -> T:
    """
    Return the result of a call, repeated once if there was no response: servers close connections that were idle.

    :param call: Makes the call.
    """
    begun = time.monotonic()
    try:
        return await call()
    except exceptions.ApiUnavailableError as error:
        if error.status_code is not None or time.monotonic() - begun > SLOW:
            raise
        return await call()


async def gather(awaitables: Iterable[Coroutine[Any, Any, Any]]) -> None:
    """
    Await all concurrently; a cancellation cancels all of them before it is raised.

    :param awaitables: What to await.
    """
    async with asyncio.TaskGroup() as group:
        for awaitable in awaitables:
            group.create_task(awaitable)
