"""
Looks up the batch of a create whose response was lost, and proves it when there is none.

The job's token in a batch's metadata shows that the batch is the job's. Where a service keeps no metadata, the input
file shows it, since this job has uploaded it for this shard alone. The list of batches proves that there is *no* batch
only if it cannot have hidden one. Services differ: lists are sorted newest first, oldest first or not at all, ignore
`after`, report an end and continue, or are cut off. So the list is read until one of these holds:

- it is newest first, as the batches read so far show, and goes back to before the create: to batches older than the
  shard's own input file, by the service's clock, which was made before the create;
- it has ended, and a request for what follows its last batch returned nothing; no batch appeared twice; all running
  batches of this job were in it; and it either was short and one page, or showed batches from before the create, and is
  newest first or showed a batch that this job made later.

No clock of this machine is compared with the service's. Any other list has a gap, and with a gap the outcome stays
unknown. The quiet period covers lists that show a new batch late.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from airflow_provider_batch.api.bounds import MAX_PAGES
from airflow_provider_batch.api.client import BatchClient
from airflow_provider_batch.api.objects import Batch
from airflow_provider_batch.api.response_reader import Page
from airflow_provider_batch.exceptions import ApiRefusedError, NotFoundError

#: Key of the intent in a batch's metadata.
INTENT_KEY = "airflow_batch_intent"
#: Seconds by which a service's clocks may differ, such as those of its files and of its batches.
SLACK = 3600.0
#: Seconds by which batches made at the same time may be out of order in a list that is newest first.
DISORDER = 5.0
#: Batches, each older than those before it, that prove a list to be newest first if none is younger.
STEPS = 5
#: Batches of the shortest list that may be cut off.
SHORT = 10
#: Further pages that are read for duplicates once a batch was found.
PAGES_AFTER_FOUND = 10
#: Batches without name and file in the list that are retrieved one by one, at most.
MAX_RETRIEVED = 100

Whose = Literal["ours", "foreign", "unclear"]
_NAME = re.compile(r"[0-9a-f]{12}-[0-9a-f]{12}-g\d+-r\d+-s\d+-n\d+(-[0-9a-f]{32}-[0-9a-f]{1,16})?")


@dataclass(frozen=True)
class Marks:
    """
    What identifies the batches of one shard.

    :param names: The names of its intents.
    :param is_secret: Whether no other deployment can know them; a ledger of release 0.1 has names without a token.
    :param file_id: Its input file, uploaded by this job for this shard alone.
    """

    names: frozenset[str]
    is_secret: bool
    file_id: str | None

    def whose(self, batch: Batch) -> Whose:
        """
        Return whether a batch is of this shard.

        A complete name decides, except that one without a token may be another deployment's. Where the name is missing
        or changed, the input file decides.

        :param batch: A batch of the list.
        """
        name = batch.metadata.get(INTENT_KEY)
        if isinstance(name, str) and _NAME.fullmatch(name):
            if name not in self.names:
                return "foreign"
            if self.is_secret:
                return "ours"
        if not batch.input_file_id or self.file_id is None:
            return "unclear"
        return "ours" if batch.input_file_id == self.file_id else "foreign"


@dataclass
class Search:
    """
    What one reading of the list has shown so far.

    :param marks: What identifies the batches that are searched.
    :param anchor: A moment before the create, by the service's clock; None where the service has none.
    :param running: Ids of batches of this job that run, and are certainly listed.
    :param known: Batches that other creates of this job have made: the place of each in their order, by batch id.
    :param later: Ids of those among them that were made after the create.
    :param found: The batches of the create.
    :param unclear: Batches that may be of the create.
    :param gap: Why the list may have hidden a batch; None where it cannot have.
    :param ids: Ids of all batches read.
    :param oldest: The earliest creation time read, in epoch seconds.
    :param pages: Pages read.
    :param steps: How often a batch was older than the one before it.
    :param last_place: Place of the last batch of this job that was read.
    :param is_ordered: Whether the batches read so far are newest first.
    :param sees_before: Whether a batch from before the create was read.
    """

    marks: Marks
    anchor: float | None
    running: frozenset[str] = frozenset()
    known: Mapping[str, int] = field(default_factory=dict)
    later: frozenset[str] = frozenset()
    found: list[Batch] = field(default_factory=list)
    unclear: list[Batch] = field(default_factory=list)
    gap: str | None = None
    ids: set[str] = field(default_factory=set)
    oldest: float | None = None
    pages: int = 0
    steps: int = 0
    last_place: int | None = None
    is_ordered: bool = True
    sees_before: bool = False

    def add_page(self, page: Page) -> bool:
        """
        Add a page; return whether reading further makes sense.

        :param page: The page.
        """
        self.pages += 1
        if page.unread:
            self.gap = f"{page.unread} of its members cannot be read"
        repeated = [batch.id for batch in page.batches if batch.id in self.ids]
        if repeated:
            self.gap = f"it shows batches twice ({repeated[0]})"
        fresh = [batch for batch in page.batches if batch.id not in self.ids]
        for batch in fresh:
            self._add(batch)
        return bool(fresh)

    def _add(self, batch: Batch) -> None:
        self.ids.add(batch.id)
        made = batch.created_at
        if batch.id not in self.known:
            is_old = made is not None and self.anchor is not None and made < self.anchor - SLACK
            whose = self.marks.whose(batch)
            if whose == "ours":
                self.found.append(batch)
            elif whose == "unclear" and not is_old:
                self.unclear.append(batch)
        self._note_order(made, self.known.get(batch.id))
        is_earlier = batch.id in self.known and batch.id not in self.later
        is_before = made is not None and self.anchor is not None and made < self.anchor
        self.sees_before = self.sees_before or is_earlier or is_before

    def _note_order(self, made: float | None, place: int | None) -> None:
        """Update the order of the list with the creation time of its next batch, and that batch's place in this job."""
        if made is None:
            self.is_ordered = False
            return
        if self.oldest is not None and made > self.oldest + DISORDER:
            self.is_ordered = False
        is_step = self.oldest is not None and made < self.oldest
        self.oldest = made if self.oldest is None else min(made, self.oldest)
        if place is not None:  # finer than whole seconds
            if self.last_place is not None:
                self.is_ordered = self.is_ordered and place < self.last_place
                is_step = True
            self.last_place = place
        self.steps += is_step

    @property
    def is_newest_first(self) -> bool:
        """Whether the batches read prove that the list is newest first."""
        return self.is_ordered and self.steps >= STEPS

    @property
    def is_past_the_create(self) -> bool:
        """Whether all batches since before the create were read."""
        known = self.anchor is not None and self.oldest is not None
        return known and self.is_newest_first and (self.oldest or 0.0) < (self.anchor or 0.0) - SLACK

    def check_end(self) -> None:
        """Check a list that has ended, after a request for what follows its last batch has returned nothing."""
        hidden = self.running - self.ids
        if hidden:
            self.gap = f"it does not show batch {min(hidden)}, which runs"
        elif (len(self.ids) >= SHORT or self.pages > 1) and not self._sees_both_sides:
            self.gap = f"its {len(self.ids):,} batches may be a part of those that there are"

    @property
    def _sees_both_sides(self) -> bool:
        if self.known and self.ids == self.known.keys():  # only this job uses the account: no batch is older
            return True
        return self.sees_before and (self.is_newest_first or not self.later.isdisjoint(self.ids))


def search(
    client: BatchClient,
    marks: Marks,
    anchor: float | None,
    *,
    running: Iterable[str] = (),
    known: Sequence[str] = (),
    later: Iterable[str] = (),
) -> Search:
    """
    Read the list for the batches of a shard's create.

    :param client: Client of the account.
    :param marks: What identifies the batches.
    :param anchor: A moment before the create by the service's clock, or None.
    :param running: Ids of batches of this job that run.
    :param known: Ids of all batches that other creates of this job have made, in that order.
    :param later: Ids of those among them that were made after this create.
    :return: `found` has the batches; `gap` says why there may be others.
    :raises ApiError: The list cannot be read.
    """
    places = {batch_id: place for place, batch_id in enumerate(known)}
    seen = Search(marks, anchor, frozenset(running), places, frozenset(later))
    pages_left = MAX_PAGES
    for page in _pages(client, seen):
        goes_on = seen.add_page(page)
        pages_left = min(pages_left, PAGES_AFTER_FOUND) if seen.found else pages_left
        pages_left -= 1
        if not goes_on or seen.is_past_the_create:
            break
        if not pages_left:
            seen.gap = f"it has more than {len(seen.ids):,} batches and no order that shows where to stop"
            break
    if not seen.found:
        _retrieve_unclear(client, seen)
    return seen


def _pages(client: BatchClient, seen: Search) -> Iterator[Page]:
    """Yield the list's pages, until a request for what follows the last batch returns nothing."""
    after: str | None = None
    claims_more = False
    while True:
        try:
            page = client.list_page(after=after)
        except (ApiRefusedError, NotFoundError):
            if after is None:
                raise
            seen.gap = "it does not return what follows a batch"
            return
        if not page.batches:
            if page.unread:
                seen.add_page(page)
            elif page.claims_more or claims_more:
                seen.gap = "it says that more batches follow and shows an empty page"
            elif not seen.gap:
                seen.check_end()
            return
        yield page
        claims_more = page.claims_more
        after = page.next_after or page.batches[-1].id


def _retrieve_unclear(client: BatchClient, seen: Search) -> None:
    """Retrieve the batches without name and file one by one: some lists show less than a retrieve."""
    for batch in seen.unclear[:MAX_RETRIEVED]:
        whole = client.retrieve(batch.id)
        whose = seen.marks.whose(whole)
        if whose == "ours":
            seen.found.append(whole)
        elif whose == "unclear":
            seen.gap = f"batch {batch.id} shows neither its metadata nor its input file"
    if len(seen.unclear) > MAX_RETRIEVED:
        seen.gap = f"{len(seen.unclear):,} batches show neither metadata nor input file"
