"""Every field that the official SDK's models allow in an answer is landed, and the columns have its values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from openai.types.responses import Response

from airflow_provider_batch.api.endpoints import Endpoint
from airflow_provider_batch.table.schema import TableSpec
from tests.results.sdk_bodies import MODELS, PNG, body
from tests.results.support import land, success

COUNT = 60
CUT_OFF = {"length": "truncated", "content_filter": "refused"}


def landed(endpoint: Endpoint, folder: Path) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return rows with their response bodies."""
    bodies = [body(endpoint, seed) for seed in range(COUNT)]
    size = 3 if endpoint is Endpoint.EMBEDDINGS else None
    lines = [success(str(at), made) for at, made in enumerate(bodies)]
    found = land(
        folder, [str(at) for at in range(COUNT)], lines, spec=TableSpec(endpoint, raw="all", embedding_size=size)
    )
    return list(zip(found.rows, bodies, strict=True))


@pytest.mark.parametrize("endpoint", MODELS, ids=lambda one: one.value)
def test_a_body_of_the_sdk_is_kept_whole_and_counted(endpoint: Endpoint, tmp_path: Path) -> None:
    for row, made in landed(endpoint, tmp_path):
        without_images = json.dumps(made).replace(f'"{PNG}"', "null")
        kept = json.dumps(json.loads(row["response"])).replace(f'"{PNG}"', "null")
        assert kept == without_images
        assert row["status"] == expected_status(endpoint, made)
        usage = made.get("usage")
        if usage is not None and row["status"] != "failed":
            assert row["input_tokens"] == usage.get("input_tokens", usage.get("prompt_tokens"))
            assert row["output_tokens"] == usage.get("output_tokens", usage.get("completion_tokens"))
            assert row["total_tokens"] == usage["total_tokens"]


def expected_status(endpoint: Endpoint, made: dict[str, Any]) -> str:
    if endpoint in (Endpoint.CHAT_COMPLETIONS, Endpoint.COMPLETIONS):
        choice = made["choices"][0]
        refused = choice.get("message", {}).get("refusal")
        return CUT_OFF.get(choice["finish_reason"]) or ("refused" if refused else "succeeded")
    if endpoint is Endpoint.RESPONSES and made.get("status") == "incomplete":
        return CUT_OFF.get((made.get("incomplete_details") or {}).get("reason"), "truncated")
    if endpoint in (Endpoint.RESPONSES, Endpoint.VIDEOS):
        ended_well = made.get("status") in ("completed", None)
        final = final_message_of(made)
        if ended_well and final.get("status") not in (None, "completed"):
            return "truncated"
        refused = '"refusal"' in json.dumps(final)
        return "failed" if not ended_well else "refused" if refused else "succeeded"
    if endpoint in (Endpoint.IMAGES_GENERATIONS, Endpoint.IMAGES_EDITS):
        images = made.get("data")
        return "succeeded" if images and all(one.get("b64_json") or one.get("url") for one in images) else "failed"
    return "succeeded"


def final_message_of(made: dict[str, Any]) -> dict[str, Any]:
    messages = [item for item in made.get("output") or () if item["type"] == "message"]
    answers = [item for item in messages if item.get("phase") != "commentary"] or messages
    said = [item for item in answers if any(part.get("text") or part.get("refusal") for part in item["content"])]
    whole = [item for item in said if item.get("status") in (None, "completed")]
    return next(iter((whole or said or answers)[-1:]), {})


def test_a_chat_message_is_in_the_columns(tmp_path: Path) -> None:
    for row, made in landed(Endpoint.CHAT_COMPLETIONS, tmp_path):
        found = row["choices"] or [row]
        assert len(found) == len(made["choices"])
        for one, choice in zip(found, made["choices"], strict=True):
            message = choice["message"]
            transcript = (message.get("audio") or {}).get("transcript")
            assert one["text"] == (transcript if message.get("content") is None else message["content"])
            assert (one["refusal"], one["finish_reason"]) == (message.get("refusal"), choice["finish_reason"])
            calls = [call["function"] if "function" in call else call["custom"] for call in calls_of(message)]
            asked = [(call["name"], call.get("arguments", call.get("input"))) for call in calls]
            assert [(call["name"], call["arguments"]) for call in one["tool_calls"] or ()] == asked
            tokens = choice.get("logprobs") or {}
            expected = tokens.get("content") or tokens.get("refusal") or ()
            assert [token["logprob"] for token in one["logprobs"] or ()] == [token["logprob"] for token in expected]


def calls_of(message: dict[str, Any]) -> list[Any]:
    old = message.get("function_call")
    return message.get("tool_calls") or ([{"function": old}] if old else [])


def test_the_text_and_calls_of_a_response_are_in_the_columns(tmp_path: Path) -> None:
    for row, made in landed(Endpoint.RESPONSES, tmp_path):
        answers = [item for item in made["output"] if item["type"] == "message" and item.get("phase") != "commentary"]
        if answers or row["text"] is None:
            final = [one for one in [final_message_of(made)] if one]
            assert (row["text"] or "") == Response.model_validate({**made, "output": final}).output_text
        asked = [item for item in made["output"] if item["type"].endswith("_call")]
        calls = [call for call in row["tool_calls"] or () if call["type"] != "mcp_approval_request"]
        assert [call["id"] for call in calls] == [item.get("call_id") or item.get("id") for item in asked]
        for call, item in zip(calls, asked, strict=True):
            said = [json.dumps(value) for name, value in item.items() if name not in ("id", "call_id", "type", "name")]
            given = call["arguments"]
            if given is not None:
                assert {json.dumps(given), *as_json(given)} & set(said), (call, item)
            elif item["type"] != "image_generation_call":
                tools = ("arguments", "input", "action", "actions", "operation", "queries", "code")
                assert all(item.get(name) is None for name in tools)


def as_json(text: str) -> set[str]:
    try:
        return {json.dumps(json.loads(text))}
    except ValueError:
        return set()
