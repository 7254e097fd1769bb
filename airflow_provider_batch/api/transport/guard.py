"""
Keeps every answer within `bounds.py`, the key at the host that it is for, and knows the service's clock.

Hangs on the HTTP client as hooks, below the SDK: what the SDK reads has passed here. Answers are decompressed here, a
small step at a time, since a hundred kilobytes can hold gigabytes.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import AsyncIterator, Iterator
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any
from urllib.parse import urljoin, urlsplit

from airflow_provider_batch.api.bounds import MAX_ANSWER_BYTES, MAX_ANSWER_SECONDS, MAX_FILE_BYTES, STEP
from airflow_provider_batch.api.errors import Answer

#: What is asked for; anything else that comes is refused.
ENCODINGS = "gzip, deflate"
HEADERS = {"Accept-Encoding": ENCODINGS}
#: Headers that say who we are, and go to no other host.
OURS = ("authorization", "api-key", "cookie", "openai-organization", "openai-project")
#: Marks the request of a file's content.
_FILE = "openai_batch_file"
_KEEP_METHOD = frozenset({307, 308})


class Guard:
    """
    The hooks of one HTTP client.

    :param address: The base URL: where the key may go.
    """

    def __init__(self, address: str) -> None:
        self._home = _origin(address)
        #: The service's clock when it last answered, and ours that never goes back, both in seconds; None before.
        self.reading: tuple[float, float] | None = None

    def request(self, request: Any) -> None:
        """Take what is ours out of a request of the SDK that a redirect leads to another host; note what it is for."""
        if str(request.url.path).endswith("/content"):
            request.extensions[_FILE] = True  # goes along with redirects
        if _origin(str(request.url)) == self._home or "x-stainless-lang" not in request.headers:
            return
        if self._is_upgrade(str(request.url)):
            return
        for name in OURS:
            if name in request.headers:
                del request.headers[name]

    def response(self, response: Any) -> None:
        """Note the time, stop redirects that are not to be followed, and bound what is read of the answer."""
        self._note_time(response.headers)
        if response.has_redirect_location and not self._may_follow(response):
            response.extensions["redirected_to"] = _target(response)
            del response.headers["location"]
        base = transport_of(response)
        response.stream = _bounded(base.SyncByteStream)(response)

    async def async_request(self, request: Any) -> None:
        """Do as `request`, for the asynchronous client."""
        self.request(request)

    async def async_response(self, response: Any) -> None:
        """Do as `response`, for the asynchronous client."""
        self._note_time(response.headers)
        if response.has_redirect_location and not self._may_follow(response):
            response.extensions["redirected_to"] = _target(response)
            del response.headers["location"]
        base = transport_of(response)
        response.stream = _async_bounded(base.AsyncByteStream)(response)

    def _note_time(self, headers: Any) -> None:
        if "age" in headers:  # a cache tells when it was filled
            return
        try:
            self.reading = (parsedate_to_datetime(headers["date"]).timestamp(), time.monotonic())
        except (KeyError, TypeError, ValueError, OverflowError):
            return

    def _may_follow(self, response: Any) -> bool:
        """A file's content may lie with another host, and needs no key there; nothing else leaves this one."""
        target = _target(response)
        stays = _origin(target) == self._home or self._is_upgrade(target)
        if response.request.method == "GET":
            return stays or _is_file(response)
        return stays and response.status_code in _KEEP_METHOD

    def _is_upgrade(self, target: str) -> bool:
        scheme, host, _ = _origin(target)
        return scheme == "https" and (self._home[0], self._home[1]) == ("http", host) and self._home[2] == 80


class Limiter:
    """Passes the bytes of one answer on, decompressed, as long as they are within the bounds."""

    def __init__(self, response: Any) -> None:
        self._response = response
        self._is_file = _is_file(response)
        self._left = MAX_FILE_BYTES if self._is_file else MAX_ANSWER_BYTES
        self._until = time.monotonic() + MAX_ANSWER_SECONDS
        encoding = str(response.headers.get("content-encoding") or "").strip().lower()
        self._encoding = "" if encoding == "identity" else encoding
        self._decoder: Any = None
        self._has_begun = False
        if self._encoding in ("gzip", "x-gzip", "deflate"):
            self._decoder = zlib.decompressobj(47)  # gzip or zlib, as the bytes say
            for name in ("content-encoding", "content-length"):  # what comes out of here is neither
                response.headers.pop(name, None)

    def take(self, block: bytes) -> Iterator[bytes]:
        """Yield what a block of the answer holds; raise where it is too much."""
        if self._encoding and self._decoder is None:
            raise self._broken(f"it is compressed as {self._encoding!r}, which was not asked for")
        if not self._is_file and time.monotonic() > self._until:
            raise self._broken(f"it was not complete after {MAX_ANSWER_SECONDS:.0f} s")
        for piece in [block] if self._decoder is None else self._decompressed(block):
            self._left -= len(piece)
            if self._left < 0:
                raise self._broken("it is larger than any answer of a Batch API")
            if piece:
                yield piece

    def end(self) -> None:
        """Raise where a compressed answer ended in its middle."""
        if self._decoder is not None and not self._decoder.eof and self._has_begun:
            raise self._broken("its compressed content is cut off")

    def _decompressed(self, block: bytes) -> Iterator[bytes]:
        while block:
            if self._decoder.eof:  # another member follows
                self._decoder = zlib.decompressobj(47)
            piece = self._step(block)
            self._has_begun = True
            yield piece
            block = self._decoder.unconsumed_tail or self._decoder.unused_data
            if not block and len(piece) == STEP:  # it may hold back more than it was asked for
                yield from self._rest()

    def _rest(self) -> Iterator[bytes]:
        while piece := self._decoder.decompress(b"", STEP):
            yield piece

    def _step(self, block: bytes) -> bytes:
        try:
            return bytes(self._decoder.decompress(block, STEP))
        except zlib.error as error:
            if self._has_begun:
                raise self._broken(f"its compressed content is broken ({error})") from error
        self._decoder = zlib.decompressobj(-15)  # some servers call the bare stream `deflate`
        try:
            return bytes(self._decoder.decompress(block, STEP))
        except zlib.error as error:
            raise self._broken(f"its compressed content is broken ({error})") from error

    def _broken(self, why: str) -> Exception:
        text = f"an answer came that is not read on: {why}"
        error: Exception = out_of_bounds()(Answer(text, status_code=self._response.status_code))
        return error


@lru_cache
def out_of_bounds() -> Any:
    """Return the class of what the guard raises: an error of the SDK, which the SDK does not repeat."""
    import openai

    class OutOfBoundsError(openai.OpenAIError):
        def __init__(self, answer: Answer) -> None:
            super().__init__(answer.text)
            self.answer = answer

    return OutOfBoundsError


@lru_cache
def _bounded(base: Any) -> Any:
    class Bounded(base):  # type: ignore[misc]
        def __init__(self, response: Any) -> None:
            self._inner, self._limiter = response.stream, Limiter(response)

        def __iter__(self) -> Iterator[bytes]:
            for block in self._inner:
                yield from self._limiter.take(block)
            self._limiter.end()

        def close(self) -> None:
            self._inner.close()

    return Bounded


@lru_cache
def _async_bounded(base: Any) -> Any:
    class Bounded(base):  # type: ignore[misc]
        def __init__(self, response: Any) -> None:
            self._inner, self._limiter = response.stream, Limiter(response)

        async def __aiter__(self) -> AsyncIterator[bytes]:
            async for block in self._inner:
                for piece in self._limiter.take(block):
                    yield piece
            self._limiter.end()

        async def aclose(self) -> None:
            await self._inner.aclose()

    return Bounded


def transport_of(response: Any) -> Any:
    """Return the HTTP library that a response is of."""
    import sys

    return sys.modules[type(response).__module__.partition(".")[0]]


def _is_file(response: Any) -> bool:
    return response.status_code < 400 and _FILE in response.request.extensions


def _target(response: Any) -> str:
    return urljoin(str(response.request.url), str(response.headers["location"]))


def _origin(url: str) -> tuple[str, str, int | None]:
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = -1
    return parts.scheme, parts.hostname or "", port or {"http": 80, "https": 443}.get(parts.scheme)
