"""Read the API's responses, for both clients: from bytes to this package's values, or to an `ApiError`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_batch.api.errors import unreadable
from airflow_provider_batch.api.lenient_json import decode, flag_in, mapping_in, text_in
from airflow_provider_batch.api.objects import Batch
from airflow_provider_batch.api.settings import ClientSettings
from airflow_provider_batch.exceptions import ApiRefusedError

#: Batches of one page of the list, at most.
MAX_PAGE = 100


@dataclass(frozen=True)
class Page:
    """
    One page of the account's batches.

    :param batches: Batches of the page, usually newest first.
    :param next_after: Value of ``after`` for the next page; None on the last page.
    :param claims_more: Whether the API says that there is another page, even if `next_after` is None.
    :param unread: Number of members without a readable id, which are not in `batches`.
    """

    batches: tuple[Batch, ...]
    next_after: str | None
    claims_more: bool = False
    unread: int = 0


@dataclass(frozen=True)
class Reader:
    """
    Read the response to one call; the fields are for its error messages.

    :param action: The call, as the beginning of a sentence: ``"Retrieving batch batch_1"``.
    :param settings: Settings of the client.
    """

    action: str
    settings: ClientSettings

    def batch(self, response: Any) -> Batch:
        """
        Return the batch of a response.

        :param response: Raw response of the SDK.
        :raises ApiError: The response is no Batch object.
        """
        data = self.json_object(response)
        if "id" not in data:  # Together wraps the answer to a create
            data = mapping_in(data.get("job"))
        if text_in(data.get("id")) is None or "status" not in data:
            raise self._unreadable(response)
        return Batch.from_api(data, self.settings.service.statuses)

    def page(self, response: Any) -> Page:
        """
        Return the page of a response; members that are no Batch objects are counted and left out.

        :param response: Raw response of the SDK.
        :raises ApiError: The response is no list.
        """
        decoded = self._decoded(response)
        data = mapping_in(decoded)
        entries = data.get("data") if data else decoded  # Together's list is a bare one
        if not isinstance(entries, list):
            raise self._unreadable(response)
        words = self.settings.service.statuses
        readable = [entry for entry in entries if text_in(mapping_in(entry).get("id")) is not None]
        batches = tuple(Batch.from_api(entry, words) for entry in readable)
        claims_more = flag_in(data.get("has_more"))
        last = text_in(data.get("last_id")) or (batches[-1].id if batches else None)
        return Page(batches, last if claims_more and entries else None, claims_more, len(entries) - len(batches))

    def file_id(self, response: Any) -> str:
        """
        Return the id of an uploaded file.

        :param response: Raw response of the SDK.
        :raises ApiError: The response has no id.
        """
        file_id = text_in(self.json_object(response).get("id"))
        if file_id is None:
            raise self._unreadable(response)
        return file_id

    def json_object(self, response: Any) -> Mapping[str, Any]:
        """
        Return the JSON object of a response.

        :param response: Raw response of the SDK.
        :raises ApiError: The response is no JSON object.
        """
        data = self._decoded(response)
        if not isinstance(data, dict):
            raise self._unreadable(response)
        return data

    def _decoded(self, response: Any) -> Any:
        try:
            return decode(response.content)
        except ValueError as error:
            raise self._unreadable(response) from error

    def _unreadable(self, response: Any) -> Exception:
        return unreadable(
            response.content, status_code=response.status_code, action=self.action, settings=self.settings
        )


def check_has_list(action: str, settings: ClientSettings) -> None:
    """
    Check that the service has a list of batches.

    :param action: The call, as the beginning of a sentence.
    :param settings: Settings of the client.
    :raises ApiRefusedError: It has none; nothing is sent.
    """
    if not settings.service.has_list:
        raise ApiRefusedError(f"{action} at {settings.shown_address}: {settings.service.name} has no list of batches.")


def check_can_cancel(action: str, settings: ClientSettings) -> None:
    """
    Check that the service can cancel a batch.

    :param action: The call, as the beginning of a sentence.
    :param settings: Settings of the client.
    :raises ApiRefusedError: It cannot; nothing is sent.
    """
    if not settings.service.takes_cancel:
        raise ApiRefusedError(
            f"{action} at {settings.shown_address}: {settings.service.name} cannot cancel a batch. It runs to its end, "
            "and is billed."
        )


def expiry(seconds: int) -> dict[str, Any]:
    """
    Return the API's expiry policy for a file.

    :param seconds: Seconds after its creation, 3,600 to 2,592,000, at which the API deletes the file.
    """
    return {"anchor": "created_at", "seconds": seconds}
