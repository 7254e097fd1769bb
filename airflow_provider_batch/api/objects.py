"""
What the API says of a batch, read liberally: compatible servers leave fields out, send `""` for null, text for numbers
and lists, numbers for text. A field that cannot be read is as if it were not there, and hides no other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_batch.api import statuses
from airflow_provider_batch.api.lenient_json import count_in, mapping_in, moment_in, text_in, words_in


@dataclass(frozen=True)
class FileError:
    """One entry of `errors.data[]`: why an input file was refused. `line` counts from 1."""

    code: str
    message: str
    param: str | None = None
    line: int | None = None


@dataclass(frozen=True)
class Batch:
    """One Batch object. Times are epoch seconds; counts are 0 until the API has them."""

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
        """Whether nothing more will happen to it."""
        return self.status in statuses.TERMINAL

    @classmethod
    def from_api(cls, data: Mapping[str, Any]) -> Batch:
        """Read a Batch object, given as the decoded JSON; only its id has to be there."""
        counts = mapping_in(data.get("request_counts"))
        return cls(
            id=text_in(data["id"]) or "",
            status=statuses.normalise(text_in(data.get("status")) or ""),
            endpoint=text_in(data.get("endpoint")) or "",
            input_file_id=text_in(data.get("input_file_id")),
            output_file_id=text_in(data.get("output_file_id")),
            error_file_id=text_in(data.get("error_file_id")),
            model=text_in(data.get("model")),
            created_at=moment_in(data.get("created_at")),
            in_progress_at=moment_in(data.get("in_progress_at")),
            finalizing_at=moment_in(data.get("finalizing_at")),
            expires_at=moment_in(data.get("expires_at")),
            total=count_in(counts.get("total")),
            completed=count_in(counts.get("completed")),
            failed=count_in(counts.get("failed")),
            errors=tuple(_errors(data.get("errors") or data.get("error"))),
            metadata=dict(_pairs(data.get("metadata"))),
        )


def _errors(value: Any) -> Iterator[FileError]:
    """Yield why a file was refused: from the API's list, a bare list, one object or one text."""
    if isinstance(value, dict):
        listed = value.get("data")
        value = [value] if listed is None else listed
    for entry in value if isinstance(value, list) else [value]:
        if isinstance(entry, dict):
            code, message = words_in(entry.get("code") or entry.get("type")), words_in(entry.get("message"))
            if code or message:
                yield FileError(code, message, text_in(entry.get("param")), count_in(entry.get("line")) or None)
        elif isinstance(entry, str) and (message := words_in(entry)):
            yield FileError(code="", message=message)


def _pairs(value: Any) -> Iterator[tuple[str, str]]:
    for key, one in mapping_in(value).items():
        if (text := text_in(one)) is not None:
            yield key, text
