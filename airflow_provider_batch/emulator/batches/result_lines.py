"""
Make and encode result lines.

The default style is the one of the API's own files, which is that of Python's `json.dumps`: ASCII only, `", "` and
`": "` between items. The other style is compact UTF-8, as compatible servers write it. Faults that change the written
line are applied here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from airflow_provider_batch.emulator.faults import FaultRule

Style = Literal["ascii", "compact"]

_RAW = re.compile(rb'"\\u0000([0-9a-f]{32}/\d+)\\u0000"')
_EXPIRED = "This request could not be executed before the completion window expired."
_CANCELLED = "This request was not executed because the batch was cancelled."


def encode(line: dict[str, Any], raw: dict[str, bytes], style: Style, *, raw_separators: bool = False) -> bytes:
    """
    Return a result line as bytes, without its line break.

    :param line: Result line, or a response body.
    :param raw: Encoded JSON by the text that replaces it in `line`.
    :param style: "ascii" or "compact".
    :param raw_separators: Write U+2028 and other separators as they are, not escaped.
    """
    if style == "compact":
        encoded = _compact(line)
    else:
        encoded = json.dumps(line, ensure_ascii=not raw_separators).encode("utf-8", "surrogatepass")
    if not raw:
        return encoded
    separator = b"," if style == "compact" else b", "

    def value(found: re.Match[bytes]) -> bytes:
        return raw.get(f"\x00{found[1].decode()}\x00", found[0]).replace(b",", separator)

    return _RAW.sub(value, encoded)


def _compact(line: dict[str, Any]) -> bytes:
    try:
        return msgspec.json.encode(line)
    except UnicodeEncodeError:
        # A lone surrogate has no UTF-8 form: it is written as an escape.
        return json.dumps(line, separators=(",", ":")).encode()


def answered(line_id: str, custom_id: str, request_id: str, status: int, body: Any) -> dict[str, Any]:
    """
    Return the result line of a request that got an HTTP answer, with any status.

    :param line_id: Id of the result line.
    :param custom_id: Id of the request.
    :param request_id: Id of the HTTP request.
    :param status: HTTP status.
    :param body: Response body.
    """
    response = {"status_code": status, "request_id": request_id, "body": body}
    return {"id": line_id, "custom_id": custom_id, "response": response, "error": None}


def not_run(line_id: str, custom_id: str, code: str, message: str) -> dict[str, Any]:
    """
    Return the result line of a request that was not run.

    :param line_id: Id of the result line.
    :param custom_id: Id of the request.
    :param code: Error code.
    :param message: Error message.
    """
    return {"id": line_id, "custom_id": custom_id, "response": None, "error": {"code": code, "message": message}}


def ended_early(line_id: str, custom_id: str, ending: str) -> dict[str, Any]:
    """
    Return the result line of a request that was not run because its batch was cancelled or expired.

    :param line_id: Id of the result line.
    :param custom_id: Id of the request.
    :param ending: "expired" or "cancelled".
    """
    message = _EXPIRED if ending == "expired" else _CANCELLED
    return not_run(line_id, custom_id, f"batch_{ending}", message)


def in_several_messages(body: dict[str, Any]) -> dict[str, Any]:
    """
    Return a response that holds its message three times: cut off, whole, and whole again.

    :param body: Body of a response of `/v1/responses`.
    """
    output: list[Any] = []
    for item in body.get("output") or ():
        if item["type"] == "message":
            parts = [
                {**part, "text": part["text"][: len(part["text"]) // 2]} for part in item["content"] if "text" in part
            ]
            output += [{**item, "status": "incomplete", "content": parts}, item]
        output.append(item)
    return {**body, "output": output}


def with_faults(encoded: bytes, line_id: str, rules: Sequence[FaultRule]) -> bytes:
    """
    Return what is written for a result line, line breaks included, with faults applied.

    :param encoded: Encoded line, without a line break.
    :param line_id: Id of the result line.
    :param rules: Fault rules that were chosen for the line.
    """
    kinds = {rule.kind: rule for rule in rules}
    written = encoded + b"\n"
    if "broken_line" in kinds:
        written = encoded[: len(encoded) // 2] + b"\n"
    if "duplicate_line" in kinds:
        written *= 1 + kinds["duplicate_line"].count
    if "foreign_line" in kinds:
        body = {"object": "foreign"}
        foreign = answered(f"{line_id}f", f"foreign-{line_id[-8:]}", line_id[-32:], 200, body)
        written += json.dumps(foreign).encode() + b"\n"
    return written + b"\n" if "blank_line" in kinds else written
