"""What readers of a table see while a job makes the next one, and what late attempts can do to it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pytest

from airflow_provider_batch.emulator.testing import Emulator
from airflow_provider_batch.exceptions import JobTakenError, StorageError
from airflow_provider_batch.jobs.landing.shard import withdraw_late
from airflow_provider_batch.jobs.landing.staging import Staging
from airflow_provider_batch.jobs.ledger.events import Landed
from airflow_provider_batch.jobs.opening.attempt import open_job
from airflow_provider_batch.storage import Location, moves
from airflow_provider_batch.storage.stores.disk import Disk
from airflow_provider_batch.table import publication
from tests.faults.reader import TableReader
from tests.jobs.support import (
    LIMITS,
    a_request,
    changed,
    check_table,
    run,
    some_rows,
    statuses,
    step_until_waiting,
    tools_for,
)


def read_around_writes(monkeypatch: pytest.MonkeyPatch, reader: TableReader) -> list[str]:
    """Read the table before and after each write, move and removal, and return the list of what is wrong."""
    wrong: list[str] = []

    def around(owner: Any, name: str) -> None:
        original = getattr(owner, name)

        def read_around(*args: Any, **options: Any) -> Any:
            path = args[-1] if owner is Disk else args[0].path
            boundary = f"{name.removesuffix('_file')} {Path(path).name}".replace("upload ", "write ")
            wrong.extend(found for found in [reader.look(boundary)] if found is not None)
            try:
                return original(*args, **options)
            finally:
                wrong.extend(found for found in [reader.look(boundary)] if found is not None)

        monkeypatch.setattr(owner, name, read_around)

    around(Disk, "upload")
    around(Location, "delete")
    around(moves, "move_file")
    return wrong


@pytest.mark.parametrize("rerun", ["failed_rows", "all"])
@pytest.mark.parametrize("partition_by", [(), ("status",)])
def test_a_reader_sees_a_whole_table_during_all_of_a_rerun(
    emulator: Emulator, tmp_path: Path, rerun: Any, partition_by: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """For the 24 hours of a rerun the rows stood in no part, under a manifest that listed them."""
    emulator.fault(kind="http_error", status=400, custom_id="*[37]", executions=1)
    rows, tools = some_rows(25), tools_for(emulator)
    request = a_request(tmp_path, rows, partition_by=partition_by)
    run(request, tools)
    wrong = read_around_writes(monkeypatch, TableReader(tmp_path / "table"))
    emulator.configure(progress="hold")
    again = changed(request, rerun=rerun, era=1)
    job = step_until_waiting(again, tools)
    assert TableReader(tmp_path / "table").look("while the batches run") is None
    emulator.configure(progress="immediate")
    job.run()
    assert wrong == []
    found = json.loads(next((tmp_path / "table").glob("_manifest-*")).read_text())
    assert found["statuses"] == {"succeeded": 25}
    assert TableReader(tmp_path / "table").look("at the end") is None


def test_a_table_that_another_job_replaces_stays_until_the_new_one_is_published(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = tools_for(emulator)
    run(a_request(tmp_path, some_rows(25), map_index=0), tools)
    wrong = read_around_writes(monkeypatch, TableReader(tmp_path / "table"))
    run(a_request(tmp_path, some_rows(12), map_index=1, if_exists="replace"), tools)
    assert wrong == []
    check_table(tmp_path, some_rows(12))


def test_temporary_files_of_killed_writers_of_a_replaced_table_and_of_a_ledger_are_removed(
    emulator: Emulator, tmp_path: Path
) -> None:
    """A writer that is killed has no time to remove its temporary file; what others are writing stays."""
    tools, request = tools_for(emulator), a_request(tmp_path, some_rows(12), map_index=1, if_exists="replace")
    run(a_request(tmp_path, some_rows(25), map_index=0), tools)
    (replaced,) = (path.name[len("_manifest-") : -len(".json")] for path in (tmp_path / "table").glob("_manifest-*"))
    folder = tmp_path / "state" / request.identity.run_key / request.identity.job
    folder.mkdir()
    destination = tmp_path / "table"
    left = [destination / f"._replaced-{replaced}.json.0123abcd.tmp", folder / ".ledger-0a-000000.json.0123abcd.tmp"]
    kept = [destination / "._replaced-aaaaaaaaaaaa.json.0123abcd.tmp", folder / ".notes.json.0123abcd.tmp"]
    for path in (*left, *kept):
        path.write_bytes(b"{")
    run(request, tools)
    assert [path for path in (*left, *kept) if path.exists()] == kept
    check_table(tmp_path, some_rows(12))


def test_a_first_table_appears_whole(emulator: Emulator, tmp_path: Path) -> None:
    """One of three batches has ended long before the others."""
    emulator.configure(progress="hold")
    request, tools = a_request(tmp_path, some_rows(25)), tools_for(emulator)
    job = step_until_waiting(request, tools)
    emulator.configure(progress="immediate")
    action = job._act
    for shard in job.ledger.shards[:1]:
        job._poll()
        action(record_end(job, shard.key))
        job._land(job.ledger.shard(shard.key))
    assert list((tmp_path / "table").rglob("*.parquet")) == []
    job.run()
    check_table(tmp_path, some_rows(25))


def record_end(job: Any, key: str) -> Any:
    from airflow_provider_batch.jobs import actions

    return actions.RecordEnd(key, job.seen[job.ledger.shard(key).batch_id])


#: Where an attempt of the first generation is held: the owner of the function, and its name.
HELD = {
    "its landing": (Staging, "put"),
    "its parts are moved": (publication, "_move_staged"),
    "its manifest is written": (publication, "_replace_manifest"),
    "what is old is removed": (publication, "_remove_obsolete"),
}


@pytest.mark.parametrize("held_before", HELD)
def test_a_paused_attempt_that_resumes_never_changes_the_table_of_a_later_generation(
    emulator: Emulator, tmp_path: Path, held_before: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Generation 1's manifest and parts were put back over generation 2's table."""
    rows, tools = some_rows(15), tools_for(emulator)
    request = a_request(tmp_path, rows)
    owner, name = HELD[held_before]
    original, due = getattr(owner, name), [None]

    def held(*args: Any, **options: Any) -> Any:
        if due:
            due.pop()
            run(request, tools)
            run(changed(request, rerun="all", era=1), tools)
        return original(*args, **options)

    monkeypatch.setattr(owner, name, held)
    with pytest.raises((JobTakenError, StorageError)):
        run(request, tools)
    (manifest,) = (tmp_path / "table").glob("_manifest-*.json")
    listed = json.loads(manifest.read_text())
    assert listed["generation"] == 2
    names = {path.name for path in (tmp_path / "table").rglob("*") if path.is_file()}
    assert names == {manifest.name, *(part["name"] for part in listed["parts"])}
    check_table(tmp_path, rows)
    assert statuses(tmp_path) == {"succeeded": 15}


def test_parts_of_a_killed_attempt_are_removed_by_the_next_publication(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, tools = some_rows(15), tools_for(emulator)
    request = a_request(tmp_path, rows)
    with monkeypatch.context() as patch:
        patch.setattr(Staging, "put", _killed(Staging.put))
        with pytest.raises(KeyboardInterrupt):
            run(request, tools)
    assert list((tmp_path / "table").rglob("*.landing"))
    run(request, tools)
    check_table(tmp_path, rows)
    assert list((tmp_path / "table").rglob("*.landing")) == []


@pytest.mark.parametrize("partition_by", [(), ("key",)], ids=["plain", "partitions"])
def test_parts_that_somebody_removes_before_their_publication_are_landed_again_for_free(
    emulator: Emulator, tmp_path: Path, partition_by: tuple[str, ...]
) -> None:
    """They wait beside the table as long as the slowest batch takes."""
    rows, tools = [{**row, "key": f"k{n % 2}"} for n, row in enumerate(some_rows(15))], tools_for(emulator)
    limits = dataclasses.replace(LIMITS, max_active_batches=1)
    request = a_request(tmp_path, rows, partition_by=partition_by, limits=limits)
    job = open_job(request, tools)
    while not job.ledger.count_in("landed"):
        job.advance()
    waiting = list((tmp_path / "table").rglob("*.landing"))
    assert waiting
    waiting[0].unlink()
    with pytest.raises(StorageError, match="expected a part of the table"):
        job.run()
    assert run(request, tools)["statuses"] == {"succeeded": 15}
    assert emulator.state()["batches_created"] == 2
    assert list((tmp_path / "table").rglob("*.landing")) == []
    query = f"select row_number from read_parquet('{tmp_path}/table/**/*.parquet') order by 1"
    assert duckdb.execute(query).fetchall() == [(number,) for number in range(15)]


def _killed(put: Any) -> Any:
    def dies(*args: Any) -> None:
        put(*args)
        raise KeyboardInterrupt

    return dies


@pytest.mark.parametrize("named_by", ["nothing", "the ledger", "the manifest"])
def test_unreadable_lines_are_withdrawn_only_where_neither_ledger_nor_manifest_names_them(
    emulator: Emulator, tmp_path: Path, named_by: str
) -> None:
    """A shard whose rows are all sent again has no part; the answer to the write that recorded its landing was lost."""
    tools, request = tools_for(emulator), a_request(tmp_path, some_rows(5))
    job = open_job(request, tools)
    job.run()
    before, (shard,) = job.ledger, job.ledger.shards
    name = f"_unreadable-{before.job}-00001-01-g1a1.txt"
    assert shard.landing is not None
    landing = msgspec.structs.replace(shard.landing, part=None, rows=0, statuses={}, unreadable=1, unreadable_file=name)
    (tmp_path / "table" / name).write_text("<html>")
    recorded = before.with_shard(msgspec.structs.replace(shard, landing=landing))
    if named_by == "the manifest":
        (manifest,) = (tmp_path / "table").glob("_manifest-*.json")
        manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "unreadable": {name: 1}}))
    later = recorded if named_by == "the ledger" else before
    withdraw_late(request, tools, before, later, Landed(shard.key, landing))
    assert (tmp_path / "table" / name).exists() == (named_by != "nothing")
