"""
Result lines as typed structs: only the fields that columns need; the decoder skips the others.

Every field may be missing or null, and every number has bounds that fit its column. A line that does not fit (content
as a list of parts, token counts as text, a body as a JSON string) raises `msgspec.ValidationError` here. Then
`lenient_path.py` reads it into the same structs, so that the extractors handle one form only.
"""

from __future__ import annotations

from typing import Annotated, Generic, Literal, TypeVar

from msgspec import Meta, Raw, Struct

from airflow_provider_batch.answers.body import ErrorInfo

#: HTTP status; some servers write 0 where they have none.
StatusCode = Annotated[int, Meta(ge=0, le=999)]

BodyT = TypeVar("BodyT")


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


class UsualResponse(Struct, Generic[BodyT], gc=False):
    """
    The field `response` of a usual line.

    :param status_code: HTTP status of the request.
    :param body: The response body.
    :param request_id: The API's id of the request.
    """

    status_code: Literal[200]
    body: BodyT
    request_id: str | None = None


class UsualLine(Struct, Generic[BodyT], gc=False):
    """
    A usual result line: a success with one complete answer.

    :param response: The response.
    """

    response: UsualResponse[BodyT]


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
