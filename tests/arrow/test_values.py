"""The stated forms of values: as text inside a string, as JSON alone."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from airflow_provider_batch.arrow.values import is_number_without_json, python_values, to_json, to_text

FORMS = [
    # Arrow array of one value, text inside a string, JSON alone
    (pa.array(['a"b\n']), 'a"b\n', '"a\\"b\\n"'),
    (pa.array(["x"]).dictionary_encode(), "x", '"x"'),
    (pa.array([7], pa.int8()), "7", "7"),
    (pa.array([2**63], pa.uint64()), "9223372036854775808", "9223372036854775808"),
    (pa.array([0.1]), "0.1", "0.1"),
    (pa.array([1.0]), "1.0", "1.0"),
    (pa.array([True]), "true", "true"),
    (pa.array([Decimal("1.50")]), "1.50", "1.50"),
    (pa.array([Decimal("0.00000001")]), "0.00000001", None),
    (pa.array([dt.date(2026, 1, 2)]), "2026-01-02", '"2026-01-02"'),
    (pa.array([dt.time(3, 4, 5)]), "03:04:05", '"03:04:05"'),
    (pa.array([dt.datetime(2026, 1, 2, 3, 4, 5, 6)], pa.timestamp("us")), "2026-01-02T03:04:05.000006", None),
    (pa.array([1_000_001], pa.timestamp("ns")), "1970-01-01T00:00:00.001000", '"1970-01-01T00:00:00.001000"'),
    (pa.array([0], pa.timestamp("s", "UTC")), "1970-01-01T00:00:00Z", '"1970-01-01T00:00:00Z"'),
    (pa.array([b"\x00\xff"]), "AP8=", '"AP8="'),
    (pa.array([b"ab"], pa.binary(2)), "YWI=", '"YWI="'),
    (pa.array([[1, None]]), "[1,null]", "[1,null]"),
    (pa.array([{"a": [1], "b": None}]), '{"a":[1],"b":null}', '{"a":[1],"b":null}'),
    (pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())), '{"k":1}', '{"k":1}'),
    (pa.array([[[("k", 1)]]], pa.list_(pa.map_(pa.string(), pa.int64()))), '[{"k":1}]', '[{"k":1}]'),
    (pa.array([[(1, "v")]], pa.map_(pa.int64(), pa.string())), '{"1":"v"}', '{"1":"v"}'),
    (pa.array([{"t": [5]}], pa.struct([("t", pa.list_(pa.timestamp("ns")))])), None, '{"t":["1970-01-01T00:00:00"]}'),
    (pa.array(["é日"], pa.large_string()), "é日", '"é日"'),
]


@pytest.mark.parametrize(("array", "text", "alone"), FORMS, ids=[str(array.type) for array, _, _ in FORMS])
def test_a_value_has_its_stated_forms(array: pa.Array, text: str | None, alone: str | None) -> None:
    (value,) = python_values(array)
    if text is not None:
        assert to_text(value) == text
    if alone is not None:
        assert to_json(value).decode() == alone
    json.loads(to_json(value))


@pytest.mark.parametrize("array", [array for array, _, _ in FORMS], ids=[str(array.type) for array, _, _ in FORMS])
def test_null_of_every_type_is_none(array: pa.Array) -> None:
    assert python_values(pa.nulls(1, array.type)) == [None]


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1.0, False), (float("nan"), True), (Decimal("NaN"), True), ([{"a": (1, float("inf"))}], True), ("nan", False)],
)
def test_a_number_without_a_json_form_is_found_at_any_depth(value: Any, expected: bool) -> None:
    assert is_number_without_json(value) is expected
