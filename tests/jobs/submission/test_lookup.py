"""Looking up what a create has made: both a batch and its absence need a proof."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from airflow_provider_batch.api.objects import Batch
from airflow_provider_batch.api.response_reader import Page
from airflow_provider_batch.exceptions import ApiRefusedError
from airflow_provider_batch.jobs.submission import lookup
from airflow_provider_batch.jobs.submission.lookup import INTENT_KEY, SHORT, SLACK, Marks, search

NAME = "0123456789ab-ba9876543210-g1-r01-s00001-n1-" + "5" * 32 + "-" + "c" * 16
OTHER_TOKEN = NAME.replace("5" * 32, "6" * 32)
OLD_NAME = NAME[: NAME.index("n1") + 2]
MARKS = Marks(frozenset({NAME}), is_secret=True, file_id="file-ours")
OLD_MARKS = Marks(frozenset({OLD_NAME}), is_secret=False, file_id="file-ours")
#: When the input file was made, by the service's clock.
ANCHOR = 5_000_000.0


def ours(**changes: object) -> Batch:
    made = Batch("ours", "in_progress", input_file_id="file-ours", created_at=ANCHOR + 100, metadata={INTENT_KEY: NAME})
    return replace(made, **changes)  # type: ignore[arg-type]


def others(count: int, made: Callable[[int], float], name: str = "o") -> list[Batch]:
    """Batches of neighbours, newest first as long as `made` falls."""
    return [Batch(f"{name}{n}", "completed", input_file_id=f"file-{name}{n}", created_at=made(n)) for n in range(count)]


def older(count: int) -> list[Batch]:
    return others(count, lambda n: ANCHOR - 2 * SLACK - 60 * n, "old")


def newer(count: int) -> list[Batch]:
    return others(count, lambda n: ANCHOR + 10_000 - n, "new")


@dataclass
class Account:
    """
    A list with manners of its own.

    :param takes_after: Whether it honours `after`.
    :param shows: Batches that it shows at the most, of those in its order.
    :param lies: Pages after which it says that there are no more, although there are.
    :param size: Batches of a page, whatever is asked for.
    """

    batches: Sequence[Batch]
    takes_after: bool = True
    shows: int = 10**9
    lies: frozenset[int] = frozenset()
    size: int = 100
    shuffles: bool = False
    empty_page: int | None = None
    details: dict[str, Batch] = field(default_factory=dict)
    calls: int = 0

    def list_page(self, *, after: str | None = None, limit: int = 100) -> Page:
        self.calls += 1
        shown = list(self.batches[: self.shows])
        if self.shuffles:
            random.Random(self.calls).shuffle(shown)
        ids = [batch.id for batch in shown]
        start = ids.index(after) + 1 if after is not None and self.takes_after else 0
        if self.empty_page == self.calls:
            return Page((), None, claims_more=True)
        page = shown[start : start + min(limit, self.size)]
        more = start + len(page) < len(shown) and self.calls not in self.lies
        return Page(tuple(page), page[-1].id if more else None, more)

    def retrieve(self, batch_id: str) -> Batch:
        return self.details.get(batch_id) or next(batch for batch in self.batches if batch.id == batch_id)


class TestABatchIsOurs:
    def test_by_the_token_and_not_by_dag_task_run_and_shard(self) -> None:
        assert MARKS.whose(ours()) == "ours"
        assert MARKS.whose(ours(metadata={INTENT_KEY: OTHER_TOKEN})) == "foreign"
        assert MARKS.whose(ours(metadata={INTENT_KEY: OLD_NAME}, input_file_id="file-theirs")) == "foreign"

    def test_only_with_the_hash_of_its_shard(self) -> None:
        assert MARKS.whose(ours(metadata={INTENT_KEY: NAME.replace("c" * 16, "d" * 16)})) == "foreign"

    @pytest.mark.parametrize("metadata", [{}, {INTENT_KEY: ""}, {INTENT_KEY: NAME[:60]}, {INTENT_KEY: 7}])
    def test_by_its_input_file_where_the_service_drops_or_changes_metadata(self, metadata: dict[str, str]) -> None:
        assert MARKS.whose(ours(metadata=metadata)) == "ours"
        assert MARKS.whose(ours(metadata=metadata, input_file_id="file-theirs")) == "foreign"
        assert MARKS.whose(ours(metadata=metadata, input_file_id=None)) == "unclear"

    def test_by_its_input_file_where_the_ledger_is_of_release_0_1(self) -> None:
        assert OLD_MARKS.whose(ours(metadata={INTENT_KEY: OLD_NAME})) == "ours"
        assert OLD_MARKS.whose(ours(metadata={INTENT_KEY: OLD_NAME}, input_file_id="file-theirs")) == "foreign"
        assert OLD_MARKS.whose(ours(metadata={INTENT_KEY: OLD_NAME}, input_file_id=None)) == "unclear"
        assert OLD_MARKS.whose(ours(metadata={INTENT_KEY: NAME})) == "foreign"


class TestAbsence:
    def test_is_proved_by_a_list_that_goes_back_to_before_the_create(self) -> None:
        """And the rest of a large account is not read."""
        account = Account(newer(30) + older(100_000))
        seen = search(account, MARKS, ANCHOR)
        assert (seen.found, seen.gap) == ([], None)
        assert account.calls < 5

    @pytest.mark.parametrize("count", [0, 1, 5, 9, 10, 99, 100, 101, 350])
    def test_is_proved_by_an_honest_list_of_any_length(self, count: int) -> None:
        assert search(Account(older(count)), MARKS, ANCHOR).gap is None

    def test_does_not_depend_on_clocks_that_differ_by_an_hour(self) -> None:
        skewed = ours(created_at=ANCHOR - SLACK + 60)
        assert search(Account([*newer(30), skewed, *older(500)]), MARKS, ANCHOR).found == [skewed]

    def test_is_not_concluded_from_a_list_that_ignores_after(self) -> None:
        seen = search(Account([*newer(150), ours(), *older(50)], takes_after=False), MARKS, ANCHOR)
        assert "twice" in str(seen.gap)

    def test_is_not_concluded_from_an_empty_page_in_the_middle(self) -> None:
        seen = search(Account([*newer(150), ours(), *older(50)], empty_page=2), MARKS, ANCHOR)
        assert "empty page" in str(seen.gap)

    def test_is_not_concluded_from_a_list_that_says_too_soon_that_it_ends(self) -> None:
        account = Account([*newer(150), ours(), *older(50)], lies=frozenset({1, 2}))
        assert search(account, MARKS, ANCHOR).found == [ours()]

    def test_is_not_concluded_from_a_list_that_is_oldest_first_and_cut_off(self) -> None:
        seen = search(Account([*older(20)[::-1], ours()], shows=20), MARKS, ANCHOR)
        assert "may be a part" in str(seen.gap)

    def test_is_not_concluded_where_all_batches_are_younger_than_the_create(self) -> None:
        """A service that shows the newest so many and no more shows the same list, and hides ours behind it."""
        whole, capped = Account(newer(12)), Account([*newer(12), ours()], shows=12)
        for account in (whole, capped):
            assert "may be a part" in str(search(account, MARKS, ANCHOR).gap)
        assert whole.calls == capped.calls

    def test_is_proved_by_an_oldest_first_list_that_shows_a_later_batch_of_the_job(self) -> None:
        account = Account([*older(20)[::-1], *newer(1)])
        assert search(account, MARKS, ANCHOR, known=["new0"], later=["new0"]).gap is None

    def test_is_not_concluded_from_a_list_that_hides_a_running_batch_of_ours(self) -> None:
        seen = search(Account(older(5)), MARKS, ANCHOR, running=["batch_9"])
        assert "does not show batch batch_9, which runs" in str(seen.gap)

    def test_is_not_concluded_where_members_cannot_be_read(self) -> None:
        class Unread(Account):
            def list_page(self, *, after: str | None = None, limit: int = 100) -> Page:
                return replace(super().list_page(after=after, limit=limit), unread=1)

        assert "cannot be read" in str(search(Unread(older(5)), MARKS, ANCHOR).gap)

    def test_is_not_concluded_from_a_page_of_which_nothing_can_be_read(self) -> None:
        class Unread(Account):
            def list_page(self, *, after: str | None = None, limit: int = 100) -> Page:
                return Page((), None, unread=3)

        assert "cannot be read" in str(search(Unread([]), MARKS, ANCHOR).gap)

    def test_is_not_concluded_where_the_service_refuses_after(self) -> None:
        class Refusing(Account):
            def list_page(self, *, after: str | None = None, limit: int = 100) -> Page:
                if after is not None:
                    raise ApiRefusedError("Unknown parameter: 'after'.")
                return super().list_page(limit=limit)

        assert "does not return what follows" in str(search(Refusing(older(5)), MARKS, ANCHOR).gap)
        assert search(Refusing([ours(), *older(5)]), MARKS, ANCHOR).found == [ours()]

    def test_is_not_concluded_from_batches_that_show_neither_name_nor_file(self) -> None:
        bare = ours(metadata={}, input_file_id=None)
        assert "shows neither" in str(search(Account([bare]), MARKS, ANCHOR).gap)
        assert search(Account([bare], details={"ours": ours()}), MARKS, ANCHOR).found == [ours()]
        long_ago = replace(bare, created_at=ANCHOR - 2 * SLACK)
        assert search(Account([long_ago]), MARKS, ANCHOR).gap is None

    def test_is_not_concluded_from_a_list_without_end_or_order(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(lookup, "MAX_PAGES", 7)
        account = Account(others(5000, lambda n: ANCHOR + (n * 7919) % 100_000))
        assert "no order" in str(search(account, MARKS, ANCHOR).gap)
        assert account.calls == 7


def test_the_search_for_duplicates_of_what_was_found_is_bounded() -> None:
    account = Account([ours(created_at=None), *others(100_000, lambda n: ANCHOR)])
    assert search(account, MARKS, None).found
    assert account.calls <= lookup.PAGES_AFTER_FOUND + 1


accounts = st.fixed_dictionaries(
    {
        "before": st.integers(0, 40),
        "after": st.integers(0, 40),
        "order": st.sampled_from(["newest first", "oldest first", "mixed"]),
        "says_times": st.booleans(),
        "says_metadata": st.booleans(),
    }
)
manners = st.fixed_dictionaries(
    {
        "takes_after": st.booleans(),
        "shows": st.one_of(st.just(10**9), st.integers(SHORT, 60)),
        "lies": st.frozensets(st.integers(1, 6)),
        "size": st.integers(1, 30),
        "shuffles": st.booleans(),
        "empty_page": st.one_of(st.none(), st.integers(1, 4)),
    }
)


@settings(max_examples=400, deadline=None)
@given(accounts, manners, st.integers(0, 10**6))
def test_a_batch_that_exists_is_found_or_not_known_to_be_absent_whatever_the_list_does(
    account: dict[str, object], manner: dict[str, object], seed: int
) -> None:
    assume(not (manner["shuffles"] and manner["lies"]))  # no call tells these two together from an end
    chance = random.Random(seed)
    before, after = int(str(account["before"])), int(str(account["after"]))
    batches = [*newer(after), ours(), *others(before, lambda n: ANCHOR - chance.randrange(1, 10) - 40 * n, "near")]
    if account["order"] == "oldest first":
        batches.reverse()
    elif account["order"] == "mixed":
        chance.shuffle(batches)
    if not account["says_times"]:
        batches = [replace(batch, created_at=None) for batch in batches]
    if not account["says_metadata"]:
        batches = [replace(batch, metadata={}) for batch in batches]
    seen = search(Account(batches, **manner), MARKS, ANCHOR)  # type: ignore[arg-type]
    assert seen.found or seen.gap is not None


@settings(max_examples=100, deadline=None)
@given(st.integers(6, 300), st.integers(0, 300), st.integers(1, 100), st.frozensets(st.integers(1, 6)))
def test_a_batch_that_does_not_exist_is_absent_by_any_honest_list(
    before: int, after: int, size: int, lies: frozenset[int]
) -> None:
    """Else a create that the API dropped would stop a job for good."""
    account = Account(newer(after) + older(before), size=size, lies=lies)
    assert search(account, MARKS, ANCHOR).gap is None
