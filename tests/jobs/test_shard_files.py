"""The files of a shard: named by their content, and used only where they are what the ledger knows."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_batch.emulator.testing import Emulator
from airflow_provider_batch.exceptions import JobTakenError, OpenAIBatchError, StorageError
from airflow_provider_batch.jobs.opening import attempt
from airflow_provider_batch.jobs.opening.attempt import open_job
from airflow_provider_batch.jobs.shard_files import LINES, RETRY, ROWS, shard_key_of
from airflow_provider_batch.sources.query import Query
from tests.jobs.support import a_request, check_table, run, some_rows, step_until_waiting, table, tools_for


class Cursor:
    """Gives some rows as a database would."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.names = list(rows[0])
        self._left = [tuple(row.values()) for row in rows]

    def fetch(self, count: int) -> Sequence[Sequence[Any]]:
        given, self._left = self._left[:count], self._left[count:]
        return given


def a_query(*orders: list[dict[str, Any]]) -> Query:
    """A query whose rows come in another order each time."""
    due = list(orders)

    @contextmanager
    def runs() -> Iterator[Cursor]:
        yield Cursor(due.pop(0))

    return Query("select key, text from rows", "warehouse", runs)


def test_rows_of_a_slower_attempts_query_are_never_put_beside_a_faster_ones_answers(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Invariant 1: the slower attempt has its rows in another order, and writes them after the other has begun."""
    emulator.configure(progress="hold")
    rows, tools = some_rows(25), tools_for(emulator)
    request = a_request(tmp_path, a_query(rows[::-1], rows))
    publish, faster = attempt.publish_shard, []  # type: ignore[attr-defined]

    def overtaken(*args: Any) -> None:
        if not faster:
            faster.append(None)
            faster.append(step_until_waiting(request, tools))
        publish(*args)

    monkeypatch.setattr(attempt, "publish_shard", overtaken)
    with pytest.raises(JobTakenError):
        open_job(request, tools)
    emulator.configure(progress="immediate")
    job = faster[1]
    assert job is not None
    job.run()
    check_table(tmp_path, rows)
    asked = {row["key"]: row["text"] for row in rows}
    assert all(asked[key] == text for key, text in table(tmp_path, "key, input_text"))
    assert not [path for path in (tmp_path / "state").rglob("*") if shard_key_of(path.name)]


@pytest.mark.parametrize("ending", [LINES, ROWS])
def test_a_shard_that_is_not_the_ledgers_is_never_used_and_the_next_attempt_writes_it_again(
    emulator: Emulator, tmp_path: Path, ending: str
) -> None:
    rows, tools = some_rows(25), tools_for(emulator)
    request = a_request(tmp_path, rows)
    job = open_job(request, tools)
    _damage(tmp_path, f"r01-s00002-*{ending}")
    with pytest.raises(StorageError, match=r"not the shard that the ledger records.* The next attempt writes it again"):
        job.run()
    run(request, tools)
    check_table(tmp_path, rows)
    assert emulator.state()["batches_created"] == 3


def test_rows_for_another_round_that_are_not_the_ledgers_are_never_sent(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulator.fault(kind="http_error", status=503, custom_id="3", executions=1)
    plan = attempt.Job._act  # type: ignore[attr-defined]

    def damaged(self: Any, action: Any) -> None:
        if type(action).__name__ == "PlanRound":
            _damage(tmp_path, f"*{RETRY}")
        plan(self, action)

    monkeypatch.setattr(attempt.Job, "_act", damaged)  # type: ignore[attr-defined]
    with pytest.raises(StorageError, match="not the shard that the ledger records"):
        run(a_request(tmp_path, some_rows(5)), tools_for(emulator))
    assert emulator.state()["batches_created"] == 1
    assert list((tmp_path / "state").rglob(f"*{RETRY}"))


def test_shards_of_release_0_1_whose_names_say_nothing_of_their_content_are_used(
    emulator: Emulator, tmp_path: Path
) -> None:
    emulator.fault(kind="http_error", status=503, custom_id="1?", executions=1)
    rows, tools = some_rows(25), tools_for(emulator)
    request = a_request(tmp_path, rows)
    open_job(request, tools)
    for path in (tmp_path / "state").rglob("r01-*"):
        path.rename(path.with_name(f"{shard_key_of(path.name)}{path.suffix}"))
    run(request, tools)
    check_table(tmp_path, rows)
    assert not [path for path in (tmp_path / "state").rglob("*") if shard_key_of(path.name)]


def test_later_rounds_that_cannot_be_written_again_stop_the_landing_and_keep_everything(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Invariant 1: a round of other shards than the ledger's would lose rows."""
    emulator.fault(kind="http_error", status=503, custom_id="*[3-5]", executions=1)
    rows, tools = some_rows(20), tools_for(emulator)
    run(a_request(tmp_path, rows, keep_shards=True), tools)
    shutil.rmtree(tmp_path / "table")
    for path in (tmp_path / "state").rglob("r02-*"):
        path.unlink()
    with monkeypatch.context() as patch:
        patch.setattr("airflow_provider_batch.jobs.ledger.ledger.Ledger.cuts", lambda *_: [])
        with pytest.raises(OpenAIBatchError, match="the shards of round 2 were removed"):
            run(a_request(tmp_path, rows, spec={"max_shard_rows": 2}, keep_shards=True), tools)
    run(a_request(tmp_path, rows, spec={"max_shard_rows": 2}), tools)
    check_table(tmp_path, rows)


def _damage(tmp_path: Path, pattern: str) -> None:
    change: Callable[[bytes], bytes] = lambda data: data[:-20] + b"x" + data[-19:]  # noqa: E731
    for path in (tmp_path / "state").rglob(pattern):
        path.write_bytes(change(path.read_bytes()))
