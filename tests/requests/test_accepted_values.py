"""What an endpoint does not take is found before anything is sent, with row, column and what to write instead."""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import json
import uuid
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_batch.api.endpoints import Endpoint
from airflow_provider_batch.arrow.values import to_json
from airflow_provider_batch.exceptions import InputError, TemplateError
from airflow_provider_batch.requests.accepted_values import FILE, KINDS, accepted, misfit
from airflow_provider_batch.requests.prepare import RequestSpec, prepare
from airflow_provider_batch.requests.templates.conversions import FORMS
from airflow_provider_batch.sources.open_source import open_source
from tests.requests.sdk_types import PARAMETERS, table

CHAT = Endpoint.CHAT_COMPLETIONS


def lines(folder: Path, source: Any, body: Any, endpoint: Endpoint = CHAT, **more: Any) -> list[Any]:
    """Return the bodies of the request lines."""
    found: list[Any] = []
    prepare(
        open_source(source),
        RequestSpec(endpoint, body, **more),
        folder / "out",
        lambda shard: found.extend(json.loads(line)["body"] for line in shard.lines.read_bytes().splitlines()),
    )
    return found


def chat(content: Any, role: str = "user", **more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": role, "content": content}], **more}


def test_the_table_is_what_the_types_of_the_sdk_say() -> None:
    """After an upgrade of the SDK: `python -m tests.requests.sdk_types` renews it."""
    known = f"openai=={importlib.metadata.version('openai')}"
    if known not in Path("constraints.txt").read_text().split():
        pytest.skip("made of the types of another version")
    assert msgspec.json.decode(FILE.read_bytes()) == json.loads(msgspec.json.encode(table()))
    assert set(PARAMETERS) == set(Endpoint)


#: For each endpoint a body with what it takes: (name, value that it does not take, what the message says).
GOOD: dict[Endpoint, tuple[dict[str, Any], str, Any, str]] = {
    Endpoint.RESPONSES: (
        {"model": "m", "input": [{"role": "user", "content": "{x}"}], "temperature": 0.5, "metadata": {"a": "b"}},
        "temperature",
        "0.5",
        "expected a number",
    ),
    CHAT: (chat("{x}", max_tokens=5, stop=["a"], logit_bias={"5": 0.5}), "max_tokens", "5", "expected a whole number"),
    Endpoint.EMBEDDINGS: (
        {"model": "m", "input": ["{x}"], "dimensions": 5},
        "dimensions",
        5.5,
        "expected a whole number",
    ),
    Endpoint.COMPLETIONS: ({"model": "m", "prompt": "{x}", "echo": True}, "echo", "true", "expected true or false"),
    Endpoint.MODERATIONS: ({"input": [{"type": "text", "text": "{x}"}]}, "input", [5], "expected text or an object"),
    Endpoint.IMAGES_GENERATIONS: ({"prompt": "{x}", "n": 2, "size": "auto"}, "size", 1024, "expected text"),
    Endpoint.IMAGES_EDITS: (
        {"prompt": "{x}", "images": [{"file_id": "f"}], "n": 1},
        "n",
        "one",
        "expected a whole number",
    ),
    Endpoint.VIDEOS: ({"prompt": "{x}", "seconds": "4"}, "seconds", 4, "expected text"),
}


@pytest.mark.parametrize("endpoint", Endpoint)
class TestEveryEndpoint:
    def test_takes_what_it_takes_and_members_that_nobody_knows(self, tmp_path: Path, endpoint: Endpoint) -> None:
        body = {**GOOD[endpoint][0], "vendor_member": {"a": [None, 5, {"b": True}]}}
        assert len(lines(tmp_path, [{"x": "a"}, {"x": "b"}], body, endpoint)) == 2
        everything = dict.fromkeys(("new_1", "new_2"), "{v}")
        rows = [{"x": "a", "v": 5}, {"x": "b", "v": [None]}]
        assert lines(tmp_path, rows, {**GOOD[endpoint][0], **everything}, endpoint)[1]["new_1"] == [None]

    def test_refuses_a_value_of_the_template(self, tmp_path: Path, endpoint: Endpoint) -> None:
        body, name, value, expected = GOOD[endpoint]
        with pytest.raises(TemplateError, match=rf"body\.{name}.*: {expected}.*, found "):
            lines(tmp_path, [{"x": "a"}], {**body, name: value}, endpoint)

    def test_refuses_a_value_of_a_row(self, tmp_path: Path, endpoint: Endpoint) -> None:
        body, name, value, expected = GOOD[endpoint]
        rows = [{"x": "a", "v": body[name]}, {"x": "b", "v": value}]
        with pytest.raises(InputError, match=rf"row 1, column 'v': {expected}.* as '{name}"):
            lines(tmp_path, rows, {**body, name: "{v}", "user": "{x}"}, endpoint)

    def test_refuses_a_value_of_a_ready_made_line(self, tmp_path: Path, endpoint: Endpoint) -> None:
        body, name, value, expected = GOOD[endpoint]
        rows = [
            {"custom_id": str(n), "method": "POST", "url": endpoint.value, "body": {**body, **change}}
            for n, change in enumerate([{}, {name: value}])
        ]
        assert len(lines(tmp_path, rows[:1], None, endpoint)) == 1
        with pytest.raises(InputError, match=rf"row 1, column 'body': {expected}.* as 'body\.{name}"):
            lines(tmp_path, rows, None, endpoint)


class TestContents:
    @pytest.mark.parametrize("value", [5, 0.5, True, {"a": 1}, None, [5], [{"type": "text", "text": 5}]])
    def test_of_a_message_are_text_or_an_array(self, tmp_path: Path, value: Any) -> None:
        with pytest.raises(InputError, match=r"row 1, column 'v': expected .* as 'messages\[0\]\.content"):
            lines(tmp_path, [{"v": "x"}, {"v": value}], chat("{v}"))
        with pytest.raises(TemplateError, match=r"body\.messages\[0\]\.content.*: expected "):
            lines(tmp_path, [{"v": "x"}], chat(value, user="{v}"))

    @pytest.mark.parametrize("role", ["assistant", "{role}"])
    def test_may_be_null_only_of_an_assistant_that_calls_tools(self, tmp_path: Path, role: str) -> None:
        call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        rows = [{"v": None, "calls": [call], "role": "assistant"}]
        message = {"role": role, "content": "{v}"}
        called = {"model": "m", "messages": [{**message, "tool_calls": "{calls}"}]}
        assert lines(tmp_path, rows, called)[0]["messages"][0]["content"] is None
        with pytest.raises(
            InputError, match=r"row 0, column 'v': expected text or an array as 'messages\[0\].content'"
        ):
            lines(tmp_path, rows, {"model": "m", "messages": [message]})

    def test_of_a_conversation_may_be_null_only_where_the_message_calls_tools(self, tmp_path: Path) -> None:
        call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        good = [{"role": "assistant", "content": None, "tool_calls": [call]}, {"role": "user", "content": "a"}]
        assert lines(tmp_path, [{"v": good}], {"model": "m", "messages": "{v}"})
        for role in ("assistant", "user"):
            bad = [{"role": role, "content": None, "tool_calls": None}]
            with pytest.raises(InputError, match=r"expected text or an array as 'messages\[0\].content', found null"):
                lines(tmp_path, [{"v": bad}], {"model": "m", "messages": "{v}"})

    def test_of_a_role_that_nobody_knows_may_be_anything(self, tmp_path: Path) -> None:
        assert lines(tmp_path, [{"v": 5}], chat("{v}", "oracle"))[0]["messages"][0]["content"] == 5

    @pytest.mark.parametrize("column", [pa.array([1, 2]), pa.array([True, False]), pa.array([None, None], pa.string())])
    def test_are_told_by_the_type_of_a_column(self, tmp_path: Path, column: pa.Array) -> None:
        pq.write_table(pa.table({"v": column}), tmp_path / "a.parquet")
        with pytest.raises(InputError, match=r"a\.parquet, row 0, column 'v': expected text or an array as 'messages"):
            lines(tmp_path, str(tmp_path / "a.parquet"), chat("{v}"))

    def test_of_whole_conversations_are_looked_at(self, tmp_path: Path) -> None:
        good = [{"role": "system", "content": "s"}, {"role": "user", "content": [{"type": "text", "text": "t"}]}]
        bad = [*good, {"role": "user", "content": [{"type": "image_url", "image_url": {"url": None}}]}]
        body = {"model": "m", "messages": "{v}"}
        assert lines(tmp_path, [{"v": good}] * 2, body)[0]["messages"] == good
        place = r"'messages\[2\]\.content\[0\]\.image_url\.url', found null"
        with pytest.raises(InputError, match=rf"row 1, column 'v': expected text as {place}"):
            lines(tmp_path, [{"v": good}, {"v": bad}], body)

    def test_of_bytes_and_dates_are_text(self, tmp_path: Path) -> None:
        rows = [{"v": b"x"}, {"v": dt.date(2026, 1, 2)}]
        assert [body["messages"][0]["content"] for body in lines(tmp_path, rows, chat("{v}"))] == ["eA==", "2026-01-02"]

    @pytest.mark.parametrize("value", [5, 5.0, Decimal("5"), Decimal("5.00")])
    def test_of_whole_numbers_may_have_a_point(self, tmp_path: Path, value: Any) -> None:
        body = chat("{x}", max_tokens="{v}", temperature="{v}")
        assert lines(tmp_path, [{"x": "a", "v": value}] * 2, body)[1]["max_tokens"] == 5
        for other in (5.5, Decimal("5.5"), True):
            with pytest.raises(InputError, match=r"row 1, column 'v': expected a (whole )?number as '"):
                lines(tmp_path, [{"x": "a", "v": value}, {"x": "b", "v": other}], body)
        with pytest.raises(InputError):
            lines(tmp_path, [{"x": "a", "v": value}, {"x": "b", "v": Decimal("NaN")}], body)


class TestForms:
    def csv(self, tmp_path: Path, text: str) -> str:
        (tmp_path / "a.csv").write_text(text)
        return str(tmp_path / "a.csv")

    def test_a_number_of_a_csv_is_refused_with_the_form_that_converts_it(self, tmp_path: Path) -> None:
        source = self.csv(tmp_path, "x,t\na,0.70\nb,1\n")
        expected = r"a\.csv, line 2, row 0, column 't': expected a number as 'temperature', found the text '0.70'\. "
        with pytest.raises(InputError, match=expected + r"Write \{t:number\}"):
            lines(tmp_path, source, chat("{x}", temperature="{t}"))
        bodies = lines(tmp_path, source, chat("{x}", temperature="{t:number}"))
        assert [body["temperature"] for body in bodies] == [0.7, 1]

    def test_a_number_inside_a_longer_text_is_refused(self, tmp_path: Path) -> None:
        expected = r"body\.temperature: expected a number, found the text '0\.\{t\}'\. .*\{column:number\}"
        with pytest.raises(TemplateError, match=expected):
            lines(tmp_path, [{"t": 5}], chat("x", temperature="0.{t}"))
        with pytest.raises(
            TemplateError, match=r"found the text '0.5'. Airflow renders templates as text, unless the DAG"
        ):
            lines(tmp_path, [{"t": 5}], chat("{t:text}", temperature="0.5"))

    @pytest.mark.parametrize(
        ("form", "value", "expected"),
        [
            ("number", " 12 ", 12),
            ("number", "-1.50", -1.5),
            ("number", "1e3", 1000),
            ("number", 2.5, 2.5),
            ("number", Decimal("1.10"), 1.1),
            ("integer", "7", 7),
            ("integer", 7.0, 7),
            ("integer", "7.0", 7),
            ("boolean", "TRUE", True),
            ("boolean", "0", False),
            ("boolean", 1, True),
            ("boolean", False, False),
            ("json", '{"a": [1, null]}', {"a": [1, None]}),
            ("json", "[1]", [1]),
            ("json", [1], [1]),
            ("text", 5, "5"),
            ("text", True, "true"),
            ("text", {"a": 1}, '{"a":1}'),
            ("text", 'x"\n', 'x"\n'),
            ("number", None, None),
            ("text", None, None),
            ("integer", float("nan"), None),
        ],
    )
    def test_convert_alone(self, tmp_path: Path, form: str, value: Any, expected: Any) -> None:
        found = lines(tmp_path, [{"v": value, "x": "a"}, {"v": value, "x": "b"}], chat("{x}", new=f"{{v:{form}}}"))
        assert [body["new"] for body in found] == [expected] * 2
        assert type(found[0]["new"]) is type(expected)

    def test_convert_inside_a_text_and_in_a_custom_id(self, tmp_path: Path) -> None:
        pq.write_table(pa.table({"v": [7.0, 8.0]}), tmp_path / "a.parquet")
        found = lines(tmp_path, str(tmp_path / "a.parquet"), chat("<{v:integer}> <{v}>"), custom_id="c{v:integer}")
        assert [body["messages"][0]["content"] for body in found] == ["<7> <7.0>", "<8> <8.0>"]

    def test_whole_numbers_of_arrow_as_text_are_text(self, tmp_path: Path) -> None:
        pq.write_table(pa.table({"v": [7, 8], "m": [{"n": 1}, {"n": None}]}), tmp_path / "a.parquet")
        source = str(tmp_path / "a.parquet")
        assert [b["messages"][0]["content"] for b in lines(tmp_path, source, chat("{v:text}"))] == ["7", "8"]
        nulls = lines(tmp_path, source, chat("{m.n:text}"), null_text="-")
        assert [body["messages"][0]["content"] for body in nulls] == ["1", "-"]
        with pytest.raises(InputError, match=r"row 1, column 'm\.n': expected text or an array .* found null"):
            lines(tmp_path, source, chat("{m.n:text}"))

    @pytest.mark.parametrize(
        ("form", "value", "expected"),
        [
            ("number", "0,7", "a number such as 0.5 for {v:number}, found the text '0,7'"),
            ("number", "", "a number such as 0.5"),
            ("number", True, "a number such as 0.5 for {v:number}, found true"),
            ("number", "NaN", "a number"),
            ("integer", "7.5", "a whole number for {v:integer}, found the text '7.5'"),
            ("integer", float("inf"), "a whole number"),
            ("boolean", "yes", "true, false, 1 or 0 for {v:boolean}"),
            ("json", "{", "JSON for {v:json}, found the text '{'"),
        ],
    )
    def test_name_the_row_that_cannot_be_converted(self, tmp_path: Path, form: str, value: Any, expected: str) -> None:
        good = {"number": "1", "integer": "1", "boolean": "1", "json": "1"}[form]
        rows = [{"v": good, "x": "a"}, {"v": value, "x": "b"}]
        with pytest.raises(TemplateError) as raised:
            lines(tmp_path, rows, chat("{x}", new=f"{{v:{form}}}"))
        assert str(raised.value).startswith(f"row 1, column 'v': expected {expected}")

    def test_json_of_a_column_is_looked_at(self, tmp_path: Path) -> None:
        messages = '[{"role": "user", "content": %s}]'
        body = {"model": "m", "messages": "{v:json}"}
        assert len(lines(tmp_path, [{"v": messages % '"x"'}] * 2, body)) == 2
        with pytest.raises(
            InputError, match=r"row 0, column 'v': expected text or an array as 'messages\[0\]\.content'"
        ):
            lines(tmp_path, [{"v": messages % "5"}] * 2, body)
        vectors = lines(tmp_path, [{"v": '["a", "b"]'}], {"model": "m", "input": "{v:json}"}, Endpoint.EMBEDDINGS)
        assert vectors[0]["input"] == ["a", "b"]

    def test_that_there_are_not_list_those_that_there_are(self, tmp_path: Path) -> None:
        rows = [{"v": 1, "v:number": "own"}]
        with pytest.raises(
            TemplateError, match=r"\{v:float\} has no form 'float'\. Write one of \{v:text\}, \{v:number\}"
        ):
            lines(tmp_path, rows, chat("{v:float}"))
        with pytest.raises(TemplateError, match=r"\{w:number\} is not a column\. .*write \{!w:number\}"):
            lines(tmp_path, rows, chat("{w:number}"))
        with pytest.raises(TemplateError, match=r"write \{v:text\} for the column, found \{\{ v:text \}\}"):
            lines(tmp_path, rows, chat("{{ v:text }}"))

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("{!v:text} {x}", "{v:text} a"),
            ("{!w:number} {x}", "{w:number} a"),
            ("{w:string} {w:>3} {x}", "{w:string} {w:>3} a"),
            ("{v:number} {x}", "own a"),
        ],
    )
    def test_other_braces_stay_text_and_an_exact_column_wins(self, tmp_path: Path, text: str, expected: str) -> None:
        rows = [{"v": 1, "v:number": "own", "x": "a"}]
        assert lines(tmp_path, rows, chat(text))[0]["messages"][0]["content"] == expected


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-9, 9) | st.text("ab", max_size=2),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "role", "content", "text", "url", "image_url"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=100, deadline=None)
@given(value=VALUES, alone=st.booleans())
def test_a_value_of_a_row_is_refused_exactly_where_the_whole_body_is(value: Any, alone: bool) -> None:
    """The check of a placeholder and the check of a ready-made line are one: both see the same body."""
    from airflow_provider_batch.requests.templates.rendering import TemplateRenderer
    from airflow_provider_batch.sources.column_paths import Columns

    source = open_source([{"v": value, "x": "x"}])
    body = chat("{v}") if alone else {"model": "m", "messages": [{"role": "user", "content": ["{v}"]}]}
    whole = json.loads(json.dumps(body).replace('"{v}"', json.dumps(value)))
    renderer = TemplateRenderer(CHAT, body, Columns(source.schema))
    (batch,) = source.batches()
    try:
        renderer.render(batch)
    except InputError:
        assert misfit(accepted(CHAT), whole) is not None
    else:
        assert misfit(accepted(CHAT), whole) is None


EXAMPLES = (
    *("x", 1, 0.5, True, None, {}, [], b"x", Decimal("0.5"), uuid.UUID(int=1)),
    *(dt.date(2026, 1, 1), dt.datetime(2026, 1, 1), dt.time(1), dt.timedelta(1)),
)


def test_every_type_of_value_has_the_kind_that_it_is_written_as() -> None:
    written = {str: "s", int: "i", float: "n", bool: "b", type(None): "z", dict: "o", list: "a"}
    assert {type(value): written[type(json.loads(to_json(value)))] for value in EXAMPLES} | {tuple: "a"} == KINDS
    assert set(FORMS) == {"text", "number", "integer", "boolean", "json"}


#: Bodies that services other than OpenAI and Azure take.
OF_OTHERS: list[tuple[Endpoint, dict[str, Any]]] = [
    (CHAT, chat("{x}", logprobs=5)),
    (CHAT, chat("{x}", reasoning_effort=1024)),
    (CHAT, chat("{x}", reasoning_effort=False)),
    (CHAT, chat(["{x}", {"type": "image_url", "image_url": "https://example.com/a.png"}])),
    (Endpoint.EMBEDDINGS, {"model": "m", "input": [{"text": "{x}"}, {"image": "https://example.com/a.png"}]}),
    (Endpoint.EMBEDDINGS, {"model": "m", "input": {"contents": [{"text": "{x}"}]}}),
    (Endpoint.VIDEOS, {"model": "m", "prompt": "{x}", "seconds": 4}),
]


@pytest.mark.parametrize(("endpoint", "body"), OF_OTHERS)
def test_what_other_services_take_is_sent_to_them_and_an_error_for_the_vendor(
    endpoint: Endpoint, body: dict[str, Any], tmp_path: Path
) -> None:
    assert lines(tmp_path, [{"x": "a"}], body, endpoint, by_any=True)
    with pytest.raises(InputError, match="expected"):
        lines(tmp_path, [{"x": "a"}], body, endpoint)


def test_other_services_are_checked_for_what_none_takes(tmp_path: Path) -> None:
    for body in (chat("{x}"), chat("a", temperature="{t}")):
        with pytest.raises(InputError, match="expected"):
            lines(tmp_path, [{"x": 5, "t": "0.5"}], body, by_any=True)


def test_values_are_sent_as_they_are_where_the_check_is_switched_off(tmp_path: Path) -> None:
    body = chat("{x}", temperature="{t}", seed="a")
    rows = [{"x": 5, "t": "0.5"}]
    with pytest.raises(InputError, match="expected"):
        lines(tmp_path, rows, body)
    (sent,) = lines(tmp_path, rows, body, check_bodies=False)
    assert (sent["temperature"], sent["seed"], sent["messages"][0]["content"]) == ("0.5", "a", 5)
    ready = [{"custom_id": "1", "method": "POST", "url": CHAT.value, "body": sent}]
    assert lines(tmp_path, ready, None, check_bodies=False) == [sent]
    with pytest.raises(InputError, match="expected a list of messages"):
        lines(tmp_path, rows, {"model": "m", "messages": "{x}"}, check_bodies=False)


def test_what_a_message_may_be_is_known_also_where_a_column_says_its_role(tmp_path: Path) -> None:
    body = {"model": "m", "messages": [{"role": "{role}", "content": "{x}"}]}
    with pytest.raises(InputError, match=r"row 0, column 'x': expected text .* as 'messages\[0\].content'"):
        lines(tmp_path, [{"role": "user", "x": 5}], body)
    assert lines(tmp_path, [{"role": "assistant", "x": "b"}, {"role": "user", "x": "a"}], body)


def test_a_number_among_texts_to_embed_is_not_sent_as_a_token(tmp_path: Path) -> None:
    def made(given: Any, **row: Any) -> Any:
        return lines(tmp_path, [row], {"model": "m", "input": given}, Endpoint.EMBEDDINGS)[0]["input"]

    with pytest.raises(InputError, match=r"as 'input\[0\]', found the number 5\. Write {x:text}"):
        made(["{x}"], x=5)
    assert made(["{x:text}"], x=5) == ["5"]
    assert made("{x}", x=[5, 6]) == [5, 6]


@pytest.mark.parametrize("text", ["1e400", "-1e999999999", "1e-999999999"])
def test_a_number_that_no_reader_has_room_for_is_an_error(text: str, tmp_path: Path) -> None:
    for form in ("number", "integer"):
        with pytest.raises(TemplateError, match=f"for {{x:{form}}}, found the text '{text}'"):
            lines(tmp_path, [{"x": text}], chat(f"{{x:{form}}}"))


def test_a_value_within_a_column_is_mended_in_the_source(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"as 'messages\[0\].content', found the number 5\. Correct it in the source"):
        lines(tmp_path, [{"x": [{"role": "user", "content": 5}]}], {"model": "m", "messages": "{x}"})


@pytest.mark.parametrize("written", ["{x:.2f}", "{x:>10}", "{x:,}", "{x:d}", "{x!r}"])
def test_what_python_writes_in_braces_is_an_error_and_not_sent_as_text(written: str, tmp_path: Path) -> None:
    with pytest.raises(TemplateError, match=r"has no form .* Write one of {x:text}"):
        lines(tmp_path, [{"x": 1.5}], chat(f"It costs {written}."))
    literal = written.replace("{", "{!")
    assert lines(tmp_path, [{"x": 1.5}], chat(f"{{x}}: {literal}"))[0]["messages"][0]["content"] == f"1.5: {written}"


def test_braces_with_other_text_behind_a_colon_stay_text(tmp_path: Path) -> None:
    text = "{12:30} {x: a number} {x:} {y:.2f}"
    assert lines(tmp_path, [{"x": 1}], chat("{x} " + text))[0]["messages"][0]["content"] == f"1 {text}"
