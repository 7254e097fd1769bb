"""Batch objects of servers that take liberties."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_batch.api.objects import Batch


@pytest.mark.parametrize(
    ("sent", "read"), [(1_800_000_000, 1.8e9), (1.5, 1.5), (0, None), (None, None), ("2026-11-22T10:00:00Z", None)]
)
def test_a_time_that_is_no_number_is_not_known(sent: Any, read: float | None) -> None:
    """What waits reckons with times: a text among them must not end it."""
    times = dict.fromkeys(("created_at", "in_progress_at", "finalizing_at", "expires_at"), sent)
    batch = Batch.from_api({"id": "b", "status": "in_progress", **times})
    assert [batch.created_at, batch.in_progress_at, batch.finalizing_at, batch.expires_at] == [read] * 4
