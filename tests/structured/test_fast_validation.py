"""Fast validation accepts only what the schema accepts."""

from __future__ import annotations

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from airflow_provider_batch.structured.fast_validation import fast_validator

NODE: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}


def whole(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": {"f": schema}, "required": ["f"], "$defs": {"n": {"type": "integer"}}}


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"type": "string", "pattern": "^a"}, ["ab"], ["ba", 1]),
        ({"type": "string", "minLength": 2, "maxLength": 3}, ["ab", "😀😀😀"], ["a", "abcd"]),
        ({"type": "string", "format": "uuid"}, ["00000000-0000-4000-8000-00000000000A"], ["0", "x" * 36]),
        ({"type": "integer", "minimum": 1, "maximum": 3}, [1, 3], [0, 4, "1", True, None, 1.5]),
        ({"type": "integer", "exclusiveMinimum": 1, "exclusiveMaximum": 3}, [2], [1, 3]),
        ({"type": "number", "minimum": 0.5}, [1, 0.5], [0.4, "1", False]),
        ({"type": "boolean"}, [True], [1, "true", None]),
        (
            {"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 2},
            [[1, 2]],
            [[], [1, 2, 3], ["1"]],
        ),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, [{"x": 1}, {}], [{"x": "1"}, []]),
        ({**NODE, "additionalProperties": False}, [{"a": 1}], [{"a": 1, "b": 2}, {}, {"a": None}]),
        (NODE, [{"a": 1, "b": 2}], [{"b": 2}, [1]]),
        ({"anyOf": [NODE, {"type": "null"}]}, [None, {"a": 1}], [{}, 1]),
        ({"type": ["string", "null"]}, [None, ""], [1]),
        ({"$ref": "#/$defs/n"}, [1], ["1", None]),
        ({"enum": ["a", "b", None]}, ["a", None], ["c", 1]),
        ({"type": "string", "enum": ["a"]}, ["a"], ["b"]),
        ({"const": 3}, [3], [4, "3", True]),
    ],
)
def test_each_keyword_is_kept(schema: dict[str, Any], good: list[Any], bad: list[Any]) -> None:
    accepts = fast_validator(whole(schema))
    assert accepts is not None
    for value in good:
        assert accepts(json.dumps({"f": value}))
    for value in bad:
        assert "format" in schema or not Draft202012Validator(whole(schema)).is_valid({"f": value})
        assert not accepts(json.dumps({"f": value}))
    assert not accepts("{}")
    assert not accepts("no")


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array", "items": {"type": "string"}, "uniqueItems": True},
        {"type": "string", "format": "decimal"},
        {"type": "integer", "multipleOf": 3},
        {"type": "string", "not": {"const": "x"}},
        {"type": "integer", "minimum": 0.5},
        {"type": "integer", "enum": [1], "minimum": 2},
        {"type": "string", "enum": [1]},
        {"type": "string", "enum": ["a", None]},
        {"enum": [True]},
        {**NODE, "required": ["z"]},
        {**NODE, "minProperties": 2},
        {**NODE, "additionalProperties": {"type": "string"}},
        {"allOf": [NODE]},
        {"$ref": "#/$defs/n", "minimum": 3},
        {"anyOf": [{"const": "a"}, {"const": "b"}]},
        True,
    ],
)
def test_there_is_none_for_what_a_type_cannot_say(schema: Any) -> None:
    assert fast_validator(whole(schema)) is None


def test_there_is_none_for_a_schema_that_contains_itself() -> None:
    assert fast_validator({"type": "object", "properties": {"f": {"$ref": "#"}}}) is None
