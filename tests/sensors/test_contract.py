"""Airflow's contract for sensors, kept in every mode: timeouts, skips, pauses between polls."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    TaskDeferred,
)

from airflow_provider_batch.sensors.openai_batch import OpenAIBatchSensor
from airflow_provider_batch.triggers.openai_batch import OpenAIBatchTrigger
from tests.airflow_versions import TRIGGER_FAIL_REPR, AirflowRescheduleException, needs_airflow
from tests.api.stub import Reply, StubApi, batch

RUNNING = batch("b1")
#: How a wait without a worker slot differs: deferred, or woken again and again.
#: Airflow 2 reads the time of the first attempt from its metadata database, not from the context.
RESCHEDULES = needs_airflow("3.0", "the context knows the first attempt")
MODES = [{"mode": "poke"}, pytest.param({"mode": "reschedule"}, marks=RESCHEDULES), {"deferrable": True}]
Make = Callable[..., OpenAIBatchSensor]


def wait(make: Callable[[], OpenAIBatchSensor], context: Any, *, turns: int = 50) -> Any:
    """Run a sensor as Airflow does, through all of its reschedules and deferrals; each of its lives is a new object."""
    method, kwargs = "execute", None
    begun = datetime.now(UTC)
    for _ in range(turns):
        task = make()
        try:
            return task.execute(context) if method == "execute" else task.resume_execution(method, kwargs, context)
        except AirflowRescheduleException:
            context["ti"].get_first_reschedule_date.return_value = begun
            time.sleep(0.02)
        except TaskDeferred as deferred:
            method = deferred.method_name
            kwargs = {**(deferred.kwargs or {}), "event": {"reason": "due", "ended": [], "active": 1}}
            time.sleep(0.02)
    raise AssertionError("it never ends")


@pytest.mark.parametrize("given", MODES)
class TestEachMode:
    def test_the_end_of_all_is_a_success(self, stub: StubApi, sensor: Make, context: Any, given: Any) -> None:
        stub.on("GET", "/batches/b1", RUNNING, RUNNING, batch("b1", "completed"))
        assert wait(lambda: sensor(**given), context) == ["b1"]

    @pytest.mark.parametrize("status", ["failed", "expired", "cancelled"])
    def test_which_statuses_count_as_success(
        self, stub: StubApi, sensor: Make, context: Any, given: Any, status: str
    ) -> None:
        stub.on("GET", "/batches/b1", RUNNING, batch("b1", status))
        assert wait(lambda: sensor(success_statuses=("completed", status), **given), context) == ["b1"]
        stub.on("GET", "/batches/b1", RUNNING, batch("b1", status))
        with pytest.raises(AirflowFailException, match=status):
            wait(lambda: sensor(**given), context)

    def test_past_its_timeout_it_fails_without_retries(
        self, stub: StubApi, sensor: Make, context: Any, given: Any
    ) -> None:
        stub.on("GET", "/batches/b1", RUNNING)
        begun = time.monotonic()
        with pytest.raises(AirflowSensorTimeout):
            wait(lambda: sensor(timeout=0.3, **given), context)
        assert time.monotonic() - begun >= 0.3

    def test_soft_fail_makes_a_timeout_a_skip(self, stub: StubApi, sensor: Make, context: Any, given: Any) -> None:
        stub.on("GET", "/batches/b1", RUNNING)
        with pytest.raises(AirflowSkipException):
            wait(lambda: sensor(timeout=0.1, soft_fail=True, **given), context)

    @pytest.mark.parametrize("leniency", ["soft_fail", "never_fail"])
    def test_a_bad_end_is_a_skip_where_the_user_said_so(
        self, stub: StubApi, sensor: Make, context: Any, given: Any, leniency: str
    ) -> None:
        stub.on("GET", "/batches/b1", RUNNING, batch("b1", "failed"))
        with pytest.raises(AirflowSkipException):
            wait(lambda: sensor(**{leniency: True}, **given), context)


class TestPauses:
    @pytest.fixture
    def pauses(self, monkeypatch: pytest.MonkeyPatch) -> list[float]:
        slept: list[float] = []
        monkeypatch.setattr("time.sleep", slept.append)
        return slept

    def test_without_backoff_they_are_the_poke_interval(
        self, stub: StubApi, sensor: Make, context: Any, pauses: list[float]
    ) -> None:
        stub.on("GET", "/batches/b1", *[RUNNING] * 4, batch("b1", "completed"))
        sensor(poke_interval=7).execute(context)
        assert pauses == [7] * 4

    def test_exponential_backoff_lets_them_grow_up_to_max_wait(
        self, stub: StubApi, sensor: Make, context: Any, pauses: list[float]
    ) -> None:
        stub.on("GET", "/batches/b1", *[RUNNING] * 8, batch("b1", "completed"))
        sensor(poke_interval=10, exponential_backoff=True, max_wait=300).execute(context)
        assert pauses == sorted(pauses)
        assert pauses[0] <= 20
        assert pauses[-1] == 300

    @RESCHEDULES
    def test_a_reschedule_is_for_the_next_poke(self, stub: StubApi, sensor: Make, context: Any) -> None:
        stub.on("GET", "/batches/b1", RUNNING)
        begun = datetime.now(UTC)
        with pytest.raises(AirflowRescheduleException) as caught:
            sensor(poke_interval=100, mode="reschedule").execute(context)
        pause = timedelta(seconds=100)
        assert begun + pause <= caught.value.reschedule_date <= datetime.now(UTC) + pause

    @RESCHEDULES
    def test_reschedules_back_off_too(self, stub: StubApi, sensor: Make, context: Any) -> None:
        stub.on("GET", "/batches/b1", RUNNING)
        context["ti"].get_first_reschedule_date.return_value = datetime.now(UTC) - timedelta(hours=1)
        with pytest.raises(AirflowRescheduleException) as caught:
            sensor(poke_interval=10, mode="reschedule", exponential_backoff=True, timeout=86_400).execute(context)
        assert caught.value.reschedule_date - datetime.now(UTC) > timedelta(seconds=300)


class TestDeferred:
    @needs_airflow("3.1", "a deferral that timed out has an error of its own")
    def test_airflows_own_timeout_of_the_deferral_is_a_timeout_of_the_sensor(self, sensor: Make, context: Any) -> None:
        task, kwargs = sensor(deferrable=True), {"error": "Trigger timeout"}
        with pytest.raises(AirflowSensorTimeout):
            task.resume_execution(TRIGGER_FAIL_REPR, kwargs, context)
        with pytest.raises(AirflowSkipException):
            sensor(deferrable=True, soft_fail=True).resume_execution(TRIGGER_FAIL_REPR, kwargs, context)

    @pytest.mark.parametrize("leniency", ["soft_fail", "never_fail"])
    def test_a_bad_end_at_the_first_poll_is_a_skip_too(
        self, stub: StubApi, sensor: Make, context: Any, leniency: str
    ) -> None:
        """The base class does it for resumed tasks alone."""
        stub.on("GET", "/batches/b1", batch("b1", "failed"))
        with pytest.raises(AirflowSkipException):
            sensor(deferrable=True, **{leniency: True}).execute(context)

    def test_a_server_that_is_away_at_first_is_waited_for(self, stub: StubApi, sensor: Make, context: Any) -> None:
        stub.on("GET", "/batches/b1", Reply(drop=True))
        with pytest.raises(TaskDeferred):
            sensor(deferrable=True).execute(context)

    def test_hundreds_of_batches_are_waited_for_in_parts_that_fit(
        self, stub: StubApi, sensor: Make, context: Any
    ) -> None:
        """Invariant 6: the arguments stay small, and the wait is for the last of all."""
        ids = [f"batch_{number:032x}" for number in range(250)]
        ended: set[str] = set()

        def page(request: Any) -> Reply:
            begin = ids.index(request.query["after"]) + 1 if "after" in request.query else 0
            shown = [batch(i, "completed" if i in ended else "in_progress") for i in ids[begin : begin + 100]]
            return Reply(body={"data": shown, "has_more": begin + 100 < len(ids)})

        stub.on("GET", "/batches", page)
        for batch_id in ids:
            stub.on("GET", f"/batches/{batch_id}", batch(batch_id, "completed"))
        with pytest.raises(TaskDeferred) as first:
            sensor(ids, deferrable=True).execute(context)
        trigger = first.value.trigger
        assert isinstance(trigger, OpenAIBatchTrigger)
        assert len(str(trigger.serialize())) < 8_000
        ended.update(trigger.batch_ids)
        kwargs = {**(first.value.kwargs or {}), "event": {"reason": "ended", "ended": trigger.batch_ids, "active": 0}}
        with pytest.raises(TaskDeferred) as second:
            sensor(ids, deferrable=True).resume_execution("execute_complete", kwargs, context)
        assert not set(second.value.trigger.batch_ids) & ended  # type: ignore[attr-defined]
        ended.update(ids)
        assert sensor(ids, deferrable=True).resume_execution("execute_complete", kwargs, context) == ids
