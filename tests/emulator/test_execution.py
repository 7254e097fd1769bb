"""Execution by itself: what a kill between a write and its record leaves behind is cut off."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_batch.emulator.batches.engine import Engine
from airflow_provider_batch.emulator.batches.execution import Execution
from airflow_provider_batch.emulator.batches.store import Store
from airflow_provider_batch.emulator.batches.validation import LineIndex, validate_file
from airflow_provider_batch.emulator.faults import FaultRule
from airflow_provider_batch.emulator.records import BatchRecord
from airflow_provider_batch.emulator.settings import Settings
from tests.emulator.support import CHAT, as_file, chat_lines

LINES = 2_000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path)
    yield store
    store.close()


@pytest.fixture
def execution(store: Store) -> Execution:
    """An execution with one batch, `batch_1`, that is in progress."""
    execution = Execution(store)
    path = store.path_of("file-in")
    path.write_bytes(as_file(chat_lines(LINES)))
    found = validate_file(path, CHAT, Settings())
    LineIndex(found.offsets, "batch_1").save(execution.index_path("batch_1"))
    store.add_batch(
        BatchRecord(
            id="batch_1",
            endpoint=CHAT,
            input_file_id="file-in",
            completion_window="24h",
            created_at=0.0,
            expires_at=1e12,
            status="in_progress",
            in_progress_at=0.0,
            total=found.total,
            output_name="file-out",
            error_name="file-err",
        )
    )
    return execution


def batch_of(store: Store) -> BatchRecord:
    batch = store.batch("batch_1")
    assert batch is not None
    return batch


def read(store: Store, name: str) -> list[Any]:
    return [json.loads(raw) for raw in store.path_of(name).read_bytes().split(b"\n") if raw]


def test_what_was_written_and_not_recorded_is_cut_off(
    store: Store, execution: Execution, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.set_fault(FaultRule(kind="http_error", fraction=0.2))
    execution.run(batch_of(store), LINES, Settings())
    first = batch_of(store)
    assert 0 < first.done < LINES

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(store, "commit_lines", killed)
        with pytest.raises(KeyboardInterrupt):
            execution.run(batch_of(store), LINES, Settings())
    assert batch_of(store) == first
    assert store.path_of("file-out").stat().st_size > first.output_bytes
    assert store.path_of("file-err").stat().st_size > first.error_bytes
    after = Execution(store)
    while batch_of(store).done < LINES:
        after.run(batch_of(store), LINES, Settings())
    shown = [result["custom_id"] for name in ("file-out", "file-err") for result in read(store, name)]
    assert sorted(shown) == sorted(line["custom_id"] for line in chat_lines(LINES))
    assert store.execution_totals()["executed"] == LINES


def test_a_record_is_kept_whole_or_not_at_all(store: Store, execution: Execution) -> None:
    def failing(_: BatchRecord) -> None:
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        store.commit_lines("batch_1", [("r1", b"key", 1)], failing)
    assert store.execution_totals()["executed"] == 0


def test_the_rest_is_written_in_chunks_that_follow_each_other(store: Store, execution: Execution) -> None:
    execution.run(batch_of(store), 100, Settings())
    answered = batch_of(store).done  # fewer than 100 where the time of a chunk is over before
    assert 0 < answered <= 100
    store.update("batch_1", lambda record: setattr(record, "ending", "expired"))
    while batch_of(store).done < LINES:
        execution.write_rest(batch_of(store), Settings())
    assert (len(read(store, "file-out")), len(read(store, "file-err"))) == (answered, LINES - answered)
    assert batch_of(store).failed == 0


def test_a_paused_engine_begins_nothing(store: Store, execution: Execution) -> None:
    engine = Engine(store, Settings)
    engine.start()
    try:
        with engine.paused(10):
            before = batch_of(store)
            engine.wake("batch_1")
            assert not engine.wait_until_settled("batch_1", 0.2)
            assert batch_of(store) == before
        assert engine.wait_until_settled("batch_1", 20)
        assert batch_of(store).status == "completed"
    finally:
        engine.stop()
