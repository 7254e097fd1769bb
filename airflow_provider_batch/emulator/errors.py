"""Make the API's errors: `{"error": {message, type, param, code}}`, and messages that several modules use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_batch.emulator.faults import FaultRule


class CallError(Exception):
    """
    Error that a route answers with.

    :param status: HTTP status.
    :param message: Error message.
    :param error_type: `type` of the error.
    :param param: Name of the wrong parameter, or None.
    :param code: Error code, or None.
    :param headers: More headers, such as `Retry-After`; None for none.
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
        """Return the JSON body of the error."""
        return envelope(self.message, error_type=self.error_type, param=self.param, code=self.code)


def envelope(message: str, *, error_type: str, param: str | None = None, code: str | None = None) -> dict[str, Any]:
    """
    Return an error as the API sends it, in an HTTP answer and in a result line.

    :param message: Error message.
    :param error_type: `type` of the error.
    :param param: Name of the wrong parameter, or None.
    :param code: Error code, or None.
    """
    return {"error": {"message": message, "type": error_type, "param": param, "code": code}}


def error_type_of(status: int) -> str:
    """
    Return the `type` of an error.

    :param status: HTTP status; 0 counts as a server error.
    """
    if status == 429:
        return "requests"
    if status >= 500 or status == 0:
        return "server_error"
    return "invalid_request_error"


def no_such_file(file_id: str) -> CallError:
    """
    Return the error 404 of a route of files.

    :param file_id: Id in the call.
    """
    return CallError(404, f"No such File object: {file_id}", param="id")


def no_such_batch(batch_id: str) -> CallError:
    """
    Return the error 404 of a route of batches.

    :param batch_id: Id in the call.
    """
    return CallError(404, f"No batch found with id '{batch_id}'.")


def missing_parameter(name: str) -> CallError:
    """
    Return the error 400 for a parameter that is missing.

    :param name: Name of the parameter.
    """
    return CallError(400, f"Missing required parameter: '{name}'.", param=name, code="missing_required_parameter")


def cannot_find_text(file_id: str, owner: str) -> str:
    """
    Return the message about an input file that does not exist.

    :param file_id: Id in the create call.
    :param owner: Who would have access to it: "organization ..." or "project ...".
    """
    return f"Cannot find file {file_id}, or {owner} does not have access to it."


def cannot_find_file(file_id: str, project: str) -> CallError:
    """
    Return the error 400 of a create call whose input file does not exist.

    :param file_id: Id in the call.
    :param project: Name of the project.
    """
    return CallError(400, cannot_find_text(file_id, f"project {project}"), param="file_id")


def file_not_ready(file_id: str, rule: FaultRule, project: str) -> CallError:
    """
    Return the error of a create call whose input file is not ready, with the texts of the fault rule.

    :param file_id: Id in the call.
    :param rule: Rule of the kind `file_not_ready`.
    :param project: Name of the project.
    """
    text = (rule.message or cannot_find_text("{file}", f"project {project}")).replace("{file}", file_id)
    status = 400 if rule.status == 500 else rule.status
    return CallError(status, text, param=rule.param or "file_id", code=rule.code)


def wrong_batch_id(batch_id: str) -> CallError:
    """
    Return the error 400 of a route of batches for a text that is no id of a batch.

    :param batch_id: Id in the call.
    """
    text = f"Invalid 'batch_id': '{batch_id}'. Expected an ID that begins with 'batch'."
    return CallError(400, text, param="batch_id", code="invalid_value")


def token_limit_text(model: str | None, organization: str, limit: int) -> str:
    """
    Return the message of `token_limit_exceeded`.

    :param model: Name of the model.
    :param organization: Name of the organization in the message.
    :param limit: Maximum of enqueued tokens.
    """
    return (
        f"Enqueued token limit reached for {model} in organization {organization}. Limit: {limit:,} enqueued tokens. "
        "Please try again once some in_progress batches have been completed."
    )
