"""
Result lines as servers write them, and the row that each of them is: one list for every reader.

A case names only the columns that matter to it; all it does not name but `status` are not looked at.
"""

from __future__ import annotations

import base64
import json
import struct
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_batch.api.endpoints import Endpoint
from tests.results.support import MODEL, chat_body, chat_choice, encoded, http_error, not_run, success

CHAT, RESPONSES, EMBEDDINGS = Endpoint.CHAT_COMPLETIONS, Endpoint.RESPONSES, Endpoint.EMBEDDINGS
VECTOR = [1.0, -0.5, 0.25]
BASE64 = base64.b64encode(struct.pack("<3f", *VECTOR)).decode()


@dataclass(frozen=True)
class Recorded:
    """One line and what it becomes."""

    name: str
    endpoint: Endpoint
    line: bytes
    status: str
    columns: dict[str, Any] = field(default_factory=dict)
    #: Whether the typed decoder reads it; the others are the tolerant reader's.
    typed: bool = True
    own_failure: bool = False


def response_body(**changes: Any) -> dict[str, Any]:
    """Return a response as the API writes it."""
    message = {
        "id": "msg_1",
        "type": "message",
        "status": "completed",
        "role": "assistant",
        "content": [{"type": "output_text", "annotations": [], "logprobs": [], "text": "Hello."}],
    }
    body = {
        "id": "resp_1",
        "object": "response",
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "model": MODEL,
        "output": [message],
        "usage": {
            "input_tokens": 20,
            "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 1},
            "output_tokens": 10,
            "output_tokens_details": {"reasoning_tokens": 2},
            "total_tokens": 30,
        },
    }
    return {**body, **changes}


def embeddings_body(*vectors: Any) -> dict[str, Any]:
    """Return embeddings as the API writes them."""
    return {
        "object": "list",
        "data": [{"object": "embedding", "index": at, "embedding": vector} for at, vector in enumerate(vectors)],
        "model": "text-embedding-3-small",
        "usage": {"prompt_tokens": 8, "total_tokens": 8},
    }


#: Fields of a choice that most have nothing in.
NOTHING_MORE = {"logprobs": None, "refusal": None, "reasoning": None, "tool_calls": None}


def chat(
    name: str, body: Any, status: str, *, typed: bool = True, own_failure: bool = False, **columns: Any
) -> Recorded:
    return Recorded(name, CHAT, encoded(success("1", body)), status, columns, typed, own_failure)


def response(name: str, ends_as: str, columns: dict[str, Any], *, typed: bool = True, **changes: Any) -> Recorded:
    line = encoded(success("1", response_body(**changes)))
    return Recorded(name, RESPONSES, line, ends_as, columns, typed, own_failure=ends_as == "failed")


def embedding(name: str, body: Any, status: str, *, own_failure: bool = False, **columns: Any) -> Recorded:
    return Recorded(name, EMBEDDINGS, encoded(success("1", body)), status, columns, own_failure=own_failure)


def body_with_usage(**usage: Any) -> dict[str, Any]:
    return chat_body(usage=usage)


TOOL = {"id": "call_1", "type": "function", "function": {"name": "look_up", "arguments": '{"a": 1}'}}
TOOL_ROW = {"id": "call_1", "type": "function", "name": "look_up", "arguments": '{"a": 1}'}
#: A reader that takes it for a content part would leave only its text.
OBJECT = {"text": "\u00e9", "long": 10**20, "more": [1, None]}
LOGPROB = {
    "token": "He",
    "logprob": -0.5,
    "bytes": [72],
    "top_logprobs": [{"token": "He", "logprob": -0.5, "bytes": None}],
}
LOGPROB_ROW = {"token": "He", "logprob": -0.5, "top_logprobs": [{"token": "He", "logprob": -0.5}]}

CHAT_LINES = [
    chat(
        "a chat completion",
        chat_body(),
        "succeeded",
        text="Hello.",
        finish_reason="stop",
        model=MODEL,
        request_id="req_1",
        status_code=200,
        input_tokens=20,
        output_tokens=10,
        total_tokens=30,
        cached_tokens=4,
        reasoning_tokens=2,
        input_audio_tokens=0,
        error_code=None,
        response=None,
        choices=None,
    ),
    Recorded("without spaces", CHAT, encoded(success("1"), spaces=False), "succeeded", {"text": "Hello."}),
    Recorded(
        "without id, as Azure writes it",
        CHAT,
        encoded({key: value for key, value in success("1").items() if key != "id"}),
        "succeeded",
        {"text": "Hello."},
    ),
    chat("an emoji as a surrogate pair", chat_body("\U0001f600"), "succeeded", text="\U0001f600"),
    Recorded(
        "a raw line separator",
        CHAT,
        encoded(success("1", chat_body("a\u2028b\u2029c\u0085d")), ascii_only=False),
        "succeeded",
        {"text": "a\u2028b\u2029c\u0085d"},
    ),
    chat(
        "a tool call",
        chat_body(choices=[chat_choice(None, "tool_calls", tool_calls=[TOOL])]),
        "succeeded",
        text=None,
        tool_calls=[TOOL_ROW],
    ),
    chat(
        "a refusal",
        chat_body(choices=[chat_choice(None, refusal="I cannot.")]),
        "refused",
        refusal="I cannot.",
        error_code="refusal",
        error_message="I cannot.",
    ),
    chat(
        "a content filter",
        chat_body(choices=[chat_choice("Hel", "content_filter")]),
        "refused",
        text="Hel",
        error_code="content_filter",
    ),
    chat(
        "a cut-off answer",
        chat_body(choices=[chat_choice("Hel", "length")]),
        "truncated",
        text="Hel",
        error_code="length",
    ),
    chat(
        "several choices",
        chat_body(
            choices=[
                {**chat_choice("a"), "logprobs": {"content": [LOGPROB]}},
                chat_choice("b", "length", 1, tool_calls=[TOOL]),
            ]
        ),
        "succeeded",
        text="a",
        choices=[
            {"index": 0, "text": "a", "finish_reason": "stop", **NOTHING_MORE, "logprobs": [LOGPROB_ROW]},
            {"index": 1, "text": "b", "finish_reason": "length", **NOTHING_MORE, "tool_calls": [TOOL_ROW]},
        ],
    ),
    chat(
        "log-probabilities",
        chat_body(choices=[{**chat_choice("He"), "logprobs": {"content": [LOGPROB]}}]),
        "succeeded",
        logprobs=[LOGPROB_ROW],
    ),
    chat(
        "reasoning of a compatible server",
        chat_body(choices=[chat_choice("a", reasoning_content="so")]),
        "succeeded",
        reasoning="so",
    ),
    chat(
        "a call as it was before there were several",
        chat_body(choices=[chat_choice(None, "function_call", function_call=TOOL["function"])]),
        "succeeded",
        tool_calls=[{**TOOL_ROW, "id": None}],
    ),
    chat(
        "arguments as an object, as some servers give them",
        chat_body(choices=[chat_choice(None, tool_calls=[{**TOOL, "function": {"name": "f", "arguments": OBJECT}}])]),
        "succeeded",
        tool_calls=[{**TOOL_ROW, "name": "f", "arguments": json.dumps(OBJECT, ensure_ascii=False)}],
    ),
    chat(
        "a spoken answer",
        chat_body(choices=[chat_choice(None, audio={"id": "audio_1", "data": "AAAA", "transcript": "Hello."})]),
        "succeeded",
        text="Hello.",
    ),
    chat(
        "log-probabilities of a refusal",
        chat_body(choices=[{**chat_choice(None, refusal="He"), "logprobs": {"content": None, "refusal": [LOGPROB]}}]),
        "refused",
        logprobs=[LOGPROB_ROW],
    ),
    chat(
        "nothing at all",
        chat_body(choices=[chat_choice(None)]),
        "failed",
        own_failure=True,
        error_code="no_answer",
        text=None,
        finish_reason="stop",
    ),
    chat(
        "nothing but thoughts",
        chat_body(choices=[chat_choice(None, reasoning_content="so", tool_calls=[])]),
        "failed",
        own_failure=True,
        error_code="no_answer",
        reasoning="so",
    ),
    chat("an empty text", chat_body(choices=[chat_choice("")]), "succeeded", text=""),
    chat(
        "nothing in the first choice",
        chat_body(choices=[chat_choice(None), chat_choice("b", "stop", 1)]),
        "succeeded",
        text=None,
    ),
    chat("no choices", chat_body(choices=[]), "failed", own_failure=True, error_code="no_answer", text=None),
    chat(
        "an error under HTTP 200",
        {"error": {"message": "Oops.", "type": "server_error", "code": None}},
        "failed",
        own_failure=True,
        error_code="server_error",
        error_message="Oops.",
    ),
    chat("no usage", chat_body(usage=None), "succeeded", input_tokens=None, cost_usd=None),
    Recorded(
        "an HTTP error",
        CHAT,
        encoded(http_error("1")),
        "failed",
        {"status_code": 429, "error_code": "rate_limit_exceeded", "error_message": "Too many.", "request_id": "req_1"},
        own_failure=True,
    ),
    Recorded(
        "an HTTP error without a code",
        CHAT,
        encoded(http_error("1", 400, None)),
        "failed",
        {"status_code": 400, "error_code": "requests"},
        own_failure=True,
    ),
    Recorded(
        "an HTTP error without a body",
        CHAT,
        encoded({"custom_id": "1", "response": {"status_code": 500}}),
        "failed",
        {"status_code": 500, "error_code": "http_500"},
        own_failure=True,
    ),
    Recorded(
        "status code 0",
        CHAT,
        encoded(success("1", {"error": None}, 0)),
        "failed",
        {"status_code": None, "error_code": "not_run"},
    ),
    Recorded(
        "status code 0 with an error",
        CHAT,
        encoded(success("1", {"error": {"message": "Gone."}}, 0)),
        "failed",
        {"status_code": 0, "error_code": "http_0", "error_message": "Gone."},
        own_failure=True,
    ),
    Recorded(
        "no status code, but an answer",
        CHAT,
        encoded(success("1", None, None)),
        "succeeded",
        {"status_code": None, "text": "Hello."},
    ),
    Recorded(
        "HTTP 200 without a body",
        CHAT,
        encoded({**success("1"), "response": {"status_code": 200}}),
        "failed",
        {"error_code": "no_body"},
        own_failure=True,
    ),
    Recorded(
        "expired",
        CHAT,
        encoded(not_run("1")),
        "expired",
        {"error_code": "batch_expired", "error_message": "Not run.", "status_code": None},
    ),
    Recorded(
        "cancelled", CHAT, encoded(not_run("1", "batch_cancelled")), "cancelled", {"error_code": "batch_cancelled"}
    ),
    Recorded(
        "timed out",
        CHAT,
        encoded(not_run("1", "request_timeout")),
        "failed",
        {"error_code": "request_timeout"},
        own_failure=True,
    ),
    Recorded(
        "a code that nobody knows",
        CHAT,
        encoded(not_run("1", "comet")),
        "failed",
        {"error_code": "comet"},
        own_failure=True,
    ),
    Recorded(
        "neither response nor error",
        CHAT,
        encoded({"custom_id": "1"}),
        "failed",
        {"error_code": "not_run"},
    ),
    Recorded(
        "an answer under another name",
        CHAT,
        encoded({"custom_id": "1", "result": success("1")["response"]}),
        "failed",
        {"error_code": "unreadable_line"},
        own_failure=True,
    ),
]

UNEXPECTED_CHAT_LINES = [
    chat(
        "content as parts",
        chat_body([{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo."}]),
        "succeeded",
        typed=False,
        text="Hello.",
    ),
    chat("a body as a JSON string", json.dumps(chat_body()), "succeeded", typed=False, text="Hello.", input_tokens=20),
    chat(
        "a proxy's page as a body",
        "<html>Bad gateway</html>",
        "failed",
        typed=False,
        own_failure=True,
        error_message="<html>Bad gateway</html>",
    ),
    chat(
        "tokens as text",
        body_with_usage(prompt_tokens="20", completion_tokens=10.0, total_tokens="30.0"),
        "succeeded",
        typed=False,
        input_tokens=20,
        output_tokens=10,
        total_tokens=30,
    ),
    chat(
        "tokens that are none",
        body_with_usage(prompt_tokens="many", completion_tokens=-1, total_tokens=True),
        "succeeded",
        typed=False,
        input_tokens=None,
        output_tokens=None,
        total_tokens=None,
    ),
    chat(
        "an integer beyond 64 bits",
        body_with_usage(prompt_tokens=10**30, completion_tokens=10),
        "succeeded",
        typed=False,
        input_tokens=None,
        output_tokens=10,
    ),
    Recorded(
        "an integer of 5,000 digits",
        CHAT,
        encoded(success("1")).replace(b'"prompt_tokens": 20', b'"prompt_tokens": ' + b"9" * 5_000),
        "succeeded",
        {"input_tokens": None, "output_tokens": 10},
        typed=False,
    ),
    chat("a lone surrogate", chat_body("cut \ud83d"), "succeeded", typed=False, text="cut \ufffd"),
    Recorded(
        "bytes that are no UTF-8",
        CHAT,
        encoded(success("1", chat_body("X"))).replace(b'"X"', b'"a\xffb"'),
        "succeeded",
        {"text": "a\ufffdb"},
        typed=False,
    ),
    Recorded(
        "NaN", CHAT, encoded(success("1", chat_body(extra=float("nan")))), "succeeded", {"text": "Hello."}, typed=False
    ),
    Recorded(
        "a byte order mark", CHAT, b"\xef\xbb\xbf" + encoded(success("1")), "succeeded", {"text": "Hello."}, typed=False
    ),
    Recorded(
        "an error code that is a number",
        CHAT,
        encoded(success("1", {"error": {"code": 429, "message": "Slow."}}, 429)),
        "failed",
        {"error_code": "429", "status_code": 429},
        typed=False,
        own_failure=True,
    ),
    Recorded(
        "a status code as text",
        CHAT,
        encoded(success("1", None, "200")),
        "succeeded",
        {"status_code": 200},
        typed=False,
    ),
    Recorded(
        "an error that is a text",
        CHAT,
        encoded({"custom_id": "1", "response": None, "error": "Oops."}),
        "failed",
        {"error_message": "Oops.", "error_code": "unknown_error"},
        typed=False,
        own_failure=True,
    ),
    Recorded(
        "a line that was cut",
        CHAT,
        encoded(success("1"))[:-40],
        "failed",
        {"error_code": "unreadable_line"},
        typed=False,
        own_failure=True,
    ),
    Recorded(
        "two objects on a line",
        CHAT,
        encoded(success("1")) * 2,
        "failed",
        {"error_code": "unreadable_line"},
        typed=False,
        own_failure=True,
    ),
    Recorded(
        "nested beyond reason",
        CHAT,
        encoded(success("1")).replace(b'"fp_1"', b"[" * 100_000 + b"]" * 100_000),
        "failed",
        {"error_code": "unreadable_line"},
        typed=False,
        own_failure=True,
    ),
]

CALL = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "look_up", "arguments": "{}"}
REFUSAL = {"type": "message", "content": [{"type": "refusal", "refusal": "I cannot."}]}
THOUGHT = {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "so"}]}


def message(text: str, phase: str | None = None, status: str | None = "completed") -> dict[str, Any]:
    content = [{"type": "output_text", "annotations": [], "logprobs": [], "text": text}]
    said = {"id": "msg_1", "type": "message", "role": "assistant", "phase": phase, "content": content}
    return {**said, "status": status}


RESPONSES_LINES = [
    response(
        "a response",
        "succeeded",
        {
            "text": "Hello.",
            "finish_reason": "completed",
            "response_id": "resp_1",
            "input_tokens": 20,
            "cached_tokens": 4,
            "cache_write_tokens": 1,
            "reasoning_tokens": 2,
            "logprobs": None,
        },
    ),
    response(
        "out of tokens",
        "truncated",
        {"text": "Hello.", "error_code": "max_output_tokens"},
        status="incomplete",
        incomplete_details={"reason": "max_output_tokens"},
    ),
    response(
        "withheld",
        "refused",
        {"error_code": "content_filter"},
        status="incomplete",
        incomplete_details={"reason": "content_filter"},
    ),
    response(
        "failed under HTTP 200",
        "failed",
        {"error_code": "server_error", "error_message": "Oops."},
        status="failed",
        error={"code": "server_error", "message": "Oops."},
        output=[],
    ),
    response("failed without a cause", "failed", {"error_code": "response_cancelled"}, status="cancelled"),
    response("a refusal part", "refused", {"refusal": "I cannot.", "text": None}, output=[REFUSAL]),
    response(
        "reasoning and a call",
        "succeeded",
        {
            "text": None,
            "reasoning": "so",
            "tool_calls": [{"id": "call_1", "type": "function_call", "name": "look_up", "arguments": "{}"}],
        },
        output=[THOUGHT, CALL],
    ),
    response(
        "commentary before the answer",
        "succeeded",
        {"text": "Paris.", "reasoning": "so\n\nI look it up."},
        output=[THOUGHT, message("I look it up.", "commentary"), message("Paris.", "final_answer")],
    ),
    response(
        "commentary and no answer",
        "succeeded",
        {"text": "I look it up.", "reasoning": None},
        output=[message("I look it up.", "commentary")],
    ),
    response(
        "the same message twice",
        "succeeded",
        {"text": "Paris."},
        output=[message("Paris."), message("Paris.")],
    ),
    response(
        "a message that was cut off, and the whole answer behind it",
        "succeeded",
        {"text": "Paris, of course."},
        output=[message("Paris, of", status="incomplete"), CALL, message("Paris, of course.")],
    ),
    response(
        "the whole answer, and one that was begun again",
        "succeeded",
        {"text": "Paris, of course."},
        output=[THOUGHT, message("Paris, of course."), THOUGHT, message("Pa", status="in_progress")],
    ),
    response(
        "an answer, and a message that says nothing",
        "succeeded",
        {"text": "Paris."},
        output=[message("Paris."), message("")],
    ),
    response(
        "several messages, none of them complete",
        "truncated",
        {"text": "Paris, of", "error_code": "incomplete"},
        output=[message("Pa", status="incomplete"), message("Paris, of", status="incomplete")],
    ),
    response(
        "a refusal that was taken back",
        "succeeded",
        {"text": "Paris.", "refusal": None},
        output=[REFUSAL, message("Paris.")],
    ),
    response(
        "calls of the API's own tools",
        "succeeded",
        {
            "tool_calls": [
                {"id": id_, "type": kind, "name": None, "arguments": arguments}
                for id_, kind, arguments in (
                    ("ws_1", "web_search_call", '{"type": "search", "query": "Paris"}'),
                    ("fs_1", "file_search_call", '["Paris", "France"]'),
                    ("ci_1", "code_interpreter_call", "1 + 1"),
                    ("c_1", "computer_call", '{"type": "type", "text": "Paris"}'),
                    ("p_1", "apply_patch_call", '{"type": "delete_file", "path": "a"}'),
                )
            ]
        },
        output=[
            {"type": "web_search_call", "id": "ws_1", "action": {"type": "search", "query": "Paris"}},
            {"type": "file_search_call", "id": "fs_1", "queries": ["Paris", "France"], "results": None},
            {"type": "code_interpreter_call", "id": "ci_1", "code": "1 + 1", "outputs": None},
            {"type": "computer_call", "id": "x", "call_id": "c_1", "action": {"type": "type", "text": "Paris"}},
            {"type": "apply_patch_call", "call_id": "p_1", "operation": {"type": "delete_file", "path": "a"}},
        ],
    ),
    response(
        "content as a text",
        "succeeded",
        {"text": "Hi."},
        typed=False,
        output=[{"type": "message", "content": "Hi."}],
    ),
    response(
        "content as texts",
        "succeeded",
        {"text": "Hi."},
        typed=False,
        output=[{"type": "message", "content": ["H", "i."]}],
    ),
    response(
        "a call that asks for approval",
        "succeeded",
        {"tool_calls": [{"id": "ar_1", "type": "mcp_approval_request", "name": "f", "arguments": "{}"}]},
        output=[{"type": "mcp_approval_request", "id": "ar_1", "name": "f", "arguments": "{}", "server_label": "s"}],
    ),
    response("nothing but thoughts", "failed", {"error_code": "no_answer", "text": None}, output=[THOUGHT]),
    response(
        "a message without parts",
        "failed",
        {"error_code": "no_answer", "text": None, "finish_reason": "completed"},
        output=[{"type": "message", "status": "completed", "content": []}],
    ),
    response("an empty text", "succeeded", {"text": ""}, output=[message("")]),
    response("an item of tomorrow", "succeeded", {"text": None}, output=[THOUGHT, {"type": "compaction", "id": "c"}]),
    response("no output", "failed", {"error_code": "no_answer"}, output=[]),
]

EMBEDDINGS_LINES = [
    embedding("numbers", embeddings_body(VECTOR), "succeeded", embedding=VECTOR, embeddings=None, input_tokens=8),
    embedding("base64", embeddings_body(BASE64), "succeeded", embedding=VECTOR),
    embedding("whole numbers", embeddings_body([1, 2, 3]), "succeeded", embedding=[1.0, 2.0, 3.0]),
    embedding(
        "several inputs", embeddings_body(VECTOR, BASE64), "succeeded", embedding=None, embeddings=[VECTOR, VECTOR]
    ),
    Recorded(
        "several inputs out of order",
        EMBEDDINGS,
        encoded(
            success(
                "1",
                {
                    **embeddings_body(VECTOR),
                    "data": [{"index": 1, "embedding": VECTOR}, {"index": 0, "embedding": [0, 0, 0]}],
                },
            )
        ),
        "succeeded",
        {"embeddings": [[0.0, 0.0, 0.0], VECTOR]},
    ),
    embedding("another size", embeddings_body([1.0]), "failed", own_failure=True, error_code="embedding_size"),
    embedding("no vector", embeddings_body([]), "failed", own_failure=True, error_code="no_answer"),
    Recorded(
        "base64 of no floats",
        EMBEDDINGS,
        encoded(success("1", embeddings_body("AAAA"))),
        "failed",
        {"error_code": "embedding_size"},
        own_failure=True,
    ),
    Recorded(
        "text in place of a vector",
        EMBEDDINGS,
        encoded(success("1", embeddings_body("no base64"))),
        "failed",
        {"error_code": "no_answer"},
        typed=False,
        own_failure=True,
    ),
    Recorded(
        "a hole in a vector",
        EMBEDDINGS,
        encoded(success("1", embeddings_body([1.0, None, 2.0]))),
        "failed",
        {"error_code": "no_answer"},
        typed=False,
        own_failure=True,
    ),
    Recorded(
        "numbers as text",
        EMBEDDINGS,
        encoded(success("1", embeddings_body(["1", "-0.5", 0.25]))),
        "succeeded",
        {"embedding": VECTOR},
        typed=False,
    ),
]

SCORES = {
    "flagged": True,
    "categories": {"violence": True, "hate": False},
    "category_scores": {"violence": 0.9, "hate": 0.1},
}
VERDICT = {"flagged": True, "flagged_categories": ["violence"], "category_scores": [("violence", 0.9), ("hate", 0.1)]}

OTHER_LINES = [
    Recorded(
        "a completion",
        Endpoint.COMPLETIONS,
        encoded(
            success(
                "1",
                {
                    "model": "gpt-3.5-turbo-instruct",
                    "choices": [
                        {
                            "text": "Hi",
                            "index": 0,
                            "finish_reason": "length",
                            "logprobs": {
                                "tokens": ["H", "i"],
                                "token_logprobs": [None, -0.5],
                                "top_logprobs": [None, {"i": -0.5, "a": -2.0}],
                            },
                        }
                    ],
                    "usage": {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12},
                },
            )
        ),
        "truncated",
        {
            "text": "Hi",
            "output_tokens": 7,
            "logprobs": [
                {"token": "H", "logprob": None, "top_logprobs": None},
                {
                    "token": "i",
                    "logprob": -0.5,
                    "top_logprobs": [{"token": "i", "logprob": -0.5}, {"token": "a", "logprob": -2.0}],
                },
            ],
        },
    ),
    Recorded(
        "a moderation",
        Endpoint.MODERATIONS,
        encoded(success("1", {"id": "modr-1", "model": "omni-moderation-latest", "results": [SCORES]})),
        "succeeded",
        {**VERDICT, "results": None, "cost_usd": 0},
    ),
    Recorded(
        "several moderations",
        Endpoint.MODERATIONS,
        encoded(success("1", {"model": "omni-moderation-latest", "results": [SCORES, SCORES]})),
        "succeeded",
        {"results": [VERDICT, VERDICT]},
    ),
    Recorded(
        "an image",
        Endpoint.IMAGES_GENERATIONS,
        encoded(success("1", {"data": [{"b64_json": "AAAA", "revised_prompt": "a cat"}]})),
        "succeeded",
        {
            "images": [{"url": None, "file": None, "revised_prompt": "a cat"}],
            "response": None,
        },
    ),
    Recorded(
        "an image that is neither base64 nor a URL",
        Endpoint.IMAGES_EDITS,
        encoded(success("1", {"data": [{"b64_json": "no base64"}], "size": "1024x1024"})),
        "failed",
        {
            "error_code": "unreadable_line",
            "size": "1024x1024",
            "response": '{"data": [{"b64_json": null}], "size": "1024x1024"}',
        },
        typed=False,
        own_failure=True,
    ),
    Recorded(
        "a video",
        Endpoint.VIDEOS,
        encoded(
            success(
                "1", {"id": "video_1", "status": "completed", "seconds": "4", "size": "720x1280", "model": "sora-2"}
            )
        ),
        "succeeded",
        {"video_id": "video_1", "seconds": 4.0, "cost_usd": None},
    ),
    Recorded(
        "a failed video",
        Endpoint.VIDEOS,
        encoded(
            success(
                "1", {"id": "video_1", "status": "failed", "error": {"code": "moderation_blocked", "message": "No."}}
            )
        ),
        "failed",
        {"error_code": "moderation_blocked"},
        own_failure=True,
    ),
]

LINES = [*CHAT_LINES, *UNEXPECTED_CHAT_LINES, *RESPONSES_LINES, *EMBEDDINGS_LINES, *OTHER_LINES]
