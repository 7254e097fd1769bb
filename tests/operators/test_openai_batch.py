"""The operator: arguments in, a deferral or a summary out."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowFailException,
    AirflowSkipException,
    TaskDeferred,
)

from airflow_provider_batch.emulator.testing import Emulator
from airflow_provider_batch.operators.openai_batch import OpenAIBatchOperator
from airflow_provider_batch.utils import metrics
from airflow_provider_batch.utils.state_path import STATE_KEY
from tests.conftest import SECRET
from tests.jobs.support import BODY, check_table, some_rows, statuses
from tests.operators.support import FakeStateStore, FakeTaskInstance, a_context, finish

Define = Callable[..., str]


@pytest.fixture
def operator(operator: Callable[..., OpenAIBatchOperator], tmp_path: Path) -> Callable[..., OpenAIBatchOperator]:
    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps(row) for row in some_rows(25)) + "\n")
    return partial(operator, source=str(tmp_path / "rows.jsonl"))


class TestDeferring:
    def test_submits_defers_and_lands_when_it_is_woken(
        self, emulator: Emulator, operator: Callable[..., OpenAIBatchOperator], tmp_path: Path
    ) -> None:
        emulator.configure(progress="hold")
        ti = FakeTaskInstance()
        with pytest.raises(TaskDeferred) as deferred:
            operator(deferrable=True).execute(a_context(ti))
        assert deferred.value.method_name == "execute_complete"
        _, kwargs = deferred.value.trigger.serialize()
        assert kwargs["batch_ids"] == ti.pushed["batch_ids"] == [b["id"] for b in emulator.state()["batches"]]
        assert ti.pushed["destination"] == str(tmp_path / "table")
        finish(emulator)
        event = {"reason": "ended", "ended": kwargs["batch_ids"], "active": 0}
        resumed = operator(deferrable=True, source="this is not read again")
        summary = resumed.execute_complete(a_context(ti), event, **deferred.value.kwargs)
        check_table(tmp_path, some_rows(25))
        assert summary["statuses"] == {"succeeded": 25}
        assert ti.pushed["manifest"] == summary["manifest"]

    def test_a_second_event_of_the_same_end_changes_nothing(
        self, emulator: Emulator, operator: Callable[..., OpenAIBatchOperator], tmp_path: Path
    ) -> None:
        """Two triggerers may fire for one wait. Invariants 2 and 9."""
        emulator.configure(progress="hold")
        with pytest.raises(TaskDeferred) as deferred:
            operator(deferrable=True).execute(a_context())
        finish(emulator)
        ids = deferred.value.trigger.serialize()[1]["batch_ids"]
        event = {"reason": "ended", "ended": ids, "active": 0}
        first = operator(deferrable=True).execute_complete(a_context(), event, **deferred.value.kwargs)
        again = operator(deferrable=True).execute_complete(a_context(), event, **deferred.value.kwargs)
        assert again["statuses"] == first["statuses"]
        check_table(tmp_path, some_rows(25))
        assert [b["id"] for b in emulator.state()["batches"]] == ids

    def test_an_event_that_came_too_early_is_waited_on_from(
        self, emulator: Emulator, operator: Callable[..., OpenAIBatchOperator]
    ) -> None:
        emulator.configure(progress="hold")
        with pytest.raises(TaskDeferred) as deferred:
            operator(deferrable=True).execute(a_context())
        event = {"reason": "ended", "ended": deferred.value.trigger.serialize()[1]["batch_ids"], "active": 0}
        with pytest.raises(TaskDeferred) as again:
            operator(deferrable=True).execute_complete(a_context(), event, **deferred.value.kwargs)
        assert again.value.trigger.serialize()[1]["batch_ids"] == event["ended"]

    def test_metrics_are_told_what_waits_and_what_was_done(
        self, emulator: Emulator, operator: Callable[..., OpenAIBatchOperator], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        told: list[dict[str, Any]] = []
        monkeypatch.setattr(metrics, "job", lambda dag_id, task_id, **values: told.append(values))
        emulator.configure(progress="hold")
        with pytest.raises(TaskDeferred) as deferred:
            operator(deferrable=True).execute(a_context())
        finish(emulator)
        operator(deferrable=True).execute_complete(a_context(), {}, **deferred.value.kwargs)
        assert [values["rows_done"] for values in told] == [0, 25]
        assert told[0]["tokens_enqueued"] > 0
        assert told[1]["tokens_enqueued"] == 0

    def test_keeps_secrets_and_rows_out_of_trigger_and_xcom(
        self, emulator: Emulator, operator: Callable[..., OpenAIBatchOperator]
    ) -> None:
        """Invariant 6."""
        emulator.configure(progress="hold")
        ti = FakeTaskInstance()
        with pytest.raises(TaskDeferred) as deferred:
            operator(deferrable=True).execute(a_context(ti))
        everything = json.dumps([deferred.value.trigger.serialize(), deferred.value.kwargs, ti.pushed])
        assert SECRET not in everything
        assert "subject" not in everything
        assert len(json.dumps(deferred.value.trigger.serialize())) < 8000

    def test_lands_in_the_partitions_that_the_first_attempt_was_asked_for(
        self, emulator: Emulator, operator: Callable[..., OpenAIBatchOperator], tmp_path: Path
    ) -> None:
        """A DAG that is edited while the batches run counts from the next attempt on."""
        emulator.configure(progress="hold")
        ti = FakeTaskInstance()
        with pytest.raises(TaskDeferred) as deferred:
            operator(deferrable=True, partition_by="status").execute(a_context(ti))
        finish(emulator)
        resumed = operator(deferrable=True, partition_by=["model", "status"])
        event = {"reason": "ended", "ended": ti.pushed["batch_ids"], "active": 0}
        assert resumed.execute_complete(a_context(ti), event, **deferred.value.kwargs)["parts"] == 3
        assert len(list((tmp_path / "table").glob("status=succeeded/part-*.parquet"))) == 3

    def test_a_second_attempt_goes_on_with_the_first_ones_batches(
        self, emulator: Emulator, operator: Callable[..., OpenAIBatchOperator]
    ) -> None:
        """Invariant 3."""
        emulator.configure(progress="hold")
        for _ in range(2):
            with pytest.raises(TaskDeferred):
                operator(deferrable=True).execute(a_context())
        assert emulator.state()["batches_created"] == 3


class TestBlocking:
    def test_gives_the_same_table_with_polling_on_the_worker(
        self, emulator: Emulator, operator: Callable[..., OpenAIBatchOperator], tmp_path: Path
    ) -> None:
        emulator.configure(progress="reads:3")
        summary = operator(deferrable=False).execute(a_context())
        check_table(tmp_path, some_rows(25))
        assert summary["statuses"] == {"succeeded": 25}

    def test_without_waiting_submits_and_returns_the_batches(
        self, emulator: Emulator, operator: Callable[..., OpenAIBatchOperator], tmp_path: Path
    ) -> None:
        emulator.configure(progress="hold")
        task = operator(destination=None, state_path=str(tmp_path / "state"), wait_for_completion=False)
        summary = task.execute(a_context())
        assert summary["reason"] == "submitted"
        assert len(summary["batch_ids"]) == 3

    def test_only_checks_when_told_to(
        self, emulator: Emulator, operator: Callable[..., OpenAIBatchOperator], tmp_path: Path
    ) -> None:
        found = operator(validate_only=True).execute(a_context())
        assert (found["rows"], found["shards"], found["models"]) == (25, 3, ["gpt-4o-mini"])
        assert emulator.calls() == []
        assert not (tmp_path / "table").exists()

    def test_takes_the_first_rows_for_a_trial(
        self, operator: Callable[..., OpenAIBatchOperator], tmp_path: Path
    ) -> None:
        operator(limit="3").execute(a_context())
        check_table(tmp_path, some_rows(3))

    def test_an_empty_table_can_skip_the_task(
        self, operator: Callable[..., OpenAIBatchOperator], tmp_path: Path
    ) -> None:
        empty = tmp_path / "empty.csv"
        empty.write_text("key,text\n")
        with pytest.raises(AirflowSkipException):
            operator(source=str(empty), on_empty="skip").execute(a_context())


class TestBadInput:
    """Each gets one clear error, without a retry, and nothing is sent."""

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"source": "{tmp}/nothing.parquet"}, "nothing.parquet"),
            ({"source": "{tmp}/*.orc"}, "orc"),
            ({"endpoint": "/v1/chat/completion"}, "Did you mean '/v1/chat/completions'"),
            ({"body": {**BODY, "messages": [{"role": "user", "content": "{txt}"}]}}, "text"),
            ({"body": {**BODY, "stream": True}}, "stream"),
            ({"custom_id": "same-{model_name}"}, "model_name"),
            ({"custom_id": "same"}, "row"),
            ({"conn_id": "nowhere"}, "There is no connection 'nowhere'"),
            ({"destination": "/proc/nowhere"}, "/proc/nowhere"),
            ({"destination": None}, "There is no folder for the job's ledger"),
        ],
    )
    def test_is_named(
        self,
        emulator: Emulator,
        operator: Callable[..., OpenAIBatchOperator],
        tmp_path: Path,
        changes: dict[str, Any],
        message: str,
    ) -> None:
        given = {
            key: value.replace("{tmp}", str(tmp_path)) if isinstance(value, str) else value
            for key, value in changes.items()
        }
        with pytest.raises(AirflowFailException, match=message):
            operator(**given).execute(a_context())
        assert [call for call in emulator.calls() if call["method"] == "POST"] == []

    def test_a_key_that_is_missing_is_named(
        self, emulator: Emulator, operator: Callable[..., OpenAIBatchOperator], connection: Define
    ) -> None:
        connection(host=emulator.base_url, password="")
        with pytest.raises(AirflowFailException, match="key"):
            operator().execute(a_context())

    def test_a_wrong_base_url_is_named(
        self, emulator: Emulator, operator: Callable[..., OpenAIBatchOperator], connection: Define
    ) -> None:
        connection(host=emulator.root_url + "/nothing")
        with pytest.raises(AirflowFailException, match="check the base URL"):
            operator().execute(a_context())


class TestRows:
    def test_from_an_upstream_task_reach_neither_jinja_nor_the_rendered_fields(
        self, operator: Callable[..., OpenAIBatchOperator], tmp_path: Path
    ) -> None:
        rows = [{"key": "a", "text": "{{ not_jinja }}"}, {"key": "b", "text": "plain"}]
        task = operator(source=rows)
        task.render_template_fields({"ti": FakeTaskInstance()})
        assert task.source == "<2 rows>"
        task.execute(a_context())
        check_table(tmp_path, rows)

    def test_that_are_too_many_for_an_xcom_are_refused_with_the_way_out(
        self, operator: Callable[..., OpenAIBatchOperator]
    ) -> None:
        rows = [{"text": "x" * 100_000}] * 101
        with pytest.raises(AirflowFailException, match="write a Parquet, JSONL or CSV file"):
            operator(source=rows).render_template_fields({"ti": FakeTaskInstance()})

    def test_a_text_with_braces_of_jinja_in_the_body_is_rendered_by_airflow_first(
        self, operator: Callable[..., OpenAIBatchOperator]
    ) -> None:
        body = {"model": "m", "messages": [{"role": "user", "content": "{{ day }}: {text}"}]}
        task = operator(body=body)
        task.render_template_fields({"ti": FakeTaskInstance(), "day": "Monday"})
        assert task.body["messages"][0]["content"] == "Monday: {text}"


class TestTheStatePath:
    def test_of_the_first_attempt_wins_over_one_that_renders_differently_later(
        self, emulator: Emulator, operator: Callable[..., OpenAIBatchOperator], tmp_path: Path
    ) -> None:
        emulator.configure(progress="hold")
        store = FakeStateStore()
        for path in ("first", "second"):
            with pytest.raises(TaskDeferred):
                operator(deferrable=True, state_path=str(tmp_path / path)).execute(a_context(store=store))
        assert store[STATE_KEY] == str(tmp_path / "first")
        assert emulator.state()["batches_created"] == 3

    @pytest.mark.parametrize("has_store", [False, True], ids=["without a task state store", "with one"])
    def test_that_is_set_later_does_not_begin_the_job_anew(
        self,
        emulator: Emulator,
        operator: Callable[..., OpenAIBatchOperator],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        has_store: bool,
    ) -> None:
        """In flight, woken, and finished: the ledger beside the table, then one in the configured place, is found."""
        emulator.configure(progress="hold")
        store = FakeStateStore() if has_store else None
        with pytest.raises(TaskDeferred) as deferred:
            operator(deferrable=True).execute(a_context(store=store))
        monkeypatch.setenv("AIRFLOW__OPENAI_BATCH__STATE_PATH", str(tmp_path / "configured"))
        with pytest.raises(TaskDeferred):
            operator(deferrable=True).execute(a_context(store=store))
        finish(emulator)
        task = operator(state_path=str(tmp_path / "argument"))
        task.execute_complete(a_context(store=store), {}, **deferred.value.kwargs)
        task.execute_complete(a_context(store=store), {}, job=deferred.value.kwargs["job"])  # as release 0.1 deferred
        again = FakeTaskInstance(max_tries=1)
        operator(state_path=str(tmp_path / "argument")).execute(a_context(again, store=store))
        assert statuses(tmp_path) == {"succeeded": 25}
        assert emulator.state()["batches_created"] == 3
        assert not (tmp_path / "argument").exists()
        assert not (tmp_path / "configured").exists()

    def test_of_a_finished_job_is_known_from_its_manifest(
        self, emulator: Emulator, operator: Callable[..., OpenAIBatchOperator], tmp_path: Path
    ) -> None:
        operator(state_path=str(tmp_path / "first")).execute(a_context())
        operator(state_path=str(tmp_path / "second")).execute(a_context(FakeTaskInstance(max_tries=1)))
        assert emulator.state()["batches_created"] == 3
        assert not (tmp_path / "second").exists()

    def test_that_was_wrong_is_not_remembered(
        self, operator: Callable[..., OpenAIBatchOperator], tmp_path: Path
    ) -> None:
        (tmp_path / "file").write_text("")
        store = FakeStateStore()
        with pytest.raises(AirflowException, match="cannot"):
            operator(state_path=str(tmp_path / "file")).execute(a_context(store=store))
        operator(state_path=str(tmp_path / "right")).execute(a_context(store=store))
        assert store[STATE_KEY] == str(tmp_path / "right")

    def test_that_cannot_be_read_stops_the_task_before_anything_is_sent(
        self,
        emulator: Emulator,
        operator: Callable[..., OpenAIBatchOperator],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("AIRFLOW__OPENAI_BATCH__STATE_PATH", str(tmp_path / "file"))
        with pytest.raises(AirflowException, match=r"may have this task's ledger, .* Nothing was sent"):
            operator(state_path=str(tmp_path / "right")).execute(a_context())
        assert emulator.state()["batches_created"] == 0

    def test_comes_from_the_configuration_where_no_argument_is_given(
        self, operator: Callable[..., OpenAIBatchOperator], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AIRFLOW__OPENAI_BATCH__STATE_PATH", str(tmp_path / "configured"))
        operator().execute(a_context())
        assert list((tmp_path / "configured").rglob("ledger.json"))
        assert statuses(tmp_path) == {"succeeded": 25}
