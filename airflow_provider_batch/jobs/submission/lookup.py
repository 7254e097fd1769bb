"""
Looking for the batch of a create whose answer was lost, and proving that there is none.

Theory. Whose a batch is, is told by the job's token in its metadata; where a service keeps no metadata, by the input
file, which this job has uploaded for this shard alone. That there is *no* batch is told by a list only where the list
cannot have hidden it. Services differ: lists come newest first, oldest first or in no order, ignore `after`, say that
they end and go on, or are cut off. So the list is read until one of these holds:

- it is newest first, as seen in what was read of it, and goes back to before the create: to what is older than the
  shard's own input file, by the service's clock, which the create came after;
- it has ended, and was asked once more behind its last batch and had none; no batch came twice; all batches of this job
  that run were among those shown; and it was short and came at once, or showed batches from before the create, and is
  newest first or showed one that this job made later.

No clock of this machine is compared with the service's. Anything else leaves a gap, and with a gap the outcome stays
unknown. That a list shows a new batch late is met before, by the quiet period.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from airflow_provider_batch.api.bounds import MAX_PAGES
from airflow_provider_batch.api.objects import Batch
from airflow_provider_batch.api.response_reader import MAX_PAGE, Page
from airflow_provider_batch.exceptions import ApiRefusedError, NotFoundError

#: Key of the intent in a batch's metadata.
INTENT_KEY = "airflow_batch_intent"
#: Seconds by which the clocks of a service's parts may differ: of its files, of its batches.
SLACK = 3600.0
#: Seconds by which batches made at the same time may be out of order in a list that is newest first.
DISORDER = 5.0
#: Batches, each older than those before it, that show a list to be newest first where no other is younger.
STEPS = 5
#: The shortest list that may be cut off.
SHORT = 10
#: Pages that are read on for duplicates once a batch was found.
PAGES_AFTER_FOUND = 10
#: Batches that tell neither name nor file in the list and are looked at one by one.
MAX_RETRIEVED = 100

Whose = Literal["ours", "foreign", "unclear"]
_NAME = re.compile(r"[0-9a-f]{12}-[0-9a-f]{12}-g\d+-r\d+-s\d+-n\d+(-[0-9a-f]{32}-[0-9a-f]{1,16})?")


class Lists(Protocol):
    """The calls that are made."""

    def list_page(self, *, after: str | None = None, limit: int = MAX_PAGE) -> Page: ...

    def retrieve(self, batch_id: str) -> Batch: ...


@dataclass(frozen=True)
class Marks:
    """
    What tells the batches of one shard.

    :param names: The names of its intents.
    :param is_secret: Whether nobody else can know them; a ledger of release 0.1 has names without a token.
    :param file_id: Its input file, uploaded by this job for this shard alone.
    """

    names: frozenset[str]
    is_secret: bool
    file_id: str | None

    def whose(self, batch: Batch) -> Whose:
        """
        Return whether a batch is of this shard.

        A name that came back whole decides, except that one without a token may be another deployment's; where it was
        dropped or changed, the input file does.
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

    :param anchor: A moment before the create, by the service's clock; None where the service does not tell one.
    :param running: Batches of this job that run, and are surely listed.
    :param known: Batches that other creates of this job have made, with the place of each in their order.
    :param later: Those among them that were made after the create.
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

    def take(self, page: Page) -> bool:
        """Take in a page; return whether reading on makes sense."""
        self.pages += 1
        if page.unread:
            self.gap = f"{page.unread} of its members cannot be read"
        repeated = [batch.id for batch in page.batches if batch.id in self.ids]
        if repeated:
            self.gap = f"it shows batches twice ({repeated[0]})"
        fresh = [batch for batch in page.batches if batch.id not in self.ids]
        for batch in fresh:
            self._take_one(batch)
        return bool(fresh)

    def _take_one(self, batch: Batch) -> None:
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
        """Take in that a batch made then, or this job's batch of that place, follows the others in the list."""
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
        """Whether what was read shows the list's order."""
        return self.is_ordered and self.steps >= STEPS

    @property
    def is_past_the_create(self) -> bool:
        """Whether all batches since before the create were shown."""
        known = self.anchor is not None and self.oldest is not None
        return known and self.is_newest_first and (self.oldest or 0.0) < (self.anchor or 0.0) - SLACK

    def ended(self) -> None:
        """Take in that the list has ended, and was asked for more behind its end."""
        hidden = self.running - self.ids
        if hidden:
            self.gap = f"it does not show batch {min(hidden)}, which runs"
        elif (len(self.ids) >= SHORT or self.pages > 1) and not self._sees_both_sides:
            self.gap = f"its {len(self.ids):,} batches may be a part of those that there are"

    @property
    def _sees_both_sides(self) -> bool:
        if self.known and self.ids == self.known.keys():  # an account of its own: nothing is before its first batch
            return True
        return self.sees_before and (self.is_newest_first or not self.later.isdisjoint(self.ids))


def search(
    client: Lists,
    marks: Marks,
    anchor: float | None,
    *,
    running: Iterable[str] = (),
    known: Sequence[str] = (),
    later: Iterable[str] = (),
) -> Search:
    """
    Read the list for the batches of a shard's create; `found` are these, `gap` says why there may be others.

    :param anchor: A moment before the create by the service's clock, or None.
    :param running: Ids of batches of this job that run.
    :param known: Ids of all batches that other creates of this job have made, in that order.
    :param later: Ids of those among them that were made after this create.
    :raises ApiError: The list cannot be read.
    """
    places = {batch_id: place for place, batch_id in enumerate(known)}
    seen = Search(marks, anchor, frozenset(running), places, frozenset(later))
    pages_left = MAX_PAGES
    for page in _pages(client, seen):
        goes_on = seen.take(page)
        pages_left = min(pages_left, PAGES_AFTER_FOUND) if seen.found else pages_left
        pages_left -= 1
        if not goes_on or seen.is_past_the_create:
            break
        if not pages_left:
            seen.gap = f"it has more than {len(seen.ids):,} batches and no order that tells where to stop"
            break
    if not seen.found:
        _look_closer(client, seen)
    return seen


def _pages(client: Lists, seen: Search) -> Iterator[Page]:
    """Yield the list's pages; an end is believed when nothing stands behind it."""
    after: str | None = None
    claims_more = False
    while True:
        try:
            page = client.list_page(after=after)
        except (ApiRefusedError, NotFoundError):
            if after is None:
                raise
            seen.gap = "it cannot be asked for what follows a batch"
            return
        if not page.batches:
            if page.unread:
                seen.take(page)
            elif page.claims_more or claims_more:
                seen.gap = "it says that more batches follow and shows an empty page"
            elif not seen.gap:
                seen.ended()
            return
        yield page
        claims_more = page.claims_more
        after = page.next_after or page.batches[-1].id


def _look_closer(client: Lists, seen: Search) -> None:
    """Look at those that tell neither name nor file one by one: some lists show less than a retrieve."""
    for batch in seen.unclear[:MAX_RETRIEVED]:
        whole = client.retrieve(batch.id)
        whose = seen.marks.whose(whole)
        if whose == "ours":
            seen.found.append(whole)
        elif whose == "unclear":
            seen.gap = f"batch {batch.id} tells neither its metadata nor its input file"
    if len(seen.unclear) > MAX_RETRIEVED:
        seen.gap = f"{len(seen.unclear):,} batches tell neither metadata nor input file"
