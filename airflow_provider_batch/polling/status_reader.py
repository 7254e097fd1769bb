"""
Looking at many batches with few calls, whatever the server's list is worth.

A page of the list shows 100 batches for the price of one. It is read from a batch's own place, since `after` takes any
id: other people's batches in between cost nothing. What is few, or is not found on pages, is retrieved one by one.

The list is a hint, a retrieve is the truth: an end that the list shows is confirmed, so that counts and file ids are
complete; a few batches are retrieved in each round, whatever the list says of them; and a list that still denies an end
that was seen is left alone for a while. A server without a list, or whose pages repeat, is asked for each batch.

Nothing here raises but a cancellation: what went wrong is part of what was seen.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from airflow_provider_batch.api.objects import Batch
from airflow_provider_batch.api.response_reader import MAX_PAGE, Page
from airflow_provider_batch.exceptions import (
    ApiUnavailableError,
    AuthenticationError,
    NotFoundError,
    OpenAIBatchError,
)

#: Up to here each batch is retrieved; above, pages are cheaper.
FEW = 8
#: Calls at a time: more do not come back sooner, and their bursts hold up the loop. A page takes longer to read.
CONCURRENCY, PAGES_AT_A_TIME = 8, 3
#: Pages in a row with fewer than two new batches, after which the rest is retrieved.
POOR_PAGES = 3
#: Rounds in which a batch that was not found on pages is not looked for there.
UNLISTED_ROUNDS = 3
#: Share of the batches that are retrieved although the list has shown them, and the least number.
CHECKED_SHARE, CHECKED_LEAST = 0.01, 2
#: Seconds in which a list that is wrong, or is not there, is not read.
DISTRUST = 600.0
#: Seconds for all pages of a round: a list that hangs must leave time for asking one by one.
PAGES_TIMEOUT = 45.0
#: Seconds after which a call that got no answer is not made again in the same round.
SLOW = 5.0
#: Failures in a row, with no answer before them, after which the others need not be tried.
STRIKES = 4

T = TypeVar("T")


class Client(Protocol):
    """The calls that are made."""

    async def retrieve(self, batch_id: str) -> Batch: ...

    async def list_page(self, *, after: str | None = None, limit: int = MAX_PAGE) -> Page: ...


@dataclass
class PollResult:
    """
    What one round has shown so far.

    :param batches: By id.
    :param gone: Ids that the account does not know.
    :param problems: Why others could not be looked at, by id.
    :param halt: Why nothing more is asked in this round.
    """

    batches: dict[str, Batch] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    problems: dict[str, OpenAIBatchError] = field(default_factory=dict)
    halt: OpenAIBatchError | None = None
    strikes: int = 0

    @property
    def problem(self) -> OpenAIBatchError | None:
        """The problem to act on."""
        return self.halt or next(iter(self.problems.values()), None)

    @property
    def retry_after(self) -> float:
        """Seconds that the vendor asked for."""
        every = [*self.problems.values(), *([self.halt] if self.halt else [])]
        return max((getattr(error, "retry_after", None) or 0.0 for error in every), default=0.0)

    def failed(self, error: OpenAIBatchError) -> None:
        """Note a failure; one that all calls would share ends the round. A 403 may concern one batch."""
        status = getattr(error, "status_code", None)
        if status == 429 or (isinstance(error, AuthenticationError) and status != 403):
            self.halt = self.halt or error
        elif not self.batches and not self.gone:
            self.strikes += 1
            if self.strikes >= STRIKES:
                self.halt = self.halt or error


class StatusReader:
    """
    Looks at batches, and remembers where in the list they stand.

    :param clock: Seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._round = 0
        #: After which id of the list's each batch was found.
        self._places: dict[str, str] = {}
        self._unlisted: dict[str, int] = {}
        self._checked: dict[str, int] = {}
        #: Ended, as a retrieve says, while the list said that they run.
        self._denied: set[str] = set()
        self._no_list_until = float("-inf")

    async def poll(
        self, client: Client, due: Sequence[str], poll_result: PollResult, *, wanted: Collection[str] = ()
    ) -> None:
        """
        Look at batches.

        :param due: Ids of those to look at.
        :param poll_result: Filled as answers come, so that a round that is given up has shown something.
        :param wanted: Ids of others that are of interest where a page shows them anyway.
        """
        self._round += 1
        self._forget({*due, *wanted})
        listed = await self._read_pages(client, due, poll_result, wanted)
        running = {batch_id for batch_id, batch in listed.items() if not batch.has_ended}
        asked = dict.fromkeys(i for i in [*due, *listed] if i not in running)
        asked.update(dict.fromkeys(self._to_check(running)))
        await self._one_by_one(client, list(asked), poll_result)
        if listed:
            self._denied = {i for i in running if (seen := poll_result.batches.get(i)) is not None and seen.has_ended}

    def distrust(self) -> None:
        """Do not read the list for a while."""
        self._no_list_until = self._clock() + DISTRUST

    async def _read_pages(
        self, client: Client, due: Sequence[str], poll_result: PollResult, wanted: Collection[str]
    ) -> dict[str, Batch]:
        if len(due) <= FEW or self._clock() < self._no_list_until:
            return {}
        pages = Pages(client, poll_result, frozenset({*due, *wanted}), self._places, self._denied)
        try:
            async with asyncio.timeout(PAGES_TIMEOUT):
                await pages.read([batch_id for batch_id in due if not self._is_unlisted(batch_id)])
        except Exception:  # the list is a hint: what is wrong with it shows when each batch is asked for
            pages.is_broken = pages.is_refused = True
        if pages.is_refused or pages.has_denied_twice:
            self.distrust()
        if pages.has_denied_twice:
            poll_result.batches.clear()
            return {}
        if not pages.is_broken:
            self._unlisted.update({i: self._round for i in due if i not in pages.found and i not in self._unlisted})
        return pages.found

    def _forget(self, kept: Collection[str]) -> None:
        for known in (self._places, self._unlisted, self._checked):
            for batch_id in known.keys() - kept:
                del known[batch_id]

    def _is_unlisted(self, batch_id: str) -> bool:
        since = self._unlisted.get(batch_id)
        if since is not None and self._round - since > UNLISTED_ROUNDS:
            del self._unlisted[batch_id]
            return False
        return since is not None

    def _to_check(self, running: Collection[str]) -> list[str]:
        """Return those that the list alone has vouched for the longest."""
        if not running:
            return []
        count = max(CHECKED_LEAST, round(len(running) * CHECKED_SHARE))
        chosen = sorted(running, key=lambda batch_id: self._checked.get(batch_id, 0))[:count]
        self._checked.update(dict.fromkeys(chosen, self._round))
        return chosen

    async def _one_by_one(self, client: Client, batch_ids: Sequence[str], poll_result: PollResult) -> None:
        left = iter(batch_ids)

        async def work() -> None:
            for batch_id in left:
                if poll_result.halt is not None:
                    return
                await retrieve(client, batch_id, poll_result)

        await gather(work() for _ in range(min(CONCURRENCY, len(batch_ids))))


class Pages:
    """
    One round's reading of the list.

    :param wanted: Ids that are of interest.
    :param places: After which id each was found last time; kept up to date.
    :param denied: Ids that have ended, while the list said that they run.
    """

    def __init__(
        self,
        client: Client,
        poll_result: PollResult,
        wanted: Collection[str],
        places: dict[str, str],
        denied: Collection[str] = (),
    ) -> None:
        self._client, self._sighting, self._wanted = client, poll_result, wanted
        self._places, self._denied = places, denied
        self._poor = 0
        self._begun_with: set[str] = set()
        #: What the list says of the wanted ones.
        self.found: dict[str, Batch] = {}
        self.is_broken = self.is_refused = self.has_denied_twice = False

    async def read(self, due: Sequence[str]) -> None:
        """Look for batches where they stood last time; if many are missing, from the top and behind their kind."""
        await self._read_known_places(due)
        if len(self._left(due)) > FEW and not self._is_done:
            await self._scan(due)

    def _left(self, due: Sequence[str]) -> list[str]:
        return [batch_id for batch_id in due if batch_id not in self.found]

    @property
    def _is_done(self) -> bool:
        return self.is_broken or self._sighting.halt is not None or self._poor >= POOR_PAGES

    async def _read_known_places(self, due: Sequence[str]) -> None:
        tried: set[str] = set()
        while not self._is_done:
            counts = Counter(self._places[i] for i in self._left(due) if i in self._places)
            worth = [place for place, count in counts.most_common() if count > 1 and place not in tried]
            if not worth:
                return
            tried.update(worth[:PAGES_AT_A_TIME])
            await gather(self._page(place) for place in worth[:PAGES_AT_A_TIME])

    async def _scan(self, due: Sequence[str]) -> None:
        """Go down the list; where a page shows none of ours, jump to the place of one that is missing."""
        after: str | None = None
        while True:
            before = len(self.found)
            page = await self._page(after)
            gained = len(self.found) - before
            self._poor = 0 if gained > 1 else self._poor + 1
            left = self._left(due)
            if page is None or len(left) <= FEW or self._is_done:
                return
            after = page.next_after if gained else None
            after = after or await self._jump(left[0])
            if after is None:
                return

    async def _jump(self, batch_id: str) -> str | None:
        """Retrieve one that is missing, so that the list can be read on from there."""
        await retrieve(self._client, batch_id, self._sighting)
        batch = self._sighting.batches.get(batch_id)
        if batch is not None:
            self.found[batch_id] = batch
        return None if batch is None else batch_id

    async def _page(self, after: str | None) -> Page | None:
        try:
            page = await once_more(lambda: self._client.list_page(after=after))
        except OpenAIBatchError as error:
            self._note_failure(error, after)
            return None
        first = {batch.id for batch in page.batches[:1]}
        self.is_broken = self.is_broken or bool(first & self._begun_with)  # a server that takes no `after`
        self._begun_with |= first
        for batch in page.batches:
            if batch.id in self._wanted:
                self._note(batch, after)
            elif batch.id in self._denied and not batch.has_ended:
                self.has_denied_twice = True
        await asyncio.sleep(0)  # a page takes milliseconds to read; others have their turn in between
        return page

    def _note(self, batch: Batch, after: str | None) -> None:
        self.found[batch.id] = batch
        if not batch.has_ended:
            self._sighting.batches.setdefault(batch.id, batch)
        if after is not None:
            self._places[batch.id] = after
        else:
            self._places.pop(batch.id, None)  # the top moves down with each new batch

    def _note_failure(self, error: OpenAIBatchError, after: str | None) -> None:
        """Tell a place that is gone from a server in trouble, and both from one that has no list."""
        if isinstance(error, ApiUnavailableError) or getattr(error, "status_code", None) == 401:
            self.is_broken = True
            if getattr(error, "status_code", None) in (401, 429):
                self._sighting.failed(error)
        elif after is None:
            self.is_broken = self.is_refused = True
        else:
            for batch_id in [i for i, place in self._places.items() if place == after]:
                del self._places[batch_id]


async def retrieve(client: Client, batch_id: str, poll_result: PollResult) -> None:
    """Retrieve one batch and note what came of it."""
    try:
        batch = await once_more(lambda: client.retrieve(batch_id))
    except NotFoundError:
        poll_result.gone.add(batch_id)
        poll_result.batches.pop(batch_id, None)
    except OpenAIBatchError as error:
        if batch_id not in poll_result.batches:  # a page may have shown it
            poll_result.problems[batch_id] = error
        poll_result.failed(error)
    except Exception as error:  # an answer that nobody thought of must not keep the others
        problem = ApiUnavailableError(f"Batch {batch_id} cannot be looked at ({type(error).__name__}: {error}).")
        poll_result.problems[batch_id] = problem
        poll_result.failed(problem)
    else:
        poll_result.batches[batch_id] = batch


async def once_more(call: Callable[[], Awaitable[T]]) -> T:
    """Repeat a call that got no answer: a connection that stood idle for minutes is often closed by the other side."""
    begun = time.monotonic()
    try:
        return await call()
    except ApiUnavailableError as error:
        if error.status_code is not None or time.monotonic() - begun > SLOW:
            raise
        return await call()


async def gather(works: Iterable[Awaitable[Any]]) -> None:
    """Await all; a cancellation ends all of them before it goes on."""
    async with asyncio.TaskGroup() as group:
        for work in works:
            group.create_task(_run(work))


async def _run(work: Awaitable[Any]) -> None:
    await work
