"""
The stores that the same behaviour is asked of, each reached as a user's operator reaches it: through Airflow's
`ObjectStoragePath` and a connection of the store's own provider.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest

from airflow_provider_batch import storage
from airflow_provider_batch.emulator.testing import Emulator
from airflow_provider_batch.jobs.job_request import JobRequest, Tools
from airflow_provider_batch.storage import Location
from airflow_provider_batch.utils.object_storage import resolve_airflow
from tests.jobs.support import a_request, changed, tools_for
from tests.stores.edge import Edge, running_edge
from tests.stores.servers import Backend, define, missing, running_backend, s3_backend

REMOTE = ("s3", "gcs", "azure")
STORES = ("local", *REMOTE)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test on every store that its arguments allow."""
    for fixture, names in (("store", ("local", "memory", *REMOTE)), ("disk_or_remote", STORES), ("remote", REMOTE)):
        if fixture in metafunc.fixturenames:
            chosen = getattr(metafunc.cls, "stores", None) or getattr(metafunc.module, "STORES", names)
            metafunc.parametrize(fixture, [name for name in chosen if name in names], scope="session")
            return


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests of a store that is not installed, and have one of them say so for all."""
    for name in REMOTE:
        why = missing(name)
        left_out = [item for item in items if name in _stores_of(item)] if why else []
        if left_out:
            left_out[0].add_marker(pytest.mark.skip(f"{why} (and {len(left_out) - 1} more tests of {name})"))
            items[:] = [item for item in items if item not in left_out[1:]]
            config.hook.pytest_deselected(items=left_out[1:])


def _stores_of(item: pytest.Item) -> set[str]:
    params = getattr(getattr(item, "callspec", None), "params", {})
    return {params[name] for name in ("store", "disk_or_remote", "remote") if isinstance(params.get(name), str)}


@pytest.fixture(scope="session")
def _clean_home() -> Iterator[None]:
    """Credentials of this machine are nobody's business, and a connection means another server in another run."""
    from airflow.sdk.io import store

    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "STORAGE_EMULATOR_HOST"):
            patch.delenv(name, raising=False)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setenv("AWS_CONFIG_FILE", "/nowhere")
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
        patch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
        patch.setattr(store, "_STORE_CACHE", {})
        yield


@pytest.fixture(scope="session")
def backends(
    request: pytest.FixtureRequest, _clean_home: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Backend]]:
    """Start a store when it is first needed, with its connections ``<store>_store``, or skip the test."""
    running: dict[str, Backend] = {}
    stack = ExitStack()

    def backend(name: str) -> Backend:
        if why := missing(name):
            pytest.skip(why)
        if name not in running:
            if name == "s3":
                running[name] = s3_backend(request.getfixturevalue("s3_server"))
            else:
                running[name] = stack.enter_context(running_backend(name, tmp_path_factory.mktemp(name)))
            define(f"{name}_store", running[name].connection())
            make_container(running[name], f"{name}_store", CONTAINER)
        return running[name]

    with stack:
        yield backend


#: The bucket or container of all tests; each test has a folder of its own in it.
CONTAINER = "all-tests"


def make_container(backend: Backend, conn_id: str, name: str) -> None:
    """Make a bucket or a container, and have the client connect: many threads at once would each do it."""
    fs = resolve_airflow(f"{backend.scheme}://{conn_id}@{name}/x").fs
    fs.mkdir(name)
    fs.ls(name)


@pytest.fixture(scope="session")
def edges(backends: Callable[[str], Backend]) -> Iterator[Callable[[str], Edge]]:
    """Start a proxy in front of a store when it is first needed, with its connection ``<store>_edge``."""
    with ExitStack() as stack:
        running: dict[str, Edge] = {}

        def edge(name: str) -> Edge:
            backend = backends(name)
            if name not in running:
                running[name] = stack.enter_context(running_edge(backend.endpoint))
                define(f"{name}_edge", backend.connection(running[name].endpoint))
            return running[name]

        yield edge


@pytest.fixture
def backend(remote: str, backends: Callable[[str], Backend]) -> Backend:
    """The remote store of the test."""
    return backends(remote)


@pytest.fixture
def edge(remote: str, edges: Callable[[str], Edge], impatient: None) -> Iterator[Edge]:
    """The proxy in front of the remote store of the test; clients that repeat a call do so at once."""
    found = edges(remote)
    found.reset()
    yield found
    found.reset()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let clients repeat what failed without their pauses, which are up to a minute."""
    import asyncio
    from types import SimpleNamespace

    def no_pause(*_: Any, **__: Any) -> float:
        return 0.0

    async def at_once(*_: Any) -> None:
        await asyncio.sleep(0)

    monkeypatch.setattr("aiobotocore.endpoint.asyncio", SimpleNamespace(sleep=at_once))
    monkeypatch.setattr("s3fs.core.S3FileSystem.retries", 2)
    if not missing("gcs"):
        monkeypatch.setattr("gcsfs.retry.asyncio", SimpleNamespace(sleep=at_once))
    if not missing("azure"):
        monkeypatch.setattr("azure.storage.blob._shared.policies_async.ExponentialRetry.get_backoff_time", no_pause)
        monkeypatch.setattr("azure.storage.blob._shared.policies.ExponentialRetry.get_backoff_time", no_pause)


@dataclass(frozen=True)
class Place:
    """A folder of a store, and a local folder to look at its files in."""

    root: Location
    local: Path

    @property
    def uri(self) -> str:
        """The folder's URI."""
        return self.root.uri

    def resolve(self, uri: str) -> Location:
        """Resolve a URI as the operators do."""
        return resolve_airflow(uri)

    def tools(self, emulator: Emulator) -> Tools:
        """Tools of a job whose files are in the store."""
        return tools_for(emulator, resolve=resolve_airflow)

    def request(self, source: Any, *, state: str | None = None, **changes: Any) -> JobRequest:
        """Ask for a table in `<folder>/table`, with the ledger in `<folder>/state`."""
        request = a_request(self.local, source, **{"destination": f"{self.uri}/table", **changes})
        return changed(request, state=self.resolve(state or f"{self.uri}/state"))

    def at(self, key: str) -> Location:
        """Return a file of the folder."""
        return resolve_airflow(f"{self.uri}/{key}")

    def put(self, key: str, data: bytes) -> str:
        """Write a file and return its URI."""
        self.at(key).write(data)
        return f"{self.uri}/{key}"

    def put_folder_marker(self, key: str) -> None:
        """Write what consoles of object stores put where somebody made a folder."""
        if not self.root.is_local:
            self.root.fs.pipe_file(f"{self.root.path}/{key}/", b"")

    def keys(self, prefix: str) -> list[str]:
        """Return the names of the files below a prefix, without it."""
        fs = self.root.fs
        fs.invalidate_cache()
        root = f"{self.root.path}/{prefix}"
        found = fs.find(root) if self.root.is_local is False or os.path.isdir(root) else []
        return sorted(path.removeprefix(f"{root}/") for path in found if not path.endswith("/.lock"))

    def remove(self, folder: str) -> None:
        """Remove a folder with all that is in it."""
        self.root.fs.rm(f"{self.root.path}/{folder}", recursive=True)
        self.root.fs.invalidate_cache()

    def table(self, columns: str, folder: str = "table") -> list[tuple[Any, ...]]:
        """Download the table and read it with an engine that did not write it."""
        here = self.local / "downloaded"
        shutil.rmtree(here, ignore_errors=True)
        for name in self.keys(folder):
            if name.endswith(".parquet"):
                (here / name).parent.mkdir(parents=True, exist_ok=True)
                with self.at(f"{folder}/{name}").as_local() as copy:
                    shutil.copyfile(copy, here / name)
        query = f"select {columns} from read_parquet('{here}/**/*.parquet') order by row_number"
        return duckdb.sql(query).fetchall()

    def check_table(self, rows: Sequence[dict[str, Any]]) -> None:
        """Each input row has one result row, which succeeded, with its own columns beside it."""
        expected = [(number, row["key"], "succeeded") for number, row in enumerate(rows)]
        assert self.table("row_number, key, status") == expected


def uri_of(store: str, conn: str, backends: Callable[[str], Backend], tmp_path: Path) -> str:
    """Return the URI of a folder that nobody else uses and that does not exist yet."""
    name = uuid.uuid4().hex[:12]
    if store == "local":
        return f"{tmp_path}/{name}"
    if store == "memory":
        return f"memory://{name}"
    return f"{backends(store).scheme}://{store}_{conn}@{CONTAINER}/{name}"


@pytest.fixture
def place(disk_or_remote: str, backends: Callable[[str], Backend], tmp_path: Path) -> Place:
    """An empty folder of the store."""
    return Place(resolve_airflow(uri_of(disk_or_remote, "store", backends, tmp_path)), tmp_path)


@pytest.fixture
def remote_place(remote: str, backends: Callable[[str], Backend], tmp_path: Path) -> Place:
    """An empty folder of a remote store."""
    return Place(resolve_airflow(uri_of(remote, "store", backends, tmp_path)), tmp_path)


@pytest.fixture
def edge_place(remote: str, edge: Edge, backends: Callable[[str], Backend], tmp_path: Path) -> Place:
    """An empty folder of a remote store, reached through the proxy."""
    return Place(resolve_airflow(uri_of(remote, "edge", backends, tmp_path)), tmp_path)


@pytest.fixture(scope="session")
def other_clients() -> dict[str, Any]:
    """Clients that share no cache with those of the connections; a new one takes most of a second."""
    return {}


@pytest.fixture
def another(
    store: str, backends: Callable[[str], Backend], tmp_path: Path, other_clients: dict[str, Any]
) -> Callable[[str], Location]:
    """Resolve a path below an empty folder as another process would: what `folder` has cached is not known."""
    root = uri_of(store, "store", backends, tmp_path)

    def resolve(path: str) -> Location:
        uri = f"{root}/{path}" if path else root
        if store in ("local", "memory"):
            return storage.resolve(uri)
        found = resolve_airflow(uri)
        if store not in other_clients:
            other_clients[store] = another_client(found.fs)
        return Location(uri, other_clients[store], found.path)

    return resolve


def another_client(fs: Any) -> Any:
    """Return a client with the same credentials that shares no cache with the given one."""
    made = type(fs)(*fs.storage_args, **{**fs.storage_options, "skip_instance_cache": True})
    made.ls(CONTAINER)
    return made


@pytest.fixture
def folder(another: Callable[[str], Location], store: str) -> Location:
    """An empty folder of the store, which does not exist yet."""
    uri = another("").uri
    return storage.resolve(uri) if store in ("local", "memory") else resolve_airflow(uri)
