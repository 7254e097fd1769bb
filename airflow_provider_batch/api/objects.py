"""What the API says of a batch, read liberally: compatible servers leave fields out or send `""` for null."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_batch.api import statuses


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
        """Read a Batch object, given as the decoded JSON."""
        counts = data.get("request_counts") or {}
        listed = (data.get("errors") or {}).get("data") or ()
        return cls(
            id=str(data["id"]),
            status=statuses.normalise(data.get("status")),
            endpoint=str(data.get("endpoint") or ""),
            input_file_id=data.get("input_file_id") or None,
            output_file_id=data.get("output_file_id") or None,
            error_file_id=data.get("error_file_id") or None,
            model=data.get("model") or None,
            created_at=_moment(data.get("created_at")),
            in_progress_at=_moment(data.get("in_progress_at")),
            finalizing_at=_moment(data.get("finalizing_at")),
            expires_at=_moment(data.get("expires_at")),
            total=int(counts.get("total") or 0),
            completed=int(counts.get("completed") or 0),
            failed=int(counts.get("failed") or 0),
            errors=tuple(
                FileError(
                    code=str(entry.get("code") or ""),
                    message=str(entry.get("message") or ""),
                    param=entry.get("param"),
                    line=entry.get("line"),
                )
                for entry in listed
            ),
            metadata=data.get("metadata") or {},
        )


def _moment(value: object) -> float | None:
    """Return epoch seconds; what is no number, as some compatible servers send, is not known."""
    return float(value) if isinstance(value, (int, float)) and value > 0 else None
