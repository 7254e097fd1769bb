"""Results that came, are paid for, and cannot be matched with the rows: a job stops, keeps them and says so."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_batch import storage
from airflow_provider_batch.emulator.testing import Emulator
from airflow_provider_batch.exceptions import ResultsMissingError, ResultsUnclearError
from airflow_provider_batch.jobs import decisions
from airflow_provider_batch.jobs.opening.attempt import open_job, resume_job
from airflow_provider_batch.jobs.runner import Job
from airflow_provider_batch.loader.load import LoadRequest, load_batches
from tests.jobs.support import (
    LIMITS,
    a_request,
    changed,
    check_paid_once,
    check_table,
    faster,
    run,
    some_rows,
    statuses,
    step_until_waiting,
    tools_for,
)

#: Ids that change when they are trimmed, and when they are written in small letters.
SPEC = {"custom_id": " Row-{key}"}
#: A form that is not understood → what the message says of it.
UNCLEAR = {
    "html": r"2 lines cannot be read \(one begins '<!DOCTYPE html>'\), and 5 of 5 rows have no result line",
    "utf-16": "lines cannot be read",
    "ids_trimmed": r"5 lines have ids that were not sent \(one is 'Row-k\d'\), and 5 of 5 .* \(one is ' Row-k0'\)",
    "ids_lower_case": r"5 lines have ids that were not sent \(one is ' row-k\d'\)",
    "ids_elsewhere": "5 lines cannot be read",
}
UNCLEAR_FORM = pytest.mark.parametrize("form", UNCLEAR)


def kept(tmp_path: Path) -> list[str]:
    return sorted(path.name.split("-", 2)[2] for path in (tmp_path / "table").glob("_unreadable-*"))


@UNCLEAR_FORM
def test_results_that_match_no_row_stop_the_job_and_are_never_sent_again(
    emulator: Emulator, tmp_path: Path, form: str
) -> None:
    """Invariant 2: attempts and clears as many as one likes pay nothing, and keep the file beside the table."""
    emulator.fault(kind="result_form", form=form)
    request, tools = a_request(tmp_path, some_rows(5), spec=SPEC), tools_for(emulator)
    for era in (0, 0, 1):
        with pytest.raises(ResultsUnclearError, match=UNCLEAR[form]) as raised:
            run(changed(request, era=era), tools)
        assert not raised.value.retryable
    assert emulator.state()["batches_created"] == 1
    assert kept(tmp_path) == ["00001-01-output.txt"]
    assert not list((tmp_path / "table").glob("*.parquet"))


@pytest.mark.parametrize("form", ["empty", "cut"])
def test_fewer_answers_than_are_counted_stop_the_job_and_are_never_sent_again(
    emulator: Emulator, tmp_path: Path, form: str
) -> None:
    """Invariants 2 and 5; a retry downloads once more."""
    emulator.fault(kind="result_form", form=form)
    request, tools = a_request(tmp_path, some_rows(5)), tools_for(emulator)
    for _ in range(2):
        with pytest.raises(ResultsMissingError, match="counts 5 of 5 requests as completed") as raised:
            run(request, tools)
        assert raised.value.retryable
    assert emulator.state()["batches_created"] == 1


@pytest.mark.parametrize("form", ["json_array", "pretty", "gzip", "byte_order_mark"])
def test_result_files_in_forms_that_can_be_read_exactly_are_landed(
    emulator: Emulator, tmp_path: Path, form: str
) -> None:
    emulator.fault(kind="result_form", form=form, file="both")
    emulator.fault(kind="http_error", status=400, custom_id="3")
    rows = some_rows(5)
    run(a_request(tmp_path, rows), tools_for(emulator))
    check_table(tmp_path, rows)
    assert statuses(tmp_path) == {"succeeded": 4, "failed": 1}
    check_paid_once(emulator)


def test_rows_of_unclear_results_are_sent_again_only_by_a_clear_with_a_rerun(
    emulator: Emulator, tmp_path: Path
) -> None:
    emulator.fault(kind="result_form", form="html", times=1)
    rows, tools = some_rows(15), tools_for(emulator)
    with pytest.raises(ResultsUnclearError):
        run(a_request(tmp_path, rows, rerun="failed_rows"), tools)
    with pytest.raises(ResultsUnclearError):
        run(a_request(tmp_path, rows, rerun="failed_rows"), tools)
    run(a_request(tmp_path, rows, rerun="failed_rows", era=1), tools)
    check_table(tmp_path, rows)
    assert statuses(tmp_path) == {"succeeded": 15}
    assert emulator.state()["batches_created"] == 3
    assert kept(tmp_path) == ["00001-01-g1a3.txt"]


def test_a_clear_gives_up_only_what_a_task_has_failed_with_before(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first attempt is killed before it lands: it is not known yet that the results are unclear."""
    emulator.fault(kind="result_form", form="html", times=2)
    rows, tools = some_rows(15), tools_for(emulator)
    request = a_request(tmp_path, rows, rerun="failed_rows")
    with monkeypatch.context() as patch:
        patch.setattr(Job, "_land", _killed)
        with pytest.raises(KeyboardInterrupt):
            run(request, tools)
    with pytest.raises(ResultsUnclearError):
        run(changed(request, era=1), tools)
    assert emulator.state()["batches_created"] == 2
    assert kept(tmp_path) == ["00001-01-output.txt", "00002-01-output.txt"]
    with pytest.raises(ResultsUnclearError):
        run(changed(request, era=2, rerun="never"), tools)
    run(changed(request, era=3), tools)
    check_table(tmp_path, rows)
    assert emulator.state()["batches_created"] == 4


def _killed(*_: Any) -> None:
    raise KeyboardInterrupt


def test_results_that_are_understood_later_are_landed_for_free(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after an upgrade of the package."""
    emulator.fault(kind="result_form", form="pretty")
    rows, tools, request = some_rows(5), tools_for(emulator), a_request(tmp_path, some_rows(5))
    with monkeypatch.context() as older:
        older.setattr("airflow_provider_batch.jobs.landing.shard.as_json_lines", lambda path: path)
        with pytest.raises(ResultsUnclearError):
            run(request, tools)
    run(request, tools)
    check_table(tmp_path, rows)
    assert emulator.state()["batches_created"] == 1
    assert kept(tmp_path) == []


def test_one_stray_line_beside_a_row_that_was_not_run_stops_nothing(emulator: Emulator, tmp_path: Path) -> None:
    """The API counts what it completed: the row in neither file is not among it."""
    emulator.fault(kind="missing_line", executions=1, custom_id="2")
    emulator.fault(kind="foreign_line", custom_id="3")
    rows = some_rows(5)
    run(a_request(tmp_path, rows), tools_for(emulator))
    check_table(tmp_path, rows)
    assert statuses(tmp_path) == {"succeeded": 5}
    check_paid_once(emulator)


@UNCLEAR_FORM
def test_the_loader_stops_as_the_job_does(emulator: Emulator, tmp_path: Path, form: str) -> None:
    emulator.fault(kind="result_form", form=form)
    limits = dataclasses.replace(LIMITS, lands=False)
    tools = tools_for(emulator)
    ids = run(a_request(tmp_path, some_rows(5), spec=SPEC, destination=None, limits=limits), tools)["batch_ids"]
    request = LoadRequest(ids, str(tmp_path / "table"), state=storage.resolve(str(tmp_path / "state")))
    with pytest.raises(ResultsUnclearError, match=UNCLEAR[form]):
        load_batches(request, tools)
    assert kept(tmp_path) == ["00001-01-output.txt"]
    load_batches(changed(request, on_missing="land"), tools)
    assert statuses(tmp_path) == {"missing": 5}


class TestABatchWithAnErrorFileOnly:
    """All of its rows failed, and are counted as completed."""

    @pytest.fixture
    def all_fail(self, emulator: Emulator) -> None:
        emulator.fault(kind="http_error", status=400)
        emulator.fault(kind="miscount")

    def test_is_landed_after_the_wait_for_late_files(self, emulator: Emulator, tmp_path: Path, all_fail: None) -> None:
        request, tools = a_request(tmp_path, some_rows(5), max_failed=5), tools_for(emulator)
        job = step_until_waiting(request, tools)
        while job.ledger.shards[0].late_since is None:
            job.advance()
        late = resume_job(request, faster(tools, decisions.FILES_PATIENCE + 1), job.key)
        with pytest.raises(Exception, match="No row succeeded"):
            late.run()
        assert statuses(tmp_path) == {"failed": 5}
        assert emulator.state()["batches_created"] == 1

    def test_is_landed_by_the_loader(self, emulator: Emulator, tmp_path: Path, all_fail: None) -> None:
        limits = dataclasses.replace(LIMITS, lands=False)
        tools = tools_for(emulator)
        job = open_job(a_request(tmp_path, some_rows(5), destination=None, limits=limits), tools)
        job.advance()
        while not tools.client.retrieve(job.ledger.batch_ids[0]).has_ended:
            time.sleep(0.01)
        load_batches(LoadRequest(job.ledger.batch_ids, str(tmp_path / "table")), tools)
        assert statuses(tmp_path) == {"failed": 5}

    def test_waits_for_the_output_file_where_the_error_file_does_not_have_all_rows(
        self, emulator: Emulator, tmp_path: Path
    ) -> None:
        """Invariant 5: and a retry asks for the file again."""
        emulator.fault(kind="http_error", status=400, custom_id="3")
        emulator.fault(kind="missing_output")
        request, tools = a_request(tmp_path, some_rows(5)), tools_for(emulator)
        job = step_until_waiting(request, tools)
        while job.ledger.shards[0].late_since is None:
            job.advance()
        tools = faster(tools, decisions.FILES_PATIENCE + 1)
        for _ in range(2):
            with pytest.raises(ResultsMissingError, match="lines for 1 of 5 rows, and its output file has not appea"):
                open_job(request, tools).run()
        assert emulator.state()["batches_created"] == 1


def test_rows_that_an_expired_batch_counts_as_completed_without_results_are_not_sent_again(
    emulator: Emulator, tmp_path: Path
) -> None:
    """Invariant 2."""
    emulator.fault(kind="expire", after=0.5, times=1)
    emulator.fault(kind="missing_output", times=1)
    request, tools = a_request(tmp_path, some_rows(10)), tools_for(emulator)
    job = step_until_waiting(request, tools)
    while job.ledger.shards[0].late_since is None:
        job.advance()
    with pytest.raises(ResultsMissingError, match="is expired and counts 5 of 10 requests as completed"):
        resume_job(request, faster(tools, decisions.FILES_PATIENCE + 1), job.key).run()
    assert emulator.state()["batches_created"] == 1
