"""
Result lines as typed structs: only what a column is made of; the decoder skips the rest without building it.

Every field may be absent or null, and every number has bounds that fit its column. A line that does not fit (content as
a list of parts, tokens as text, a body as a JSON string) is a `ValidationError` here and is read again by `tolerant.py`
into the same structs, so that what follows has one shape to deal with.
"""

from __future__ import annotations

from typing import Annotated, Any, Generic, TypeVar

from msgspec import Meta, Raw, Struct

#: A count of tokens. The bound keeps every sum of a shard within 64 bits.
Count = Annotated[int, Meta(ge=0, le=2**53)]
#: HTTP status; 0 has been seen where a server gave up before it had one.
StatusCode = Annotated[int, Meta(ge=0, le=999)]

BodyT = TypeVar("BodyT")


class ErrorInfo(Struct, gc=False):
    """`error` of a line, or of a body."""

    code: str | None = None
    message: str | None = None
    type: str | None = None


class TokenDetails(Struct, gc=False):
    """`*_tokens_details` of any endpoint."""

    cached_tokens: Count | None = None
    cache_write_tokens: Count | None = None
    reasoning_tokens: Count | None = None
    audio_tokens: Count | None = None
    image_tokens: Count | None = None


class Usage(Struct, gc=False):
    """`usage` of any endpoint: chat and completions count prompts, the others input."""

    prompt_tokens: Count | None = None
    completion_tokens: Count | None = None
    input_tokens: Count | None = None
    output_tokens: Count | None = None
    total_tokens: Count | None = None
    prompt_tokens_details: TokenDetails | None = None
    completion_tokens_details: TokenDetails | None = None
    input_tokens_details: TokenDetails | None = None
    output_tokens_details: TokenDetails | None = None


class Body(Struct, gc=False):
    """What the bodies of all endpoints share; a failed request's body has only `error`."""

    model: str | None = None
    usage: Usage | None = None
    error: ErrorInfo | None = None


class Response(Struct, Generic[BodyT], gc=False):
    """`response` of a line."""

    status_code: StatusCode | None = None
    request_id: str | None = None
    body: BodyT | None = None


class Line(Struct, Generic[BodyT], gc=False):
    """One result line."""

    custom_id: str | None = None
    response: Response[BodyT] | None = None
    error: ErrorInfo | None = None


class LineId(Struct, gc=False):
    """One result line, for its id alone."""

    custom_id: str | None = None


class RawResponse(Struct, gc=False):
    """`response` of a line, its body left as text."""

    #: Empty where the line has none. A union with None would not be decoded as raw.
    body: Raw = Raw(b"")


class RawLine(Struct, gc=False):
    """One result line, its body left as text."""

    response: RawResponse | None = None


class TokenChance(Struct, gc=False):
    """One of the likely tokens at a place."""

    token: str | None = None
    logprob: float | None = None


class TokenLogprob(Struct, gc=False):
    """The chosen token at a place, and the likely ones."""

    token: str | None = None
    logprob: float | None = None
    top_logprobs: list[TokenChance] | None = None


class Function(Struct, gc=False):
    """`function`, or `custom`, of a tool call."""

    name: str | None = None
    arguments: Any = None
    input: Any = None


class ToolCall(Struct, gc=False):
    """One tool call of a chat message."""

    id: str | None = None
    type: str | None = None
    function: Function | None = None
    custom: Function | None = None


class Audio(Struct, gc=False):
    """`audio` of a chat message: what was said."""

    transcript: str | None = None


class Message(Struct, gc=False):
    """`message` of a chat choice. `reasoning_content` and `reasoning` are compatible servers' (vLLM, DeepSeek)."""

    content: str | None = None
    refusal: str | None = None
    tool_calls: list[ToolCall] | None = None
    function_call: Function | None = None
    audio: Audio | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None


class Logprobs(Struct, gc=False):
    """`logprobs` of a chat choice: of its text, or of its refusal."""

    content: list[TokenLogprob] | None = None
    refusal: list[TokenLogprob] | None = None


class ChatChoice(Struct, gc=False):
    """One choice of a chat completion."""

    index: Count | None = None
    finish_reason: str | None = None
    message: Message | None = None
    logprobs: Logprobs | None = None


class ChatBody(Body, gc=False):
    """`/v1/chat/completions`."""

    choices: list[ChatChoice] | None = None


class CompletionLogprobs(Struct, gc=False):
    """`logprobs` of a completion: parallel lists."""

    tokens: list[str] | None = None
    token_logprobs: list[float | None] | None = None
    top_logprobs: list[dict[str, float | None] | None] | None = None


class CompletionChoice(Struct, gc=False):
    """One choice of a completion."""

    index: Count | None = None
    text: str | None = None
    finish_reason: str | None = None
    logprobs: CompletionLogprobs | None = None


class CompletionBody(Body, gc=False):
    """`/v1/completions`."""

    choices: list[CompletionChoice] | None = None


class OutputPart(Struct, gc=False):
    """One part of an output item: `output_text`, `refusal`, `summary_text` or `reasoning_text`."""

    type: str | None = None
    text: str | None = None
    refusal: str | None = None
    logprobs: list[TokenLogprob] | None = None


class OutputItem(Struct, gc=False):
    """
    One item of `output`: a message, reasoning, or a tool call.

    What a call is asked to do stands under a name of its tool's own: `arguments` down to `code`.
    """

    type: str | None = None
    id: str | None = None
    call_id: str | None = None
    phase: str | None = None
    status: str | None = None
    name: str | None = None
    arguments: Any = None
    input: Any = None
    action: Any = None
    actions: Any = None
    operation: Any = None
    queries: Any = None
    code: Any = None
    content: list[OutputPart] | None = None
    summary: list[OutputPart] | None = None
    result: str | None = None
    revised_prompt: str | None = None


class IncompleteDetails(Struct, gc=False):
    """Why a response is incomplete."""

    reason: str | None = None


class ResponsesBody(Body, gc=False):
    """`/v1/responses`."""

    id: str | None = None
    status: str | None = None
    incomplete_details: IncompleteDetails | None = None
    output: list[OutputItem] | None = None


class EmbeddingItem(Struct, gc=False):
    """One vector: numbers, or base64 of little-endian 32-bit floats."""

    index: Count | None = None
    embedding: bytes | list[float] | None = None


class EmbeddingsBody(Body, gc=False):
    """`/v1/embeddings`."""

    data: list[EmbeddingItem] | None = None


class ModerationResult(Struct, gc=False):
    """The verdict on one input."""

    flagged: bool | None = None
    categories: dict[str, bool | None] | None = None
    category_scores: dict[str, float | None] | None = None


class ModerationsBody(Body, gc=False):
    """`/v1/moderations`."""

    results: list[ModerationResult] | None = None


class Image(Struct, gc=False):
    """One image: its bytes, or where it can be fetched for a while."""

    b64_json: bytes | None = None
    url: str | None = None
    revised_prompt: str | None = None


class ImagesBody(Body, gc=False):
    """`/v1/images/generations` and `/v1/images/edits`."""

    data: list[Image] | None = None
    output_format: str | None = None
    size: str | None = None
    quality: str | None = None
    background: str | None = None


class VideoBody(Body, gc=False):
    """`/v1/videos`."""

    id: str | None = None
    status: str | None = None
    seconds: str | None = None
    size: str | None = None
