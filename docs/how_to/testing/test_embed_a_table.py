"""A DAG on the emulator: what comes out, and what happens when the API fails."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from airflow.dag_processing.dagbag import DagBag

from airflow_provider_batch.emulator.testing import Emulator


def run(folder: Path, paragraphs: list[str]) -> str:
    """Run the DAG in this process; return how the run ended."""
    bag = DagBag()
    assert bag.import_errors == {}
    columns = {"document": ["x"] * len(paragraphs), "position": range(len(paragraphs)), "paragraph": paragraphs}
    pq.write_table(pa.table(columns), folder / "paragraphs.parquet")
    params = {"source": str(folder / "paragraphs.parquet"), "destination": str(folder / "embeddings")}
    return str(bag.dags["openai_batch_embed_a_table"].test(run_conf=params).state)


def test_each_paragraph_has_a_vector(emulator: Emulator, tmp_path: Path) -> None:
    assert run(tmp_path, ["The cat sat on the mat.", "Interest rates rose."]) == "success"
    table = pq.read_table(tmp_path / "embeddings")
    assert table["status"].to_pylist() == ["succeeded", "succeeded"]
    assert [len(vector) for vector in table["embedding"].to_pylist()] == [256, 256]


def test_a_bad_day_costs_nothing_twice(emulator: Emulator, tmp_path: Path) -> None:
    # The API takes the file, and its answer is lost; later one row fails, the first time that it is executed.
    emulator.fault(kind="lose_answer", method="POST", path="/v1/files", times=1)
    emulator.fault(kind="http_error", status=500, text="rates", executions=1)
    assert run(tmp_path, ["The cat sat on the mat.", "Interest rates rose."]) == "success"
    assert pq.read_table(tmp_path / "embeddings")["round"].to_pylist() == [1, 2]
    assert emulator.state()["executions"]["billed_again"] == 0
