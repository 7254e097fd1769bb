"""
Every object of the emulator is one of the official SDK's models, taken strictly.

The SDK's models allow further fields, and most fields may be missing: here both are compared with a list that says why.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import openai
import pytest
from openai.types import Batch, FileDeleted, FileObject, Model, Upload
from openai.types.shared import ErrorObject
from openai.types.uploads import UploadPart
from pydantic import BaseModel

from airflow_provider_batch.api.endpoints import Endpoint
from airflow_provider_batch.emulator.answers import ENDPOINTS
from airflow_provider_batch.emulator.testing import Emulator
from tests.emulator.support import CHAT, EMBEDDINGS, RESPONSES, chat_body, chat_lines, ended, line, submit, upload
from tests.results.sdk_bodies import MODELS

TOOL = {"name": "look_up", "parameters": {"type": "object", "properties": {"a": {"type": "string"}}}, "strict": True}
ANSWER_FORMAT = {"name": "answer", "schema": TOOL["parameters"], "strict": True}

#: Request bodies of each endpoint; between them they have each kind of answer that the emulator makes.
REQUESTS: Mapping[str, list[dict[str, Any]]] = {
    CHAT: [
        chat_body(),
        chat_body(model="o3", n=2, max_completion_tokens=2),
        chat_body(logprobs=True, top_logprobs=1),
        chat_body(tools=[{"type": "function", "function": TOOL}], tool_choice="required"),
        chat_body(response_format={"type": "json_schema", "json_schema": ANSWER_FORMAT}),
    ],
    RESPONSES: [
        {"model": "gpt-4o-mini", "input": "A cat."},
        {"model": "gpt-5", "input": "A cat.", "reasoning": {"effort": "low"}, "instructions": "Be brief."},
        {"model": "gpt-4o-mini", "input": "A cat sat on the mat.", "max_output_tokens": 2},
        {"model": "gpt-4o-mini", "input": "A cat.", "tools": [{"type": "function", **TOOL}], "tool_choice": "required"},
        {"model": "gpt-4o-mini", "input": "A cat.", "text": {"format": {"type": "json_schema", **ANSWER_FORMAT}}},
        {"model": "gpt-4o-mini", "input": "A cat.", "include": ["message.output_text.logprobs"], "top_logprobs": 1},
    ],
    EMBEDDINGS: [{"model": "text-embedding-3-small", "input": ["A cat.", "A dog."], "dimensions": 8}],
    "/v1/completions": [{"model": "gpt-3.5-turbo-instruct", "prompt": "A cat.", "logprobs": 1}],
    "/v1/moderations": [{"model": "omni-moderation-latest", "input": ["I will kill you.", "A cat."]}],
    "/v1/images/generations": [{"model": "gpt-image-1", "prompt": "A cat."}],
    "/v1/images/edits": [{"model": "gpt-image-1", "prompt": "A cat.", "images": [{"file_id": "file-1"}]}],
    "/v1/videos": [{"model": "sora-2", "prompt": "A cat."}],
}
#: Fields that recorded bodies have and the SDK's models have not.
RECORDED = {RESPONSES: {"billing", "frequency_penalty", "presence_penalty", "store"}}
#: Fields of the SDK's models that no object here has, because of what the request or the situation is.
OF_OTHER_REQUESTS: Mapping[str, set[str]] = {
    CHAT: {
        "metadata",
        "moderation",
        "choices.message.audio",
        "choices.message.function_call",
        "usage.completion_tokens_details.text_tokens",
        "usage.prompt_tokens_details.cache_write_tokens",
        "usage.prompt_tokens_details.image_tokens",
        "usage.prompt_tokens_details.text_tokens",
    },
    RESPONSES: {
        "access_programs",
        "conversation",
        "image",
        "input_transformations",
        "prompt",
        "prompt_cache_diagnostics",
        "prompt_cache_options",
        "output.async",
        "output.caller",
        "output.encrypted_content",
        "output.namespace",
        "reasoning.context",
        "reasoning.generate_summary",
        "reasoning.mode",
        "text.format.description",
        "tool_usage.image_gen.cached_tokens",
        "tool_usage.image_gen.cached_tokens_details",
        "tools.allowed_callers",
        "tools.async",
        "tools.defer_loading",
        "tools.description",
        "tools.output_schema",
        "usage.input_tokens_details.cache_write_tokens_details",
    },
    "/v1/completions": {"system_fingerprint", "usage.completion_tokens_details", "usage.prompt_tokens_details"},
    "/v1/images/generations": {"safety_identifier", "svg_usage", "data.url"},
    "/v1/images/edits": {"safety_identifier", "svg_usage", "data.url"},
}


def fields(model: BaseModel, path: str = "") -> Iterator[tuple[str, bool | None]]:
    """Yield the path of each field of an object: True where it is there, False where missing, None where extra."""
    for name in model.model_extra or ():
        yield path + name, None
    for name, field in type(model).model_fields.items():
        key = path + (field.alias or name)
        is_there = name in model.model_fields_set
        yield key, is_there
        if is_there:
            yield from inner_fields(getattr(model, name), f"{key}.")


def inner_fields(value: Any, path: str) -> Iterator[tuple[str, bool | None]]:
    if isinstance(value, BaseModel):
        yield from fields(value, path)
    elif isinstance(value, list):
        for one in value:
            yield from inner_fields(one, path)


def checked(model: type[BaseModel], *shown: Any) -> tuple[set[str], set[str]]:
    """Validate objects strictly; return the paths of their extra fields, and of fields that none of them has."""
    found = [each for one in shown for each in fields(model.model_validate_json(json.dumps(one), strict=True))]
    there = {path for path, is_there in found if is_there}
    return {path for path, is_there in found if is_there is None}, {path for path, _ in found} - there - {
        path for path, is_there in found if is_there is None
    }


def raw(response: Any) -> Any:
    return json.loads(response.text)


def test_each_endpoint_has_requests_here() -> None:
    assert set(REQUESTS) == set(ENDPOINTS) == {endpoint.value for endpoint in MODELS}


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_bodies_are_those_of_the_sdk(client: openai.OpenAI, endpoint: str) -> None:
    lines = [line(str(at), body, endpoint) for at, body in enumerate(REQUESTS[endpoint])]
    bodies = []
    for one in lines:  # a batch has one model
        batch = ended(client, submit(client, [one], endpoint).id)
        result = json.loads(client.files.content(batch.output_file_id).content)
        assert list(result) == ["id", "custom_id", "response", "error"]
        assert list(result["response"]) == ["status_code", "request_id", "body"]
        bodies.append(result["response"]["body"])
    extra, missing = checked(MODELS[Endpoint(endpoint)], *bodies)
    assert extra == RECORDED.get(endpoint, set())
    assert missing == OF_OTHER_REQUESTS.get(endpoint, set())


def test_a_response_has_the_fields_of_2026_in_their_order(client: openai.OpenAI) -> None:
    body = raw(client.responses.with_raw_response.create(model="gpt-4o-mini", input="A cat."))
    names = """id object created_at status background billing completed_at error frequency_penalty incomplete_details
        instructions max_output_tokens max_tool_calls model moderation output parallel_tool_calls presence_penalty
        previous_response_id prompt_cache_key prompt_cache_retention reasoning safety_identifier service_tier store
        temperature text tool_choice tool_usage tools top_logprobs top_p truncation usage user metadata"""
    assert list(body) == names.split()
    assert body["output"][0]["phase"] == "final_answer"
    assert list(body["usage"]["input_tokens_details"].items()) == [("cache_write_tokens", 0), ("cached_tokens", 0)]
    assert body["completed_at"] == body["created_at"]
    cut = raw(client.responses.with_raw_response.create(model="gpt-4o-mini", input="A cat sat.", max_output_tokens=1))
    assert (cut["status"], cut["completed_at"], cut["max_output_tokens"]) == ("incomplete", None, 1)


def test_batches_are_those_of_the_sdk(client: openai.OpenAI, emulator: Emulator) -> None:
    get = client.batches.with_raw_response
    good = ended(client, submit(client, chat_lines(2), metadata={"a": "b"}).id)
    bad = ended(client, submit(client, [*chat_lines(1), {}]).id)
    emulator.configure(progress="hold")
    early = submit(client, chat_lines(1))
    shown = [raw(get.retrieve(one.id)) for one in (good, bad, early)]
    assert checked(Batch, *shown) == (set(), set())
    assert checked(Batch, raw(get.cancel(early.id))) == (set(), set())
    listed = raw(get.list())
    assert list(listed) == ["object", "data", "first_id", "last_id", "has_more"]
    assert checked(Batch, *listed["data"]) == (set(), set())
    emulator.configure(batch_object="2024")
    assert checked(Batch, raw(get.retrieve(good.id))) == (set(), {"model", "usage"})


def test_files_are_those_of_the_sdk(client: openai.OpenAI) -> None:
    batch = ended(client, submit(client, chat_lines(1)).id)
    get = client.files.with_raw_response
    shown = [raw(get.retrieve(one)) for one in (batch.input_file_id, batch.output_file_id)]
    made = raw(get.create(file=("a.txt", b"text"), purpose="user_data"))
    assert checked(FileObject, *shown, made, *raw(get.list())["data"]) == (set(), set())
    assert list(made) == [
        "object", "id", "purpose", "filename", "bytes", "created_at", "expires_at", "status", "status_details"
    ]  # fmt: skip
    assert checked(FileDeleted, raw(get.delete(batch.input_file_id))) == (set(), set())


def test_uploads_are_those_of_the_sdk(client: openai.OpenAI) -> None:
    get = client.uploads.with_raw_response
    given: dict[str, Any] = {"bytes": 2, "filename": "a.jsonl", "mime_type": "a/b", "purpose": "batch"}
    pending, other = raw(get.create(**given)), raw(get.create(**given))
    part = raw(client.uploads.parts.with_raw_response.create(pending["id"], data=b"{}"))
    assert checked(Upload, pending, raw(get.cancel(other["id"]))) == (set(), {"file"})
    assert checked(UploadPart, part) == (set(), set())
    assert checked(Upload, raw(get.complete(pending["id"], part_ids=[part["id"]]))) == (set(), set())


def test_models_are_those_of_the_sdk(client: openai.OpenAI) -> None:
    shown = raw(client.models.with_raw_response.list())["data"]
    assert checked(Model, *shown) == (set(), set())


def test_errors_are_those_of_the_sdk(client: openai.OpenAI, emulator: Emulator) -> None:
    file_id = upload(client, chat_lines(1))
    create = client.batches.create
    calls = [
        lambda: client.batches.retrieve("batch_1"),
        lambda: client.files.retrieve("file-1"),
        lambda: client.files.create(file=("a", b""), purpose="batch"),
        lambda: create(input_file_id=file_id, endpoint="/v1/x", completion_window="24h"),  # type: ignore[arg-type]
        lambda: client.get("/nothing", cast_to=object),
        lambda: client.with_options(default_headers={"Authorization": ""}).files.list(),
        lambda: client.chat.completions.create(model="gpt-4o-mini", messages=[]),
        lambda: client.uploads.cancel("upload_1"),
    ]
    emulator.fault(kind="http_error")
    batch = ended(client, submit(client, chat_lines(1)).id)
    in_line = json.loads(client.files.content(batch.error_file_id or "").content)["response"]["body"]
    bodies = [in_line]
    for call in calls:
        with pytest.raises(openai.APIStatusError) as caught:
            call()
        bodies.append(caught.value.response.json())
    for body in bodies:
        assert list(body) == ["error"]
        assert list(body["error"]) == ["message", "type", "param", "code"]
        assert checked(ErrorObject, body["error"]) == (set(), {"misalignment"})
