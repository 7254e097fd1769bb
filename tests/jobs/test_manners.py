"""The manners of services and of neighbours: nothing is lost and nothing is paid twice, whatever they are."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_batch.api.outcomes import Accepted
from airflow_provider_batch.emulator.testing import Emulator
from airflow_provider_batch.exceptions import (
    ChangedInputError,
    JobTimeoutError,
    NotCancelledError,
    NotFoundError,
    UnknownOutcomeError,
)
from airflow_provider_batch.jobs import decisions, runner
from airflow_provider_batch.jobs.job_request import JobRequest, Tools
from airflow_provider_batch.jobs.opening.attempt import open_job
from airflow_provider_batch.jobs.service_clock import ServiceClock
from airflow_provider_batch.jobs.submission.create import NotProvedAbsentError, batch_metadata
from tests.jobs.support import (
    LIMITS,
    a_request,
    changed,
    check_paid_once,
    check_table,
    run,
    some_rows,
    step_until_waiting,
    tools_for,
)

LOST = {"kind": "lose_answer", "method": "POST", "path": "/v1/batches"}
DROPPED = {"kind": "drop_connection", "method": "POST", "path": "/v1/batches"}


def others_rows(count: int) -> list[dict[str, Any]]:
    return [{"key": f"x{n}", "text": f"another subject {n}"} for n in range(count)]


def neighbour(tmp_path: Path, count: int = 10, **changes: Any) -> JobRequest:
    """Another deployment of the same DAG, with the same run and the same shards, on the same account."""
    folder = tmp_path / "neighbour"
    return a_request(folder, others_rows(count), **changes)


def job_clock(emulator: Emulator, skew: Callable[[], float] = lambda: 0.0) -> Tools:
    """Tools as the operator has them, on a machine whose wall clock is that wrong."""
    tools = tools_for(emulator)
    return dataclasses.replace(tools, clock=ServiceClock(tools.client, wall=lambda: time.time() + skew()))


def statuses_of(emulator: Emulator) -> list[str]:
    return [batch["status"] for batch in emulator.state()["batches"]]


class TestANeighbourOnTheSameAccount:
    @pytest.mark.parametrize("fault", [LOST, DROPPED])
    def test_is_not_adopted_after_a_lost_answer_and_not_cancelled(
        self, emulator: Emulator, tmp_path: Path, fault: dict[str, Any]
    ) -> None:
        """Line A1: dev landed prod's answers beside its own rows, and cancelled prod's batch as a duplicate."""
        emulator.configure(progress="hold")
        tools = tools_for(emulator)
        emulator.fault(**fault, times=1)
        job = open_job(a_request(tmp_path, some_rows(10)), tools)
        job.advance()
        theirs = step_until_waiting(neighbour(tmp_path), tools)
        emulator.configure(progress="reads:2")
        job.run()
        theirs.run()
        check_table(tmp_path, some_rows(10))
        check_table(tmp_path / "neighbour", others_rows(10))
        assert statuses_of(emulator) == ["completed"] * 2
        check_paid_once(emulator)

    def test_with_equal_rows_is_not_adopted_either(self, emulator: Emulator, tmp_path: Path) -> None:
        emulator.configure(progress="hold")
        tools = tools_for(emulator)
        theirs = step_until_waiting(a_request(tmp_path / "neighbour", some_rows(10)), tools)
        emulator.fault(**DROPPED, times=1)
        job = open_job(a_request(tmp_path, some_rows(10)), tools)
        job.advance()
        emulator.configure(progress="reads:2")
        job.run()
        theirs.run()
        assert set(job.ledger.batch_ids).isdisjoint(theirs.ledger.batch_ids)
        assert job.ledger.token != theirs.ledger.token
        check_table(tmp_path, some_rows(10))

    def test_of_a_service_without_metadata_is_known_by_its_files(self, emulator: Emulator, tmp_path: Path) -> None:
        emulator.configure(keeps_metadata=False, progress="hold")
        tools = tools_for(emulator)
        step_until_waiting(neighbour(tmp_path), tools)
        emulator.fault(**LOST, times=1)
        emulator.configure(progress="immediate")
        run(a_request(tmp_path, some_rows(10)), tools)
        check_table(tmp_path, some_rows(10))
        assert emulator.state()["batches_created"] == 2

    def test_a_new_generation_keeps_the_token(self, emulator: Emulator, tmp_path: Path) -> None:
        tools = tools_for(emulator)
        request = a_request(tmp_path, some_rows(10))
        first = open_job(request, tools)
        first.run()
        second = open_job(changed(request, rerun="all", era=1), tools)
        assert (second.ledger.generation, second.ledger.token) == (2, first.ledger.token)


MANNERS: list[dict[str, Any]] = [
    {"list_order": "oldest_first"},
    {"list_order": "shuffled"},
    {"list_paging": "ignores_after"},
    {"list_paging": "ends_early"},
    {"list_paging": "empty_page"},
    {"list_order": "oldest_first", "list_shows": 10},
    {"list_shows": 20},
    {"keeps_metadata": False},
    {"keeps_metadata": False, "list_order": "oldest_first"},
]


@pytest.mark.parametrize("manner", MANNERS, ids=str)
@pytest.mark.parametrize("fault", [LOST, DROPPED], ids=["lost", "dropped"])
def test_a_list_of_another_kind_is_no_reason_to_pay_twice(
    emulator: Emulator, tmp_path: Path, manner: dict[str, Any], fault: dict[str, Any]
) -> None:
    """Line A3: the job ends well, or says that the outcome is unknown and continues once the list proves it."""
    tools, neighbours = tools_for(emulator), 12
    emulator.configure(progress="hold")
    step_until_waiting(neighbour(tmp_path, neighbours, spec={"max_shard_rows": 1}), tools)
    emulator.configure(progress="immediate")
    emulator.configure(**manner)
    emulator.fault(**fault, times=1)
    request = a_request(tmp_path, some_rows(20))
    try:
        run(request, tools)
    except UnknownOutcomeError:
        if fault is DROPPED:  # its neighbours were made within the second: no list proves here that it was not
            assert emulator.state()["batches_created"] == neighbours + 1
            return
        assert emulator.state()["batches_created"] <= neighbours + 2
        emulator.configure(list_order="newest_first", list_paging="honest", list_shows=None)
        run(request, tools)
    check_table(tmp_path, some_rows(20))
    assert emulator.state()["batches_created"] == neighbours + 2
    check_paid_once(emulator)


def test_an_unknown_outcome_holds_up_no_other_shard_and_is_reported_at_the_end(
    emulator: Emulator, tmp_path: Path
) -> None:
    tools = tools_for(emulator)
    emulator.configure(list_paging="ignores_after")
    emulator.fault(**DROPPED, times=1)
    job = open_job(a_request(tmp_path, some_rows(20)), tools)
    with pytest.raises(UnknownOutcomeError, match="does not prove"):
        job.run()
    assert [shard.state for shard in job.ledger.shards] == ["intended", "landed"]
    emulator.configure(list_paging="honest")
    run(a_request(tmp_path, some_rows(20)), tools)
    check_table(tmp_path, some_rows(20))
    assert emulator.state()["batches_created"] == 2


def test_a_list_that_does_not_show_our_running_batch_yet_proves_nothing_of_another(
    emulator: Emulator, tmp_path: Path
) -> None:
    emulator.configure(list_lag=3600.0, progress="hold")
    tools, request = tools_for(emulator), a_request(tmp_path, some_rows(20))
    emulator.fault(**LOST, times=1)
    job = step_until_waiting(request, tools)
    while "r01-s00001" not in job.undecided:
        job.advance()
    assert "does not show batch" in str(job.undecided["r01-s00001"])
    assert emulator.state()["batches_created"] == 2
    emulator.configure(list_lag=0.0, progress="immediate")
    job.run()
    check_table(tmp_path, some_rows(20))
    assert emulator.state()["batches_created"] == 2


def test_a_look_up_without_proof_is_repeated_once_the_other_batches_have_ended(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While another batch ran, its absence from a list that lags said that the list proves nothing."""
    emulator.configure(progress="hold")
    limits = dataclasses.replace(LIMITS, quiet_period=0.0)
    tools, request = tools_for(emulator), a_request(tmp_path, some_rows(20), limits=limits)
    find, calls = runner.find_batches, []

    def without_proof_twice(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) <= 2:
            raise NotProvedAbsentError("it does not show a batch that runs")
        return find(*arguments)

    monkeypatch.setattr(runner, "find_batches", without_proof_twice)
    emulator.fault(**LOST, times=1)
    job = open_job(request, tools)
    assert job.advance() is not None
    emulator.configure(progress="immediate")
    while not all(tools.client.retrieve(batch_id).has_ended for batch_id in job.ledger.active_ids):
        pass
    assert job.advance() is None
    check_table(tmp_path, some_rows(20))
    assert emulator.state()["batches_created"] == 2


def test_a_clear_with_a_rerun_sends_again_what_stays_unknown(emulator: Emulator, tmp_path: Path) -> None:
    """For a person who has checked the dashboard; a retry sends nothing."""
    tools, request = tools_for(emulator), a_request(tmp_path, some_rows(10))
    emulator.configure(list_paging="empty_page")
    run(neighbour(tmp_path), tools)
    emulator.fault(**DROPPED, times=1)
    with pytest.raises(UnknownOutcomeError, match="clear the task with rerun='failed_rows'"):
        run(request, tools)
    with pytest.raises(UnknownOutcomeError):
        run(changed(request, rerun="failed_rows"), tools)
    with pytest.raises(UnknownOutcomeError):
        run(changed(request, era=1), tools)
    assert emulator.state()["batches_created"] == 1
    run(changed(request, rerun="failed_rows", era=2), tools)
    check_table(tmp_path, some_rows(10))
    assert emulator.state()["batches_created"] == 2


SKEWS = [-86_400.0, -1200.0, 1200.0, 86_400.0]


@pytest.mark.parametrize("skew", SKEWS)
@pytest.mark.parametrize("whose", ["the worker", "the service"])
@pytest.mark.parametrize("fault", [LOST, DROPPED], ids=["lost", "dropped"])
def test_a_clock_that_is_wrong_is_no_reason_to_pay_twice(
    emulator: Emulator, tmp_path: Path, skew: float, whose: str, fault: dict[str, Any]
) -> None:
    """Line A2."""
    emulator.configure(clock_skew=skew if whose == "the service" else 0.0)
    tools = job_clock(emulator, lambda: skew if whose == "the worker" else 0.0)
    emulator.fault(**fault, times=1)
    run(a_request(tmp_path, some_rows(10)), tools)
    check_table(tmp_path, some_rows(10))
    assert emulator.state()["batches_created"] == 1
    check_paid_once(emulator)


@pytest.mark.parametrize("skew", SKEWS)
def test_the_trigger_gets_a_wait_in_the_time_of_its_machine(emulator: Emulator, tmp_path: Path, skew: float) -> None:
    emulator.configure(clock_skew=skew, progress="hold")
    tools = job_clock(emulator)
    wait = open_job(a_request(tmp_path, some_rows(5)), tools).advance()
    assert wait is not None
    assert wait.until == pytest.approx(time.time() + skew + LIMITS.timeout, abs=60)
    assert tools.wall(wait.until) == pytest.approx(time.time() + LIMITS.timeout, abs=60)


@pytest.mark.parametrize("leap", [-86_400.0, 86_400.0])
@pytest.mark.parametrize("tells_time", [True, False], ids=["with Date", "without"])
@pytest.mark.parametrize("fault", [LOST, DROPPED], ids=["lost", "dropped"])
def test_a_clock_that_jumps_by_a_day_during_a_wait_neither_pays_twice_nor_delays_the_job(
    emulator: Emulator, tmp_path: Path, leap: float, tells_time: bool, fault: dict[str, Any]
) -> None:
    """Line A2: between two processes of a job, and while the list does not show the batch yet."""
    emulator.configure(tells_time=tells_time, list_lag=0.3, progress="hold")
    emulator.fault(**fault, times=1)
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        time.sleep(min(seconds, 0.5))

    limits = dataclasses.replace(LIMITS, quiet_period=0.5)
    request = a_request(tmp_path, some_rows(10), limits=limits)
    before = dataclasses.replace(job_clock(emulator), sleep=sleep)
    step_until_waiting(request, before)
    emulator.configure(progress="immediate")
    after = dataclasses.replace(job_clock(emulator, lambda: leap), sleep=sleep)
    run(request, after)
    check_table(tmp_path, some_rows(10))
    assert emulator.state()["batches_created"] == 1
    assert max(slept, default=0.0) < 60
    check_paid_once(emulator)


@pytest.mark.parametrize("tells_time", [True, False], ids=["with Date", "without"])
def test_a_clock_that_jumps_past_the_timeout_ends_no_job_whose_batches_still_run(
    emulator: Emulator, tmp_path: Path, tells_time: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """A relative of line A2: the batch itself says that its 24 hours are not over."""
    emulator.configure(tells_time=tells_time, progress="hold")
    request = a_request(tmp_path, some_rows(10))
    step_until_waiting(request, job_clock(emulator))
    leap = LIMITS.timeout + 3600
    for _ in range(2):
        after = job_clock(emulator, lambda: leap)
        job = open_job(request, after)
        wait = job.advance()
        assert wait is not None
        assert job.ledger.closing is None
        assert after.wall(wait.until) > time.time() + leap + 3600
    assert ("The job's timeout is extended" in caplog.text) == (not tells_time)
    emulator.configure(progress="immediate")
    run(request, job_clock(emulator, lambda: leap))
    check_table(tmp_path, some_rows(10))
    assert emulator.state()["batches_created"] == 1


def test_a_duplicate_whose_cancel_fails_is_looked_up_and_cancelled_again(emulator: Emulator, tmp_path: Path) -> None:
    """A relative of line A8: else both would be paid."""
    emulator.configure(progress="seconds:3600")
    tools = tools_for(emulator)
    emulator.fault(**LOST, times=1)
    job = open_job(a_request(tmp_path, some_rows(10)), tools)
    job.advance()
    shard = job.ledger.shards[0]
    metadata = batch_metadata(job.ledger, shard, 1, {})
    twin = tools.client.create(input_file_id=str(shard.file_id), endpoint=job.ledger.endpoint, metadata=metadata)
    assert isinstance(twin, Accepted)
    refused = {"kind": "route_error", "status": 400, "method": "POST", "path": "/v1/batches/*/cancel"}
    emulator.fault(**refused, times=1)
    with pytest.raises(UnknownOutcomeError, match="is a duplicate of"):
        job.run()
    job = open_job(a_request(tmp_path, some_rows(10)), tools)
    job.advance()
    # Whether its cancel has ended, and the other batch's validation, is a question of time.
    assert sorted(status.startswith("cancel") for status in statuses_of(emulator)) == [False, True]
    emulator.configure(progress="immediate")
    job.run()
    check_table(tmp_path, some_rows(10))


class TestAnOldInput:
    """Line A8: cancelled means seen cancelled."""

    @pytest.fixture(autouse=True)
    def _impatient(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(decisions, "CANCEL_PATIENCE", 0.3)

    def _resubmit(self, tmp_path: Path, **changes: Any) -> JobRequest:
        return a_request(tmp_path, some_rows(6), on_changed_input="resubmit", **changes)

    def test_whose_cancel_fails_holds_up_the_new_one(self, emulator: Emulator, tmp_path: Path) -> None:
        emulator.configure(progress="seconds:3600")
        tools = tools_for(emulator)
        step_until_waiting(a_request(tmp_path, some_rows(5)), tools)
        emulator.fault(kind="route_error", status=400, method="POST", path="/v1/batches/*/cancel")
        text = "have not ended after .* 1 batch is still running and will be billed"
        with pytest.raises(NotCancelledError, match=text) as raised:
            open_job(self._resubmit(tmp_path), tools)
        assert raised.value.retryable
        assert emulator.state()["batches_created"] == 1
        emulator.clear_faults()
        job = open_job(self._resubmit(tmp_path), tools)
        emulator.configure(progress="immediate")
        job.run()
        check_table(tmp_path, some_rows(6))
        assert statuses_of(emulator) == ["cancelled", "completed"]

    def test_that_stays_in_cancelling_holds_up_the_new_one(self, emulator: Emulator, tmp_path: Path) -> None:
        emulator.configure(progress="seconds:3600", cancelling_seconds=3600.0)
        tools = tools_for(emulator)
        step_until_waiting(a_request(tmp_path, some_rows(5)), tools)
        with pytest.raises(NotCancelledError):
            open_job(self._resubmit(tmp_path), tools)
        assert statuses_of(emulator) == ["cancelling"]

    def test_of_another_account_holds_up_the_new_one(self, emulator: Emulator, tmp_path: Path) -> None:
        """The new key does not show the batches of the old one."""
        emulator.configure(progress="seconds:3600")
        tools = tools_for(emulator)
        step_until_waiting(a_request(tmp_path, some_rows(5)), tools)
        emulator.fault(kind="route_error", status=404, path="/v1/batches/*", message="No batch found.")
        with pytest.raises(NotFoundError, match="This account has no batch"):
            open_job(self._resubmit(tmp_path), tools)
        assert emulator.state()["batches_created"] == 1

    def test_that_ended_before_the_cancel_arrived_is_reported_as_paid(
        self, emulator: Emulator, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        emulator.configure(progress="hold")
        tools = tools_for(emulator)
        step_until_waiting(a_request(tmp_path, some_rows(5)), tools)
        emulator.fault(kind="cancel_loses_race")
        emulator.configure(progress="immediate")
        with caplog.at_level("WARNING"):
            open_job(self._resubmit(tmp_path), tools).run()
        assert "is completed; 5 answers are paid for, kept by the API and not used" in caplog.text
        check_table(tmp_path, some_rows(6))

    def test_whose_only_create_is_unknown_fails_as_one_whose_batches_run(
        self, emulator: Emulator, tmp_path: Path
    ) -> None:
        emulator.configure(progress="hold")
        tools = tools_for(emulator)
        emulator.fault(**LOST, times=1)
        step_until_waiting(a_request(tmp_path, some_rows(5)), tools)
        with pytest.raises(ChangedInputError, match="which may have made a batch: 1"):
            open_job(a_request(tmp_path, some_rows(6)), tools)
        assert statuses_of(emulator) == ["validating"]

    def test_whose_outcome_is_unknown_holds_up_the_new_one(self, emulator: Emulator, tmp_path: Path) -> None:
        emulator.configure(progress="hold")
        tools = tools_for(emulator)
        emulator.fault(**LOST, times=1)
        step_until_waiting(a_request(tmp_path, some_rows(5)), tools)
        emulator.configure(list_paging="empty_page", list_shows=1)
        step_until_waiting(neighbour(tmp_path, 5), tools)
        with pytest.raises(UnknownOutcomeError):
            open_job(self._resubmit(tmp_path), tools)
        assert emulator.state()["batches_created"] == 2


def test_a_cancel_that_was_refused_at_the_time_out_is_sent_again(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative of line A8: the batch would run on for a day after the task has failed."""
    emulator.configure(progress="seconds:3600")
    tools = tools_for(emulator)
    request = a_request(tmp_path, some_rows(5), limits=dataclasses.replace(LIMITS, timeout=1000.0))
    job = step_until_waiting(request, tools)
    refused = {"kind": "route_error", "status": 400, "method": "POST", "path": "/v1/batches/*/cancel"}
    emulator.fault(**refused, times=1)
    job.tools = dataclasses.replace(tools, clock=lambda: time.time() + 1500)
    job.advance()
    with pytest.raises(JobTimeoutError):
        job.run()
    assert statuses_of(emulator) == ["cancelled"]
