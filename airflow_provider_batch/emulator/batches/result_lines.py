"""
How result lines are written: as the API's own files are, by default, which means as Python's `json.dumps` does it.

ASCII only, `", "` and `": "` between items; or compact UTF-8, as compatible servers write. Faults that spoil a line
do it here.
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
    Return a line without its line break.

    :param raw: JSON by the text that stands for it in `line`.
    :param raw_separators: Write U+2028 and its like as they are.
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
        # Half an emoji has no UTF-8: only an escape can write it.
        return json.dumps(line, separators=(",", ":")).encode()


def answered(line_id: str, custom_id: str, request_id: str, status: int, body: Any) -> dict[str, Any]:
    """Return the line of a request that got an HTTP answer, good or bad."""
    response = {"status_code": status, "request_id": request_id, "body": body}
    return {"id": line_id, "custom_id": custom_id, "response": response, "error": None}


def not_run(line_id: str, custom_id: str, code: str, message: str) -> dict[str, Any]:
    """Return the line of a request that was not run."""
    return {"id": line_id, "custom_id": custom_id, "response": None, "error": {"code": code, "message": message}}


def ended_early(line_id: str, custom_id: str, ending: str) -> dict[str, Any]:
    """Return the line of a request that its batch's end left over; `ending` is "expired" or "cancelled"."""
    message = _EXPIRED if ending == "expired" else _CANCELLED
    return not_run(line_id, custom_id, f"batch_{ending}", message)


def in_several_messages(body: dict[str, Any]) -> dict[str, Any]:
    """Return a response whose message comes three times: cut off, whole, and whole again."""
    output: list[Any] = []
    for item in body.get("output") or ():
        if item["type"] == "message":
            parts = [
                {**part, "text": part["text"][: len(part["text"]) // 2]} for part in item["content"] if "text" in part
            ]
            output += [{**item, "status": "incomplete", "content": parts}, item]
        output.append(item)
    return {**body, "output": output}


def spoiled(encoded: bytes, line_id: str, rules: Sequence[FaultRule]) -> bytes:
    """Return what is written for a line, line breaks included, with the faults that are about writing."""
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
