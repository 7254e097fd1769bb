"""A whole job over the real SDK and the emulator: what comes out, whatever goes wrong on the way."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path

import pytest

from airflow_provider_batch.emulator.testing import Emulator
from airflow_provider_batch.exceptions import (
    ApiUnavailableError,
    ChangedInputError,
    ConfigurationError,
    JobError,
    JobFailedError,
    JobTakenError,
    JobTimeoutError,
    NotFoundError,
    ResultsMissingError,
    UnknownOutcomeError,
)
from airflow_provider_batch.jobs import decisions
from airflow_provider_batch.jobs.decisions import Limits
from airflow_provider_batch.jobs.opening.attempt import open_job, resume_job
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


class TestAJob:
    def test_gives_one_row_for_each_input_row_over_several_shards(self, emulator: Emulator, tmp_path: Path) -> None:
        """Invariant 1."""
        rows = some_rows(35)
        summary = run(a_request(tmp_path, rows), tools_for(emulator))
        check_table(tmp_path, rows)
        assert statuses(tmp_path) == {"succeeded": 35}
        assert summary["batches"] == emulator.state()["batches_created"] == 4
        assert summary["rows"] == 35
        manifest = json.loads((tmp_path / "table" / Path(summary["manifest"]).name).read_text())
        assert sum(part["rows"] for part in manifest["parts"]) == 35

    def test_sends_the_rows_that_failed_for_a_passing_reason_again_and_no_others(
        self, emulator: Emulator, tmp_path: Path
    ) -> None:
        """Invariants 1 and 2: three rounds, each with only what is left."""
        emulator.fault(kind="http_error", status=503, fraction=0.4, executions=1)
        rows = some_rows(40)
        run(a_request(tmp_path, rows), tools_for(emulator))
        check_table(tmp_path, rows)
        assert statuses(tmp_path) == {"succeeded": 40}
        assert {row[0] for row in table(tmp_path, "distinct round", "1")} == {1, 2}
        check_paid_once(emulator)

    def test_keeps_the_failure_of_a_row_that_always_fails(self, emulator: Emulator, tmp_path: Path) -> None:
        emulator.fault(kind="http_error", status=500, custom_id="3")
        emulator.fault(kind="http_error", status=400, custom_id="4", code="invalid_prompt")
        rows = some_rows(10)
        run(a_request(tmp_path, rows), tools_for(emulator))
        check_table(tmp_path, rows)
        found = table(tmp_path, "row_number, status, status_code, round", "row_number")
        assert found[3] == (3, "failed", 500, 3)
        assert found[4] == (4, "failed", 400, 1)

    def test_without_a_row_that_succeeds_has_failed_and_is_landed(self, emulator: Emulator, tmp_path: Path) -> None:
        emulator.fault(kind="http_error", status=400)
        with pytest.raises(JobFailedError, match="No row succeeded"):
            run(a_request(tmp_path, some_rows(5)), tools_for(emulator))
        assert statuses(tmp_path) == {"failed": 5}

    @pytest.mark.parametrize(("max_failed", "fails"), [(0.1, True), (0.5, False), (1, True), (2, False)])
    def test_fails_past_max_failed(
        self, emulator: Emulator, tmp_path: Path, max_failed: float | int, fails: bool
    ) -> None:
        emulator.fault(kind="http_error", status=400, custom_id="[12]")
        request = a_request(tmp_path, some_rows(10), max_failed=max_failed)
        if fails:
            with pytest.raises(JobFailedError, match="max_failed"):
                run(request, tools_for(emulator))
        else:
            run(request, tools_for(emulator))
        assert statuses(tmp_path) == {"failed": 2, "succeeded": 8}

    def test_of_an_empty_table_lands_an_empty_table_with_the_right_columns(
        self, emulator: Emulator, tmp_path: Path
    ) -> None:
        source = tmp_path / "empty.csv"
        source.write_text("key,text\n")
        run(a_request(tmp_path, str(source)), tools_for(emulator))
        assert table(tmp_path, "key, row_number, status, text") == []
        assert emulator.calls() == []

    def test_lands_what_an_expired_batch_had_done_and_sends_the_rest_again(
        self, emulator: Emulator, tmp_path: Path
    ) -> None:
        """Invariant 4."""
        emulator.fault(kind="expire", after=0.5, times=1)
        rows = some_rows(20)
        run(a_request(tmp_path, rows), tools_for(emulator))
        check_table(tmp_path, rows)
        assert statuses(tmp_path) == {"succeeded": 20}
        check_paid_once(emulator)

    def test_waits_in_waves(self, emulator: Emulator, tmp_path: Path) -> None:
        emulator.configure(progress="reads:2")
        rows = some_rows(40)
        limits = dataclasses.replace(LIMITS, max_active_batches=1)
        run(a_request(tmp_path, rows, limits=limits), tools_for(emulator))
        check_table(tmp_path, rows)
        assert emulator.state()["batches_created"] == 4


class TestALostAnswer:
    def test_to_a_create_makes_one_batch(self, emulator: Emulator, tmp_path: Path) -> None:
        """Invariant 2: the batch is found by its intent, and not made again."""
        emulator.fault(kind="lose_answer", method="POST", path="/v1/batches", times=1)
        rows = some_rows(10)
        run(a_request(tmp_path, rows), tools_for(emulator))
        check_table(tmp_path, rows)
        assert emulator.state()["batches_created"] == 1

    def test_of_a_create_that_did_nothing_is_followed_by_one_create(self, emulator: Emulator, tmp_path: Path) -> None:
        emulator.fault(kind="drop_connection", method="POST", path="/v1/batches", times=1)
        run(a_request(tmp_path, some_rows(10)), tools_for(emulator))
        assert emulator.state()["batches_created"] == 1

    def test_that_cannot_be_looked_up_stops_the_job_without_sending_again(
        self, emulator: Emulator, tmp_path: Path
    ) -> None:
        """Invariant 2: a lookup that fails stops the task; the next attempt finds the batch."""
        emulator.fault(kind="lose_answer", method="POST", path="/v1/batches", times=1)
        down = emulator.fault(kind="route_error", status=503, method="GET", path="/v1/batches")
        request, tools = a_request(tmp_path, some_rows(10)), tools_for(emulator)
        with pytest.raises(UnknownOutcomeError, match="which may have made a batch: 1"):
            run(request, tools)
        assert emulator.state()["batches_created"] == 1
        emulator.clear_faults()
        assert down
        run(request, tools)
        check_table(tmp_path, some_rows(10))
        assert emulator.state()["batches_created"] == 1


class TestAnotherAttempt:
    def test_continues_with_the_batches_in_flight(self, emulator: Emulator, tmp_path: Path) -> None:
        """Invariant 3."""
        emulator.configure(progress="hold")
        rows, request, tools = some_rows(25), a_request(tmp_path, some_rows(25)), tools_for(emulator)
        step_until_waiting(request, tools)
        step_until_waiting(request, tools)
        emulator.configure(progress="immediate")
        run(request, tools)
        check_table(tmp_path, rows)
        assert emulator.state()["batches_created"] == 3

    def test_takes_over_and_the_older_one_stops_before_it_sends(self, emulator: Emulator, tmp_path: Path) -> None:
        """Two attempts at once: the older one finds out before its next POST."""
        request, tools = a_request(tmp_path, some_rows(25)), tools_for(emulator)
        older = open_job(request, tools)
        run(request, tools)
        with pytest.raises(JobTakenError):
            older.advance()
        assert emulator.state()["batches_created"] == 3

    def test_of_a_finished_job_costs_nothing_and_changes_nothing(self, emulator: Emulator, tmp_path: Path) -> None:
        request, tools = a_request(tmp_path, some_rows(25)), tools_for(emulator)
        first = run(request, tools)
        before = {path.name: path.read_bytes() for path in (tmp_path / "table").glob("*.parquet")}
        again = run(request, tools)
        assert again["statuses"] == first["statuses"]
        assert before == {path.name: path.read_bytes() for path in (tmp_path / "table").glob("*.parquet")}
        assert emulator.state()["batches_created"] == 3

    def test_of_a_finished_job_whose_table_is_gone_lands_it_again_for_free(
        self, emulator: Emulator, tmp_path: Path
    ) -> None:
        """Invariant 9, over two rounds: what moved to a later round is not landed twice."""
        emulator.fault(kind="http_error", status=503, fraction=0.3, executions=1)
        rows, tools = some_rows(25), tools_for(emulator)
        request = a_request(tmp_path, rows)
        run(request, tools)
        created = emulator.state()["batches_created"]
        for path in (tmp_path / "table").glob("*"):
            if path.is_file():
                path.unlink()
        run(request, tools)
        check_table(tmp_path, rows)
        assert emulator.state()["batches_created"] == created

    def test_with_changed_input_does_not_use_the_old_batches(self, emulator: Emulator, tmp_path: Path) -> None:
        """Invariant 3: the error names what changed and where the money is."""
        emulator.configure(progress="hold")
        tools = tools_for(emulator)
        step_until_waiting(a_request(tmp_path, some_rows(5)), tools)
        with pytest.raises(ChangedInputError, match=r"^source changed .* 1 batch is still running"):
            open_job(a_request(tmp_path, some_rows(6)), tools)
        changed_body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Other {text}"}]}
        with pytest.raises(ChangedInputError, match=r"^body changed"):
            open_job(a_request(tmp_path, some_rows(5), body=changed_body), tools)

    def test_with_changed_input_resubmits_where_the_option_says_so(self, emulator: Emulator, tmp_path: Path) -> None:
        emulator.configure(progress="seconds:3600")
        tools = tools_for(emulator)
        step_until_waiting(a_request(tmp_path, some_rows(5)), tools)
        rows = some_rows(6)
        job = open_job(a_request(tmp_path, rows, on_changed_input="resubmit"), tools)
        emulator.configure(progress="immediate")
        job.run()
        check_table(tmp_path, rows)
        assert sorted(batch["status"] for batch in emulator.state()["batches"]) == ["cancelled", "completed"]

    def test_of_a_mapped_task_whose_index_moved_finds_its_job(self, emulator: Emulator, tmp_path: Path) -> None:
        emulator.configure(progress="hold")
        tools = tools_for(emulator)
        step_until_waiting(a_request(tmp_path, some_rows(5), map_index=0), tools)
        emulator.configure(progress="immediate")
        run(a_request(tmp_path, some_rows(5), map_index=1, clear_number=1), tools)
        check_table(tmp_path, some_rows(5))
        assert emulator.state()["batches_created"] == 1

    def test_reruns_everything_on_a_clear_with_rerun_all_and_not_on_a_retry(
        self, emulator: Emulator, tmp_path: Path
    ) -> None:
        rows, tools = some_rows(5), tools_for(emulator)
        run(a_request(tmp_path, rows, rerun="all", era=2), tools)
        run(a_request(tmp_path, rows, rerun="all", era=2), tools)
        assert emulator.state()["batches_created"] == 1
        run(a_request(tmp_path, rows, rerun="all", era=3), tools)
        check_table(tmp_path, rows)
        assert emulator.state()["batches_created"] == 2

    def test_reruns_only_the_rows_without_success_with_rerun_failed_rows(
        self, emulator: Emulator, tmp_path: Path
    ) -> None:
        emulator.fault(kind="http_error", status=400, custom_id="[37]", executions=1)
        rows, tools = some_rows(25), tools_for(emulator)
        run(a_request(tmp_path, rows), tools)
        assert statuses(tmp_path) == {"succeeded": 23, "failed": 2}
        summary = run(a_request(tmp_path, rows, rerun="failed_rows", era=1), tools)
        check_table(tmp_path, rows)
        assert statuses(tmp_path) == {"succeeded": 25}
        assert summary["statuses"] == {"succeeded": 25}
        check_paid_once(emulator)


class TestAnOutage:
    def test_while_batches_run_is_waited_out_and_uses_no_retry(
        self, emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(decisions, "OUTAGE_PAUSE", 0.05)
        request, tools = a_request(tmp_path, some_rows(5)), tools_for(emulator)
        job = open_job(request, tools)
        job.advance()
        emulator.fault(kind="route_error", status=503, path="/v1/files/*/content", times=8)
        job.run()
        check_table(tmp_path, some_rows(5))

    def test_before_anything_was_sent_fails_the_attempt(self, emulator: Emulator, tmp_path: Path) -> None:
        emulator.fault(kind="route_error", status=503, method="POST", path="/v1/files")
        with pytest.raises(ApiUnavailableError, match="Nothing has been submitted"):
            run(a_request(tmp_path, some_rows(5)), tools_for(emulator))

    def test_of_the_list_that_hides_a_batch_ends_with_the_duplicate_cancelled(
        self, emulator: Emulator, tmp_path: Path
    ) -> None:
        """A batch that shows in the list only after the look-up is cancelled as soon as it is seen."""
        emulator.configure(progress="seconds:3600")
        emulator.fault(kind="lose_answer", method="POST", path="/v1/batches", times=1)
        emulator.fault(kind="late_in_list", seconds=2, times=1)
        request, tools = a_request(tmp_path, some_rows(5)), tools_for(emulator)
        job = open_job(request, tools)
        deadline = time.monotonic() + 600
        while time.monotonic() < deadline:
            job.advance()
            found = [batch["status"] for batch in emulator.state()["batches"]]
            if "cancelled" in found:
                break
            time.sleep(0.1)
        assert found == ["cancelled", "in_progress"]


class TestADestination:
    def test_that_changed_between_attempts_gets_the_whole_table(self, emulator: Emulator, tmp_path: Path) -> None:
        emulator.configure(progress="reads:2")
        limits = dataclasses.replace(LIMITS, max_active_batches=1)
        rows, tools = some_rows(25), tools_for(emulator)
        elsewhere = a_request(tmp_path, rows, limits=limits, destination=str(tmp_path / "elsewhere"))
        job = open_job(elsewhere, tools)
        while not job.ledger.shards_in("landed"):
            job.advance()
        run(a_request(tmp_path, rows, limits=limits), tools)
        check_table(tmp_path, rows)
        assert emulator.state()["batches_created"] == 3


class TestTheQueueLimit:
    def test_is_waited_out_with_the_uploaded_file_kept(
        self, emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(decisions, "QUEUE_PAUSES", (0.1, 0.2))
        emulator.configure(enqueued_token_limit=600, progress="reads:3")
        rows = some_rows(40)
        run(a_request(tmp_path, rows), tools_for(emulator))
        check_table(tmp_path, rows)
        assert statuses(tmp_path) == {"succeeded": 40}
        assert emulator.state()["uploads"] == 4
        check_paid_once(emulator)

    def test_reported_by_the_create_itself_is_waited_out_too(
        self, emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(decisions, "QUEUE_PAUSES", (0.1, 0.2))
        emulator.configure(enqueued_token_limit=600, token_limit_answer="429", progress="reads:3")
        rows = some_rows(20)
        run(a_request(tmp_path, rows), tools_for(emulator))
        check_table(tmp_path, rows)

    def test_of_a_file_that_is_not_visible_yet_is_tried_again(
        self, emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(decisions, "FILE_PAUSE", 0.05)
        emulator.fault(kind="file_not_ready", count=2)
        run(a_request(tmp_path, some_rows(5)), tools_for(emulator))
        assert emulator.state()["batches_created"] == 1


class TestARefusedFile:
    def test_loses_only_the_rows_that_were_refused(self, emulator: Emulator, tmp_path: Path) -> None:
        emulator.fault(kind="refuse_file", line=4, code="invalid_request", message="No good.", times=1)
        rows = some_rows(10)
        run(a_request(tmp_path, rows), tools_for(emulator))
        check_table(tmp_path, rows)
        assert statuses(tmp_path) == {"failed": 1, "succeeded": 9}
        assert table(tmp_path, "row_number, error_code")[3] == (3, "invalid_request")

    def test_is_understood_in_the_loose_forms_of_compatible_servers(self, emulator: Emulator, tmp_path: Path) -> None:
        emulator.fault(kind="loose_object")
        emulator.fault(kind="refuse_file", line=4, code="invalid_request", message="No good.", times=1)
        rows = some_rows(20)
        run(a_request(tmp_path, rows), tools_for(emulator))
        check_table(tmp_path, rows)
        assert statuses(tmp_path) == {"failed": 1, "succeeded": 19}

    def test_for_the_account_stops_the_job_and_a_later_attempt_continues(
        self, emulator: Emulator, tmp_path: Path
    ) -> None:
        emulator.fault(kind="refuse_file", code="billing_hard_limit_reached", message="Limit reached.", times=1)
        request, tools = a_request(tmp_path, some_rows(25)), tools_for(emulator)
        with pytest.raises(JobFailedError, match="billing_hard_limit_reached"):
            run(request, tools)
        run(request, tools)
        check_table(tmp_path, some_rows(25))
        assert statuses(tmp_path) == {"succeeded": 25}
        check_paid_once(emulator)


class TestTheEnd:
    def test_of_its_time_cancels_lands_all_results_and_fails(self, emulator: Emulator, tmp_path: Path) -> None:
        emulator.configure(progress="seconds:3600")
        rows, tools = some_rows(25), tools_for(emulator)
        request = a_request(tmp_path, rows, limits=dataclasses.replace(LIMITS, timeout=1000.0, max_active_batches=2))
        job = step_until_waiting(request, tools)
        with pytest.raises(JobTimeoutError, match="0 of 25 rows succeeded"):
            resume_job(request, faster(tools, 2000), job.key).run()
        check_table(tmp_path, rows)
        assert statuses(tmp_path) == {"cancelled": 25}
        assert [batch["status"] for batch in emulator.state()["batches"]] == ["cancelled", "cancelled"]

    def test_a_clear_after_the_time_was_over_sends_the_rows_without_success(
        self, emulator: Emulator, tmp_path: Path
    ) -> None:
        emulator.configure(progress="seconds:3600")
        rows, tools = some_rows(5), tools_for(emulator)
        limits = dataclasses.replace(LIMITS, timeout=1000.0)
        job = step_until_waiting(a_request(tmp_path, rows, limits=limits), tools)
        with pytest.raises(JobTimeoutError):
            resume_job(a_request(tmp_path, rows, limits=limits), faster(tools, 2000), job.key).run()
        emulator.configure(progress="immediate")
        run(a_request(tmp_path, rows, limits=limits, era=1), faster(tools, 3000))
        check_table(tmp_path, rows)
        assert statuses(tmp_path) == {"succeeded": 5}

    def test_by_somebody_elses_cancel_lands_all_results_and_says_so(self, emulator: Emulator, tmp_path: Path) -> None:
        emulator.configure(progress="seconds:3600")
        request, tools = a_request(tmp_path, some_rows(5)), tools_for(emulator)
        job = step_until_waiting(request, tools)
        tools.client.cancel(job.ledger.batch_ids[0])
        with pytest.raises(JobFailedError, match="was cancelled, and not by this job"):
            job.run()
        assert statuses(tmp_path) == {"cancelled": 5}


class TestMissingFiles:
    def test_a_completed_batch_without_its_file_fails_and_is_never_missing_and_success(
        self, emulator: Emulator, tmp_path: Path
    ) -> None:
        """Invariant 5."""
        emulator.fault(kind="missing_output")
        request, tools = a_request(tmp_path, some_rows(5)), tools_for(emulator)
        job = step_until_waiting(request, tools)
        while job.ledger.shards[0].late_since is None:
            job.advance()
        late = resume_job(request, faster(tools, decisions.FILES_PATIENCE + 1), job.key)
        with pytest.raises(ResultsMissingError, match=r"batch_[0-9a-f]{32} is completed"):
            late.run()
        assert not list((tmp_path / "table").glob("*.parquet"))

    def test_a_late_file_is_waited_for(
        self, emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(decisions, "FILES_PAUSE", 0.05)
        emulator.fault(kind="late_output", reads=4)
        run(a_request(tmp_path, some_rows(5)), tools_for(emulator))
        assert statuses(tmp_path) == {"succeeded": 5}

    def test_a_result_file_that_is_gone_ends_the_job_and_nothing_is_sent_again(
        self, emulator: Emulator, tmp_path: Path
    ) -> None:
        request, tools = a_request(tmp_path, some_rows(5)), tools_for(emulator)
        emulator.configure(progress="hold")
        job = step_until_waiting(request, tools)
        emulator.configure(progress="immediate")
        while (output := tools.client.retrieve(job.ledger.batch_ids[0]).output_file_id) is None:
            time.sleep(0.05)
        tools.client.delete_file(output)
        with pytest.raises(JobError, match=f"File {output} with results of batch .* is gone"):
            job.run()
        assert emulator.state()["batches_created"] == 1

    def test_a_batch_of_another_account_is_named_and_nothing_is_sent_again(
        self, emulator: Emulator, tmp_path: Path
    ) -> None:
        emulator.configure(progress="hold")
        request, tools = a_request(tmp_path, some_rows(5)), tools_for(emulator)
        job = step_until_waiting(request, tools)
        emulator.fault(kind="batch_not_found")
        hidden = a_request(tmp_path, some_rows(5), map_index=7, destination=str(tmp_path / "other"))
        other = step_until_waiting(hidden, tools)
        with pytest.raises(NotFoundError, match="created with another key, organization or project"):
            other.advance()
        assert job.advance() is not None
        assert emulator.state()["batches_created"] == 2


class TestOddResults:
    @pytest.mark.parametrize(
        "kind",
        ["raw_separators", "body_as_string", "duplicate_line", "foreign_line", "blank_line", "lone_surrogate"],
    )
    def test_lose_no_row(self, emulator: Emulator, tmp_path: Path, kind: str) -> None:
        """Invariants 1 and 4."""
        emulator.configure(result_style="compact")
        emulator.fault(kind=kind)
        rows = some_rows(5)
        run(a_request(tmp_path, rows), tools_for(emulator))
        check_table(tmp_path, rows)
        assert statuses(tmp_path) == {"succeeded": 5}

    def test_a_status_that_contradicts_its_file_is_believed(self, emulator: Emulator, tmp_path: Path) -> None:
        """A 500 in the output file is a failure: the row goes again."""
        emulator.fault(kind="http_error", status=500, file="output", executions=1, custom_id="2")
        rows = some_rows(5)
        run(a_request(tmp_path, rows), tools_for(emulator))
        check_table(tmp_path, rows)
        assert table(tmp_path, "status, round")[2] == ("succeeded", 2)

    def test_a_row_in_neither_file_is_sent_again(self, emulator: Emulator, tmp_path: Path) -> None:
        emulator.fault(kind="missing_line", executions=1, custom_id="2")
        rows = some_rows(5)
        run(a_request(tmp_path, rows), tools_for(emulator))
        check_table(tmp_path, rows)
        assert statuses(tmp_path) == {"succeeded": 5}

    @pytest.mark.parametrize("file", ["error", "output"])
    def test_a_row_whose_line_says_nothing_was_never_run_and_is_sent_again(
        self, emulator: Emulator, tmp_path: Path, file: str
    ) -> None:
        """More often than a row may fail: it has no attempt to its name."""
        emulator.fault(kind="silent_line", executions=LIMITS.max_attempts + 1, custom_id="[24]", file=file)
        rows = some_rows(5)
        run(a_request(tmp_path, rows), tools_for(emulator))
        check_table(tmp_path, rows)
        assert statuses(tmp_path) == {"succeeded": 5}
        check_paid_once(emulator)

    def test_a_download_that_is_cut_is_started_again(self, emulator: Emulator, tmp_path: Path) -> None:
        emulator.fault(kind="cut_body", times=1)
        rows = some_rows(5)
        run(a_request(tmp_path, rows), tools_for(emulator))
        check_table(tmp_path, rows)

    @pytest.mark.parametrize(
        "kind", ["empty_string_file_ids", "empty_error_file", "upper_case_status", "null_endpoint"]
    )
    def test_of_compatible_servers_are_read(self, emulator: Emulator, tmp_path: Path, kind: str) -> None:
        emulator.fault(kind=kind)
        run(a_request(tmp_path, some_rows(5)), tools_for(emulator))
        assert statuses(tmp_path) == {"succeeded": 5}


class TestArguments:
    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"metadata": {"airflow_dag_id": "x"}}, "belong to the provider"),
            ({"metadata": {f"k{n}": "v" for n in range(13)}}, "at most 12 pairs"),
            ({"metadata": {"k": "v" * 513}}, "at most 512 characters"),
            ({"limits": Limits(timeout=0)}, "above 0 seconds"),
        ],
    )
    def test_that_are_wrong_are_named_before_anything_is_sent(
        self, emulator: Emulator, tmp_path: Path, changes: dict[str, object], message: str
    ) -> None:
        with pytest.raises(ConfigurationError, match=message):
            open_job(a_request(tmp_path, some_rows(5), **changes), tools_for(emulator))
        assert emulator.calls() == []

    def test_without_waiting_every_shard_has_to_fit_in_one_wave(self, emulator: Emulator, tmp_path: Path) -> None:
        limits = Limits(wait_for_completion=False, lands=False, max_active_batches=2)
        request = a_request(tmp_path, some_rows(25), destination=None, limits=limits)
        with pytest.raises(ConfigurationError, match="3 shards"):
            open_job(request, tools_for(emulator))
        assert emulator.calls() == []


def test_the_wait_of_a_job_ends_by_the_clock_even_if_no_batch_does(emulator: Emulator, tmp_path: Path) -> None:
    emulator.configure(progress="hold")
    job = open_job(a_request(tmp_path, some_rows(5)), tools_for(emulator))
    wait = job.advance()
    assert wait is not None
    assert wait.until == pytest.approx(time.time() + LIMITS.timeout, abs=60)
    assert list(wait.batch_ids) == job.ledger.batch_ids
