"""Whole jobs with source, table and ledger on a real S3 server."""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
from collections.abc import Callable
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_provider_batch.api.endpoints import Endpoint
from airflow_provider_batch.emulator.testing import Emulator
from airflow_provider_batch.exceptions import (
    ConfigurationError,
    JobTakenError,
    OpenAIBatchError,
    SourceError,
    StorageError,
)
from airflow_provider_batch.jobs.ledger.files import is_ledger_file
from airflow_provider_batch.jobs.ledger.store import LedgerStore, job_folder
from airflow_provider_batch.jobs.opening.attempt import open_job
from tests.jobs.support import changed, check_paid_once, run, some_rows, step_until_waiting
from tests.object_stores.conftest import Bucket
from tests.object_stores.server import S3Server

Rows = list[dict[str, Any]]


def as_parquet(rows: Rows) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), buffer, row_group_size=4)
    return buffer.getvalue()


def as_jsonl(rows: Rows) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def as_csv(rows: Rows) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, ["key", "text"])
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


FORMATS: dict[str, Callable[[Rows], bytes]] = {
    "parquet": as_parquet,
    "jsonl": as_jsonl,
    "csv": as_csv,
    "jsonl.gz": lambda rows: gzip.compress(as_jsonl(rows)),
}


class TestASource:
    @pytest.mark.parametrize("ending", [*FORMATS])
    def test_may_be_a_folder_of_any_format(self, emulator: Emulator, bucket: Bucket, ending: str) -> None:
        rows = some_rows(25)
        bucket.put(f"in/a.{ending}", FORMATS[ending](rows[:10]))
        bucket.put(f"in/deep/er/b 2 ü.{ending}", FORMATS[ending](rows[10:]))
        bucket.put("in/_SUCCESS", b"")
        bucket.put("in/", b"")  # what consoles put where somebody "made a folder"
        run(bucket.request(f"{bucket.uri}/in/"), bucket.tools(emulator))
        bucket.check_table(rows)

    @pytest.mark.parametrize("pattern", ["in/day=*/*.jsonl", "in/**/*.jsonl", "in/day=0[12]/part.jsonl", "in/day=*"])
    def test_may_be_a_glob(self, emulator: Emulator, bucket: Bucket, pattern: str) -> None:
        rows = some_rows(6)
        bucket.put("in/day=01/part.jsonl", as_jsonl(rows[:3]))
        bucket.put("in/day=02/part.jsonl", as_jsonl(rows[3:]))
        bucket.put("inner/day=03/part.jsonl", as_jsonl(rows))
        run(bucket.request(f"{bucket.uri}/{pattern}"), bucket.tools(emulator))
        bucket.check_table(rows)

    def test_may_be_several_files(self, emulator: Emulator, bucket: Bucket) -> None:
        rows = some_rows(6)
        second, first = bucket.put("b.csv", as_csv(rows[:3])), bucket.put("a.csv", as_csv(rows[3:]))
        run(bucket.request([second, first]), bucket.tools(emulator))
        bucket.check_table(rows)

    def test_may_be_partitioned_filtered_and_name_images(self, emulator: Emulator, bucket: Bucket) -> None:
        photo = bucket.put("photos/a.png", b"\x89PNG\r\n\x1a\n")
        rows = [{"key": f"k{number}", "text": photo} for number in range(4)]
        bucket.put("in/dt=2026-11-01/a.parquet", as_parquet(rows[:2]))
        bucket.put("in/dt=2026-11-02/a.parquet", as_parquet(rows[2:]))
        bucket.put("in/_temporary/dt=2026-11-03/a.parquet", as_parquet(rows))
        spec = {"filters": [("dt", "=", "2026-11-02")], "data_urls": ["text"], "carry": ["key", "dt"]}
        run(bucket.request(f"{bucket.uri}/in", spec=spec), bucket.tools(emulator))
        found = [("k2", 2, "2026-11-02", "succeeded"), ("k3", 3, "2026-11-02", "succeeded")]
        assert sorted(bucket.table("key, row_number, dt::text, status")) == found

    def test_that_was_written_again_with_the_same_content_is_the_same(self, emulator: Emulator, bucket: Bucket) -> None:
        rows = some_rows(5)
        source = bucket.put("in.jsonl", as_jsonl(rows))
        run(bucket.request(source), bucket.tools(emulator))
        bucket.put("in.jsonl", as_jsonl(rows))
        run(bucket.request(source), bucket.tools(emulator))
        assert emulator.state()["batches_created"] == 1


class TestAJob:
    def test_leaves_its_table_and_its_ledger_and_nothing_else(self, emulator: Emulator, bucket: Bucket) -> None:
        summary = run(bucket.request(some_rows(25)), bucket.tools(emulator))
        bucket.check_table(some_rows(25))
        job = summary["job"]
        parts = [f"part-{job}-{number:05}-01-g1a1.parquet" for number in (1, 2, 3)]
        assert bucket.keys("table") == [f"_manifest-{job}.json", *parts]
        assert all(is_ledger_file(key.rpartition("/")[2]) for key in bucket.keys("state"))
        assert summary["manifest"] == f"{bucket.uri}/table/_manifest-{job}.json"

    def test_goes_over_several_rounds(self, emulator: Emulator, bucket: Bucket) -> None:
        emulator.fault(kind="http_error", status=503, fraction=0.4, executions=1)
        rows = some_rows(25)
        run(bucket.request(rows), bucket.tools(emulator))
        bucket.check_table(rows)
        assert {row[0] for row in bucket.table("round")} == {1, 2}
        check_paid_once(emulator)

    def test_is_gone_on_with_by_another_attempt(self, emulator: Emulator, bucket: Bucket) -> None:
        emulator.configure(progress="hold")
        request, tools = bucket.request(some_rows(25)), bucket.tools(emulator)
        older = step_until_waiting(request, tools)
        emulator.configure(progress="immediate")
        run(request, tools)
        bucket.check_table(some_rows(25))
        assert emulator.state()["batches_created"] == 3
        with pytest.raises(JobTakenError):
            older.run()

    def test_that_two_attempts_begin_at_once_is_begun_by_one(self, emulator: Emulator, bucket: Bucket) -> None:
        """The other one had seen no ledger, and prepared everything as well."""
        request, tools = bucket.request(some_rows(25)), bucket.tools(emulator)
        store = LedgerStore(job_folder(request.state, request.identity))
        begin, begun = LedgerStore.begin, []

        def overtaken(self: LedgerStore, *args: Any) -> Any:
            if not begun:
                begun.append(None)
                begun.append(open_job(request, tools))
            return begin(self, *args)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(LedgerStore, "begin", overtaken)
            with pytest.raises(JobTakenError, match="begun the job at the same time"):
                open_job(request, tools)
        winner = begun[1]
        assert store.load() == winner.ledger
        winner.run()
        bucket.check_table(some_rows(25))
        assert emulator.state()["batches_created"] == 3

    def test_claims_its_destination_until_its_table_stands(self, emulator: Emulator, bucket: Bucket) -> None:
        emulator.configure(progress="hold")
        tools = bucket.tools(emulator)
        first, second = bucket.request(some_rows(5), map_index=0), bucket.request(some_rows(6), map_index=1)
        step_until_waiting(first, tools)
        assert "_claim.json" in bucket.keys("table")
        with pytest.raises(ConfigurationError, match=r"has claimed this folder"):
            run(second, tools)
        emulator.configure(progress="immediate")
        run(first, tools)
        assert "_claim.json" not in bucket.keys("table")
        bucket.check_table(some_rows(5))
        assert emulator.state()["batches_created"] == 1

    def test_replaces_another_jobs_table_when_told_to(self, emulator: Emulator, bucket: Bucket) -> None:
        tools = bucket.tools(emulator)
        bucket.put("table/notes.txt", b"mine")
        run(bucket.request(some_rows(25), map_index=0), tools)
        with pytest.raises(ConfigurationError, match="if_exists='replace'"):
            run(bucket.request(some_rows(6), map_index=1), tools)
        run(bucket.request(some_rows(6), map_index=1, if_exists="replace"), tools)
        bucket.check_table(some_rows(6))
        assert "notes.txt" in bucket.keys("table")

    def test_whose_table_was_removed_lands_it_again_for_free(self, emulator: Emulator, bucket: Bucket) -> None:
        request, tools = bucket.request(some_rows(25)), bucket.tools(emulator)
        run(request, tools)
        bucket.fs.rm(f"{bucket.name}/table", recursive=True)
        run(request, tools)
        bucket.check_table(some_rows(25))
        assert emulator.state()["batches_created"] == 3


class TestTheTable:
    def test_has_its_images_beside_it(self, emulator: Emulator, bucket: Bucket) -> None:
        body = {"model": "gpt-image-1", "prompt": "{text}", "n": 2}
        spec = {"endpoint": Endpoint.IMAGES_GENERATIONS}
        request = bucket.request(some_rows(12), body=body, spec=spec)
        for _ in range(2):
            summary = run(request, bucket.tools(emulator))
            named = [image["file"] for (found,) in bucket.table("images") for image in found]
            assert len(named) == summary["files"] == 24
            assert [key for key in bucket.keys("table") if key.startswith("_files")] == sorted(named)
            assert bucket.fs.cat_file(f"{bucket.name}/table/{named[0]}").startswith(b"\x89PNG")
            for key in bucket.keys("table"):
                if key.endswith(".parquet"):  # landed again
                    bucket.fs.rm_file(f"{bucket.name}/table/{key}")
        run(bucket.request(some_rows(2), map_index=1, if_exists="replace"), bucket.tools(emulator))
        assert not [key for key in bucket.keys("table") if key.startswith("_files")]

    def test_has_its_videos_beside_it(self, emulator: Emulator, bucket: Bucket) -> None:
        body, spec = {"model": "sora-2", "prompt": "{text}"}, {"endpoint": Endpoint.VIDEOS}
        run(bucket.request(some_rows(3), body=body, spec=spec), bucket.tools(emulator))
        for file, video_id in bucket.table("file, video_id"):
            assert video_id.encode() in bucket.fs.cat_file(f"{bucket.name}/table/{file}")

    def test_is_cut_into_partitions_and_put_together_again(self, emulator: Emulator, bucket: Bucket) -> None:
        days = ["2026-11-20", "a b/ü%", None]
        rows = [{**row, "day": days[number % 3]} for number, row in enumerate(some_rows(25))]
        request = bucket.request(rows, partition_by=("day", "status"))
        run(request, bucket.tools(emulator))
        folders = {key.rpartition("/")[0] for key in bucket.keys("table") if key.endswith(".parquet")}
        assert folders == {
            "day=2026-11-20/status=succeeded",
            "day=a b%2Fü%25/status=succeeded",
            "day=__HIVE_DEFAULT_PARTITION__/status=succeeded",
        }
        local = bucket.local / "copy"
        bucket.fs.get(f"{bucket.name}/table/", str(local), recursive=True)
        query = f"select row_number, key, day from read_parquet('{local}/**/*.parquet') order by 1"
        assert duckdb.sql(query).fetchall() == [(n, row["key"], row["day"]) for n, row in enumerate(rows)]
        run(changed(request, partition_by=()), bucket.tools(emulator))
        assert not [key for key in bucket.keys("table") if "=" in key]
        bucket.check_table(rows)
        assert emulator.state()["batches_created"] == 3

    @pytest.mark.parametrize("operation", ["put_object", "upload_part", "complete_multipart_upload"])
    def test_shows_no_part_whose_upload_failed_half_way(
        self, emulator: Emulator, bucket: Bucket, operation: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("airflow_provider_batch.storage.object_stores.PART_BYTES", 5 << 20)
        noise = random.Random(1)
        big = [{**row, "noise": noise.randbytes(3 << 19).hex()} for row in some_rows(10)]
        body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "{text}"}]}
        request, tools = bucket.request(big, body=body), bucket.tools(emulator)
        call, broken = type(bucket.fs)._call_s3, [True]

        async def breaks(self: Any, method: str, *args: Any, **kwargs: Any) -> Any:
            name = kwargs.get("Key", "").rpartition("/")[2]
            is_due = method == operation and name.startswith("_manifest" if operation == "put_object" else "part-")
            if broken[0] and is_due and kwargs.get("PartNumber", 2) > 1:
                raise OSError(5, "the wire was cut")
            return await call(self, method, *args, **kwargs)

        monkeypatch.setattr(type(bucket.fs), "_call_s3", breaks)
        with pytest.raises(StorageError, match=r"cannot write it .*the wire was cut") as caught:
            run(request, tools)
        assert "continues from there" in str(caught.value)
        assert not [key for key in bucket.keys("table") if key.startswith("_manifest")]
        assert bool([key for key in bucket.keys("table") if key.startswith("part-")]) == (operation == "put_object")
        broken[0] = False
        run(request, tools)
        bucket.check_table(big)
        check_paid_once(emulator)


class TestErrors:
    """One line that says what is wrong, before anything is sent."""

    @pytest.fixture
    def stranger(self, bucket: Bucket, s3_server: S3Server) -> Bucket:
        """The same bucket with a secret that is wrong."""
        return Bucket(bucket.name, s3_server.fs(secret="wrong"), bucket.local)

    def test_a_source_in_a_bucket_that_does_not_exist(self, emulator: Emulator, bucket: Bucket) -> None:
        for source in ("s3://no-such-bucket/in.jsonl", "s3://no-such-bucket/in/", "s3://no-such-bucket/*.jsonl"):
            found = self.fails(emulator, bucket, bucket.request(source), SourceError)
            assert found == f"{source}: the bucket does not exist."

    def test_a_source_that_is_not_there(self, emulator: Emulator, bucket: Bucket) -> None:
        for source, message in (
            (f"{bucket.uri}/in.jsonl", "no such file or folder"),
            (f"{bucket.uri}/in/*.jsonl", "matches no file"),
        ):
            assert message in self.fails(emulator, bucket, bucket.request(source), SourceError)

    def test_a_destination_in_a_bucket_that_does_not_exist(self, emulator: Emulator, bucket: Bucket) -> None:
        request = bucket.request(some_rows(5), destination="s3://no-such-bucket/table")
        found = self.fails(emulator, bucket, request, ConfigurationError)
        assert found.startswith("s3://no-such-bucket/table: ")
        assert "the bucket does not exist" in found
        assert bucket.keys("state") == []

    def test_a_state_path_in_a_bucket_that_does_not_exist(self, emulator: Emulator, bucket: Bucket) -> None:
        request = bucket.request(some_rows(5), state="s3://no-such-bucket/state")
        found = self.fails(emulator, bucket, request, StorageError)
        assert found.startswith("s3://no-such-bucket/state/")
        assert "the bucket does not exist" in found

    def test_wrong_credentials(self, emulator: Emulator, bucket: Bucket, stranger: Bucket) -> None:
        source = bucket.put("in.jsonl", as_jsonl(some_rows(5)))
        for place in (source, f"{bucket.uri}/in/", f"{bucket.uri}/*.jsonl"):
            found = self.fails(emulator, stranger, stranger.request(place), SourceError | StorageError)
            assert found.startswith(place)
            assert "PermissionError" in found
        found = self.fails(emulator, stranger, stranger.request(some_rows(5)), StorageError)
        assert found.startswith(f"{bucket.uri}/state/")
        assert "PermissionError" in found

    def test_a_ledger_that_is_no_ledger(self, emulator: Emulator, bucket: Bucket) -> None:
        request = bucket.request(some_rows(5))
        LedgerStore(job_folder(request.state, request.identity)).location.write(b"\x00" * 100)
        found = self.fails(emulator, bucket, request, StorageError)
        assert "expected the ledger of a job, found 100 bytes that cannot be read" in found

    def fails(self, emulator: Emulator, bucket: Bucket, request: Any, kind: Any) -> str:
        with pytest.raises(OpenAIBatchError) as caught:
            run(request, bucket.tools(emulator))
        assert isinstance(caught.value, kind)
        assert emulator.calls() == []
        message = str(caught.value)
        assert "\n" not in message
        return message
