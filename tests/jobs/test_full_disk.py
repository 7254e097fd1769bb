"""
A local disk without room: one error that says which folder, what it needs and where the money is, nothing half done
that a reader could see, and a next attempt that ends well.

The kernel refuses: a limit on the size of files fails the write in the middle, as a full disk does. Each write of a
landing is met, by limits from small to large.
"""

from __future__ import annotations

import dataclasses
import errno
import random
import resource
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from airflow_provider_batch import storage
from airflow_provider_batch.api.endpoints import Endpoint
from airflow_provider_batch.emulator.testing import Emulator
from airflow_provider_batch.exceptions import StorageError
from airflow_provider_batch.jobs.job_request import JobRequest
from airflow_provider_batch.loader.load import LoadRequest, load_batches
from airflow_provider_batch.storage.stores.disk import Disk
from airflow_provider_batch.table.file_names import CLAIM, landed_part
from tests.jobs.support import a_request, check_paid_once, check_table, run, some_rows, step_until_waiting, tools_for


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Let no file of this process grow past some bytes, for a while."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def visible(folder: Path) -> list[Path]:
    """Return what a reader of the table's folder finds; every part of it can be read whole."""
    found = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]
    for path in found:
        if path.name.endswith(".parquet"):
            pq.read_table(path)
    return found


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of temporary files, ours alone: what is left there can be seen."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def in_flight(emulator: Emulator, request: JobRequest) -> None:
    """Submit a job's batches, which end before the next poll."""
    emulator.configure(progress="hold")
    step_until_waiting(request, tools_for(emulator))
    emulator.configure(progress="immediate")


def check_message(error: StorageError, *parts: str) -> None:
    message = str(error)
    assert "\n" not in message
    for part in (*parts, "bytes are free", "A retry or a clear of the task continues"):
        assert part in message, message


@pytest.mark.parametrize("partition_by", [(), ("key",)])
def test_every_write_of_a_landing_that_fails_leaves_nothing_half(
    emulator: Emulator, tmp_path: Path, work: Path, partition_by: tuple[str, ...]
) -> None:
    rows = [{**row, "key": f"k{number}", "more": str(number) * 3_000} for number, row in enumerate(some_rows(10))]
    request = a_request(tmp_path, rows, partition_by=partition_by, raw="all")
    in_flight(emulator, request)
    failed = 0
    for size in (4_000, 8_000, 12_000, 16_000, 20_000, 30_000):
        with files_of_at_most(size):
            try:
                run(request, tools_for(emulator))
            except StorageError as error:
                failed += 1
                check_message(error, "File too large")
                assert not [path for path in visible(tmp_path / "table") if path.name.startswith("_manifest")]
            else:
                break
        assert list(work.iterdir()) == []
    assert failed >= 3
    run(request, tools_for(emulator))
    assert sum(pq.read_metadata(p).num_rows for p in visible(tmp_path / "table") if p.suffix == ".parquet") == 10
    check_paid_once(emulator)


class Full:
    """Makes the nth write of a kind fail as a full disk does, half of it written."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, when: Any, nth: int = 1) -> None:
        self.left, self.original = nth, getattr(owner, name)

        def fails(*args: Any, **kwargs: Any) -> Any:
            if when(*args):
                self.left -= 1
                if self.left == 0:
                    for given in args[:-1] if owner is Disk else args:  # a rename is whole or not at all
                        if isinstance(given, str | Path) and "table" in str(given):
                            Path(given).write_bytes(b"PAR1 half of it")
                    raise OSError(errno.ENOSPC, "No space left on device")
            return self.original(*args, **kwargs)

        monkeypatch.setattr(owner, name, fails)


@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_full_destination_shows_no_half_part(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nth: int
) -> None:
    request, tools = a_request(tmp_path, some_rows(25)), tools_for(emulator)
    in_flight(emulator, request)
    with monkeypatch.context() as patch:
        Full(patch, shutil, "copyfile", lambda _, to: "/table/" in str(to), nth)
        with pytest.raises(StorageError, match=r"_landing-.*landing: cannot write it .*No space left") as caught:
            run(request, tools)
    check_message(caught.value, "make room there")
    found = visible(tmp_path / "table")
    assert [landed_part(path.name) is not None for path in found if path.name != CLAIM] == [True] * (nth - 1)
    run(request, tools)
    check_table(tmp_path, some_rows(25))
    assert not [path for path in (tmp_path / "table").iterdir() if path.name.endswith(".tmp")]


@pytest.mark.parametrize("name", ["_files", "_manifest", "_unreadable", "_landing"])
def test_each_kind_of_file_fails_alone_and_is_written_by_the_next_attempt(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    emulator.fault(kind="broken_line", custom_id="3")
    body, spec = {"model": "gpt-image-1", "prompt": "{text}"}, {"endpoint": Endpoint.IMAGES_GENERATIONS}
    request, tools = a_request(tmp_path, some_rows(6), body=body, spec=spec), tools_for(emulator)
    in_flight(emulator, request)
    with monkeypatch.context() as patch:
        Full(patch, Disk, "upload", lambda _self, _local, path: f"/table/{name}" in path)
        with pytest.raises(StorageError, match=f"/table/{name}.*cannot write it"):
            run(request, tools)
    # Of the images some stand already, and nothing names them.
    later = {"_manifest", "_landing" if name == "_files" else name}
    assert not [path for path in visible(tmp_path / "table") if path.name.startswith(tuple(later))]
    assert run(request, tools)["files"] == 5
    assert len(visible(tmp_path / "table")) == 5 + 3


def test_a_full_disk_for_work_files_names_the_folder_and_what_it_needs(
    emulator: Emulator, tmp_path: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request, tools = a_request(tmp_path, some_rows(5)), tools_for(emulator)
    in_flight(emulator, request)
    with monkeypatch.context() as patch:
        Full(patch, pq.ParquetWriter, "write_table", lambda *_: True)
        with pytest.raises(StorageError) as caught:
            run(request, tools)
    check_message(
        caught.value, str(work), "landing shard r01-s00001", "result files and the part", "TMPDIR", "No space left"
    )
    assert list(work.iterdir()) == []
    assert run(request, tools)["rows"] == 5


def test_a_full_disk_while_shards_are_prepared_says_that_nothing_was_sent(
    emulator: Emulator, tmp_path: Path, work: Path
) -> None:
    rows = [{**row, "more": random.Random(number).randbytes(1_000).hex()} for number, row in enumerate(some_rows(10))]
    with files_of_at_most(8_000), pytest.raises(StorageError) as caught:
        run(a_request(tmp_path, rows), tools_for(emulator))
    message = str(caught.value)
    assert str(work) in message or str(tmp_path / "state") in message
    assert emulator.calls() == []


def test_the_loader_says_that_landing_again_is_free(emulator: Emulator, tmp_path: Path, work: Path) -> None:
    limits = dataclasses.replace(a_request(tmp_path, []).limits, lands=False)
    rows = some_rows(10)
    ids = run(a_request(tmp_path, rows, destination=None, limits=limits), tools_for(emulator))["batch_ids"]
    request = LoadRequest(ids, str(tmp_path / "table"), state=storage.resolve(str(tmp_path / "state")))
    with files_of_at_most(3_000), pytest.raises(StorageError, match="landing them again is free"):
        load_batches(request, tools_for(emulator))
    assert visible(tmp_path / "table") == []
    load_batches(request, tools_for(emulator))
    check_table(tmp_path, rows)
