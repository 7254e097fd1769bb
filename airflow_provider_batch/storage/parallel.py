"""Calls in several threads, for stores that answer slowly."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")


def call_in_threads(function: Callable[[Item], object], items: Iterable[Item], *, threads: int, name: str) -> None:
    """
    Call a function with each item; after the first error no further call is started, and the error is raised.

    :param function: Must be safe in several threads.
    :param items: What it is called with.
    :param threads: Calls at the same time.
    :param name: Prefix of the threads' names.
    """
    with ThreadPoolExecutor(threads, thread_name_prefix=name) as pool:
        started = [pool.submit(function, item) for item in items]
        try:
            for future in started:
                future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
