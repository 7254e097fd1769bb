"""Several that write at the same time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any


def at_once(count: int, write: Callable[[int], Any]) -> list[Any]:
    """Call it with the number of each writer, in threads that begin together."""
    barrier = threading.Barrier(count)

    def begin(number: int) -> Any:
        barrier.wait()
        return write(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(begin, range(count)))
