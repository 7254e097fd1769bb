"""Landing with a response model: what is valid is a struct, what is not is a row that says why."""

from __future__ import annotations

import datetime
import json
import re
import tempfile
from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest import mock

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import AliasChoices, BaseModel, Field, computed_field, field_serializer, field_validator

from airflow_provider_batch.api.endpoints import Endpoint
from airflow_provider_batch.arrow import builders
from airflow_provider_batch.emulator.answers.schemas import value_for
from airflow_provider_batch.structured.column_type import ParsedColumn
from airflow_provider_batch.structured.fast_validation import fast_validator
from airflow_provider_batch.structured.response_model import ResponseModel
from airflow_provider_batch.structured.strict_mode import loose_form
from airflow_provider_batch.structured.validation import answer_parser
from airflow_provider_batch.table.schema import TableSpec, result_columns
from tests.results.recorded import message, response_body
from tests.results.support import Landed, chat_body, chat_choice, land, success
from tests.structured.schemas import Kind, models, spoil


class Line(BaseModel):
    sku: str
    price: Decimal = Field(max_digits=8, decimal_places=2)


class Order(BaseModel):
    day: datetime.date
    at: datetime.datetime | None = None
    lines: list[Line]
    note: str = "none"

    @field_validator("note")
    @classmethod
    def _plain(cls, note: str) -> str:
        if note == "crash":
            raise KeyError("a defect of the model")
        return note.lower()


GOOD = {"day": "2026-01-31", "lines": [{"sku": "a", "price": "1.50"}], "at": "2026-01-31T12:00:00+02:00", "note": "HI"}
SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer"}, "day": {"type": "string", "format": "date"}},
    "required": ["n"],
}


def spec_for(model: Any, endpoint: Endpoint = Endpoint.CHAT_COMPLETIONS, **changes: Any) -> TableSpec:
    return TableSpec(endpoint, parsed=ParsedColumn.of(ResponseModel.of(model)), **changes)


def land_texts(folder: Path, model: Any, texts: list[str | None], **changes: Any) -> Landed:
    ids = [f"r{number}" for number in range(len(texts))]
    lines = [success(name, chat_body(text)) for name, text in zip(ids, texts, strict=True)]
    return land(folder, ids, lines, spec=spec_for(model, **changes))


class TestAClass:
    def test_judges_and_its_instance_is_what_lands(self, tmp_path: Path) -> None:
        (row,) = land_texts(tmp_path, Order, [json.dumps(GOOD)]).rows
        assert (row["status"], row["error_code"]) == ("succeeded", None)
        assert row["parsed"] == {
            "day": datetime.date(2026, 1, 31),
            "at": datetime.datetime(2026, 1, 31, 10, tzinfo=datetime.UTC),
            "lines": [{"sku": "a", "price": Decimal("1.50")}],
            "note": "hi",
        }

    @pytest.mark.parametrize(
        ("text", "code", "message"),
        [
            ("Sorry, no.", "not_json", "Invalid JSON"),
            (
                json.dumps({**GOOD, "lines": [{"sku": "a", "price": "x"}]}),
                "schema_mismatch",
                r"lines\[0\].price: .*found 'x'",
            ),
            (json.dumps({**GOOD, "day": None}), "schema_mismatch", "day: .*found None"),
            (json.dumps({**GOOD, "note": "crash"}), "schema_mismatch", "the model's own code raised KeyError"),
            ('{"day": "2026-01-31", "lines": [], "note": "\\ud83d"}', "not_json", "Invalid JSON"),
            (None, "no_text", "has no text"),
        ],
    )
    def test_leaves_a_row_that_says_what_is_wrong_with_its_text(
        self, tmp_path: Path, text: str | None, code: str, message: str
    ) -> None:
        (row,) = land_texts(tmp_path, Order, [text]).rows
        assert (row["status"], row["error_code"], row["text"], row["parsed"]) == ("invalid_output", code, text, None)
        assert re.search(message, row["error_message"])
        assert row["response"] is not None
        assert row["input_tokens"] == 20
        assert row["cost_usd"] is not None

    @pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
    def test_a_number_that_is_none_is_no_success(self, tmp_path: Path, number: str) -> None:
        class Measured(BaseModel):
            x: float

        (row,) = land_texts(tmp_path, Measured, [f'{{"x": {number}}}']).rows
        assert (row["status"], row["parsed"]) == ("invalid_output", None)

    def test_with_other_names_for_reading_lands_under_those_that_were_asked_for(self, tmp_path: Path) -> None:
        class Aliased(BaseModel):
            a: int = Field(alias="one")
            b: int = Field(validation_alias=AliasChoices("two", "deux"), serialization_alias="three")

        (row,) = land_texts(tmp_path, Aliased, ['{"one": 1, "two": 2}']).rows
        assert row["parsed"] == {"one": 1, "two": 2}

    def test_that_writes_other_types_than_it_reads_lands_what_the_text_says(self, tmp_path: Path) -> None:
        class Written(BaseModel):
            a: int

            @field_serializer("a")
            def _as_text(self, a: int) -> str:
                return f"<{a}>"

        class Computed(BaseModel):
            a: int

            @computed_field
            def twice(self) -> int:
                return 2 * self.a

        assert land_texts(tmp_path, Written, ['{"a": 1}']).rows[0]["parsed"] == {"a": 1}
        assert land_texts(tmp_path, Computed, ['{"a": 1}']).rows[0]["parsed"] == {"a": 1}

    @pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 10**30])
    def test_a_number_beyond_64_bits_is_no_success(self, tmp_path: Path, number: int) -> None:
        class Counted(BaseModel):
            n: int

        (row,) = land_texts(tmp_path, Counted, [f'{{"n": {number}}}']).rows
        assert (row["status"], row["error_code"]) == ("invalid_output", "value_out_of_range")
        assert row["error_message"].startswith("n: expected a whole number of at most 64 bits, found ")

    def test_that_makes_a_number_of_thousands_of_digits_costs_no_other_row(self, tmp_path: Path) -> None:
        """Python cannot write such a number in an error message."""

        class Grown(BaseModel):
            x: int

            @field_validator("x")
            @classmethod
            def _grow(cls, x: int) -> int:
                return 10**5000 if x else x

        bad, good = land_texts(tmp_path, Grown, ['{"x": 1}', '{"x": 0}']).rows
        assert (bad["status"], bad["error_code"]) == ("invalid_output", "value_out_of_range")
        assert "found a int of very many digits" in bad["error_message"]
        assert good["parsed"] == {"x": 0}


class TestASchema:
    @pytest.mark.parametrize(
        ("text", "code", "message"),
        [
            ('{"n": 1', "not_json", "the text is not JSON"),
            ('{"n": NaN}', "not_json", "NaN is not a JSON number"),
            ('{"n": "1"}', "schema_mismatch", "n: '1' is not of type 'integer'"),
            ("{}", "schema_mismatch", "'n' is a required property"),
            ('{"n": 1, "day": "2026-02-30"}', "schema_mismatch", "day: '2026-02-30' is not a 'date'"),
            ('{"n": 1e30}', "value_out_of_range", "n: expected a whole number of at most 64 bits"),
            ('{"n": 1e999}', "schema_mismatch", "n: inf is not of type 'integer'"),
            ("[" * 100_000, "not_json", "nested too deeply"),
        ],
    )
    def test_judges_where_there_is_no_class(self, tmp_path: Path, text: str, code: str, message: str) -> None:
        (row,) = land_texts(tmp_path, SCHEMA, [text]).rows
        assert (row["status"], row["error_code"], row["parsed"]) == ("invalid_output", code, None)
        assert message in row["error_message"]

    def test_takes_what_json_schema_takes(self, tmp_path: Path) -> None:
        rows = land_texts(tmp_path, SCHEMA, ['{"n": 1.0, "more": 2}', '\n{"n": 2, "day": "2026-02-28"} ']).rows
        assert [row["parsed"] for row in rows] == [
            {"n": 1, "day": None},
            {"n": 2, "day": datetime.date(2026, 2, 28)},
        ]

    def test_a_lone_surrogate_is_no_success(self, tmp_path: Path) -> None:
        schema = {"type": "object", "additionalProperties": {"type": "string"}}
        whole = {"type": "object", "properties": {"m": schema}}
        rows = land_texts(tmp_path, whole, ['{"m": {"a": "\\ud83d"}}', '{"m": {"\\ud83d": "a"}}', '{"m": 1}']).rows
        assert [row["status"] for row in rows] == ["invalid_output"] * 3


class TestTheTable:
    def test_the_column_stands_before_the_response_and_in_every_part(self, tmp_path: Path) -> None:
        names = list(result_columns(spec_for(SCHEMA)))
        assert names[-3:] == ["choices", "parsed", "response"]
        landed = land_texts(tmp_path, Order, ["no", "no"])
        assert [row["parsed"] for row in landed.rows] == [None, None]
        assert land_texts(tmp_path, SCHEMA, ["no"], raw="none").rows[0]["response"] is None

    def test_an_input_column_of_that_name_lands_beside_it(self, tmp_path: Path) -> None:
        lines = [success("a", chat_body('{"n": 1}'))]
        (row,) = land(tmp_path, ["a"], lines, spec=spec_for(SCHEMA), carried=[{"parsed": "mine"}]).rows
        assert (row["input_parsed"], row["parsed"]) == ("mine", {"n": 1, "day": None})

    def test_refused_and_truncated_rows_stay_what_they_are(self, tmp_path: Path) -> None:
        cut = chat_body(choices=[chat_choice('{"n": 1}', "length")])
        refused = chat_body(choices=[chat_choice(None, refusal="No.")])
        rows = land(tmp_path, ["a", "b"], [success("a", cut), success("b", refused)], spec=spec_for(SCHEMA)).rows
        assert [(row["status"], row["parsed"]) for row in rows] == [("truncated", None), ("refused", None)]

    def test_the_first_of_several_choices_is_parsed(self, tmp_path: Path) -> None:
        body = chat_body(choices=[chat_choice('{"n": 1}'), chat_choice("no", index=1)])
        (row,) = land(tmp_path, ["a"], [success("a", body)], spec=spec_for(SCHEMA)).rows
        assert (row["status"], row["parsed"]["n"]) == ("succeeded", 1)
        assert [choice["text"] for choice in row["choices"]] == ['{"n": 1}', "no"]

    def test_commentary_before_the_answer_is_not_parsed(self, tmp_path: Path) -> None:
        body = response_body(output=[message("I look it up.", "commentary"), message('{"n": 1}', "final_answer")])
        spec = spec_for(SCHEMA, Endpoint.RESPONSES)
        (row,) = land(tmp_path, ["a"], [success("a", body)], spec=spec).rows
        assert (row["status"], row["parsed"]["n"], row["reasoning"]) == ("succeeded", 1, "I look it up.")

    def test_sql_reads_into_it(self, tmp_path: Path) -> None:
        part = land_texts(tmp_path, Order, [json.dumps(GOOD), "no"]).part
        found = duckdb.sql(
            f"select parsed.day + 1, parsed.lines[1].price * 2, parsed.at from '{part}' where parsed is not null"
        ).fetchall()
        assert found[0][:2] == (datetime.date(2026, 2, 1), Decimal("3.00"))

    def test_is_the_same_when_pandas_was_imported_before(self, tmp_path: Path) -> None:
        """Arrow reads lists of Python values by another way then."""
        texts = [json.dumps(GOOD), json.dumps(GOOD), "no"]
        with building_arrays(by_arrow=True):
            by_arrow = land_texts(tmp_path, Order, texts).rows
        with building_arrays(by_arrow=False):
            assert land_texts(tmp_path, Order, texts).rows == by_arrow


def building_arrays(*, by_arrow: bool) -> Any:
    """Let Arrow read lists of Python values, or lay them out as is done where pandas is installed."""
    return mock.patch.object(builders, "_pandas_costs_nothing", return_value=by_arrow)


QUICK = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


@QUICK
@given(st.data())
def test_valid_answers_of_any_schema_read_back_equal(data: st.DataObject) -> None:
    kind = data.draw(models)
    pairs = data.draw(st.lists(kind.pairs, min_size=1, max_size=4))
    with tempfile.TemporaryDirectory() as folder, building_arrays(by_arrow=data.draw(st.booleans())):
        landed = land_texts(Path(folder), kind.schema, [json.dumps(value) for value, _ in pairs])
    assert [(row["status"], row["error_message"]) for row in landed.rows] == [("succeeded", None)] * len(pairs)
    assert [row["parsed"] for row in landed.rows] == [expected for _, expected in pairs]


@QUICK
@given(st.data())
def test_broken_answers_of_any_schema_land_too(data: st.DataObject) -> None:
    """Invariant 1."""
    kind = data.draw(models)
    values = [value for value, _ in data.draw(st.lists(kind.pairs, min_size=1, max_size=4))]
    texts = [json.dumps(data.draw(st.composite(spoil)(value))) for value in values]
    texts = [text[: len(text) // 2] if data.draw(st.booleans()) else text for text in texts]
    with tempfile.TemporaryDirectory() as folder, building_arrays(by_arrow=data.draw(st.booleans())):
        landed = land_texts(Path(folder), kind.schema, [*texts, *map(json.dumps, values)])
    statuses = [row["status"] for row in landed.rows]
    assert set(statuses) <= {"succeeded", "invalid_output"}
    assert statuses[len(texts) :] == ["succeeded"] * len(values)
    assert all((row["parsed"] is None) == (row["status"] != "succeeded") for row in landed.rows)


@QUICK
@given(st.data())
def test_the_shortcut_accepts_nothing_that_the_schema_does_not(data: st.DataObject) -> None:
    kind = data.draw(models)
    accepts = fast_validator(kind.schema)
    if accepts is None:
        return
    value, _ = data.draw(kind.pairs)
    assert accepts(json.dumps(value))
    spoilt = data.draw(st.composite(spoil)(value))
    if accepts(json.dumps(spoilt)):
        Draft202012Validator(kind.schema).validate(spoilt)


@QUICK
@given(models, st.text(max_size=5))
def test_what_the_emulator_answers_to_any_schema_is_valid(kind: Kind, seed: str) -> None:
    model = ResponseModel.of(kind.schema)
    answer = value_for(loose_form(kind.schema), prompt="What?", answer="Some text.", seed=seed)
    assert answer_parser(model, ParsedColumn.of(model).shape)(json.dumps(answer)) is not None
