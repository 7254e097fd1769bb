"""Whether a filter can be true for any row of a row group, by the group's statistics; in doubt it can."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa

from airflow_provider_batch.exceptions import ConfigurationError
from airflow_provider_batch.sources.filters import Condition

#: Operator → whether a value between the lowest and the highest can fulfil the comparison with a given value.
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
    Return False only where no row of the row group can fulfil the condition.

    :param condition: Condition of a filter.
    :param statistics: Statistics of the column in this row group, from the footer.
    :param kind: Type of the column.
    :param rows: Number of rows of the row group.
    """
    nulls = statistics.null_count if statistics.has_null_count else None
    if condition.operator == "is null":
        return nulls is None or nulls > 0
    if nulls == rows:
        return False  # only nulls, for which every other condition is false
    if condition.operator not in _WITHIN or not statistics.has_min_max:
        return True
    try:
        low, high = statistics.min, statistics.max
        _, values = condition.comparable(pa.nulls(0, kind))
        if low != low or high != high:
            return True  # some writers store NaN as the lowest or highest value
        if any(type(value.as_py()) is str for value in values) != isinstance(low, str):
            return True  # text that is compared as a number has another order than its statistics
        return any(_WITHIN[condition.operator](low, high, value.as_py()) for value in values)
    except (TypeError, ValueError, OverflowError, pa.ArrowException, ConfigurationError):
        return True
