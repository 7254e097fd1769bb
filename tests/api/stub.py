"""A web server that says what a test tells it to, down to the wire: dropped connections, cut bodies, HTML."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl


@dataclass(frozen=True)
class Request:
    """What the server received. Bodies past 8 MB are counted and not kept."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    size: int

    @property
    def query(self) -> dict[str, str]:
        """The query's parameters."""
        return dict(parse_qsl(self.path.partition("?")[2]))

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    def form(self) -> dict[str, bytes]:
        """The fields of a multipart body."""
        head = f"Content-Type: {self.headers['content-type']}\r\n\r\n".encode()
        parts = message_from_bytes(head + self.body, policy=HTTP).iter_parts()  # type: ignore[attr-defined]
        return {part.get_param("name", header="content-disposition"): part.get_payload(decode=True) for part in parts}


@dataclass(frozen=True)
class Reply:
    """
    One answer.

    :param drop: Close the connection without an answer, after reading the request.
    :param cut: Bytes of the body after which the connection closes.
    :param delay: Seconds before the answer.
    """

    status: int = 200
    body: Any = b""
    headers: dict[str, str] = field(default_factory=dict)
    drop: bool = False
    cut: int | None = None
    delay: float = 0.0

    @property
    def content(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


def batch(batch_id: str = "batch_1", status: str = "in_progress", **fields: Any) -> dict[str, Any]:
    """A Batch object as the API sends it."""
    counts = {
        "total": fields.pop("total", 0),
        "completed": fields.pop("completed", 0),
        "failed": fields.pop("failed", 0),
    }
    given = {"id": batch_id, "object": "batch", "status": status, "endpoint": "/v1/chat/completions"}
    return {**given, "input_file_id": "file-1", "created_at": int(time.time()), "request_counts": counts, **fields}


def error(status: int, message: str, *, headers: dict[str, str] | None = None, **fields: Any) -> Reply:
    """An answer with the API's error envelope."""
    body = {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None, **fields}}
    return Reply(status, body, headers=headers or {})


Answers = Callable[[Request], Reply]


class StubApi:
    """Answers come from `on(method, path, ...)`: one after the other, the last for ever; all else is a bare 404."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self._replies: dict[tuple[str, str], deque[Reply] | Answers] = {}
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = 1 << 16  # head and body in one packet: else the kernel holds the second back for 40 ms

            def log_message(self, *_: Any) -> None:
                pass

            def _serve(self) -> None:
                stub._serve(self)

            do_GET = do_POST = do_DELETE = _serve

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: Any) -> None:
                """A client that has given up is what some tests are about."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.base_url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def on(self, method: str, path: str, *replies: Reply | dict[str, Any] | Answers) -> None:
        """Set the answers of a route; a dict is a 200 with that JSON, a function is asked each time."""
        if len(replies) == 1 and callable(replies[0]):
            self._replies[method, path] = replies[0]
        else:
            self._replies[method, path] = deque(r if isinstance(r, Reply) else Reply(body=r) for r in replies)

    def count(self, method: str, path: str) -> int:
        """How often a route was asked."""
        return sum(1 for request in self.requests if (request.method, request.path.partition("?")[0]) == (method, path))

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        size = int(handler.headers.get("content-length") or 0)
        kept: list[bytes] = []
        left = size
        while left > 0:
            block = handler.rfile.read(min(left, 1 << 20))
            left -= len(block)
            if size <= 8 << 20:
                kept.append(block)
        body = b"".join(kept)
        path = handler.path
        request = Request(handler.command, path, {k.lower(): v for k, v in handler.headers.items()}, body, size)
        self.requests.append(request)
        route = self._replies.get((handler.command, path.partition("?")[0].removeprefix("/v1")))
        if route is None:
            reply = Reply(404, {"detail": "Not Found"})
        elif isinstance(route, deque):
            reply = route.popleft() if len(route) > 1 else route[0]
        else:
            reply = route(request)
        self._send(handler, reply)

    def _send(self, handler: BaseHTTPRequestHandler, reply: Reply) -> None:
        if reply.delay:
            time.sleep(reply.delay)
        handler.close_connection = reply.drop or reply.cut is not None
        if reply.drop:
            handler.connection.shutdown(socket.SHUT_RDWR)
            return
        content = reply.content
        headers = {"Content-Type": "application/json", "Content-Length": str(len(content)), **reply.headers}
        handler.send_response(reply.status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(content if reply.cut is None else content[: reply.cut])
        handler.wfile.flush()


@contextmanager
def running_stub() -> Iterator[StubApi]:
    """Run a stub server in a thread of this process."""
    stub = StubApi()
    try:
        yield stub
    finally:
        stub.close()
