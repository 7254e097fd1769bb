"""Images and videos are files in the table's folder, and the table contains their paths."""

from __future__ import annotations

import base64
import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_provider_batch import storage
from airflow_provider_batch.api.endpoints import Endpoint
from airflow_provider_batch.exceptions import NotFoundError, StorageError
from airflow_provider_batch.results.landing import LandedShard, ShardResults, land_shard
from airflow_provider_batch.results.lines.raw_body import read_raw_body
from airflow_provider_batch.results.media import MediaFiles, file_suffix
from airflow_provider_batch.table.schema import Raw, TableSpec
from tests.results.support import encoded, success, write_sidecar

PNG = b"\x89PNG\r\n\x1a\n" + bytes(40)
JPEG = b"\xff\xd8\xff\xe0" + bytes(40)
WEBP = b"RIFF\x00\x00\x00\x00WEBP" + bytes(40)
FOLDER = "_files-0123456789ab/g1-00001-01"


def image(data: bytes, **more: Any) -> dict[str, Any]:
    return {"b64_json": base64.b64encode(data).decode(), **more}


def images(custom_id: str, *data: Any, **more: Any) -> dict[str, Any]:
    listed = [image(one) if isinstance(one, bytes) else one for one in data]
    return success(custom_id, {"created": 1, "data": listed, "model": "gpt-image-1", **more})


def video(custom_id: str, video_id: str) -> dict[str, Any]:
    return success(custom_id, {"id": video_id, "status": "completed", "seconds": "4", "size": "720x1280"})


class Table:
    """A table's folder that shards of one endpoint are landed into."""

    def __init__(self, folder: Path, endpoint: Endpoint, raw: Raw = "errors") -> None:
        self.folder, self.work = folder / "table", folder
        self.spec = TableSpec(endpoint, raw=raw)
        self.media: MediaFiles | None = None

    def land(
        self,
        lines: list[Any],
        *,
        fetch: Callable[[str, Path], object] | None = None,
        ids: list[str] | None = None,
        first_row: int = 0,
    ) -> tuple[LandedShard, list[dict[str, Any]]]:
        ids = ids or [line["custom_id"] for line in lines]
        rows = write_sidecar(self.work / "shard.arrow", ids, first_row=first_row)
        output = self.work / "output.jsonl"
        with output.open("wb") as file:
            for line in lines:
                file.write(encoded(line) + b"\n")
        results = ShardResults(rows, output, None, "batch_1", "completed", 1)
        self.media = MediaFiles(storage.resolve(str(self.folder)), FOLDER, self.spec.endpoint, fetch)
        part, unreadable = self.work / "part.parquet", self.work / "unreadable.txt"
        landed = land_shard(results, self.spec, lambda _: True, part, self.work / "r", unreadable, media=self.media)
        return landed, pq.read_table(part).to_pylist()

    @property
    def files(self) -> dict[str, bytes]:
        return {
            str(path.relative_to(self.folder)): path.read_bytes() for path in self.folder.rglob("*") if path.is_file()
        }


class TestImages:
    @pytest.mark.parametrize("endpoint", [Endpoint.IMAGES_GENERATIONS, Endpoint.IMAGES_EDITS])
    def test_become_files_whose_paths_are_in_the_rows(self, endpoint: Endpoint, tmp_path: Path) -> None:
        table = Table(tmp_path, endpoint)
        both = images("a", PNG, JPEG, size="1024x1024", quality="low", background="opaque", output_format="png")
        _, rows = table.land([both, images("b", {"url": "https://x/y.png", "revised_prompt": "a cat"})], first_row=41)
        first, second = f"{FOLDER}/000000041-0.png", f"{FOLDER}/000000041-1.jpeg"
        assert rows[0]["images"] == [
            {"url": None, "file": first, "revised_prompt": None},
            {"url": None, "file": second, "revised_prompt": None},
        ]
        assert rows[1]["images"] == [{"url": "https://x/y.png", "file": None, "revised_prompt": "a cat"}]
        assert [rows[0][name] for name in ("output_format", "size", "quality", "background")] == [
            "png",
            "1024x1024",
            "low",
            "opaque",
        ]
        assert table.files == {first: PNG, second: JPEG}

    @pytest.mark.parametrize("raw", ["errors", "all", "none"])
    def test_are_never_base64_in_the_table(self, raw: Raw, tmp_path: Path) -> None:
        table = Table(tmp_path, Endpoint.IMAGES_GENERATIONS, raw)
        data = PNG + bytes(range(256)) * 40
        twice = images("b", data)
        twice["response"]["body"] = encoded(twice["response"]["body"]).decode()
        table.land([images("a", data, size="8x8"), twice])
        text = base64.b64encode(data).decode()
        for row in pq.read_table(tmp_path / "part.parquet").to_pylist():
            assert text not in str(row)
            assert (row["response"] is not None) == (raw == "all")
        assert len(table.files) == 2

    def test_that_a_tool_of_a_response_made_become_files_too(self, tmp_path: Path) -> None:
        table = Table(tmp_path, Endpoint.RESPONSES, "all")
        text = base64.b64encode(PNG * 3).decode()
        called = {"type": "image_generation_call", "id": "ig_1", "result": text, "revised_prompt": "a cat"}
        said = {"type": "message", "content": [{"type": "output_text", "text": 'see "result": "it"'}]}
        body = {"id": "resp_1", "status": "completed", "model": "gpt-4o", "output": [called, said]}
        plain = {**body, "output": [said]}
        _, rows = table.land([success("a", body), success("b", plain)], first_row=7)
        name = f"{FOLDER}/000000007-0.png"
        assert [row["images"] for row in rows] == [[{"url": None, "file": name, "revised_prompt": "a cat"}], None]
        assert rows[0]["text"] == 'see "result": "it"'
        assert table.files == {name: PNG * 3}
        assert json.loads(rows[0]["response"])["output"] == [{**called, "result": None}, said]

    def test_the_kept_body_keeps_all_but_the_images(self) -> None:
        body = (
            rb'{"data": [{"b64_json": "AAAA\/BBBB", "revised_prompt": "say \"b64_json\": \"x\""}, {"b64_json" : "C="}]}'
        )
        line = b'{"response": {"status_code": 200, "body": ' + body + b"}}"
        expected = body.replace(rb'"AAAA\/BBBB"', b"null").replace(b'"C="', b"null")
        assert read_raw_body(line) == expected.decode()

    def test_that_cannot_be_decoded_fail_their_row_and_the_line_is_kept(self, tmp_path: Path) -> None:
        table = Table(tmp_path, Endpoint.IMAGES_GENERATIONS)
        bad = images("a", PNG, {"b64_json": "no base64!"})
        landed, rows = table.land([bad, images("b", PNG)])
        assert [row["status"] for row in rows] == ["failed", "succeeded"]
        assert (rows[0]["error_code"], landed.unreadable) == ("unreadable_line", 1)
        assert [one["file"] for one in rows[0]["images"]] == [None, None]
        assert (tmp_path / "unreadable.txt").read_bytes() == encoded(bad) + b"\n"
        assert list(table.files) == [f"{FOLDER}/000000001-0.png"]

    def test_of_a_landing_that_is_repeated_replace_the_first(self, tmp_path: Path) -> None:
        table = Table(tmp_path, Endpoint.IMAGES_GENERATIONS)
        (tmp_path / "table" / "_files-ffffffffffff").mkdir(parents=True)
        theirs = tmp_path / "table" / "_files-ffffffffffff" / "000000000-0.png"
        theirs.write_bytes(b"theirs")
        table.land([images("a", PNG), images("b", JPEG)])
        table.land([images("a", PNG + b"again"), images("b", JPEG)])
        mine = {name: data for name, data in table.files.items() if name.startswith(FOLDER)}
        assert mine == {f"{FOLDER}/000000000-0.png": PNG + b"again", f"{FOLDER}/000000001-0.jpeg": JPEG}
        assert theirs.read_bytes() == b"theirs"

    def test_of_any_size_take_the_memory_of_a_few(self, tmp_path: Path) -> None:
        """Invariant 8: 24 images of 3 MB, 72 MB in all."""
        table = Table(tmp_path, Endpoint.IMAGES_GENERATIONS)
        table.land([images("warm", PNG)])
        lines = [images(str(number), PNG + bytes(3_000_000)) for number in range(4)]
        ids = [str(number) for number in range(24)]
        rows = write_sidecar(tmp_path / "shard.arrow", ids)
        with (tmp_path / "output.jsonl").open("wb") as file:
            for number in range(24):
                file.write(encoded({**lines[number % 4], "custom_id": str(number)}) + b"\n")
        del lines
        media = MediaFiles(storage.resolve(str(table.folder)), FOLDER, table.spec.endpoint)
        results = ShardResults(rows, tmp_path / "output.jsonl", None, "batch_1", "completed", 1)
        tracemalloc.start()
        land_shard(results, table.spec, lambda _: True, tmp_path / "p", tmp_path / "r", media=media)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert media.count == 24
        assert peak < 40_000_000

    @pytest.mark.parametrize(
        ("data", "output_format", "expected"),
        [
            (PNG, "webp", "png"),
            (JPEG, None, "jpeg"),
            (WEBP, "png", "webp"),
            (b"GIF89a", None, "gif"),
            (b"<svg xmlns='http://www.w3.org/2000/svg'/>", None, "svg"),
            (b"<?xml version='1.0'?><svg/>", None, "svg"),
            (b"?", "webp", "webp"),
            (b"?", "svg", "svg"),
            (b"?", "../x", "bin"),
            (b"", None, "bin"),
        ],
    )
    def test_have_the_suffix_of_their_format(self, data: bytes, output_format: str | None, expected: str) -> None:
        assert file_suffix(data, output_format) == expected


class TestVideos:
    def test_are_fetched_once_and_named(self, tmp_path: Path) -> None:
        table = Table(tmp_path, Endpoint.VIDEOS)
        fetched: list[str] = []

        def fetch(video_id: str, to: Path) -> None:
            fetched.append(video_id)
            to.write_bytes(video_id.encode())

        for _ in range(2):
            _, rows = table.land([video("a", "video_1"), video("b", "video/../2")], fetch=fetch)
            assert [row["file"] for row in rows] == [
                f"{FOLDER}/000000000-video_1.mp4",
                f"{FOLDER}/000000001-video____2.mp4",
            ]
            assert [row["video_id"] for row in rows] == ["video_1", "video/../2"]
        assert sorted(fetched) == ["video/../2", "video_1"]
        assert set(table.files.values()) == {b"video_1", b"video/../2"}

    def test_that_cannot_be_fetched_fail_their_row_alone_and_are_fetched_by_the_next_landing(
        self, tmp_path: Path
    ) -> None:
        table = Table(tmp_path, Endpoint.VIDEOS)

        def fetch_first(video_id: str, to: Path) -> None:
            if video_id != "video_1":
                raise NotFoundError("Downloading video video_2: HTTP 404, not found.")
            to.write_bytes(b"1")

        landed, rows = table.land([video("a", "video_1"), video("b", "video_2")], fetch=fetch_first)
        assert [row["status"] for row in rows] == ["succeeded", "failed"]
        assert landed.statuses == {"succeeded": 1, "failed": 1}
        assert (rows[1]["error_code"], rows[1]["file"], rows[1]["video_id"]) == ("file_not_fetched", None, "video_2")
        assert "HTTP 404" in rows[1]["error_message"]
        assert table.media is not None
        assert (table.media.count, table.media.failed) == (1, 1)
        _, rows = table.land(
            [video("a", "video_1"), video("b", "video_2")], fetch=lambda _, to: to.write_bytes(b"late")
        )
        assert [row["status"] for row in rows] == ["succeeded", "succeeded"]
        assert sorted(table.files.values()) == [b"1", b"late"]

    def test_that_failed_are_not_fetched(self, tmp_path: Path) -> None:
        line = success("a", {"id": "video_1", "status": "failed", "error": {"code": "moderation_blocked"}})
        _, rows = Table(tmp_path, Endpoint.VIDEOS).land([line], fetch=lambda *_: pytest.fail("fetched"))
        assert rows[0]["file"] is None

    def test_a_disk_that_is_full_stops_the_landing(self, tmp_path: Path) -> None:
        def fetch(video_id: str, to: Path) -> None:
            raise OSError(28, "No space left on device")

        with pytest.raises(StorageError, match="no room for video video_1"):
            Table(tmp_path, Endpoint.VIDEOS).land([video("a", "video_1")], fetch=fetch)


def test_a_reader_of_the_folder_ignores_the_files(tmp_path: Path) -> None:
    """Spark and pyarrow ignore names that start with an underscore; other readers get a glob."""
    import duckdb
    import polars as pl

    table = Table(tmp_path, Endpoint.IMAGES_GENERATIONS)
    table.land([images("a", PNG), images("b", JPEG)])
    (tmp_path / "part.parquet").rename(table.folder / "part-0123456789ab-00001-01.parquet")
    (table.folder / "_manifest-0123456789ab.json").write_text("{}")
    assert pq.read_table(table.folder).num_rows == 2
    assert duckdb.sql(f"from '{table.folder}/**/*.parquet'").fetchall()[1][0] == 1
    assert pl.read_parquet(f"{table.folder}/*.parquet").height == 2
    assert pa.types.is_list(pq.read_schema(table.folder / "part-0123456789ab-00001-01.parquet").field("images").type)
