"""Answers of the emulator are repeatable, depend on the prompt, and have the requested form."""

from __future__ import annotations

import base64
import json
import math
import struct
import zlib
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_batch.emulator.answers import answer, tokens
from airflow_provider_batch.emulator.answers.embeddings import vector
from airflow_provider_batch.emulator.answers.schemas import value_for
from airflow_provider_batch.emulator.batches import result_lines
from airflow_provider_batch.emulator.errors import CallError
from tests.emulator.support import CHAT, EMBEDDINGS, RESPONSES, chat_body

TEXT = "Summarize in one sentence:\n\nThe harbour was closed because of a storm. Ships waited outside the harbour."


def text_of_answer(**extra: Any) -> str:
    return str(answer(CHAT, chat_body(TEXT, **extra), now=0).body["choices"][0]["message"]["content"])


def test_the_same_request_has_the_same_answer() -> None:
    assert answer(CHAT, chat_body(TEXT), now=0).body == answer(CHAT, chat_body(TEXT), now=0).body
    assert text_of_answer() != str(
        answer(CHAT, chat_body("Other text."), now=0).body["choices"][0]["message"]["content"]
    )


def test_a_summary_is_about_the_text_and_not_the_instruction() -> None:
    assert "harbour" in text_of_answer()
    assert "Summarize in one" not in text_of_answer()


@given(st.text(max_size=300))
def test_any_prompt_has_an_answer(prompt: str) -> None:
    body = {"model": "m", "input": prompt}
    assert answer(RESPONSES, body, now=0).body["output"][0]["content"][0]["text"]


def test_parts_of_a_message_are_read() -> None:
    parts = [{"type": "text", "text": "A whale sings."}, {"type": "image_url", "image_url": {"url": "x"}}]
    body = {"model": "m", "messages": [{"role": "user", "content": parts}]}
    assert "whale" in answer(CHAT, body, now=0).body["choices"][0]["message"]["content"]


def test_an_answer_is_cut_at_the_requested_number_of_tokens() -> None:
    reply = answer(CHAT, chat_body(TEXT, max_completion_tokens=5), now=0)
    choice = reply.body["choices"][0]
    assert choice["finish_reason"] == "length"
    assert tokens.count(choice["message"]["content"]) == reply.tokens.output == 5
    response = answer(RESPONSES, {"model": "m", "input": TEXT, "max_output_tokens": 5}, now=0).body
    assert (response["status"], response["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})


def test_several_choices_differ() -> None:
    reply = answer(CHAT, chat_body(TEXT, n=3), now=0).body
    assert len({choice["message"]["content"] for choice in reply["choices"]}) == 3


def test_log_probabilities_are_returned_where_requested() -> None:
    choice = answer(CHAT, chat_body(TEXT, logprobs=True, top_logprobs=1), now=0).body["choices"][0]
    entries = choice["logprobs"]["content"]
    assert "".join(entry["token"] for entry in entries) == choice["message"]["content"]
    assert all(entry["logprob"] < 0 and entry["top_logprobs"] for entry in entries)


def test_log_probabilities_of_a_completion_are_lists_side_by_side() -> None:
    body = {"model": "m", "prompt": TEXT, "max_tokens": 50, "logprobs": 1}
    choice = answer("/v1/completions", body, now=0).body["choices"][0]
    found = choice["logprobs"]
    assert "".join(found["tokens"]) == choice["text"]
    assert {len(values) for values in found.values()} == {len(found["tokens"])}
    assert found["top_logprobs"][0] == {found["tokens"][0]: found["token_logprobs"][0]}
    assert choice["text"][found["text_offset"][2] :].startswith(found["tokens"][2])
    assert answer("/v1/completions", body | {"logprobs": None}, now=0).body["choices"][0]["logprobs"] is None


def test_a_reasoning_model_counts_reasoning_tokens() -> None:
    body = answer(RESPONSES, {"model": "gpt-5-mini", "input": TEXT}, now=0).body
    assert [item["type"] for item in body["output"]] == ["reasoning", "message"]
    assert body["usage"]["output_tokens"] > body["usage"]["output_tokens_details"]["reasoning_tokens"] > 0


WEATHER = {
    "name": "weather",
    "parameters": {"type": "object", "properties": {"days": {"type": "integer", "minimum": 3}}, "required": ["days"]},
}


@pytest.mark.parametrize(
    ("choice", "finish"),
    [("required", "tool_calls"), ({"type": "function", "function": {"name": "weather"}}, "stop"), ("auto", "stop")],
)
def test_a_chat_calls_the_tool_that_is_required(choice: Any, finish: str) -> None:
    tools = [{"type": "function", "function": WEATHER}]
    made = answer(CHAT, chat_body(TEXT, tools=tools, tool_choice=choice), now=0).body["choices"][0]
    assert made["finish_reason"] == finish
    if choice == "auto":
        assert made["message"]["content"]
        return
    (call,) = made["message"]["tool_calls"]
    assert call["function"]["name"] == "weather"
    assert json.loads(call["function"]["arguments"])["days"] >= 3


def test_a_response_calls_the_tool_that_is_required() -> None:
    body = {"model": "m", "input": TEXT, "tools": [{"type": "function", **WEATHER}], "tool_choice": "required"}
    (item,) = answer(RESPONSES, body, now=0).body["output"]
    assert (item["type"], item["name"]) == ("function_call", "weather")
    assert json.loads(item["arguments"])["days"] >= 3


SCHEMA = {
    "type": "object",
    "properties": {
        "mood": {"type": "string", "enum": ["calm", "stormy"]},
        "kind": {"const": "report"},
        "score": {"type": "number", "minimum": 0.25, "maximum": 0.75},
        "count": {"type": "integer", "exclusiveMinimum": 4, "maximum": 9, "multipleOf": 2},
        "tags": {"type": "array", "items": {"$ref": "#/$defs/tag"}, "minItems": 2, "maxItems": 4},
        "note": {"anyOf": [{"type": "string", "maxLength": 10}, {"type": "null"}]},
        "when": {"type": ["string", "null"], "format": "date"},
        "code": {"type": "string", "pattern": r"^[A-Z]{2}-\d{3,5}(x|y)?$"},
        "tree": {"$ref": "#/$defs/node"},
    },
    "required": ["mood", "kind", "score", "count", "tags", "note", "when", "code", "tree"],
    "additionalProperties": False,
    "$defs": {
        "tag": {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]},
        "node": {
            "type": "object",
            "properties": {
                "left": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
                "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
            },
            "required": ["left", "children"],
            "additionalProperties": False,
        },
    },
}


@given(st.text(max_size=40))
@settings(max_examples=60)
def test_structured_outputs_satisfy_the_schema(prompt: str) -> None:
    chat_format = {"type": "json_schema", "json_schema": {"name": "s", "schema": SCHEMA, "strict": True}}
    chat = answer(CHAT, chat_body(prompt, response_format=chat_format), now=0).body
    text_format = {"format": {"type": "json_schema", "name": "s", "schema": SCHEMA, "strict": True}}
    response = answer(RESPONSES, {"model": "m", "input": prompt, "text": text_format}, now=0).body
    for text in (chat["choices"][0]["message"]["content"], response["output"][0]["content"][0]["text"]):
        jsonschema.validate(json.loads(text), SCHEMA, cls=jsonschema.Draft202012Validator)


scalars = st.one_of(
    st.fixed_dictionaries({"type": st.just("string"), "minLength": st.integers(0, 20)}),
    st.fixed_dictionaries({"type": st.just("integer"), "minimum": st.integers(-50, 50)}),
    st.fixed_dictionaries({"type": st.just("number"), "maximum": st.floats(-50, 50)}),
    st.fixed_dictionaries({"enum": st.lists(st.integers() | st.text(max_size=5), min_size=1, max_size=4)}),
    st.just({"type": "boolean"}),
    st.just({"type": "null"}),
)
schemas = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.fixed_dictionaries({"type": st.just("array"), "items": inner, "minItems": st.integers(0, 3)}),
        st.fixed_dictionaries({"anyOf": st.lists(inner, min_size=1, max_size=3)}),
        st.dictionaries(st.text(min_size=1, max_size=4), inner, max_size=3).map(
            lambda properties: {"type": "object", "properties": properties, "required": list(properties)}
        ),
    ),
    max_leaves=12,
)


@given(schemas, st.text(max_size=20))
def test_any_schema_of_the_subset_is_satisfied(schema: dict[str, Any], seed: str) -> None:
    value = value_for(schema, prompt=seed, answer="Some text.", seed=seed)
    jsonschema.validate(value, schema, cls=jsonschema.Draft202012Validator)


def test_an_enum_value_that_the_text_names_is_chosen() -> None:
    schema = {"enum": ["sport", "politics", "weather"]}
    chosen = {value_for(schema, prompt="Bad weather today", answer="", seed=str(seed)) for seed in range(20)}
    assert chosen == {"weather"}


def test_a_schema_without_an_end_is_an_error_of_the_request() -> None:
    schema = {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}
    text_format = {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}}
    with pytest.raises(CallError) as caught:
        answer(CHAT, chat_body(response_format=text_format), now=0)
    assert caught.value.status == 400


def test_json_mode_is_json() -> None:
    assert json.loads(text_of_answer(response_format={"type": "json_object"}))


def cosine(one: str, other: str) -> float:
    return sum(a * b for a, b in zip(vector(one, 512), vector(other, 512), strict=True))


def test_similar_texts_are_near_each_other() -> None:
    cat = "The cat sat on the mat."
    assert cosine(cat, "The cats sat on a mat.") > 0.5
    assert cosine(cat, "Quarterly revenue grew by a tenth.") < 0.3


@given(st.text(max_size=200), st.integers(1, 3072))
def test_a_vector_has_the_requested_size_and_length_1(text: str, size: int) -> None:
    numbers = vector(text, size)
    assert len(numbers) == size
    assert math.sqrt(sum(number * number for number in numbers)) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize(
    ("model", "dimensions", "size"),
    [
        ("text-embedding-3-small", None, 1536),
        ("text-embedding-3-large", None, 3072),
        ("text-embedding-3-large", 256, 256),
    ],
)
def test_embeddings_are_numbers_or_base64(model: str, dimensions: int | None, size: int) -> None:
    body = {"model": model, "input": ["A cat.", "A dog."]} | ({"dimensions": dimensions} if dimensions else {})
    plain = answer(EMBEDDINGS, body, now=0)
    for style in ("ascii", "compact"):
        shown = json.loads(result_lines.encode(plain.body, plain.raw, style))
        packed = answer(EMBEDDINGS, {**body, "encoding_format": "base64"}, now=0).body
        assert [one["index"] for one in shown["data"]] == [0, 1]
        for one, other in zip(shown["data"], packed["data"], strict=True):
            assert len(one["embedding"]) == size
            floats = struct.unpack(f"<{size}f", base64.b64decode(other["embedding"]))
            assert struct.pack(f"<{size}f", *one["embedding"]) == struct.pack(f"<{size}f", *floats)


def test_a_prompt_is_never_taken_for_a_vector() -> None:
    plain = answer(EMBEDDINGS, {"model": "m", "input": "A cat."}, now=0)
    note = f"\x00{'a' * 32}/0\x00"
    shown = json.loads(result_lines.encode({**plain.body, "note": note}, plain.raw, "ascii"))
    assert shown["note"] == note
    assert len(shown["data"][0]["embedding"]) == 1536


def test_moderation_flags_follow_words() -> None:
    body = {"model": "omni-moderation-latest", "input": ["I will kill you", "Good morning"]}
    bad, good = answer("/v1/moderations", body, now=0).body["results"]
    assert bad["flagged"]
    assert bad["categories"]["violence"]
    assert bad["category_scores"]["violence"] > 0.5
    assert not good["flagged"]
    assert max(good["category_scores"].values()) < 0.5


def test_an_image_is_a_valid_png() -> None:
    body = {"model": "gpt-image-1", "prompt": "A cat.", "n": 2}
    data = answer("/v1/images/generations", body, now=0).body["data"]
    for one in data:
        png = base64.b64decode(one["b64_json"])
        length = struct.unpack(">I", png[33:37])[0]
        assert png[37:41] == b"IDAT"
        assert len(zlib.decompress(png[41 : 41 + length])) == 8 * (1 + 3 * 8)


@pytest.mark.parametrize("endpoint", [CHAT, EMBEDDINGS, "/v1/completions", "/v1/videos"])
def test_a_body_that_lacks_what_is_needed_is_a_400(endpoint: str) -> None:
    with pytest.raises(CallError, match="Missing required parameter"):
        answer(endpoint, {"model": "m"}, now=0)


@pytest.mark.parametrize("messages", ["text", [1], [{"role": "user"}, 7], {"a": 1}])
def test_messages_of_a_wrong_kind_are_a_400(messages: Any) -> None:
    with pytest.raises(CallError) as caught:
        answer(CHAT, {"model": "m", "messages": messages}, now=0)
    assert caught.value.status == 400
