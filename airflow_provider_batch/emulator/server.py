"""Run the web server: uvicorn, with a way to cut a connection in the middle of a call."""

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

#: Seconds after which a thread lets others run: short, so that running batches do not slow the routes.
_SWITCH_INTERVAL = 0.001
#: Seconds that open connections have at a stop.
_GRACE = 2


def server(folder: Path, settings: Settings, *, host: str, port: int, log_level: str = "warning") -> uvicorn.Server:
    """
    Return a server that is ready to run.

    :param folder: Folder of the emulator's state.
    :param settings: Settings at the start and after a reset.
    :param host: Address to listen on.
    :param port: Port to listen on; 0 takes a free one.
    :param log_level: Log level of uvicorn.
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
        date_header=False,  # the application sets the date: `clock_skew` may change it
        timeout_graceful_shutdown=_GRACE,
        timeout_keep_alive=75,
    )
    return uvicorn.Server(config)


def _protocol(transports: dict[Any, asyncio.Transport]) -> Any:
    base: Any = AutoHTTPProtocol

    class CuttableProtocol(base):  # type: ignore[misc]
        """Keeps the transport of each connection, by the address of its client."""

        def connection_made(self, transport: asyncio.Transport) -> None:
            transports[_client(transport)] = transport
            super().connection_made(transport)

        def connection_lost(self, exc: Exception | None) -> None:
            transports.pop(_client(self.transport), None)
            super().connection_lost(exc)

    return CuttableProtocol


def _client(transport: asyncio.Transport) -> tuple[Any, ...]:
    """Return the client's address in the form of a request's scope."""
    return tuple((transport.get_extra_info("peername") or ())[:2])


class _WithCut:
    """Adds the function that cuts the connection to the scope of each request."""

    def __init__(self, app: FastAPI, transports: dict[Any, asyncio.Transport]) -> None:
        self._app, self._transports = app, transports
        self.emulator = app.state.emulator

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (transport := self._transports.get(tuple(scope["client"] or ()))) is not None:
            scope.setdefault("extensions", {})[CUT] = transport.abort
        await self._app(scope, receive, send)
