"""
Which rows of a table become requests: filters, then a sample, then a limit.

Filters are written as in pyarrow: ``[("lang", "=", "de"), ("n", ">", 3)]`` means both conditions, a list of such lists
means any of them. As in SQL, only ``is null`` is true for a null: ``!=`` and ``not in`` leave nulls out. A value that
is text, as templates give it, is read as the type of the column; a text column that is compared with a number or a date
is read as that. A sample depends on row numbers alone, so that every attempt picks the same rows.
"""

from __future__ import annotations

import datetime as dt
import decimal
from array import array as numbers
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from airflow_provider_batch.arrow.arrays import GOLDEN_RATIO, mixed, unsigned
from airflow_provider_batch.arrow.values import without_encoding
from airflow_provider_batch.exceptions import ConfigurationError, SourceError
from airflow_provider_batch.sources.column_paths import Columns, columns_hint
from airflow_provider_batch.sources.row_chunk import SourceBatch

_COMPARE: Mapping[str, Callable[[Any, Any], Any]] = {
    "=": pc.equal,
    "!=": pc.not_equal,
    "<": pc.less,
    "<=": pc.less_equal,
    ">": pc.greater,
    ">=": pc.greater_equal,
}
_OPERATORS = (*_COMPARE, "in", "not in", "is null", "is not null")
_EXPECTED = "expected (column, operator, value), such as ('lang', '=', 'de')"
#: More values of `in` than this are looked up in a set instead of compared one by one.
_MANY = 16
#: Types of values that can be compared with a column.
_VALUES = (str, bool, int, float, decimal.Decimal, dt.datetime, dt.date, dt.time, dt.timedelta, bytes)


@dataclass(frozen=True)
class Condition:
    """
    One comparison of a filter.

    :param name: Column, or dotted path into a struct.
    :param operator: One of ``=``, ``!=``, ``<``, ``<=``, ``>``, ``>=``, ``in``, ``not in``, ``is null``, ``is not
        null``.
    :param values: One value; any number of values for ``in`` and ``not in``; none for ``is null`` and ``is not null``.
    """

    name: str
    operator: str
    values: tuple[Any, ...] = ()

    def __str__(self) -> str:
        listed = f" {list(self.values)!r}" if self.operator.endswith("in") else "".join(f" {v!r}" for v in self.values)
        return f"{self.name} {self.operator}{listed}"

    def mask(self, column: pa.Array) -> pa.Array:
        """
        Return a boolean array: for each value of a column, whether the condition is true.

        :param column: The column that the condition names.
        :raises ConfigurationError: The column's type cannot be compared with the condition's values.
        :raises pyarrow.ArrowInvalid: A text is not the number or date that it is compared with.
        """
        if self.operator == "is null":
            return pc.is_null(column)
        if self.operator == "is not null":
            return pc.is_valid(column)
        column = without_encoding(column)
        if pa.types.is_null(column.type):
            return pc.is_valid(column)
        column, scalars = self.comparable(column)
        try:
            found = self._compared(column, scalars)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
            raise self.incomparable(column.type) from error
        return pc.fill_null(found, False)

    def _compared(self, column: pa.Array, scalars: Sequence[pa.Scalar]) -> pa.Array:
        if self.operator in _COMPARE:
            return _COMPARE[self.operator](column, scalars[0])
        found = self._looked_up(column, scalars) if len(scalars) > _MANY else None
        if found is None:
            nothing = pc.and_(pc.is_null(column), pc.is_valid(column))
            found = reduce(pc.or_, (pc.equal(column, scalar) for scalar in scalars), nothing)
        return found if self.operator == "in" else pc.and_(pc.is_valid(column), pc.invert(found))

    def _looked_up(self, column: pa.Array, scalars: Sequence[pa.Scalar]) -> pa.Array | None:
        """Return whether each value is one of many; None where the column's type cannot hold all of them."""
        try:
            return pc.is_in(column, pa.array([scalar.as_py() for scalar in scalars], column.type))
        except (OverflowError, pa.ArrowInvalid, pa.ArrowTypeError):
            return None

    def comparable(self, column: pa.Array) -> tuple[pa.Array, list[pa.Scalar]]:
        """
        Return the column and the condition's values as types that can be compared.

        :param column: The column that the condition names.
        :raises ConfigurationError: The types cannot be compared.
        """
        kind = column.type
        if pa.types.is_nested(kind):
            raise self.incomparable(kind)
        if not is_text(kind):
            return column, [self._scalar(value, kind) for value in self.values]
        types = {type(value) for value in self.values}
        if types <= {str}:
            return column, [pa.scalar(value, kind) for value in self.values]
        try:
            found = _read_as(column, types)
        except pa.ArrowNotImplementedError as error:
            raise self.incomparable(kind) from error
        return found, [self._whole(one, found.type) if type(one) is int else pa.scalar(one) for one in self.values]

    def _scalar(self, value: Any, kind: pa.DataType) -> pa.Scalar:
        """Return a value in a type that can be compared with a column that is not text."""
        if type(value) is int or (type(value) is float and value.is_integer() and pa.types.is_integer(kind)):
            return self._whole(int(value), kind)
        if type(value) is not str:
            if (type(value) is bool) != pa.types.is_boolean(kind):
                raise self.incomparable(kind)
            return pa.scalar(value)
        text = pa.scalar(value)
        try:
            return pa.scalar(dt.time.fromisoformat(value), kind) if pa.types.is_time(kind) else text.cast(kind)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError) as error:
            if pa.types.is_timestamp(kind) and kind.tz is not None:
                return self._scalar_of(text, pa.timestamp(kind.unit), kind)
            raise self.incomparable(kind) from error

    def _whole(self, value: int, kind: pa.DataType) -> pa.Scalar:
        """Return a whole number in the column's type or 64 bits, or as a decimal where these are too small."""
        if pa.types.is_boolean(kind):
            raise self.incomparable(kind)
        try:
            with suppress(OverflowError, pa.ArrowInvalid):
                return pa.scalar(value, kind if pa.types.is_integer(kind) else pa.int64())
            return pa.scalar(decimal.Decimal(value))
        except pa.ArrowInvalid as error:
            raise self.incomparable(kind) from error

    def _scalar_of(self, text: pa.Scalar, *kinds: pa.DataType) -> pa.Scalar:
        """Return a time without a zone as a time in UTC."""
        try:
            return reduce(lambda value, kind: value.cast(kind), kinds, text)
        except pa.ArrowInvalid as error:
            raise self.incomparable(kinds[-1]) from error

    def incomparable(self, kind: pa.DataType) -> ConfigurationError:
        """
        Return the error for a column whose type cannot be compared with the values.

        :param kind: Type of the column.
        """
        return ConfigurationError(
            f"filters: {self}: expected a value that can be compared with column '{self.name}', which is {kind}."
        )


Groups = tuple[tuple[Condition, ...], ...]


@dataclass(frozen=True)
class Selection:
    """
    Which rows of a source are wanted.

    :param groups: A row is wanted if all conditions of any group are true; without groups all rows are.
    :param sample: Share of these rows, above 0 and below 1, picked by the hash of their numbers; None takes all.
    :param limit: Highest number of rows, counted after filters and sample; None means no limit.
    """

    groups: Groups = ()
    sample: float | None = None
    limit: int | None = None

    @classmethod
    def of(cls, filters: Any = None, sample: float | None = None, limit: int | None = None) -> Selection:
        """
        Return the selection that a user's arguments describe.

        :param filters: Conditions as tuples, or lists of them; None means all rows.
        :param sample: Share of the rows, above 0 and up to 1; None means all.
        :param limit: Highest number of rows; None means no limit.
        :raises ConfigurationError: An argument is not valid.
        """
        if limit is not None and limit < 0:
            raise ConfigurationError(f"limit: expected a number of rows, found {limit}.")
        if sample is not None and not 0 < sample <= 1:
            raise ConfigurationError(
                f"sample: expected a share of the rows above 0 and up to 1, found {sample}. For a count use limit."
            )
        return cls(_groups(filters), None if sample == 1 else sample, limit)

    @property
    def names(self) -> list[str]:
        """What the filters compare, each once."""
        return list(dict.fromkeys(condition.name for group in self.groups for condition in group))

    @property
    def takes_all(self) -> bool:
        """Whether every row is wanted, apart from the limit."""
        return not self.groups and self.sample is None

    def paths(self, columns: Columns) -> dict[str, tuple[str, ...]]:
        """
        Return the path for each name that the filters use.

        :param columns: Columns of the source.
        :raises ConfigurationError: A name is not a column.
        """
        found: dict[str, tuple[str, ...]] = {}
        for name in self.names:
            path = columns.find(name)
            if path is None:
                hint = columns_hint(name, columns.schema.names)
                raise ConfigurationError(f"filters: '{name}' is not a column. {hint}")
            found[name] = path
        return found

    def check(self, columns: Columns) -> None:
        """
        Try the filters on an empty column, so that a value of a wrong type is an error however few rows there are.

        :param columns: Columns of the source.
        :raises ConfigurationError: A name is not a column, or a value cannot be compared with its column.
        """
        for name, path in self.paths(columns).items():
            empty = pa.nulls(0, columns.type_of(path))
            for condition in (one for group in self.groups for one in group if one.name == name):
                condition.mask(empty)

    def picks(self, batch: SourceBatch, paths: Mapping[str, tuple[str, ...]]) -> Sequence[int]:
        """
        Return the indices of the wanted rows of a batch, in order; the limit is not applied.

        :param batch: Rows of the source.
        :param paths: Path for each name that the filters use.
        :raises SourceError: A value of a row cannot be compared.
        """
        picked: Sequence[int] = range(len(batch))
        if self.groups:
            masks = [reduce(pc.and_, (_mask(one, batch, paths[one.name]) for one in group)) for group in self.groups]
            picked = pc.indices_nonzero(reduce(pc.or_, masks)).to_pylist()
        if self.sample is not None and picked:
            rows = batch.row_numbers
            kept = _sampled([rows[index] for index in picked], self.sample)
            picked = [index for index, is_kept in zip(picked, kept, strict=True) if is_kept]
        return picked

    def without_columns(self, added: Collection[str]) -> Selection:
        """
        Return the selection without conditions on added columns, for a file whose partition keys fulfil these.

        :param added: Names of columns that are not in the file's content, such as partition keys.
        """
        groups = tuple(tuple(one for one in group if one.name not in added) for group in self.groups)
        return replace(self, groups=groups if all(groups) else ())

    def may_hold(self, is_possible: Callable[[Condition], bool]) -> bool:
        """
        Return whether a set of rows may contain wanted rows.

        :param is_possible: Says of a condition whether it may be true for any of the rows.
        """
        return not self.groups or any(all(map(is_possible, group)) for group in self.groups)


#: All rows.
ALL = Selection()


def is_text(kind: pa.DataType) -> bool:
    """
    Return whether a type is text.

    :param kind: Arrow type.
    """
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _mask(condition: Condition, batch: SourceBatch, path: tuple[str, ...]) -> pa.Array:
    if condition.values:
        _check_kinds(condition, batch, path)
    column = batch.array(path)
    try:
        return condition.mask(column)
    except pa.ArrowInvalid as error:
        for index in range(len(column)):
            try:
                condition.mask(column.slice(index, 1))
            except pa.ArrowInvalid:
                found = repr(column[index].as_py())
                problem = f"filters: {condition}: expected text of the same kind as the filter's value, found {found}."
                raise SourceError(problem, **batch.place(index), column=condition.name) from error
        raise


def _check_kinds(condition: Condition, batch: SourceBatch, path: tuple[str, ...]) -> None:
    """Raise SourceError where rows of JSON have values of different kinds, which no comparison can treat alike."""
    values = [] if batch.objects is None or path[0] in batch.added else batch.values(path)
    if len({float if kind is int else kind for kind in map(type, values)} - {type(None)}) <= 1:
        return
    kinds: dict[type, str] = {}
    for index, value in enumerate(values):
        kind = float if type(value) is int else type(value)
        if value is not None and kinds.setdefault(kind, repr(value)) and len(kinds) > 1:
            found = " and ".join(kinds.values())
            problem = f"filters: {condition}: expected values of one kind in this column, found {found}."
            raise SourceError(problem, **batch.place(index), column=condition.name)


def _read_as(column: pa.Array, types: set[type]) -> pa.Array:
    """Return a text column as numbers, dates or times; white space around the values is ignored."""
    texts = pc.utf8_trim_whitespace(column)
    if types == {int}:
        try:
            return texts.cast(pa.int64())
        except pa.ArrowInvalid:
            return texts.cast(pa.float64())
    kinds = {dt.date: pa.date32(), dt.datetime: pa.timestamp("us"), bool: pa.bool_(), dt.time: pa.time64("us")}
    return texts.cast(kinds.get(next(iter(types)), pa.float64()))


def _groups(filters: Any) -> Groups:
    if filters is None or (isinstance(filters, list | tuple) and not filters):
        return ()
    if not isinstance(filters, list | tuple):
        raise ConfigurationError(f"filters: {_EXPECTED}, in a list, found {filters!r}.")
    if all(isinstance(item, list | tuple) and item and isinstance(item[0], str) for item in filters):
        return (tuple(map(_condition, filters)),)
    if not all(isinstance(group, list | tuple) and group for group in filters):
        raise ConfigurationError(f"filters: {_EXPECTED}, in a list or in lists of them, found {filters!r}.")
    return tuple(tuple(map(_condition, group)) for group in filters)


def _condition(given: Any) -> Condition:
    if not isinstance(given, list | tuple) or not 2 <= len(given) <= 3 or not isinstance(given[0], str):
        raise ConfigurationError(f"filters: {_EXPECTED}, found {given!r}.")
    operator = {"==": "="}.get(given[1], given[1]) if isinstance(given[1], str) else given[1]
    if not isinstance(operator, str) or (operator := " ".join(operator.lower().split())) not in _OPERATORS:
        raise ConfigurationError(f"filters: expected one of {', '.join(_OPERATORS)}, found {given[1]!r} in {given!r}.")
    if operator.endswith("null"):
        if len(given) == 3 and given[2] is not None:
            raise ConfigurationError(f"filters: '{operator}' takes no value, found {given!r}.")
        return Condition(given[0], operator)
    if len(given) != 3:
        raise ConfigurationError(f"filters: {_EXPECTED}, found {given!r}.")
    return Condition(given[0], operator, _values(given, operator))


def _values(given: Sequence[Any], operator: str) -> tuple[Any, ...]:
    value = given[2]
    if operator in ("in", "not in"):
        if not isinstance(value, list | tuple | set | frozenset):
            raise ConfigurationError(f"filters: '{operator}' takes a list of values, found {given!r}.")
        values = tuple(sorted(value, key=repr) if isinstance(value, set | frozenset) else value)
    else:
        values = (value,)
    for one in values:
        if one is None:
            raise ConfigurationError(
                f"filters: no value equals null; write ({given[0]!r}, 'is null'), found {given!r}."
            )
        if not isinstance(one, _VALUES):
            raise ConfigurationError(f"filters: a column cannot be compared with a {type(one).__name__}: {given!r}.")
    if len({str if isinstance(one, str) else object for one in values}) > 1:
        raise ConfigurationError(f"filters: expected values of one kind, found {given!r}.")
    return values


def _sampled(rows: Iterable[int], share: float) -> list[bool]:
    """Return for each row number whether its hash (SplitMix64) lies within the share."""
    data = numbers("Q", rows)
    state = pa.Array.from_buffers(pa.uint64(), len(data), [None, pa.py_buffer(data)])
    hashes = mixed(pc.multiply(state, unsigned(GOLDEN_RATIO)))
    kept: list[bool] = pc.less(hashes, unsigned(int(share * (1 << 64)))).to_pylist()
    return kept
