"""A source that covers the job's own table or state: refused before anything is sent."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import fsspec
import pytest

from airflow_provider_batch import storage
from airflow_provider_batch.emulator.testing import Emulator
from airflow_provider_batch.exceptions import ConfigurationError
from airflow_provider_batch.jobs.job_request import JobRequest
from airflow_provider_batch.jobs.opening.overlap import check_overlap
from airflow_provider_batch.jobs.opening.preparing import check_input
from tests.jobs.support import a_request, changed, check_table, run, tools_for

#: Source, destination, state and partitions, below one folder.
COVERED = [
    ("in", "in", "state", ()),
    ("in", "in/", "state", ()),
    ("in/", "in/answers", "state", ()),
    ("in", "x/../in/answers", "state", ()),
    ("in", "in//answers/", "state", ()),
    (".", "answers", "state", ()),
    ("in/*", "in/answers", "state", ()),
    ("in/*", "in", "state", ()),
    ("in/**/*.parquet", "in", "state", ()),
    ("in/**/*.parquet", "in/deep/answers", "state", ()),
    ("in/**", "in/answers", "state", ()),
    ("i?/part-*", "in", "state", ()),
    ("in/part-[a-f0-9]*.parquet", "in", "state", ()),
    ("in/_answers/*.parquet", "in/_answers", "state", ()),
    ("in/day=1", "in", "state", ("day",)),
    ("in/day=2026*/*.parquet", "in", "state", ("day",)),
    ("in/*/*.parquet", "in", "state", ("day",)),
    ("in", "answers", "in/state", ()),
    ("in/**/*.jsonl", "answers", "in/state", ()),
    ("in/*", "answers", "in/state", ()),
]
APART = [
    ("in", "answers", "state", ()),
    ("in", "in2", "in-state", ()),
    ("in/rows.jsonl", "in", "in/_openai_batch", ()),
    ("in/*.jsonl", "in", "in/_openai_batch", ()),
    ("in/*.jsonl", "in", "in/state", ()),
    ("in/**/*.csv", "in/answers", "in/state", ()),
    ("in/2026-*.parquet", "in", "state", ()),
    ("in/*.parquet", "in/answers", "in/state", ()),
    ("in", "in/_answers", "in/_state", ()),
    ("in/**/*.parquet", "in/_answers", "in/.state", ()),
    ("in/day=1", "in", "state", ()),
    ("in/day=1", "in", "state", ("status",)),
    ("in/lang=*/*.parquet", "in", "state", ("status",)),
]


def a_job(root: str, source: str, destination: str, state: str, partition_by: tuple[str, ...]) -> JobRequest:
    request = a_request(Path("/nowhere"), f"{root}/{source}", partition_by=partition_by)
    return changed(request, destination=f"{root}/{destination}", state=storage.resolve(f"{root}/{state}"))


@pytest.mark.parametrize("root", ["/data", "file:///data", "memory://data/lake"])
@pytest.mark.parametrize("given", COVERED, ids=str)
def test_a_source_that_covers_what_its_job_writes_is_refused(given: Any, root: str) -> None:
    with pytest.raises(ConfigurationError, match=r"covers the (destination|state_path) .* the next run would read"):
        check_overlap(a_job(root, *given), tools=OnlyResolves())


@pytest.mark.parametrize("root", ["/data", "file:///data", "memory://data/lake"])
@pytest.mark.parametrize("given", APART, ids=str)
def test_a_table_beside_its_source_is_fine(given: Any, root: str) -> None:
    check_overlap(a_job(root, *given), tools=OnlyResolves())


class OnlyResolves:
    """All that the check asks of `Tools`."""

    resolve = staticmethod(storage.resolve)


def test_one_store_is_recognised_however_its_uri_and_its_connection_are_spelled() -> None:
    class Store(fsspec.AbstractFileSystem):  # type: ignore[misc]
        protocol = ("s3", "s3a")
        cachable = False

        def __init__(self, endpoint: str | None, key: str) -> None:
            super().__init__(key=key)
            self.endpoint_url = endpoint

    places = {
        "s3://team@lake/in/*": storage.Location("", Store(None, "a"), "lake/in/*"),
        "s3a://lake/in": storage.Location("", Store("https://s3.eu-west-1.amazonaws.com", "b"), "lake/in"),
        "s3://minio@lake/in": storage.Location("", Store("http://minio:9000", "a"), "lake/in"),
        "s3://lake2/in": storage.Location("", Store(None, "a"), "lake2/in"),
    }
    tools = OnlyResolves()
    tools.resolve = lambda uri: dataclasses.replace(places[uri], uri=uri)  # type: ignore[method-assign, assignment]
    request = a_job("/data", "in", "out", "state", ())
    request = changed(request, source="s3://team@lake/in/*", destination="s3a://lake/in")
    with pytest.raises(ConfigurationError, match="covers the destination s3a://lake/in"):
        check_overlap(request, tools)
    for elsewhere in ("s3://minio@lake/in", "s3://lake2/in"):
        check_overlap(changed(request, destination=elsewhere), tools)


def test_a_symbolic_link_does_not_hide_that_source_and_destination_are_one(tmp_path: Path) -> None:
    (tmp_path / "real" / "in").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    for source in ("link/in", "link/in/*.parquet", "real/in"):
        for destination in ("real/in", "link/in"):
            with pytest.raises(ConfigurationError, match="covers the destination"):
                check_overlap(a_job(str(tmp_path), source, destination, "state", ()), tools=OnlyResolves())


def test_a_job_whose_answers_would_be_its_next_input_sends_nothing(emulator: Emulator, tmp_path: Path) -> None:
    (tmp_path / "table").mkdir()
    source = tmp_path / "table" / "rows.jsonl"
    source.write_text('{"key": "k0", "text": "subject 0"}\n')
    for uri in (str(tmp_path), f"{tmp_path}/table", f"{tmp_path}/**"):
        request = a_request(tmp_path, uri, spec={"custom_id": "{key}"})
        for begins in (run, check_input):
            with pytest.raises(ConfigurationError, match="covers the destination"):
                begins(request, tools_for(emulator))
    assert emulator.calls() == []
    for _ in range(2):  # a pattern that does not match what is written: the same input each time
        run(a_request(tmp_path, f"{tmp_path}/table/*.jsonl"), tools_for(emulator))
        check_table(tmp_path, [{"key": "k0"}])
    assert emulator.state()["batches_created"] == 1
