"""`write_if`: of several writers one wins, and none overwrites what it has not read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.local import LocalFileSystem

from airflow_provider_batch import storage
from airflow_provider_batch.exceptions import StorageError
from airflow_provider_batch.storage import Location, local_files
from airflow_provider_batch.storage.stores import Put
from tests.writers import at_once

WRITERS = 8
#: Two steps each.
RACES = 20


class TestWriteIf:
    def test_creates_a_file_only_where_there_is_none(self, folder: Location) -> None:
        target = folder / "sub" / "a.json"
        assert target.write_if(b"1", None)
        assert not target.write_if(b"2", None)
        assert target.read_or_none() == b"1"

    def test_replaces_only_what_was_read(self, folder: Location) -> None:
        target = folder / "a.json"
        target.write(b"1")
        first = target.read_stored()
        assert first is not None
        assert first.data == b"1"
        assert target.write_if(b"2", first.version)
        assert not target.write_if(b"3", first.version)
        assert target.read_or_none() == b"2"

    def test_does_not_bring_back_what_was_removed(self, folder: Location) -> None:
        target = folder / "a.json"
        target.write(b"1")
        first = target.read_stored()
        assert first is not None
        target.delete()
        assert not target.write_if(b"2", first.version)
        assert target.read_or_none() is None

    def test_leaves_no_other_file_that_is_listed_as_data(self, folder: Location) -> None:
        assert (folder / "a.json").write_if(b"1", None)
        assert set(folder.list()) - {".lock"} == {"a.json"}

    def test_lets_one_of_many_create(self, another: Callable[[str], Location]) -> None:
        for number in range(2):
            path = f"sub/{number}.json"
            wins = at_once(WRITERS, lambda writer, path=path: another(path).write_if(b"%d" % writer, None))
            assert sum(wins) == 1
            assert another(path).read_or_none() == b"%d" % wins.index(True)

    def test_lets_exactly_one_of_two_win_each_of_many_races(
        self, another: Callable[[str], Location], folder: Location
    ) -> None:
        """Two clients create, then replace: what one of them has read is still there for one of them only."""
        for race in range(RACES):
            own, other = folder / f"{race}.json", another(f"{race}.json")
            for step in ("create", "replace"):
                stored = own.read_stored()
                version = None if stored is None else stored.version

                def write(writer: int, both: Any = (own, other), step: str = step, known: Any = version) -> bool:
                    return bool(both[writer].write_if(f"{step} by {writer}".encode(), known))

                wins = at_once(2, write)
                assert sum(wins) == 1
                assert own.read_or_none() == f"{step} by {wins.index(True)}".encode()

    def test_loses_no_change_of_many_writers(self, another: Callable[[str], Location]) -> None:
        another("names.json").write(b"")

        def add(writer: int) -> int:
            target, lost = another("names.json"), 0
            for number in range(5):
                while True:
                    stored = target.read_stored()
                    assert stored is not None
                    if target.write_if(stored.data + b"%d-%d " % (writer, number), stored.version):
                        break
                    lost += 1
            return lost

        lost = at_once(WRITERS, add)
        written = another("names.json").read_or_none()
        assert written is not None
        assert sorted(written.split()) == sorted(b"%d-%d" % (w, n) for w in range(WRITERS) for n in range(5))
        assert sum(lost) > 0, "the writers never met: nothing was shown"


class TestDeleteIf:
    def test_removes_what_was_read_and_an_absent_file_is_fine(self, folder: Location) -> None:
        target = folder / "a.json"
        target.write(b"1")
        stored = target.read_stored()
        assert stored is not None
        assert target.delete_if(stored.version)
        assert target.read_or_none() is None
        assert target.delete_if(stored.version)

    def test_keeps_what_has_changed(self, folder: Location, store: str) -> None:
        if store == "gcs":
            pytest.skip("fake-gcs-server ignores conditions of deletions; the service has them (documentation)")
        target = folder / "a.json"
        target.write(b"1")
        first = target.read_stored()
        assert first is not None
        target.write(b"22")
        assert not target.delete_if(first.version)
        assert target.read_or_none() == b"22"


class TestKeepsWritersApart:
    def test_is_shown_by_a_probe_that_leaves_nothing(self, folder: Location) -> None:
        assert folder.keeps_writers_apart()
        assert [name for name in folder.list() if name != ".lock"] == []

    @pytest.mark.parametrize("answer", [Put.DONE, Put.NO_CONDITIONS])
    def test_is_false_where_the_store_ignores_conditions_or_refuses_them(
        self, folder: Location, monkeypatch: pytest.MonkeyPatch, answer: Put
    ) -> None:
        monkeypatch.setattr(type(folder.store), "put_if", lambda self, path, data, version, **_: answer)
        assert folder.keeps_writers_apart() == folder.store.has_folders


class TestAnswersOfTheStore:
    """Responses that the server does not give on request: a file system in front of it gives them."""

    stores = ("s3",)

    def test_a_write_whose_answer_was_lost_and_which_was_repeated_is_ours(
        self, folder: Location, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        target, pipe = folder / "a.json", folder.fs.pipe_file

        def twice(*args: Any, **kwargs: Any) -> None:
            pipe(*args, **kwargs)
            pipe(*args, **kwargs)

        monkeypatch.setattr(folder.fs, "pipe_file", twice)
        assert target.write_if(b"1", None)
        stored = target.read_stored()
        assert stored is not None
        assert target.write_if(b"2", stored.version)
        assert target.read_or_none() == b"2"

    def test_a_conflict_is_tried_again(self, folder: Location, monkeypatch: pytest.MonkeyPatch) -> None:
        target = folder / "a.json"
        answers_once(monkeypatch, folder.fs, "ConditionalRequestConflict", 409)
        assert target.write_if(b"1", None)
        assert target.read_or_none() == b"1"

    def test_a_conflict_that_somebody_won_is_lost(self, folder: Location, monkeypatch: pytest.MonkeyPatch) -> None:
        target = folder / "a.json"
        target.write(b"1")
        answers_once(monkeypatch, folder.fs, "ConditionalRequestConflict", 409)
        assert not target.write_if(b"2", '"an older etag"')
        assert target.read_or_none() == b"1"

    def test_a_store_without_conditions_is_read_and_then_written(
        self, folder: Location, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        target = folder / "a.json"
        answers_once(monkeypatch, folder.fs, "NotImplemented", 501)
        assert target.write_if(b"1", None)
        answers_once(monkeypatch, folder.fs, "NotImplemented", 501)
        assert not target.write_if(b"2", None)
        assert target.read_or_none() == b"1"

    def test_any_other_failure_is_an_error(self, folder: Location, monkeypatch: pytest.MonkeyPatch) -> None:
        answers_once(monkeypatch, folder.fs, "SlowDown", 503)
        with pytest.raises(StorageError, match=r"a\.json: cannot write it \(OSError"):
            (folder / "a.json").write_if(b"1", None)
        assert (folder / "a.json").read_or_none() is None


class TestOtherStores:
    """File systems that are neither local, nor in memory, nor S3: by their kind, over a folder of this disk."""

    @pytest.fixture(params=["folders", "folders without renaming", "objects", "objects without creating"])
    def target(self, request: pytest.FixtureRequest, tmp_path: Path) -> Location:
        class OddFileSystem(DirFileSystem):
            protocol = "gs" if request.param.startswith("objects") else "odd"

            def mv(self, path1: str, path2: str, **kwargs: Any) -> None:
                if request.param == "folders without renaming" and self.exists(path2):
                    raise FileExistsError(path2)
                super().mv(path1, path2, **kwargs)

            def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **kwargs: Any) -> None:
                if mode == "create" and request.param == "objects without creating":
                    raise ValueError("mode")
                super().pipe_file(path, value, mode=mode, **kwargs)

        (tmp_path / "a").mkdir()
        return Location("odd://a/b.json", OddFileSystem(tmp_path, LocalFileSystem(auto_mkdir=True)), "a/b.json")

    def test_check_before_they_write(self, target: Location) -> None:
        assert target.write_if(b"1", None)
        assert not target.write_if(b"2", None)
        stored = target.read_stored()
        assert stored is not None
        assert target.write_if(b"3", stored.version)
        assert not target.write_if(b"4", stored.version)
        assert target.read_or_none() == b"3"
        assert target.at("a").list() == ["b.json"]

    def test_show_no_half_of_a_new_file(self, target: Location, monkeypatch: pytest.MonkeyPatch) -> None:
        if target.fs.protocol == "gs":
            pytest.skip("an object store shows an upload at its end")
        put_file, seen = target.fs.put_file, []

        def polled_at(*args: Any, **kwargs: Any) -> None:
            put_file(*args, **kwargs)
            seen.append(target.read_or_none())

        monkeypatch.setattr(target.fs, "put_file", polled_at)
        target.write(b"1")
        assert seen == [None]
        assert target.read_or_none() == b"1"


def test_a_process_that_is_frozen_with_the_lock_does_not_freeze_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_files, "LOCK_PATIENCE", 0.1)
    target = storage.resolve(f"{tmp_path}/a.json")
    with target.store.locked(target.path, True), pytest.raises(StorageError, match="for too long"):
        target.write_if(b"1", None)
    assert target.write_if(b"1", None)


def answers_once(monkeypatch: pytest.MonkeyPatch, fs: Any, code: str, status: int) -> None:
    """Have the next write answered so, as s3fs passes it on."""
    from botocore.exceptions import ClientError
    from s3fs.errors import translate_boto_error

    pipe = fs.pipe_file

    def answer(*_: Any, **__: Any) -> None:
        monkeypatch.setattr(fs, "pipe_file", pipe)
        response: Any = {"Error": {"Code": code, "Message": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
        raise translate_boto_error(ClientError(response, "PutObject"))

    monkeypatch.setattr(fs, "pipe_file", answer)
