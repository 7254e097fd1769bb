"""
Fields that the response bodies of all endpoints share, as typed structs.

Every field may be missing or null, and every number has bounds that fit its column.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

from msgspec import Meta, Struct, field

#: A number of tokens. The bound keeps every sum over a shard within 64 bits.
Count = Annotated[int, Meta(ge=0, le=2**53)]
#: An empty list, or null.
Empty: TypeAlias = Annotated[list[Any], Meta(max_length=0)] | None
#: Model of a usual body.
ModelName = Annotated[str, Meta(min_length=1)]


class ErrorInfo(Struct, gc=False):
    """
    The field `error` of a result line or of a body.

    :param code: Error code.
    :param message: Error text.
    :param type: Kind of error.
    """

    code: str | None = None
    message: str | None = None
    type: str | None = None


class TokenDetails(Struct, gc=False):
    """
    The `*_tokens_details` of `usage`, for every endpoint.

    :param cached_tokens: Input tokens read from the cache.
    :param cache_write_tokens: Input tokens written to the cache.
    :param reasoning_tokens: Output tokens used for reasoning.
    :param audio_tokens: Tokens of audio.
    :param image_tokens: Tokens of images.
    """

    cached_tokens: Count | None = None
    cache_write_tokens: Count | None = None
    reasoning_tokens: Count | None = None
    audio_tokens: Count | None = None
    image_tokens: Count | None = None


class Usage(Struct, gc=False):
    """
    The field `usage` of every endpoint. Chat completions and completions use the names with `prompt` and `completion`.

    :param prompt_tokens: Tokens of the request.
    :param completion_tokens: Tokens of the answer.
    :param input_tokens: Tokens of the request.
    :param output_tokens: Tokens of the answer.
    :param total_tokens: Tokens of request and answer.
    :param prompt_tokens_details: Details of the request's tokens.
    :param completion_tokens_details: Details of the answer's tokens.
    :param input_tokens_details: Details of the request's tokens.
    :param output_tokens_details: Details of the answer's tokens.
    """

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
    """
    The fields that the bodies of all endpoints share; the body of a failed request has only `error`.

    :param model: The model that answered.
    :param usage: Tokens of request and answer.
    :param error: Why the request failed.
    """

    model: str | None = None
    usage: Usage | None = None
    error: ErrorInfo | None = None


class PromptUsage(Struct, gc=False):
    """
    The field `usage` with the names of chat completions; a line with both kinds of names is not usual.

    :param input_tokens: Tokens of the request.
    :param output_tokens: Tokens of the answer.
    :param total_tokens: Tokens of request and answer.
    :param input_details: Details of the request's tokens.
    :param output_details: Details of the answer's tokens.
    :param other_input: Must be null.
    :param other_output: Must be null.
    :param other_input_details: Must be null.
    :param other_output_details: Must be null.
    """

    input_tokens: Count = field(name="prompt_tokens")
    output_tokens: Count | None = field(name="completion_tokens", default=None)
    total_tokens: Count | None = None
    input_details: TokenDetails | None = field(name="prompt_tokens_details", default=None)
    output_details: TokenDetails | None = field(name="completion_tokens_details", default=None)
    other_input: None = field(name="input_tokens", default=None)
    other_output: None = field(name="output_tokens", default=None)
    other_input_details: None = field(name="input_tokens_details", default=None)
    other_output_details: None = field(name="output_tokens_details", default=None)


class InputUsage(Struct, gc=False):
    """
    The field `usage` with the names of responses; a line with both kinds of names is not usual.

    :param input_tokens: Tokens of the request.
    :param output_tokens: Tokens of the answer.
    :param total_tokens: Tokens of request and answer.
    :param input_details: Details of the request's tokens.
    :param output_details: Details of the answer's tokens.
    :param other_input: Must be null.
    :param other_output: Must be null.
    :param other_input_details: Must be null.
    :param other_output_details: Must be null.
    """

    input_tokens: Count
    output_tokens: Count | None = None
    total_tokens: Count | None = None
    input_details: TokenDetails | None = field(name="input_tokens_details", default=None)
    output_details: TokenDetails | None = field(name="output_tokens_details", default=None)
    other_input: None = field(name="prompt_tokens", default=None)
    other_output: None = field(name="completion_tokens", default=None)
    other_input_details: None = field(name="prompt_tokens_details", default=None)
    other_output_details: None = field(name="completion_tokens_details", default=None)
