"""What a job leaves in its table's folder: partitions, images and videos, unreadable lines."""

from __future__ import annotations

import dataclasses
import json
import logging
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_provider_batch import storage
from airflow_provider_batch.api.endpoints import Endpoint
from airflow_provider_batch.emulator.testing import Emulator
from airflow_provider_batch.exceptions import ConfigurationError, JobFailedError, JobTakenError
from airflow_provider_batch.jobs.job_request import JobRequest
from airflow_provider_batch.jobs.landing import staging
from airflow_provider_batch.loader.load import LoadRequest, load_batches
from airflow_provider_batch.storage import Location
from airflow_provider_batch.storage.stores.disk import Disk
from airflow_provider_batch.structured.response_model import ResponseModel
from tests.jobs.support import (
    a_request,
    changed,
    check_paid_once,
    run,
    some_rows,
    step_until_waiting,
    tools_for,
)

IMAGE = {"model": "gpt-image-1", "prompt": "{text}", "n": 2}
VIDEO = {"model": "sora-2", "prompt": "{text}"}


def images(tmp_path: Path, rows: Any, **changes: Any) -> JobRequest:
    spec = {"endpoint": Endpoint.IMAGES_GENERATIONS, **changes.pop("spec", {})}
    return a_request(tmp_path, rows, body=IMAGE, spec=spec, **changes)


def videos(tmp_path: Path, rows: Any, **changes: Any) -> JobRequest:
    return a_request(tmp_path, rows, body=VIDEO, spec={"endpoint": Endpoint.VIDEOS}, **changes)


def table(tmp_path: Path, columns: str, folder: str = "table") -> list[tuple[Any, ...]]:
    return duckdb.sql(
        f"select {columns} from read_parquet('{tmp_path}/{folder}/**/*.parquet') order by row_number"
    ).fetchall()


def names(tmp_path: Path, folder: str = "table") -> list[str]:
    root = tmp_path / folder
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def manifest(tmp_path: Path, job: str) -> dict[str, Any]:
    return dict(json.loads((tmp_path / "table" / f"_manifest-{job}.json").read_text()))


def rows_with(count: int, **values: list[Any]) -> list[dict[str, Any]]:
    return [{**row, **{k: v[n % len(v)] for k, v in values.items()}} for n, row in enumerate(some_rows(count))]


class TestPartitions:
    def test_hold_each_row_once(self, emulator: Emulator, tmp_path: Path) -> None:
        """Invariant 1."""
        emulator.fault(kind="http_error", status=400, custom_id="[37]")
        rows = rows_with(25, day=["2026-11-20", "2026-11-21", None])
        request = a_request(tmp_path, rows, partition_by=("day", "status"))
        summary = run(request, tools_for(emulator))
        found = table(tmp_path, "row_number, key, strftime(day, '%Y-%m-%d'), status")
        expected = ["failed" if n in (3, 7) else "succeeded" for n in range(25)]
        assert found == [(n, row["key"], row["day"], expected[n]) for n, row in enumerate(rows)]
        listed = manifest(tmp_path, summary["job"])
        parts = [name for name in names(tmp_path) if name.endswith(".parquet")]
        assert sorted(part["name"] for part in listed["parts"]) == parts
        assert sum(part["rows"] for part in listed["parts"]) == 25
        assert listed["partition_by"] == ["day", "status"]
        assert all(name.startswith("day=") and "/status=" in name for name in parts)

    def test_are_trimmed_by_a_rerun(self, emulator: Emulator, tmp_path: Path) -> None:
        emulator.fault(kind="http_error", status=400, custom_id="1?", executions=1)
        rows = rows_with(25, day=["a", "b"])
        request = a_request(tmp_path, rows, partition_by=("day", "status"))
        assert run(request, tools_for(emulator))["statuses"] == {"failed": 10, "succeeded": 15}
        again = changed(request, rerun="failed_rows", era=1)
        assert run(again, tools_for(emulator))["statuses"] == {"succeeded": 25}
        assert table(tmp_path, "row_number, status") == [(n, "succeeded") for n in range(25)]
        assert not list((tmp_path / "table").rglob("status=failed"))

    def test_survive_a_kill_in_the_middle_of_a_trim(
        self, emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        emulator.fault(kind="http_error", status=400, custom_id="*[34]", executions=1)
        rows = rows_with(25, day=["a", "b"])
        request = a_request(tmp_path, rows, partition_by=("status", "day"))
        run(request, tools_for(emulator))
        again = changed(request, rerun="failed_rows", era=1)
        deleted = []
        delete = Location.delete

        def dies(self: Location) -> None:
            if "status=failed" in self.path:
                if deleted:
                    raise KeyboardInterrupt
                deleted.append(self.path)
            delete(self)

        with monkeypatch.context() as patch:
            patch.setattr(Location, "delete", dies)
            with pytest.raises(KeyboardInterrupt):
                run(again, tools_for(emulator))
        assert run(again, tools_for(emulator))["statuses"] == {"succeeded": 25}
        assert table(tmp_path, "row_number, status") == [(n, "succeeded") for n in range(25)]

    def test_can_be_changed_for_free(self, emulator: Emulator, tmp_path: Path) -> None:
        rows = rows_with(25, day=["a", "b", "c/d"])
        request = a_request(tmp_path, rows)
        run(request, tools_for(emulator))
        for partition_by in (("day",), ("status", "day"), ()):
            run(changed(request, partition_by=partition_by), tools_for(emulator))
            assert table(tmp_path, "row_number, key, day") == [(n, r["key"], r["day"]) for n, r in enumerate(rows)]
            depth = {name.count("/") for name in names(tmp_path) if name.endswith(".parquet")}
            assert depth == {len(partition_by)}
        assert [path.name for path in (tmp_path / "table").iterdir() if path.is_dir()] == []
        assert emulator.state()["batches_created"] == 3

    def test_can_be_changed_while_the_job_runs(self, emulator: Emulator, tmp_path: Path) -> None:
        emulator.fault(kind="http_error", status=503, custom_id="4", executions=1)
        rows = rows_with(25, day=["a", "b"])
        request = a_request(tmp_path, rows, partition_by=("day",))
        emulator.configure(progress="reads:2")
        step_until_waiting(request, tools_for(emulator))
        run(changed(request, partition_by=("status",)), tools_for(emulator))
        assert {Path(name).parent.name for name in names(tmp_path) if name.endswith(".parquet")} == {"status=succeeded"}
        assert len(table(tmp_path, "row_number")) == 25
        check_paid_once(emulator)

    @pytest.mark.parametrize(("before", "after"), [(("day",), ()), ((), ("day",)), (("day",), ("status", "day"))])
    def test_of_an_attempt_that_was_overtaken_are_taken_back(
        self,
        emulator: Emulator,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        before: tuple[str, ...],
        after: tuple[str, ...],
    ) -> None:
        """Invariant 9: the attempt is held right before it puts its part, and another one finishes meanwhile."""
        request = a_request(tmp_path, rows_with(6, day=["a", "b"]), partition_by=before)
        put, other = staging.Staging.put, [changed(request, partition_by=after)]

        def held(self: staging.Staging, landed: Any) -> Any:
            if other:
                run(other.pop(), tools_for(emulator))
            return put(self, landed)

        monkeypatch.setattr(staging.Staging, "put", held)
        with pytest.raises(JobTakenError):
            run(request, tools_for(emulator))
        assert [number for (number,) in table(tmp_path, "row_number")] == list(range(6))

    def test_are_appended_and_replaced_like_any_table(self, emulator: Emulator, tmp_path: Path) -> None:
        """Invariant 9."""
        first = a_request(tmp_path, rows_with(5, day=["a"]), map_index=0, partition_by=("day",))
        second = a_request(tmp_path, rows_with(7, day=["a", "b"]), map_index=1, partition_by=("day",))
        tools = tools_for(emulator)
        run(first, tools)
        with pytest.raises(ConfigurationError, match="another job"):
            run(second, tools)
        run(changed(second, if_exists="append"), tools)
        assert len(table(tmp_path, "row_number")) == 12
        mine = tmp_path / "table" / "day=a" / "mine.parquet.txt"
        mine.write_text("mine")
        third = a_request(tmp_path, rows_with(3, day=["c"]), map_index=2, if_exists="replace")
        run(third, tools)
        assert [row[0] for row in table(tmp_path, "day")] == ["c"] * 3
        assert mine.read_text() == "mine"
        assert not (tmp_path / "table" / "day=b").exists()

    def test_that_are_impossible_are_refused_before_anything_is_sent(self, emulator: Emulator, tmp_path: Path) -> None:
        for partition_by, message in ((("nope",), "found 'nope'"), (("key",), "key have 501 combinations of values")):
            request = a_request(tmp_path, some_rows(501), partition_by=partition_by, spec={"max_shard_rows": 600})
            with pytest.raises(ConfigurationError, match=f"partition_by: .*{message}"):
                run(request, tools_for(emulator))
        with pytest.raises(ConfigurationError, match="partition_by needs a destination"):
            run(a_request(tmp_path, some_rows(2), partition_by=("key",), destination=None), tools_for(emulator))
        assert emulator.calls() == []

    def test_hold_parsed_answers_and_columns_that_were_renamed_for_them(
        self, emulator: Emulator, tmp_path: Path
    ) -> None:
        schema = {
            "type": "object",
            "properties": {"n": {"type": "integer"}},
            "required": ["n"],
            "additionalProperties": False,
        }
        rows = rows_with(6, parsed=["x", "y"])
        given = {"spec": {"response_model": ResponseModel.of(schema)}, "partition_by": ("input_parsed", "status")}
        run(a_request(tmp_path, rows, **given), tools_for(emulator))
        assert table(tmp_path, "row_number, input_parsed, typeof(parsed.n)") == [
            (n, row["parsed"], "BIGINT") for n, row in enumerate(rows)
        ]
        given |= {"partition_by": ("parsed",), "if_exists": "append"}
        with pytest.raises(ConfigurationError, match=r"expected a carried column .*'input_parsed'.*found 'parsed'"):
            run(a_request(tmp_path, rows, **given, map_index=1), tools_for(emulator))

    def test_of_an_empty_table_are_none_and_it_has_all_columns(self, emulator: Emulator, tmp_path: Path) -> None:
        source = tmp_path / "empty.csv"
        source.write_text("text,day\n")
        request = a_request(tmp_path, str(source), partition_by=("day",))
        assert run(request, tools_for(emulator))["rows"] == 0
        described = duckdb.sql(f"describe from '{tmp_path}/table/*.parquet'").fetchall()
        assert {"day", "status"} <= {name for name, *_ in described}


class TestImages:
    def test_are_in_the_folder_that_the_manifest_names(self, emulator: Emulator, tmp_path: Path) -> None:
        summary = run(images(tmp_path, some_rows(12)), tools_for(emulator))
        job = summary["job"]
        folders = [f"_files-{job}/g1-{number:05d}-01" for number in (1, 2)]
        assert manifest(tmp_path, job)["files"] == dict(zip(folders, [20, 4], strict=True))
        assert summary["files"] == 24
        named = [image["file"] for (found,) in table(tmp_path, "images") for image in found]
        assert sorted(named) == [name for name in names(tmp_path) if name.startswith("_files")]
        assert all((tmp_path / "table" / name).read_bytes().startswith(b"\x89PNG") for name in named)
        assert table(tmp_path, "distinct response, 0 as row_number") == [(None, 0)]
        assert table(tmp_path, "distinct model, cost_usd > 0, 0 as row_number") == [("gpt-image-1", True, 0)]

    def test_of_an_older_generation_are_removed_and_those_of_another_job_stay(
        self, emulator: Emulator, tmp_path: Path
    ) -> None:
        """Invariant 9."""
        tools = tools_for(emulator)
        other = run(images(tmp_path, some_rows(3), map_index=1), tools)["job"]
        request = images(tmp_path, some_rows(12), if_exists="append")
        job = run(request, tools)["job"]
        again = run(changed(request, source=some_rows(4)), tools)
        assert again["generation"] == 2
        folders = {name.rpartition("/")[0] for name in names(tmp_path) if name.startswith("_files")}
        assert folders == {f"_files-{other}/g1-00001-01", f"_files-{job}/g2-00001-01"}
        run(images(tmp_path, some_rows(2), map_index=3, if_exists="replace"), tools)
        assert not (tmp_path / "table" / f"_files-{job}").exists()
        assert not (tmp_path / "table" / f"_files-{other}").exists()

    def test_of_rows_that_are_sent_again_join_those_that_exist(self, emulator: Emulator, tmp_path: Path) -> None:
        emulator.fault(kind="http_error", status=400, custom_id="[37]", executions=1)
        request = images(tmp_path, some_rows(12))
        assert run(request, tools_for(emulator))["files"] == 20
        again = run(changed(request, rerun="failed_rows", era=1), tools_for(emulator))
        assert (again["files"], again["statuses"]) == (24, {"succeeded": 12})
        named = [image["file"] for (found,) in table(tmp_path, "images") for image in found]
        assert sorted(named) == [name for name in names(tmp_path) if name.startswith("_files")]

    def test_are_written_before_the_part_that_names_them(
        self, emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A kill at any write leaves no part whose images are not there, and the next attempt ends the same way."""
        request, tools = images(tmp_path, some_rows(12)), tools_for(emulator)
        put, left = Disk.upload, [0]

        def dies(self: Disk, local: Path, path: str) -> None:
            if "/table/" in path:
                left[0] -= 1
                if left[0] == 0:
                    raise KeyboardInterrupt
            put(self, local, path)

        with monkeypatch.context() as patch:
            patch.setattr(Disk, "upload", dies)
            for left[0] in (2, 7, 20, 21, 3, 5):  # the part of the first shard is the 21st
                with pytest.raises(KeyboardInterrupt):
                    run(request, tools)
                for part in (tmp_path / "table").glob("*.parquet"):
                    found = duckdb.sql(f"select images from '{part}'").fetchall()
                    assert all((tmp_path / "table" / i["file"]).exists() for (row,) in found for i in row)
        assert run(request, tools)["files"] == 24
        assert len([name for name in names(tmp_path) if name.startswith("_files")]) == 24
        check_paid_once(emulator)

    def test_with_partitions_are_named_from_the_tables_folder(self, emulator: Emulator, tmp_path: Path) -> None:
        run(images(tmp_path, rows_with(4, day=["a", "b"]), partition_by=("day",)), tools_for(emulator))
        named = [image["file"] for (found,) in table(tmp_path, "images") for image in found]
        assert len(named) == 8
        assert all((tmp_path / "table" / name).is_file() for name in named)


class TestVideos:
    def test_are_fetched_into_the_folder(self, emulator: Emulator, tmp_path: Path) -> None:
        summary = run(videos(tmp_path, some_rows(3)), tools_for(emulator))
        assert (summary["files"], summary["statuses"]) == (3, {"succeeded": 3})
        for file, video_id in table(tmp_path, "file, video_id"):
            assert video_id.encode() in (tmp_path / "table" / file).read_bytes()

    def test_that_cannot_be_fetched_are_fetched_by_a_clear_for_free(
        self, emulator: Emulator, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Only the missing one is fetched again; nothing is sent again."""
        emulator.fault(kind="route_error", status=404, method="GET", path="/v1/videos/*/content", times=1)
        request, tools = videos(tmp_path, some_rows(3)), tools_for(emulator)
        with caplog.at_level(logging.WARNING):
            assert run(request, tools)["statuses"] == {"failed": 1, "succeeded": 2}
        assert "1 videos could not be fetched" in caplog.text
        assert ("file_not_fetched", None) in table(tmp_path, "error_code, file")
        assert run(request, tools)["statuses"] == {"failed": 1, "succeeded": 2}
        cleared = changed(request, era=1)
        assert run(cleared, tools)["statuses"] == {"succeeded": 3}
        assert all(file for (file,) in table(tmp_path, "file"))
        assert emulator.state()["batches_created"] == 1
        fetched = [
            call for call in emulator.calls("GET") if call["path"].endswith("/content") and "video" in call["path"]
        ]
        assert len(fetched) == 4

    def test_of_rows_that_were_sent_again_are_fetched_by_a_clear_too(self, emulator: Emulator, tmp_path: Path) -> None:
        emulator.fault(kind="http_error", status=400, custom_id="1", executions=1)
        request, tools = videos(tmp_path, some_rows(3)), tools_for(emulator)
        run(request, tools)
        emulator.fault(kind="route_error", status=404, method="GET", path="/v1/videos/*/content", times=1)
        again = run(changed(request, rerun="failed_rows", era=1), tools)
        assert again["statuses"] == {"failed": 1, "succeeded": 2}
        assert run(changed(request, era=2), tools)["statuses"] == {"succeeded": 3}
        assert not list((tmp_path / "state").rglob("*.arrow"))
        assert run(changed(request, era=3), tools)["statuses"] == {"succeeded": 3}

    def test_are_fetched_by_a_clear_before_what_that_needs_is_deleted(self, emulator: Emulator, tmp_path: Path) -> None:
        emulator.fault(kind="route_error", status=404, method="GET", path="/v1/videos/*/content", times=1)
        request, tools = videos(tmp_path, some_rows(3), delete_files=True), tools_for(emulator)
        assert run(request, tools)["statuses"] == {"failed": 1, "succeeded": 2}
        assert run(changed(request, era=1), tools)["statuses"] == {"succeeded": 3}
        assert len(emulator.calls("DELETE")) == 2

    @pytest.mark.parametrize("gone", ["*.arrow", "files of the API"])
    def test_that_can_never_be_fetched_do_not_fail_a_clear(self, emulator: Emulator, tmp_path: Path, gone: str) -> None:
        """The files that a landing needs may be gone while the table exists."""
        emulator.fault(kind="http_error", status=400, custom_id="1", executions=1)
        request, tools = videos(tmp_path, some_rows(3), delete_files=gone != "*.arrow"), tools_for(emulator)
        run(request, tools)
        emulator.fault(kind="route_error", status=404, method="GET", path="/v1/videos/*/content", times=1)
        run(changed(request, rerun="failed_rows", era=1), tools)
        for path in (tmp_path / "state").rglob(gone):
            path.unlink()
        assert run(changed(request, era=2), tools)["statuses"] == {"failed": 1, "succeeded": 2}

    def test_that_all_cannot_be_fetched_fail_the_task_and_say_how_to_get_them(
        self, emulator: Emulator, tmp_path: Path
    ) -> None:
        emulator.fault(kind="route_error", status=404, method="GET", path="/v1/videos/*/content")
        with pytest.raises(JobFailedError, match=r"2 videos are paid for .* clear the task without a rerun"):
            run(videos(tmp_path, some_rows(2)), tools_for(emulator))

    def test_wait_out_an_api_that_is_busy(self, emulator: Emulator, tmp_path: Path) -> None:
        emulator.fault(kind="route_error", status=503, method="GET", path="/v1/videos/*/content", times=1)
        assert run(videos(tmp_path, some_rows(2)), tools_for(emulator))["statuses"] == {"succeeded": 2}


@pytest.mark.parametrize(
    ("endpoint", "body"),
    [
        (Endpoint.CHAT_COMPLETIONS, None),
        (Endpoint.RESPONSES, {"model": "gpt-4o-mini", "input": "About {text}."}),
        (Endpoint.COMPLETIONS, {"model": "gpt-3.5-turbo-instruct", "prompt": "About {text}."}),
    ],
)
def test_an_answer_with_nothing_in_it_is_failed_is_kept_and_is_not_sent_again(
    emulator: Emulator, tmp_path: Path, endpoint: Endpoint, body: dict[str, Any] | None
) -> None:
    """Invariant 10."""
    emulator.fault(kind="no_content", custom_id="1")
    request = a_request(tmp_path, some_rows(3), spec={"endpoint": endpoint, **({} if body is None else {"body": body})})
    assert run(request, tools_for(emulator))["statuses"] == {"succeeded": 2, "failed": 1}
    (row,) = [row for row in table(tmp_path, "row_number, status, error_code, text, finish_reason") if row[0] == 1]
    assert row[:4] == (1, "failed", "no_answer", None)
    assert row[4] in ("stop", "completed")
    assert table(tmp_path, "response is not null, cost_usd > 0")[1] == (True, True)
    assert emulator.state()["batches_created"] == 1


class TestUnreadableLines:
    def test_are_kept_beside_the_table(
        self, emulator: Emulator, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        emulator.fault(kind="broken_line", custom_id="4")
        with caplog.at_level(logging.WARNING):
            summary = run(a_request(tmp_path, some_rows(12)), tools_for(emulator))
        name = f"_unreadable-{summary['job']}-00001-01-g1a1.txt"
        assert summary["unreadable"] == {name: 1}
        assert manifest(tmp_path, summary["job"])["unreadable"] == {name: 1}
        assert caplog.text.count(name) == 1
        kept = (tmp_path / "table" / name).read_bytes()
        assert kept.count(b"\n") == 1
        assert b'"custom_id"' in kept
        assert table(tmp_path, "row_number, status, error_code")[4] == (4, "failed", "unreadable_line")

    def test_are_removed_with_their_table(self, emulator: Emulator, tmp_path: Path) -> None:
        emulator.fault(kind="broken_line", custom_id="4", times=2)
        tools = tools_for(emulator)
        request = a_request(tmp_path, some_rows(12), if_exists="append")
        run(request, tools)
        run(a_request(tmp_path, some_rows(5), map_index=1, if_exists="append"), tools)
        assert len([name for name in names(tmp_path) if name.startswith("_unreadable")]) == 2
        emulator.clear_faults()
        run(changed(request, rerun="all", era=1), tools)
        assert len([name for name in names(tmp_path) if name.startswith("_unreadable")]) == 1
        run(a_request(tmp_path, some_rows(1), map_index=2, if_exists="replace"), tools)
        assert not [name for name in names(tmp_path) if name.startswith("_unreadable")]


class TestTheLoader:
    """Lands the same beside its table, for batches of ours and of others."""

    @pytest.mark.parametrize("ours", [True, False])
    def test_lands_images_partitions_and_unreadable_lines(
        self, emulator: Emulator, tmp_path: Path, ours: bool, caplog: pytest.LogCaptureFixture
    ) -> None:
        emulator.fault(kind="broken_line", custom_id="4")
        limits = dataclasses.replace(a_request(tmp_path, []).limits, lands=False)
        ids = run(images(tmp_path, some_rows(12), destination=None, limits=limits), tools_for(emulator))["batch_ids"]
        state = storage.resolve(str(tmp_path / "state")) if ours else None
        request = changed(LoadRequest(ids, str(tmp_path / "table"), state=state), partition_by=("status",))
        for _ in range(2):
            summary = load_batches(request, tools_for(emulator))
            assert (summary["files"], summary["statuses"]) == (22, {"failed": 1, "succeeded": 11})
            assert sum(summary["unreadable"].values()) == 1
            found = names(tmp_path)
            assert len([name for name in found if name.endswith(".png")]) == 22
            folders = {Path(name).parent.name for name in found if name.endswith(".parquet")}
            assert folders == {"status=succeeded", "status=failed"}
        assert next(iter(summary["unreadable"])) in caplog.text

    def test_knows_the_columns_before_it_downloads(self, emulator: Emulator, tmp_path: Path) -> None:
        limits = dataclasses.replace(a_request(tmp_path, []).limits, lands=False)
        ids = run(a_request(tmp_path, some_rows(2), destination=None, limits=limits), tools_for(emulator))["batch_ids"]
        with pytest.raises(ConfigurationError, match=r"none is carried.*found 'key'"):
            load_batches(changed(LoadRequest(ids, str(tmp_path / "table")), partition_by=("key",)), tools_for(emulator))


def test_every_landing_goes_through_one_function() -> None:
    """The job and the loader land alike because neither has a way of its own."""
    package = Path(staging.__file__).parents[2]
    users = {path.name for path in package.rglob("*.py") if "land_shard(" in path.read_text()}
    assert users == {"landing.py", "staging.py"}


EMBEDDED = {"model": "{model}", "input": "{text}"}
MODELS = ["text-embedding-3-small", "text-embedding-3-large"]


class TestVectors:
    def test_of_two_sizes_are_refused_before_anything_is_sent(self, emulator: Emulator, tmp_path: Path) -> None:
        rows = rows_with(4, model=MODELS)
        request = a_request(tmp_path, rows, body=EMBEDDED, spec={"endpoint": Endpoint.EMBEDDINGS})
        with pytest.raises(ConfigurationError, match="3-small: 1,536, text-embedding-3-large: 3,072"):
            run(request, tools_for(emulator))
        assert emulator.state()["batches_created"] == 0

    def test_of_a_size_for_each_row_are_refused_before_anything_is_sent(
        self, emulator: Emulator, tmp_path: Path
    ) -> None:
        body = {"model": MODELS[0], "input": "{text}", "dimensions": "{size}"}
        request = a_request(tmp_path, rows_with(4, size=[8, 9]), body=body, spec={"endpoint": Endpoint.EMBEDDINGS})
        with pytest.raises(ConfigurationError, match="Run a job for each size"):
            run(request, tools_for(emulator))
        assert emulator.state()["batches_created"] == 0

    def test_of_one_size_may_be_of_several_models(self, emulator: Emulator, tmp_path: Path) -> None:
        rows = rows_with(4, model=MODELS)
        body = {**EMBEDDED, "dimensions": 8}
        run(a_request(tmp_path, rows, body=body, spec={"endpoint": Endpoint.EMBEDDINGS}), tools_for(emulator))
        assert table(tmp_path, "status, len(embedding)") == [("succeeded", 8)] * 4

    def test_have_their_size_without_any_row(self, emulator: Emulator, tmp_path: Path) -> None:
        body = {**EMBEDDED, "model": MODELS[0]}
        spec = {"endpoint": Endpoint.EMBEDDINGS, "limit": 0}
        run(a_request(tmp_path, some_rows(1), body=body, spec=spec), tools_for(emulator))
        (part,) = (tmp_path / "table").glob("*.parquet")
        assert pq.read_schema(part).field("embedding").type == pa.list_(pa.float32(), 1536)
