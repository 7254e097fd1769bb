"""Whole jobs with source, table and ledger on each store."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_provider_batch.api.endpoints import Endpoint
from airflow_provider_batch.emulator.testing import Emulator
from airflow_provider_batch.exceptions import (
    ConfigurationError,
    JobTakenError,
)
from airflow_provider_batch.jobs.ledger.files import is_ledger_file
from airflow_provider_batch.jobs.ledger.store import LedgerStore, job_folder
from airflow_provider_batch.jobs.opening.attempt import open_job
from tests.jobs.support import changed, check_paid_once, run, some_rows, step_until_waiting
from tests.stores.conftest import Place

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
    def test_may_be_a_folder_of_any_format(self, emulator: Emulator, place: Place, ending: str) -> None:
        rows = some_rows(25)
        place.put(f"in/a.{ending}", FORMATS[ending](rows[:10]))
        place.put(f"in/deep/er/b 2 ü.{ending}", FORMATS[ending](rows[10:]))
        place.put("in/_SUCCESS", b"")
        place.put_folder_marker("in")
        run(place.request(f"{place.uri}/in/"), place.tools(emulator))
        place.check_table(rows)

    @pytest.mark.parametrize("pattern", ["in/day=*/*.jsonl", "in/**/*.jsonl", "in/day=0[12]/part.jsonl", "in/day=*"])
    def test_may_be_a_glob(self, emulator: Emulator, place: Place, pattern: str) -> None:
        rows = some_rows(6)
        place.put("in/day=01/part.jsonl", as_jsonl(rows[:3]))
        place.put("in/day=02/part.jsonl", as_jsonl(rows[3:]))
        place.put("inner/day=03/part.jsonl", as_jsonl(rows))
        run(place.request(f"{place.uri}/{pattern}"), place.tools(emulator))
        place.check_table(rows)

    def test_may_be_several_files(self, emulator: Emulator, place: Place) -> None:
        rows = some_rows(6)
        second, first = place.put("b.csv", as_csv(rows[:3])), place.put("a.csv", as_csv(rows[3:]))
        run(place.request([second, first]), place.tools(emulator))
        place.check_table(rows)

    def test_may_be_partitioned_filtered_and_name_images(self, emulator: Emulator, place: Place) -> None:
        photo = place.put("photos/a.png", b"\x89PNG\r\n\x1a\n")
        rows = [{"key": f"k{number}", "text": photo} for number in range(4)]
        place.put("in/dt=2026-11-01/a.parquet", as_parquet(rows[:2]))
        place.put("in/dt=2026-11-02/a.parquet", as_parquet(rows[2:]))
        place.put("in/_temporary/dt=2026-11-03/a.parquet", as_parquet(rows))
        spec = {"filters": [("dt", "=", "2026-11-02")], "data_urls": ["text"], "carry": ["key", "dt"]}
        run(place.request(f"{place.uri}/in", spec=spec), place.tools(emulator))
        found = [("k2", 2, "2026-11-02", "succeeded"), ("k3", 3, "2026-11-02", "succeeded")]
        assert sorted(place.table("key, row_number, dt::text, status")) == found

    def test_that_was_written_again_with_the_same_content_is_the_same(self, emulator: Emulator, place: Place) -> None:
        rows = some_rows(5)
        source = place.put("in.jsonl", as_jsonl(rows))
        run(place.request(source), place.tools(emulator))
        place.put("in.jsonl", as_jsonl(rows))
        run(place.request(source), place.tools(emulator))
        assert emulator.state()["batches_created"] == 1


class TestAJob:
    def test_leaves_its_table_and_its_ledger_and_nothing_else(self, emulator: Emulator, place: Place) -> None:
        summary = run(place.request(some_rows(25)), place.tools(emulator))
        place.check_table(some_rows(25))
        job = summary["job"]
        parts = [f"part-{job}-{number:05}-01-g1a1.parquet" for number in (1, 2, 3)]
        assert place.keys("table") == [f"_manifest-{job}.json", *parts]
        assert all(is_ledger_file(key.rpartition("/")[2]) for key in place.keys("state"))
        assert summary["manifest"] == f"{place.uri}/table/_manifest-{job}.json"

    def test_goes_over_several_rounds(self, emulator: Emulator, place: Place) -> None:
        emulator.fault(kind="http_error", status=503, fraction=0.4, executions=1)
        rows = some_rows(25)
        run(place.request(rows), place.tools(emulator))
        place.check_table(rows)
        assert {row[0] for row in place.table("round")} == {1, 2}
        check_paid_once(emulator)

    def test_is_gone_on_with_by_another_attempt(self, emulator: Emulator, place: Place) -> None:
        emulator.configure(progress="hold")
        request, tools = place.request(some_rows(25)), place.tools(emulator)
        older = step_until_waiting(request, tools)
        emulator.configure(progress="immediate")
        run(request, tools)
        place.check_table(some_rows(25))
        assert emulator.state()["batches_created"] == 3
        with pytest.raises(JobTakenError):
            older.run()

    def test_that_two_attempts_begin_at_once_is_begun_by_one(self, emulator: Emulator, place: Place) -> None:
        """The other one had seen no ledger, and prepared everything as well."""
        request, tools = place.request(some_rows(25)), place.tools(emulator)
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
        place.check_table(some_rows(25))
        assert emulator.state()["batches_created"] == 3

    def test_claims_its_destination_until_its_table_stands(self, emulator: Emulator, place: Place) -> None:
        emulator.configure(progress="hold")
        tools = place.tools(emulator)
        first, second = place.request(some_rows(5), map_index=0), place.request(some_rows(6), map_index=1)
        step_until_waiting(first, tools)
        assert "_claim.json" in place.keys("table")
        with pytest.raises(ConfigurationError, match=r"has claimed this folder"):
            run(second, tools)
        emulator.configure(progress="immediate")
        run(first, tools)
        assert "_claim.json" not in place.keys("table")
        place.check_table(some_rows(5))
        assert emulator.state()["batches_created"] == 1

    def test_replaces_another_jobs_table_when_told_to(self, emulator: Emulator, place: Place) -> None:
        tools = place.tools(emulator)
        place.put("table/notes.txt", b"mine")
        run(place.request(some_rows(25), map_index=0), tools)
        with pytest.raises(ConfigurationError, match="if_exists='replace'"):
            run(place.request(some_rows(6), map_index=1), tools)
        run(place.request(some_rows(6), map_index=1, if_exists="replace"), tools)
        place.check_table(some_rows(6))
        assert "notes.txt" in place.keys("table")

    def test_whose_table_was_removed_lands_it_again_for_free(self, emulator: Emulator, place: Place) -> None:
        request, tools = place.request(some_rows(25)), place.tools(emulator)
        run(request, tools)
        place.remove("table")
        run(request, tools)
        place.check_table(some_rows(25))
        assert emulator.state()["batches_created"] == 3


class TestAStoreWithoutConditionalWrites:
    stores = ("local",)

    def test_is_named_once_in_the_log_of_a_new_job(
        self, emulator: Emulator, place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr("airflow_provider_batch.storage.stores.disk.Disk.has_conditions", False)
        request = place.request(some_rows(25))
        for _ in range(2):
            run(request, place.tools(emulator))
        said = [record.getMessage() for record in caplog.records if "conditional writes" in record.getMessage()]
        assert len(said) == 1
        assert said[0].startswith(f"{place.uri}/state/")


class TestTheTable:
    def test_has_its_images_beside_it(self, emulator: Emulator, place: Place) -> None:
        body = {"model": "gpt-image-1", "prompt": "{text}", "n": 2}
        spec = {"endpoint": Endpoint.IMAGES_GENERATIONS}
        request = place.request(some_rows(12), body=body, spec=spec)
        for _ in range(2):
            summary = run(request, place.tools(emulator))
            named = [image["file"] for (found,) in place.table("images") for image in found]
            assert len(named) == summary["files"] == 24
            assert [key for key in place.keys("table") if key.startswith("_files")] == sorted(named)
            assert (place.at(f"table/{named[0]}").read_or_none() or b"").startswith(b"\x89PNG")
            for key in place.keys("table"):
                if key.endswith(".parquet"):  # landed again
                    place.at(f"table/{key}").delete()
        run(place.request(some_rows(2), map_index=1, if_exists="replace"), place.tools(emulator))
        assert not [key for key in place.keys("table") if key.startswith("_files")]

    def test_has_its_videos_beside_it(self, emulator: Emulator, place: Place) -> None:
        body, spec = {"model": "sora-2", "prompt": "{text}"}, {"endpoint": Endpoint.VIDEOS}
        run(place.request(some_rows(3), body=body, spec=spec), place.tools(emulator))
        for file, video_id in place.table("file, video_id"):
            assert video_id.encode() in (place.at(f"table/{file}").read_or_none() or b"")

    def test_is_cut_into_partitions_and_put_together_again(self, emulator: Emulator, place: Place) -> None:
        days = ["2026-11-20", "a b/ü%", None]
        rows = [{**row, "day": days[number % 3]} for number, row in enumerate(some_rows(25))]
        request = place.request(rows, partition_by=("day", "status"))
        run(request, place.tools(emulator))
        folders = {key.rpartition("/")[0] for key in place.keys("table") if key.endswith(".parquet")}
        assert folders == {
            "day=2026-11-20/status=succeeded",
            "day=a b%2Fü%25/status=succeeded",
            "day=__HIVE_DEFAULT_PARTITION__/status=succeeded",
        }
        assert place.table("row_number, key, day") == [(n, row["key"], row["day"]) for n, row in enumerate(rows)]
        run(changed(request, partition_by=()), place.tools(emulator))
        assert not [key for key in place.keys("table") if "=" in key]
        place.check_table(rows)
        assert emulator.state()["batches_created"] == 3
