"""The command line: the same jobs without Airflow; one line for an error."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_batch.emulator.testing import Emulator
from tests.api.stub import Reply, StubApi, batch
from tests.jobs.support import BODY, check_table, some_rows, table


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in some_rows(5)))
    return path


def call(*arguments: str, base_url: str = "http://127.0.0.1:9/v1") -> subprocess.CompletedProcess[str]:
    environment = {"OPENAI_API_KEY": "sk-secret-0123", "OPENAI_BASE_URL": base_url, "NO_COLOR": "1", "COLUMNS": "200"}
    command = [sys.executable, "-m", "airflow_provider_batch.cli", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def as_json(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_job_runs_is_shown_and_its_batches_are_landed_again(emulator: Emulator, rows: Path, tmp_path: Path) -> None:
    destination = str(tmp_path / "table")
    ran = as_json(
        call(
            *("run", str(rows), "--body", json.dumps(BODY), "--destination", destination),
            *("--poll-interval", "0.1", "--json"),
            base_url=emulator.base_url,
        )
    )
    check_table(tmp_path, some_rows(5))
    shown = as_json(call("status", ran["ledger"], "--json"))
    assert (shown["finished"], shown["statuses"]) == (True, {"succeeded": 5})
    assert [shard["batch"] for shard in shown["shards"]] == ran["batch_ids"]
    landed = as_json(
        call("land", *ran["batch_ids"], "--destination", str(tmp_path / "other"), "--json", base_url=emulator.base_url)
    )
    assert landed["statuses"] == {"succeeded": 5}
    assert "sk-secret" not in json.dumps([ran, shown, landed])


def test_a_table_is_partitioned_by_run_and_land(emulator: Emulator, rows: Path, tmp_path: Path) -> None:
    given = ("--body", json.dumps(BODY), "--poll-interval", "0.1", "--json", "--partition-by", "status")
    ran = as_json(
        call(
            "run",
            str(rows),
            "--destination",
            f"{tmp_path}/a",
            *given,
            "--partition-by",
            "key",
            base_url=emulator.base_url,
        )
    )
    assert len(list((tmp_path / "a").glob("status=succeeded/key=k*/part-*.parquet"))) == ran["parts"] == 5
    options = ("--destination", f"{tmp_path}/b", "--partition-by", "status", "--json")
    assert as_json(call("land", *ran["batch_ids"], *options, base_url=emulator.base_url))["parts"] == 1
    assert len(list((tmp_path / "b").glob("status=succeeded/part-*.parquet"))) == 1


def test_an_input_is_checked_without_a_key_or_a_network(rows: Path, tmp_path: Path) -> None:
    body = tmp_path / "body.json"
    body.write_text(json.dumps(BODY), encoding="utf-16")  # as PowerShell writes files
    found = as_json(call("check", str(rows), "--body", f"@{body}", "--json"))
    assert (found["rows"], found["shards"]) == (5, 1)
    shown = call("check", str(rows), "--body", f"@{body}")
    assert "input_tokens_estimate" in shown.stdout


def test_filters_samples_and_files_in_prompts_are_options(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    rows = [{"lang": lang, "photo": str(tmp_path / "a.png")} for lang in ("de", "en") * 100]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "{photo}"}]})
    arguments = ("check", str(tmp_path / "rows.jsonl"), "--body", body, "--data-url", "photo", "--json")
    german = ("--filters", '[["lang", "=", "de"]]')
    assert as_json(call(*arguments, *german))["rows"] == 100
    assert 20 < as_json(call(*arguments, *german, "--sample", "0.5"))["rows"] < 80


def test_what_a_request_and_its_row_are_made_of_are_options(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("id,text,more\na,one,\nb,,\n")
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "Say {text}."}]})
    arguments = ("check", str(tmp_path / "rows.csv"), "--body", body, "--json")
    assert "row 1, column 'text'" in call(*arguments).stderr
    found = as_json(call(*arguments, "--null-text", "nothing", "--carry", "id", "--carry", "more"))
    assert (found["rows"], found["carried"]) == (2, ["id", "more"])
    assert (
        "expected a different custom_id for each row"
        in call(*arguments, "--null-text", "", "--custom-id", "x{more}").stderr
    )


def test_how_files_are_written_is_an_option(tmp_path: Path) -> None:
    (tmp_path / "rows.txt").write_text('id;text\n1;"say \\"hi\\""\n', encoding="utf-16")
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "{text}"}]})
    arguments = ("check", str(tmp_path / "rows.txt"), "--body", body, "--json")
    options = {"delimiter": ";", "encoding": "utf-16", "escape": "\\"}
    found = as_json(call(*arguments, "--format", "csv", "--format-options", json.dumps(options)))
    assert (found["rows"], found["carried"]) == (1, ["id", "text"])
    refused = call(*arguments, "--format", "csv")
    assert (refused.returncode, "found what looks like UTF-16" in refused.stderr) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("check", "{rows}", "--body", "{}", "--format", "xml"), "format: expected one of csv, tsv, jsonl, parquet"),
        (("check", "{rows}", "--body", "{}", "--format-options", "[]"), "--format-options: expected a JSON object"),
        (("check", "nothing.parquet", "--body", "{}"), "nothing.parquet"),
        (("check", "{rows}", "--body", "[]"), "expected a JSON object"),
        (("check", "{rows}", "--body", "@missing.json"), "cannot be read"),
        (("check", "{rows}", "--endpoint", "/v1/chat"), "Did you mean"),
        (("check", "{rows}", "--body", "{}", "--filters", "{}"), "--filters: expected a JSON array"),
        (("check", "{rows}", "--body", "{}", "--sample", "7"), "sample: expected a share"),
        (("status", "nowhere/ledger.json"), "there is no ledger"),
    ],
)
def test_an_error_is_one_line_that_names_what_is_wrong(rows: Path, arguments: tuple[str, ...], message: str) -> None:
    done = call(*(argument.replace("{rows}", str(rows)) for argument in arguments))
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_answers_are_parsed_by_a_schema_file_or_a_class(emulator: Emulator, rows: Path, tmp_path: Path) -> None:
    schema = tmp_path / "verdict.json"
    schema.write_text(json.dumps({"type": "object", "properties": {"label": {"type": "string"}}, "title": "verdict"}))
    given = (str(rows), "--body", json.dumps(BODY), "--response-model")
    assert as_json(call("check", *given, str(schema), "--json"))["parsed"] == "struct<label: string>"
    assert as_json(call("check", *given, "tests.operators.test_response_model:Verdict", "--json"))["strict"] is True
    folder = ("--destination", str(tmp_path / "table"))
    ran = as_json(
        call("run", *given, str(schema), *folder, "--poll-interval", "0.1", "--json", base_url=emulator.base_url)
    )
    assert table(tmp_path, "count(parsed.label)", "1") == [(5,)]
    (tmp_path / "table").rename(tmp_path / "first")
    call("land", *ran["batch_ids"], *folder, "--response-model", str(schema), base_url=emulator.base_url)
    assert table(tmp_path, "count(parsed.label)", "1") == [(5,)]
    refused = call("check", *given, "nowhere.json")
    assert (refused.returncode, "nowhere.json cannot be read" in refused.stderr) == (1, True)


def test_an_answer_that_is_of_no_row_ends_land_with_an_exit_code(stub: StubApi, tmp_path: Path) -> None:
    stub.on("GET", "/batches/batch_1", batch("batch_1", "completed", input_file_id="in", output_file_id="out", total=1))
    stub.on("GET", "/files/in/content", Reply(body=b'{"custom_id": 7, "url": "/v1/chat/completions", "body": {}}'))
    line = b'{"custom_id": "%d", "response": {"status_code": 200, "body": {"choices": []}}}\n'
    for answered, code, message in (([7], 0, ""), ([7, 8], 1, "1 of batch_1")):
        stub.on("GET", "/files/out/content", Reply(body=b"".join(line % number for number in answered)))
        done = call("land", "batch_1", "--destination", str(tmp_path / "table"), base_url=stub.base_url)
        assert (done.returncode, message in done.stderr) == (code, True)


@pytest.mark.parametrize("command", ["check", "run", "land", "status"])
def test_every_command_has_help_with_an_example(command: str) -> None:
    shown = call(command, "--help").stdout
    assert "Example: openai-batch" in shown
