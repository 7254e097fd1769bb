"""
The DAGs of the handbook's how-to pages, each run by `dag.test()` in this process, the emulator in place of the API.

The other examples run in `tests/example_dags`, on a scheduler.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_provider_batch.emulator.testing import Emulator

ROOT = Path(__file__).parents[2]

#: A picture of one pixel.
PIXEL = bytes.fromhex("89504e470d0a1a0a0000000d4948445200000001000000010806000000")

Try = Callable[..., str]


@pytest.fixture
def tried(airflow_db: None, airflow_home: Path, emulator: Emulator, connection: Callable[..., str]) -> Try:
    """Run an example with params; return how the run ended."""
    from tests.airflow_versions import dag_bag

    connection(host=emulator.base_url)
    examples = airflow_home / "dags" / "examples"  # `dag.test()` looks for a DAG in the configured folder
    if not examples.exists():
        examples.symlink_to(ROOT / "example_dags")

    def run(name: str, **params: Any) -> str:
        bag = dag_bag(examples / f"{name}.py")
        assert bag.import_errors == {}
        given = {key: value if isinstance(value, list) else str(value) for key, value in params.items()}
        return str(bag.dags[f"openai_batch_{name}"].test(run_conf=given).state)

    return run


def found(folder: Path, sql: str) -> list[tuple[Any, ...]]:
    """Query the dataset of a folder under the name ``result``."""
    with duckdb.connect() as database:
        return database.execute(
            f"with result as (from read_parquet('{folder}/**/*.parquet', hive_partitioning=true)) {sql}"
        ).fetchall()


def test_describe_photos(tried: Try, emulator: Emulator, tmp_path: Path) -> None:
    (tmp_path / "cat.png").write_bytes(PIXEL)
    pq.write_table(pa.table({"id": [7], "photo": [str(tmp_path / "cat.png")]}), tmp_path / "photos.parquet")
    assert tried("describe_photos", source=tmp_path / "photos.parquet", destination=tmp_path / "out") == "success"
    assert found(tmp_path / "out", "select id, status from result") == [(7, "succeeded")]
    assert any("data:image/png;base64," in text for text in _sent(emulator))


def test_rows_of_a_query(tried: Try, emulator: Emulator, connection: Callable[..., str], tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "shop.db") as database:
        database.execute("create table products (sku text, title text, price real, added_on text)")
        rows = [("b", "Hammer", 9.5, "2026-11-20"), ("a", "Saw", None, "2026-11-20"), ("c", "Nail", 1.0, "2026-11-21")]
        database.executemany("insert into products values (?, ?, ?, ?)", rows)
    connection("warehouse", conn_type="sqlite", host=str(tmp_path / "shop.db"), password=None)
    assert tried("rows_of_a_query", destination=tmp_path) == "success"
    assert found(tmp_path / "day=2026-11-20", "select sku, status from result order by row_number") == [
        ("a", "succeeded"),
        ("b", "succeeded"),
    ]
    assert any("Saw, unknown EUR" in text for text in _sent(emulator))


def test_partitions_in_and_out(tried: Try, emulator: Emulator, tmp_path: Path) -> None:
    for day, lang in (("2026-11-18", "de"), ("2026-11-19", "de"), ("2026-11-20", "de"), ("2026-11-20", "fr")):
        folder = tmp_path / "reviews" / f"day={day}" / f"lang={lang}"
        folder.mkdir(parents=True)
        pq.write_table(pa.table({"review_id": [f"{day}-{lang}"], "review": ["Gut!"]}), folder / "part.parquet")
    params = {"source": tmp_path / "reviews", "destination": tmp_path / "out"}
    assert tried("partitions_in_and_out", **params) == "success"
    assert found(tmp_path / "out", "select review_id, day::text, status from result order by 1") == [
        ("2026-11-19-de", "2026-11-19", "succeeded"),
        ("2026-11-20-de", "2026-11-20", "succeeded"),
    ]
    assert (tmp_path / "out" / "day=2026-11-19" / "status=succeeded").is_dir()


def test_large_table(tried: Try, emulator: Emulator, tmp_path: Path) -> None:
    (tmp_path / "papers" / "2026").mkdir(parents=True)
    table = pa.table({"paper_id": [str(n) for n in range(40)], "abstract": ["On batches."] * 40, "other": [0] * 40})
    pq.write_table(table, tmp_path / "papers" / "2026" / "part.parquet")
    params = {"source": tmp_path / "papers" / "**" / "*.parquet", "destination": tmp_path / "out"}
    assert tried("large_table", **params) == "success"
    assert found(tmp_path / "out", "select count(distinct paper_id), min(status) from result") == [(40, "succeeded")]
    assert len(emulator.state()["batches"]) == 1  # the check sent nothing


def test_land_other_batches(tried: Try, emulator: Emulator, tmp_path: Path) -> None:
    import openai

    body = {"model": "gpt-6-luna", "messages": [{"role": "user", "content": "Hello"}]}
    line = {"custom_id": "theirs", "method": "POST", "url": "/v1/chat/completions", "body": body}
    with openai.OpenAI(base_url=emulator.base_url, api_key="k") as client:
        file = client.files.create(file=("lines.jsonl", json.dumps(line).encode()), purpose="batch")
        batch = client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
    assert tried("land_other_batches", batch_ids=[batch.id], destination=tmp_path / "out") == "success"
    assert found(tmp_path / "out", "select custom_id, status from result") == [("theirs", "succeeded")]


def test_prompts_of_a_task(tried: Try, emulator: Emulator, tmp_path: Path) -> None:
    assert tried("prompts_of_a_task", destination=tmp_path / "out") == "success"
    labels = "parsed.label in ('good', 'bad', 'mixed')"
    assert found(tmp_path / "out", f"select review_id, {labels} from result order by 1") == [
        (17, True),
        (18, True),
        (19, True),
    ]


def _sent(emulator: Emulator) -> list[str]:
    """Return the input files that were uploaded, as text."""
    import openai

    with openai.OpenAI(base_url=emulator.base_url, api_key="k") as client:
        files = [file for file in client.files.list() if file.purpose == "batch"]
        return [client.files.content(file.id).text for file in files]
