"""
Every example runs as it is printed: real Airflow processes, the emulator in place of the API, tables read back with
DuckDB.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_provider_batch.emulator.testing import Emulator
from demo.airflow_processes import AirflowProcesses

EXAMPLES = Path(__file__).parents[2] / "example_dags"

#: DAG id → what its folder is expected to define; a new example without a test fails here.
DAG_IDS = {
    "answer_a_table": "openai_batch_answer_a_table",
    "daily_partitions": "openai_batch_daily_partitions",
    "embed_a_table": "openai_batch_embed_a_table",
    "every_endpoint": "openai_batch_every_endpoint",
    "extract_invoices": "openai_batch_extract_invoices",
    "ready_made_requests": "openai_batch_ready_made_requests",
    "submit_wait_land": "openai_batch_submit_wait_land",
}

#: Seconds that a look at a batch takes. With none, a task would resume before the scheduler has taken note of the end
#: of the worker that deferred it, and Airflow 3.3 may then fail it (apache/airflow#72716).
LOOK = 4.0

#: On a busy machine that can happen all the same. A retry then lands what is there; nothing is paid for again.
RETRIES = {"core.default_task_retries": "2", "core.default_task_retry_delay": "1"}

#: Seconds in which a run ends, even on a busy machine.
RUN_TIMEOUT = 300.0

#: What a DAG file must not import when it is parsed: each is paid for by every parse and every start of a task.
HEAVY = ("openai", "pyarrow", "pandas", "numpy", "genai_prices", "duckdb", "fastapi")

#: Processor seconds that all examples together may take to parse, Airflow itself not counted.
PARSE_BUDGET = 2.0

PARSE = """
import json, runpy, sys, time
import airflow.sdk
from airflow.sdk import DAG, ObjectStoragePath, Param
before, started, dag_ids = set(sys.modules), time.process_time(), []
for file in sys.argv[1:]:
    module = runpy.run_path(file)
    dag_ids += [value.dag_id for value in module.values() if isinstance(value, DAG)]
print(json.dumps({"seconds": time.process_time() - started, "modules": sorted(set(sys.modules) - before)}))
"""

Run = Callable[..., str]


@pytest.fixture(scope="module")
def airflow(emulator_process: Emulator) -> Iterator[AirflowProcesses]:
    connection = {"conn_type": "openai_batch", "host": emulator_process.base_url, "password": "k"}
    with AirflowProcesses(EXAMPLES, connections={"openai_default": connection}, config=RETRIES) as airflow:
        airflow.wait_for_dags(DAG_IDS.values())
        yield airflow


@pytest.fixture
def run(airflow: AirflowProcesses, emulator: Emulator) -> Run:
    """Run an example to its end with these params; it must succeed."""
    emulator.fault(kind="slow_route", method="GET", path="/v1/batches/*", seconds=LOOK)

    def run(example: str, logical_date: str | None = None, **params: Any) -> str:
        dag_id = DAG_IDS[example]
        run_id = airflow.api.trigger(dag_id, {key: str(value) for key, value in params.items()}, logical_date)
        airflow.api.wait_for_success(dag_id, run_id, timeout=RUN_TIMEOUT)
        assert emulator.state()["repeated_executions"] == []
        return run_id

    return run


def write(path: Path, columns: dict[str, list[Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
    return path


def query(folder: Path, sql: str) -> list[tuple[Any, ...]]:
    """Query the dataset of a folder under the name ``result``, as a user with DuckDB does."""
    with duckdb.connect() as connection:
        return connection.execute(f"with result as (from read_parquet('{folder}/*.parquet')) {sql}").fetchall()


def test_every_example_has_a_test_here() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(DAG_IDS)


def test_examples_parse_quickly_and_import_nothing_heavy() -> None:
    files = sorted(map(str, EXAMPLES.glob("*.py")))
    parsed = subprocess.run([sys.executable, "-c", PARSE, *files], check=True, capture_output=True, text=True)
    report = json.loads(parsed.stdout.splitlines()[-1])
    assert [name for name in HEAVY if name in report["modules"]] == []
    assert report["seconds"] < PARSE_BUDGET


@pytest.mark.system
def test_answer_a_table(run: Run, tmp_path: Path) -> None:
    texts = [f"The printer on floor {number} is on fire." for number in range(30)]
    tickets = {"ticket_id": list(range(100, 130)), "text": texts}
    write(tmp_path / "tickets" / "ds=2026-11-20" / "part.parquet", tickets)
    run("answer_a_table", "2026-11-20T00:00:00Z", source=tmp_path / "tickets", destination=tmp_path / "answers")
    answers = tmp_path / "answers" / "ds=2026-11-20"
    assert query(answers, "select count(*), count(distinct ticket_id), min(ticket_id), max(ticket_id) from result") == [
        (30, 30, 100, 129)
    ]
    assert query(answers, "select distinct status, length(text) > 0, input_tokens > 0, cost_usd > 0 from result") == [
        ("succeeded", True, True, True)
    ]
    assert query(answers, "select count(*) from (describe result) where column_name = 'text'") == [(1,)]


@pytest.mark.system
def test_submit_wait_land(run: Run, tmp_path: Path) -> None:
    source = write(tmp_path / "tickets.parquet", {"ticket_id": ["a", "b", "c"], "text": ["Guten Tag", "Salut", "Ahoj"]})
    folders = {"destination": tmp_path / "answers", "state_path": tmp_path / "state"}
    run("submit_wait_land", source=source, **folders)
    assert query(
        folders["destination"], "select ticket_id, status, length(text) > 0 from result order by row_number"
    ) == [
        ("a", "succeeded", True),
        ("b", "succeeded", True),
        ("c", "succeeded", True),
    ]


@pytest.mark.system
def test_embed_a_table(run: Run, tmp_path: Path) -> None:
    paragraphs = ["The cat sat on the mat.", "A cat was sitting on a mat.", "Interest rates rose by half a percent."]
    columns = {"document": ["x", "x", "y"], "position": [0, 1, 0], "paragraph": paragraphs}
    source = write(tmp_path / "paragraphs.parquet", columns)
    run("embed_a_table", source=source, destination=tmp_path / "embeddings")
    embeddings = tmp_path / "embeddings"
    assert query(embeddings, "select document, position, len(embedding), status from result order by row_number") == [
        ("x", 0, 256, "succeeded"),
        ("x", 1, 256, "succeeded"),
        ("y", 0, 256, "succeeded"),
    ]
    nearest = """
        select b.row_number from result as a, result as b where a.row_number = 0 and b.row_number > 0
        order by list_cosine_similarity(a.embedding::float[], b.embedding::float[]) desc limit 1
    """
    assert query(embeddings, nearest) == [(1,)]


@pytest.mark.system
def test_every_endpoint(run: Run, tmp_path: Path) -> None:
    run("every_endpoint", destination=tmp_path)
    answered = {
        "responses": "text",
        "chat": "choices[2].text",
        "completions": "logprobs[1].token",
        "embeddings": "embedding",
        "moderations": "flagged",
        "image_generations": "images[1].file",
        "image_edits": "images[1].file",
        "videos": "file",
    }
    assert {path.name for path in tmp_path.iterdir()} == set(answered)
    for table, column in answered.items():
        rows = "count(*), count(*) filter (status = 'succeeded')"
        found = query(tmp_path / table, f"select {rows}, count({column}) from result")
        assert found in ([(2, 2, 2)], [(3, 3, 3)]), table
        if "file" in column:
            named = {name for (name,) in query(tmp_path / table, f"select {column} from result")}
            beside = (tmp_path / table).glob("_files-*/*/*")
            assert named == {str(path.relative_to(tmp_path / table)) for path in beside}


@pytest.mark.system
def test_extract_invoices(run: Run, tmp_path: Path) -> None:
    texts = [f"Invoice {number}: 3 hammers at 12.50 EUR each, due on 2026-12-01." for number in range(8)]
    columns = {"document": [f"scan-{number}" for number in range(8)], "text": texts}
    source = write(tmp_path / "scanned.parquet", columns)
    run("extract_invoices", source=source, destination=tmp_path / "invoices")
    invoices = tmp_path / "invoices"
    assert query(invoices, "select distinct status, typeof(parsed.issued), typeof(parsed.currency) from result") == [
        ("succeeded", "DATE", "VARCHAR")
    ]
    lines = "select document, unnest(parsed.positions) as line from result"
    facts = "count(distinct document), any_value(typeof(line.price)), count(*) = count(line.quantity * line.price)"
    assert query(invoices, f"select {facts} from ({lines})") == [(8, "DECIMAL(12,2)", True)]


@pytest.mark.system
def test_ready_made_requests(run: Run, tmp_path: Path) -> None:
    requests = [
        {
            "custom_id": f"question-{number}",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {"model": "gpt-6-luna", "messages": [{"role": "user", "content": f"What is {number} + 1?"}]},
        }
        for number in range(12)
    ]
    source = tmp_path / "requests.jsonl"
    source.write_text("".join(f"{json.dumps(request)}\n" for request in requests))
    run("ready_made_requests", source=source, destination=tmp_path / "answers")
    found = query(tmp_path / "answers", "select custom_id, status from result order by row_number")
    assert found == [(f"question-{number}", "succeeded") for number in range(12)]


@pytest.mark.system
def test_daily_partitions(run: Run, airflow: AirflowProcesses, tmp_path: Path) -> None:
    days = {"ds=2026-11-18": 3, "ds=2026-11-19": 5, "ds=2026-11-20": 4}
    for day, rows in days.items():
        write(
            tmp_path / "tickets" / day / "part.parquet", {"text": [f"{day} ticket {number}" for number in range(rows)]}
        )
    run_id = run("daily_partitions", source=tmp_path / "tickets", destination=tmp_path / "answers")
    for day, rows in days.items():
        assert query(
            tmp_path / "answers" / day, "select count(*), count(*) filter (status = 'succeeded') from result"
        ) == [(rows, rows)]
    tasks = airflow.api.task_instances(DAG_IDS["daily_partitions"], run_id)
    assert sorted(task["map_index"] for task in tasks if task["task_id"] == "answer") == [0, 1, 2]
