"""Batch objects of servers that take liberties."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_batch.api.objects import Batch, FileError

NOON = datetime(2026, 11, 22, 10, tzinfo=UTC).timestamp()
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(10**400),
    lambda one: st.lists(one, max_size=2) | st.dictionaries(st.text(max_size=3), one, max_size=2),
    max_leaves=4,
)
#: A Batch object with every member that is read.
WHOLE: dict[str, Any] = {
    "id": "batch_1",
    "status": "failed",
    "endpoint": "/v1/responses",
    "input_file_id": "file-1",
    "output_file_id": "file-2",
    "error_file_id": "file-3",
    "model": "m",
    "created_at": 1_800_000_000,
    "in_progress_at": 1_800_000_001,
    "finalizing_at": 1_800_000_002,
    "expires_at": 1_800_000_003,
    "request_counts": {"total": 3, "completed": 2, "failed": 1},
    "errors": {"object": "list", "data": [{"code": "c", "message": "m", "param": "p", "line": 7}]},
    "metadata": {"a": "b"},
}
#: Member of the JSON → what of the read object it makes.
MADE_OF = {"request_counts": ("total", "completed", "failed")}


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        (1_800_000_000, 1.8e9),
        (1.5, 1.5),
        ("1800000000", 1.8e9),
        (1_800_000_000_000, 1.8e9),
        ("2026-11-22T10:00:00Z", NOON),
        ("2026-11-22T11:00:00.000+01:00", NOON),
        ("2026-11-22 10:00:00", NOON),
        *(
            (nothing, None)
            for nothing in (0, -1, None, "", "soon", "2026-11-22", True, [], {}, 10**400, "9" * 400, float("nan"))
        ),
    ],
)
def test_a_time_is_read_in_any_form_and_what_is_none_is_not_known(sent: Any, read: float | None) -> None:
    """What waits reckons with times: an odd one among them must not end it."""
    times = dict.fromkeys(("created_at", "in_progress_at", "finalizing_at", "expires_at"), sent)
    batch = Batch.from_api({"id": "b", "status": "in_progress", **times})
    assert [batch.created_at, batch.in_progress_at, batch.finalizing_at, batch.expires_at] == [read] * 4


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        ("No good.", [FileError("", "No good.")]),
        (["No good.", 7, None], [FileError("", "No good.")]),
        ({"code": "c", "message": "m"}, [FileError("c", "m")]),
        ({"data": {"code": 7, "message": ["m"], "line": "3"}}, [FileError("7", '["m"]', line=3)]),
        ([{"message": "m", "line": 2.0, "param": 5}, {}], [FileError("", "m", "5", 2)]),
        ({"data": [{"code": "c", "line": line} for line in (0, -1, "x", None, True)]}, [FileError("c", "")] * 5),
        *((nothing, []) for nothing in (None, [], {}, "", 7, True, {"data": None})),
    ],
)
def test_why_a_file_was_refused_is_read_in_any_form(sent: Any, read: list[FileError]) -> None:
    assert list(Batch.from_api({"id": "b", "status": "failed", "errors": sent}).errors) == read
    if isinstance(sent, str):
        assert list(Batch.from_api({"id": "b", "status": "failed", "error": sent}).errors) == read


@pytest.mark.parametrize(
    ("sent", "read"), [("7", 7), (7.0, 7), *((nothing, 0) for nothing in (None, -1, "x", True, [], float("inf")))]
)
def test_counts_are_read_in_any_form_and_are_0_where_there_are_none(sent: Any, read: int) -> None:
    batch = Batch.from_api({"id": 5, "status": "COMPLETED", "request_counts": dict.fromkeys(("total", "failed"), sent)})
    assert (batch.id, batch.status, batch.total, batch.completed, batch.failed) == ("5", "completed", read, 0, read)


@given(name=st.sampled_from([name for name in WHOLE if name != "id"]), value=JSON)
def test_one_member_that_cannot_be_read_hides_no_other(name: str, value: Any) -> None:
    whole, read = Batch.from_api(WHOLE), Batch.from_api({**WHOLE, name: value})
    touched = MADE_OF.get(name, (name,))
    for field in Batch.__dataclass_fields__:
        if field not in touched:
            assert getattr(read, field) == getattr(whole, field)
