"""
Do what all API calls share: check the key, add latency, apply call faults, and write the journal.

An ASGI middleware, because a fault may cut the connection at any byte, and only a middleware sees the bytes sent.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable
from email.utils import formatdate
from typing import Any

from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from airflow_provider_batch.emulator.emulator import Emulator
from airflow_provider_batch.emulator.errors import CallError, error_type_of
from airflow_provider_batch.emulator.faults import CALL_KINDS, FaultRule
from airflow_provider_batch.emulator.settings import Settings

#: Extension of the ASGI scope: a function that cuts the connection of the request.
CUT = "airflow_provider_batch.cut"


class ApiMiddleware:
    """
    Wraps the application; control routes pass unchanged.

    :param app: The application.
    :param emulator: Its settings and store.
    """

    def __init__(self, app: ASGIApp, emulator: Emulator) -> None:
        self._app, self._emulator = app, emulator

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith("/v1"):
            await self._app(scope, receive, send)
            return
        call = _Call(scope, receive, send, self._emulator.settings)
        begun, clock = time.time(), time.monotonic()
        rules = self._rules(call)
        try:
            await self._serve(call, rules)
        finally:
            seconds, fault = time.monotonic() - clock, ",".join(rule.kind for rule in rules) or None
            self._emulator.store.journal.add(begun, call.method, call.path, call.status, seconds, fault)

    def _rules(self, call: _Call) -> list[FaultRule]:
        store = self._emulator.store
        found = [rule for rule in store.faults_of(CALL_KINDS) if rule.fits_call(method=call.method, path=call.path)]
        return [rule for rule in found if store.hit(rule)]

    async def _serve(self, call: _Call, rules: list[FaultRule]) -> None:
        by_kind = {rule.kind: rule for rule in rules}
        delay = self._emulator.settings.latency + sum(rule.seconds for rule in rules if rule.kind == "slow_route")
        if delay:
            await asyncio.sleep(delay)
        if "drop_connection" in by_kind:
            await call.cut()
            return
        try:
            if rule := by_kind.get("route_error"):
                raise _route_error(rule)
            check_key(call.header(b"authorization"), self._emulator.settings)
        except CallError as problem:
            await JSONResponse(problem.body(), problem.status, problem.headers)(call.scope, call.receive, call.send)
            return
        if "lose_answer" in by_kind:
            await self._app(call.scope, call.receive, call.swallow)
            await call.cut()
        elif rule := by_kind.get("cut_body"):
            await self._app(call.scope, call.receive, _Cutter(call, rule).send)
        else:
            await self._app(call.scope, call.receive, call.send)


def _route_error(rule: FaultRule) -> CallError:
    message = rule.message or f"The server answered with {rule.status} (a fault of the emulator)."
    headers = {} if rule.retry_after is None else {"retry-after": f"{rule.retry_after:g}"}
    kind = error_type_of(rule.status)
    return CallError(rule.status, message, error_type=kind, code=rule.code, param=rule.param, headers=headers)


def check_key(header: str, settings: Settings) -> None:
    """
    Check the API key of a call.

    :param header: Header `Authorization`; empty where it is missing.
    :param settings: `api_keys` says which keys are accepted.
    :raises CallError: 401, because the key is missing or unknown.
    """
    scheme, _, key = header.partition(" ")
    if scheme.lower() != "bearer" or not key.strip():
        text = (
            "You didn't provide an API key. You need to provide your API key in an Authorization header using "
            "Bearer auth (i.e. Authorization: Bearer YOUR_KEY)."
        )
        raise CallError(401, text)
    if settings.api_keys is not None and key.strip() not in settings.api_keys:
        hidden = f"{key.strip()[:3]}***{key.strip()[-4:]}" if len(key.strip()) > 12 else "***"
        text = f"Incorrect API key provided: {hidden}. You can find your API key at https://platform.openai.com/account/api-keys."
        raise CallError(401, text, code="invalid_api_key")


class _Call:
    """One API call and its answer."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, settings: Settings) -> None:
        self.scope, self.receive, self._send = scope, receive, send
        self.method, self.path = str(scope["method"]), str(scope["path"])
        self.status = 0
        self._request_id = f"req_{uuid.uuid4().hex}"
        now = formatdate(time.time() + settings.clock_skew, usegmt=True).encode()
        self._date = [(b"date", now)] if settings.tells_time else []

    def header(self, name: bytes) -> str:
        return next((value.decode("latin-1") for key, value in self.scope["headers"] if key == name), "")

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [
                *message.get("headers", ()),
                (b"x-request-id", self._request_id.encode()),
                *self._date,
            ]
        await self._send(message)

    async def swallow(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]

    async def cut(self) -> None:
        """Cut the connection, and return when the server has noticed."""
        cut: Callable[[], Any] | None = self.scope.get("extensions", {}).get(CUT)
        if cut is None:
            raise ConnectionAbortedError("This server cannot cut connections. Start the emulator with its own command.")
        cut()
        while (await self.receive())["type"] != "http.disconnect":
            pass


class _Cutter:
    """Sends an answer up to a byte of its body, then cuts the connection."""

    def __init__(self, call: _Call, rule: FaultRule) -> None:
        self._call, self._rule = call, rule
        self._left = rule.after_bytes or 0
        self._is_cut = False

    async def send(self, message: Message) -> None:
        if self._is_cut:
            return
        if message["type"] == "http.response.start":
            sizes = [int(value) for name, value in message["headers"] if name.lower() == b"content-length"]
            if self._rule.after_bytes is None and sizes:
                self._left = int(sizes[0] * self._rule.after)
            await self._call.send(message)
            return
        body = message.get("body", b"")[: self._left]
        self._left -= len(body)
        if body:
            await self._call.send({"type": "http.response.body", "body": body, "more_body": True})
        if self._left <= 0:
            self._is_cut = True
            # An abort discards the buffers: let them be sent first.
            await asyncio.sleep(0.05)
            await self._call.cut()
