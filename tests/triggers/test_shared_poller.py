"""Triggers that share a poller, in Airflow's own `SharedStreamManager`."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_batch.jobs.ledger.shard_record import ShardRecord
from airflow_provider_batch.jobs.ledger.store import LedgerStore
from airflow_provider_batch.polling import wait_policy
from airflow_provider_batch.storage import resolve
from airflow_provider_batch.triggers import openai_batch, shared_poller
from airflow_provider_batch.triggers.openai_batch import ID_BYTES, OpenAIBatchTrigger, fitting
from airflow_provider_batch.utils import metrics
from tests.airflow_versions import needs_airflow
from tests.api.stub import Reply, Request, StubApi, batch, error
from tests.jobs.ledger.test_store import a_ledger

pytestmark = needs_airflow("3.3", "each trigger polls for itself")

#: What a trigger's arguments were in the first release that had one.
FROZEN = {
    "conn_id": "openai_default",
    "batch_ids": ["b0"],
    "poll_interval": 0.05,
    "until": None,
    "progress": {"shards": 3, "shards_done": 1, "rows": 10, "rows_done": 5, "cost": 0.5},
    "cancel_on_kill": True,
    "wait_for_all": False,
}
#: What this release makes of them.
RENEWED = {**FROZEN, "version": 1}


class Server:
    """An account with batches that a test ends, behind a stub."""

    def __init__(self, stub: StubApi, ids: list[str]) -> None:
        self.stub, self.ids, self.ended = stub, ids, set[str]()
        self.fields: dict[str, Any] = {}
        stub.on("GET", "/batches", self._list)
        for batch_id in ids:
            stub.on("GET", f"/batches/{batch_id}", self._retrieve)

    def _batch(self, batch_id: str) -> dict[str, Any]:
        return batch(batch_id, "completed" if batch_id in self.ended else "in_progress", **self.fields)

    def _retrieve(self, request: Request) -> Reply:
        return Reply(body=self._batch(request.path.rpartition("/")[2]))

    def _list(self, request: Request) -> Reply:
        begin = self.ids.index(request.query["after"]) + 1 if "after" in request.query else 0
        page = [self._batch(batch_id) for batch_id in self.ids[begin : begin + 100]]
        return Reply(body={"data": page, "has_more": len(self.ids) > begin + 100})

    @property
    def calls(self) -> int:
        return len(self.stub.requests)


class Triggerer:
    """Runs triggers as `TriggerRunner.run_trigger` does, each with a log of its own."""

    def __init__(self) -> None:
        from airflow.triggers.shared_stream import SharedStreamManager

        self.manager = SharedStreamManager()
        self.logs: dict[int, list[str]] = {}
        self._number = 0

    def start(self, trigger: OpenAIBatchTrigger) -> asyncio.Task[list[Any]]:
        self._number += 1
        lines = self.logs.setdefault(self._number, [])
        logger = logging.Logger(f"trigger-{self._number}", logging.INFO)
        logger.addHandler(_Lines(lines))
        trigger._log = logger  # type: ignore[attr-defined]
        return asyncio.create_task(self._run(self._number, trigger))

    async def _run(self, number: int, trigger: OpenAIBatchTrigger) -> list[Any]:
        key = trigger.shared_stream_key()
        stream = self.manager.subscribe(trigger_id=number, trigger=trigger, key=key)
        try:
            return [event.payload async for event in trigger.filter_shared_stream(stream)]
        finally:
            await self.manager.unsubscribe(number, key)


class _Lines(logging.Handler):
    def __init__(self, lines: list[str]) -> None:
        super().__init__()
        self.lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.levelname} {record.getMessage()}")


@pytest.fixture(autouse=True)
def _own_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OpenAIBatchTrigger, "log", property(lambda self: self._log))


@pytest.fixture
def conn_id(stub: StubApi, connection: Callable[..., str]) -> str:
    return connection(host=stub.base_url)


def names(count: int) -> list[str]:
    return [f"b{number}" for number in range(count)]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(600):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def fired(*tasks: asyncio.Task[list[Any]]) -> list[Any]:
    async with asyncio.timeout(600):
        return [(await task)[0] for task in tasks]


class TestSharing:
    async def test_one_poller_serves_all_triggers_of_a_connection(self, stub: StubApi, conn_id: str) -> None:
        server, triggerer = Server(stub, names(150)), Triggerer()
        tasks = [triggerer.start(OpenAIBatchTrigger(conn_id, [i], 0.3)) for i in server.ids]
        await until(lambda: all("b" in "".join(lines) for lines in triggerer.logs.values()))
        before = server.calls
        server.ended.update(server.ids)
        events = await fired(*tasks)
        assert [event["ended"] for event in events] == [[i] for i in server.ids]
        assert before < 30
        assert server.calls - before <= 2 * 2 + 150 + 10  # two pages, and each end confirmed
        assert len(shared_poller.subscriptions_of(conn_id).schedule) == 0
        assert triggerer.manager._groups == {}

    async def test_each_is_told_of_its_own_batches_alone(self, stub: StubApi, conn_id: str) -> None:
        server, triggerer = Server(stub, ["b0", "b1"]), Triggerer()
        first = triggerer.start(OpenAIBatchTrigger(conn_id, ["b0"], 0.02, progress={"shards": 7}))
        second = triggerer.start(OpenAIBatchTrigger(conn_id, ["b1"], 0.02, progress={"shards": 9}))
        await until(lambda: all(triggerer.logs.values()))
        server.ended.add("b0")
        await fired(first)
        assert not second.done()
        server.ended.add("b1")
        await fired(second)
        assert triggerer.logs == {1: ["INFO shard 0/7", "INFO shard 1/7"], 2: ["INFO shard 0/9", "INFO shard 1/9"]}

    async def test_one_that_has_ended_is_not_looked_at_again_while_the_others_run(
        self, stub: StubApi, conn_id: str
    ) -> None:
        server, triggerer = Server(stub, names(30)), Triggerer()
        server.ended.update(names(10))
        task = triggerer.start(OpenAIBatchTrigger(conn_id, names(30), 0.02, wait_for_all=True))
        await until(lambda: stub.count("GET", "/v1/batches") >= 6)
        assert all(stub.count("GET", f"/v1/batches/{batch_id}") == 1 for batch_id in names(10))
        server.ended.update(names(30))
        await fired(task)

    async def test_one_that_comes_later_for_the_same_batch_is_told_too(self, stub: StubApi, conn_id: str) -> None:
        server, triggerer = Server(stub, ["b0", "b1"]), Triggerer()
        server.ended.add("b0")
        first = triggerer.start(OpenAIBatchTrigger(conn_id, ["b0", "b1"], 0.02, wait_for_all=True))
        await until(lambda: bool(triggerer.logs[1]))
        late = triggerer.start(OpenAIBatchTrigger(conn_id, ["b0"], 0.02))
        assert (await fired(late))[0]["ended"] == ["b0"]
        server.ended.add("b1")
        await fired(first)

    async def test_a_problem_is_logged_once_by_each_trigger(self, stub: StubApi, conn_id: str) -> None:
        server, triggerer = Server(stub, ["b0", "b1"]), Triggerer()
        is_down = True

        def answer(request: Request) -> Reply:
            return error(503, "overloaded") if is_down else server._retrieve(request)

        for batch_id in server.ids:
            stub.on("GET", f"/batches/{batch_id}", answer)
        tasks = [triggerer.start(OpenAIBatchTrigger(conn_id, [i], 0.02)) for i in server.ids]
        await until(lambda: server.calls >= 8)
        is_down = False
        server.ended.update(server.ids)
        await fired(*tasks)
        for lines in triggerer.logs.values():
            assert sum("polling is retried" in line for line in lines) == 1
            assert lines[-1] == "INFO The batches can be polled again."

    async def test_metrics_say_how_many_batches_are_waited_for(
        self, stub: StubApi, conn_id: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        counts: list[int] = []
        times: list[str] = []
        monkeypatch.setattr(metrics, "batches_active", lambda conn_id, count: counts.append(count))
        monkeypatch.setattr(metrics, "queue_seconds", lambda conn_id, seconds: times.append(f"queued {seconds:.0f}"))
        monkeypatch.setattr(metrics, "batch_seconds", lambda conn_id, status, seconds: times.append(status))
        server, triggerer = Server(stub, ["b0", "b1"]), Triggerer()
        now = int(time.time())
        server.fields = {"created_at": now - 7, "in_progress_at": now}
        tasks = [triggerer.start(OpenAIBatchTrigger(conn_id, [i], 0.02)) for i in server.ids]
        await until(lambda: 2 in counts)
        server.ended.update(server.ids)
        await fired(*tasks)
        assert counts[-1] == 0
        assert sorted(times) == ["completed", "completed", "queued 7", "queued 7"]

    async def test_what_another_is_told_anew_is_not_said_again(
        self, stub: StubApi, conn_id: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sent: list[str] = []
        monkeypatch.setattr(metrics, "batch_seconds", lambda *given: sent.append(given[1]))
        server, triggerer = Server(stub, names(3)), Triggerer()
        stub.on("GET", "/batches/b1", error(404, "No batch found with id 'b1'."))
        server.ended.add("b0")
        first = triggerer.start(OpenAIBatchTrigger(conn_id, names(3), 0.02, wait_for_all=True))
        await until(lambda: any("unknown" in line for line in triggerer.logs[1]))
        second = triggerer.start(OpenAIBatchTrigger(conn_id, ["b0", "b1"], 0.02, wait_for_all=True))
        await fired(second)
        server.ended.add("b2")
        await fired(first)
        assert len([line for line in triggerer.logs[1] if "unknown" in line]) == 1
        assert len(sent) == 3  # b0 once for each, b2 for the first

    async def test_many_that_are_gone_are_one_line(self, stub: StubApi, conn_id: str) -> None:
        triggerer = Triggerer()
        for batch_id in names(40):
            stub.on("GET", f"/batches/{batch_id}", error(404, "No batch found"))
        await fired(triggerer.start(OpenAIBatchTrigger(conn_id, names(40), 0.02, wait_for_all=True)))
        (line,) = [line for line in triggerer.logs[1] if "unknown" in line]
        assert " and 30 more: " in line

    async def test_connections_do_not_share(self, stub: StubApi, connection: Callable[..., str]) -> None:
        Server(stub, ["b0"])
        connection("one", host=stub.base_url)
        keys = [OpenAIBatchTrigger(conn, ["b0"]).shared_stream_key() for conn in ("one", "two", "one")]
        assert keys[0] == keys[2] != keys[1]

    async def test_intervals_differ_and_still_one_poller_serves_both(self, stub: StubApi, conn_id: str) -> None:
        one, two = OpenAIBatchTrigger(conn_id, ["b0"], 5), OpenAIBatchTrigger(conn_id, ["b1"], 60)
        assert one.shared_stream_key() == two.shared_stream_key()

    async def test_a_wait_for_a_moment_alone_shares_nothing(self) -> None:
        assert OpenAIBatchTrigger("c", [], until=1.0).shared_stream_key() is None

    async def test_a_cancelled_one_leaves_nothing_behind(self, stub: StubApi, conn_id: str) -> None:
        server, triggerer = Server(stub, ["b0"]), Triggerer()
        task = triggerer.start(OpenAIBatchTrigger(conn_id, ["b0"], 0.02))
        await until(lambda: server.calls > 2)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert len(shared_poller.subscriptions_of(conn_id).schedule) == 0
        before = server.calls
        await asyncio.sleep(0.1)  # the point is that nothing happens
        assert server.calls == before

    async def test_those_who_come_one_after_the_other_share_rounds(self, stub: StubApi, conn_id: str) -> None:
        server, triggerer = Server(stub, names(20)), Triggerer()
        tasks = [triggerer.start(OpenAIBatchTrigger(conn_id, ["b0"], 60))]
        await until(lambda: server.calls == 1)
        begun = time.monotonic()
        while time.monotonic() - begun < 0.5:
            tasks.append(triggerer.start(OpenAIBatchTrigger(conn_id, ["b0"], 60)))
            await asyncio.sleep(0.02)
        assert server.calls <= 2
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def test_a_stream_that_dies_is_gone_on_without(self, conn_id: str, stub: StubApi) -> None:
        Server(stub, ["b0"]).ended.add("b0")

        async def dead() -> AsyncIterator[Any]:
            raise RuntimeError("the poll died")
            yield

        trigger = OpenAIBatchTrigger(conn_id, ["b0"], 0.02)
        trigger._log = logging.getLogger("dead")  # type: ignore[attr-defined]
        async with asyncio.timeout(600):
            events = [event.payload async for event in trigger.filter_shared_stream(dead())]
        assert events[0]["ended"] == ["b0"]

    async def test_it_fires_at_its_moment_though_the_poller_reports_nothing(self, conn_id: str, stub: StubApi) -> None:
        async def silent() -> AsyncIterator[Any]:
            await asyncio.sleep(60)
            yield

        moment = time.time() + 0.2
        trigger = OpenAIBatchTrigger(conn_id, ["b0"], until=moment)
        async with asyncio.timeout(600):
            events = [event.payload async for event in trigger.filter_shared_stream(silent())]
        assert events == [{"reason": "due", "ended": [], "active": 1}]
        assert time.time() >= moment

    async def test_a_batch_that_stalls_is_named_once_in_the_log(
        self, conn_id: str, stub: StubApi, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AIRFLOW__OPENAI_BATCH__STALLED_AFTER", "600")
        monkeypatch.setattr(wait_policy, "LONGEST_DELAY", 0.05)  # an old batch is polled rarely
        begun = int(time.time()) - 1800
        stub.on(
            "GET",
            "/batches/b0",
            *[batch("b0", "validating", created_at=begun)] * 3,
            *[batch("b0", "finalizing", created_at=begun, finalizing_at=begun + 60)] * 3,
            batch("b0", "completed"),
        )
        shared_poller._shared.clear()
        triggerer = Triggerer()
        await fired(triggerer.start(OpenAIBatchTrigger(conn_id, ["b0"], 0.02)))
        warnings = [line for line in triggerer.logs[1] if line.startswith("WARNING")]
        assert len(warnings) == 2
        assert "b0 has been validating for 30 minutes" in warnings[0]
        assert "b0 has been finalizing for 29 minutes" in warnings[1]


class TestArguments:
    async def test_those_of_the_first_release_still_load(self, conn_id: str, stub: StubApi) -> None:
        Server(stub, ["b0"]).ended.add("b0")
        trigger = OpenAIBatchTrigger(**FROZEN)
        assert trigger.serialize() == ("airflow_provider_batch.triggers.openai_batch.OpenAIBatchTrigger", RENEWED)
        assert (await fired(Triggerer().start(trigger)))[0]["ended"] == ["b0"]

    async def test_those_of_a_later_release_are_kept_named_and_have_no_effect(
        self, conn_id: str, stub: StubApi
    ) -> None:
        """A triggerer that was not updated yet, or was set back, must not fail the tasks of those that were."""
        Server(stub, ["b0"]).ended.add("b0")
        trigger, triggerer = OpenAIBatchTrigger(**FROZEN, colour="blue"), Triggerer()
        assert trigger.serialize()[1] == {**RENEWED, "colour": "blue"}
        assert (await fired(triggerer.start(trigger)))[0]["ended"] == ["b0"]
        assert any("colour" in line for line in triggerer.logs[1])

    def test_a_triggerer_with_queues_takes_it(self) -> None:
        assert OpenAIBatchTrigger.supports_triggerer_queue is True

    def test_what_fits_is_cut_by_bytes(self) -> None:
        ids = [f"batch_{number:032x}" for number in range(1000)]
        assert 150 <= len(fitting(ids)) < 200
        assert fitting(ids[:20]) == ids[:20]
        assert fitting(["x" * ID_BYTES]) == []


class TestManyBatches:
    """A job with more active batches than its trigger's arguments may name."""

    IDS = tuple(f"batch_{number:032x}" for number in range(1000))

    def trigger(self, conn_id: str, folder: str, **given: Any) -> OpenAIBatchTrigger:
        made = OpenAIBatchTrigger(conn_id, self.IDS, 0.05, ledger=folder, **given)
        return OpenAIBatchTrigger(**made.serialize()[1])

    def test_the_arguments_stay_small(self, tmp_path: Path) -> None:
        """Invariant 6."""
        trigger = OpenAIBatchTrigger("openai_default", self.IDS, until=1.8e9, ledger=f"s3://bucket/{'x' * 200}")
        assert len(json.dumps(trigger.serialize()[1])) < 8_000

    def write_ledger(self, folder: Path) -> None:
        """One shard is late, which means that its batch has ended: it is not waited for."""
        shards = [
            ShardRecord(f"r01-s{n + 1:05}", 1, 1, 1, 1, "", batch_id=batch_id) for n, batch_id in enumerate(self.IDS)
        ]
        late = ShardRecord("r01-s02000", 1, 1, 1, 1, "", batch_id="batch_late", late_since=1.0)
        LedgerStore(resolve(str(folder))).begin(a_ledger(shards=(*shards, late)))

    async def test_all_are_watched_with_the_ledgers_help(self, stub: StubApi, conn_id: str, tmp_path: Path) -> None:
        self.write_ledger(tmp_path)
        server = Server(stub, list(self.IDS))
        server.ended.update(self.IDS[-100:])  # none of them fits into the arguments
        triggerer = Triggerer()
        event = (await fired(triggerer.start(self.trigger(conn_id, str(tmp_path)))))[0]
        assert event == {"reason": "ended", "ended": list(self.IDS[-100:]), "active": 900}

    async def test_without_the_ledger_those_that_fit_are_watched(
        self, stub: StubApi, conn_id: str, tmp_path: Path
    ) -> None:
        Server(stub, list(self.IDS)).ended.update(self.IDS[:50])
        triggerer = Triggerer()
        folder = tmp_path / "ledger.json"
        folder.write_text("no ledger")
        event = (await fired(triggerer.start(self.trigger(conn_id, str(tmp_path)))))[0]
        assert event["ended"] == list(self.IDS[:50])
        assert any("cannot be read" in line for line in triggerer.logs[1])

    async def test_a_ledger_that_hangs_is_given_up(
        self, stub: StubApi, conn_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(openai_batch, "LEDGER_TIMEOUT", 0.1)
        monkeypatch.setattr(openai_batch, "_polled_ids", lambda _: time.sleep(0.5))
        Server(stub, list(self.IDS)).ended.update(self.IDS[:50])
        assert await fired(Triggerer().start(self.trigger(conn_id, str(tmp_path))))

    async def test_a_kill_cancels_all(
        self, stub: StubApi, conn_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Invariant 7."""
        self.write_ledger(tmp_path)
        monkeypatch.setattr(openai_batch, "task_state", lambda **_: "failed")
        for batch_id in self.IDS:
            stub.on("POST", f"/batches/{batch_id}/cancel", batch(batch_id, "cancelling"))
        trigger = self.trigger(conn_id, str(tmp_path))
        trigger._log = logging.getLogger("killed")  # type: ignore[attr-defined]
        trigger._task_instance = SimpleNamespace(dag_id="d", task_id="t", run_id="r", map_index=-1)
        await trigger.on_kill()
        assert sum(request.path.endswith("/cancel") for request in stub.requests) == 1000
