"""Arrow arrays laid out by hand are those that pyarrow makes."""

from __future__ import annotations

import subprocess
import sys
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_batch.answers.shared_values import LOGPROBS
from airflow_provider_batch.arrow.arrays import mask
from airflow_provider_batch.arrow.builders import Same, column, distinct, laid_out, same
from airflow_provider_batch.table.columns import DOLLARS, ENDPOINT_COLUMNS

TYPES = sorted(
    {column.type for columns in ENDPOINT_COLUMNS.values() for column in columns.values()} | {pa.int16(), pa.int64()},
    key=str,
)


def values_of(kind: Any) -> st.SearchStrategy[Any]:
    if pa.types.is_string(kind):
        made: st.SearchStrategy[Any] = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
    elif pa.types.is_boolean(kind):
        made = st.booleans()
    elif pa.types.is_floating(kind):
        made = st.floats(width=32, allow_nan=False)
    elif pa.types.is_integer(kind):
        made = st.integers(-(2**15), 2**15 - 1)
    elif pa.types.is_map(kind):
        made = st.lists(
            st.tuples(values_of(pa.string()).filter(lambda key: key is not None), values_of(kind.item_type)), max_size=3
        )
    elif pa.types.is_list(kind):
        made = st.lists(values_of(kind.value_type), max_size=3)
    else:
        made = st.fixed_dictionaries({field.name: values_of(field.type) for field in kind})
    return st.none() | made


@pytest.mark.parametrize("kind", TYPES, ids=str)
@settings(max_examples=20)
@given(data=st.data())
def test_every_type_of_the_schema_is_laid_out_as_pyarrow_does_it(kind: pa.DataType, data: st.DataObject) -> None:
    values = data.draw(st.lists(values_of(kind), max_size=9))
    array = laid_out(values, kind)
    array.validate(full=True)
    assert array.to_pylist() == pa.array(values, kind).to_pylist()
    assert array.type == kind


@pytest.mark.parametrize("kind", [kind for kind in TYPES if not pa.types.is_nested(kind)], ids=str)
@settings(max_examples=30)
@given(data=st.data())
def test_a_column_of_few_values_is_what_pyarrow_makes(kind: pa.DataType, data: st.DataObject) -> None:
    values = data.draw(st.lists(values_of(kind), min_size=1, max_size=2))
    values += values[:1] * data.draw(st.sampled_from([0, 1, 2, 5, 2047, 2049]))
    array = column(values, kind)
    array.validate(full=True)
    assert array.to_pylist() == pa.array(values, kind).to_pylist()


def test_decimals_are_given_as_their_last_digits() -> None:
    array = column([None, 0, 7, 10**18 - 1, -5], DOLLARS)
    array.validate(full=True)
    assert array.to_pylist() == [None, 0, Decimal("7e-12"), Decimal("999999.999999999999"), Decimal("-5e-12")]


def test_vectors_are_given_as_their_bytes() -> None:
    kind = pa.list_(pa.float32(), 2)
    one, two = b"\0\0\x80?\0\0\0@", b"\0\0\0\0\0\0\x80?"
    array = column([one, None, two], kind)
    array.validate(full=True)
    assert array.to_pylist() == [[1.0, 2.0], None, [0.0, 1.0]]
    nested = column([None, [one, two], [two]], pa.list_(kind))
    nested.validate(full=True)
    assert nested.to_pylist() == [None, [[1.0, 2.0], [0.0, 1.0]], [[0.0, 1.0]]]


def test_a_mask_has_a_bit_for_each_byte() -> None:
    assert mask(bytearray([1, 0, 1])).to_pylist() == [True, False, True]


def test_pandas_is_not_imported_for_a_column() -> None:
    """`pa.array` would import it: two seconds and 60 MB wherever it is installed."""
    code = (
        "import pyarrow, sys, types\n"
        "from airflow_provider_batch.arrow import builders\n"
        "builders.find_spec = lambda name: object()\n"
        "builders.pa = types.SimpleNamespace(**{k: v for k, v in vars(builders.pa).items() if k != 'array'})\n"
        "from airflow_provider_batch.answers.shared_values import LOGPROBS\n"
        "from airflow_provider_batch.answers.column import STRING\n"
        "assert builders.column(['a', None], STRING).to_pylist() == ['a', None]\n"
        "assert builders.column([None, [{'token': 'a', 'logprob': -1.0}]], LOGPROBS)[0].as_py() is None\n"
        "assert 'pandas' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_absent_fields_of_a_struct_are_null() -> None:
    array = laid_out([[{"token": "a"}]], LOGPROBS)
    assert array.to_pylist() == [[{"token": "a", "logprob": None, "top_logprobs": None}]]


@given(
    st.sampled_from([[None, 0, 1], [None, "a", "b" * 70], [1.5, 0.0, -0.0, None]]).flatmap(
        lambda kind: st.lists(st.sampled_from(kind), max_size=6)
    ),
    st.integers(0, 3),
)
def test_a_column_of_one_value_is_that_list(values: list[Any], more: int) -> None:
    values = values + values[-1:] * more
    found = same(values)
    assert list(map(repr, found)) == list(map(repr, values))
    assert len(found) == len(values)
    assert [found[at] for at in range(len(values))] == values
    assert list(found[1:]) == values[1:]
    assert found.count(None) == values.count(None)
    assert distinct(found) == set(values)


def test_only_a_column_of_one_value_is_kept_as_one() -> None:
    assert isinstance(same(["a"] * 3), Same)
    assert not isinstance(same(["a", "b", "a", "a", "a"]), Same)
    assert not isinstance(same([0.0, 0.0]), Same)
    assert str(column([0, -0.0, 0], pa.float64())[1]) == "-0.0"
    for kind in (pa.string(), pa.bool_(), pa.int64(), DOLLARS):
        value = {pa.string(): "x" * 99, pa.bool_(): True}.get(kind, 7)
        assert column(Same(value, 3000), kind).equals(column([value] * 3000, kind))
        assert column(Same(value, 3), kind).equals(column([value] * 3, kind))
