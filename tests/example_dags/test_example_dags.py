"""
Every example runs as it is printed: real Airflow processes, the emulator in place of the API, tables read back with
DuckDB.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
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
    "retry_failed_rows": "openai_batch_retry_failed_rows",
    "submit_wait_land": "openai_batch_submit_wait_land",
}

#: Seconds that a look at a batch takes. With none, a task would resume before the scheduler has taken note of the end
#: of the worker that deferred it, and Airflow 3.3 may then fail it (apache/airflow#72716). On a busy machine that can
#: happen all the same: `tests/conftest.py` gives tasks retries. A retry lands what is there; nothing is paid again.
LOOK = 4.0

#: What a DAG file must not import when it is parsed: each is paid for by every parse and every start of a task.
HEAVY = ("openai", "pyarrow", "pandas", "numpy", "genai_prices", "duckdb", "fastapi")

#: Processor time that all examples together may take to parse, as a share of what Airflow's own import takes.
PARSE_BUDGET = 1.0

PARSE = """
import json, runpy, sys, time
started = time.process_time()
from airflow.providers.common.compat.sdk import DAG, ObjectStoragePath, Param
airflow_seconds = time.process_time() - started
before, started, dag_ids = set(sys.modules), time.process_time(), []
for file in sys.argv[1:]:
    module = runpy.run_path(file)
    dag_ids += [value.dag_id for value in module.values() if isinstance(value, DAG)]
share = (time.process_time() - started) / airflow_seconds
print(json.dumps({"share": share, "modules": sorted(set(sys.modules) - before)}))
"""


@dataclass(frozen=True)
class Example:
    """One run of an example: its own folder, and the params that it is given."""

    folder: Path
    run_id: str


Run = Callable[[str], Example]


@pytest.fixture(scope="module")
def runs(
    airflow: AirflowProcesses, emulator_process: Emulator, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Example]:
    """All examples, each started once; they go on side by side."""
    airflow.wait_for_dags(list(DAG_IDS.values()))
    emulator_process.reset()
    emulator_process.fault(kind="slow_route", method="GET", path="/v1/batches/*", seconds=LOOK)
    started = {}
    # A row that the API refuses the first time it is executed, for good as far as the job can tell.
    emulator_process.fault(kind="http_error", status=400, text="quarrel", executions=1)
    for name, given in GIVEN.items():
        folder = tmp_path_factory.mktemp(name)
        params = {key: str(value) for key, value in given(folder).items()}
        logical_date = "2026-11-20T00:00:00Z" if name == "answer_a_table" else None
        started[name] = Example(folder, airflow.api.trigger(DAG_IDS[name], params, logical_date))
    return started


@pytest.fixture
def run(airflow: AirflowProcesses, emulator_process: Emulator, runs: dict[str, Example]) -> Run:
    """Wait for an example's run; it must succeed."""

    def run(name: str) -> Example:
        airflow.api.wait_for_success(DAG_IDS[name], runs[name].run_id)
        assert emulator_process.state()["executions"]["billed_again"] == 0
        return runs[name]

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
    tried = (EXAMPLES.parent / "tests" / "docs" / "test_how_to.py").read_text()
    assert {path.stem for path in EXAMPLES.glob("*.py") if f'tried("{path.stem}"' not in tried} == set(DAG_IDS)
    assert set(GIVEN) == set(DAG_IDS)


def test_examples_parse_quickly_and_import_nothing_heavy() -> None:
    files = sorted(map(str, EXAMPLES.glob("*.py")))
    parsed = subprocess.run([sys.executable, "-c", PARSE, *files], check=True, capture_output=True, text=True)
    report = json.loads(parsed.stdout.splitlines()[-1])
    assert [name for name in HEAVY if name in report["modules"]] == []
    assert report["share"] < PARSE_BUDGET


def tickets_of_a_day(folder: Path) -> dict[str, Path]:
    texts = [f"The printer on floor {number} is on fire." for number in range(30)]
    tickets = {"ticket_id": list(range(100, 130)), "text": texts}
    write(folder / "tickets" / "ds=2026-11-20" / "part.parquet", tickets)
    return {"source": folder / "tickets", "destination": folder / "answers"}


def three_tickets(folder: Path) -> dict[str, Path]:
    tickets = {"ticket_id": ["a", "b", "c"], "text": ["Guten Tag", "Salut", "Ahoj"]}
    source = write(folder / "tickets.parquet", tickets)
    return {"source": source, "destination": folder / "answers", "state_path": folder / "state"}


def paragraphs(folder: Path) -> dict[str, Path]:
    texts = ["The cat sat on the mat.", "A cat was sitting on a mat.", "Interest rates rose by half a percent."]
    columns = {"document": ["x", "x", "y"], "position": [0, 1, 0], "paragraph": texts}
    return {"source": write(folder / "paragraphs.parquet", columns), "destination": folder / "embeddings"}


def scanned_invoices(folder: Path) -> dict[str, Path]:
    texts = [f"Invoice {number}: 3 hammers at 12.50 EUR each, due on 2026-12-01." for number in range(8)]
    columns = {"document": [f"scan-{number}" for number in range(8)], "text": texts}
    return {"source": write(folder / "scanned.parquet", columns), "destination": folder / "invoices"}


def request_lines(folder: Path) -> dict[str, Path]:
    requests = [
        {
            "custom_id": f"question-{number}",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {"model": "gpt-6-luna", "messages": [{"role": "user", "content": f"What is {number} + 1?"}]},
        }
        for number in range(12)
    ]
    source = folder / "requests.jsonl"
    source.write_text("".join(f"{json.dumps(request)}\n" for request in requests))
    return {"source": source, "destination": folder / "answers"}


#: Day → tickets of that day.
DAYS = {"ds=2026-11-18": 3, "ds=2026-11-19": 5, "ds=2026-11-20": 4}


def tickets_of_three_days(folder: Path) -> dict[str, Path]:
    for day, rows in DAYS.items():
        texts = [f"{day} ticket {number}" for number in range(rows)]
        write(folder / "tickets" / day / "part.parquet", {"text": texts})
    return {"source": folder / "tickets", "destination": folder / "answers"}


def minutes_of_meetings(folder: Path) -> dict[str, Path]:
    columns = {"meeting": [1, 2, 3], "minutes": ["All agreed.", "A quarrel over the budget.", "Nobody came."]}
    return {"source": write(folder / "minutes.parquet", columns), "destination": folder / "summaries"}


#: Example → what makes its input in a folder and returns its params; the longest first.
GIVEN: dict[str, Callable[[Path], dict[str, Path]]] = {
    "submit_wait_land": three_tickets,
    "every_endpoint": lambda folder: {"destination": folder},
    "daily_partitions": tickets_of_three_days,
    "retry_failed_rows": minutes_of_meetings,
    "answer_a_table": tickets_of_a_day,
    "embed_a_table": paragraphs,
    "extract_invoices": scanned_invoices,
    "ready_made_requests": request_lines,
}


@pytest.mark.system
def test_answer_a_table(run: Run) -> None:
    answers = run("answer_a_table").folder / "answers" / "ds=2026-11-20"
    assert query(answers, "select count(*), count(distinct ticket_id), min(ticket_id), max(ticket_id) from result") == [
        (30, 30, 100, 129)
    ]
    assert query(answers, "select distinct status, length(text) > 0, input_tokens > 0, cost_usd > 0 from result") == [
        ("succeeded", True, True, True)
    ]
    assert query(answers, "select count(*) from (describe result) where column_name = 'text'") == [(1,)]


@pytest.mark.system
def test_submit_wait_land(run: Run) -> None:
    answers = run("submit_wait_land").folder / "answers"
    assert query(answers, "select ticket_id, status, length(text) > 0 from result order by row_number") == [
        ("a", "succeeded", True),
        ("b", "succeeded", True),
        ("c", "succeeded", True),
    ]


@pytest.mark.system
def test_embed_a_table(run: Run) -> None:
    embeddings = run("embed_a_table").folder / "embeddings"
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
def test_every_endpoint(run: Run) -> None:
    folder = run("every_endpoint").folder
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
    assert {path.name for path in folder.iterdir()} == set(answered)
    for table, column in answered.items():
        rows = "count(*), count(*) filter (status = 'succeeded')"
        found = query(folder / table, f"select {rows}, count({column}) from result")
        assert found in ([(2, 2, 2)], [(3, 3, 3)]), table
        if "file" in column:
            named = {name for (name,) in query(folder / table, f"select {column} from result")}
            beside = (folder / table).glob("_files-*/*/*")
            assert named == {str(path.relative_to(folder / table)) for path in beside}


@pytest.mark.system
def test_extract_invoices(run: Run) -> None:
    invoices = run("extract_invoices").folder / "invoices"
    assert query(invoices, "select distinct status, typeof(parsed.issued), typeof(parsed.currency) from result") == [
        ("succeeded", "DATE", "VARCHAR")
    ]
    lines = "select document, unnest(parsed.positions) as line from result"
    facts = "count(distinct document), any_value(typeof(line.price)), count(*) = count(line.quantity * line.price)"
    assert query(invoices, f"select {facts} from ({lines})") == [(8, "DECIMAL(12,2)", True)]


@pytest.mark.system
def test_ready_made_requests(run: Run) -> None:
    answers = run("ready_made_requests").folder / "answers"
    found = query(answers, "select custom_id, status from result order by row_number")
    assert found == [(f"question-{number}", "succeeded") for number in range(12)]


@pytest.mark.system
def test_daily_partitions(run: Run, airflow: AirflowProcesses) -> None:
    example = run("daily_partitions")
    for day, rows in DAYS.items():
        found = "select count(*), count(*) filter (status = 'succeeded') from result"
        assert query(example.folder / "answers" / day, found) == [(rows, rows)]
    tasks = airflow.api.task_instances(DAG_IDS["daily_partitions"], example.run_id)
    assert sorted(task["map_index"] for task in tasks if task["task_id"] == "answer") == [0, 1, 2]


@pytest.mark.system
def test_retry_failed_rows(run: Run, airflow: AirflowProcesses) -> None:
    dag_id, example = DAG_IDS["retry_failed_rows"], run("retry_failed_rows")
    statuses = "select meeting, status, round from result order by meeting"
    assert query(example.folder / "summaries", statuses) == [(1, "succeeded", 1), (2, "failed", 1), (3, "succeeded", 1)]
    airflow.api.post("/variables", {"key": "openai_batch_rerun", "value": "failed_rows"})
    airflow.api.clear(dag_id, example.run_id, ["summarise"])
    run("retry_failed_rows")
    assert query(example.folder / "summaries", statuses) == [
        (1, "succeeded", 1),
        (2, "succeeded", 2),
        (3, "succeeded", 1),
    ]
