"""Looking up what a POST has made."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import msgspec
import pytest

from airflow_provider_batch.api.client import BatchClient
from airflow_provider_batch.api.objects import Batch
from airflow_provider_batch.api.response_reader import Page
from airflow_provider_batch.api.settings import ClientSettings
from airflow_provider_batch.exceptions import NotFoundError, UnknownOutcomeError
from airflow_provider_batch.jobs.ledger import events
from airflow_provider_batch.jobs.ledger.ledger import Ledger
from airflow_provider_batch.jobs.submission.create import find_batches, find_duplicates, intent_name
from airflow_provider_batch.jobs.submission.lookup import INTENT_KEY
from tests.jobs.test_decisions import K1, NOW, a_ledger, a_shard, after

TOKEN = "7" * 32
#: By the service's clock, which has nothing to do with ours.
THEIR_NOW = 5.0


class ListOnly:
    """An API that shows these batches, newest first."""

    settings = ClientSettings("sk-test")

    def __init__(self, *batches: Batch) -> None:
        self.batches = batches

    def list(self, limit: int = 100) -> Iterator[Batch]:
        yield from self.batches

    def list_page(self, *, after: str | None = None, limit: int = 100) -> Page:
        return Page(() if after else self.batches, None)

    def file_created_at(self, file_id: str) -> float | None:
        if file_id == "file-gone":
            raise NotFoundError("gone")
        return THEIR_NOW


def a_client(*batches: Batch) -> BatchClient:
    return cast(Any, ListOnly(*batches))


def intended(*, token: str = TOKEN, file_id: str = "file-1") -> Ledger:
    ledger = msgspec.structs.replace(a_ledger(a_shard(1)), token=token)
    return after(ledger, events.Uploaded(K1, file_id), events.Intended(K1, NOW))


def batch_of(ledger: Ledger, batch_id: str = "b1", **changes: Any) -> Batch:
    named = {INTENT_KEY: intent_name(ledger, ledger.shard(K1), 1)}
    given: dict[str, Any] = {"created_at": THEIR_NOW + 1, "metadata": named, "input_file_id": "file-1", **changes}
    return Batch(batch_id, "in_progress", **given)


@pytest.mark.parametrize("skew", [-86_400.0, -1200.0, 0.0, 1200.0, 86_400.0])
def test_a_batch_is_found_whatever_the_two_clocks_say(skew: float) -> None:
    """Line A2: with a worker's clock 20 minutes ahead, a lost answer was looked up in the wrong window."""
    ledger = after(intended(), events.Unanswered(K1, NOW + 7200))
    batch = batch_of(ledger, created_at=NOW + skew)
    others = [Batch(f"o{n}", "in_progress", created_at=NOW + skew + 10 - n, input_file_id=f"f{n}") for n in range(9)]
    assert find_batches(a_client(*others, batch), ledger, ledger.shard(K1)) == [batch]
    absent = after(ledger, events.Absent(K1))
    assert find_duplicates(a_client(*others, batch), absent, NOW + 7260) == [batch]


def test_a_neighbours_batch_is_neither_adopted_nor_cancelled() -> None:
    """Line A1: another deployment with the same DAG, task and run, on the same account."""
    ours, theirs = intended(), intended(token="8" * 32, file_id="file-2")
    batch = batch_of(theirs, "theirs", input_file_id="file-2")
    assert find_batches(a_client(batch), ours, ours.shard(K1)) == []
    assert find_duplicates(a_client(batch), after(ours, events.Absent(K1)), NOW) == []


def test_a_neighbours_batch_is_left_alone_by_a_ledger_of_release_0_1() -> None:
    ours, theirs = intended(token=""), intended(token="", file_id="file-2")
    batch = batch_of(theirs, "theirs", input_file_id="file-2")
    assert find_batches(a_client(batch), ours, ours.shard(K1)) == []
    assert find_duplicates(a_client(batch), after(ours, events.Absent(K1)), NOW) == []
    own = batch_of(ours)
    assert find_batches(a_client(batch, own), ours, ours.shard(K1)) == [own]


def test_a_batch_is_found_by_its_file_where_metadata_is_dropped() -> None:
    ledger = intended()
    bare = batch_of(ledger, metadata={})
    assert find_batches(a_client(bare), ledger, ledger.shard(K1)) == [bare]


def test_the_batch_of_an_open_create_is_no_duplicate_of_an_earlier_one() -> None:
    ledger = after(intended(), events.Absent(K1), events.Intended(K1, NOW + 60))
    second = batch_of(ledger, metadata={INTENT_KEY: intent_name(ledger, ledger.shard(K1), 2)})
    assert find_duplicates(a_client(second), ledger, NOW + 61) == []


def test_an_outcome_that_the_list_does_not_prove_is_an_error_that_says_what_to_look_for() -> None:
    ledger = intended(file_id="file-gone")
    many = [Batch(f"o{n}", "in_progress", created_at=THEIR_NOW + n, input_file_id=f"f{n}") for n in range(30)]
    with pytest.raises(
        UnknownOutcomeError, match=r"does not prove .* input file file-gone.*Nothing is sent again"
    ) as e:
        find_batches(a_client(*many), ledger, ledger.shard(K1))
    assert TOKEN in str(e.value)
    assert e.value.retryable
