"""
The clock that a job goes by: the service's own, as its answers tell it.

Clocks of workers are wrong, differ, and jump. A job waits, times out and looks up by one clock that all its attempts
see, wherever they run: the `Date` of the last answers, carried on by a clock of this process that never goes back. A
service that tells no time leaves the wall clock of the process's start, carried on in the same way, and a look-up that
is about to conclude that a batch does not exist waits for the quiet period within the process (`runner.py`).

Between two processes such a wall clock can leap forward, and end a job's time while its batches run. What disproves it
is a batch that runs still: the service gives it a time, `expires_at` less `created_at`, both by its own clock, and not
much more than that has passed since the batch was asked for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Protocol

from airflow_provider_batch.api.objects import Batch
from airflow_provider_batch.exceptions import ApiError

#: Seconds by which an answer's `Date`, which has whole seconds, may differ before it is believed anew.
TOLERANCE = 5.0
#: Seconds by which a service may be late to end a batch whose time is over.
LATENESS = 3600.0


class Answers(Protocol):
    """A client, as far as time is concerned."""

    @property
    def reading(self) -> tuple[float, float] | None: ...

    def list_page(self, *, limit: int) -> Any: ...


class ServiceClock:
    """
    Epoch seconds by the service's clock.

    :param client: Whose answers tell the time.
    :param wall: Epoch seconds of this machine.
    :param tick: Seconds that never go back.
    """

    def __init__(
        self,
        client: Answers,
        *,
        wall: Callable[[], float] = time.time,
        tick: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client, self._wall, self._tick = client, wall, tick
        self._base = (wall(), tick())
        self.is_known = False
        self._last: tuple[float, float] | None = None
        self._doubted: tuple[float, float] | None = None

    def __call__(self) -> float:
        self._learn()
        return self._base[0] + (self._tick() - self._base[1])

    def here(self, moment: float) -> float:
        """Return a moment of this clock as one of the wall clock of this machine, as it is now."""
        return self._wall() + (moment - self())

    def hold_back(self, running: Iterable[tuple[float, Batch]]) -> float | None:
        """
        Set the clock back to what running batches allow, where the service tells no time.

        :param running: Batches that run, each with the moment of this clock at which it was asked for.
        :returns: Seconds by which it was ahead; None where nothing is wrong.
        """
        latest = min(
            (
                asked_at + batch.expires_at - batch.created_at + LATENESS
                for asked_at, batch in running
                if batch.created_at is not None and batch.expires_at is not None and not batch.has_ended
            ),
            default=None,
        )
        now = self()
        if self.is_known or latest is None or now <= latest:
            return None
        self._base = (latest, self._tick())
        return now - latest

    def ask(self) -> None:
        """Have the service tell the time, where it has not been asked for anything yet."""
        if self._client.reading is None:
            with suppress(ApiError):  # a refusal tells the time too
                self._client.list_page(limit=1)

    def _learn(self) -> None:
        """Take in the last answer's time; one that differs is believed when the next agrees with it."""
        reading = self._client.reading
        if reading is None or reading == self._last:
            return
        self._last = reading
        if not self.is_known or (self._doubted is not None and _agree(self._doubted, reading)):
            self._base, self._doubted, self.is_known = reading, None, True
        else:
            self._doubted = None if _agree(self._base, reading) else reading


def _agree(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return abs((other[0] - one[0]) - (other[1] - one[1])) <= TOLERANCE


class ForwardClock:
    """
    Epoch seconds of this machine's wall clock, never behind what has passed since the start.

    A wall clock that is set back makes no wait longer; one that is set forward ends it early, and whoever was woken
    decides what is due. A machine that slept is noticed: its wall clock has gone on.
    """

    def __init__(self, wall: Callable[[], float] = time.time, *, tick: Callable[[], float] = time.monotonic) -> None:
        self._wall, self._tick = wall, tick
        self._base = wall() - tick()

    def __call__(self) -> float:
        return max(self._wall(), self._base + self._tick())
