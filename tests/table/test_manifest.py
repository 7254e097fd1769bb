"""The table in its destination: names, the manifest, and which files a job removes."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_batch.exceptions import ConfigurationError, JobTakenError, StorageError
from airflow_provider_batch.storage import Location, resolve
from airflow_provider_batch.table.file_names import (
    Attempt,
    PartName,
    attempt_of,
    landed_part,
    landing_name,
    manifest_job,
    manifest_name,
    parse_part_name,
    replaced_name,
)
from airflow_provider_batch.table.file_names import part_name as full_part_name
from airflow_provider_batch.table.manifest import (
    Manifest,
    Part,
    check_destination,
    encode_manifest,
    manifests,
    read_manifest,
    summary,
)
from airflow_provider_batch.table.publication import Publisher
from airflow_provider_batch.table.publication import publish as publish_by

OURS, THEIRS = "0123456789ab", "ffffffffffff"
FIRST, SECOND = Attempt(1, 1), Attempt(1, 2)


def part_name(job: str, shard: int, round_: int, attempt: Attempt = FIRST) -> str:
    return full_part_name(job, shard, round_, attempt)


def publish(destination: Location, given: Manifest, if_exists: Any, attempt: Attempt = FIRST) -> None:
    publish_by(destination, given, if_exists, Publisher(attempt))


@pytest.fixture(params=["disk", "memory"])
def destination(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Location]:
    """A folder on disk, and one of an object store's kind."""
    if request.param == "disk":
        yield resolve(str(tmp_path / "table"))
        return
    location = resolve(f"memory://table-{uuid.uuid4().hex}")
    yield location
    if location.fs.exists(location.path):
        location.fs.rm(location.path, recursive=True)


def manifest(job: str, *parts: str, batches: int = 1) -> Manifest:
    return Manifest(
        job=job,
        endpoint="/v1/chat/completions",
        rows=2 * len(parts),
        statuses={"succeeded": 2 * len(parts)},
        usage={"input_tokens": 5, "output_tokens": 0},
        cost_usd="0.000001",
        unpriced=0,
        parts=[Part(name, 2, 1, 1, "batch_1") for name in parts],
        batch_ids=[f"batch_{number}" for number in range(batches)],
        generation=1,
        created_at=1760000000.0,
    )


def put(destination: Location, *names: str) -> None:
    for name in names:
        (destination / name).write(b"part")


class TestNames:
    def test_a_part_is_named_by_job_shard_and_round(self) -> None:
        assert part_name(OURS, 7, 2, Attempt(3, 12)) == "part-0123456789ab-00007-02-g3a12.parquet"

    @given(
        st.from_regex(r"[0-9a-f]{12}", fullmatch=True),
        st.integers(0, 10**7),
        st.integers(0, 999),
        st.builds(Attempt, st.integers(0, 99), st.integers(0, 2 * 10**12)),
    )
    def test_a_name_says_what_it_was_made_of(self, job: str, shard: int, number: int, attempt: Attempt) -> None:
        name = part_name(job, shard, number, attempt)
        assert parse_part_name(name) == PartName(job, shard, number, attempt)
        assert attempt_of(f"day=1/{name}") == attempt
        assert landing_name(job, f"day=1/{name}").endswith(".landing")
        assert landed_part(landing_name(job, f"day=1/{name}").partition("/")[2]) == f"day=1/{name}"

    def test_a_part_of_release_0_1_is_older_than_every_attempt(self) -> None:
        name = f"part-{OURS}-00007-02.parquet"
        assert parse_part_name(name) == PartName(OURS, 7, 2)
        assert attempt_of(name) < FIRST < SECOND < Attempt(2, 1)

    @pytest.mark.parametrize(
        "name", ["part-1.parquet", "part-0123456789ab-00001-01.parquet.tmp", "xpart-0123456789ab-00001-01.parquet", "a"]
    )
    def test_other_names_are_no_parts(self, name: str) -> None:
        assert parse_part_name(name) is None

    def test_a_manifest_names_its_job(self) -> None:
        assert manifest_job(manifest_name(OURS)) == OURS
        assert manifest_job("_manifest-other.json") is None


class TestCheck:
    def test_a_new_folder_is_fine_and_stays_empty(self, destination: Location) -> None:
        check_destination(destination, OURS, "error")
        assert destination.list() == []

    def test_another_jobs_table_is_an_error_that_says_what_to_do(self, destination: Location) -> None:
        put(destination, manifest_name(THEIRS))
        with pytest.raises(ConfigurationError, match=r"found _manifest-ffffffffffff\.json.*if_exists='append'"):
            check_destination(destination, OURS, "error")
        check_destination(destination, OURS, "append")
        check_destination(destination, OURS, "replace")

    def test_the_jobs_own_table_and_other_files_are_fine(self, destination: Location) -> None:
        put(destination, manifest_name(OURS), part_name(OURS, 1, 1), part_name(THEIRS, 1, 1), "notes.txt")
        check_destination(destination, OURS, "error")

    @pytest.mark.skipif(os.geteuid() != 0 and not Path("/proc").exists(), reason="needs a path that nobody can write")
    def test_a_folder_that_cannot_be_written_is_an_error(self) -> None:
        with pytest.raises(ConfigurationError, match=r"/proc/table: expected a folder that can be written to"):
            check_destination(resolve("/proc/table"), OURS, "append")


class TestPublish:
    def test_the_jobs_own_leftovers_are_removed_and_the_manifest_is_written(self, destination: Location) -> None:
        """Invariant 9."""
        kept, left = part_name(OURS, 1, 1), part_name(OURS, 2, 1)
        put(destination, kept, left, part_name(THEIRS, 1, 1), "notes.txt", manifest_name(THEIRS))
        publish(destination, manifest(OURS, kept), "append")
        assert left not in destination.list()
        assert {part_name(THEIRS, 1, 1), "notes.txt", manifest_name(THEIRS), kept} <= set(destination.list())
        assert read_manifest(destination / manifest_name(OURS)) == manifest(OURS, kept)

    def test_publishing_again_changes_nothing(self, destination: Location) -> None:
        put(destination, part_name(OURS, 1, 1))
        for _ in range(2):
            publish(destination, manifest(OURS, part_name(OURS, 1, 1)), "error")
            assert destination.list() == sorted([part_name(OURS, 1, 1), manifest_name(OURS)])

    def test_replace_removes_what_other_manifests_list_and_nothing_else(self, destination: Location) -> None:
        listed, unlisted = part_name(THEIRS, 1, 1), part_name(THEIRS, 2, 1)
        put(destination, listed, unlisted, part_name(OURS, 1, 1), "notes.txt")
        # Files in a manifest that are not parts of its own job are not removed.
        theirs = manifest(THEIRS, listed, "notes.txt", part_name(OURS, 1, 1))
        (destination / manifest_name(THEIRS)).write(encode_manifest(theirs))
        publish(destination, manifest(OURS, part_name(OURS, 1, 1)), "replace")
        assert destination.list() == sorted([unlisted, part_name(OURS, 1, 1), "notes.txt", manifest_name(OURS)])

    def test_replace_leaves_a_table_that_its_job_has_published_since(self, destination: Location) -> None:
        old, new, mine = part_name(THEIRS, 1, 1), part_name(THEIRS, 1, 1, Attempt(2, 1)), part_name(OURS, 1, 1)
        put(destination, old, new, mine)
        (destination / manifest_name(THEIRS)).write(encode_manifest(manifest(THEIRS, old)))
        due = [manifest(THEIRS, new)]

        def published_meanwhile() -> None:
            if due:
                (destination / manifest_name(THEIRS)).write(encode_manifest(due.pop()))

        publish_by(destination, manifest(OURS, mine), "replace", Publisher(FIRST, published_meanwhile))
        assert destination.list() == sorted([mine, manifest_name(OURS), new, manifest_name(THEIRS)])

    def test_a_replace_that_was_stopped_half_way_is_ended_by_the_next(self, destination: Location) -> None:
        """The other table's manifest is gone already, and some of its parts."""
        left = part_name(THEIRS, 2, 1)
        put(destination, left, part_name(OURS, 1, 1))
        (destination / replaced_name(THEIRS)).write(encode_manifest(manifest(THEIRS, part_name(THEIRS, 1, 1), left)))
        publish(destination, manifest(OURS, part_name(OURS, 1, 1)), "replace")
        assert destination.list() == sorted([part_name(OURS, 1, 1), manifest_name(OURS)])

    def test_parts_are_staged_outside_of_the_table_until_it_is_published(self, destination: Location) -> None:
        old, new = f"part-{OURS}-00001-01.parquet", part_name(OURS, 1, 1)
        put(destination, old, f"day=1/{old}", landing_name(OURS, new), landing_name(OURS, f"day=1/{new}"))
        assert destination.list() == [old]
        publish(destination, manifest(OURS, new, f"day=1/{new}"), "error")
        assert destination.list() == sorted([manifest_name(OURS), new])
        assert (destination / "day=1").list() == [new]
        assert list((destination / f"_landing-{OURS}").list()) == []

    def test_what_a_later_attempt_has_written_is_never_removed(self, destination: Location) -> None:
        """An attempt that was delayed for hours publishes its parts, and does not remove the later ones."""
        mine, later = part_name(OURS, 1, 1), part_name(OURS, 1, 1, SECOND)
        staged = landing_name(OURS, part_name(OURS, 2, 1, SECOND))
        put(destination, landing_name(OURS, mine), later, staged)
        publish(destination, manifest(OURS, mine), "error", FIRST)
        assert {mine, later} <= set(destination.list())
        assert (destination / staged).exists()

    @pytest.mark.parametrize("held_before", ["its parts are moved", "its manifest is written"])
    def test_a_late_attempt_never_replaces_a_newer_table_and_leaves_nothing(
        self, destination: Location, held_before: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        mine, theirs = part_name(OURS, 1, 1), part_name(OURS, 1, 1, SECOND)
        put(destination, landing_name(OURS, mine), landing_name(OURS, theirs))
        newer, due = manifest(OURS, theirs), []
        write_if = Location.write_if

        def overtaken(*_: Any) -> None:
            if not due:
                due.append(None)
                publish(destination, newer, "error", SECOND)

        def held(self: Location, *args: Any, **options: Any) -> bool:
            overtaken()
            return write_if(self, *args, **options)

        def check() -> None:
            if due:
                raise JobTakenError("a later attempt")
            if held_before == "its parts are moved":
                overtaken()

        if held_before == "its manifest is written":
            monkeypatch.setattr(Location, "write_if", held)
        with pytest.raises((JobTakenError, StorageError)):
            publish_by(destination, manifest(OURS, mine), "error", Publisher(FIRST, check))
        assert read_manifest(destination / manifest_name(OURS)) == newer
        assert destination.list() == sorted([manifest_name(OURS), theirs])

    def test_a_late_attempt_keeps_the_parts_that_the_ledger_lists_now(
        self, destination: Location, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A later attempt has found them at their final paths, and will list them."""
        landed, other = part_name(OURS, 1, 1), part_name(OURS, 2, 1)
        put(destination, landing_name(OURS, landed), landing_name(OURS, other))
        monkeypatch.setattr(Location, "write_if", lambda *_, **__: False)
        calls = iter(range(9))

        def check() -> None:
            if next(calls):
                raise JobTakenError("a later attempt has taken the job over")

        publisher = Publisher(FIRST, check, lambda: {landed})
        with pytest.raises(JobTakenError):
            publish_by(destination, manifest(OURS, landed, other), "error", publisher)
        assert (destination / landed).exists()
        assert not (destination / other).exists()

    def test_an_attempt_whose_manifest_was_forestalled_and_that_holds_the_job_publishes_on_its_next_try(
        self, destination: Location, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        mine, tries = part_name(OURS, 1, 1), []
        put(destination, landing_name(OURS, mine))
        write_if = Location.write_if

        def forestalled_once(self: Location, *args: Any, **options: Any) -> bool:
            tries.append(self)
            return len(tries) > 1 and write_if(self, *args, **options)

        monkeypatch.setattr(Location, "write_if", forestalled_once)
        publish(destination, manifest(OURS, mine), "error")
        assert len(tries) == 2
        assert destination.list() == sorted([manifest_name(OURS), mine])

    def test_a_part_that_is_not_there_is_an_error_and_nothing_is_removed(self, destination: Location) -> None:
        put(destination, part_name(OURS, 2, 1))
        with pytest.raises(StorageError, match="expected a part of the table, found no file"):
            publish(destination, manifest(OURS, part_name(OURS, 1, 1)), "replace")
        assert destination.list() == [part_name(OURS, 2, 1)]

    def test_a_manifest_that_cannot_be_read_stops_a_replace(self, destination: Location) -> None:
        put(destination, part_name(OURS, 1, 1), manifest_name(THEIRS))
        with pytest.raises(StorageError, match="expected a manifest"):
            publish(destination, manifest(OURS, part_name(OURS, 1, 1)), "replace")
        assert manifest_name(OURS) not in destination.list()

    def test_manifests_lists_all_tables(self, destination: Location) -> None:
        for job in (OURS, THEIRS):
            put(destination, part_name(job, 1, 1))
            publish(destination, manifest(job, part_name(job, 1, 1)), "append")
        assert [one.job for one in manifests(destination)] == [OURS, THEIRS]


class TestSummary:
    def test_it_is_small_and_json(self) -> None:
        made = summary(manifest(OURS, part_name(OURS, 1, 1), batches=2))
        assert json.loads(json.dumps(made)) == made
        assert (made["rows"], made["batch_ids"], made["usage"]) == (2, ["batch_0", "batch_1"], {"input_tokens": 5})

    def test_past_200_batches_only_the_manifest_has_them(self) -> None:
        made = summary(manifest(OURS, batches=201))
        assert (made["batches"], made["batch_ids"]) == (201, [])
