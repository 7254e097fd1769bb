"""The three stores that the same behaviour is asked of."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_batch import storage
from airflow_provider_batch.storage import Location
from tests.object_stores.server import S3Server, at

STORES = ["local", "memory", "s3"]


@pytest.fixture(scope="session")
def s3_bucket(s3_server: S3Server) -> str:
    """One bucket for all tests of the suite; each has a folder of its own in it."""
    return s3_server.bucket()


@pytest.fixture(scope="session")
def client(s3_server: S3Server) -> Any:
    """The client behind `folder`."""
    return warm(s3_server.fs())


@pytest.fixture(scope="session")
def another_client(s3_server: S3Server) -> Any:
    """A client that shares no cache with `folder`'s; a new one takes most of a second."""
    return warm(s3_server.fs())


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest) -> str:
    """The store that the test runs against."""
    return str(request.param)


@pytest.fixture
def another(store: str, request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], Location]:
    """Resolve a path below an empty folder as another process would: what `folder` has cached is not known."""
    name = uuid.uuid4().hex[:12]

    def resolve(path: str) -> Location:
        tail = f"/{path}" if path else ""
        if store == "local":
            return storage.resolve(f"{tmp_path}/{name}{tail}")
        if store == "memory":
            return storage.resolve(f"memory://{name}{tail}")
        client = request.getfixturevalue("another_client")
        return at(client, f"s3://{request.getfixturevalue('s3_bucket')}/{name}{tail}")

    return resolve


@pytest.fixture
def folder(another: Callable[[str], Location], store: str, request: pytest.FixtureRequest) -> Location:
    """An empty folder of the store, which does not exist yet."""
    folder = another("")
    return at(request.getfixturevalue("client"), folder.uri) if store == "s3" else folder


def warm(fs: Any) -> Any:
    """Have a client connect now: many threads that use a new one at once would each do it."""
    fs.ls("")
    return fs
