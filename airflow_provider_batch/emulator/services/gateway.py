"""
Translate between a service's calls and answers and those of OpenAI.

An ASGI middleware in front of all others: it moves a call from the service's address to OpenAI's, and rewrites what
comes back. Files pass line by line, and are rewritten only where the service's result lines differ.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs

from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from airflow_provider_batch.emulator.services.manners import Manners
from airflow_provider_batch.emulator.services.table import facts, manners

#: Path of the API in the emulator.
HOME = "/v1"
#: Paths that no service has: they control the emulator.
CONTROL = "/_emulator"


class Gateway:
    """
    Wraps the application; as OpenAI it changes nothing.

    :param app: The application.
    :param service: Returns the name of the present service.
    """

    def __init__(self, app: ASGIApp, service: Callable[[], str]) -> None:
        self._app, self._service = app, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        name = self._service()
        if scope["type"] != "http" or name == "openai" or scope["path"].startswith(CONTROL):
            await self._app(scope, receive, send)
            return
        path = home_path(name, scope["path"], scope.get("query_string", b""))
        if path is None:
            missing = {"error": {"code": "404", "message": "Resource not found"}}
            await JSONResponse(missing, 404)(scope, receive, send)
            return
        scope = {**scope, "path": path, "raw_path": path.encode(), "headers": _with_bearer(name, scope["headers"])}
        spoken = manners(name)
        if path.endswith("/content"):
            await self._app(scope, receive, send if spoken.line is None else _LineWriter(spoken, send).send)
        else:
            await self._app(scope, receive, _Rewriter(spoken, scope["method"], path, send).send)


def home_path(name: str, path: str, query: bytes) -> str | None:
    """
    Return the path of a call in the emulator; None for an address that the service does not have.

    :param name: Name of the service.
    :param path: Path of the call.
    :param query: Query of the call.
    """
    service = facts(name)
    has_version = b"api-version" in parse_qs(query)
    root = service.versioned_path if service.versioned_path is not None and has_version else service.path or HOME
    if not path.startswith(f"{root}/"):
        return None
    rest = path.removeprefix(root)
    if rest == "/files" and service.upload_path != "/files":
        rest = "/files/list"
    return HOME + ("/files" if rest == service.upload_path else rest)


def _with_bearer(name: str, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return the headers with the key where OpenAI has it."""
    wanted = (facts(name).key_header or "").encode()
    key = next((value for header, value in headers if wanted and header == wanted), None)
    if key is None:
        return headers
    return [*(pair for pair in headers if pair[0] != b"authorization"), (b"authorization", b"Bearer " + key)]


class _Rewriter:
    """Holds a JSON answer back until it is whole, and sends it in the service's form."""

    def __init__(self, spoken: Manners, method: str, path: str, send: Send) -> None:
        self._spoken, self._method, self._path, self._send = spoken, method, path, send
        self._start: Message = {}
        self._body = b""

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
            return
        self._body += message.get("body", b"")
        if message.get("more_body"):
            return
        body = self._body
        if self._start["status"] < 300:
            body = json.dumps(self._rewritten(json.loads(body))).encode()
        headers = [pair for pair in self._start["headers"] if pair[0].lower() != b"content-length"]
        await self._send({**self._start, "headers": [*headers, (b"content-length", str(len(body)).encode())]})
        await self._send({"type": "http.response.body", "body": body})

    def _rewritten(self, shown: Any) -> Any:
        spoken = self._spoken
        if self._path == f"{HOME}/batches" and self._method == "POST":
            return spoken.created(self._batch(shown))
        if self._path == f"{HOME}/batches":
            return spoken.page({**shown, "data": [self._batch(one) for one in shown["data"]]})
        if self._path.startswith(f"{HOME}/batches/"):
            return self._batch(shown)
        if shown.get("object") == "file" and "bytes" in shown:
            return spoken.file(shown)
        return shown

    def _batch(self, shown: dict[str, Any]) -> dict[str, Any]:
        errors = shown.get("errors")
        if isinstance(errors, dict):
            shown = {**shown, "errors": {**errors, "data": [self._error(error) for error in errors["data"]]}}
        return self._spoken.batch(shown)

    def _error(self, error: dict[str, Any]) -> dict[str, Any]:
        code = error["code"]
        message = self._spoken.texts.get(code, error["message"])
        return {**error, "code": self._spoken.codes.get(code, code), "message": message}


class _LineWriter:
    """Sends a result file with each line in the service's form."""

    def __init__(self, spoken: Manners, send: Callable[[Message], Awaitable[None]]) -> None:
        self._spoken, self._send = spoken, send
        self._status, self._rest = 0, b""

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            headers = [pair for pair in message["headers"] if pair[0].lower() != b"content-length"]
            await self._send({**message, "headers": headers if self._status < 300 else message["headers"]})
            return
        if self._status >= 300:
            await self._send(message)
            return
        *lines, self._rest = (self._rest + message.get("body", b"")).split(b"\n")
        body = b"".join(self._rewritten(line) + b"\n" for line in lines)
        if not message.get("more_body"):
            body, self._rest = body + self._rest, b""
        await self._send({**message, "body": body})

    def _rewritten(self, line: bytes) -> bytes:
        assert self._spoken.line is not None
        try:
            shown = json.loads(line)
        except ValueError:  # a line that a fault has broken
            return line
        is_result = isinstance(shown, dict) and "response" in shown
        return json.dumps(self._spoken.line(shown)).encode() if is_result else line
