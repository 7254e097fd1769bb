"""Several jobs with `if_exists="error"` and one destination: one lands, and the others send nothing."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_batch import storage
from airflow_provider_batch.emulator.testing import Emulator
from airflow_provider_batch.exceptions import ConfigurationError, JobTakenError, JobTimeoutError, OpenAIBatchError
from airflow_provider_batch.jobs import table_claims
from airflow_provider_batch.jobs.identity import Identity
from airflow_provider_batch.jobs.job_request import JobRequest
from airflow_provider_batch.jobs.opening.attempt import open_job, resume_job
from airflow_provider_batch.loader import load
from airflow_provider_batch.loader.load import LoadRequest, load_batches
from airflow_provider_batch.table.file_names import CLAIM
from tests.jobs.support import (
    LIMITS,
    a_request,
    changed,
    check_table,
    faster,
    run,
    some_rows,
    step_until_waiting,
    tools_for,
)


def by(task: str, tmp_path: Path, rows: Any = None, **changes: Any) -> JobRequest:
    """A request of another task for the same destination."""
    request = a_request(tmp_path, some_rows(5) if rows is None else rows, **changes)
    return changed(request, identity=Identity("dag", task, "run"))


def claim(tmp_path: Path) -> dict[str, Any] | None:
    path = tmp_path / "table" / CLAIM
    return json.loads(path.read_text()) if path.exists() else None


def test_of_two_tasks_that_start_together_one_lands_and_the_other_sends_nothing(
    emulator: Emulator, tmp_path: Path
) -> None:
    emulator.configure(progress="hold")
    first, second, tools = by("first", tmp_path), by("second", tmp_path, some_rows(7)), tools_for(emulator)
    job = step_until_waiting(first, tools)
    assert claim(tmp_path) is not None
    for _ in range(2):
        with pytest.raises(
            ConfigurationError, match=rf"job {job.ledger.job}, which is not finished, has claimed .* Wait"
        ):
            run(second, tools)
    emulator.configure(progress="immediate")
    resume_job(first, tools, job.key).run()
    check_table(tmp_path, some_rows(5))
    assert claim(tmp_path) is None
    with pytest.raises(ConfigurationError, match="expected no table of another job"):
        run(second, tools)
    assert emulator.state()["batches_created"] == 1


@pytest.mark.parametrize("moment", ["checked", "begun"])
def test_a_task_that_had_checked_before_the_other_claimed_sends_nothing(
    emulator: Emulator, tmp_path: Path, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both have seen an empty folder; the faster one may even have landed before the slower one claims."""
    tools, due = tools_for(emulator), [by("fast", tmp_path)]
    name = {"checked": "claim_table", "begun": "check_still_claimed"}[moment]
    module = {"checked": "opening.attempt", "begun": "runner"}[moment]
    going_on = getattr(table_claims, name)

    def overtaken(*args: Any) -> None:
        if due:
            run(due.pop(), tools)
        going_on(*args)

    monkeypatch.setattr(f"airflow_provider_batch.jobs.{module}.{name}", overtaken)
    with pytest.raises(ConfigurationError, match="expected no table of another job"):
        run(by("slow", tmp_path, some_rows(7)), tools)
    check_table(tmp_path, some_rows(5))
    assert emulator.state()["batches_created"] == 1
    assert claim(tmp_path) is None


def test_an_attempt_that_claims_after_a_later_one_has_landed_leaves_no_claim(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request, tools = by("task", tmp_path), tools_for(emulator)
    claim_as_before = table_claims._claim

    def slow(*args: Any) -> None:
        monkeypatch.setattr(table_claims, "_claim", claim_as_before)
        run(request, tools)
        claim_as_before(*args)

    monkeypatch.setattr(table_claims, "_claim", slow)
    with pytest.raises(JobTakenError):
        run(request, tools)
    check_table(tmp_path, some_rows(5))
    assert claim(tmp_path) is None
    assert emulator.state()["batches_created"] == 1


def test_a_retry_enters_its_own_claim_again(emulator: Emulator, tmp_path: Path) -> None:
    emulator.configure(progress="hold")
    request, tools = by("first", tmp_path), tools_for(emulator)
    for _ in range(3):
        step_until_waiting(request, tools)
    emulator.configure(progress="immediate")
    run(request, tools)
    check_table(tmp_path, some_rows(5))
    assert (claim(tmp_path), emulator.state()["batches_created"]) == (None, 1)


class TestAnUnusedClaim:
    """It is taken over where its owner's ledger proves that it sends nothing."""

    def test_of_a_job_that_sent_nothing(self, emulator: Emulator, tmp_path: Path) -> None:
        first, second, tools = by("first", tmp_path), by("second", tmp_path, some_rows(7)), tools_for(emulator)
        held = open_job(first, tools)
        run(second, tools)
        with pytest.raises(ConfigurationError, match="expected no table of another job"):
            held.run()  # it checks once more before its first batch
        check_table(tmp_path, some_rows(7))
        assert emulator.state()["batches_created"] == 1

    def test_of_a_job_whose_time_is_over(self, emulator: Emulator, tmp_path: Path) -> None:
        emulator.configure(progress="seconds:3600")
        limits = dataclasses.replace(LIMITS, timeout=1000.0)
        first, tools = by("first", tmp_path, limits=limits), tools_for(emulator)
        job = step_until_waiting(first, tools)
        with pytest.raises(JobTimeoutError):
            resume_job(first, faster(tools, 2000), job.key).run()
        shutil.rmtree(tmp_path / "table")  # what it had landed is not wanted
        emulator.configure(progress="immediate")
        run(by("second", tmp_path, some_rows(7)), tools)
        check_table(tmp_path, some_rows(7))

    def test_of_a_job_whose_batches_were_refused(self, emulator: Emulator, tmp_path: Path) -> None:
        emulator.fault(kind="refuse_file", message="No good.", times=1)
        first, second, tools = by("first", tmp_path), by("second", tmp_path, some_rows(7)), tools_for(emulator)
        with pytest.raises(OpenAIBatchError):
            run(first, tools)
        emulator.configure(progress="hold")
        step_until_waiting(second, tools)
        with pytest.raises(ConfigurationError, match="has claimed"):
            run(first, tools)  # a clear finds the other one at work
        emulator.configure(progress="immediate")
        run(second, tools)
        check_table(tmp_path, some_rows(7))

    @pytest.mark.parametrize("gone", ["ledger", "table"])
    def test_of_a_job_that_is_gone_or_finished(self, emulator: Emulator, tmp_path: Path, gone: str) -> None:
        first, tools = by("first", tmp_path), tools_for(emulator)
        job = open_job(first, tools)
        kept = (tmp_path / "table" / CLAIM).read_bytes()
        job.run()
        for path in (tmp_path / "table").glob("*"):
            path.unlink()
        (tmp_path / "table" / CLAIM).write_bytes(kept)  # as if it had been killed before it could release it
        if gone == "ledger":
            shutil.rmtree(tmp_path / "state")
        run(by("second", tmp_path, some_rows(7)), tools)
        check_table(tmp_path, some_rows(7))
        assert claim(tmp_path) is None


def test_a_claim_whose_ledger_cannot_be_read_is_respected_and_says_what_to_do(
    emulator: Emulator, tmp_path: Path
) -> None:
    job = open_job(by("first", tmp_path), tools_for(emulator))
    job.store.location.write(b"\x00" * 10)
    with pytest.raises(ConfigurationError, match=rf"It is not known whether .* remove .*/table/{CLAIM}"):
        run(by("second", tmp_path), tools_for(emulator))
    assert emulator.state()["batches_created"] == 0


def test_a_job_with_batches_continues_although_its_claim_is_gone(emulator: Emulator, tmp_path: Path) -> None:
    """Its batches are paid for, whoever removed the file and took the folder."""
    emulator.configure(progress="hold")
    first, tools = by("first", tmp_path), tools_for(emulator)
    job = step_until_waiting(first, tools)
    (tmp_path / "table" / CLAIM).unlink()
    step_until_waiting(by("second", tmp_path, some_rows(1)), tools)
    emulator.configure(progress="immediate")
    assert run(first, tools)["rows"] == 5
    assert emulator.state()["batches_created"] == 2
    assert job.ledger.batch_ids


def test_append_and_replace_need_no_claim(emulator: Emulator, tmp_path: Path) -> None:
    emulator.configure(progress="hold")
    tools = tools_for(emulator)
    step_until_waiting(by("first", tmp_path), tools)
    emulator.configure(progress="immediate")
    assert run(by("second", tmp_path, if_exists="append"), tools)["rows"] == 5
    assert run(by("third", tmp_path, if_exists="replace"), tools)["rows"] == 5


def test_the_loader_respects_a_claim(emulator: Emulator, tmp_path: Path) -> None:
    tools = tools_for(emulator)
    limits = dataclasses.replace(LIMITS, lands=False)
    ids = run(by("foreign", tmp_path, destination=None, limits=limits), tools)["batch_ids"]
    emulator.configure(progress="hold")
    step_until_waiting(by("first", tmp_path), tools)
    request = LoadRequest(ids, str(tmp_path / "table"), state=storage.resolve(str(tmp_path / "state")))
    with pytest.raises(ConfigurationError, match="has claimed"):
        load_batches(request, tools)
    assert load_batches(changed(request, if_exists="append"), tools)["rows"] == 5


def a_load(emulator: Emulator, tmp_path: Path, name: str) -> LoadRequest:
    """A request to land batches of a job that has landed nothing."""
    limits = dataclasses.replace(LIMITS, lands=False)
    ids = run(by(name, tmp_path, destination=None, limits=limits), tools_for(emulator))["batch_ids"]
    return LoadRequest(list(ids), str(tmp_path / "table"), state=storage.resolve(str(tmp_path / "state")))


def test_of_two_loaders_and_a_job_that_work_at_the_same_time_one_lands(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (a_load(emulator, tmp_path, name) for name in ("first", "second"))
    tools, landing, created = tools_for(emulator), load._land, emulator.state()["batches_created"]

    def others_come_meanwhile(*args: Any) -> None:
        monkeypatch.undo()
        with pytest.raises(ConfigurationError, match=r"a loader, which lands batches .* has claimed this folder"):
            load_batches(second, tools)
        with pytest.raises(ConfigurationError, match="has claimed this folder"):
            run(by("third", tmp_path), tools)
        landing(*args)

    monkeypatch.setattr(load, "_land", others_come_meanwhile)
    assert load_batches(first, tools)["rows"] == 5
    check_table(tmp_path, some_rows(5))
    assert claim(tmp_path) is None
    with pytest.raises(ConfigurationError, match="expected no table of another job"):
        load_batches(second, tools)
    assert claim(tmp_path) is None
    assert emulator.state()["batches_created"] == created


def test_a_loader_that_lands_while_another_claims_is_noticed_before_anything_is_published(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (a_load(emulator, tmp_path, name) for name in ("first", "second"))
    tools, claiming = tools_for(emulator), table_claims._claim

    def overtaken(*args: Any) -> None:
        monkeypatch.undo()
        load_batches(first, tools)
        claiming(*args)

    monkeypatch.setattr(table_claims, "_claim", overtaken)
    with pytest.raises(ConfigurationError, match="expected no table of another job"):
        load_batches(second, tools)
    check_table(tmp_path, some_rows(5))
    assert claim(tmp_path) is None


def test_the_claim_of_a_killed_loader_is_taken_over_by_the_same_load_alone(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (a_load(emulator, tmp_path, name) for name in ("first", "second"))
    tools = tools_for(emulator)
    monkeypatch.setattr(load, "_land", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    monkeypatch.setattr(table_claims, "_release", lambda *_: None)
    with pytest.raises(KeyboardInterrupt):
        load_batches(first, tools)
    monkeypatch.undo()
    with pytest.raises(ConfigurationError, match=r"killed, run it again, or remove .*_claim\.json"):
        load_batches(second, tools)
    assert load_batches(first, tools)["rows"] == 5
    assert claim(tmp_path) is None
