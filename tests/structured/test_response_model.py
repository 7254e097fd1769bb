"""A response model becomes the directive of a request, strict where the API takes it so."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import pytest
from jsonschema import Draft202012Validator
from openai.lib._pydantic import to_strict_json_schema
from pydantic import BaseModel, ConfigDict, Field

from airflow_provider_batch.api.endpoints import Endpoint
from airflow_provider_batch.exceptions import ConfigurationError
from airflow_provider_batch.structured.response_format import directive
from airflow_provider_batch.structured.response_model import ResponseModel, load_response_model
from airflow_provider_batch.structured.strict_mode import strict_problem


def nested(levels: int) -> dict[str, Any]:
    inner = {"type": "string"} if levels == 0 else nested(levels - 1)
    return {"type": "object", "properties": {"a": inner}, "required": ["a"], "additionalProperties": False}


class Line(BaseModel):
    sku: str
    amount: int = 1


class Order(BaseModel):
    """What somebody ordered."""

    kind: Literal["order", "return"]
    day: date | None = None
    first: Line = Field(description="The first line.")
    lines: list[Line] = []


CLOSED = {
    "type": "object",
    "title": "A thing!",
    "properties": {"a": {"type": ["string", "null"]}, "b": {"enum": ["x", "y"]}},
    "required": ["a", "b"],
    "additionalProperties": False,
}


class TestAClass:
    def test_becomes_strict_as_the_official_sdk_makes_it_but_for_defaults(self) -> None:
        model = ResponseModel.of(Order)
        assert model.not_strict is None
        theirs = to_strict_json_schema(Order)
        theirs["$defs"]["Line"]["properties"]["amount"].pop("default", None)
        theirs["properties"]["first"]["properties"]["amount"].pop("default", None)
        theirs["properties"]["lines"].pop("default")
        assert model.asked == theirs

    def test_keeps_every_value_that_its_strict_form_allows(self) -> None:
        value = {"kind": "order", "day": None, "first": {"sku": "s", "amount": 2}, "lines": []}
        Draft202012Validator(ResponseModel.of(Order).asked).validate(value)
        assert Order.model_validate(value).first.amount == 2

    def test_tells_the_model_what_strict_mode_cannot_hold_it_to(self) -> None:
        class Short(BaseModel):
            code: str = Field(min_length=2, max_length=4, description="A code.")
            tags: set[str]
            link: str = Field(json_schema_extra={"format": "uri"})
            where: tuple[float, float]

        model = ResponseModel.of(Short)
        assert model.not_strict is None
        fields = model.asked["properties"]
        assert fields["code"]["description"] == "A code. (maxLength: 4, minLength: 2)"
        assert "uniqueItems" not in fields["tags"]
        assert "format" not in fields["link"]
        assert (fields["where"]["items"], fields["where"]["minItems"]) == ({"type": "number"}, 2)
        assert model.schema["properties"]["code"]["minLength"] == 2

    def test_asks_for_decimals_as_text_whose_pattern_tells_their_digits(self) -> None:
        class Priced(BaseModel):
            price: Decimal = Field(max_digits=8, decimal_places=2)
            any: Decimal | None

        fields = ResponseModel.of(Priced).asked["properties"]
        assert (fields["price"]["type"], fields["price"]["pattern"]) == ("string", r"^-?[0-9]{1,6}(\.[0-9]{1,2})?$")
        assert fields["any"]["anyOf"][0] == {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]+)?$"}
        assert ResponseModel.of(Priced).not_strict is None

    @pytest.mark.parametrize(
        ("field", "reason"),
        [
            (dict[str, int], "additionalProperties"),
            (Any, "has no type"),
        ],
    )
    def test_is_not_strict_where_that_would_change_its_meaning(self, field: Any, reason: str) -> None:
        made = type("Made", (BaseModel,), {"__annotations__": {"field": field}})
        model = ResponseModel.of(made)
        assert model.not_strict is not None
        assert reason in model.not_strict
        assert model.asked == model.schema

    def test_that_keeps_more_members_is_not_closed(self) -> None:
        class Open(BaseModel):
            model_config = ConfigDict(extra="allow")
            a: int

        assert ResponseModel.of(Open).not_strict == "the top: additionalProperties is not false"

    def test_with_a_look_around_in_a_pattern_is_not_strict(self) -> None:
        class Looking(BaseModel):
            a: str = Field(json_schema_extra={"pattern": "^(?!x)"})

        assert "look-around" in str(ResponseModel.of(Looking).not_strict)

    def test_with_a_union_of_objects_is_not_strict(self) -> None:
        """The API refuses objects that begin with the same member."""

        class Cat(BaseModel):
            kind: Literal["cat"]

        class Dog(BaseModel):
            kind: Literal["dog"]

        made = type("Made", (BaseModel,), {"__annotations__": {"pet": Cat | Dog}})
        assert "pet: a union of objects" in str(ResponseModel.of(made).not_strict)

    def test_gives_the_directive_its_name_in_the_apis_letters(self) -> None:
        made = type("Größe[Tier]", (BaseModel,), {"__annotations__": {"a": int}})
        assert ResponseModel.of(made).name == "Gr_e_Tier"

    def test_without_a_json_form_says_so(self) -> None:
        class Callback(BaseModel):
            model_config = ConfigDict(arbitrary_types_allowed=True)
            a: slice

        with pytest.raises(ConfigurationError, match="Callback has no JSON Schema"):
            ResponseModel.of(Callback)


class TestADictionary:
    def test_is_sent_as_it_is(self) -> None:
        model = ResponseModel.of(CLOSED)
        assert (model.asked, model.not_strict, model.name) == (CLOSED, None, "A_thing")

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"required": ["a"]}, "not all members are required"),
            ({"additionalProperties": True}, "additionalProperties"),
            (
                {"properties": {"a": {"type": "string", "minLength": 1}, "b": {"type": "string"}}},
                "a: strict mode does not take",
            ),
            ({"properties": {"a": {"type": "string", "format": "uri"}, "b": {"type": "string"}}}, "the format 'uri'"),
            ({"properties": {"a": {"type": "array"}, "b": {"type": "string"}}}, "a list has no items"),
            ({"properties": {"a": {"type": "string", "default": "x"}, "b": {"type": "string"}}}, "default"),
            ({"allOf": [{"required": ["a"]}]}, "allOf"),
            (
                {
                    "properties": {"a": {"$ref": "#/$defs/x", "title": "A"}, "b": {"const": 1}},
                    "$defs": {"x": {"type": "null"}},
                },
                "a: a $ref is beside other keywords",
            ),
            ({"properties": {"a": {"enum": list(range(1_001))}, "b": {"type": "string"}}}, "1,001 enum values"),
            ({"properties": {"a": {"enum": [f"{n:099}" for n in range(251)]}, "b": {"type": "null"}}}, "15,000"),
        ],
    )
    def test_outside_of_strict_mode_is_sent_without_it_and_unchanged(
        self, changes: dict[str, Any], reason: str
    ) -> None:
        model = ResponseModel.of({**CLOSED, **changes})
        assert reason in str(model.not_strict)
        assert model.asked == {**CLOSED, **changes}

    def test_with_too_many_levels_is_not_strict(self) -> None:
        assert strict_problem(nested(9)) is None
        assert strict_problem(nested(10)) == "11 levels, and strict mode takes 10"
        behind = {f"d{n}": {**nested(0), "properties": {"a": {"$ref": f"#/$defs/d{n + 1}"}}} for n in range(9)}
        whole = {**nested(0), "properties": {"a": {"$ref": "#/$defs/d0"}}, "$defs": {**behind, "d9": nested(0)}}
        assert strict_problem(whole) == "11 levels, and strict mode takes 10"

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({"type": "objekt"}, "not a valid JSON Schema at type"),
            ({"type": "object", "properties": {"a": {"type": "string", "pattern": "("}}}, "pattern"),
            ({"type": "object", "default": float("nan")}, "no JSON form"),
            ({"type": "object", "title": "\ud83d"}, "no JSON form"),
            ({"type": "object", "default": object()}, "no JSON form"),
            ({"type": "object", "not": {"$ref": "#/$defs/none"}}, "response: #/.defs/none is not defined"),
            (
                {"type": "object", "properties": {"a": {"if": {"$ref": "http://127.0.0.1:9/a"}}}},
                "response.a: http://127.0.0.1:9/a is not defined",
            ),
            (nested(300), "nested too deeply"),
            ("Order", "found str"),
            (Line(sku="s"), "Give the class itself"),
            (int, "found type"),
        ],
    )
    def test_or_anything_else_that_is_no_schema_is_refused(self, given: Any, message: str) -> None:
        with pytest.raises(ConfigurationError, match=message):
            ResponseModel.of(given)


class TestTheDirective:
    def test_of_a_schema_whose_values_look_like_references(self) -> None:
        schema = {"properties": {"$ref": {"type": "string"}, "a": {"$ref": "#/$defs/a%20b"}}}
        schema |= {"$defs": {"a b": {"enum": ["x"], "examples": [{"$ref": "nowhere"}]}}}
        assert ResponseModel.of(schema).schema == schema

    def test_of_chat_and_of_responses(self) -> None:
        model = ResponseModel.of(CLOSED)
        form = {"name": "A_thing", "strict": True, "schema": CLOSED}
        chat = directive(Endpoint.CHAT_COMPLETIONS, model, {})
        assert chat == {"response_format": {"type": "json_schema", "json_schema": form}}
        responses = directive(Endpoint.RESPONSES, model, {"text": {"verbosity": "low"}})
        assert responses == {"text": {"format": {"type": "json_schema", **form}}}

    def test_is_the_users_own_where_rows_are_request_lines(self) -> None:
        assert directive(Endpoint.RESPONSES, ResponseModel.of(CLOSED), None) == {}

    @pytest.mark.parametrize(
        ("endpoint", "body", "message"),
        [
            (Endpoint.EMBEDDINGS, {}, "/v1/embeddings has none"),
            (Endpoint.COMPLETIONS, None, "/v1/completions has none"),
            (Endpoint.CHAT_COMPLETIONS, {"response_format": {"type": "text"}}, "'response_format' too"),
            (Endpoint.RESPONSES, {"text": {"format": {"type": "text"}}}, "'text.format' too"),
            (Endpoint.RESPONSES, {"text": "{column}"}, "expects an object as 'text'"),
        ],
    )
    def test_is_refused_where_it_has_no_place(self, endpoint: Endpoint, body: Any, message: str) -> None:
        with pytest.raises(ConfigurationError, match=message):
            directive(endpoint, ResponseModel.of(CLOSED), body)


class TestOnTheCommandLine:
    def test_a_file_or_a_class_is_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "schema.json").write_text(json.dumps(CLOSED))
        assert load_response_model(str(tmp_path / "schema.json")).schema == CLOSED
        (tmp_path / "my_models_here.py").write_text(
            "from pydantic import BaseModel\nclass A:\n    class B(BaseModel):\n        x: int\n"
        )
        monkeypatch.chdir(tmp_path)
        assert load_response_model("my_models_here:A.B").name == "B"

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("nowhere.json", "nowhere.json cannot be read"),
            ("{tmp}/broken.json", "expected a JSON Schema"),
            ("no_such_module_here:A", "no_such_module_here cannot be imported"),
            ("json:Nothing", "json has no Nothing"),
        ],
    )
    def test_what_is_not_there_is_named(self, tmp_path: Path, text: str, message: str) -> None:
        (tmp_path / "broken.json").write_text("{")
        with pytest.raises(ConfigurationError, match=message):
            load_response_model(text.replace("{tmp}", str(tmp_path)))
