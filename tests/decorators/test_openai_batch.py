"""`@task.openai_batch`: the operator over what a function returns."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException, task

from airflow_provider_batch.emulator.testing import Emulator
from tests.jobs.support import BODY, check_table, some_rows, table
from tests.operators.support import a_context


def run(function: Callable[[], Any], tmp_path: Path) -> dict[str, Any]:
    """Make a DAG with one decorated task, and execute it."""
    with DAG(dag_id="dag", schedule=None):
        made = task.openai_batch(
            endpoint="/v1/chat/completions",
            body=BODY,
            destination=str(tmp_path / "table"),
            poll_interval=0.05,
            max_shard_rows=10,
        )(function)()
    operator = made.operator
    context = a_context()
    operator.render_template_fields(context)
    return operator.execute(context)


@pytest.fixture(autouse=True)
def _account(emulator: Emulator, connection: Callable[..., str]) -> None:
    connection(host=emulator.base_url)


def test_rows_that_a_function_returns_become_a_table_and_are_no_templates(tmp_path: Path) -> None:
    rows = [*some_rows(12), {"key": "k12", "text": "{{ no_template }}"}]

    def tickets() -> list[dict[str, Any]]:
        return rows

    summary = run(tickets, tmp_path)
    check_table(tmp_path, rows)
    assert summary["batches"] == 2


def test_a_path_that_a_function_returns_is_read(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("key,text\nk0,subject 0\nk1,subject 1\n")

    def tickets() -> str:
        return str(tmp_path / "rows.csv")

    run(tickets, tmp_path)
    check_table(tmp_path, some_rows(2))


def test_what_is_said_of_the_rows_holds_for_those_of_a_function(tmp_path: Path) -> None:
    def tickets() -> list[dict[str, Any]]:
        return some_rows(9)

    with DAG(dag_id="dag", schedule=None):
        made = task.openai_batch(
            endpoint="/v1/chat/completions",
            body=BODY,
            destination=str(tmp_path / "table"),
            poll_interval=0.05,
            filters=[("key", ">=", "{{ ds }}")],
            limit=2,
        )(tickets)()
    context = {**a_context(), "ds": "k5"}
    made.operator.render_template_fields(context)
    assert made.operator.execute(context)["rows"] == 2


def test_the_format_of_the_files_that_a_function_names_is_an_argument(tmp_path: Path) -> None:
    (tmp_path / "part-00000").write_text("key|text\nk0|subject 0\nk1|subject 1\n")

    def tickets() -> str:
        return str(tmp_path / "part-00000")

    with DAG(dag_id="dag", schedule=None):
        made = task.openai_batch(
            endpoint="/v1/chat/completions",
            body=BODY,
            destination=str(tmp_path / "table"),
            poll_interval=0.05,
            format="{{ kind }}",
            format_options={"delimiter": "|"},
        )(tickets)()
    context = {**a_context(), "kind": "csv"}
    made.operator.render_template_fields(context)
    made.operator.execute(context)
    check_table(tmp_path, some_rows(2))


PROMPTS = ["subject 0", "subject 1"]


@pytest.mark.parametrize(
    "given",
    [
        lambda: PROMPTS,
        lambda: (prompt for prompt in PROMPTS),
        lambda: pl.DataFrame({"text": PROMPTS}),
        lambda: pa.table({"text": PROMPTS}),
        lambda: {"text": PROMPTS},
    ],
)
def test_whatever_table_a_function_returns_is_answered_whole(tmp_path: Path, given: Callable[[], Any]) -> None:
    def tickets() -> Any:
        return given()

    assert run(tickets, tmp_path)["statuses"] == {"succeeded": 2}
    assert table(tmp_path, "input_text") == [(prompt,) for prompt in PROMPTS]


@pytest.mark.parametrize("given", [None, 5, "Say hello to me", {"text": "one"}, [["a"]], [None], {}, b"x"])
def test_what_is_no_table_fails_the_task_and_nothing_is_sent(emulator: Emulator, tmp_path: Path, given: Any) -> None:
    """Never an empty table and a green task."""

    def tickets() -> Any:
        return given

    with pytest.raises(AirflowFailException, match="source: the function returned"):
        run(tickets, tmp_path)
    assert emulator.state()["batches_created"] == 0
    assert not (tmp_path / "table").exists()
