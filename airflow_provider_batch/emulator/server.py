"""The emulator's web server: uvicorn, with a way to cut a connection in the middle of a call."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from airflow_provider_batch.emulator.app import create_app
from airflow_provider_batch.emulator.middleware import CUT
from airflow_provider_batch.emulator.settings import Settings

#: Seconds for which a thread may keep the interpreter: short, so that a batch being run does not slow the routes.
_SWITCH_INTERVAL = 0.001
#: Seconds that open connections get at a stop.
_GRACE = 2


def server(folder: Path, settings: Settings, *, host: str, port: int, log_level: str = "warning") -> uvicorn.Server:
    """
    Return a server that is ready to run.

    :param port: 0 takes a free one.
    """
    transports: dict[Any, asyncio.Transport] = {}
    sys.setswitchinterval(_SWITCH_INTERVAL)
    config = uvicorn.Config(
        _WithCut(create_app(folder, settings), transports),
        host=host,
        port=port,
        http=_protocol(transports),
        log_level=log_level,
        access_log=False,
        date_header=False,  # the application tells the time: it may be a setting
        timeout_graceful_shutdown=_GRACE,
        timeout_keep_alive=75,
    )
    return uvicorn.Server(config)


def _protocol(transports: dict[Any, asyncio.Transport]) -> Any:
    base: Any = AutoHTTPProtocol

    class CuttableProtocol(base):  # type: ignore[misc]
        """Remembers the transport of each connection, by the address of its client."""

        def connection_made(self, transport: asyncio.Transport) -> None:
            transports[_client(transport)] = transport
            super().connection_made(transport)

        def connection_lost(self, exc: Exception | None) -> None:
            transports.pop(_client(self.transport), None)
            super().connection_lost(exc)

    return CuttableProtocol


def _client(transport: asyncio.Transport) -> tuple[Any, ...]:
    """Return the address as the scope of a request gives it."""
    return tuple((transport.get_extra_info("peername") or ())[:2])


class _WithCut:
    """Puts the function that cuts a connection where the middleware finds it."""

    def __init__(self, app: FastAPI, transports: dict[Any, asyncio.Transport]) -> None:
        self._app, self._transports = app, transports
        self.emulator = app.state.emulator

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (transport := self._transports.get(tuple(scope["client"] or ()))) is not None:
            scope.setdefault("extensions", {})[CUT] = transport.abort
        await self._app(scope, receive, send)
