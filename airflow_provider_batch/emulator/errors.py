"""The API's error envelope, `{"error": {message, type, param, code}}`, and the texts that more than one place needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_batch.emulator.faults import FaultRule


class CallError(Exception):
    """
    An answer other than 2xx.

    :param status: HTTP status.
    :param headers: Further headers, `Retry-After` for one.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        error_type: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.error_type = status, message, error_type
        self.param, self.code, self.headers = param, code, dict(headers or {})

    def body(self) -> dict[str, Any]:
        """Return the envelope."""
        return envelope(self.message, error_type=self.error_type, param=self.param, code=self.code)


def envelope(message: str, *, error_type: str, param: str | None = None, code: str | None = None) -> dict[str, Any]:
    """Return an error as the API sends it, in an HTTP answer and in a result line alike."""
    return {"error": {"message": message, "type": error_type, "param": param, "code": code}}


def error_type_of(status: int) -> str:
    """Return the `type` that goes with an HTTP status."""
    if status == 429:
        return "requests"
    if status >= 500 or status == 0:
        return "server_error"
    return "invalid_request_error"


def no_such_file(file_id: str) -> CallError:
    """Return the 404 of the files routes."""
    return CallError(404, f"No such File object: {file_id}", param="id")


def no_such_batch(batch_id: str) -> CallError:
    """Return the 404 of the batches routes."""
    return CallError(404, f"No batch found with id '{batch_id}'.")


def missing_parameter(name: str) -> CallError:
    """Return the 400 for a parameter that is not there."""
    return CallError(400, f"Missing required parameter: '{name}'.", param=name, code="missing_required_parameter")


def cannot_find_file(file_id: str) -> CallError:
    """Return the 400 that a create gets for a file that is not there, or not there yet."""
    return CallError(400, f"Cannot find file {file_id}.", param="file_id", code="invalid_request")


def file_not_ready(file_id: str, rule: FaultRule) -> CallError:
    """Return the answer to a create whose file is not ready, in a fault's words."""
    text = (rule.message or "Cannot find file {file}.").replace("{file}", file_id)
    status = 400 if rule.status == 500 else rule.status
    return CallError(status, text, param=rule.param or "file_id", code=rule.code or "invalid_request")


def token_limit_text(model: str | None, organization: str, limit: int) -> str:
    """Return the message of `token_limit_exceeded`."""
    return (
        f"Enqueued token limit reached for {model} in organization {organization}. Limit: {limit:,} enqueued tokens. "
        "Please try again once some in_progress batches have been completed."
    )
