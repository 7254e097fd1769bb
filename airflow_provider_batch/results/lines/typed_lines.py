"""
Result lines as typed structs: only the fields that columns need; the decoder skips the others.

Every field may be missing or null, and every number has bounds that fit its column. A line that does not fit (content
as a list of parts, token counts as text, a body as a JSON string) raises `msgspec.ValidationError` here. Then
`lenient_path.py` reads it into the same structs, so that the extractors handle one form only.
"""

from __future__ import annotations

from typing import Annotated, Generic, TypeVar

from msgspec import Meta, Raw, Struct

#: A number of tokens. The bound keeps every sum over a shard within 64 bits.
Count = Annotated[int, Meta(ge=0, le=2**53)]
#: HTTP status; some servers write 0 where they have none.
StatusCode = Annotated[int, Meta(ge=0, le=999)]

BodyT = TypeVar("BodyT")


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


class Response(Struct, Generic[BodyT], gc=False):
    """
    The field `response` of a result line.

    :param status_code: HTTP status of the request.
    :param request_id: The API's id of the request.
    :param body: The response body.
    """

    status_code: StatusCode | None = None
    request_id: str | None = None
    body: BodyT | None = None


class Line(Struct, Generic[BodyT], gc=False):
    """
    One result line.

    :param custom_id: Id of the request.
    :param response: The response; None where the request did not run.
    :param error: Why the request did not run.
    """

    custom_id: str | None = None
    response: Response[BodyT] | None = None
    error: ErrorInfo | None = None


class LineId(Struct, gc=False):
    """
    One result line, of which only the id is read.

    :param custom_id: Id of the request.
    """

    custom_id: str | None = None


class RawResponse(Struct, gc=False):
    """
    The field `response` of a result line, with the body as undecoded JSON.

    :param body: The body; empty where the line has none. Its type is no union with None, which msgspec would decode.
    """

    body: Raw = Raw(b"")


class RawLine(Struct, gc=False):
    """
    One result line, with the body as undecoded JSON.

    :param response: The response; None where the request did not run.
    """

    response: RawResponse | None = None
