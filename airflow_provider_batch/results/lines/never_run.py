"""
Result lines that name a request and say nothing of it: neither an answer nor an error, HTTP status 0 or none.

Services write them for requests that they never ran. A line that holds anything else is an answer in a form that is not
known, and may be paid for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_batch.results.lines.lenient_path import read_json

#: Members of a line, and of its response, that name the request and say nothing of what came of it.
_NAMES = frozenset({"id", "custom_id", "request_id", "status_code", "object", "method", "url"})
_NO_STATUS = (None, 0, "", "0")


def says_nothing(raw: bytes) -> bool:
    """Return whether a result line holds nothing beside the names of its request."""
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
