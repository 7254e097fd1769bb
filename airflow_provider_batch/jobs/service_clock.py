"""
The clock of a job: the service's own time, as its responses report it.

Clocks of workers can be wrong, differ, and jump. So a job waits, times out and looks up by one clock that all its
attempts share, wherever they run: the `Date` header of the last responses, continued by a clock of this process that
never goes back. If a service sends no `Date`, the clock starts with the process's wall clock and continues in the same
way; a look-up that is about to conclude that a batch does not exist then waits for the quiet period within the process
(`runner.py`).

Between two processes such a wall clock can jump forward, and end a job's time while its batches run. A batch that still
runs disproves it: the service gives each batch a time, `expires_at` less `created_at`, both by its own clock, and no
more than this time and some slack can have passed since the batch was asked for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

from airflow_provider_batch.api.objects import Batch
from airflow_provider_batch.exceptions import ApiError

if TYPE_CHECKING:
    from airflow_provider_batch.api.client import BatchClient

#: Seconds by which a response's `Date`, which has whole seconds, may differ without a correction of the clock.
TOLERANCE = 5.0
#: Seconds by which a service may be late to end a batch whose time is over.
LATENESS = 3600.0


class ServiceClock:
    """
    Returns epoch seconds by the service's clock.

    :param client: Client whose responses have the time.
    :param wall: Returns epoch seconds of this machine.
    :param tick: Returns seconds of a clock that never goes back.
    """

    def __init__(
        self,
        client: BatchClient,
        *,
        wall: Callable[[], float] = time.time,
        tick: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client, self._wall, self._tick = client, wall, tick
        self._base = (wall(), tick())
        self.is_known = False
        self._last: tuple[float, float] | None = None
        self._unconfirmed: tuple[float, float] | None = None

    def __call__(self) -> float:
        self._update()
        return self._base[0] + (self._tick() - self._base[1])

    def to_wall_clock(self, moment: float) -> float:
        """
        Convert a moment of this clock to the wall clock of this machine, as it is now.

        :param moment: Epoch seconds by this clock.
        """
        return self._wall() + (moment - self())

    def set_back(self, running: Iterable[tuple[float, Batch]]) -> float | None:
        """
        Set the clock back to the latest time that running batches allow, where the service sends no `Date`.

        :param running: Batches that run, each with the moment, by this clock, at which it was asked for.
        :return: Seconds by which the clock was ahead; None where it was not.
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

    def ask_service(self) -> None:
        """Make one call to get the service's time, where no call was made yet."""
        if self._client.reading is None:
            with suppress(ApiError):  # a refusal has a `Date` too
                self._client.list_page(limit=1)

    def _update(self) -> None:
        """Read the last response's time; a time that differs is used once the next response agrees with it."""
        reading = self._client.reading
        if reading is None or reading == self._last:
            return
        self._last = reading
        if not self.is_known or (self._unconfirmed is not None and _agree(self._unconfirmed, reading)):
            self._base, self._unconfirmed, self.is_known = reading, None, True
        else:
            self._unconfirmed = None if _agree(self._base, reading) else reading


def _agree(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return abs((other[0] - one[0]) - (other[1] - one[1])) <= TOLERANCE


class ForwardClock:
    """
    Returns epoch seconds of this machine's wall clock, never behind the time since the start.

    A wall clock that is set back makes no wait longer. One that is set forward ends a wait early, and the resumed task
    decides what is due. A machine that slept is noticed: its wall clock has advanced.

    :param wall: Returns epoch seconds of this machine.
    :param tick: Returns seconds of a clock that never goes back.
    """

    def __init__(self, wall: Callable[[], float] = time.time, *, tick: Callable[[], float] = time.monotonic) -> None:
        self._wall, self._tick = wall, tick
        self._base = wall() - tick()

    def __call__(self) -> float:
        return max(self._wall(), self._base + self._tick())
