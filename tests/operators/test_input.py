"""The operator's arguments for its input: a query, filters, samples, files in prompts."""

from __future__ import annotations

import base64
import dataclasses
import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSkipException,
    ObjectStoragePath,
    TaskDeferred,
)

from airflow_provider_batch.emulator.testing import Emulator
from airflow_provider_batch.operators.openai_batch import OpenAIBatchOperator
from tests.airflow_versions import ResolveMixin, allow_class, deserialize, serialize
from tests.jobs.support import some_rows
from tests.operators.support import FakeTaskInstance, a_context, finish

Define = Callable[..., str]
SELECT = "SELECT key, text FROM tickets WHERE number < :most ORDER BY number"


@pytest.fixture
def warehouse(tmp_path: Path, connection: Define) -> Path:
    """A database with 100 tickets; the connection `warehouse` leads to it."""
    path = tmp_path / "warehouse.db"
    with closing(sqlite3.connect(path)) as opened:
        opened.execute("CREATE TABLE tickets (number INTEGER, key TEXT, text TEXT)")
        rows = [(number, row["key"], row["text"]) for number, row in enumerate(some_rows(100))]
        opened.executemany("INSERT INTO tickets VALUES (?, ?, ?)", rows)
        opened.commit()
    connection("warehouse", conn_type="sqlite", host=str(path), password=None)
    return path


def landed(tmp_path: Path) -> list[tuple[Any, ...]]:
    query = f"SELECT key, row_number, status FROM '{tmp_path}/table/*.parquet' ORDER BY row_number"
    return duckdb.sql(query).fetchall()


@pytest.mark.parametrize("checks", [True, False])
def test_values_are_checked_before_anything_is_sent_unless_that_is_switched_off(
    emulator: Emulator, operator: Callable[..., OpenAIBatchOperator], checks: bool
) -> None:
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "{text}"}], "seed": "{key}"}
    task = operator(source=some_rows(3), body=body, check_bodies=checks)
    if checks:
        with pytest.raises(AirflowFailException, match="expected a whole number as 'seed'"):
            task.execute(a_context())
        assert emulator.state()["batches_created"] == 0
    else:
        assert task.execute(a_context())["input_rows"] == 3


class TestQueries:
    def test_a_query_becomes_a_table(
        self, operator: Callable[..., OpenAIBatchOperator], warehouse: Path, tmp_path: Path
    ) -> None:
        task = operator(sql=SELECT, sql_conn_id="warehouse", sql_parameters={"most": 25})
        assert task.execute(a_context())["statuses"] == {"succeeded": 25}
        assert landed(tmp_path) == [(f"k{number}", number, "succeeded") for number in range(25)]

    def test_is_not_run_again_while_its_batches_run(
        self,
        emulator: Emulator,
        operator: Callable[..., OpenAIBatchOperator],
        warehouse: Path,
        tmp_path: Path,
    ) -> None:
        """Invariant 3: the tickets are gone when the second attempt and the woken task come."""
        emulator.configure(progress="hold")
        arguments = {"sql": SELECT, "sql_conn_id": "warehouse", "sql_parameters": {"most": 25}, "deferrable": True}
        ti = FakeTaskInstance()
        with pytest.raises(TaskDeferred):
            operator(**arguments).execute(a_context(ti))
        warehouse.unlink()
        with pytest.raises(TaskDeferred) as deferred:
            operator(**arguments).execute(a_context(ti))
        assert emulator.state()["batches_created"] == 3
        finish(emulator)
        event = {"reason": "ended", "ended": ti.pushed["batch_ids"], "active": 0}
        operator(**arguments).execute_complete(a_context(ti), event, **deferred.value.kwargs)
        assert len(landed(tmp_path)) == 25

    def test_changed_while_its_batches_run_is_a_changed_input(
        self, emulator: Emulator, operator: Callable[..., OpenAIBatchOperator], warehouse: Path
    ) -> None:
        emulator.configure(progress="hold")
        arguments = {"sql": SELECT, "sql_conn_id": "warehouse", "deferrable": True}
        with pytest.raises(TaskDeferred):
            operator(**arguments, sql_parameters={"most": 25}).execute(a_context())
        with pytest.raises(Exception, match="source changed since this task's job was begun"):
            operator(**arguments, sql_parameters={"most": 26}).execute(a_context())

    def test_finished_lands_again_for_free_and_without_the_database(
        self, emulator: Emulator, operator: Callable[..., OpenAIBatchOperator], warehouse: Path, tmp_path: Path
    ) -> None:
        arguments = {"sql": SELECT, "sql_conn_id": "warehouse", "sql_parameters": {"most": 5}, "keep_shards": True}
        operator(**arguments).execute(a_context())
        warehouse.unlink()
        for part in (tmp_path / "table").glob("*.parquet"):
            part.unlink()
        operator(**arguments).execute(a_context())
        assert len(landed(tmp_path)) == 5
        assert emulator.state()["batches_created"] == 1

    @pytest.mark.parametrize("given", [{}, {"source": "a.csv", "sql": "SELECT 1"}])
    def test_is_instead_of_a_source(self, operator: Callable[..., OpenAIBatchOperator], given: dict[str, str]) -> None:
        with pytest.raises(ValueError, match="give either source or sql"):
            operator(**given)

    def test_needs_a_connection(self, operator: Callable[..., OpenAIBatchOperator]) -> None:
        with pytest.raises(Exception, match="sql needs sql_conn_id"):
            operator(sql="SELECT 1").execute(a_context())

    def test_is_templated_and_shown_as_sql(self, operator: Callable[..., OpenAIBatchOperator], warehouse: Path) -> None:
        task = operator(
            sql="SELECT * FROM tickets WHERE day = '{{ ds }}'",
            sql_conn_id="{{ wh }}",
            sql_parameters={"most": "{{ ds }}"},
            filters=[("day", "=", "{{ ds }}")],
            sample="{{ share }}",
        )
        task.render_template_fields({"ds": "2026-11-01", "wh": "warehouse", "share": 0.5})
        assert task.sql == "SELECT * FROM tickets WHERE day = '2026-11-01'"
        assert (task.sql_conn_id, task.sql_parameters) == ("warehouse", {"most": "2026-11-01"})
        assert [list(condition) for condition in task.filters or ()] == [["day", "=", "2026-11-01"]]
        assert task.sample == "0.5"
        assert task.template_fields_renderers["sql"] == "sql"


class TestFormats:
    def test_a_table_of_spark_is_read_where_its_escape_is_stated(
        self, emulator: Emulator, operator: Callable[..., OpenAIBatchOperator], tmp_path: Path
    ) -> None:
        (tmp_path / "part-00000").write_text('key;text\nk0;"say \\"hi\\"; now"\n')
        task = operator(
            source=str(tmp_path / "part-00000"),
            format="{{ kind }}",
            format_options={"delimiter": "{{ cut }}", "escape": "\\"},
            keep_shards=True,
        )
        task.render_template_fields({"kind": "csv", "cut": ";"})
        assert task.execute(a_context())["statuses"] == {"succeeded": 1}
        (shard,) = (tmp_path / "table" / "_openai_batch").rglob("g1/*.jsonl")
        assert 'say "hi"; now' in json.loads(shard.read_text())["body"]["messages"][0]["content"]

    def test_without_it_nothing_is_sent_and_the_error_names_it(
        self, emulator: Emulator, operator: Callable[..., OpenAIBatchOperator], tmp_path: Path
    ) -> None:
        (tmp_path / "a.csv").write_text('key,text\nk0,"say \\"hi\\""\n')
        with pytest.raises(Exception, match=r'a\.csv, line 2: .*Give format_options=\{"escape": "'):
            operator(source=str(tmp_path / "a.csv")).execute(a_context())
        assert emulator.state()["batches_created"] == 0
        with pytest.raises(Exception, match=r"no option 'escaped'. Did you mean 'escape'"):
            operator(source="a.csv", format_options={"escaped": "x"}).execute(a_context())

    def test_another_format_is_another_job(
        self, emulator: Emulator, operator: Callable[..., OpenAIBatchOperator], tmp_path: Path
    ) -> None:
        emulator.configure(progress="hold")
        (tmp_path / "a.csv").write_text("key,text\nk0,x\n")
        source = {"source": str(tmp_path / "a.csv"), "deferrable": True}
        for _ in range(2):
            with pytest.raises(TaskDeferred):
                operator(**source).execute(a_context())
        with pytest.raises(Exception, match="options changed since this task's job was begun"):
            operator(**source, format_options={"null_values": ["x"]}).execute(a_context())
        assert emulator.state()["batches_created"] == 1

    def test_files_without_a_byte_are_the_empty_table(
        self, emulator: Emulator, operator: Callable[..., OpenAIBatchOperator], tmp_path: Path
    ) -> None:
        (tmp_path / "a.csv").touch()
        assert operator(source=str(tmp_path / "a.csv")).execute(a_context())["rows"] == 0
        with pytest.raises(AirflowSkipException):
            operator(source=str(tmp_path / "a.csv"), on_empty="skip", destination=str(tmp_path / "other")).execute(
                a_context()
            )


class TestRows:
    def test_filters_and_samples_leave_rows_that_keep_their_numbers(
        self, operator: Callable[..., OpenAIBatchOperator], tmp_path: Path
    ) -> None:
        (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps(row) for row in some_rows(40)))
        task = operator(source=str(tmp_path / "rows.jsonl"), filters=[("key", ">=", "k2")], sample="0.5", limit=6)
        assert task.execute(a_context())["rows"] == 6
        rows = landed(tmp_path)
        assert all(key == f"k{number}" and key >= "k2" for key, number, _ in rows)
        assert len(rows) == 6

    def test_changed_filters_are_a_changed_job(
        self, emulator: Emulator, operator: Callable[..., OpenAIBatchOperator], tmp_path: Path
    ) -> None:
        emulator.configure(progress="hold")
        (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps(row) for row in some_rows(40)))
        source = {"source": str(tmp_path / "rows.jsonl"), "deferrable": True}
        for filters in ([("key", "in", {"k1", "k2", "k3"})], [("key", "in", ["k1", "k2", "k3"])]):
            with pytest.raises(TaskDeferred):
                operator(**source, filters=filters).execute(a_context())
        assert emulator.state()["batches_created"] == 1
        for changes in ({"filters": [("key", "=", "k1")]}, {"sample": 0.5}, {"data_urls": ["key"]}):
            with pytest.raises(Exception, match="options changed since this task's job was begun"):
                operator(**source, **changes).execute(a_context())

    def test_images_reach_the_api_as_data_urls(
        self, emulator: Emulator, operator: Callable[..., OpenAIBatchOperator], tmp_path: Path
    ) -> None:
        image = b"\x89PNG\r\n\x1a\n" + bytes(10)
        (tmp_path / "k0.png").write_bytes(image)
        content = [{"type": "image_url", "image_url": {"url": "{key}"}}]
        body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": content}]}
        task = operator(source=[{"key": str(tmp_path / "k0.png")}], body=body, data_urls=["key"], keep_shards=True)
        assert task.execute(a_context())["statuses"] == {"succeeded": 1}
        (shard,) = (tmp_path / "table" / "_openai_batch").rglob("g1/*.jsonl")
        sent = json.loads(shard.read_text())["body"]["messages"][0]["content"][0]["image_url"]["url"]
        assert sent == f"data:image/png;base64,{base64.b64encode(image).decode()}"
        assert landed(tmp_path)[0][0] == str(tmp_path / "k0.png")

    @pytest.mark.parametrize(("name", "value"), [("sample", "half"), ("limit", "ten")])
    def test_a_number_that_is_none_is_one_clear_error(
        self, operator: Callable[..., OpenAIBatchOperator], name: str, value: str
    ) -> None:
        with pytest.raises(Exception, match=f"{name}: expected a number, found '{value}'"):
            operator(source=some_rows(1), **{name: value}).execute(a_context())


@dataclasses.dataclass
class Ticket:
    key: str
    text: str


allow_class(Ticket)


class UpstreamResult(ResolveMixin):
    """What a task returned, as another task gets it: through Airflow's serialisation."""

    def __init__(self, returned: Any) -> None:
        self._stored = json.dumps(serialize(returned))

    def iter_references(self) -> Iterator[Any]:
        return iter(())

    def resolve(self, context: Any, include_xcom: bool = True) -> Any:
        return deserialize(json.loads(self._stored))


def executed(task: OpenAIBatchOperator) -> dict[str, Any]:
    context = a_context()
    task.render_template_fields(context)
    return task.execute(context)


class TestResultsOfTasks:
    @pytest.mark.parametrize(
        "returned",
        [
            some_rows(2),
            tuple(some_rows(2)),
            [Ticket(**row) for row in some_rows(2)],
            {"key": ["k0", "k1"], "text": ["subject 0", "subject 1"]},
            [[row] for row in some_rows(2)],
        ],
    )
    def test_are_tables_as_airflow_hands_them_over(
        self, operator: Callable[..., OpenAIBatchOperator], tmp_path: Path, returned: Any
    ) -> None:
        task = operator(source=UpstreamResult(returned))
        assert executed(task)["statuses"] == {"succeeded": 2}
        assert [row[0] for row in landed(tmp_path)] == ["k0", "k1"]
        assert task.source == "<2 rows>"

    def test_may_be_the_address_of_a_file_or_several(
        self, operator: Callable[..., OpenAIBatchOperator], tmp_path: Path
    ) -> None:
        path = tmp_path / "rows.csv"
        path.write_text("key,text\nk0,subject 0\n")
        for returned in (str(path), [str(path)], ObjectStoragePath(str(path))):
            assert executed(operator(source=UpstreamResult(returned), if_exists="replace"))["rows"] == 1

    @pytest.mark.parametrize(
        ("returned", "message"),
        [
            (None, "the upstream task returned None, or nothing at all"),
            ("Say hello", "the upstream task returned the text 'Say hello'"),
            ([["a", "b"]], "a list as row 0"),
            ({"destination": "s3://b/t", "statuses": {}}, "the summary of a job"),
        ],
    )
    def test_that_are_no_table_fail_the_task_before_anything_is_sent(
        self, emulator: Emulator, operator: Callable[..., OpenAIBatchOperator], returned: Any, message: str
    ) -> None:
        with pytest.raises(AirflowFailException, match=message):
            executed(operator(source=UpstreamResult(returned)))
        assert emulator.state()["uploads"] == 0

    @pytest.mark.parametrize(
        "text", ["[{'key': 'k0'}]", "None", "", "   key text\n0  k0  subject", "<generator at 0x1>"]
    )
    def test_that_a_template_turned_into_text_are_called_that(
        self, operator: Callable[..., OpenAIBatchOperator], text: str
    ) -> None:
        task = operator(source="{{ result }}")
        task.render_template_fields({"result": text})
        with pytest.raises(AirflowFailException, match="instead of a template"):
            task.execute(a_context())

    def test_that_a_native_template_gives_are_tables(self, operator: Callable[..., OpenAIBatchOperator]) -> None:
        task = operator(source="{{ result }}")
        task.source = pl.DataFrame(some_rows(2))  # type: ignore[assignment]
        assert task.execute(a_context())["rows"] == 2
