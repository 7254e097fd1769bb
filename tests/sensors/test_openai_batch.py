"""The sensor in all its modes, with Airflow's contract for sensors."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    TaskDeferred,
)

from airflow_provider_batch.sensors.openai_batch import OpenAIBatchSensor
from tests.airflow_versions import AirflowRescheduleException, needs_airflow
from tests.api.stub import Reply, StubApi, batch, error

EXPIRED = batch("b1", "expired", total=10, completed=7)
Make = Callable[..., OpenAIBatchSensor]


class TestPoking:
    def test_it_returns_the_ids_when_all_have_ended(self, stub: StubApi, sensor: Make, context: Any) -> None:
        stub.on("GET", "/batches/b1", batch("b1"), batch("b1", "completed"))
        stub.on("GET", "/batches/b2", batch("b2", "completed"))
        assert sensor({"batch_ids": ["b1", "b2"]}).execute(context) == ["b1", "b2"]
        context["ti"].xcom_push.assert_called_once_with(key="batch_ids", value=["b1", "b2"])

    @needs_airflow("3.0", "the context knows the first attempt")
    def test_reschedule_frees_the_slot(self, stub: StubApi, sensor: Make, context: Any) -> None:
        stub.on("GET", "/batches/b1", batch("b1"))
        with pytest.raises(AirflowRescheduleException):
            sensor(mode="reschedule").execute(context)

    @pytest.mark.parametrize("status", ["failed", "expired", "cancelled"])
    def test_an_end_that_is_no_success_fails_the_task_without_retries(
        self, stub: StubApi, sensor: Make, context: Any, status: str
    ) -> None:
        reasons = {"object": "list", "data": [{"code": "empty_file", "message": "The input file is empty."}]}
        stub.on("GET", "/batches/b1", batch("b1", status, total=10, completed=7, errors=reasons))
        stub.on("GET", "/batches/b2", batch("b2", "completed"))
        with pytest.raises(AirflowFailException) as caught:
            sensor(["b1", "b2"]).execute(context)
        assert f"b1 {status} with 7 of 10 requests completed (The input file is empty.)" in str(caught.value)
        assert "1 of 2 batches" in str(caught.value)

    def test_which_ends_are_a_success_is_the_users_choice(self, stub: StubApi, sensor: Make, context: Any) -> None:
        stub.on("GET", "/batches/b1", EXPIRED)
        assert sensor(success_statuses=("completed", "expired")).execute(context) == ["b1"]

    def test_a_bad_end_is_not_told_before_all_have_ended(self, stub: StubApi, sensor: Make, context: Any) -> None:
        stub.on("GET", "/batches/b1", EXPIRED)
        stub.on("GET", "/batches/b2", batch("b2"))
        with pytest.raises(AirflowSensorTimeout):
            sensor(["b1", "b2"], timeout=0.05).execute(context)

    def test_a_server_that_is_away_for_a_while_is_waited_for(self, stub: StubApi, sensor: Make, context: Any) -> None:
        stub.on("GET", "/batches/b1", Reply(503, {}), Reply(drop=True), batch("b1", "completed"))
        assert sensor().execute(context) == ["b1"]

    @pytest.mark.parametrize("reply", [error(404, "No batch found"), error(401, "Incorrect API key")])
    def test_what_waiting_does_not_mend_fails_at_once(
        self, stub: StubApi, sensor: Make, context: Any, reply: Reply
    ) -> None:
        stub.on("GET", "/batches/b1", reply)
        with pytest.raises(AirflowFailException):
            sensor().execute(context)

    def test_no_batch_at_all_is_an_error(self, sensor: Make, context: Any) -> None:
        with pytest.raises(AirflowFailException, match="has no batch id"):
            sensor([]).execute(context)

    @pytest.mark.parametrize("deferrable", [False, True])
    def test_soft_fail_skips(self, stub: StubApi, sensor: Make, context: Any, deferrable: bool) -> None:
        stub.on("GET", "/batches/b1", EXPIRED)
        with pytest.raises(AirflowSkipException):
            sensor(soft_fail=True, deferrable=deferrable).execute(context)


class TestDeferring:
    def defer(self, task: OpenAIBatchSensor, context: Any) -> TaskDeferred:
        with pytest.raises(TaskDeferred) as caught:
            task.execute(context)
        return caught.value

    def resume(self, task: OpenAIBatchSensor, deferred: TaskDeferred, context: Any) -> Any:
        kwargs = {**(deferred.kwargs or {}), "event": {"reason": "ended", "ended": ["b1"], "active": 0}}
        return task.resume_execution(deferred.method_name, kwargs, context)

    def test_batches_that_have_ended_already_need_no_triggerer(self, stub: StubApi, sensor: Make, context: Any) -> None:
        stub.on("GET", "/batches/b1", batch("b1", "completed"))
        assert sensor(deferrable=True).execute(context) == ["b1"]

    def test_it_waits_in_the_triggerer_for_all_and_cancels_nothing(
        self, stub: StubApi, sensor: Make, context: Any
    ) -> None:
        stub.on("GET", "/batches/b1", batch("b1"))
        begun = time.time()
        deferred = self.defer(sensor(["b1"], deferrable=True, poll_interval=7, timeout=100), context)
        _, kwargs = deferred.trigger.serialize()
        assert begun + 100 <= kwargs.pop("until") <= time.time() + 100
        assert kwargs == {
            "conn_id": "openai_default",
            "batch_ids": ["b1"],
            "poll_interval": 7,
            "progress": None,
            "cancel_on_kill": False,
            "wait_for_all": True,
            "version": 1,
        }
        assert isinstance(deferred.timeout, timedelta)
        assert deferred.timeout > timedelta(seconds=100)
        context["ti"].xcom_push.assert_called_once_with(key="batch_ids", value=["b1"])

    def test_it_looks_again_when_it_is_woken(self, stub: StubApi, sensor: Make, context: Any) -> None:
        stub.on("GET", "/batches/b1", batch("b1"), batch("b1", "completed"))
        deferred = self.defer(sensor(deferrable=True), context)
        assert self.resume(sensor(deferrable=True), deferred, context) == ["b1"]

    def test_woken_too_early_it_waits_on_until_the_same_moment(self, stub: StubApi, sensor: Make, context: Any) -> None:
        stub.on("GET", "/batches/b1", batch("b1"))
        first = self.defer(sensor(deferrable=True), context)
        with pytest.raises(TaskDeferred) as second:
            self.resume(sensor(deferrable=True), first, context)
        assert second.value.trigger.until == first.trigger.until  # type: ignore[attr-defined]

    def test_dag_test_resumes_with_the_event_alone(self, stub: StubApi, sensor: Make, context: Any) -> None:
        stub.on("GET", "/batches/b1", batch("b1", "completed"))
        assert sensor(deferrable=True).resume_execution("execute_complete", {"event": {}}, context) == ["b1"]

    def test_past_its_time_it_times_out(self, stub: StubApi, sensor: Make, context: Any) -> None:
        stub.on("GET", "/batches/b1", batch("b1"))
        with pytest.raises(AirflowSensorTimeout, match="b1"):
            sensor(deferrable=True).execute_complete(context, None, deadline=time.time() - 1)

    def test_a_bad_end_fails_the_task_when_it_is_woken(self, stub: StubApi, sensor: Make, context: Any) -> None:
        stub.on("GET", "/batches/b1", batch("b1"), EXPIRED)
        deferred = self.defer(sensor(deferrable=True), context)
        with pytest.raises(AirflowFailException, match="b1 expired"):
            self.resume(sensor(deferrable=True), deferred, context)
        with pytest.raises(AirflowSkipException):
            self.resume(sensor(deferrable=True, soft_fail=True), deferred, context)

    def test_a_server_that_the_worker_cannot_reach_is_waited_for_without_spinning(
        self, stub: StubApi, sensor: Make, context: Any
    ) -> None:
        stub.on("GET", "/batches/b1", batch("b1"), Reply(503, {}), batch("b1", "completed"))
        first = self.defer(sensor(deferrable=True, poll_interval=30, timeout=1000), context)
        begun = time.time()
        with pytest.raises(TaskDeferred) as caught:
            self.resume(sensor(deferrable=True, poll_interval=30, timeout=1000), first, context)
        _, kwargs = caught.value.trigger.serialize()
        assert kwargs["batch_ids"] == []  # the triggerer may reach it, and would fire at once
        assert begun + 30 <= kwargs["until"] <= time.time() + 30
        assert caught.value.kwargs == first.kwargs
        assert self.resume(sensor(deferrable=True), caught.value, context) == ["b1"]

    def test_a_server_that_stays_away_is_a_timeout(self, stub: StubApi, sensor: Make, context: Any) -> None:
        stub.on("GET", "/batches/b1", Reply(503, {}))
        with pytest.raises(AirflowSensorTimeout):
            sensor().execute_complete(context, {"reason": "due"}, deadline=time.time() - 1)


def test_its_arguments_are_templated() -> None:
    assert set(OpenAIBatchSensor.template_fields) == {"batch_id", "conn_id"}
