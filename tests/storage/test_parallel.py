"""Calls in several threads."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from airflow_provider_batch.storage import parallel
from airflow_provider_batch.storage.parallel import call_in_threads


def test_every_item_is_a_call() -> None:
    called: list[int] = []
    call_in_threads(called.append, range(100), threads=4, name="t")
    assert sorted(called) == list(range(100))


def test_after_the_first_error_no_further_call_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[int] = []
    ending = threading.Event()

    class Pool(ThreadPoolExecutor):
        def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
            super().shutdown(wait=False, cancel_futures=cancel_futures)
            ending.set()
            super().shutdown(wait=wait)

    def fail(item: int) -> None:
        called.append(item)
        if item == 0:
            raise ValueError("the first")
        ending.wait()

    monkeypatch.setattr(parallel, "ThreadPoolExecutor", Pool)
    with pytest.raises(ValueError, match="the first"):
        call_in_threads(fail, range(1_000), threads=1, name="t")
    assert called[0] == 0
    assert len(called) <= 2  # one more call may begin before the others are cancelled
