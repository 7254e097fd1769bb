"""Mapped instances of a task: a job for each, also where inputs are equal and where a clear changes their order."""

from __future__ import annotations

import dataclasses
import logging
import random
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_batch.api.client import BatchClient
from airflow_provider_batch.api.settings import ClientSettings
from airflow_provider_batch.emulator.testing import Emulator
from airflow_provider_batch.exceptions import JobTakenError, StorageError
from airflow_provider_batch.jobs.job_request import JobRequest, Tools
from airflow_provider_batch.jobs.ledger.store import LedgerStore, job_folder
from airflow_provider_batch.jobs.opening import mapped_instances
from airflow_provider_batch.jobs.opening.attempt import open_job, resume_job
from airflow_provider_batch.storage import Location
from tests.jobs.support import a_request, run, step_until_waiting, table, tools_for

#: Opening a job asks the API nothing.
UNREACHABLE = Tools(client=BatchClient(ClientSettings(api_key="none", base_url="http://127.0.0.1:1/v1")))


def rows_of(name: str) -> list[dict[str, Any]]:
    return [{"key": f"{name}{n}", "text": f"{name} {n}"} for n in range(2)]


def instance(tmp_path: Path, name: str, index: int, clear_number: int = 0) -> JobRequest:
    """What a mapped instance asks for after that many clears of all instances."""
    changes = {"if_exists": "append", "era": clear_number, "clear_number": clear_number}
    return a_request(tmp_path, rows_of(name), map_index=index, **changes)


def landed(tmp_path: Path) -> Counter[str]:
    return Counter(key for (key,) in table(tmp_path, "key", "key"))


def due(inputs: list[str]) -> Counter[str]:
    return Counter(row["key"] for name in inputs for row in rows_of(name))


def executed(emulator: Emulator) -> int:
    return int(emulator.state()["executions"]["executed"])


def ledger_reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    read: list[str] = []
    read_or_none = Location.read_or_none

    def counted(self: Location) -> bytes | None:
        read.append(self.path)
        return read_or_none(self)

    monkeypatch.setattr(Location, "read_or_none", counted)
    return read


class TestEqualInputs:
    def test_are_a_job_for_each_instance(self, emulator: Emulator, tmp_path: Path) -> None:
        tools = tools_for(emulator)
        for index in (0, 1):
            run(instance(tmp_path, "a", index), tools)
        assert landed(tmp_path) == due(["a", "a"])
        assert executed(emulator) == 4

    def test_are_a_job_for_each_instance_while_the_first_is_in_flight(self, emulator: Emulator, tmp_path: Path) -> None:
        emulator.configure(progress="hold")
        tools = tools_for(emulator)
        waiting = [step_until_waiting(instance(tmp_path, "a", index), tools) for index in (0, 1)]
        emulator.configure(progress="immediate")
        for index, job in enumerate(waiting):
            resume_job(instance(tmp_path, "a", index), tools, job.key).run()
        assert landed(tmp_path) == due(["a", "a"])
        assert emulator.state()["batches_created"] == 2

    @pytest.mark.parametrize("state", ["deferred", "success", "up_for_retry"])
    def test_of_an_instance_that_was_not_cleared_leave_it_its_job(
        self, emulator: Emulator, tmp_path: Path, state: str
    ) -> None:
        tools = tools_for(emulator)
        run(instance(tmp_path, "a", 0), tools)
        asked = dataclasses.replace(tools, sibling_state=lambda _: state)
        run(instance(tmp_path, "a", 1, clear_number=1), asked)
        assert landed(tmp_path) == due(["a", "a"])

    def test_of_an_instance_that_runs_are_not_paid_for_before_its_job_is_known(
        self, emulator: Emulator, tmp_path: Path
    ) -> None:
        tools = tools_for(emulator)
        run(instance(tmp_path, "a", 0), tools)
        asked = dataclasses.replace(
            tools,
            sibling_state=lambda _: "running",
            sleep=lambda _: None,
        )
        with pytest.raises(JobTakenError, match=r"map index 0 is running .* Nothing was sent"):
            open_job(instance(tmp_path, "a", 1, clear_number=1), asked)
        assert executed(emulator) == 2


class TestAClear:
    def test_that_swaps_the_inputs_swaps_the_jobs_while_both_instances_run(
        self, emulator: Emulator, tmp_path: Path
    ) -> None:
        """Each sees that the other one runs, waits for it, and continues once it has left its job."""
        tools = tools_for(emulator)
        for index, name in enumerate("ab"):
            run(instance(tmp_path, name, index), tools)
        started: list[JobRequest] = []

        def second_starts(_: float) -> None:
            if not started:
                started.append(instance(tmp_path, "a", 1, clear_number=1))
                run(started[0], dataclasses.replace(tools, sibling_state=lambda _: "running"))

        asked = dataclasses.replace(tools, sibling_state=lambda _: "running", sleep=second_starts)
        run(instance(tmp_path, "b", 0, clear_number=1), asked)
        assert started
        assert landed(tmp_path) == due(["a", "b"])
        assert executed(emulator) == 4

    def test_takes_a_job_from_an_attempt_that_is_resumed_later(self, emulator: Emulator, tmp_path: Path) -> None:
        emulator.configure(progress="hold")
        tools = tools_for(emulator)
        job = step_until_waiting(instance(tmp_path, "a", 0), tools)
        step_until_waiting(instance(tmp_path, "a", 1, clear_number=1), tools)
        with pytest.raises(JobTakenError, match="this job is map index 1's"):
            resume_job(instance(tmp_path, "a", 0), tools, job.key)
        assert emulator.state()["batches_created"] == 1

    def test_that_gives_an_instance_a_new_input_leaves_its_old_job_to_the_one_that_has_it(
        self, emulator: Emulator, tmp_path: Path
    ) -> None:
        tools = tools_for(emulator)
        run(instance(tmp_path, "a", 0), tools)
        run(instance(tmp_path, "a", 1, clear_number=1), tools)
        run(instance(tmp_path, "b", 0, clear_number=1), tools)
        assert landed(tmp_path) == due(["a", "b"])
        run(instance(tmp_path, "b", 0, clear_number=2), tools)
        run(instance(tmp_path, "a", 1, clear_number=2), tools)
        assert landed(tmp_path) == due(["a", "b"])
        assert executed(emulator) == 4

    @pytest.mark.parametrize("stays", [0, 1])
    def test_takes_no_job_that_another_instance_has_taken_since(
        self, emulator: Emulator, tmp_path: Path, stays: int
    ) -> None:
        moves, tools = 1 - stays, tools_for(emulator)
        for index, name in enumerate("aab"):
            open_job(instance(tmp_path, name, index), tools)
        kept = open_job(instance(tmp_path, "a", stays, clear_number=1), tools)
        taken = open_job(instance(tmp_path, "a", 2, clear_number=1), tools)
        rest = open_job(instance(tmp_path, "b", moves, clear_number=1), tools)
        assert len({job.ledger.job for job in (kept, taken, rest)}) == 3
        assert kept.ledger.identity.map_index == stays
        assert rest.ledger.identity.map_index == 2

    @given(data=st.data())
    @settings(max_examples=6, deadline=None)
    def test_in_whatever_order_leaves_each_instance_a_ledger_of_its_own(self, data: st.DataObject) -> None:
        """Nothing is sent here: as many ledgers as instances, none has two claimants."""
        inputs = data.draw(st.lists(st.sampled_from("ab"), min_size=2, max_size=4))
        with TemporaryDirectory() as folder:
            for clears in range(data.draw(st.integers(1, 3))):
                inputs = data.draw(st.permutations(inputs))
                jobs = {}
                for index in data.draw(st.permutations(range(len(inputs)))):
                    job = open_job(instance(Path(folder), inputs[index], index, clears), UNREACHABLE)
                    jobs[index] = job.ledger.job
                    assert job.ledger.claimed_by.map_index == index
                assert len(set(jobs.values())) == len(inputs)
            assert len(list(Path(folder).glob("state/*/*/ledger.json"))) == len(inputs)

    @pytest.mark.parametrize("seed", range(2))
    def test_in_whatever_order_pays_for_each_input_once_and_lands_each_row_once(
        self, emulator: Emulator, tmp_path: Path, seed: int
    ) -> None:
        """Random inputs with duplicates; instances start in any order, and some are in flight when they are cleared."""
        choice = random.Random(seed)
        inputs = choice.choices("abc", k=4)
        emulator.configure(progress="immediate")
        tools = tools_for(emulator)
        for clears in range(3):
            choice.shuffle(inputs)
            for index in choice.sample(range(len(inputs)), len(inputs)):
                request = instance(tmp_path, inputs[index], index, clears)
                if clears < 2 and choice.random() < 0.4:
                    step_until_waiting(request, tools)
                else:
                    run(request, tools)
        assert landed(tmp_path) == due(inputs)
        assert executed(emulator) == 2 * len(inputs)


class TestOpening:
    def test_costs_the_same_however_many_instances_there_are(
        self, emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        emulator.configure(progress="hold")
        tools = tools_for(emulator)
        counts = {}
        for index in range(6):
            with monkeypatch.context() as patch:
                read = ledger_reads(patch)
                open_job(instance(tmp_path, f"i{index}", index), tools)
                counts[index] = len(read)
        assert counts[5] == counts[0]
        with monkeypatch.context() as patch:
            read = ledger_reads(patch)
            open_job(instance(tmp_path, "i0", 5, clear_number=1), tools)
        others = [job_folder(instance(tmp_path, "", n).state, instance(tmp_path, "", n).identity) for n in (1, 2, 3, 4)]
        assert not [path for path in read if path.startswith(tuple(folder.path for folder in others))]

    def test_skips_a_ledger_of_another_instance_that_cannot_be_read(
        self, emulator: Emulator, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        tools = tools_for(emulator)
        broken = instance(tmp_path, "a", 0)
        run(broken, tools)
        _break(broken)
        with caplog.at_level(logging.WARNING):
            run(instance(tmp_path, "b", 1, clear_number=1), tools)
        assert "cannot be read" not in caplog.text
        for mark in (tmp_path / "state").glob("*/inputs/*"):
            mark.unlink()  # as release 0.1 left it
        with caplog.at_level(logging.WARNING):
            run(instance(tmp_path, "c", 2, clear_number=1), tools)
        assert "cannot be read" in caplog.text

    def test_stops_where_the_ledger_of_this_very_input_cannot_be_read(self, emulator: Emulator, tmp_path: Path) -> None:
        tools = tools_for(emulator)
        broken = instance(tmp_path, "a", 0)
        run(broken, tools)
        _break(broken)
        with pytest.raises(StorageError, match="expected the ledger of a job"):
            open_job(instance(tmp_path, "a", 1, clear_number=1), tools)
        assert executed(emulator) == 2


def _break(request: JobRequest) -> None:
    LedgerStore(job_folder(request.state, request.identity)).location.write(b"\x00")


def test_an_attempt_that_loses_the_moved_job_to_another_of_its_instance_begins_none(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was held between reading the ledger and claiming it; beginning a new generation would pay again."""
    tools = tools_for(emulator)
    run(instance(tmp_path, "a", 0), tools)
    run(instance(tmp_path, "b", 1), tools)
    claim = mapped_instances.claim

    def overtaken(*args: Any) -> Any:
        monkeypatch.undo()
        run(instance(tmp_path, "a", 1, clear_number=1), tools)
        return claim(*args)

    monkeypatch.setattr(mapped_instances, "claim", overtaken)
    with pytest.raises(JobTakenError):
        open_job(instance(tmp_path, "a", 1, clear_number=1), tools)
    assert executed(emulator) == 4


def test_an_attempt_from_before_the_clear_loses_the_job_that_its_instance_has_left(
    emulator: Emulator, tmp_path: Path
) -> None:
    tools = tools_for(emulator)
    run(instance(tmp_path, "a", 0), tools)
    earlier = open_job(instance(tmp_path, "b", 1), tools)
    run(instance(tmp_path, "a", 1, clear_number=1), tools)
    with pytest.raises(JobTakenError):
        earlier.advance()
    assert executed(emulator) == 2


def test_a_moved_job_is_claimed_although_an_earlier_attempt_still_writes_to_it(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = tools_for(emulator)
    earlier = open_job(instance(tmp_path, "a", 0), tools)
    claim = mapped_instances.claim

    def after_an_event(*args: Any) -> Any:
        monkeypatch.undo()
        earlier.advance()
        return claim(*args)

    monkeypatch.setattr(mapped_instances, "claim", after_an_event)
    run(instance(tmp_path, "a", 1, clear_number=1), tools)
    assert landed(tmp_path) == due(["a"])
    assert executed(emulator) == 2
