"""Sums over landed shards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from decimal import Decimal
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from airflow_provider_batch.jobs.ledger.shard_record import Landing
    from airflow_provider_batch.results.landing import LandedShard


class Totals(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    Sums over landed shards.

    :param rows: Rows with a final result.
    :param statuses: Rows by status.
    :param usage: Tokens by kind.
    :param cost_usd: Cost in US dollars; None where no price is known.
    :param unpriced: Rows with an answer whose price is not known.
    """

    rows: int
    statuses: dict[str, int]
    usage: dict[str, int]
    cost_usd: Decimal | None
    unpriced: int

    @property
    def unsuccessful(self) -> int:
        """The number of final rows that did not succeed."""
        return self.rows - self.statuses.get("succeeded", 0)

    @classmethod
    def of(cls, counted: Iterable[Landing | LandedShard | Totals]) -> Totals:
        """
        Sum up landings.

        :param counted: Landings, and totals of other landings.
        """
        statuses: Counter[str] = Counter()
        usage: Counter[str] = Counter()
        costs: list[Decimal] = []
        rows = unpriced = 0
        for one in counted:
            statuses.update(one.statuses)
            usage.update(one.usage)
            if one.cost_usd is not None:
                costs.append(Decimal(one.cost_usd))
            rows += one.rows
            unpriced += one.unpriced
        cost = sum(costs, Decimal(0)) if costs else None
        return cls(rows=rows, statuses=dict(statuses), usage=dict(usage), cost_usd=cost, unpriced=unpriced)
