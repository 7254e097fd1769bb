"""What a schema becomes in the table, and what has no place there."""

from __future__ import annotations

import datetime
import uuid
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Annotated, Any, Literal, Optional

import pyarrow as pa
import pytest
from pydantic import BaseModel, Field, RootModel

from airflow_provider_batch.exceptions import ConfigurationError
from airflow_provider_batch.structured.column_type import ParsedColumn
from airflow_provider_batch.structured.response_model import ResponseModel


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Inner(BaseModel):
    a: int


def type_of(annotation: Any) -> pa.DataType:
    """The type of a Pydantic model's one field."""
    made = type("Model", (BaseModel,), {"__annotations__": {"field": annotation}})
    return ParsedColumn.of(ResponseModel.of(made)).type.field("field").type


UTC_TIME = pa.timestamp("us", tz="UTC")


@pytest.mark.parametrize(
    ("annotation", "kind"),
    [
        (str, pa.string()),
        (int, pa.int64()),
        (float, pa.float64()),
        (bool, pa.bool_()),
        (int | float, pa.float64()),
        (Optional[int], pa.int64()),  # noqa: UP045
        (datetime.date, pa.date32()),
        (datetime.datetime, UTC_TIME),
        (datetime.time, pa.time64("us")),
        (datetime.timedelta, pa.string()),
        (uuid.UUID, pa.string()),
        (bytes, pa.string()),
        (Decimal, pa.string()),
        (Annotated[Decimal, Field(max_digits=12, decimal_places=3)], pa.decimal128(12, 3)),
        (Annotated[Decimal, Field(max_digits=12, decimal_places=3)] | None, pa.decimal128(12, 3)),
        (Annotated[Decimal, Field(max_digits=60, decimal_places=3)], pa.string()),
        (Literal["a", "b"], pa.string()),
        (Literal["a", None], pa.string()),
        (Literal[1], pa.int64()),
        (Literal[True], pa.bool_()),
        (Colour, pa.string()),
        (Colour | None, pa.string()),
        (Level, pa.int64()),
        (list[int], pa.list_(pa.int64())),
        (set[str], pa.list_(pa.string())),
        (tuple[float, float], pa.list_(pa.float64())),
        (tuple[float, int], pa.list_(pa.float64())),
        (list[list[datetime.date | None]], pa.list_(pa.list_(pa.date32()))),
        (dict[str, int], pa.map_(pa.string(), pa.int64())),
        (
            dict[Annotated[str, Field(pattern="^x")], list[Inner]],
            pa.map_(pa.string(), pa.list_(pa.struct([("a", pa.int64())]))),
        ),
        (Inner, pa.struct([("a", pa.int64())])),
        (Annotated[Inner, Field(description="said")] | None, pa.struct([("a", pa.int64())])),
        (RootModel[list[int]], pa.list_(pa.int64())),
    ],
)
def test_a_python_type_has_its_arrow_type(annotation: Any, kind: pa.DataType) -> None:
    assert type_of(annotation) == kind


@pytest.mark.parametrize(
    ("schema", "kind"),
    [
        ({"type": ["string", "null"], "format": "date"}, pa.date32()),
        ({"type": ["integer", "number"]}, pa.float64()),
        ({"allOf": [{"type": "string"}], "minLength": 2}, pa.string()),
        ({"$ref": "#/$defs/a~1b", "description": "x"}, pa.string()),
        ({"oneOf": [{"type": "integer"}, {"type": "null"}]}, pa.int64()),
        ({"anyOf": [{"const": "a"}, {"const": "b"}]}, pa.string()),
        ({"enum": [1, 2.5]}, pa.float64()),
        ({"type": "number", "enum": [1, 2]}, pa.float64()),
        ({"properties": {"a": {"type": "string"}}}, pa.struct([("a", pa.string())])),
        ({"type": "object", "patternProperties": {"^a": {"type": "integer"}}}, pa.map_(pa.string(), pa.int64())),
    ],
)
def test_a_schema_has_its_arrow_type(schema: dict[str, Any], kind: pa.DataType) -> None:
    whole = {"type": "object", "properties": {"f": schema}, "$defs": {"a/b": {"type": "string"}}}
    assert ParsedColumn.of(ResponseModel.of(whole)).type.field("f").type == kind


class Tree(BaseModel):
    name: str
    children: list[Tree] = []


class Deep(BaseModel):
    items: list[Annotated[dict[str, int | str], Field()]]


class TestWhatHasNoType:
    @pytest.mark.parametrize(
        ("annotation", "place", "message"),
        [
            (Any, "field", "any value is allowed here"),
            (object, "field", "any value is allowed here"),
            (int | str, "field", "it is integer or string"),
            (Inner | None | list[int], "field", "it is an object or a list"),
            (list[Any], r"field\[\]", "any value"),
            (list[int | bool], r"field\[\]", "it is integer or boolean"),
            (dict[str, Any], "field", "object without members"),
            (Tree, r"field.children\[\]", "the model contains itself"),
            (Deep, r"field.items\[\]\{\}", "it is integer or string"),
            (tuple[int, str], r"field\[\]", "integer or string"),
            (None, "field", "always null"),
            (Literal[1, "a"], "field", "integer or string"),
        ],
    )
    def test_is_named_with_its_place_and_the_way_out(self, annotation: Any, place: str, message: str) -> None:
        with pytest.raises(ConfigurationError, match=rf"^response_model: Model\.{place}: .*{message}.*\. [A-Z]"):
            type_of(annotation)

    @pytest.mark.parametrize(
        ("schema", "message"),
        [
            (
                {"type": "array", "items": {"type": "string"}},
                "response: an answer must be an object, and this is a list",
            ),
            ({"type": "object"}, "response: an object without members"),
            ({}, "response: any value"),
            ({"type": "object", "additionalProperties": {"type": "string"}}, "this is a map"),
            (
                {"type": "object", "properties": {"a": {"$ref": "#/$defs/none"}}},
                "response.a: #/.defs/none is not defined",
            ),
            ({"type": "object", "properties": {"a": {"$ref": "http://x/y"}}}, "is not defined"),
            ({"type": "object", "properties": {"a": {"enum": [[1]]}}}, "response.a: an enum holds lists"),
            ({"type": "object", "properties": {"a": True}}, "response.a: any value"),
            (
                {
                    "allOf": [
                        {"type": "object", "properties": {"a": {"type": "string"}}},
                        {"properties": {"b": {"type": "string"}}},
                    ]
                },
                "allOf joins",
            ),
        ],
    )
    def test_in_a_schema_likewise(self, schema: dict[str, Any], message: str) -> None:
        with pytest.raises(ConfigurationError, match=message):
            ParsedColumn.of(ResponseModel.of(schema))
