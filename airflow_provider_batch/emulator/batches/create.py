"""Check the body of a create call, in the order of the API's own checks."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from airflow_provider_batch.api.service import COMPLETION_WINDOW, Service, window_hours
from airflow_provider_batch.emulator.answers import ENDPOINTS
from airflow_provider_batch.emulator.errors import CallError, missing_parameter
from airflow_provider_batch.emulator.records import BatchRecord
from airflow_provider_batch.emulator.services.table import new_id
from airflow_provider_batch.emulator.settings import NEVER

MAX_PAIRS, MAX_KEY, MAX_VALUE = 16, 64, 512
#: Allowed seconds of an expiry policy.
MIN_LIFETIME, MAX_LIFETIME = 3_600, 2_592_000
#: Endpoints in the order in which the service lists them; others follow.
_LISTED_FIRST = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses", "/v1/moderations")
_JSON_NAMES = {
    bool: "a boolean",
    int: "an integer",
    float: "a decimal",
    str: "a string",
    list: "an array",
    dict: "an object",
}


def batch_from(body: Any, *, service: Service, clock_speed: float = 1.0) -> BatchRecord:
    """
    Return the record of a new batch.

    :param body: Decoded JSON body of the create call.
    :param service: What the service takes.
    :param clock_speed: Divides the time from creation to expiry.
    :raises CallError: A parameter is missing or wrong.
    """
    if not isinstance(body, Mapping):
        raise CallError(400, "We could not parse the JSON body of your request.")
    for name in ("input_file_id", "endpoint", "completion_window"):
        if body.get(name) is None:
            raise missing_parameter(name)
        _expect(body[name], str, name)
    allowed = tuple(endpoint.value for endpoint in service.endpoints if endpoint.value in ENDPOINTS)
    endpoint = with_v1(body["endpoint"], service)
    if endpoint not in allowed:
        raise invalid_value("endpoint", body["endpoint"], _in_listed_order(allowed))
    window = body["completion_window"]
    if service.window_problem(window) is not None or window_hours(window) is None:
        raise invalid_value("completion_window", window, tuple(dict.fromkeys(service.windows or (COMPLETION_WINDOW,))))
    for name, is_taken in ("metadata", service.takes_metadata), ("output_expires_after", service.expiry is not None):
        if body.get(name) and not is_taken:
            raise CallError(400, f"Unknown parameter: '{name}'.", param=name, code="unknown_parameter")
    now = time.time()
    return BatchRecord(
        id=new_id(service.batch_id_form),
        endpoint=endpoint,
        input_file_id=body["input_file_id"],
        completion_window=window,
        created_at=now,
        expires_at=now + 3_600 * (window_hours(window) or 0) / clock_speed if service.batches_expire else NEVER,
        metadata=_metadata(body.get("metadata")),
        output_lifetime=_output_lifetime(body.get("output_expires_after")),
    )


def with_v1(url: str, service: Service) -> str:
    """
    Return an endpoint or the ``url`` of a request line with its ``/v1``, where the service has addresses without it.

    :param url: Path.
    :param service: What the service takes.
    """
    return url if service.versioned_path is None or url.startswith("/v1/") else f"/v1{url}"


def _metadata(value: Any) -> dict[str, str] | None:
    if value is None:
        return None
    _expect(value, dict, "metadata")
    if len(value) > MAX_PAIRS:
        text = f"Invalid 'metadata': too many properties. Expected an object with at most {MAX_PAIRS} properties"
        raise CallError(400, f"{text}, but got {len(value)}.", param="metadata", code="object_above_max_properties")
    for key, text in value.items():
        _expect(text, str, f"metadata.{key}")
        if len(key) > MAX_KEY:
            raise _too_long(f"metadata.{key}", MAX_KEY, len(key))
        if len(text) > MAX_VALUE:
            raise _too_long(f"metadata.{key}", MAX_VALUE, len(text))
    return dict(value)


def _output_lifetime(value: Any) -> float | None:
    if value is None:
        return None
    _expect(value, dict, "output_expires_after")
    return lifetime(value.get("anchor"), value.get("seconds"), "output_expires_after")


def lifetime(anchor: Any, seconds: Any, name: str) -> float:
    """
    Return the seconds of an expiry policy.

    :param anchor: `anchor` of the policy; only "created_at" is allowed.
    :param seconds: `seconds` of the policy, 3,600 to 2,592,000.
    :param name: Name of the parameter, for the message.
    :raises CallError: The API refuses the policy.
    """
    if anchor != "created_at":
        raise invalid_value(f"{name}.anchor", anchor, ("created_at",))
    try:
        number = int(seconds)
    except (TypeError, ValueError):
        raise _wrong_type(f"{name}.seconds", "an integer", seconds) from None
    if not MIN_LIFETIME <= number <= MAX_LIFETIME:
        side, code = (
            ("above", "integer_above_max_value") if number > MAX_LIFETIME else ("below", "integer_below_min_value")
        )
        text = f"Invalid '{name}.seconds': integer {side} what is allowed. Expected {MIN_LIFETIME} to {MAX_LIFETIME}"
        raise CallError(400, f"{text}, but got {number} instead.", param=f"{name}.seconds", code=code)
    return float(number)


def page_limit(text: str | None, *, default: int, highest: int) -> int:
    """
    Return the `limit` of a list call.

    :param text: Query parameter; None takes the default.
    :param default: Entries in a page where the call has no limit.
    :param highest: Largest allowed limit.
    :raises CallError: The limit is no whole number or out of range.
    """
    if text is None:
        return default
    try:
        number = int(text)
    except ValueError:
        raise _wrong_type("limit", "an integer", text) from None
    if number > highest:
        message = (
            f"Invalid 'limit': integer above maximum value. Expected a value <= {highest}, but got {number} instead."
        )
        raise CallError(400, message, param="limit", code="integer_above_max_value")
    if number < 1:
        message = f"Invalid 'limit': integer below minimum value. Expected a value >= 1, but got {number} instead."
        raise CallError(400, message, param="limit", code="integer_below_min_value")
    return number


def invalid_value(param: str, found: Any, allowed: tuple[str, ...]) -> CallError:
    """
    Return the error 400 for a value that is not allowed.

    :param param: Name of the parameter.
    :param found: Value in the call.
    :param allowed: All allowed values.
    """
    text = f"Invalid value: '{found}'. Supported values are: {_listed(allowed)}."
    return CallError(400, text, param=param, code="invalid_value")


def _in_listed_order(endpoints: tuple[str, ...]) -> tuple[str, ...]:
    later = len(_LISTED_FIRST)
    return tuple(sorted(endpoints, key=lambda one: _LISTED_FIRST.index(one) if one in _LISTED_FIRST else later))


def _listed(names: tuple[str, ...]) -> str:
    quoted = [f"'{name}'" for name in names]
    if len(quoted) < 3:
        return " and ".join(quoted)
    return f"{', '.join(quoted[:-1])}, and {quoted[-1]}"


def _expect(value: Any, kind: type, param: str) -> None:
    if not isinstance(value, kind):
        raise _wrong_type(param, _JSON_NAMES[kind], value)


def _wrong_type(param: str, expected: str, found: Any) -> CallError:
    got = "null" if found is None else _JSON_NAMES.get(type(found), "something else")
    text = f"Invalid type for '{param}': expected {expected}, but got {got} instead."
    return CallError(400, text, param=param, code="invalid_type")


def _too_long(param: str, limit: int, found: int) -> CallError:
    expected = f"Expected a string with maximum length {limit}, but got a string with length {found} instead."
    text = f"Invalid '{param}': string too long. {expected}"
    return CallError(400, text, param=param, code="string_above_max_length")
