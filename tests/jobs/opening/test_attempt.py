"""What a later attempt makes of what it finds, when the task has changed or its mapped index has moved meanwhile."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import msgspec
import pytest

from airflow_provider_batch import storage
from airflow_provider_batch.emulator.testing import Emulator
from airflow_provider_batch.exceptions import JobError, JobFailedError, JobTimeoutError, SourceError
from airflow_provider_batch.jobs import runner
from airflow_provider_batch.jobs.opening.attempt import open_job, resume_job
from airflow_provider_batch.requests.row_checksum import NO_ROWS
from tests.jobs.support import (
    LIMITS,
    a_request,
    check_paid_once,
    check_table,
    faster,
    run,
    some_rows,
    statuses,
    step_until_waiting,
    table,
    tools_for,
)


def test_files_in_prompts_are_read_through_the_jobs_storage(emulator: Emulator, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    asked: list[str] = []

    def resolve(uri: str) -> storage.Location:
        asked.append(uri)
        return storage.resolve(uri.replace("lake://", f"{tmp_path}/"))

    request = a_request(tmp_path, [{"text": "lake://a.png"}], spec={"data_urls": ["text"]})
    assert run(request, tools_for(emulator, resolve=resolve))["statuses"] == {"succeeded": 1}
    assert "lake://a.png" in asked


def remove_table(tmp_path: Path) -> None:
    for path in (tmp_path / "table").glob("*"):
        if path.is_file():
            path.unlink()


class TestTwoMappedTasksWithSwappedInputs:
    def test_rerun_their_own_inputs_each_and_lose_no_row(self, emulator: Emulator, tmp_path: Path) -> None:
        """Invariants 1 and 3: a generation stays with the folder and the name of the job that it follows."""
        first, second = some_rows(5), [{"key": f"z{n}", "text": f"other {n}"} for n in range(5)]
        tools = tools_for(emulator)
        run(a_request(tmp_path, first, map_index=0, if_exists="append"), tools)
        run(a_request(tmp_path, second, map_index=1, if_exists="append"), tools)
        changes = {"if_exists": "append", "rerun": "all", "era": 1}
        for index, rows in enumerate((second, first)):
            emulator.configure(progress="hold")
            request = a_request(tmp_path, rows, map_index=index, **changes)
            job = step_until_waiting(request, tools)
            emulator.configure(progress="immediate")
            resume_job(request, tools, job.key).run()
        keys = [row["key"] for row in (*first, *second)]
        assert table(tmp_path, "key", "key") == [(key,) for key in sorted(keys)]
        assert emulator.state()["batches_created"] == 4


class TestShardsThatWereRemoved:
    def test_are_written_again_as_they_were_cut_after_the_limits_have_changed(
        self, emulator: Emulator, tmp_path: Path
    ) -> None:
        """Invariant 1: a shard in another cut would lose the rows that it does not have."""
        emulator.fault(kind="http_error", status=400, custom_id="[37]", executions=1)
        rows, tools = some_rows(20), tools_for(emulator)
        run(a_request(tmp_path, rows), tools)
        smaller = {"max_shard_rows": 5, "max_shard_bytes": 2_000}
        run(a_request(tmp_path, rows, spec=smaller, rerun="failed_rows", era=1), tools)
        check_table(tmp_path, rows)
        assert statuses(tmp_path) == {"succeeded": 20}
        assert emulator.state()["batches_created"] == 3

    def test_are_never_written_again_from_another_source(self, emulator: Emulator, tmp_path: Path) -> None:
        """Invariant 1: results are joined to the rows that they were asked with, or not at all."""
        emulator.fault(kind="http_error", status=400, custom_id="[37]", executions=1)
        rows, tools = some_rows(10), tools_for(emulator)
        run(a_request(tmp_path, rows), tools)
        changed = a_request(tmp_path, [{**row, "key": "other"} for row in rows], rerun="failed_rows", era=1)
        run(changed, tools)  # another input begins a new generation
        assert emulator.state()["batches_created"] == 2

    def test_are_written_again_when_only_the_end_was_not_recorded_and_the_table_moves(
        self, emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rows, tools = some_rows(15), tools_for(emulator)
        job = open_job(a_request(tmp_path, rows, destination=str(tmp_path / "elsewhere")), tools)
        with monkeypatch.context() as patched:
            patched.setattr("airflow_provider_batch.jobs.landing.finishing.Finished", _stopped)
            with pytest.raises(InterruptedError):
                job.run()
        run(a_request(tmp_path, rows), tools)
        check_table(tmp_path, rows)
        assert emulator.state()["batches_created"] == 2


def _stopped(at: float) -> None:
    raise InterruptedError(at)


class TestATableThatIsLandedAgain:
    def test_is_the_same_although_the_limits_have_changed(self, emulator: Emulator, tmp_path: Path) -> None:
        """Invariant 1: a row that moved to a later round stays there."""
        emulator.fault(kind="http_error", status=500, custom_id="3")
        emulator.fault(kind="http_error", status=500, custom_id="5", executions=1)
        rows, tools = some_rows(10), tools_for(emulator)
        run(a_request(tmp_path, rows), tools)
        created = emulator.state()["batches_created"]
        for attempts in (1, 5):
            remove_table(tmp_path)
            limits = dataclasses.replace(LIMITS, max_attempts=attempts)
            run(a_request(tmp_path, rows, limits=limits), tools)
            check_table(tmp_path, rows)
            assert statuses(tmp_path) == {"succeeded": 9, "failed": 1}
            assert emulator.state()["batches_created"] == created

    @pytest.mark.parametrize("limits", [{"max_shard_rows": 2}, {"max_shard_bytes": 400}, {"max_shard_rows": 50}])
    def test_has_every_row_although_its_shards_would_be_cut_otherwise_now(
        self, emulator: Emulator, tmp_path: Path, limits: dict[str, int]
    ) -> None:
        """Invariant 1: 7 of 18 rows were lost where the second round had other shards."""
        emulator.fault(kind="http_error", status=503, custom_id="*[1-5]", executions=1)
        emulator.fault(kind="http_error", status=503, custom_id="*[34]", executions=2)
        rows, tools = some_rows(18), tools_for(emulator)
        run(a_request(tmp_path, rows, spec={"max_shard_rows": 6}), tools)
        created = emulator.state()["batches_created"]
        remove_table(tmp_path)
        run(a_request(tmp_path, rows, spec={"max_shard_rows": 6, **limits}), tools)
        check_table(tmp_path, rows)
        assert emulator.state()["batches_created"] == created

    @pytest.mark.parametrize("lie", ["rows", "row_checksum"])
    def test_is_published_only_if_it_has_each_row_of_the_input_once(
        self, emulator: Emulator, tmp_path: Path, lie: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The count at the end cannot be skipped: whatever went wrong before, the published table stays."""
        rows, tools = some_rows(20), tools_for(emulator)
        run(a_request(tmp_path, rows), tools)
        other_layout = a_request(tmp_path, rows, partition_by=("status",), keep_shards=True)
        land_results = runner.land_results

        def wrong(*args: Any, **options: Any) -> Any:
            landed = land_results(*args, **options)
            value = {"rows": landed.landing.rows - 1, "row_checksum": NO_ROWS}[lie]
            return msgspec.structs.replace(landed, landing=msgspec.structs.replace(landed.landing, **{lie: value}))

        monkeypatch.setattr(runner, "land_results", wrong)
        with pytest.raises(JobError, match="The input has 20 rows, and the parts that have landed hold"):
            run(other_layout, tools)
        monkeypatch.undo()
        assert list((tmp_path / "state").rglob("*.arrow"))

    def test_elsewhere_amid_a_rerun_does_not_send_what_was_never_sent_twice(
        self, emulator: Emulator, tmp_path: Path
    ) -> None:
        """Invariant 2: rows of shards that a time-out left unsent go in the rerun's shards, and only there."""
        emulator.configure(progress="seconds:3600")
        rows, tools = some_rows(20), tools_for(emulator)
        limits = dataclasses.replace(LIMITS, timeout=1000.0, max_active_batches=1)
        elsewhere = str(tmp_path / "elsewhere")
        job = step_until_waiting(a_request(tmp_path, rows, limits=limits, destination=elsewhere), tools)
        with pytest.raises(JobTimeoutError):
            resume_job(job.request, faster(tools, 2000), job.key).run()
        later = faster(tools, 3000)
        step_until_waiting(a_request(tmp_path, rows, limits=limits, destination=elsewhere, era=1), later)
        emulator.configure(progress="immediate")
        step_until_waiting(a_request(tmp_path, rows, limits=limits, era=1), later).run()
        check_table(tmp_path, rows)
        assert statuses(tmp_path) == {"succeeded": 20}
        check_paid_once(emulator)


class TestARerun:
    def test_is_not_due_to_the_retry_of_an_attempt_that_was_cleared_in_flight(
        self, emulator: Emulator, tmp_path: Path
    ) -> None:
        """Invariant 2: that clear has gone on with the work in flight; only another one asks for more."""
        emulator.configure(progress="hold")
        rows, tools = some_rows(5), tools_for(emulator)
        step_until_waiting(a_request(tmp_path, rows, rerun="all"), tools)
        cleared = a_request(tmp_path, rows, rerun="all", era=1)
        job = step_until_waiting(cleared, tools)
        emulator.configure(progress="immediate")
        job.run()
        run(cleared, tools)
        assert emulator.state()["batches_created"] == 1

    def test_may_be_repeated(self, emulator: Emulator, tmp_path: Path) -> None:
        """Shards of an earlier rerun, removed after landing, are not needed while the table exists."""
        emulator.fault(kind="http_error", status=400, custom_id="[37]", executions=2)
        rows, tools = some_rows(15), tools_for(emulator)
        run(a_request(tmp_path, rows), tools)
        expected = {1: {"succeeded": 13, "failed": 2}, 2: {"succeeded": 15}, 3: {"succeeded": 15}}
        for era, counts in expected.items():
            run(a_request(tmp_path, rows, rerun="failed_rows", era=era), tools)
            check_table(tmp_path, rows)
            assert statuses(tmp_path) == counts
        assert emulator.state()["batches_created"] == 2 + 1 + 1


class TestAResumedTask:
    @pytest.mark.parametrize("begun", [True, False])
    def test_lands_where_its_job_was_begun_after_the_task_has_changed(
        self, emulator: Emulator, tmp_path: Path, begun: bool
    ) -> None:
        emulator.configure(progress="hold")
        rows, tools = some_rows(5), tools_for(emulator)
        lands = a_request(tmp_path, rows)
        does_not = a_request(tmp_path, rows, destination=None, limits=dataclasses.replace(LIMITS, lands=False))
        before, now = (lands, does_not) if begun else (does_not, lands)
        job = step_until_waiting(before, tools)
        emulator.configure(progress="immediate")
        assert resume_job(now, tools, job.key).run().reason == "done"
        assert (tmp_path / "table").exists() == begun
        if begun:
            check_table(tmp_path, rows)


class TestAClearAfterTheTimeWasOver:
    def test_sends_all_rows_again_where_nothing_is_landed(self, emulator: Emulator, tmp_path: Path) -> None:
        emulator.configure(progress="seconds:3600")
        rows, tools = some_rows(5), tools_for(emulator)
        limits = dataclasses.replace(LIMITS, timeout=1000.0, lands=False)
        job = step_until_waiting(a_request(tmp_path, rows, destination=None, limits=limits), tools)
        with pytest.raises(JobTimeoutError):
            resume_job(job.request, faster(tools, 2000), job.key).run()
        emulator.configure(progress="immediate")
        cleared = a_request(tmp_path, rows, destination=None, limits=limits, era=1)
        assert run(cleared, faster(tools, 3000))["reason"] == "done"
        assert sorted(batch["status"] for batch in emulator.state()["batches"]) == ["cancelled", "completed"]

    def test_waits_on_for_batches_that_were_not_cancelled(self, emulator: Emulator, tmp_path: Path) -> None:
        emulator.configure(progress="seconds:3600")
        rows, tools = some_rows(5), tools_for(emulator)
        limits = dataclasses.replace(LIMITS, timeout=1000.0, cancel_on_timeout=False)
        job = step_until_waiting(a_request(tmp_path, rows, limits=limits), tools)
        with pytest.raises(JobTimeoutError):
            resume_job(job.request, faster(tools, 2000), job.key).run()
        cleared = step_until_waiting(a_request(tmp_path, rows, limits=limits, era=1), faster(tools, 3000))
        emulator.configure(progress="immediate")
        cleared.run()
        check_table(tmp_path, rows)
        assert emulator.state()["batches_created"] == 1


class TestABatchThatWasCutShort:
    def test_is_polled_for_its_late_file_and_its_answers_are_not_paid_again(
        self, emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Invariants 2 and 4."""
        monkeypatch.setattr("airflow_provider_batch.jobs.decisions.FILES_PAUSE", 0.05)
        emulator.fault(kind="expire", after=0.5, times=1)
        emulator.fault(kind="late_output", reads=4, times=1)
        rows = some_rows(10)
        run(a_request(tmp_path, rows), tools_for(emulator))
        check_table(tmp_path, rows)
        assert statuses(tmp_path) == {"succeeded": 10}
        check_paid_once(emulator)


@pytest.mark.parametrize("waits", [True, False])
@pytest.mark.parametrize("lands", [True, False])
@pytest.mark.parametrize("on_empty", ["land", "skip", "fail"])
def test_an_empty_input_ends_as_on_empty_says_at_every_attempt(
    emulator: Emulator, tmp_path: Path, on_empty: str, lands: bool, waits: bool
) -> None:
    source = tmp_path / "empty.csv"
    source.write_text("key,text\n")
    changes = {} if lands else {"destination": None}
    limits = dataclasses.replace(LIMITS, lands=lands, wait_for_completion=waits)
    request = a_request(tmp_path, str(source), on_empty=on_empty, limits=limits, **changes)
    for _ in range(2):
        job = open_job(request, tools_for(emulator))
        if on_empty == "fail":
            with pytest.raises(JobFailedError, match="no rows"):
                job.run()
        else:
            assert job.run().skipped == (on_empty == "skip")
    assert emulator.calls() == []


def test_a_source_that_is_gone_while_its_batches_run_is_named_with_them(emulator: Emulator, tmp_path: Path) -> None:
    emulator.configure(progress="hold")
    source = tmp_path / "rows.csv"
    source.write_text("key,text\nk0,subject 0\n")
    request, tools = a_request(tmp_path, str(source)), tools_for(emulator)
    job = step_until_waiting(request, tools)
    source.unlink()
    with pytest.raises(SourceError, match=f"1 batch is still running and will be billed .{job.ledger.batch_ids[0]}"):
        open_job(request, tools)
