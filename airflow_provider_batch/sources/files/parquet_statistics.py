"""Whether a filter can be true of any row of a row group, as the group's statistics say; in doubt it can."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa

from airflow_provider_batch.exceptions import ConfigurationError
from airflow_provider_batch.sources.filters import Condition

#: Operator → whether some value from the lowest to the highest can be on the right side of the given one.
_WITHIN: Mapping[str, Callable[[Any, Any, Any], bool]] = {
    "=": lambda low, high, value: low <= value <= high,
    "in": lambda low, high, value: low <= value <= high,
    "<": lambda low, high, value: operator.lt(low, value),
    "<=": lambda low, high, value: operator.le(low, value),
    ">": lambda low, high, value: operator.gt(high, value),
    ">=": lambda low, high, value: operator.ge(high, value),
}


def may_be_true(condition: Condition, statistics: Any, kind: pa.DataType, rows: int) -> bool:
    """
    Return False only where no row of the group can fulfil the condition.

    :param statistics: Of the column's chunk, as Parquet's footer holds them.
    :param kind: The column's type.
    :param rows: Of the row group.
    """
    nulls = statistics.null_count if statistics.has_null_count else None
    if condition.operator == "is null":
        return nulls is None or nulls > 0
    if nulls == rows:
        return False  # nothing but nulls, which no other condition holds for
    if condition.operator not in _WITHIN or not statistics.has_min_max:
        return True
    try:
        low, high = statistics.min, statistics.max
        _, values = condition.comparable(pa.nulls(0, kind))
        if low != low or high != high:
            return True  # some writers take NaN for the lowest or highest value
        if any(type(value.as_py()) is str for value in values) != isinstance(low, str):
            return True  # text that is compared as a number has another order
        return any(_WITHIN[condition.operator](low, high, value.as_py()) for value in values)
    except (TypeError, ValueError, OverflowError, pa.ArrowException, ConfigurationError):
        return True
