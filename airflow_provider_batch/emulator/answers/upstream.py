"""
Take answers from another OpenAI-compatible server.

Each request body is sent unchanged. The HTTP status of the upstream becomes the status of the result line.
"""

from __future__ import annotations

import http.client
import json
import threading
import urllib.parse
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from airflow_provider_batch.emulator.errors import envelope
from airflow_provider_batch.emulator.records import Tokens
from airflow_provider_batch.emulator.settings import Settings


@dataclass(frozen=True)
class UpstreamAnswer:
    """
    Answer of the upstream.

    :param status: HTTP status.
    :param body: Decoded JSON, or the text where the answer is no JSON.
    """

    status: int
    body: Any

    @property
    def tokens(self) -> Tokens:
        """Usage in the body, in the members of responses or of chat completions; zeros where the body has none."""
        usage = self.body.get("usage") if isinstance(self.body, Mapping) else None
        if not isinstance(usage, Mapping):
            return Tokens()
        return Tokens(
            input=int(usage.get("input_tokens") or usage.get("prompt_tokens") or 0),
            output=int(usage.get("output_tokens") or usage.get("completion_tokens") or 0),
        )


class Upstream:
    """
    Client of the upstream; it keeps one connection for each thread.

    :param settings: Base URL, key, number of threads and time-out of the upstream.
    """

    def __init__(self, settings: Settings) -> None:
        parts = urllib.parse.urlsplit(settings.upstream or "")
        self._parts, self._settings = parts, settings
        self._local = threading.local()
        self._pool = ThreadPoolExecutor(settings.upstream_concurrency, thread_name_prefix="upstream")

    def ask(self, endpoint: str, bodies: Sequence[Mapping[str, Any]]) -> list[UpstreamAnswer]:
        """
        Send requests in parallel and return their answers in the same order.

        :param endpoint: Path of the endpoint, with `/v1`.
        :param bodies: Request bodies.
        """
        return list(self._pool.map(lambda body: self._ask_one(endpoint, body), bodies))

    def _ask_one(self, endpoint: str, body: Mapping[str, Any]) -> UpstreamAnswer:
        """Send one request; a server that cannot be reached is a 502, one that is too slow a 504."""
        try:
            return self._exchange(endpoint, json.dumps(body).encode())
        except TimeoutError:
            self._drop()
            return _failure(504, "The upstream did not answer in time.")
        except (OSError, http.client.HTTPException) as error:
            self._drop()
            return _failure(502, f"The upstream cannot be reached: {error}")

    def close(self) -> None:
        """Send no more requests."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _exchange(self, endpoint: str, content: bytes) -> UpstreamAnswer:
        path = self._parts.path.rstrip("/") + endpoint.removeprefix("/v1")
        headers = {
            "Content-Type": "application/json",
            "Authorization": f"Bearer {self._settings.upstream_api_key}",
        }
        connection = self._connection()
        try:
            connection.request("POST", path, content, headers)
            response = connection.getresponse()
        except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
            # The server has closed a kept connection: send the request once more on a new one.
            self._drop()
            connection = self._connection()
            connection.request("POST", path, content, headers)
            response = connection.getresponse()
        text = response.read()
        try:
            return UpstreamAnswer(response.status, json.loads(text))
        except ValueError:
            return UpstreamAnswer(response.status, text.decode("utf-8", "replace"))

    def _connection(self) -> http.client.HTTPConnection:
        connection: http.client.HTTPConnection | None = getattr(self._local, "connection", None)
        if connection is None:
            kind = http.client.HTTPSConnection if self._parts.scheme == "https" else http.client.HTTPConnection
            connection = kind(self._parts.hostname or "", self._parts.port, timeout=self._settings.upstream_timeout)
            self._local.connection = connection
        return connection

    def _drop(self) -> None:
        if (connection := getattr(self._local, "connection", None)) is not None:
            connection.close()
            self._local.connection = None


def _failure(status: int, message: str) -> UpstreamAnswer:
    return UpstreamAnswer(status, envelope(message, error_type="server_error"))
