"""Files that are not ready and batches that fail for a passing reason: waited for and tried again, without a retry."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
import pytest

from airflow_provider_batch.api.outcomes import Refused
from airflow_provider_batch.emulator.testing import Emulator
from airflow_provider_batch.exceptions import (
    ApiError,
    ApiRefusedError,
    ApiUnavailableError,
    JobFailedError,
    PassingRefusalError,
)
from airflow_provider_batch.jobs import decisions, refusals
from airflow_provider_batch.jobs.refusals import Retry, after_refused_create
from tests.jobs.support import a_request, check_paid_once, check_table, run, some_rows, statuses, tools_for
from tests.jobs.test_decisions import a_shard

WORDS = [
    "Cannot find file {file}.",
    "The input file is not in a processed state.",
    "Input file not found",
    "Ficheiro {file}: ainda em processamento.",  # an unknown text: the file's own status says it
]
LATER = "Something went wrong, please try again later."


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decisions, "FILE_PAUSE", 0.1)
    monkeypatch.setattr(decisions, "QUEUE_PAUSES", (0.02, 0.5))


class TestAFile:
    @pytest.mark.parametrize("status", [400, 404, 409])
    @pytest.mark.parametrize("message", WORDS)
    def test_that_is_pending_is_waited_for_and_not_uploaded_again(
        self, emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, message: str
    ) -> None:
        # On a busy machine many tries may fit into the seconds; how many there may be is for other tests.
        monkeypatch.setattr(refusals, "FILE_REFUSALS", 10_000)
        monkeypatch.setattr(refusals, "MAX_REFUSED_CREATES", 10_000)
        # With an unknown text, the first check of the file has to be made while it is pending, however slow it is.
        pending = 1.0 if message == WORDS[-1] else 0.3
        emulator.fault(kind="file_not_ready", seconds=pending, status=status, message=message, code="x")
        rows, begun = some_rows(5), time.time()
        run(a_request(tmp_path, rows), tools_for(emulator))
        check_table(tmp_path, rows)
        state = emulator.state()
        assert (state["batches_created"], state["uploads"]) == (1, 1)
        assert time.time() - begun > pending

    def test_that_is_broken_is_uploaded_again(self, emulator: Emulator, tmp_path: Path) -> None:
        emulator.fault(kind="file_not_ready", seconds=3600, status_text="error", times=1)
        run(a_request(tmp_path, some_rows(5)), tools_for(emulator))
        assert emulator.state()["uploads"] == 2

    def test_that_is_never_ready_fails_the_attempt_and_a_retry_may_help(
        self, emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(refusals, "MAX_REFUSED_CREATES", 3)
        emulator.fault(kind="file_not_ready", seconds=3600, message="Input file not found", status=404)
        request, tools = a_request(tmp_path, some_rows(5)), tools_for(emulator)
        with pytest.raises(PassingRefusalError, match=r"not ready after 3 tries; its status is pending") as raised:
            run(request, tools)
        assert raised.value.retryable
        emulator.clear_faults()
        run(request, tools)
        assert statuses(tmp_path) == {"succeeded": 5}

    def test_that_the_api_itself_does_not_find_is_waited_for_whatever_the_text(self) -> None:
        refused = Refused(ApiRefusedError("Recurso inexistente.", status_code=404))
        assert after_refused_create(a_shard(), refused, "not found") == Retry(is_about_file=True)
        assert after_refused_create(a_shard(), refused, "processed") is None

    def test_that_is_there_does_not_hide_another_refusal(self, emulator: Emulator, tmp_path: Path) -> None:
        emulator.fault(kind="file_not_ready", count=99, message="No such deployment.", param="model")
        with pytest.raises(ApiRefusedError, match="No such deployment"):
            run(a_request(tmp_path, some_rows(5)), tools_for(emulator))

    def test_that_is_not_found_is_uploaded_again_after_some_tries(self) -> None:
        refused = Refused(ApiRefusedError("x", status_code=404), file_not_ready=True)
        numbers = range(refusals.MAX_REFUSED_CREATES)
        shards = [msgspec.structs.replace(a_shard(), passing_refusals=number) for number in numbers]
        retries = [after_refused_create(shard, refused, "not found") for shard in shards]
        early = [Retry(is_about_file=True)] * (refusals.FILE_REFUSALS - 1)
        late = [Retry(is_about_file=True, upload_again=True)] * (refusals.MAX_REFUSED_CREATES - refusals.FILE_REFUSALS)
        assert retries == [*early, *late, None]


class TestACreateThatIsToBeTriedLater:
    def test_succeeds_with_a_fresh_upload_once_the_service_works(self, emulator: Emulator, tmp_path: Path) -> None:
        tries = refusals.FILE_REFUSALS + 2
        emulator.fault(kind="route_error", status=400, message=LATER, times=tries, method="POST", path="/v1/batches")
        run(a_request(tmp_path, some_rows(5)), tools_for(emulator))
        assert statuses(tmp_path) == {"succeeded": 5}
        state = emulator.state()
        assert (state["batches_created"], state["uploads"]) == (1, 1 + tries - refusals.FILE_REFUSALS + 1)

    def test_for_ever_fails_the_attempt_with_what_is_billed_and_a_retry_may_help(
        self, emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(refusals, "MAX_REFUSED_CREATES", 3)
        emulator.fault(
            kind="route_error", status=400, message=LATER, nth=2, times=99, path="/v1/batches", method="POST"
        )
        emulator.configure(progress="hold")
        request, tools = a_request(tmp_path, some_rows(15)), tools_for(emulator)
        with pytest.raises(PassingRefusalError, match=r"refused to make its batch 3 times in a row") as raised:
            run(request, tools)
        assert raised.value.retryable
        assert "1 batch is still running and will be billed" in str(raised.value)
        assert emulator.state()["batches_created"] == 1
        emulator.clear_faults()
        emulator.configure(progress="immediate")
        run(request, tools)
        assert statuses(tmp_path) == {"succeeded": 15}
        assert emulator.state()["batches_created"] == 2
        check_paid_once(emulator)

    def test_is_bounded_by_tries_and_a_queue_or_an_outage_is_not(self) -> None:
        def error(status: int | None) -> ApiUnavailableError:
            return ApiUnavailableError(LATER, status_code=status)

        last = msgspec.structs.replace(a_shard(), passing_refusals=refusals.MAX_REFUSED_CREATES - 1)
        assert after_refused_create(last, Refused(error(400)), None) is None
        by_time = Retry(is_about_file=False, is_counted=False)
        assert after_refused_create(last, Refused(error(400), queue_full=True), None) == by_time
        assert after_refused_create(last, Refused(error(429)), None) == by_time
        assert after_refused_create(last, Refused(error(None)), None) == by_time


class TestAModelThatDoesNotExist:
    def test_ends_the_job_at_its_first_batch_with_what_to_change(self, emulator: Emulator, tmp_path: Path) -> None:
        emulator.fault(kind="refuse_file", code="invalid_request", message="The model `x` in your file does not exist.")
        with pytest.raises(JobFailedError, match="Set 'model' in body to one that this account may use") as raised:
            run(a_request(tmp_path, some_rows(5)), tools_for(emulator))
        assert not raised.value.retryable
        assert emulator.state()["batches_created"] == 1

    @pytest.mark.parametrize("status", [400, 403, 404])
    def test_ends_the_job_at_its_first_create(self, emulator: Emulator, tmp_path: Path, status: int) -> None:
        message = "The model `x` in your file does not exist. Try again later."
        emulator.fault(kind="route_error", status=status, message=message, method="POST", path="/v1/batches")
        with pytest.raises(ApiError) as raised:
            run(a_request(tmp_path, some_rows(5)), tools_for(emulator))
        assert not raised.value.retryable
        assert len(emulator.calls("POST", "/v1/batches")) == 1


class TestABatchThatFailsAtOnce:
    @pytest.mark.parametrize(
        ("code", "message"),
        [
            ("invalid_request", "Cannot find file file-1, or project proj_1 does not have access to it."),
            ("server_error", "Something went wrong, please try again later."),
            ("", "Internal error."),
        ],
    )
    def test_for_a_passing_reason_is_made_again_from_a_fresh_upload(
        self, emulator: Emulator, tmp_path: Path, code: str, message: str
    ) -> None:
        emulator.fault(kind="refuse_file", code=code, message=message, times=2)
        rows = some_rows(15)
        run(a_request(tmp_path, rows), tools_for(emulator))
        check_table(tmp_path, rows)
        assert statuses(tmp_path) == {"succeeded": 15}
        state = emulator.state()
        assert (state["batches_created"], state["uploads"]) == (4, 4)
        check_paid_once(emulator)

    def test_again_and_again_fails_the_attempt_and_a_retry_may_help(
        self, emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(refusals, "MAX_FAILED_BATCHES", 3)
        emulator.fault(kind="refuse_file", code="server_error", message="Something went wrong.", times=4)
        request, tools = a_request(tmp_path, some_rows(5)), tools_for(emulator)
        for created in (3, 4):  # a retry has one try of its own
            with pytest.raises(PassingRefusalError, match=r"refused batch .* as a whole \(server_error") as raised:
                run(request, tools)
            assert raised.value.retryable
            assert emulator.state()["batches_created"] == created
        run(request, tools)
        assert statuses(tmp_path) == {"succeeded": 5}
        check_paid_once(emulator)

    def test_for_a_reason_that_lasts_fails_the_task_without_a_retry(self, emulator: Emulator, tmp_path: Path) -> None:
        emulator.fault(kind="refuse_file", code="billing_hard_limit_reached", message="Limit. Try again later.")
        with pytest.raises(JobFailedError, match="billing_hard_limit_reached") as raised:
            run(a_request(tmp_path, some_rows(5)), tools_for(emulator))
        assert not raised.value.retryable
        assert emulator.state()["batches_created"] == 1
