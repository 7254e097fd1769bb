"""A new endpoint is one row of facts, one module for its answers, and one module of the emulator."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pytest

import airflow_provider_batch
from airflow_provider_batch.emulator.testing import running_emulator

ANSWERS = """
from airflow_provider_batch.answers.answer import SUCCEEDED, Answer, no_answer
from airflow_provider_batch.answers.answer_format import AnswerFormat
from airflow_provider_batch.answers.body import Body
from airflow_provider_batch.answers.column import DOUBLE, STRING, Column
from airflow_provider_batch.api.endpoints import Endpoint

class RankingsBody(Body, gc=False):
    best: str | None = None
    score: float | None = None

def rankings(body):
    if body.best is None:
        return no_answer(body, "best")
    return Answer(SUCCEEDED, None, None, (body.best, body.score))

COLUMNS = {"best": Column(STRING, "the best text"), "score": Column(DOUBLE, "its score, from 0 to 1")}
ANSWERS = {Endpoint.RANKINGS: AnswerFormat(COLUMNS, RankingsBody, rankings)}
"""

EMULATOR = """
from airflow_provider_batch.emulator.answers.common import Answer

NEEDED = {"/v1/rankings": "input"}

def answer(request):
    return Answer({"model": request.model, "best": max(request.body["input"]), "score": 0.5})
"""


def test_a_new_endpoint_lands_its_typed_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a copy of the package, from which the emulator and the job run."""
    package = tmp_path / "copy" / "airflow_provider_batch"
    shutil.copytree(Path(airflow_provider_batch.__file__).parent, package)
    facts = package / "api" / "endpoints.py"
    with_row = facts.read_text().replace(
        '    VIDEOS = "/v1/videos"\n', '    VIDEOS = "/v1/videos"\n    RANKINGS = "/v1/rankings"\n'
    )
    row = '    Endpoint.RANKINGS: EndpointFacts((_MODEL, ("input",))),\n'
    facts.write_text(with_row.replace("    Endpoint.VIDEOS: ", f"{row}    Endpoint.VIDEOS: "))
    (package / "answers" / "endpoints" / "rankings.py").write_text(ANSWERS)
    (package / "emulator" / "answers" / "rankings.py").write_text(EMULATOR)
    monkeypatch.chdir(package.parent)

    (tmp_path / "rows.jsonl").write_text('{"texts": ["a", "b"]}\n{"texts": ["d", "c"]}\n')
    body = {"model": "ranker", "input": "{texts}"}
    with running_emulator() as emulator:
        command = [sys.executable, "-m", "airflow_provider_batch.cli", "run", str(tmp_path / "rows.jsonl")]
        command += ["--endpoint", "/v1/rankings", "--body", json.dumps(body), "--destination", str(tmp_path / "table")]
        environment = {"OPENAI_API_KEY": "sk-key", "OPENAI_BASE_URL": emulator.base_url}
        done = subprocess.run(
            [*command, "--poll-interval", "0.1"], env=environment, capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, done.stderr
    table = ds.dataset(tmp_path / "table", exclude_invalid_files=True).to_table().sort_by("row_number")
    assert table.select(["status", "best", "score"]).to_pylist() == [
        {"status": "succeeded", "best": "b", "score": 0.5},
        {"status": "succeeded", "best": "d", "score": 0.5},
    ]
    assert (table.schema.field("best").type, table.schema.field("score").type) == (pa.string(), pa.float64())
