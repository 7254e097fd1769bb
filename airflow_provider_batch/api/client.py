"""
The synchronous client of the Batch API, over the `openai` SDK.

Files are streamed, never held in memory. Every call except the creation of a batch may be repeated. Exceptions of the
SDK become the errors of `errors.RULES`.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from airflow_provider_batch import exceptions
from airflow_provider_batch.api import statuses
from airflow_provider_batch.api.bounds import MAX_PAGES, MAX_REDIRECTS
from airflow_provider_batch.api.errors import ErrorResponse, chain, from_response, translate
from airflow_provider_batch.api.lenient_json import moment_in, text_in
from airflow_provider_batch.api.models import TIMEOUT, ModelEnd, read_end, read_refusal
from airflow_provider_batch.api.objects import Batch
from airflow_provider_batch.api.outcomes import Accepted, CreateOutcome, Unknown, outcome_of
from airflow_provider_batch.api.response_reader import (
    MAX_PAGE,
    Page,
    Reader,
    check_can_cancel,
    check_has_list,
    expiry,
)
from airflow_provider_batch.api.service import COMPLETION_WINDOW
from airflow_provider_batch.api.settings import ClientSettings
from airflow_provider_batch.api.transport import http_client
from airflow_provider_batch.api.transport.guard import HEADERS, Guard
from airflow_provider_batch.api.transport.uploads import Readable, replayable
from airflow_provider_batch.storage.local_disk import not_written

T = TypeVar("T")

#: Seconds before the second attempt of a download, which double with each attempt, and their maximum.
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 16.0


class BatchClient:
    """
    Call the Batch API for one account. Threads may share a client.

    :param settings: Account, address and limits of the client.
    """

    def __init__(self, settings: ClientSettings) -> None:
        import openai

        self.settings = settings
        self._guard = Guard(settings.address, http_client.key_header(settings))
        hooks: Any = {"request": [self._guard.request], "response": [self._guard.response]}
        self._http = openai.DefaultHttpxClient(
            verify=http_client.ssl_context(), event_hooks=hooks, max_redirects=MAX_REDIRECTS, headers=HEADERS
        )
        arguments = {**http_client.client_arguments(settings), "http_client": self._http}
        self._sdk: Any = http_client.pin_account(openai.OpenAI(**arguments, max_retries=settings.max_retries), settings)
        #: Without the SDK's own retries, for calls that must not be repeated.
        self._once: Any = http_client.pin_account(openai.OpenAI(**arguments, max_retries=0), settings)

    def __enter__(self) -> BatchClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    @property
    def reading(self) -> tuple[float, float] | None:
        """
        The last response's ``Date`` in epoch seconds, and `time.monotonic()` when it arrived.

        None before the first response, and for a service that sends no ``Date``.
        """
        return self._guard.reading

    def upload(self, file: Readable, name: str, *, expires_after: int | None = None) -> str:
        """
        Upload a batch input file from its start, in blocks, and return the file's id.

        :param file: Any object with ``read``; one that cannot seek is copied to a temporary file first.
        :param name: File name that the API shows.
        :param expires_after: Seconds, 3,600 to 2,592,000, after which the API deletes the file; None: it keeps it.
        """
        action = f"Uploading {name}"
        extra = {} if expires_after is None else {"expires_after": expiry(expires_after)}
        with replayable(file) as content:
            part = (name, content, "application/jsonl")
            response = self._call(action, lambda: self._upload(part, extra))
        return Reader(action, self.settings).file_id(response)

    def _upload(self, part: tuple[str, Any, str], extra: Mapping[str, Any]) -> Any:
        service = self.settings.service
        if service.upload_path == "/files":
            return self._sdk.files.with_raw_response.create(file=part, purpose=service.purpose, **extra)
        return self._sdk.post(
            service.upload_path,
            cast_to=http_client.transport().Response,
            body={"purpose": service.purpose, "file_name": part[0], "file_type": "jsonl", **extra},
            files=[("file", part)],
            options={"headers": {"Content-Type": "multipart/form-data"}},
        )

    def create(
        self,
        *,
        input_file_id: str,
        endpoint: str,
        metadata: Mapping[str, str],
        completion_window: str = COMPLETION_WINDOW,
        output_expires_after: int | None = None,
    ) -> CreateOutcome:
        """
        Create a batch with a single call, and return whether it was accepted, refused, or whether that is unknown.

        Errors of the API and of the network are returned, not raised: a repeated call could create a second, paid
        batch.

        :param input_file_id: Id of the uploaded input file.
        :param endpoint: Endpoint of the requests, for example ``/v1/chat/completions``.
        :param metadata: At most 16 pairs of strings; they identify the batch when the response is lost.
        :param completion_window: Time in which the API completes the batch; OpenAI takes only ``24h``.
        :param output_expires_after: Seconds, 3,600 to 2,592,000, after which the API deletes the output files; None:
            it keeps them.
        """
        action = f"Creating a batch of {input_file_id}"
        # Without arguments that are not given: some servers refuse nulls.
        extra: dict[str, Any] = {}
        if metadata and self.settings.service.takes_metadata:
            extra["metadata"] = dict(metadata)
        if output_expires_after is not None:
            extra["output_expires_after"] = expiry(output_expires_after)
        given = {"input_file_id": input_file_id, "endpoint": endpoint, "completion_window": completion_window, **extra}
        try:
            # An error from here on does not prove that the server created no batch.
            with http_client.quiet():
                response = self._once.batches.with_raw_response.create(**given, timeout=self._short)
            return Accepted(Reader(action, self.settings).batch(response))
        except exceptions.ApiError as error:
            return Unknown(error)
        except Exception as error:
            return outcome_of(
                translate(error, action=action, settings=self.settings), was_sent=http_client.was_sent(error)
            )

    def retrieve(self, batch_id: str) -> Batch:
        """
        Return a batch as the API shows it now.

        :param batch_id: Id of the batch.
        :raises NotFoundError: This account has no such batch.
        """
        action = f"Retrieving batch {batch_id}"
        call = self._sdk.batches.with_raw_response.retrieve
        return Reader(action, self.settings).batch(self._call(action, lambda: call(batch_id, timeout=self._short)))

    def list(self, limit: int = MAX_PAGE) -> Iterator[Batch]:
        """
        Yield the account's batches, usually newest first, and read each page when it is needed.

        A batch that is not yielded may still exist: servers cut lists off, and this stops after `MAX_PAGES` pages.

        :param limit: Batches of a page, 1 to 100.
        """
        after, seen = None, set[str]()
        for _ in range(MAX_PAGES):
            page = self.list_page(after=after, limit=limit)
            yield from page.batches
            if page.next_after is None or page.next_after in seen:  # a server that ignores `after` repeats its page
                return
            after = page.next_after
            seen.add(after)

    def list_page(self, *, after: str | None = None, limit: int = MAX_PAGE) -> Page:
        """
        Return one page of the account's batches.

        :param after: Id of the batch after which the page begins; None for the first page.
        :param limit: Batches of the page, 1 to 100.
        """
        action = "Listing batches"
        check_has_list(action, self.settings)
        given = {"limit": limit} if after is None else {"limit": limit, "after": after}
        call = self._sdk.batches.with_raw_response.list
        return Reader(action, self.settings).page(self._call(action, lambda: call(**given, timeout=self._short)))

    def file_created_at(self, file_id: str) -> float | None:
        """
        Return when a file was created, in epoch seconds of the service's clock; None if the API does not say.

        :param file_id: Id of the file.
        :raises NotFoundError: This account has no such file.
        """
        return moment_in(self._file(file_id).get("created_at"))

    def file_status(self, file_id: str) -> str | None:
        """
        Return a file's status in lower case, `statuses.FILE_NOT_FOUND` for no file, None if the API names no status.

        :param file_id: Id of the file.
        """
        try:
            status = text_in(self._file(file_id).get("status"))
        except exceptions.NotFoundError:
            return statuses.FILE_NOT_FOUND
        return None if status is None else status.lower()

    def _file(self, file_id: str) -> Mapping[str, Any]:
        action = f"Retrieving file {file_id}"
        call = self._sdk.files.with_raw_response.retrieve
        return Reader(action, self.settings).json_object(self._call(action, lambda: call(file_id, timeout=self._short)))

    def cancel(self, batch_id: str) -> Batch:
        """
        Request the cancellation of a batch, and return the batch; one that has ended is returned unchanged.

        :param batch_id: Id of the batch.
        """
        action = f"Cancelling batch {batch_id}"
        check_can_cancel(action, self.settings)
        try:
            response = self._call(action, lambda: self._once.batches.with_raw_response.cancel(batch_id))
        except exceptions.ApiUnavailableError as error:
            if error.status_code == 409:  # the batch has ended; the SDK's own retries would repeat the call
                return self.retrieve(batch_id)
            response = self._call(action, lambda: self._sdk.batches.with_raw_response.cancel(batch_id))
        return Reader(action, self.settings).batch(response)

    def download(self, file_id: str, to: Path) -> int:
        """
        Stream a file's content to a local path, and return its size in bytes.

        An interrupted transfer starts again, up to ``max_retries`` times. The path gets the whole file or nothing.

        :param file_id: Id of the file.
        :param to: Local path; an existing file is replaced.
        :raises StorageError: The local path cannot be written.
        """
        content = self._sdk.files.with_streaming_response.content
        return self._save(f"Downloading file {file_id}", lambda: content(file_id), to)

    def download_video(self, video_id: str, to: Path) -> int:
        """
        Stream a finished video to a local path like `download`; the API keeps a video for about a day.

        :param video_id: Id of the video.
        :param to: Local path; an existing file is replaced.
        :raises ConfigurationError: The installed `openai` package has no videos.
        """
        videos = getattr(self._sdk, "videos", None)
        if videos is None:
            raise exceptions.ConfigurationError(
                "The installed `openai` package has no videos; install version 2.2 or later."
            )
        content = videos.with_streaming_response.download_content
        return self._save(f"Downloading video {video_id}", lambda: content(video_id), to)

    def _save(self, action: str, opened: Callable[[], Any], to: Path) -> int:
        part = to.with_name(f".{to.name}.{uuid.uuid4().hex[:8]}.part")
        try:
            for attempt in range(self.settings.max_retries + 1):
                try:
                    size = self._call(action, lambda: self._stream(opened, part, action))
                    os.replace(part, to)
                    return size
                except exceptions.ApiUnavailableError as error:
                    if attempt == self.settings.max_retries:
                        raise
                    requested = min(error.retry_after or 0.0, LONGEST_PAUSE)
                    time.sleep(requested or min(FIRST_PAUSE * 2**attempt, LONGEST_PAUSE))
            raise AssertionError("unreachable: the last attempt returns or raises")
        except OSError as error:
            raise not_written(to, error) from error
        finally:
            part.unlink(missing_ok=True)

    def delete_file(self, file_id: str) -> None:
        """
        Delete a file at the API.

        :param file_id: Id of the file.
        :raises NotFoundError: This account has no such file.
        """
        self._call(f"Deleting file {file_id}", lambda: self._sdk.files.with_raw_response.delete(file_id))

    def model_end(self, model: str) -> ModelEnd | None:
        """
        Return a model's shutdown date with a single, short call; None if it is not known.

        :param model: Name of the model.
        :raises ApiError: The API does not respond, or refuses the model without saying that it was retired.
        """
        action = f"Retrieving model {model}"
        call = self._once.models.with_raw_response.retrieve
        try:
            response = self._call(action, lambda: call(model, timeout=min(TIMEOUT, self._short)))
            return read_end(Reader(action, self.settings).json_object(response))
        except ValueError:  # the name cannot be part of a URL
            return None
        except exceptions.ApiError as error:
            if (end := read_refusal(error)) is None:
                raise
            return end

    def account_check(self) -> str:
        """Make the cheapest call that needs a valid key and base URL, and return a sentence with the result."""
        if not self.settings.service.has_list:
            call = self._sdk.files.with_raw_response.list
            self._call("Listing files", lambda: call(limit=1, timeout=self._short))
            return f"Connected to {self.settings.shown_address}."
        page = self.list_page(limit=1)
        return f"Connected to {self.settings.shown_address}" + (
            f"; the newest batch is {page.batches[0].id}." if page.batches else "; there are no batches yet."
        )

    @property
    def _short(self) -> float:
        return http_client.call_timeout(self.settings)

    def _call(self, action: str, call: Callable[[], T]) -> T:
        """Make one call of the SDK; translate its exceptions, except errors of the local disk."""
        try:
            with http_client.quiet():
                return call()
        except (exceptions.OpenAIBatchError, OSError):
            raise
        except Exception as error:  # an unexpected response can make the SDK raise any exception
            raise translate(error, action=action, settings=self.settings) from chain(error, self.settings)

    def _stream(self, opened: Callable[[], Any], part: Path, action: str) -> int:
        """Write the content of a response to the file `part`, and return its size in bytes."""
        size = 0
        with opened() as response, part.open("wb") as target:
            if "text/html" in response.headers.get("content-type", ""):
                page = ErrorResponse("the server returned an HTML page", status_code=response.status_code, is_html=True)
                raise from_response(page, action=action, settings=self.settings)
            for block in response.iter_bytes():
                size += target.write(block)
            expected = response.headers.get("content-length")
            received = response.http_response.num_bytes_downloaded  # as sent: before any decompression
        if expected is not None and expected.isdecimal() and int(expected) != received:
            incomplete = ErrorResponse(f"{received:,} of {int(expected):,} bytes arrived")
            raise from_response(incomplete, action=action, settings=self.settings)
        return size
