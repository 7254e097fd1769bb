"""A bucket, and a job whose source, table and ledger all stand in it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest

from airflow_provider_batch import storage
from airflow_provider_batch.emulator.testing import Emulator
from airflow_provider_batch.jobs.job_request import JobRequest, Tools
from airflow_provider_batch.storage import Location
from tests.jobs.support import a_request, changed, tools_for
from tests.object_stores.server import S3Server, at


@dataclass(frozen=True)
class Bucket:
    """A bucket, its client, and a local folder to look at its files in."""

    name: str
    fs: Any
    local: Path

    @property
    def uri(self) -> str:
        """`s3://` and its name."""
        return f"s3://{self.name}"

    def resolve(self, uri: str) -> Location:
        """Resolve by this client; what is not S3 as ever."""
        return at(self.fs, uri) if uri.startswith("s3://") else storage.resolve(uri)

    def tools(self, emulator: Emulator) -> Tools:
        """Tools of a job whose files are on S3."""
        return tools_for(emulator, resolve=self.resolve)

    def request(self, source: Any, *, state: str | None = None, **changes: Any) -> JobRequest:
        """Ask for a table in `<bucket>/table`, with the ledger in `<bucket>/state`."""
        request = a_request(self.local, source, **{"destination": f"{self.uri}/table", **changes})
        return changed(request, state=self.resolve(state or f"{self.uri}/state"))

    def put(self, key: str, data: bytes) -> str:
        """Write an object and return its URI."""
        self.fs.pipe_file(f"{self.name}/{key}", data)
        return f"{self.uri}/{key}"

    def keys(self, prefix: str) -> list[str]:
        """Return the keys below a prefix, without it."""
        self.fs.invalidate_cache()
        root = f"{self.name}/{prefix}"
        return sorted(path.removeprefix(f"{root}/") for path in self.fs.find(root))

    def table(self, columns: str, folder: str = "table") -> list[tuple[Any, ...]]:
        """Download the table and read it with an engine that did not write it."""
        here = self.local / "downloaded"
        shutil.rmtree(here, ignore_errors=True)
        here.mkdir()
        for name in self.keys(folder):
            if name.endswith(".parquet") and "/" not in name:
                self.fs.get_file(f"{self.name}/{folder}/{name}", str(here / name))
        return duckdb.sql(f"select {columns} from read_parquet('{here}/*.parquet') order by row_number").fetchall()

    def check_table(self, rows: Sequence[dict[str, Any]]) -> None:
        """Each input row has one result row, which succeeded, with its own columns beside it."""
        expected = [(number, row["key"], "succeeded") for number, row in enumerate(rows)]
        assert self.table("row_number, key, status") == expected


@pytest.fixture(scope="session")
def s3_client(s3_server: S3Server) -> Any:
    """One client for all tests: to make one takes most of a second."""
    return s3_server.fs()


@pytest.fixture
def bucket(s3_server: S3Server, s3_client: Any, tmp_path: Path) -> Bucket:
    """An empty bucket."""
    name = f"job-{tmp_path.name.replace('_', '-').lower()[-40:].strip('-')}"
    s3_client.mkdir(name)
    return Bucket(name, s3_client, tmp_path)
