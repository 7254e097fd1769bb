"""
Validate an input file as the API does in `validating`, with the API's codes and messages.

The file is read once, line by line. Memory holds the ids, the offsets of the lines and the errors. Where the API's own
message is not known (too many requests or inputs, too large a file, a wrong method), the message is the emulator's.
"""

from __future__ import annotations

import random
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from airflow_provider_batch.emulator.answers import tokens
from airflow_provider_batch.emulator.batches.create import with_v1
from airflow_provider_batch.emulator.settings import Settings

_UNIQUE = "The custom_id parameter must be unique for each request in a batch."
_REQUIRED = ("custom_id", "method", "url", "body")
_decode = msgspec.json.Decoder().decode


@dataclass
class Validated:
    """
    Result of validating an input file.

    :param errors: Entries of `errors.data[]`; empty for a valid file.
    :param offsets: Byte offset of each line.
    :param model: Model that the lines name; None where no line names one.
    :param tokens: Input tokens of all lines.
    """

    errors: list[dict[str, Any]] = field(default_factory=list)
    offsets: array[int] = field(default_factory=lambda: array("Q"))
    model: str | None = None
    tokens: int = 0

    @property
    def total(self) -> int:
        """Number of lines."""
        return len(self.offsets)


def file_error(code: str, message: str, param: str | None = None, line: int | None = None) -> dict[str, Any]:
    """
    Return one entry of `errors.data[]`.

    :param code: Error code.
    :param message: Error message.
    :param param: Name of the parameter, or None.
    :param line: Number of the line in the input file, from 1; None where the error concerns the file.
    """
    return {"code": code, "message": message, "param": param, "line": line}


def validate_file(path: Path, endpoint: str, settings: Settings) -> Validated:
    """
    Validate an input file.

    :param path: Path of the file.
    :param endpoint: Endpoint of the batch; each line has to name the same.
    :param settings: Limits and models.
    """
    if (size := path.stat().st_size) > settings.max_file_bytes:
        text = f"The input file is too large: {size} bytes. The maximum is {settings.max_file_bytes} bytes."
        return Validated(errors=[file_error("file_too_large", text)])
    check, limit = _Check(endpoint, settings), settings.max_requests
    offset = 0
    with path.open("rb", buffering=1 << 20) as lines:
        for raw in lines:
            if check.found.total == limit:
                text = f"The number of requests in the batch input file exceeds the maximum allowed value of {limit}."
                return Validated(errors=[file_error("too_many_tasks", text)])
            check.line(raw, offset)
            offset += len(raw)
    return check.finish()


class _Check:
    """The state of one pass: ids and the model so far."""

    def __init__(self, endpoint: str, settings: Settings) -> None:
        self.endpoint, self.settings = endpoint, settings
        self.found = Validated()
        self.ids: set[str] = set()
        self.inputs = 0

    def line(self, raw: bytes, offset: int) -> None:
        """Validate one line."""
        self.found.offsets.append(offset)
        try:
            request = _decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError):
            request = None
        if isinstance(request, dict):
            error = self._request_error(request)
        else:
            error = ("invalid_json_line", "This line is not parseable as valid JSON.", None)
        if error is not None:
            self.found.errors.append(file_error(*error, line=self.found.total))

    def finish(self) -> Validated:
        """Return the result, with the errors that concern the whole file."""
        found, limit = self.found, self.settings.max_embedding_inputs
        if not found.total:
            text = "The input file is empty. Please ensure that the batch contains at least one request."
            found.errors.append(file_error("empty_file", text))
        if self.inputs > limit:
            text = f"The batch contains {self.inputs} embedding inputs. The maximum over all requests is {limit}."
            found.errors.append(file_error("too_many_inputs", text))
        return found

    def _request_error(self, request: Mapping[str, Any]) -> tuple[str, str, str | None] | None:
        for name in _REQUIRED:
            if request.get(name) is None:
                return "missing_required_parameter", f"Missing required parameter: '{name}'.", name
        custom_id, url, body = str(request["custom_id"]), request["url"], request["body"]
        if custom_id in self.ids:
            text = f"The custom_id '{custom_id}' for this request is a duplicate of another request. {_UNIQUE}"
            return "duplicate_custom_id", text, "custom_id"
        self.ids.add(custom_id)
        if request["method"] != "POST":
            return "invalid_method", f"The method '{request['method']}' is not supported. Use 'POST'.", "method"
        if with_v1(str(url), self.settings.facts) != self.endpoint:
            return "invalid_url", "The URL provided for this request does not match the batch endpoint.", "url"
        if not isinstance(body, dict):
            return "invalid_request", "Body must be an object.", "body"
        return self._body_error(body)

    def _body_error(self, body: Mapping[str, Any]) -> tuple[str, str, str | None] | None:
        model = body.get("model")
        if not model:
            return "invalid_request", "Model parameter is required.", "body.model"
        if self.found.model is None:
            self.found.model = str(model)
        elif model != self.found.model:
            text = (
                f"The model '{model}' for this request does not match the rest of the batch. "
                "Each batch must contain requests for a single model."
            )
            return "mismatched_model", text, "body.model"
        if not self.settings.has_model(str(model)):
            return "model_not_found", f"The provided model '{model}' is not supported by the Batch API.", "body.model"
        if body.get("stream"):
            kind = "Responses" if self.endpoint == "/v1/responses" else "Chat Completions"
            return "streaming_unsupported", f"{kind}: Streaming is not supported in the Batch API.", "body.stream"
        if self.endpoint == "/v1/chat/completions" and not body.get("messages"):
            return "invalid_request", "Messages parameter is required.", "body.messages"
        if self.endpoint == "/v1/embeddings":
            self.inputs += _input_count(body.get("input"))
        self.found.tokens += tokens.of_request(self.endpoint, body)
        return None


def _input_count(value: Any) -> int:
    # A list of numbers is one input, given as tokens.
    return len(value) if isinstance(value, list) and value and not isinstance(value[0], int) else 1


class LineIndex:
    """
    Byte offsets of the lines of an input file, and the order in which they are run.

    :param offsets: Byte offset of each line.
    :param seed: Shuffles the order; None keeps the order of the file.
    """

    def __init__(self, offsets: array[int], seed: str | None) -> None:
        self.offsets = offsets
        self.order = array("L", range(len(offsets)))
        if seed is not None:
            random.Random(seed).shuffle(self.order)

    def save(self, path: Path) -> None:
        """
        Write the index to a file; a reader never sees a partial one.

        :param path: Path of the index.
        """
        partial = path.with_suffix(".partial")
        with partial.open("wb") as file:
            file.write(len(self.offsets).to_bytes(8, "little"))
            self.offsets.tofile(file)
            self.order.tofile(file)
        partial.replace(path)

    @classmethod
    def load(cls, path: Path) -> LineIndex:
        """
        Read an index that `save` has written.

        :param path: Path of the index.
        """
        index = cls(array("Q"), None)
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            index.offsets.fromfile(file, size)
            index.order.fromfile(file, size)
        return index


def has_json_line(path: Path) -> bool:
    """
    Say whether a file has a line that is a JSON object; the file is read up to the first such line.

    :param path: Path of the file.
    """
    with path.open("rb", buffering=1 << 20) as lines:
        return any(_is_object(line) for line in lines)


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(_decode(line), dict)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False


def first_model(path: Path) -> str | None:
    """
    Return the model that the first line of an input file names, or None.

    :param path: Path of the file.
    """
    with path.open("rb") as lines:
        try:
            return str(_decode(lines.readline())["body"]["model"])
        except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError):
            return None
