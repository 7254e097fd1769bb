"""Reading what the API answers, for the sync and the async client alike. Bytes in, our values out, or an `ApiError`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_batch.api.errors import unreadable
from airflow_provider_batch.api.lenient_json import decode, flag_in, mapping_in, moment_in, text_in
from airflow_provider_batch.api.objects import Batch
from airflow_provider_batch.api.settings import ClientSettings

#: The most batches that one page of the list holds.
MAX_PAGE = 100


@dataclass(frozen=True)
class Page:
    """
    One page of the list, newest first as a rule.

    :param next_after: What to pass as ``after`` for the next page; None on the last.
    :param claims_more: Whether the API says that there is another page, `next_after` or not.
    :param unread: Members that could not be read and are not among `batches`: a batch that is not found may be one.
    """

    batches: tuple[Batch, ...]
    next_after: str | None
    claims_more: bool = False
    unread: int = 0


@dataclass(frozen=True)
class Reader:
    """Reads the answer to one call; the fields are what an error says."""

    asked: str
    settings: ClientSettings

    def batch(self, response: Any) -> Batch:
        """Return the Batch object of a raw response."""
        data = self._object(response)
        if text_in(data.get("id")) is None or "status" not in data:
            raise self._unreadable(response)
        return Batch.from_api(data)

    def page(self, response: Any) -> Page:
        """Return a page of Batch objects; a member that is none hides no other."""
        data = self._object(response)
        entries = data.get("data")
        if not isinstance(entries, list):
            raise self._unreadable(response)
        readable = [entry for entry in entries if text_in(mapping_in(entry).get("id")) is not None]
        batches = tuple(map(Batch.from_api, readable))
        claims_more = flag_in(data.get("has_more"))
        last = text_in(data.get("last_id")) or (batches[-1].id if batches else None)
        return Page(batches, last if claims_more and entries else None, claims_more, len(entries) - len(batches))

    def created_at(self, response: Any) -> float | None:
        """Return when an object was made, in epoch seconds; None where that is not said."""
        return moment_in(self._object(response).get("created_at"))

    def file_status(self, response: Any) -> str | None:
        """Return the status of a file; None where that is not said."""
        status = text_in(self._object(response).get("status"))
        return None if status is None else status.lower()

    def any_object(self, response: Any) -> Mapping[str, Any]:
        """Return whatever object an answer is."""
        return self._object(response)

    def file_id(self, response: Any) -> str:
        """Return the id of an uploaded file."""
        file_id = text_in(self._object(response).get("id"))
        if file_id is None:
            raise self._unreadable(response)
        return file_id

    def _object(self, response: Any) -> Mapping[str, Any]:
        try:
            data = decode(response.content)
        except ValueError as error:
            raise self._unreadable(response) from error
        if not isinstance(data, dict):
            raise self._unreadable(response)
        return data

    def _unreadable(self, response: Any) -> Exception:
        return unreadable(response.content, status_code=response.status_code, asked=self.asked, settings=self.settings)


def creation(
    *,
    input_file_id: str,
    endpoint: str,
    metadata: Mapping[str, str],
    completion_window: str,
    output_expires_after: int | None,
) -> dict[str, Any]:
    """Return the arguments of a create, with what is not wanted left out: some servers refuse nulls."""
    given: dict[str, Any] = {
        "input_file_id": input_file_id,
        "endpoint": endpoint,
        "completion_window": completion_window,
    }
    if metadata:
        given["metadata"] = dict(metadata)
    if output_expires_after is not None:
        given["output_expires_after"] = expiry(output_expires_after)
    return given


def expiry(seconds: int) -> dict[str, Any]:
    """Return an expiry policy in the API's form."""
    return {"anchor": "created_at", "seconds": seconds}
