"""The thread that writes a shard's files while the next lines are made."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

#: Pieces of up to 2,048 rows that wait to be written.
WAITING_PIECES = 4


class BackgroundWriter:
    """
    One thread that hashes, compresses and writes while the next lines are made: work that needs no interpreter lock.

    Few pieces wait at a time, so that memory stays bounded; an error is raised by a later call.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="shard-writer")
        self._waiting: deque[Future[None]] = deque()

    def run(self, write: Callable[[], None]) -> None:
        """Run after all that was given before."""
        while len(self._waiting) >= WAITING_PIECES:
            self._waiting.popleft().result()
        self._waiting.append(self._pool.submit(write))

    def wait(self) -> None:
        """Return when all is written; raise what failed."""
        while self._waiting:
            self._waiting.popleft().result()

    def stop(self) -> None:
        """Let go of the thread; what still waits is not written."""
        self._pool.shutdown(cancel_futures=True)
        self._waiting.clear()
