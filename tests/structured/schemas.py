"""JSON Schemas at random, with values that satisfy them and what these are in the table."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

#: Text that has a UTF-8 form.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
UTC = datetime.UTC


@dataclass(frozen=True)
class Kind:
    """A schema, and pairs of a JSON value that satisfies it and the value that is read back."""

    schema: dict[str, Any]
    pairs: st.SearchStrategy[tuple[Any, Any]]


def _same(values: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, Any]]:
    return values.map(lambda value: (value, value))


def _moment(moment: datetime.datetime) -> tuple[str, Any]:
    return moment.isoformat().replace("+00:00", "Z"), moment.replace(tzinfo=moment.tzinfo or UTC)


_MOMENTS = st.datetimes(timezones=st.sampled_from([None, UTC]))
_INT64 = st.integers(-(2**63), 2**63 - 1)

_LEAVES = [
    Kind({"type": "string"}, _same(texts)),
    Kind({"type": "string", "minLength": 1, "maxLength": 3}, _same(st.text("aé😀", min_size=1, max_size=3))),
    Kind({"type": "string", "pattern": "^[ab]+$"}, _same(st.text("ab", min_size=1, max_size=5))),
    Kind({"type": "string", "format": "uuid"}, _same(st.uuids().map(str))),
    Kind({"type": "string", "format": "date"}, st.dates().map(lambda day: (day.isoformat(), day))),
    Kind({"type": "string", "format": "date-time"}, _MOMENTS.map(_moment)),
    Kind({"type": "string", "format": "time"}, st.times().map(lambda time: (time.isoformat(), time))),
    Kind({"type": "integer"}, _same(_INT64)),
    Kind({"type": "integer", "minimum": 1, "exclusiveMaximum": 9}, _same(st.integers(1, 8))),
    Kind({"type": "integer", "multipleOf": 3}, _same(st.integers(-9, 9).map(lambda n: 3 * n))),
    Kind({"type": "number"}, _same(st.floats(allow_nan=False, allow_infinity=False))),
    Kind({"type": "number", "minimum": 0}, st.integers(0, 2**53).map(lambda n: (n, float(n)))),
    Kind({"type": "boolean"}, _same(st.booleans())),
    Kind({"enum": ["red", "blue", ""]}, _same(st.sampled_from(["red", "blue", ""]))),
    Kind({"type": "integer", "enum": [3, 5]}, _same(st.sampled_from([3, 5]))),
    Kind({"const": "only"}, _same(st.just("only"))),
    Kind(
        {"type": ["string", "number"], "format": "decimal", "maxDigits": 30, "decimalPlaces": 2},
        st.decimals(-(10**20), 10**20, places=2).map(lambda number: (str(number), number)),
    ),
    Kind({"type": "string", "format": "decimal"}, st.integers().map(lambda n: (f"{n}.50", f"{n}.50"))),
]


def _optional(kind: Kind) -> Kind:
    return Kind({"anyOf": [kind.schema, {"type": "null"}]}, st.just((None, None)) | kind.pairs)


def _list(kind: Kind) -> Kind:
    pairs = st.lists(kind.pairs, max_size=3).map(lambda found: ([a for a, _ in found], [b for _, b in found]))
    return Kind({"type": "array", "items": kind.schema, "maxItems": 3}, pairs)


def _map(kind: Kind) -> Kind:
    pairs = st.dictionaries(texts, kind.pairs, max_size=3).map(
        lambda found: ({k: a for k, (a, _) in found.items()}, [(k, b) for k, (_, b) in found.items()])
    )
    return Kind({"type": "object", "additionalProperties": kind.schema}, pairs)


@st.composite
def _objects(draw: st.DrawFn, inner: st.SearchStrategy[Kind]) -> Kind:
    kinds = draw(st.dictionaries(texts, inner, min_size=1, max_size=4))
    required = draw(st.lists(st.sampled_from(sorted(kinds)), unique=True))
    optional = {name: kind.pairs for name, kind in kinds.items() if name not in required}
    pairs = st.fixed_dictionaries({name: kinds[name].pairs for name in required}, optional=optional).map(
        lambda found: (
            {name: a for name, (a, _) in found.items()},
            {name: found[name][1] if name in found else None for name in kinds},
        )
    )
    closed = {"additionalProperties": False} if draw(st.booleans()) else {}
    properties = {name: kind.schema for name, kind in kinds.items()}
    return Kind({"type": "object", "properties": properties, "required": required, **closed}, pairs)


_ANY: st.SearchStrategy[Kind] = st.recursive(
    st.sampled_from(_LEAVES),
    lambda inner: inner.map(_optional) | inner.map(_list) | inner.map(_map) | _objects(inner),
    max_leaves=6,
)
#: Whole response models.
models = _objects(_ANY)

#: Any JSON value, and some that are none.
junk = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**40), 10**40)
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["2026-02-30", "2026-01-31T25:00:00Z", "9999-12-31T23:59:59-14:00", "\ud83d", "x", "1e400"])
    | st.decimals(allow_nan=False, allow_infinity=False).map(lambda number: str(Decimal(number))),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


def spoil(draw: st.DrawFn, value: Any) -> Any:
    """Return a JSON value in which one place holds something else."""
    if isinstance(value, dict) and value and draw(st.booleans()):
        name = draw(st.sampled_from(sorted(value)))
        return {**value, name: spoil(draw, value[name])}
    if isinstance(value, list) and value and draw(st.booleans()):
        return [spoil(draw, value[0]), *value[1:]]
    return draw(junk)
