"""
What release 0.1 left on storage and in Airflow goes on; what a later release leaves is refused and left as it is.

The files in `release_0_1` were written by that release: a job of 13 rows in two shards, in flight and finished.
"""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pytest

from airflow_provider_batch import storage
from airflow_provider_batch.api.outcomes import Accepted
from airflow_provider_batch.emulator.testing import Emulator
from airflow_provider_batch.exceptions import ConfigurationError, StorageError
from airflow_provider_batch.jobs.identity import digest
from airflow_provider_batch.jobs.job_request import JobRequest, Tools
from airflow_provider_batch.jobs.ledger import files
from airflow_provider_batch.jobs.ledger.files import encode_ledger
from airflow_provider_batch.jobs.ledger.store import LedgerStore, job_folder
from airflow_provider_batch.jobs.opening.attempt import open_job
from airflow_provider_batch.requests.sidecar import SIDECAR_VERSION_KEY, Sidecar, check_sidecar, read_sidecar
from airflow_provider_batch.table.manifest import VERSION, read_manifest
from airflow_provider_batch.triggers.openai_batch import OpenAIBatchTrigger
from tests.jobs.support import a_request, check_table, run, some_rows, tools_for

LEFT = Path(__file__).parent / "release_0_1"
ROWS = some_rows(13)


def left_by_0_1(
    name: str, tmp_path: Path, tools: Tools, changes: Callable[[dict[str, Any]], None] | None = None
) -> Path:
    """Put what release 0.1 left where it would be, with this account, and as if it had been a moment ago."""
    shutil.copytree(LEFT / name, tmp_path, dirs_exist_ok=True)
    for path in (*tmp_path.rglob("ledger.json"), *tmp_path.rglob("_manifest-*.json")):
        text = path.read_text().replace("{root}", str(tmp_path))
        text = text.replace("{account}", digest(tools.client.settings.account))
        content = json.loads(re.sub(r"\b1795\d{6}\.\d+", str(time.time() - 60), text))
        if changes is not None and path.name == "ledger.json":
            changes(content)
        path.write_text(json.dumps(content, indent=1))
    return next(tmp_path.rglob("ledger.json"))


def send_again(tools: Tools, tmp_path: Path) -> Callable[[dict[str, Any]], None]:
    """Make the batches of its ledger at this emulator, as that release made them."""

    def make(ledger: dict[str, Any]) -> None:
        for shard in ledger["shards"]:
            lines = next(tmp_path.rglob(f"g1/{shard['key']}.jsonl"))
            with lines.open("rb") as file:
                shard["file_id"] = tools.client.upload(file, lines.name)
            name = f"{lines.parts[-4]}-{lines.parts[-3]}-g1-{shard['key']}-n1"
            made = tools.client.create(
                input_file_id=shard["file_id"],
                endpoint=ledger["endpoint"],
                metadata={"airflow_batch_intent": name},
                completion_window="24h",
                output_expires_after=None,
            )
            assert isinstance(made, Accepted)
            shard["batch_id"] = shard["intents"][0]["batch_id"] = made.batch.id

    return make


def lose_the_last_answer(ledger: dict[str, Any]) -> None:
    """As it was left by an attempt that was killed between a create and its record."""
    del ledger["shards"][-1]["batch_id"]
    ledger["shards"][-1]["intents"] = [{"number": 1, "at": ledger["shards"][-1]["intents"][0]["at"]}]


class TestAJobOfRelease01:
    @pytest.mark.parametrize("answer", ["recorded", "lost"])
    def test_goes_on_lands_and_lands_again_without_paying_again(
        self, emulator: Emulator, tmp_path: Path, answer: str
    ) -> None:
        tools = tools_for(emulator)
        sent = send_again(tools, tmp_path)

        def changes(ledger: dict[str, Any]) -> None:
            sent(ledger)
            if answer == "lost":
                lose_the_last_answer(ledger)

        left_by_0_1("in_flight", tmp_path, tools, changes)
        request = a_request(tmp_path, ROWS)
        run(request, tools)
        check_table(tmp_path, ROWS)
        shutil.rmtree(tmp_path / "table")
        run(request, tools)
        check_table(tmp_path, ROWS)
        assert emulator.state()["batches_created"] == 2

    def test_that_is_finished_stays_so_and_its_table_is_left_alone(self, emulator: Emulator, tmp_path: Path) -> None:
        tools = tools_for(emulator)
        left_by_0_1("finished", tmp_path, tools)
        table = {path: path.stat().st_mtime_ns for path in (tmp_path / "table").glob("*.parquet")}
        assert run(a_request(tmp_path, ROWS), tools)["statuses"] == {"succeeded": 13}
        check_table(tmp_path, ROWS)
        assert {path: path.stat().st_mtime_ns for path in (tmp_path / "table").glob("*.parquet")} == table
        assert emulator.state()["batches_created"] == 0

    def test_is_refused_by_that_release_once_this_one_has_gone_on_with_it(
        self, emulator: Emulator, tmp_path: Path
    ) -> None:
        """It reads the `version` at the top of `ledger.json`, and knew none after 1."""
        tools = tools_for(emulator)
        left = left_by_0_1("finished", tmp_path, tools)
        assert "version" not in json.loads(left.read_text())
        open_job(a_request(tmp_path, ROWS), tools)
        assert json.loads(left.read_text())["version"] == files.VERSION

    def test_has_sidecars_that_are_read(self) -> None:
        for path in LEFT.rglob("*.arrow"):
            with Sidecar(path) as sidecar:
                assert sidecar.carried.names == ["key", "text"]
            assert sum(batch.num_rows for batch in read_sidecar(path)) in (10, 3)

    def test_has_a_trigger_whose_arguments_are_taken(self) -> None:
        path, arguments = json.loads((LEFT / "trigger.json").read_text())
        trigger = OpenAIBatchTrigger(**arguments)
        assert trigger.serialize() == (path, {**arguments, "version": 1})


class TestWhatALaterReleaseWrote:
    @pytest.fixture
    def request_(self, tmp_path: Path) -> JobRequest:
        return a_request(tmp_path, ROWS)

    def refused(self, request: JobRequest, tools: Tools, changed: Path, match: str) -> None:
        """No use of it succeeds, and no file is written."""
        before = {path: path.read_bytes() for path in changed.parent.iterdir() if path.is_file()}
        with pytest.raises(StorageError, match=match):
            open_job(request, tools)
        assert {path: path.read_bytes() for path in changed.parent.iterdir() if path.is_file()} == before

    @pytest.mark.parametrize("pattern", ["ledger.json", "ledger-*.json", "events-*.jsonl"])
    @pytest.mark.parametrize("change", ["version", "field"])
    def test_in_a_ledger_is_refused_and_not_written_again_without_it(
        self, emulator: Emulator, tmp_path: Path, request_: JobRequest, pattern: str, change: str
    ) -> None:
        tools = tools_for(emulator)
        run(request_, tools)
        changed = next((tmp_path / "state").glob(f"*/*/{pattern}"))
        first, _, rest = changed.read_text().partition("\n")
        if change == "field":
            text = changed.read_text().replace("{", '{"colour": "blue", ', 1)
            self.refused(request_, tools, _written(changed, text), "newer release .* may have|If a newer release")
            return
        document = changed.read_text() if pattern.startswith("ledger") else first
        newer = json.dumps({**json.loads(document), "version": files.VERSION + 1})
        text = newer if pattern.startswith("ledger") else f"{newer}\n{rest}"
        self.refused(
            request_,
            tools,
            _written(changed, text),
            f"has format {files.VERSION + 1}, .* a newer release wrote it",
        )

    def test_in_an_old_ledgers_form_is_refused(self, emulator: Emulator, tmp_path: Path) -> None:
        tools = tools_for(emulator)
        left = left_by_0_1("finished", tmp_path, tools, lambda ledger: ledger.update(colour="blue"))
        self.refused(a_request(tmp_path, ROWS), tools, left, "unknown field `colour`")

    def test_in_a_manifest_is_refused(self, tmp_path: Path) -> None:
        content = json.loads(next(LEFT.rglob("_manifest-*.json")).read_text())
        location = storage.resolve(str(tmp_path / "manifest"))
        location.write(msgspec.json.encode(content))
        assert read_manifest(location) is not None
        location.write(msgspec.json.encode({**content, "rows": "in another form", "version": VERSION + 1}))
        with pytest.raises(StorageError, match=r"a newer release .* wrote this manifest: it has version 2, "):
            read_manifest(location)

    def test_in_a_sidecar_is_refused(self, tmp_path: Path) -> None:
        schema = pa.schema([("row_number", pa.int64())], metadata={SIDECAR_VERSION_KEY: b"2"})
        path = tmp_path / "sidecar.arrow"
        with pa.ipc.new_file(str(path), schema):
            pass
        with pytest.raises(StorageError, match=r"form 2, .* a newer release wrote it"):
            Sidecar(path)
        with pytest.raises(StorageError):
            check_sidecar(path, schema)

    async def test_in_a_triggers_arguments_is_refused(self) -> None:
        trigger = OpenAIBatchTrigger(conn_id="c", batch_ids=["b"], version=2)
        with pytest.raises(ConfigurationError, match=r"deferred by a newer release .* Its batches go on"):
            await anext(trigger.run())
        assert trigger.serialize()[1]["version"] == 2

    def test_in_a_claim_is_refused(self, emulator: Emulator, tmp_path: Path) -> None:
        request = a_request(tmp_path, ROWS, map_index=0)
        claim = request.state / request.identity.run_key / "claims" / "0.json"
        claim.write(b'{"version": 2, "jobs": []}')
        with pytest.raises(StorageError, match="newer release"):
            open_job(request, tools_for(emulator))
        assert emulator.state()["batches_created"] == 0


def test_each_file_of_a_ledger_says_its_version(emulator: Emulator, tmp_path: Path) -> None:
    request = a_request(tmp_path, ROWS)
    run(request, tools_for(emulator))
    folder = job_folder(request.state, request.identity)
    for name in filter(files.is_ledger_file, folder.list()):
        data = (folder / name).read_or_none()
        assert data is not None
        assert b'"version":%d' % files.VERSION in data.replace(b": ", b":"), name
    ledger = LedgerStore(folder).load()
    assert ledger is not None
    assert files.decode_ledger(encode_ledger(ledger), folder) == ledger


def _written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path
