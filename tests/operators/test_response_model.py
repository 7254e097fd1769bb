"""`response_model` on the operators and the decorator: through templates, mapping, a deferral and serialisation."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException, TaskDeferred, task
from pydantic import BaseModel

from airflow_provider_batch.emulator.testing import Emulator
from airflow_provider_batch.operators.openai_batch import OpenAIBatchOperator
from airflow_provider_batch.transfers.openai_batch_to_parquet import OpenAIBatchToParquetOperator
from tests.airflow_versions import DagSerialization
from tests.jobs.support import BODY, some_rows, statuses, table
from tests.operators.support import FakeTaskInstance, a_context, finish


class Verdict(BaseModel):
    """{{ not_jinja }} and {text}: what stands in a schema is no template."""

    label: str
    score: float


ASKED: dict[str, Any] = {"endpoint": "/v1/chat/completions", "body": BODY, "poll_interval": 0.05, "max_shard_rows": 10}


@pytest.fixture(autouse=True)
def _account(emulator: Emulator, connection: Callable[..., str]) -> None:
    connection(host=emulator.base_url)


def execute(operator: Any, ti: FakeTaskInstance | None = None) -> Any:
    context = a_context(ti)
    operator.render_template_fields(context)
    return operator.execute(context)


@pytest.mark.parametrize("model", [Verdict, Verdict.model_json_schema()], ids=["class", "schema"])
def test_answers_land_as_a_struct(tmp_path: Path, model: Any) -> None:
    operator = OpenAIBatchOperator(
        task_id="t", source=some_rows(5), destination=str(tmp_path / "table"), response_model=model, **ASKED
    )
    execute(operator)
    assert operator.response_model == model
    assert table(tmp_path, "count(*) filter (parsed.label <> '' and parsed.score >= 0)", "1") == [(5,)]


def test_a_task_that_was_woken_lands_them_too(emulator: Emulator, tmp_path: Path) -> None:
    emulator.configure(progress="hold")
    emulator.fault(kind="answer", custom_id="2", message="I cannot tell.")
    given = {"task_id": "t", "destination": str(tmp_path / "table"), "deferrable": True, **ASKED}
    with pytest.raises(TaskDeferred) as deferred:
        execute(OpenAIBatchOperator(source=some_rows(5), response_model=Verdict, **given))
    finish(emulator)
    woken = OpenAIBatchOperator(source="not read again", response_model=Verdict, **given)
    event = {"reason": "ended", "ended": [], "active": 0}
    woken.execute_complete(a_context(), event, **deferred.value.kwargs)
    assert statuses(tmp_path) == {"succeeded": 4, "invalid_output": 1}
    assert table(tmp_path, "count(parsed.label)", "1") == [(4,)]


def test_the_loader_parses_with_a_model_of_its_own(tmp_path: Path) -> None:
    given = {"state_path": str(tmp_path / "state"), "wait_for_completion": False}
    summary = execute(OpenAIBatchOperator(task_id="t", source=some_rows(5), response_model=Verdict, **given, **ASKED))
    for changes in ({}, {"response_model": {"type": "object", "properties": {"label": {"type": "string"}}}}):
        execute(
            OpenAIBatchToParquetOperator(task_id="l", batch_id=summary, destination=str(tmp_path / "table"), **changes)
        )
        assert table(tmp_path, "count(parsed.label)", "1") == [(5,)]
    assert table(tmp_path, "distinct typeof(parsed)", "1") == [('STRUCT("label" VARCHAR)',)]


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("models.Verdict", "response_model: expected a Pydantic model class or a JSON Schema as a dict, found str"),
        (
            type("Any", (BaseModel,), {"__annotations__": {"a": Any}}),
            "response_model: Any.a: any value is allowed here",
        ),
        ({"type": "objekt"}, "response_model: not a valid JSON Schema"),
    ],
)
def test_what_is_no_model_fails_without_a_retry_before_anything_is_sent(
    emulator: Emulator, tmp_path: Path, model: Any, message: str
) -> None:
    for only_checked in (False, True):
        operator = OpenAIBatchOperator(
            task_id="t",
            source=some_rows(5),
            destination=str(tmp_path / "table"),
            response_model=model,
            validate_only=only_checked,
            **ASKED,
        )
        with pytest.raises(AirflowFailException, match=message):
            execute(operator)
    assert emulator.calls() == []


class TestInADag:
    def a_dag(self, tmp_path: Path) -> DAG:
        given = {"destination": str(tmp_path / "table"), "response_model": Verdict, **ASKED}
        with DAG("dag", schedule=None) as dag:
            OpenAIBatchOperator(task_id="plain", source="rows.parquet", **given)
            OpenAIBatchOperator.partial(task_id="mapped", **given).expand(source=["a", "b"])
            OpenAIBatchToParquetOperator(task_id="load", batch_id="b", destination="d", response_model=Verdict)

            @task.openai_batch(**given)
            def decorated() -> list[dict[str, Any]]:
                return some_rows(3)

            @task.openai_batch(**given)
            def mapped_too(count: int) -> list[dict[str, Any]]:
                return some_rows(count)

            decorated()
            mapped_too.expand(count=[1, 2])
        return dag

    def test_a_class_survives_serialisation(self, tmp_path: Path) -> None:
        dag = self.a_dag(tmp_path)
        written = json.dumps(DagSerialization.to_dict(dag))
        assert written == json.dumps(DagSerialization.to_dict(self.a_dag(tmp_path)))
        assert set(DagSerialization.from_dict(json.loads(written)).task_dict) == set(dag.task_dict)

    def test_a_mapped_task_gets_the_class(self, tmp_path: Path) -> None:
        mapped: Any = self.a_dag(tmp_path).task_dict["mapped"]
        operator = mapped.unmap({"source": some_rows(3)})
        assert operator.response_model is Verdict
        execute(operator)
        assert table(tmp_path, "count(parsed.label)", "1") == [(3,)]

    def test_a_decorated_task_gets_the_class(self, tmp_path: Path) -> None:
        execute(self.a_dag(tmp_path).task_dict["decorated"])
        assert table(tmp_path, "count(parsed.label)", "1") == [(3,)]
