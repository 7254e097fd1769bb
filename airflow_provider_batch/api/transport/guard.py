"""
Check every response against `bounds.py`, send the key to no other host, and record the service's clock.

These are hooks of the HTTP client, below the SDK: the SDK reads only checked responses. Responses are decompressed here
in small steps, since 100 kB can expand to gigabytes.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import AsyncIterator, Iterator
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any
from urllib.parse import urljoin, urlsplit

from airflow_provider_batch.api.bounds import MAX_FILE_BYTES, MAX_RESPONSE_BYTES, MAX_RESPONSE_SECONDS, STEP
from airflow_provider_batch.api.errors import ErrorResponse

#: Accepted compressions; a response with another one is refused.
ENCODINGS = "gzip, deflate"
HEADERS = {"Accept-Encoding": ENCODINGS}
#: Headers with credentials or the account, which are sent to no other host.
ACCOUNT_HEADERS = ("authorization", "api-key", "cookie", "openai-organization", "openai-project")
#: Marks the request for a file's content.
_FILE = "openai_batch_file"
_KEEP_METHOD = frozenset({307, 308})


class Guard:
    """
    Request and response hooks of one HTTP client.

    :param address: Base URL, the only host to which the key is sent.
    :param key_header: Header of the key, one of `ACCOUNT_HEADERS`; None for ``Authorization``.
    """

    def __init__(self, address: str, key_header: str | None = None) -> None:
        self._home, self._key_header = _origin(address), key_header
        #: `Date` of the last response in epoch seconds, and `time.monotonic()` at its arrival; None before.
        self.reading: tuple[float, float] | None = None

    def request(self, request: Any) -> None:
        """
        Remove credentials from a request that a redirect sends to another host; mark requests for file contents.

        :param request: Request of the HTTP library, before it is sent.
        """
        if str(request.url.path).endswith("/content"):
            request.extensions[_FILE] = True  # redirects keep extensions
        if self._key_header is not None and "authorization" in request.headers:
            request.headers[self._key_header] = request.headers.pop("authorization").removeprefix("Bearer ")
        if _origin(str(request.url)) == self._home or "x-stainless-lang" not in request.headers:
            return
        if self._is_upgrade(str(request.url)):
            return
        for name in ACCOUNT_HEADERS:
            if name in request.headers:
                del request.headers[name]

    def response(self, response: Any) -> None:
        """
        Record the service's clock, stop redirects that must not be followed, and limit the response's content.

        :param response: Response of the HTTP library, before its content is read.
        """
        self._check_head(response)
        response.stream = _bounded(transport_of(response).SyncByteStream)(response)

    async def async_request(self, request: Any) -> None:
        """
        Do the same as `request`, for the asynchronous client.

        :param request: Request of the HTTP library, before it is sent.
        """
        self.request(request)

    async def async_response(self, response: Any) -> None:
        """
        Do the same as `response`, for the asynchronous client.

        :param response: Response of the HTTP library, before its content is read.
        """
        self._check_head(response)
        response.stream = _async_bounded(transport_of(response).AsyncByteStream)(response)

    def _check_head(self, response: Any) -> None:
        self._note_time(response.headers)
        if response.has_redirect_location and not self._may_follow(response):
            response.extensions["redirected_to"] = _target(response)
            del response.headers["location"]

    def _note_time(self, headers: Any) -> None:
        if "age" in headers:  # a cached response has an old date
            return
        try:
            self.reading = (parsedate_to_datetime(headers["date"]).timestamp(), time.monotonic())
        except (KeyError, TypeError, ValueError, OverflowError):
            return

    def _may_follow(self, response: Any) -> bool:
        """Return whether a redirect is followed: to another host only for a file's content, which needs no key."""
        target = _target(response)
        stays = _origin(target) == self._home or self._is_upgrade(target)
        if response.request.method == "GET":
            return stays or _is_file(response)
        return stays and response.status_code in _KEEP_METHOD

    def _is_upgrade(self, target: str) -> bool:
        scheme, host, _ = _origin(target)
        return scheme == "https" and (self._home[0], self._home[1]) == ("http", host) and self._home[2] == 80


class Limiter:
    """
    Decompress the bytes of one response and check them against the limits.

    :param response: Response of the HTTP library, before its content is read.
    """

    def __init__(self, response: Any) -> None:
        self._response = response
        self._is_file = _is_file(response)
        self._left = MAX_FILE_BYTES if self._is_file else MAX_RESPONSE_BYTES
        self._until = time.monotonic() + MAX_RESPONSE_SECONDS
        encoding = str(response.headers.get("content-encoding") or "").strip().lower()
        self._encoding = "" if encoding == "identity" else encoding
        self._decoder: Any = None
        self._has_begun = False
        if self._encoding in ("gzip", "x-gzip", "deflate"):
            self._decoder = zlib.decompressobj(47)  # gzip or zlib, detected from the bytes
            for name in ("content-encoding", "content-length"):  # neither is true of the decompressed content
                response.headers.pop(name, None)

    def take(self, block: bytes) -> Iterator[bytes]:
        """
        Yield the decompressed content of a block.

        :param block: Bytes of the response, as sent.
        :raises OpenAIError: The response is too large, too slow, or compressed in a way that was not requested.
        """
        if self._encoding and self._decoder is None:
            raise self._broken(f"it is compressed as {self._encoding!r}, which was not requested")
        if not self._is_file and time.monotonic() > self._until:
            raise self._broken(f"it was not complete after {MAX_RESPONSE_SECONDS:.0f} s")
        for content in [block] if self._decoder is None else self._decompressed(block):
            self._left -= len(content)
            if self._left < 0:
                raise self._broken("it is larger than any response of a Batch API")
            if content:
                yield content

    def end(self) -> None:
        """
        Check that a compressed response is complete.

        :raises OpenAIError: It is not.
        """
        if self._decoder is not None and not self._decoder.eof and self._has_begun:
            raise self._broken("its compressed content is cut off")

    def _decompressed(self, block: bytes) -> Iterator[bytes]:
        while block:
            if self._decoder.eof:  # another gzip member follows
                self._decoder = zlib.decompressobj(47)
            content = self._step(block)
            self._has_begun = True
            yield content
            block = self._decoder.unconsumed_tail or self._decoder.unused_data
            if not block and len(content) == STEP:  # the decoder may hold more content
                yield from self._rest()

    def _rest(self) -> Iterator[bytes]:
        while content := self._decoder.decompress(b"", STEP):
            yield content

    def _step(self, block: bytes) -> bytes:
        try:
            return bytes(self._decoder.decompress(block, STEP))
        except zlib.error as error:
            if self._has_begun:
                raise self._broken(f"its compressed content is broken ({error})") from error
        self._decoder = zlib.decompressobj(-15)  # some servers send `deflate` without the zlib header
        try:
            return bytes(self._decoder.decompress(block, STEP))
        except zlib.error as error:
            raise self._broken(f"its compressed content is broken ({error})") from error

    def _broken(self, why: str) -> Exception:
        text = f"the response was rejected: {why}"
        error: Exception = out_of_bounds()(ErrorResponse(text, status_code=self._response.status_code))
        return error


@lru_cache
def out_of_bounds() -> Any:
    """Return the class of the guard's exceptions: an error of the SDK, so that the SDK does not repeat the call."""
    import openai

    class OutOfBoundsError(openai.OpenAIError):
        def __init__(self, error_response: ErrorResponse) -> None:
            super().__init__(error_response.text)
            self.error_response = error_response

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
    """
    Return the module of the HTTP library to which a response belongs (httpx or httpx2).

    :param response: Response of the HTTP library.
    """
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
