"""The trigger on a running event loop, against servers that are slow, broken or gone."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.module_loading import import_string

from airflow_provider_batch.polling import wait_policy
from airflow_provider_batch.triggers import openai_batch
from airflow_provider_batch.triggers.openai_batch import OpenAIBatchTrigger
from tests.airflow_versions import deserialize, needs_airflow, serialize
from tests.api.stub import Reply, Request, StubApi, batch, error
from tests.conftest import SECRET

if TYPE_CHECKING:
    from airflow_provider_batch.emulator.testing import Emulator

ENDED = batch("b1", "completed", total=10, completed=10)


#: Where the trigger reads the state of its task instance.
TASK_STATES = "airflow.sdk.execution_time.task_runner.RuntimeTaskInstance.get_task_states"

LOGGER = "trigger-under-test"
#: Turns of the event loop that a server waits for before it answers.
BEATS = 3


@pytest.fixture(autouse=True)
def _log(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Airflow's own logger goes past pytest's."""
    monkeypatch.setattr(OpenAIBatchTrigger, "log", logging.getLogger(LOGGER))
    caplog.set_level(logging.INFO, LOGGER)


@pytest.fixture
def conn_id(stub: StubApi, connection: Callable[..., str]) -> str:
    return connection(host=stub.base_url, extra={"max_retries": 0, "timeout": 5})


async def event(trigger: OpenAIBatchTrigger, seconds: float = 600) -> dict[str, Any]:
    """The one event of a trigger, after which it must have ended."""
    async with asyncio.timeout(seconds):
        events = [fired.payload async for fired in trigger.run()]
    assert len(events) == 1
    payload: dict[str, Any] = events[0]
    return payload


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what happens in another task or thread."""
    async with asyncio.timeout(600):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def lines(caplog: pytest.LogCaptureFixture, level: int = logging.INFO) -> list[str]:
    """What the trigger has logged."""
    return [record.getMessage() for record in caplog.records if record.name == LOGGER and record.levelno >= level]


class TestArguments:
    def test_they_survive_the_way_to_the_triggerer_and_hold_no_secret(self, conn_id: str) -> None:
        progress = {"shards": 3, "shards_done": 1, "rows": 10, "rows_done": 5, "cost": 0.5}
        trigger = OpenAIBatchTrigger(conn_id, ["b1"], 5.0, until=7.5, progress=progress, cancel_on_kill=False)
        path, kwargs = trigger.serialize()
        again = import_string(path)(**deserialize(serialize(kwargs)))
        assert again.serialize() == (path, kwargs)
        assert SECRET not in f"{kwargs}{trigger!r}"

    def test_two_hundred_batches_stay_small(self) -> None:
        """Invariant 6."""
        ids = [f"batch_{number:032x}" for number in range(150)]
        assert len(json.dumps(OpenAIBatchTrigger("openai_default", ids, until=1.8e9).serialize()[1])) < 8_000

    def test_ids_alone_are_enough(self) -> None:
        assert OpenAIBatchTrigger(conn_id="c", batch_ids=["b1"]).serialize()[1]["poll_interval"] == 60.0


class TestFiring:
    async def test_it_fires_when_the_batch_has_ended(self, stub: StubApi, conn_id: str) -> None:
        stub.on("GET", "/batches/b1", batch("b1"), batch("b1", "finalizing"), ENDED)
        assert await event(OpenAIBatchTrigger(conn_id, ["b1"], 0.01)) == {
            "reason": "ended",
            "ended": ["b1"],
            "active": 0,
        }

    async def test_it_fires_at_its_moment_whatever_happens(self, stub: StubApi, conn_id: str) -> None:
        """Invariant 6."""
        stub.on("GET", "/batches/b1", batch("b1"))
        until = time.time() + 0.3
        assert (await event(OpenAIBatchTrigger(conn_id, ["b1"], 60, until=until)))["reason"] == "due"
        assert until <= time.time()

    async def test_a_wall_clock_that_leaps_forward_brings_its_moment(
        self, stub: StubApi, conn_id: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A machine that slept for an hour: the loop's clock stood still."""
        monkeypatch.setattr(openai_batch, "DEADLINE_CHECK", 0.02)
        leap, clock = [0.0], SimpleNamespace(time=lambda: time.time() + leap[0])
        monkeypatch.setattr(openai_batch, "time", clock)
        for batch_ids in ([], ["b1"]):
            leap[0] = 0.0
            stub.on("GET", "/batches/b1", batch("b1"))
            trigger = OpenAIBatchTrigger(conn_id, batch_ids, 60, until=time.time() + 600)
            waits = asyncio.create_task(event(trigger))
            await asyncio.sleep(0.1)
            assert not waits.done()
            leap[0] = 3600.0
            async with asyncio.timeout(600):
                assert (await waits)["reason"] == "due"

    async def test_a_wall_clock_that_is_set_back_by_a_day_does_not_hold_up_its_moment(
        self, stub: StubApi, conn_id: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(openai_batch, "DEADLINE_CHECK", 0.02)
        leap, clock = [0.0], SimpleNamespace(time=lambda: time.time() + leap[0])
        monkeypatch.setattr(openai_batch, "time", clock)
        stub.on("GET", "/batches/b1", batch("b1"))
        for batch_ids in ([], ["b1"]):
            leap[0] = 0.0
            trigger = OpenAIBatchTrigger(conn_id, batch_ids, 60, until=time.time() + 0.3)
            waits = asyncio.create_task(event(trigger))
            await asyncio.sleep(0.05)
            leap[0] = -86_400.0
            async with asyncio.timeout(600):
                assert (await waits)["reason"] == "due"

    async def test_without_batches_it_waits_for_its_moment_and_asks_nobody(self, stub: StubApi, conn_id: str) -> None:
        until = time.time() + 0.3
        fired = await event(OpenAIBatchTrigger(conn_id, [], 60, until=until))
        assert fired == {"reason": "due", "ended": [], "active": 0}
        assert time.time() >= until
        assert stub.requests == []

    async def test_a_server_that_never_answers_does_not_keep_it_from_its_moment(
        self, stub: StubApi, conn_id: str
    ) -> None:
        stub.on("GET", "/batches/b1", Reply(body=ENDED, delay=3))
        assert (await event(OpenAIBatchTrigger(conn_id, ["b1"], 0.01, until=time.time() + 0.5)))["reason"] == "due"

    async def test_it_wakes_by_the_rule_and_not_for_each_batch(self, stub: StubApi, conn_id: str) -> None:
        ids = [f"b{number}" for number in range(20)]
        for batch_id in ids:
            stub.on("GET", f"/batches/{batch_id}", batch(batch_id))
        stub.on("GET", "/batches/b3", batch("b3", "completed"))
        stub.on("GET", "/batches/b7", batch("b7"), batch("b7"), batch("b7", "expired"))
        fired = await event(OpenAIBatchTrigger(conn_id, ids, 0.01))
        assert fired == {"reason": "ended", "ended": ["b3", "b7"], "active": 18}
        assert stub.count("GET", "/v1/batches/b3") == 1

    async def test_it_can_wait_for_all(self, stub: StubApi, conn_id: str) -> None:
        stub.on("GET", "/batches/b1", ENDED)
        stub.on("GET", "/batches/b2", batch("b2"), batch("b2"), batch("b2", "failed"))
        fired = await event(OpenAIBatchTrigger(conn_id, ["b1", "b2"], 0.01, wait_for_all=True))
        assert fired == {"reason": "ended", "ended": ["b1", "b2"], "active": 0}

    async def test_a_batch_that_the_account_does_not_know_wakes_the_worker(
        self, stub: StubApi, conn_id: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        stub.on("GET", "/batches/b1", error(404, "No batch found with id 'b1'."))
        assert (await event(OpenAIBatchTrigger(conn_id, ["b1"], 0.01)))["ended"] == ["b1"]
        assert stub.count("GET", "/v1/batches/b1") == 2
        assert any("unknown to the account" in line for line in lines(caplog))

    async def test_a_batch_that_is_missing_once_is_not_given_up(self, stub: StubApi, conn_id: str) -> None:
        stub.on("GET", "/batches/b1", error(404, "No batch found"), batch("b1"), error(404, "No batch found"), ENDED)
        assert (await event(OpenAIBatchTrigger(conn_id, ["b1"], 0.01)))["ended"] == ["b1"]
        assert stub.count("GET", "/v1/batches/b1") == 4

    async def test_a_batch_of_the_emulator_is_waited_for(
        self, emulator: Emulator, connection: Callable[..., str]
    ) -> None:
        import openai

        emulator.configure(progress="reads:3")
        sdk = openai.OpenAI(base_url=emulator.base_url, api_key=SECRET)
        line = {"custom_id": "1", "method": "POST", "url": "/v1/embeddings", "body": {"model": "m", "input": "a"}}
        file = sdk.files.create(file=("a.jsonl", json.dumps(line).encode()), purpose="batch")
        made = sdk.batches.create(input_file_id=file.id, endpoint="/v1/embeddings", completion_window="24h")
        trigger = OpenAIBatchTrigger(connection(host=emulator.base_url), [made.id], 0.05)
        assert await event(trigger) == {"reason": "ended", "ended": [made.id], "active": 0}


class TestProblems:
    @pytest.mark.parametrize(
        "reply",
        [
            Reply(drop=True),
            Reply(503, {}),
            error(429, "slow down"),
            error(401, "Incorrect API key"),
            Reply(200, b"<html>"),
            Reply(404, b"<html>", {"Content-Type": "text/html"}),
        ],
        ids=["dropped", "503", "429", "401", "html", "404 of a proxy"],
    )
    async def test_an_error_within_the_time_is_waited_out_and_said_once(
        self, stub: StubApi, conn_id: str, reply: Reply, caplog: pytest.LogCaptureFixture
    ) -> None:
        stub.on("GET", "/batches/b1", batch("b1"), reply, reply, reply, ENDED)
        fired = await event(OpenAIBatchTrigger(conn_id, ["b1"], 0.01, until=time.time() + 60))
        assert fired["ended"] == ["b1"]
        warnings = lines(caplog, logging.WARNING)
        assert len(warnings) == 1
        assert "polling is retried" in warnings[0]
        assert "The batches can be polled again." in lines(caplog)
        assert SECRET not in caplog.text

    async def test_a_rotated_key_is_read_again(
        self, stub: StubApi, connection: Callable[..., str], conn_id: str
    ) -> None:
        def answer(_: object) -> Reply:
            if stub.requests[-1].headers["authorization"] == "Bearer sk-new":
                return Reply(body=ENDED)
            connection(host=stub.base_url, password="sk-new")
            return error(401, "Incorrect API key")

        stub.on("GET", "/batches/b1", answer)
        assert (await event(OpenAIBatchTrigger(conn_id, ["b1"], 0.01)))["ended"] == ["b1"]
        assert len(stub.requests) == 2

    async def test_a_missing_connection_is_waited_out_too(
        self, stub: StubApi, connection: Callable[..., str], airflow_db: None, caplog: pytest.LogCaptureFixture
    ) -> None:
        stub.on("GET", "/batches/b1", ENDED)
        trigger = OpenAIBatchTrigger("late", ["b1"], 0.05, until=time.time() + 30)
        waiting = asyncio.create_task(event(trigger))
        await until(lambda: bool(lines(caplog, logging.WARNING)))
        connection("late", host=stub.base_url)
        assert (await waiting)["ended"] == ["b1"]

    async def test_the_seconds_that_the_server_asks_for_are_kept(self, stub: StubApi, conn_id: str) -> None:
        times: list[float] = []

        def answer(_: object) -> Reply:
            times.append(time.monotonic())
            return error(429, "slow", headers={"Retry-After": "0.4"}) if len(times) == 1 else Reply(body=ENDED)

        stub.on("GET", "/batches/b1", answer)
        await event(OpenAIBatchTrigger(conn_id, ["b1"], 0.01))
        assert times[1] - times[0] >= 0.4

    async def test_problems_that_last_end_the_wait_so_that_the_task_can_fail(
        self, stub: StubApi, conn_id: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(wait_policy, "PROBLEM_PATIENCE", 0.2)
        stub.on("GET", "/batches/b1", error(401, "Incorrect API key"))
        assert await event(OpenAIBatchTrigger(conn_id, ["b1"], 0.01)) == {"reason": "due", "ended": [], "active": 1}


class TestLog:
    async def test_progress_is_logged_at_each_change_and_not_at_each_poll(
        self, stub: StubApi, conn_id: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        half = batch("b1", total=10, completed=5)
        stub.on("GET", "/batches/b1", batch("b1"), batch("b1"), half, half, half, ENDED)
        progress = {"shards": 3, "shards_done": 2, "rows": 30, "rows_done": 20, "cost": 1.5}
        await event(OpenAIBatchTrigger(conn_id, ["b1"], 0.01, progress=progress))
        assert lines(caplog) == [
            "shard 2/3, 20 of 30 rows, 66 %, $1.50 so far",
            "shard 2/3, 25 of 30 rows, 83 %, $1.50 so far",
            "shard 3/3, 30 of 30 rows, 100 %, $1.50 so far",
        ]

    async def test_an_unknown_status_is_said_once_and_waited_out(
        self, stub: StubApi, conn_id: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Invariant 10."""
        odd = batch("b1", "scheduling")
        stub.on("GET", "/batches/b1", odd, odd, odd, ENDED)
        await event(OpenAIBatchTrigger(conn_id, ["b1"], 0.01))
        assert sum("'scheduling'" in line for line in lines(caplog, logging.WARNING)) == 1


class TestEventLoop:
    async def test_it_is_never_held_up(self, stub: StubApi, connection: Callable[..., str]) -> None:
        """Invariant 6: the server answers only once the loop has gone on meanwhile, so a call that blocks it shows."""
        ids = [f"b{number}" for number in range(31)]
        conn_id = connection(host=stub.base_url, extra={"timeout": 600})
        beats, held_up, polls = 0, [], Counter[str]()

        def answer(request: Request) -> Reply:
            before, give_up = beats, time.monotonic() + 300
            while beats < before + BEATS and time.monotonic() < give_up:
                time.sleep(0.005)
            if beats < before + BEATS:
                held_up.append(request.path)
            batch_id = request.path.rpartition("/")[2]
            polls[batch_id] += 1
            return Reply(body=batch(batch_id, "in_progress" if polls[batch_id] == 1 else "completed"))

        async def beat() -> None:
            nonlocal beats
            while True:
                await asyncio.sleep(0.01)
                beats += 1

        for batch_id in ids:
            stub.on("GET", f"/batches/{batch_id}", answer)
        heart = asyncio.create_task(beat())
        await event(OpenAIBatchTrigger(conn_id, ids, 0.01, wait_for_all=True))
        heart.cancel()
        assert min(polls[batch_id] for batch_id in ids) >= 2
        assert held_up == []


@needs_airflow("3.3", "a trigger is not told that its task was ended")
class TestKill:
    @pytest.fixture
    def states(self, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
        """What Airflow says of the task instance, as a test sets it: `answer` is returned, or raised."""
        given: dict[str, Any] = {"answer": {}, "asked": []}

        def get_task_states(**asked: Any) -> Mapping[str, Any]:
            given["asked"].append(asked)
            if isinstance(given["answer"], Exception):
                raise given["answer"]
            answer: Mapping[str, Any] = given["answer"]
            return answer

        monkeypatch.setattr(TASK_STATES, staticmethod(get_task_states))
        return given

    def killed(self, conn_id: str, *, map_index: int = -1, **given: Any) -> OpenAIBatchTrigger:
        trigger = OpenAIBatchTrigger(conn_id, ["b1", "b2"], 0.01, **given)
        instance = {"dag_id": "d", "task_id": "t", "run_id": "r", "map_index": map_index, "try_number": 1}
        trigger._task_instance = SimpleNamespace(**instance)
        return trigger

    def cancelled(self, stub: StubApi) -> list[str]:
        return sorted(r.path.split("/")[3] for r in stub.requests if r.path.endswith("/cancel"))

    @pytest.fixture(autouse=True)
    def _server(self, stub: StubApi, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(openai_batch, "FIRST_POLL", 0.01)
        for batch_id in ("b1", "b2"):
            stub.on("POST", f"/batches/{batch_id}/cancel", batch(batch_id, "cancelling"))

    @pytest.mark.parametrize("state", ["success", "failed", "skipped", "upstream_failed", "removed"])
    async def test_a_finished_task_has_its_batches_cancelled(
        self, stub: StubApi, conn_id: str, states: dict[str, Any], state: str
    ) -> None:
        """Invariant 7."""
        states["answer"] = {"r": {"t": state}}
        await self.killed(conn_id).on_kill()
        assert self.cancelled(stub) == ["b1", "b2"]

    async def test_it_goes_on_although_airflow_cancels_it_again_and_again(
        self, stub: StubApi, conn_id: str, states: dict[str, Any]
    ) -> None:
        """Invariant 7: Airflow 3.3 repeats its cancellation at each turn of the triggerer's loop."""
        states["answer"] = {"r": {"t": "failed"}}
        stub.on("POST", "/batches/b1/cancel", Reply(body=batch("b1", "cancelling"), delay=0.3))
        killing = asyncio.create_task(self.killed(conn_id).on_kill())
        while not killing.done():
            await asyncio.sleep(0.02)
            killing.cancel()
        assert self.cancelled(stub) == ["b1", "b2"]

    async def test_a_task_that_is_gone_has_its_batches_cancelled(
        self, stub: StubApi, conn_id: str, states: dict[str, Any]
    ) -> None:
        await self.killed(conn_id).on_kill()
        assert self.cancelled(stub) == ["b1", "b2"]
        assert states["asked"] == [{"dag_id": "d", "task_ids": ["t"], "run_ids": ["r"], "map_index": -1}]

    @pytest.mark.parametrize(
        "state", ["deferred", "scheduled", "queued", "running", "restarting", "up_for_retry", "up_for_reschedule", None]
    )
    async def test_a_task_that_goes_on_keeps_its_batches(
        self, stub: StubApi, conn_id: str, states: dict[str, Any], state: str | None
    ) -> None:
        """Invariant 7: a clear, a redeployment, a pause and a take-over all look like this."""
        states["answer"] = {"r": {"t": state}}
        await self.killed(conn_id).on_kill()
        assert self.cancelled(stub) == []

    async def test_a_mapped_task_is_asked_for_by_its_index(
        self, stub: StubApi, conn_id: str, states: dict[str, Any]
    ) -> None:
        states["answer"] = {"r": {"t_2": "deferred", "t_3": "failed"}}
        await self.killed(conn_id, map_index=2).on_kill()
        assert self.cancelled(stub) == []
        await self.killed(conn_id, map_index=3).on_kill()
        assert self.cancelled(stub) == ["b1", "b2"]

    async def test_in_doubt_nothing_is_cancelled_and_the_ids_are_logged(
        self, stub: StubApi, conn_id: str, states: dict[str, Any], caplog: pytest.LogCaptureFixture
    ) -> None:
        """Invariant 7."""
        states["answer"] = RuntimeError("no supervisor")
        await self.killed(conn_id).on_kill()
        nobody = OpenAIBatchTrigger(conn_id, ["b1", "b2"])
        await nobody.on_kill()
        assert self.cancelled(stub) == []
        assert sum("b1, b2" in line for line in lines(caplog, logging.ERROR)) == 2

    async def test_a_lookup_that_hangs_is_given_up(
        self, stub: StubApi, conn_id: str, states: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(openai_batch, "KILL_TIMEOUT", 0.1)
        monkeypatch.setattr(TASK_STATES, staticmethod(lambda **_: time.sleep(0.5)))
        await self.killed(conn_id).on_kill()
        assert self.cancelled(stub) == []

    async def test_nothing_is_cancelled_once_it_has_fired(
        self, stub: StubApi, conn_id: str, states: dict[str, Any]
    ) -> None:
        stub.on("GET", "/batches/b1", ENDED)
        stub.on("GET", "/batches/b2", batch("b2"))
        trigger = self.killed(conn_id)
        await event(trigger)
        await trigger.on_kill()
        assert self.cancelled(stub) == []
        assert states["asked"] == []

    async def test_nothing_is_cancelled_when_the_user_said_so(
        self, stub: StubApi, conn_id: str, states: dict[str, Any]
    ) -> None:
        await self.killed(conn_id, cancel_on_kill=False).on_kill()
        assert self.cancelled(stub) == []

    async def test_one_that_cannot_be_cancelled_does_not_keep_the_other(
        self, stub: StubApi, conn_id: str, states: dict[str, Any], caplog: pytest.LogCaptureFixture
    ) -> None:
        stub.on("POST", "/batches/b1/cancel", Reply(500, {}))
        await self.killed(conn_id).on_kill()
        assert self.cancelled(stub) == ["b1", "b2"]
        assert any(line.startswith("Batch b1 could not be cancelled") for line in lines(caplog, logging.ERROR))

    async def test_a_stopped_triggerer_cancels_nothing(self, stub: StubApi, conn_id: str) -> None:
        """Invariant 7: a stop cancels the trigger's task and calls `cleanup`."""
        stub.on("GET", "/batches/b1", batch("b1"))
        stub.on("GET", "/batches/b2", batch("b2"))
        trigger = self.killed(conn_id)
        running = asyncio.create_task(event(trigger))
        await until(lambda: bool(stub.requests))
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await trigger.cleanup()
        assert self.cancelled(stub) == []
