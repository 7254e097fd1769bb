"""Looking up what a POST has made."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from airflow_provider_batch.api.client import BatchClient
from airflow_provider_batch.api.objects import Batch
from airflow_provider_batch.jobs import entries
from airflow_provider_batch.jobs.submission import CLOCK_SLACK, INTENT_KEY, find_batches, find_duplicates, intent_name
from tests.jobs.test_decisions import K1, NOW, a_ledger, a_shard, after


class ListOnly:
    """An API that shows these batches, newest first."""

    def __init__(self, *batches: Batch) -> None:
        self.batches = batches

    def list(self, limit: int = 100) -> Iterator[Batch]:
        yield from self.batches


def a_client(*batches: Batch) -> BatchClient:
    return cast(Any, ListOnly(*batches))


def test_a_batch_is_found_however_long_its_answer_was_waited_for() -> None:
    """Invariant 2: the list is paged back to before the POST, not to the moment when it was given up."""
    asked = after(a_ledger(a_shard(1)), entries.Uploaded(K1, "file-1"), entries.Intended(K1, NOW))
    given_up = NOW + 2 * CLOCK_SLACK
    ledger = after(asked, entries.Unanswered(K1, given_up))
    named = {INTENT_KEY: intent_name(ledger, ledger.shard(K1), 1)}
    batch = Batch("b1", "in_progress", created_at=NOW + 1, metadata=named)
    others = [Batch(f"o{n}", "in_progress", created_at=given_up - n) for n in range(3)]
    assert find_batches(a_client(*others, batch), ledger, ledger.shard(K1)) == [batch]
    absent = after(ledger, entries.Absent(K1))
    assert find_duplicates(a_client(*others, batch), absent, given_up + 60) == [batch]
