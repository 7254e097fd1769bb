"""An HTTP proxy in front of a store: it passes calls on, loses answers, or answers in the store's place."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from tests.stores.servers import Answer


class Loss(Enum):
    """What the wire loses: the request before the store sees it, or the answer after the store has done it."""

    REQUEST = "request"
    ANSWER = "answer"


#: Says by method and path, with its query, what becomes of a call; None passes it on.
Rule = Callable[[str, str], "Loss | Answer | None"]


class Edge:
    """The proxy; a test sets `rule`. `calls` holds method and path of each call."""

    def __init__(self, upstream: str) -> None:
        self.upstream = urlsplit(upstream)
        self.rule: Rule | None = None
        self.calls: list[tuple[str, str]] = []
        self.endpoint = ""

    def reset(self) -> None:
        """Pass everything on again, and forget the calls."""
        self.rule, self.calls = None, []


def writes(method: str) -> bool:
    """Whether a call changes the store."""
    return method in ("PUT", "POST", "DELETE")


@contextmanager
def running_edge(upstream: str) -> Iterator[Edge]:
    """Run a proxy as long as the block lasts."""
    edge = Edge(upstream)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"edge": edge}))
    server.daemon_threads = True
    edge.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield edge
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    edge: Edge

    def log_message(self, *_: Any) -> None:
        """Stay silent."""

    def _pass(self) -> None:
        body = self._body()
        self.edge.calls.append((self.command, self.path))
        does = None if self.edge.rule is None else self.edge.rule(self.command, self.path)
        if does is Loss.REQUEST:
            self.close_connection = True
            return
        if isinstance(does, Answer):
            data = b"" if self.command == "HEAD" else does.body.encode()
            self._answer(does.status, [*does.headers.items()], data, str(len(does.body.encode())))
            return
        status, headers, data, length = self._forward(body)
        if does is Loss.ANSWER:
            self.close_connection = True
            return
        self._answer(status, headers, data, length)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        data = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            data += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return data

    def _forward(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes, str]:
        upstream = http.client.HTTPConnection(self.edge.upstream.hostname or "", self.edge.upstream.port, timeout=60)
        try:
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in ("transfer-encoding", "content-length", "expect", "connection"):
                    upstream.putheader(name, value)
            if body or self.command in ("PUT", "POST"):
                upstream.putheader("Content-Length", str(len(body)))
            upstream.endheaders(body)
            answer = upstream.getresponse()
            data = answer.read()
            return answer.status, answer.getheaders(), data, answer.getheader("Content-Length") or str(len(data))
        finally:
            upstream.close()

    def _answer(self, status: int, headers: list[tuple[str, str]], data: bytes, length: str) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in ("transfer-encoding", "content-length", "connection"):
                self.send_header(name, value)
        self.send_header("Content-Length", length if self.command == "HEAD" else str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_PATCH = _pass
