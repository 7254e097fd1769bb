"""The clock that a job goes by."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_batch.api.objects import Batch
from airflow_provider_batch.exceptions import ApiUnavailableError
from airflow_provider_batch.jobs import actions as a
from airflow_provider_batch.jobs import decisions as d
from airflow_provider_batch.jobs.job_request import Tools
from airflow_provider_batch.jobs.ledger import events
from airflow_provider_batch.jobs.service_clock import LATENESS, ForwardClock, ServiceClock
from tests.jobs.test_decisions import K1, LIMITS, NOW, a_ledger, a_shard, after, submitted

DAY = 86_400.0


class Service:
    """A client whose service has sent a `Date`, or has not."""

    def __init__(self, reading: tuple[float, float] | None = None) -> None:
        self.reading, self.asked = reading, 0

    def list_page(self, *, limit: int) -> Any:
        self.asked += 1
        raise ApiUnavailableError("away")


class Ours:
    """The clocks of this machine, as they are set."""

    def __init__(self) -> None:
        self.wall_time, self.ticks = 1000.0, 50.0

    def wall(self) -> float:
        return self.wall_time

    def tick(self) -> float:
        return self.ticks

    def pass_(self, seconds: float, leap: float = 0.0) -> None:
        self.ticks += seconds
        self.wall_time += seconds + leap


def test_a_job_goes_by_the_time_of_the_service() -> None:
    client, ours = Service(), Ours()
    clock = ServiceClock(client, wall=ours.wall, tick=ours.tick)
    assert (clock(), clock.is_known) == (1000.0, False)
    client.reading = (7000.0, 50.0)
    ours.pass_(3.0)
    assert (clock(), clock.is_known) == (7003.0, True)
    assert clock.to_wall_clock(7013.0) == ours.wall_time + 10.0


@pytest.mark.parametrize("leap", [-DAY, DAY])
@pytest.mark.parametrize("reading", [None, (7000.0, 50.0)])
def test_a_jump_of_the_wall_clock_changes_nothing(leap: float, reading: tuple[float, float] | None) -> None:
    ours = Ours()
    clock = ServiceClock(Service(reading), wall=ours.wall, tick=ours.tick)
    before = clock()
    ours.pass_(5.0, leap)
    assert clock() == before + 5.0


@pytest.mark.parametrize(
    ("changes", "reading", "held_back"),
    [
        ({}, None, 5 * DAY - LATENESS),
        ({"expires_at": None}, None, None),  # it is not known how long it may run
        ({"expires_at": 7000.0 + 6 * DAY}, None, None),
        ({"status": "expired"}, None, None),
        ({}, (1000.0 + 6 * DAY, 50.0), None),  # the service tells the time itself
    ],
)
def test_a_clock_without_a_service_time_is_never_ahead_of_what_a_running_batch_allows(
    changes: dict[str, Any], reading: Any, held_back: float | None
) -> None:
    ours, client = Ours(), Service(reading)
    ours.pass_(0.0, 6 * DAY)
    clock = ServiceClock(client, wall=ours.wall, tick=ours.tick)
    given: dict[str, Any] = {"status": "in_progress", "created_at": 7000.0, "expires_at": 7000.0 + DAY, **changes}
    assert clock.set_back([(1000.0, Batch("b1", **given))]) == held_back
    assert clock() == 1000.0 + 6 * DAY - (held_back or 0.0)
    ours.pass_(5.0)
    assert clock() == 1005.0 + 6 * DAY - (held_back or 0.0)


def test_a_service_that_does_not_answer_is_asked_and_leaves_the_clock_as_it_is() -> None:
    client = Service()
    clock = ServiceClock(client)
    clock.ask_service()
    assert client.asked == 1
    assert not clock.is_known


def test_whole_seconds_do_not_make_the_clock_jump_and_a_wrong_start_is_corrected() -> None:
    client, ours = Service((7000.0, 50.0)), Ours()
    clock = ServiceClock(client, wall=ours.wall, tick=ours.tick)
    assert clock() == 7000.0
    ours.pass_(1.5)
    client.reading = (7002.0, ours.ticks)
    assert clock() == 7001.5
    ours.pass_(10.0)
    client.reading = (7600.0, ours.ticks)  # this machine slept
    assert clock() == 7011.5
    ours.pass_(1.0)
    client.reading = (7601.0, ours.ticks)
    assert clock() == 7601.0


@pytest.mark.parametrize(
    ("reading", "passed", "left"),
    [(None, 500.0, 60.0), ((7000.0, 50.0), 0.0, 61.0), ((7000.0, 50.0), 60.5, 0.5), ((7000.0, 50.0), 61.0, 0.0)],
)
def test_a_quiet_period_is_over_when_it_is_certain(
    reading: tuple[float, float] | None, passed: float, left: float
) -> None:
    ours = Ours()
    client: Any = Service(reading)
    tools = Tools(client=client, clock=ServiceClock(client, wall=ours.wall, tick=ours.tick))
    since = tools.clock()
    ours.pass_(passed)
    assert tools.quiet_seconds_left(since, 60.0) == left
    assert Tools(client=client).quiet_seconds_left(since, 60.0) == 0.0


def test_one_response_with_an_odd_date_is_ignored() -> None:
    """An error page of a gateway with a wrong clock must not end a job's time."""
    client, ours = Service((7000.0, 50.0)), Ours()
    clock = ServiceClock(client, wall=ours.wall, tick=ours.tick)
    clock()
    for seconds in (7000.0 + DAY, 7002.0, 7003.0 - DAY, 7004.0):
        ours.pass_(1.0)
        client.reading = (seconds, ours.ticks)
        assert clock() == 7000.0 + ours.ticks - 50.0


@pytest.mark.parametrize(("leap", "expected"), [(-DAY, 1005.0), (DAY, 1005.0 + DAY)])
def test_a_forward_clock_never_goes_back(leap: float, expected: float) -> None:
    ours = Ours()
    clock = ForwardClock(ours.wall, tick=ours.tick)
    ours.pass_(5.0, leap)
    assert clock() == expected


class TestAClockThatWasSetBackByADay:
    """Without a service that tells the time, the wall clock is all there is."""

    def test_does_not_hold_up_a_look_up(self) -> None:
        ledger = after(a_ledger(a_shard(1)), events.Intended(K1, NOW))
        assert d.next_action(ledger, {}, LIMITS, NOW - DAY) == a.Resolve(K1)

    def test_does_not_hold_up_a_full_queue(self) -> None:
        ledger = after(a_ledger(a_shard(1)), events.Intended(K1, NOW), events.Refused(K1, "full", NOW + 600))
        assert isinstance(d.next_action(ledger, {}, LIMITS, NOW), a.Wait)
        assert d.next_action(ledger, {}, LIMITS, NOW - DAY) == a.Submit(K1)

    def test_does_not_hold_up_the_end_after_a_time_out(self) -> None:
        closing = d.Closing(reason="timeout", message="over", at=NOW)
        ledger = after(submitted(a_ledger(a_shard(1)), K1, "b1"), events.Closed(closing), events.CancelAsked(NOW))
        assert isinstance(d.next_action(ledger, {}, LIMITS, NOW + 1), a.Wait)
        assert d.next_action(ledger, {}, LIMITS, NOW - DAY) == a.Finish("timeout")
