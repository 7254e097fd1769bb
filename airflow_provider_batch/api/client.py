"""
The Batch API over the `openai` SDK, synchronously.

Nothing here holds a file in memory, and everything but the creation of a batch may be repeated.
Errors are those of `errors.RULES`.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from airflow_provider_batch.api import statuses
from airflow_provider_batch.api.bounds import MAX_PAGES, MAX_REDIRECTS
from airflow_provider_batch.api.errors import Answer, chain, from_answer, translate
from airflow_provider_batch.api.models import TIMEOUT, ModelEnd, read_end, read_refusal
from airflow_provider_batch.api.objects import Batch
from airflow_provider_batch.api.outcomes import Accepted, CreateOutcome, Unknown, outcome_of
from airflow_provider_batch.api.response_reader import MAX_PAGE, Page, Reader, creation, expiry
from airflow_provider_batch.api.services import COMPLETION_WINDOW
from airflow_provider_batch.api.settings import ClientSettings
from airflow_provider_batch.api.transport.guard import HEADERS, Guard
from airflow_provider_batch.api.transport.http_client import (
    call_timeout,
    client_arguments,
    pin_account,
    quiet,
    ssl_context,
    was_sent,
)
from airflow_provider_batch.api.transport.uploads import Readable, replayable
from airflow_provider_batch.exceptions import (
    ApiError,
    ApiUnavailableError,
    ConfigurationError,
    NotFoundError,
    OpenAIBatchError,
)
from airflow_provider_batch.storage.local_disk import not_written

T = TypeVar("T")

#: Seconds before the first repetition of a download; they double up to the second figure.
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 16.0


class BatchClient:
    """
    Calls of the Batch API for one account. Threads may share it.

    :param settings: The account, and how patiently it is asked.
    """

    def __init__(self, settings: ClientSettings) -> None:
        import openai

        self.settings = settings
        self._guard = Guard(settings.address)
        hooks: Any = {"request": [self._guard.request], "response": [self._guard.response]}
        self._http = openai.DefaultHttpxClient(
            verify=ssl_context(), event_hooks=hooks, max_redirects=MAX_REDIRECTS, headers=HEADERS
        )
        arguments = {**client_arguments(settings), "http_client": self._http}
        self._sdk: Any = pin_account(openai.OpenAI(**arguments, max_retries=settings.max_retries), settings)
        #: For the calls that the SDK must not repeat by itself.
        self._once: Any = pin_account(openai.OpenAI(**arguments, max_retries=0), settings)

    def __enter__(self) -> BatchClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    @property
    def reading(self) -> tuple[float, float] | None:
        """The service's clock when it last answered, and `time.monotonic()` then; None before, or where it has none."""
        return self._guard.reading

    def upload(self, file: Readable, name: str, *, expires_after: int | None = None) -> str:
        """
        Upload a batch input file from its start, a block at a time, and return the file's id.

        :param file: Any object with ``read``; one that cannot seek is copied to a temporary file first.
        :param name: File name that the API shows.
        :param expires_after: Seconds, 3,600 to 2,592,000, after which the API deletes the file.
        """
        asked = f"Uploading {name}"
        extra = {} if expires_after is None else {"expires_after": expiry(expires_after)}
        with replayable(file) as content:
            part = (name, content, "application/jsonl")
            call = self._sdk.files.with_raw_response.create
            return Reader(asked, self.settings).file_id(
                self._call(asked, lambda: call(file=part, purpose="batch", **extra))
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
        Ask for a batch, once, and return what is known afterwards; raises nothing that the API could cause.

        :param metadata: At most 16 pairs of strings; the way to find the batch again when the answer is lost.
        :param output_expires_after: Seconds, 3,600 to 2,592,000, after which the API deletes the output files.
        """
        asked = f"Creating a batch of {input_file_id}"
        given = creation(
            input_file_id=input_file_id,
            endpoint=endpoint,
            metadata=metadata,
            completion_window=completion_window,
            output_expires_after=output_expires_after,
        )
        try:
            # Whatever goes wrong from here on may have gone wrong after the server made the batch.
            with quiet():
                response = self._once.batches.with_raw_response.create(**given, timeout=self._short)
            return Accepted(Reader(asked, self.settings).batch(response))
        except ApiError as error:
            return Unknown(error)
        except Exception as error:
            return outcome_of(translate(error, asked=asked, settings=self.settings), was_sent=was_sent(error))

    def retrieve(self, batch_id: str) -> Batch:
        """Return a batch as it is now; raise NotFoundError for one that this account does not have."""
        asked = f"Retrieving batch {batch_id}"
        call = self._sdk.batches.with_raw_response.retrieve
        return Reader(asked, self.settings).batch(self._call(asked, lambda: call(batch_id, timeout=self._short)))

    def list(self, limit: int = MAX_PAGE) -> Iterator[Batch]:
        """
        Yield the account's batches, newest first as a rule, asking for pages as they are needed.

        What is not yielded may exist all the same: a list may be cut short, and at the latest is after `MAX_PAGES`.

        :param limit: Batches a page, 1 to 100.
        """
        after, seen = None, set[str]()
        for _ in range(MAX_PAGES):
            page = self.list_page(after=after, limit=limit)
            yield from page.batches
            if page.next_after is None or page.next_after in seen:  # a server that ignores `after` would never end
                return
            after = page.next_after
            seen.add(after)

    def list_page(self, *, after: str | None = None, limit: int = MAX_PAGE) -> Page:
        """Return one page of the list; ``after`` is the last page's ``next_after``."""
        asked = "Listing batches"
        given = {"limit": limit} if after is None else {"limit": limit, "after": after}
        call = self._sdk.batches.with_raw_response.list
        return Reader(asked, self.settings).page(self._call(asked, lambda: call(**given, timeout=self._short)))

    def file_created_at(self, file_id: str) -> float | None:
        """Return when a file was made, by the service's clock; None where it does not say."""
        asked = f"Retrieving file {file_id}"
        call = self._sdk.files.with_raw_response.retrieve
        response = self._call(asked, lambda: call(file_id, timeout=self._short))
        return Reader(asked, self.settings).created_at(response)

    def file_status(self, file_id: str) -> str | None:
        """Return a file's status in small letters, `FILE_NOT_FOUND` without a file, None where no status is said."""
        asked = f"Retrieving file {file_id}"
        call = self._sdk.files.with_raw_response.retrieve
        try:
            response = self._call(asked, lambda: call(file_id, timeout=self._short))
        except NotFoundError:
            return statuses.FILE_NOT_FOUND
        return Reader(asked, self.settings).file_status(response)

    def cancel(self, batch_id: str) -> Batch:
        """Ask that a batch be cancelled, and return it as it is then; one that has ended is returned unchanged."""
        asked = f"Cancelling batch {batch_id}"
        try:
            response = self._call(asked, lambda: self._once.batches.with_raw_response.cancel(batch_id))
        except ApiUnavailableError as error:
            if error.status_code == 409:  # it has ended; the SDK would take this for a lock and repeat it
                return self.retrieve(batch_id)
            response = self._call(asked, lambda: self._sdk.batches.with_raw_response.cancel(batch_id))
        return Reader(asked, self.settings).batch(response)

    def download(self, file_id: str, to: Path) -> int:
        """
        Stream a file's content to a local path, and return its size in bytes.

        A transfer that is cut off starts again, up to ``max_retries`` times. The path gets the whole file or nothing.
        """
        content = self._sdk.files.with_streaming_response.content
        return self._save(f"Downloading file {file_id}", lambda: content(file_id), to)

    def download_video(self, video_id: str, to: Path) -> int:
        """Stream a finished video to a local path like `download`; the API keeps it for a day or so."""
        videos = getattr(self._sdk, "videos", None)
        if videos is None:
            raise ConfigurationError("The installed `openai` package knows no videos; 2.2 and later do.")
        content = videos.with_streaming_response.download_content
        return self._save(f"Downloading video {video_id}", lambda: content(video_id), to)

    def _save(self, asked: str, opened: Callable[[], Any], to: Path) -> int:
        part = to.with_name(f".{to.name}.{uuid.uuid4().hex[:8]}.part")
        try:
            for attempt in range(self.settings.max_retries + 1):
                try:
                    size = self._call(asked, lambda: self._stream(opened, part, asked))
                    os.replace(part, to)
                    return size
                except ApiUnavailableError as error:
                    if attempt == self.settings.max_retries:
                        raise
                    asked_for = min(error.retry_after or 0.0, LONGEST_PAUSE)
                    time.sleep(asked_for or min(FIRST_PAUSE * 2**attempt, LONGEST_PAUSE))
            raise AssertionError("unreachable: the last attempt returns or raises")
        except OSError as error:
            raise not_written(to, error) from error
        finally:
            part.unlink(missing_ok=True)

    def delete_file(self, file_id: str) -> None:
        """Delete a file; one that is not there raises NotFoundError."""
        self._call(f"Deleting file {file_id}", lambda: self._sdk.files.with_raw_response.delete(file_id))

    def model_end(self, model: str) -> ModelEnd | None:
        """
        Return when a model ends, asking once and not for long; None where that is not known.

        :raises ApiError: The API does not answer, or does not give this model and does not say that it is gone.
        """
        asked = f"Retrieving model {model}"
        call = self._once.models.with_raw_response.retrieve
        try:
            response = self._call(asked, lambda: call(model, timeout=min(TIMEOUT, self._short)))
            return read_end(Reader(asked, self.settings).any_object(response))
        except ValueError:  # no name that an address can hold
            return None
        except ApiError as error:
            if (end := read_refusal(error)) is None:
                raise
            return end

    def account_check(self) -> str:
        """Make the cheapest call that needs a right key and a right base URL, and say what was found."""
        page = self.list_page(limit=1)
        return f"Connected to {self.settings.shown_address}" + (
            f"; the newest batch is {page.batches[0].id}." if page.batches else "; there are no batches yet."
        )

    @property
    def _short(self) -> float:
        return call_timeout(self.settings)

    def _call(self, asked: str, call: Callable[[], T]) -> T:
        """Make one call of the SDK; what it raises becomes ours, but for what the local disk raises."""
        try:
            with quiet():
                return call()
        except (OpenAIBatchError, OSError):
            raise
        except Exception as error:  # the SDK passes on what its parts raise for an answer that nobody thought of
            raise translate(error, asked=asked, settings=self.settings) from chain(error, self.settings)

    def _stream(self, opened: Callable[[], Any], part: Path, asked: str) -> int:
        """Write the content of a response to `part`, replacing what stands there, and return its size."""
        size = 0
        with opened() as response, part.open("wb") as target:
            if "text/html" in response.headers.get("content-type", ""):
                page = Answer("an HTML page came back", status_code=response.status_code, is_html=True)
                raise from_answer(page, asked=asked, settings=self.settings)
            for block in response.iter_bytes():
                size += target.write(block)
            promised = response.headers.get("content-length")
            received = response.http_response.num_bytes_downloaded  # as sent: before any decompression
        if promised is not None and promised.isdecimal() and int(promised) != received:
            cut = Answer(f"{received:,} of {int(promised):,} bytes came")
            raise from_answer(cut, asked=asked, settings=self.settings)
        return size
