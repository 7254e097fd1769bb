"""Bytes and URIs become data URLs in the body, and nothing else changes."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_provider_batch import storage
from airflow_provider_batch.api.endpoints import Endpoint
from airflow_provider_batch.exceptions import ConfigurationError, InputError, SourceError, StorageError
from airflow_provider_batch.requests.prepare import RequestSpec, prepare
from airflow_provider_batch.requests.shards import Shard
from airflow_provider_batch.requests.sidecar import read_sidecar
from airflow_provider_batch.requests.templates import data_urls
from airflow_provider_batch.requests.templates.data_urls import media_type
from airflow_provider_batch.sources.open_source import open_source

PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)
JPEG = b"\xff\xd8\xff\xe0" + bytes(20)
BODY = {"model": "m", "input": [{"role": "user", "content": [{"type": "input_image", "image_url": "{photo}"}]}]}


def url(data: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def run(
    tmp_path: Path, rows: Any, *, resolve: Callable[..., Any] = storage.resolve, **more: Any
) -> tuple[list[dict[str, Any]], list[Shard]]:
    shards: list[Shard] = []
    spec = RequestSpec(Endpoint.RESPONSES, **{"body": BODY, "data_urls": ["photo"], **more})
    prepare(open_source(rows), spec, tmp_path / "out", shards.append, resolve=resolve)
    return [json.loads(line) for shard in shards for line in shard.lines.read_bytes().splitlines()], shards


def shown(lines: list[dict[str, Any]]) -> list[Any]:
    return [line["body"]["input"][0]["content"][0]["image_url"] for line in lines]


class TestWhatIsShown:
    def test_bytes_of_a_parquet_file(self, tmp_path: Path) -> None:
        table = pa.table({"id": [7, 8], "photo": pa.array([PNG, JPEG])})
        pq.write_table(table, tmp_path / "a.parquet")
        lines, shards = run(tmp_path, str(tmp_path / "a.parquet"), custom_id="{id}")
        assert shown(lines) == [url(PNG), url(JPEG, "image/jpeg")]
        carried = pa.Table.from_batches(read_sidecar(shards[0].rows))["carried"].to_pylist()
        assert carried == table.to_pylist()

    def test_uris_of_any_scheme_through_the_jobs_storage(self, tmp_path: Path) -> None:
        memory = fsspec.filesystem("memory")
        memory.pipe_file("/photos/b.bin", JPEG)
        (tmp_path / "a.png").write_bytes(PNG)
        asked: list[str] = []

        def resolve(uri: str) -> storage.Location:
            asked.append(uri)
            return storage.resolve(uri.replace("lake://conn@", "memory://"))

        rows = [{"photo": str(tmp_path / "a.png")}, {"photo": "lake://conn@photos/b.bin"}]
        lines, _ = run(tmp_path, rows, resolve=resolve)
        assert shown(lines) == [url(PNG), url(JPEG, "image/jpeg")]
        assert asked == [row["photo"] for row in rows]

    def test_the_id_and_the_carried_column_keep_the_value(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        Path("a.png").write_bytes(PNG)
        lines, shards = run(tmp_path, [{"photo": "a.png"}], custom_id="{photo}")
        assert (lines[0]["custom_id"], shown(lines)) == ("a.png", [url(PNG)])
        assert pa.Table.from_batches(read_sidecar(shards[0].rows))["carried"].to_pylist() == [{"photo": "a.png"}]

    @pytest.mark.parametrize("value", ["https://example.org/a.png", "HTTP://example.org/a", url(PNG), None])
    def test_what_stays_as_it_is(self, tmp_path: Path, value: str | None) -> None:
        lines, _ = run(tmp_path, [{"photo": value}, {"photo": url(JPEG)}], resolve=lambda uri: pytest.fail("resolved"))
        assert shown(lines)[0] == value

    def test_a_field_of_a_struct_and_inside_a_text(self, tmp_path: Path) -> None:
        rows = [{"doc": {"photo": PNG}}]
        body = {"model": "m", "input": "see {doc.photo} there"}
        lines, _ = run(tmp_path, rows, body=body, data_urls=["doc.photo"])
        assert lines[0]["body"]["input"] == f"see {url(PNG)} there"

    def test_other_columns_and_filters_stay_as_they_were(self, tmp_path: Path) -> None:
        rows = [{"photo": PNG, "n": number} for number in range(50)]
        body = {**BODY, "vendor": {"n": "{n}"}}
        lines, _ = run(tmp_path, rows, body=body, filters=[("n", ">=", 45)])
        assert [line["body"]["vendor"]["n"] for line in lines] == [45, 46, 47, 48, 49]
        assert [line["custom_id"] for line in lines] == ["45", "46", "47", "48", "49"]

    @pytest.mark.parametrize(
        ("data", "name", "expected"),
        [
            (PNG, "a.jpg", "image/png"),
            (JPEG, "", "image/jpeg"),
            (b"GIF89a..", "", "image/gif"),
            (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "", "image/webp"),
            (b"\x00\x00\x00\x1cftypavif", "", "image/avif"),
            (b"\x00\x00\x00\x1cftypheic", "", "image/heic"),
            (b"%PDF-1.7", "", "application/pdf"),
            (b"<svg/>", "a.svg?version=1", "image/svg+xml"),
            (b"anything", "a.nothing-known", None),
        ],
    )
    def test_the_type_is_told_by_the_first_bytes_then_by_the_name(
        self, data: bytes, name: str, expected: str | None
    ) -> None:
        assert media_type(data, name) == expected


class TestBadInput:
    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            ("/nowhere/a.png", r"row 1, column 'photo': /nowhere/a\.png: no such file"),
            ("nosuch://a/b.png", r"row 1, column 'photo': nosuch://a/b\.png: no file system for this address"),
            ("ftp://", r"row 1, column 'photo': ftp://: no file system for this address"),
            ("", r"row 1, column 'photo': expected bytes or the URI of a file for a data URL, found ''"),
            (b"", r"row 1, column 'photo': expected a file for a data URL, found an empty one"),
            (b"\x00\x01 what is this", r"row 1, column 'photo': cannot tell what kind of file this is: .* 00 01 20"),
        ],
    )
    def test_names_row_and_column(self, tmp_path: Path, value: Any, expected: str) -> None:
        good = PNG if isinstance(value, bytes) else url(PNG)
        with pytest.raises(SourceError, match=expected):
            run(tmp_path, [{"photo": good}, {"photo": value}, {"photo": good}])

    def test_a_file_that_is_too_large_is_not_read_to_its_end(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(data_urls, "MAX_BYTES", 10)
        (tmp_path / "a.png").write_bytes(PNG)
        assert len(data_urls._fetched(storage.resolve(str(tmp_path / "a.png")))) == 11
        with pytest.raises(SourceError, match=r"row 0, column 'photo': .*a\.png: expected at most 10 bytes .* smaller"):
            run(tmp_path, [{"photo": str(tmp_path / "a.png")}])

    def test_a_store_that_cannot_be_reached_is_named_with_the_row(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*args: Any, **options: Any) -> Any:
            raise ConnectionRefusedError("nobody there")

        monkeypatch.setattr(fsspec.core, "url_to_fs", fail)
        with pytest.raises(StorageError, match=r"row 0, column 'photo': sftp://host/a.png: .*nobody there"):
            run(tmp_path, [{"photo": "sftp://host/a.png"}])

    def test_a_store_that_is_down_is_worth_another_try(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*args: Any, **options: Any) -> Any:
            raise ConnectionResetError("down")

        monkeypatch.setattr(type(fsspec.filesystem("memory")), "_open", fail)
        with pytest.raises(StorageError, match=r"row 0, column 'photo': .*down"):
            run(tmp_path, [{"photo": "memory://a.png"}])

    @pytest.mark.parametrize(
        ("more", "expected"),
        [
            ({"data_urls": ["foto"]}, "data_urls: 'foto' is not a column. Did you mean 'photo'"),
            ({"data_urls": ["n"]}, "expected a column of bytes or of URIs, found 'n', which is int64"),
            ({"data_urls": "photo"}, "data_urls: expected a list of columns"),
            ({"body": None}, "data_urls: without a body the rows are request lines"),
        ],
    )
    def test_in_the_argument_is_one_clear_error(self, tmp_path: Path, more: dict[str, Any], expected: str) -> None:
        with pytest.raises(ConfigurationError, match=expected):
            run(tmp_path, [{"photo": PNG, "n": 1}], **more)

    def test_a_line_that_is_too_large_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="row 0: this request alone has"):
            run(tmp_path, [{"photo": PNG + bytes(4_000)}], max_shard_bytes=3_000)


def test_files_are_fetched_side_by_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(7):
        (tmp_path / f"{number}.png").write_bytes(PNG + bytes([number]))
    meeting, fetch = threading.Barrier(4), data_urls._fetched

    def fetched(place: Any) -> bytes:
        if int(place.name[0]) > 2:  # the first pieces are one row and two
            meeting.wait(timeout=600)
        return fetch(place)

    monkeypatch.setattr(data_urls, "_fetched", fetched)
    lines, _ = run(tmp_path, [{"photo": str(tmp_path / f"{number}.png")} for number in range(7)])
    assert shown(lines) == [url(PNG + bytes([number])) for number in range(7)]


MEMORY = """
import sys
from pathlib import Path
from airflow_provider_batch.api.endpoints import Endpoint
from airflow_provider_batch.requests.prepare import RequestSpec, prepare
from airflow_provider_batch.sources.open_source import open_source

rows, photo, out = int(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
spec = RequestSpec(Endpoint.RESPONSES, {"model": "m", "input": "{photo}"}, data_urls=["photo"])
prepare(open_source([{"photo": photo}] * rows), spec, out, lambda shard: (shard.lines.unlink(), shard.rows.unlink()))
print(int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) // 1024)
"""


def test_memory_is_bounded_however_many_images_there_are(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(PNG + bytes(1_000_000))
    command = [sys.executable, "-c", MEMORY, "600", str(tmp_path / "a.png"), str(tmp_path / "out")]
    peak = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert peak < 300  # MB, of which 60 are there before the first row; the lines have 800
