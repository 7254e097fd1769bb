"""
The API's Batch object, read leniently.

Compatible servers leave fields out, send `""` for null, text for numbers and lists, and numbers for text. A field that
cannot be read counts as missing; the other fields are still read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_batch.api import statuses
from airflow_provider_batch.api.lenient_json import count_in, mapping_in, moment_in, readable_text, text_in


@dataclass(frozen=True)
class FileError:
    """
    One entry of `errors.data[]`: a reason why the API refused an input file.

    :param code: The API's error code; empty if it sends none.
    :param message: The API's error text.
    :param param: Member of the request that the API names.
    :param line: Line of the input file, counted from 1.
    """

    code: str
    message: str
    param: str | None = None
    line: int | None = None


@dataclass(frozen=True)
class Batch:
    """
    One Batch object. A field that the API does not send is None, 0 or empty.

    :param id: Id of the batch.
    :param status: Status as `statuses.normalise` spells it.
    :param endpoint: Endpoint of its requests, as the server writes it.
    :param input_file_id: Id of the input file.
    :param output_file_id: Id of the result file with the successful requests.
    :param error_file_id: Id of the error file with the failed requests.
    :param model: Model of the requests.
    :param created_at: When it was created, in epoch seconds.
    :param in_progress_at: When the vendor began to run it, in epoch seconds.
    :param finalizing_at: When the vendor began to write its result files, in epoch seconds.
    :param expires_at: When it expires, in epoch seconds.
    :param total: Number of its requests.
    :param completed: Number of successful requests.
    :param failed: Number of failed requests.
    :param errors: Why its input file was refused.
    :param metadata: Pairs of texts that were given at its creation.
    """

    id: str
    status: str
    endpoint: str = ""
    input_file_id: str | None = None
    output_file_id: str | None = None
    error_file_id: str | None = None
    model: str | None = None
    created_at: float | None = None
    in_progress_at: float | None = None
    finalizing_at: float | None = None
    expires_at: float | None = None
    total: int = 0
    completed: int = 0
    failed: int = 0
    errors: Sequence[FileError] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def has_ended(self) -> bool:
        """Whether its status is final: completed, failed, expired or cancelled."""
        return self.status in statuses.TERMINAL

    @classmethod
    def from_api(cls, data: Mapping[str, Any], words: Mapping[str, str] | None = None) -> Batch:
        """
        Read a Batch object.

        :param data: The object as decoded JSON; only ``id`` is required.
        :param words: The service's own words for statuses, and what they mean.
        """
        counts = mapping_in(data.get("request_counts"))
        texts = ("input_file_id", "output_file_id", "error_file_id", "model")
        moments = ("created_at", "in_progress_at", "finalizing_at", "expires_at")
        fields: dict[str, Any] = {name: text_in(data.get(name)) for name in texts}
        fields["model"] = fields["model"] or text_in(data.get("model_id"))
        fields |= {name: moment_in(data.get(name)) for name in moments}
        fields |= {name: count_in(counts.get(name)) for name in ("total", "completed", "failed")}
        return cls(
            id=text_in(data["id"]) or "",
            status=statuses.normalise(text_in(data.get("status")) or "", words or {}),
            endpoint=text_in(data.get("endpoint")) or "",
            errors=tuple(_errors(data.get("errors") or data.get("error"))),
            metadata=dict(_pairs(data.get("metadata"))),
            **fields,
        )


def _errors(value: Any) -> Iterator[FileError]:
    """Yield the errors of a batch, from the API's list object, a bare list, one object or one text."""
    if isinstance(value, dict):
        listed = value.get("data")
        value = [value] if listed is None else listed
    for entry in value if isinstance(value, list) else [value]:
        if isinstance(entry, dict):
            code, message = readable_text(entry.get("code") or entry.get("type")), readable_text(entry.get("message"))
            if code or message:
                yield FileError(code, message, text_in(entry.get("param")), count_in(entry.get("line")) or None)
        elif isinstance(entry, str) and (message := readable_text(entry)):
            yield FileError(code="", message=message)


def _pairs(value: Any) -> Iterator[tuple[str, str]]:
    for key, one in mapping_in(value).items():
        if (text := text_in(one)) is not None:
            yield key, text
