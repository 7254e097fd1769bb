"""A thread that writes the files of a shard while the next lines are rendered."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

#: Chunks of up to 2,048 rows that may wait to be written.
WAITING_CHUNKS = 4


class BackgroundWriter:
    """
    One thread that hashes, compresses and writes chunks; that work does not need the interpreter lock.

    Few chunks wait at a time, so that memory is bounded. An error of a write is raised by a later call.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="shard-writer")
        self._waiting: deque[Future[None]] = deque()

    def run(self, write: Callable[[], None]) -> None:
        """
        Run a write after all earlier ones.

        :param write: Function that writes one chunk.
        """
        while len(self._waiting) >= WAITING_CHUNKS:
            self._waiting.popleft().result()
        self._waiting.append(self._pool.submit(write))

    def wait(self) -> None:
        """Wait until all chunks are written; raises the error of a write that failed."""
        while self._waiting:
            self._waiting.popleft().result()

    def stop(self) -> None:
        """Stop the thread; waiting chunks are not written."""
        self._pool.shutdown(cancel_futures=True)
        self._waiting.clear()
