"""Templates: what is a placeholder, what is text, and that rendering equals doing it by hand."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_batch.arrow.values import to_text
from airflow_provider_batch.exceptions import TemplateError
from airflow_provider_batch.requests.templates.compilation import compile_body, compile_text
from airflow_provider_batch.sources.column_paths import Columns
from airflow_provider_batch.sources.open_source import open_source
from airflow_provider_batch.sources.row_chunk import SourceBatch


def rendered(
    body: dict[str, Any], rows: list[dict[str, Any]], null_text: str | None = None, verbatim: Any = None
) -> list[Any]:
    """Return the body of each row, parsed."""
    source = open_source(rows)
    template = compile_body(body, Columns(source.schema), null_text=null_text, verbatim=verbatim)
    bodies = []
    for batch in source.batches():
        pieces = template.pieces(batch)
        for index in range(len(batch)):
            line = b"".join(piece if isinstance(piece, bytes) else piece[index].as_py() for piece in pieces)
            bodies.append(json.loads(line))
    return bodies


def text_of(template: str, row: dict[str, Any], null_text: str | None = None) -> Any:
    return rendered({"text": template}, [row], null_text)[0]["text"]


ROW = {"text": "hi", "n": 3, "review": {"body": "nice", "stars": 5}, "a.b": "dotted", "my col": "spaced", "größe": 2}


class TestPlaceholders:
    def test_a_column_inside_a_text_becomes_its_text(self) -> None:
        assert text_of("Say {text}!", ROW) == "Say hi!"

    def test_a_column_alone_keeps_its_type(self) -> None:
        row = {"i": 1, "f": 1.5, "b": True, "l": [1, "x", None], "o": {"k": [{}]}, "z": None, "s": "1"}
        assert rendered({name: f"{{{name}}}" for name in row}, [row]) == [row]

    def test_texts_alone_stay_with_their_rows(self) -> None:
        texts = ['a","b', "", '\\"', "\\", '","', "\u2028\n", '"']
        bodies = rendered({"alone": "{t}", "within": "<{t}>"}, [{"t": text} for text in texts])
        assert bodies == [{"alone": text, "within": f"<{text}>"} for text in texts]

    def test_a_field_of_a_null_struct_is_null_in_arrow_columns_too(self) -> None:
        inner = pa.array([{"y": "a"}, {"y": "b"}, {"y": "c"}])
        column = pa.StructArray.from_arrays([inner], ["x"], mask=pa.array([False, True, False]))
        batch = SourceBatch(pa.record_batch([column], ["s"]).slice(1))
        assert batch.values(("s", "x", "y")) == [None, "c"]
        assert batch.values(("s", "x")) == [None, {"y": "c"}]

    def test_a_row_keeps_its_own_type_in_a_column_of_mixed_kinds(self) -> None:
        values = [1, 1.5, "1", True, None, [1], {"a": 1}]
        rows = [{"v": value, "w": 1 if index else 1.5} for index, value in enumerate(values)]
        bodies = rendered({"v": "{v}", "w": "{w}"}, rows)
        assert [body["v"] for body in bodies] == values
        assert [type(body["w"]) for body in bodies] == [float, int, int, int, int, int, int]

    @pytest.mark.parametrize(
        ("template", "expected"),
        [
            ("{review.body}", "nice"),
            ("{review.stars}", 5),
            ("{review}", {"body": "nice", "stars": 5}),
            ("got {review.stars}", "got 5"),
            ("got {review}", 'got {"body":"nice","stars":5}'),
            ("{a.b}", "dotted"),
            ("{my col}", "spaced"),
            ("{größe}", 2),
            ("{text}{n}", "hi3"),
            ("", ""),
        ],
    )
    def test_a_name_is_an_exact_column_or_a_path_into_a_struct(self, template: str, expected: Any) -> None:
        assert text_of(template, ROW) == expected

    @pytest.mark.parametrize(
        "text",
        [
            "{4}",
            "{}",
            '{"a": 1}',
            "$ref",
            "{ }",
            "{!}",
            "{!4}",
            "{{}}",
            "a{1,3}b",
            "{a b}",
            "{nobody:>3}",
            "{n+1}",
            "}{",
        ],
    )
    def test_other_braces_are_text(self, text: str) -> None:
        assert text_of(text + " {n}", ROW) == text + " 3"

    @pytest.mark.parametrize(
        ("template", "expected"),
        [("{!text}", "{text}"), ("{!nobody} {n}", "{nobody} 3"), ("{!my col}", "{my col}"), ("{{!text}}", "{{text}}")],
    )
    def test_an_exclamation_mark_writes_the_name_in_braces(self, template: str, expected: str) -> None:
        assert text_of(template, ROW) == expected

    def test_values_are_not_scanned_again(self) -> None:
        assert text_of("{a} {b}", {"a": "{b} {nobody} {!b}", "b": "{a}"}) == "{b} {nobody} {!b} {a}"

    def test_keys_are_not_touched(self) -> None:
        assert rendered({"{text}": {"{nobody}": "{text}"}}, [ROW]) == [{"{text}": {"{nobody}": "hi"}}]

    def test_verbatim_members_are_not_touched_and_win(self) -> None:
        bodies = rendered({"a": "{text}", "b": 1}, [ROW], verbatim={"b": {"x": "{nobody}"}})
        assert bodies == [{"a": "hi", "b": {"x": "{nobody}"}}]

    def test_an_unknown_name_lists_the_columns_and_the_likely_one(self) -> None:
        with pytest.raises(TemplateError) as raised:
            rendered({"messages": [{"content": "x {txt}"}]}, [{"text": "a", "id": 1}])
        message = str(raised.value)
        assert "body.messages[0].content: {txt} is not a column." in message
        assert "Did you mean 'text'?" in message
        assert "The columns are: text, id." in message
        assert "{!txt}" in message

    @pytest.mark.parametrize(
        ("template", "expected"),
        [("{review.boddy}", "Its fields are: body, stars"), ("{text.length}", "is string and no struct")],
    )
    def test_an_unknown_field_of_a_column_is_named(self, template: str, expected: str) -> None:
        with pytest.raises(TemplateError, match=expected):
            text_of(template, ROW)

    @pytest.mark.parametrize("template", ["{{ text }}", "{{text}}", "x {{ review.body }}", "{ text }"])
    def test_double_braces_around_a_column_say_what_to_write(self, template: str) -> None:
        with pytest.raises(TemplateError, match=r"write \{(text|review\.body)\} for the column"):
            text_of(template, ROW)

    def test_without_known_columns_every_name_is_taken(self) -> None:
        template = compile_body({"a": "{anything} {x.y}"}, Columns(pa.schema([]), known=False))
        assert [slot.name for slot in template.slots] == ["anything", "x.y"]

    @pytest.mark.parametrize("value", [object(), float("nan"), {1: "a"}, "\ud83d"])
    def test_what_is_no_json_is_named_by_its_place(self, value: Any) -> None:
        with pytest.raises(TemplateError, match=r"body\.a\[0\]"):
            rendered({"a": [value]}, [ROW])


class TestNullsAndNumbersWithoutJson:
    def test_null_alone_is_null(self) -> None:
        assert text_of("{z}", {"z": None}) is None

    def test_null_in_a_text_names_row_and_column(self) -> None:
        with pytest.raises(TemplateError, match=r"row 1, column 'a': .* found null.*null_text") as raised:
            rendered({"t": "x {a}"}, [{"a": "b"}, {"a": None}])
        assert raised.value.row == 1

    def test_null_in_a_text_becomes_the_null_text(self) -> None:
        assert text_of("x {z}", {"z": None}, null_text="–") == "x –"

    def test_a_field_of_a_struct_that_is_null_is_null(self) -> None:
        rows = [{"r": {"q": 1}}, {"r": None}, {"r": {}}]
        assert [body["t"] for body in rendered({"t": "{r.q}"}, rows)] == [1, None, None]

    def test_a_nan_counts_as_null_in_a_text(self) -> None:
        assert text_of("x {v}", {"v": float("nan")}, null_text="none") == "x none"

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), [1.0, float("nan")], {"a": {"b": float("-inf")}}])
    def test_a_number_without_a_json_form_is_an_error(self, value: Any) -> None:
        with pytest.raises(TemplateError, match=r"row 1, column 'v'.*NaN or an infinity"):
            rendered({"t": "{v}"}, [{"v": 1.0 if isinstance(value, float) else None}, {"v": value}])

    def test_text_like_nan_is_no_number(self) -> None:
        assert rendered({"t": "{v}"}, [{"v": "NaN null Infinity"}, {"v": ["null", None]}])[1] == {"t": ["null", None]}


NAMES = ("a", "b", "c_1", "größe")
LITERALS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="{}"), max_size=12)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("xyz"), inner, max_size=3),
    max_leaves=5,
)
PIECES = st.one_of(LITERALS, st.sampled_from([f"{{{name}}}" for name in NAMES] + ["{4}", "{}", "{!a}", '{"a"']))
TEXTS = st.lists(PIECES, max_size=5).map("".join)
BODIES = st.dictionaries(
    LITERALS,
    st.recursive(
        TEXTS | st.integers() | st.none() | st.booleans(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(LITERALS, inner, max_size=2),
        max_leaves=4,
    ),
    max_size=4,
)
ROWS = st.lists(st.fixed_dictionaries(dict.fromkeys(NAMES, VALUES)), min_size=1, max_size=4)


def by_hand(node: Any, row: dict[str, Any], null_text: str) -> Any:
    """What a template means, written the slow way: split at each placeholder, never look at a value again."""
    if isinstance(node, dict):
        return {key: by_hand(item, row, null_text) for key, item in node.items()}
    if isinstance(node, list):
        return [by_hand(item, row, null_text) for item in node]
    if not isinstance(node, str):
        return node
    for name in NAMES:
        if node == f"{{{name}}}":
            return row[name]
    out = ""
    while node:
        found = next((name for name in NAMES if node.startswith(f"{{{name}}}")), None)
        if found is not None:
            out += null_text if row[found] is None else to_text(row[found])
            node = node[len(found) + 2 :]
        elif node.startswith("{!a}"):
            out, node = out + "{a}", node[4:]
        else:
            out, node = out + node[0], node[1:]
    return out


@settings(max_examples=200, deadline=None)
@given(body=BODIES, rows=ROWS)
def test_rendering_equals_filling_in_by_hand(body: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    assert rendered(body, rows, null_text="∅") == [by_hand(body, row, "∅") for row in rows]


@settings(max_examples=100, deadline=None)
@given(text=TEXTS, rows=ROWS)
def test_a_text_template_equals_filling_in_by_hand(text: str, rows: list[dict[str, Any]]) -> None:
    source = open_source(rows)
    template = compile_text(text, Columns(source.schema), "custom_id", null_text="∅")
    (batch,) = source.batches()
    expected = [by_hand(f"{text}|", row, "∅")[:-1] for row in rows]
    assert template.texts(batch).to_pylist() == expected


def test_a_text_template_must_be_text() -> None:
    with pytest.raises(TemplateError, match="custom_id: expected a text, found int"):
        compile_text(7, Columns(pa.schema([])), "custom_id")  # type: ignore[arg-type]


def test_a_type_without_a_json_form_is_refused_before_any_row() -> None:
    schema = pa.schema([("either", pa.sparse_union([pa.field("n", pa.int64()), pa.field("s", pa.string())]))])
    with pytest.raises(
        TemplateError, match=r"column 'either': body\.a: a value of type sparse_union.* has no JSON form"
    ):
        compile_body({"a": "{either}"}, Columns(schema))
