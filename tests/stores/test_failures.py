"""A store that does not answer, or refuses: an error that says so, and never "it is not there"."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pytest

from airflow_provider_batch import storage
from airflow_provider_batch.exceptions import ConfigurationError, StorageError
from airflow_provider_batch.storage import Location
from airflow_provider_batch.utils.object_storage import resolve_airflow
from tests.stores.conftest import CONTAINER, Place
from tests.stores.edge import Edge, Loss
from tests.stores.servers import Backend

CALLS: dict[str, Callable[[Location], Any]] = {
    "exists": Location.exists,
    "read_or_none": Location.read_or_none,
    "read_stored": Location.read_stored,
    "open": Location.open,
    "list": Location.list,
    "list_folders": Location.list_folders,
    "as_local": lambda location: location.as_local().__enter__(),
    "write": lambda location: location.write(b"x"),
    "write_if": lambda location: location.write_if(b"x", None),
}


@pytest.fixture(params=[*CALLS])
def call(request: pytest.FixtureRequest) -> Callable[[Location], Any]:
    """Each thing that one can do with a location."""
    return CALLS[request.param]


def test_a_server_that_is_down_is_an_error(edge: Edge, edge_place: Place, call: Callable[[Location], Any]) -> None:
    edge.rule = lambda *_: Loss.REQUEST
    check(call, edge_place.at("folder/a.bin"), "")


def test_a_server_that_refuses_is_an_error(
    edge: Edge, backend: Backend, edge_place: Place, call: Callable[[Location], Any]
) -> None:
    edge.rule = lambda *_: backend.denied
    check(call, edge_place.at("folder/a.bin"), "the credentials are wrong, or lack the permission")


def test_a_container_that_does_not_exist_is_an_error_and_is_not_made(
    backend: Backend, remote_place: Place, call: Callable[[Location], Any]
) -> None:
    uri = remote_place.uri.replace(CONTAINER, "no-such-container")
    check(call, resolve_airflow(f"{uri}/a.bin"), f"the {backend.container} does not exist")
    assert not remote_place.root.fs.exists("no-such-container")


def test_a_file_where_a_folder_should_be_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    inside = storage.resolve(f"{tmp_path}/file/a.bin")
    for read in (Location.read_or_none, Location.exists, Location.read_stored):
        with pytest.raises(StorageError, match="NotADirectoryError"):
            read(inside)


def test_a_folder_where_a_file_should_be_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="IsADirectoryError"):
        storage.resolve(str(tmp_path)).read_or_none()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"x")
    path.chmod(0)
    with pytest.raises(StorageError, match="PermissionError"):
        storage.resolve(str(path)).read_or_none()


@pytest.mark.parametrize("uri", ["nowhere://a/b", "s3x://bucket/key", "ftp://"])
def test_an_address_that_no_file_system_knows_is_named(uri: str) -> None:
    with pytest.raises(ConfigurationError, match="no file system for this address"):
        storage.resolve(uri)


def test_a_file_system_that_cannot_be_reached_is_worth_another_try(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(uri: str) -> Any:
        raise OSError("unable to load its library")

    monkeypatch.setattr(fsspec.core, "url_to_fs", fail)
    with pytest.raises(StorageError, match=r"hdfs://host/a: its file system cannot be reached .*unable to load"):
        storage.resolve("hdfs://host/a")


def check(call: Callable[[Location], Any], location: Location, reason: str) -> None:
    with pytest.raises(StorageError) as caught:
        call(location)
    message = str(caught.value)
    assert message.startswith(f"{location}: cannot ")
    assert reason in message
    assert "\n" not in message
