"""Answers that get lost between a store and its client, and parts that arrive half."""

from __future__ import annotations

import random

import pytest

from airflow_provider_batch.emulator.testing import Emulator
from airflow_provider_batch.exceptions import StorageError
from tests.jobs.support import check_paid_once, run, some_rows
from tests.stores.conftest import Place
from tests.stores.edge import Edge, Loss, writes
from tests.stores.test_jobs import as_jsonl


def test_a_job_whose_every_write_is_answered_only_the_second_time_pays_once(
    emulator: Emulator, edge: Edge, edge_place: Place
) -> None:
    """The first try of each write is done and its answer is lost: the repeated one meets its own file."""
    seen: set[tuple[str, str]] = set()

    def rule(method: str, path: str) -> Loss | None:
        if not writes(method) or (method, path) in seen:
            return None
        seen.add((method, path))
        return Loss.ANSWER

    edge.rule = rule
    run(edge_place.request(some_rows(25)), edge_place.tools(emulator))
    assert len(seen) > 3
    edge.rule = None
    edge_place.check_table(some_rows(25))
    assert emulator.state()["batches_created"] == 3
    check_paid_once(emulator)


def test_a_source_that_stops_answering_while_it_is_read_is_worth_another_attempt(
    emulator: Emulator, edge: Edge, edge_place: Place
) -> None:
    source = edge_place.put("in.jsonl", as_jsonl(some_rows(5)))
    edge.rule = lambda method, path: Loss.REQUEST if method == "GET" and "in.jsonl" in path else None
    with pytest.raises(StorageError) as caught:
        run(edge_place.request(source), edge_place.tools(emulator))
    assert str(caught.value).startswith(f"{source}: cannot ")
    assert [call for call in emulator.calls() if call["method"] == "POST"] == []


class TestAConditionalWrite:
    @pytest.mark.parametrize("is_new", [True, False], ids=["create", "replace"])
    def test_that_was_done_and_never_answered_is_ours(self, edge: Edge, edge_place: Place, is_new: bool) -> None:
        target = edge_place.at("a.json")
        stored = None
        if not is_new:
            assert target.write_if(b"0", None)
            stored = target.read_stored()
        edge.rule = lambda method, path: Loss.ANSWER if writes(method) else None
        assert target.write_if(b"1", None if stored is None else stored.version)
        edge.rule = None
        assert target.read_or_none() == b"1"

    def test_that_never_arrived_is_an_error(self, edge: Edge, edge_place: Place) -> None:
        edge.rule = lambda method, path: Loss.REQUEST if writes(method) else None
        with pytest.raises(StorageError, match=r"a\.json: cannot write it"):
            edge_place.at("a.json").write_if(b"1", None)
        edge.rule = None
        assert edge_place.at("a.json").read_or_none() is None

    def test_that_is_not_answered_and_cannot_be_looked_up_is_an_error(self, edge: Edge, edge_place: Place) -> None:
        edge.rule = lambda method, path: Loss.ANSWER
        with pytest.raises(StorageError, match=r"a\.json: cannot write it"):
            edge_place.at("a.json").write_if(b"1", None)
        edge.rule = None
        assert edge_place.at("a.json").read_or_none() == b"1"
        assert not edge_place.at("a.json").write_if(b"2", None)


def test_a_part_whose_upload_failed_half_way_is_not_shown(
    emulator: Emulator, edge: Edge, edge_place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parts of some MB go in several requests; the wire is cut after the first."""
    monkeypatch.setattr("airflow_provider_batch.storage.stores.s3.PART_BYTES", 5 << 20)
    noise = random.Random(1)
    big = [{**row, "noise": noise.randbytes(3 << 19).hex()} for row in some_rows(10)]
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "{text}"}]}
    request, tools = edge_place.request(big, body=body), edge_place.tools(emulator)
    passed: list[str] = []

    def rule(method: str, path: str) -> Loss | None:
        if method not in ("PUT", "POST") or "part-" not in path:
            return None
        passed.append(path)
        return Loss.REQUEST if len(passed) > 1 or "uploadType=multipart" in path else None

    edge.rule = rule
    with pytest.raises(StorageError, match=r"cannot (write|move) it") as caught:
        run(request, tools)
    assert "continues from there" in str(caught.value)
    assert not [key for key in edge_place.keys("table") if key.startswith(("_manifest", "part-"))]
    edge.rule = None
    run(request, tools)
    edge_place.check_table(big)
    check_paid_once(emulator)
