"""One behaviour on every store: what `Location` promises."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from airflow_provider_batch.exceptions import StorageError
from airflow_provider_batch.sources.files.listing import find_files
from airflow_provider_batch.storage import Location

NAMES = ["plain.txt", "two words.txt", "größe-表-🦆.txt", "100%.txt", "a+b&c=d#e.txt", "[1].txt"]


class TestReading:
    def test_gives_what_was_written(self, folder: Location) -> None:
        (folder / "a.bin").write(b"\x00\n\xff")
        assert (folder / "a.bin").read_or_none() == b"\x00\n\xff"
        with (folder / "a.bin").open() as opened:
            assert opened.read() == b"\x00\n\xff"

    def test_gives_none_for_what_is_not_there_in_a_folder_that_is_or_is_not(self, folder: Location) -> None:
        assert (folder / "a.bin").read_or_none() is None
        assert (folder / "a.bin").read_stored() is None
        assert not (folder / "a.bin").exists()
        (folder / "other.bin").write(b"x")
        assert (folder / "a.bin").read_or_none() is None
        assert not (folder / "a.bin").exists()

    def test_tells_an_empty_file_from_none(self, folder: Location) -> None:
        (folder / "a.bin").write(b"")
        assert (folder / "a.bin").read_or_none() == b""
        assert (folder / "a.bin").exists()
        with (folder / "a.bin").as_local() as local:
            assert local.read_bytes() == b""

    @pytest.mark.parametrize("read", ["open", "as_local"])
    def test_of_what_is_not_there_is_an_error_that_names_it(self, folder: Location, read: str) -> None:
        with pytest.raises(StorageError, match=r"a\.bin: cannot read it"), getattr(folder / "a.bin", read)() as opened:
            opened.read()

    def test_sees_what_another_process_has_written_since(
        self, another: Callable[[str], Location], folder: Location
    ) -> None:
        """File systems cache listings; a ledger that was written elsewhere must not be hidden by one."""
        assert folder.list() == []
        assert not (folder / "a.bin").exists()
        another("a.bin").write(b"1")
        assert (folder / "a.bin").exists()
        assert folder.list() == ["a.bin"]
        assert (folder / "a.bin").read_or_none() == b"1"
        another("a.bin").write(b"23")
        assert (folder / "a.bin").read_or_none() == b"23"
        with (folder / "a.bin").as_local() as local:
            assert local.read_bytes() == b"23"
        another("a.bin").delete()
        assert folder.list() == []
        assert (folder / "a.bin").read_or_none() is None


class TestWriting:
    def test_replaces_what_stands_there(self, folder: Location) -> None:
        (folder / "a.bin").write(b"a long text")
        (folder / "a.bin").write(b"short")
        assert (folder / "a.bin").read_or_none() == b"short"
        assert folder.list() == ["a.bin"]

    @pytest.mark.parametrize("before", [None, b"before"])
    def test_that_fails_half_way_leaves_what_was_there(self, folder: Location, before: bytes | None) -> None:
        if before is not None:
            (folder / "a.bin").write(before)
        used: list[Path] = []

        def produce() -> None:
            with (folder / "a.bin").writing() as temporary:
                used.append(temporary)
                temporary.write_bytes(b"half of i")
                raise RuntimeError("the disk is full")

        with pytest.raises(RuntimeError, match="disk"):
            produce()
        assert (folder / "a.bin").read_or_none() == before
        assert list(folder.list()) == ([] if before is None else ["a.bin"])
        assert not used[0].exists()

    def test_shows_nothing_before_it_is_finished(self, another: Callable[[str], Location], folder: Location) -> None:
        with (folder / "a.bin").writing() as temporary:
            temporary.write_bytes(b"whole")
            assert another("a.bin").read_or_none() is None
        assert another("a.bin").read_or_none() == b"whole"

    def test_by_several_at_once_leaves_one_of_them_whole(self, another: Callable[[str], Location]) -> None:
        contents = [bytes([number]) * 100_000 for number in range(8)]
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda content: another("sub/a.bin").write(content), contents))
        assert another("sub/a.bin").read_or_none() in contents
        assert another("sub").list() == ["a.bin"]

    def test_shows_either_the_old_or_the_new_content_to_those_who_read_meanwhile(
        self, another: Callable[[str], Location], folder: Location
    ) -> None:
        contents = [bytes([number]) * 3_000_000 for number in range(6)]
        (folder / "a.bin").write(contents[0])
        with ThreadPoolExecutor(1) as pool:
            writing = pool.submit(lambda: [another("a.bin").write(content) for content in contents])
            while not writing.done():
                assert (folder / "a.bin").read_or_none() in contents
            writing.result()

    def test_to_where_nothing_can_be_written_is_an_error_that_names_it(self, folder: Location, store: str) -> None:
        if store not in ("local", "memory"):
            target = folder.at("no-such-container/a.bin")
        else:
            (folder / "file").write(b"x")
            target = folder / "file" / "a.bin"
        with pytest.raises(StorageError, match=r"a\.bin: cannot (write|read) it"):
            target.write(b"x")


class TestLocalFiles:
    def test_are_copied_whole_and_left_alone(self, folder: Location, tmp_path: Path) -> None:
        local = tmp_path / "finished.bin"
        local.write_bytes(b"content")
        (folder / "sub" / "a.bin").put(local)
        (folder / "sub" / "a.bin").put(local)
        assert local.read_bytes() == b"content"
        assert (folder / "sub" / "a.bin").read_or_none() == b"content"

    def test_that_are_not_there_leave_what_was_there(self, folder: Location, tmp_path: Path) -> None:
        (folder / "a.bin").write(b"before")
        with pytest.raises((StorageError, FileNotFoundError)):
            (folder / "a.bin").put(tmp_path / "none")
        assert (folder / "a.bin").read_or_none() == b"before"

    def test_of_20_mb_go_and_come_back_unchanged(self, folder: Location, tmp_path: Path) -> None:
        """More than one part of a transfer in both directions, and a last one that is not full."""
        local = tmp_path / "large.bin"
        content = hashlib.shake_256(b"seed").digest(20_000_003)
        local.write_bytes(content)
        (folder / "large.bin").put(local)
        with (folder / "large.bin").as_local() as copy:
            assert copy.read_bytes() == content
        with (folder / "large.bin").open() as opened:
            assert hashlib.file_digest(opened, "sha256").digest() == hashlib.sha256(content).digest()

    def test_stand_for_a_file_only_as_long_as_they_are_needed(self, folder: Location, store: str) -> None:
        (folder / "a.bin").write(b"content")
        with (folder / "a.bin").as_local() as local:
            assert local.name == "a.bin"
            assert local.read_bytes() == b"content"
        assert local.exists() is (store == "local")


class TestListing:
    def test_of_an_absent_folder_is_empty(self, folder: Location) -> None:
        assert list(folder.list()) == list(folder.list_folders()) == []
        assert list((folder / "none").list()) == []

    def test_tells_files_from_folders_and_does_not_go_into_them(self, folder: Location) -> None:
        for path in ("b.bin", "a.bin", "sub/c.bin", "other/deep/d.bin"):
            folder.at(f"{folder.path}/{path}").write(b"x")
        assert folder.list() == ["a.bin", "b.bin"]
        assert folder.list_folders() == ["other", "sub"]
        assert (folder / "other").list_folders() == ["deep"]
        assert (folder / "other").list() == []

    def test_of_a_file_has_nothing(self, folder: Location) -> None:
        (folder / "a.bin").write(b"x")
        assert list((folder / "a.bin").list()) == []

    def test_is_by_whole_names(self, folder: Location) -> None:
        """On an object store a folder is a prefix of keys, and `part` is one of `part-2/x` too."""
        (folder / "part-2" / "a.bin").write(b"x")
        assert list((folder / "part").list()) == []
        assert not (folder / "part").exists()


@pytest.mark.thorough
def test_a_folder_of_10_000_objects_is_listed_and_read_whole(folder: Location, store: str) -> None:
    names = [f"{number:05}.jsonl" for number in range(10_000)]
    if store == "local":
        Path(folder.path).mkdir(parents=True)
        for name in names:
            (Path(folder.path) / name).write_bytes(b"x")
    else:
        folder.fs.pipe({f"{folder.path}/{name}": b"x" for name in names})
    assert folder.list() == names
    found = find_files([folder.uri], lambda uri: folder)
    assert [file.uri for file in found] == [f"{folder.uri}/{name}" for name in names]
    assert len(find_files([f"{folder.uri}/*.jsonl"], lambda uri: folder.at(f"{folder.path}/*.jsonl"))) == len(names)


class TestDeleting:
    def test_removes_that_file_only(self, folder: Location) -> None:
        (folder / "a.bin").write(b"x")
        (folder / "a.bin.old").write(b"x")
        (folder / "a.bin").delete()
        assert folder.list() == ["a.bin.old"]

    def test_what_is_not_there_is_fine(self, folder: Location) -> None:
        (folder / "a.bin").delete()
        (folder / "sub" / "a.bin").delete()


class TestNames:
    @pytest.mark.parametrize("name", NAMES)
    def test_of_any_kind_are_kept(self, folder: Location, tmp_path: Path, name: str) -> None:
        local = tmp_path / "local"
        local.write_bytes(name.encode())
        (folder / name).put(local)
        assert folder.list() == [name]
        assert (folder / name).name == name
        assert (folder / name).read_or_none() == name.encode()
        with (folder / name).as_local() as copy:
            assert copy.read_bytes() == name.encode()
        (folder / name).delete()
        assert folder.list() == []

    @pytest.mark.parametrize("name", NAMES)
    def test_of_folders_may_be_any_too(self, folder: Location, name: str) -> None:
        (folder / name / "a.bin").write(b"x")
        assert folder.list_folders() == [name]
        assert (folder / name).list() == ["a.bin"]

    def test_are_the_same_with_and_without_a_slash_at_the_end(self, another: Callable[[str], Location]) -> None:
        with_slash, without = another("sub/"), another("sub")
        (with_slash / "a.bin").write(b"x")
        assert without.list() == with_slash.list() == ["a.bin"]
        assert (without / "a.bin").read_or_none() == b"x"
        assert str(with_slash / "a.bin") == str(without / "a.bin")
        assert with_slash.name == without.name == "sub"

    @pytest.mark.parametrize("slash", ["", "/"])
    def test_of_other_paths_get_a_uri_of_the_same_kind(self, another: Callable[[str], Location], slash: str) -> None:
        base = another(f"sub{slash}")
        other = base.at(another("other/a.bin").path)
        assert str(other) == str(another("other/a.bin"))
        other.write(b"x")
        assert another("other/a.bin").read_or_none() == b"x"


def test_a_uri_with_a_connection_keeps_it_for_other_paths() -> None:
    from fsspec.implementations.memory import MemoryFileSystem

    for uri, path in (("s3://conn@bucket/in/", "bucket/in"), ("s3://conn@bucket/*.csv", "bucket/*.csv")):
        found = Location(uri, MemoryFileSystem(), path).at("bucket/in/a.csv")
        assert str(found) == "s3://conn@bucket/in/a.csv"
