"""The typed decoder and the lenient path agree; the lenient path reads any line that a server writes."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_batch.answers.by_endpoint import FORMATS
from airflow_provider_batch.api.endpoints import Endpoint
from airflow_provider_batch.results.line_reader import LineReader
from airflow_provider_batch.results.lines import typed_lines
from airflow_provider_batch.results.lines.lenient_path import read_as
from airflow_provider_batch.table.schema import TableSpec
from tests.results.recorded import LINES

SHAPES: dict[Endpoint, Any] = {endpoint: form.body for endpoint, form in FORMATS.items()}

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.integers()
    | st.floats()
    | st.sampled_from(["", "12", "12.0", "1e400", "nan", "true", "null", "{}", "AAAAAA==", "length", "\ud83d", "é"])
    | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=5,
)


#: Building a large strategy is slow once; a loaded machine is slow at any time.
QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def members(kind: Any) -> list[Any]:
    return [one for one in kind.types if not isinstance(one, msgspec.inspect.NoneType)]


def like(kind: Any, wild: bool) -> st.SearchStrategy[Any]:
    """Return JSON of the shape of a type; where it is wild, with anything in any place."""
    inspect = msgspec.inspect
    if isinstance(kind, inspect.UnionType):
        made = st.one_of(st.none(), *[like(one, wild) for one in members(kind)])
    elif isinstance(kind, inspect.StructType):
        made = st.fixed_dictionaries({}, optional={f.encode_name: like(f.type, wild) for f in kind.fields})
    elif isinstance(kind, inspect.ListType):
        made = st.lists(like(kind.item_type, wild), max_size=2)
    elif isinstance(kind, inspect.DictType):
        made = st.dictionaries(st.text(max_size=2), like(kind.value_type, wild), max_size=2)
    elif isinstance(kind, inspect.IntType):
        made = st.integers(kind.ge or 0, kind.le)
    elif isinstance(kind, inspect.FloatType):
        made = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-9, 9)
    elif isinstance(kind, inspect.BoolType):
        made = st.booleans()
    elif isinstance(kind, inspect.BytesType):
        made = st.sampled_from(["", "AACAPw==", "AACAPwAAgD8="])
    else:
        made = st.text(max_size=4) | st.sampled_from(["length", "stop", "completed", "incomplete", "failed", "refusal"])
    return made | JSON if wild else made


@cache
def lines_like(endpoint: Endpoint, *, wild: bool) -> st.SearchStrategy[bytes]:
    kind = msgspec.inspect.type_info(typed_lines.Line[SHAPES[endpoint]])  # type: ignore[misc]
    made = like(kind, wild).filter(lambda value: isinstance(value, dict))
    return made.map(lambda value: json.dumps(value).encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize("endpoint", SHAPES, ids=lambda endpoint: endpoint.value)
@QUICK
@given(data=st.data())
def test_both_readers_give_equal_structs_for_what_the_typed_one_accepts(
    endpoint: Endpoint, data: st.DataObject
) -> None:
    shape = typed_lines.Line[SHAPES[endpoint]]  # type: ignore[misc]
    raw = data.draw(lines_like(endpoint, wild=data.draw(st.booleans())))
    try:
        typed = msgspec.json.decode(raw, type=shape)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return
    assert typed == read_as(raw, shape)


@pytest.mark.parametrize("endpoint", SHAPES, ids=lambda endpoint: endpoint.value)
@QUICK
@given(data=st.data())
def test_both_readers_make_the_same_row_of_any_line(endpoint: Endpoint, data: st.DataObject) -> None:
    raw = data.draw(lines_like(endpoint, wild=True))
    reader = LineReader(TableSpec(endpoint, raw="all", embedding_size=1))
    row, lenient = reader.read(raw), reader.read_leniently(raw)
    assert row == lenient
    if row.values is not None:
        assert len(row.values) == reader.width


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(LINES), st.data())
def test_a_damaged_line_is_still_a_row(case: Any, data: st.DataObject) -> None:
    """Invariant 10: an unreadable line is a failed row that shows the line."""
    at = data.draw(st.integers(0, len(case.line)))
    damage = data.draw(st.binary(max_size=3))
    removed = data.draw(st.integers(0, 3))
    raw = case.line[:at] + damage + case.line[at + removed :]
    row = LineReader(TableSpec(case.endpoint, embedding_size=3)).read(raw)
    assert row.status in {"succeeded", "failed", "expired", "cancelled", "refused", "truncated"}
    assert row.status == "succeeded" or row.error_code


@given(st.binary(max_size=40))
def test_any_bytes_are_a_row(raw: bytes) -> None:
    row = LineReader(TableSpec(Endpoint.CHAT_COMPLETIONS)).read(raw)
    assert row.status == "failed"
