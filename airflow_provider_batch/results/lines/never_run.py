"""
Recognise result lines of requests that did not run: neither an answer nor an error, and HTTP status 0 or none.

Some services write such lines. A line with any other content is an answer in an unknown form, which may be charged.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_batch.results.lines.lenient_path import read_json

#: Fields of a line, and of its response, that identify the request and do not belong to a result.
_NAMES = frozenset({"id", "custom_id", "request_id", "status_code", "object", "method", "url"})
_NO_STATUS = (None, 0, "", "0")


def has_no_result(raw: bytes) -> bool:
    """
    Return whether a result line contains only fields that identify its request.

    :param raw: The result line.
    """
    try:
        line = read_json(raw)
        return isinstance(line, dict) and _is_empty(line)
    except (ValueError, RecursionError):
        return False


def _is_empty(value: Any) -> bool:
    if isinstance(value, Mapping):
        return _has_no_status(value) and all(_is_empty(one) for name, one in value.items() if name not in _NAMES)
    if isinstance(value, list):
        return all(map(_is_empty, value))
    return value is None or (isinstance(value, str) and not value.strip())


def _has_no_status(value: Mapping[str, Any]) -> bool:
    status: Any = value.get("status_code")
    return not isinstance(status, list | dict) and status in _NO_STATUS
