"""
Together AI, by its public client (together-py) and documentation.

A create's answer is wrapped in ``job``; statuses have capitals, and only six exist; times are ISO; ``error`` is a text;
``progress`` stands for the counts; the list is a bare array without pages.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from airflow_provider_batch.emulator.services.manners import Manners, Shown

_STATUSES = {"finalizing": "IN_PROGRESS", "cancelling": "IN_PROGRESS"}


def batch(shown: Shown) -> Shown:
    """
    Return a batch job as Together shows it.

    :param shown: Batch object in OpenAI's form.
    """
    counts, errors = shown["request_counts"], (shown["errors"] or {}).get("data", [])
    done = counts["completed"] + counts["failed"]
    return {
        "id": shown["id"],
        "user_id": "user-emulator",
        "input_file_id": shown["input_file_id"],
        "file_size_bytes": 0,
        "status": _STATUSES.get(shown["status"], shown["status"].upper()),
        "job_deadline": _iso(shown["expires_at"]),
        "created_at": _iso(shown["created_at"]),
        "completed_at": _iso(shown["completed_at"]),
        "endpoint": shown["endpoint"],
        "progress": 100.0 * done / counts["total"] if counts["total"] else 0.0,
        "model_id": shown["model"],
        "output_file_id": shown["output_file_id"] or "",
        "error_file_id": shown["error_file_id"] or "",
        "error": "; ".join(error["message"] for error in errors) or None,
    }


def created(shown: Shown) -> Any:
    """
    Return the answer to a create.

    :param shown: Batch job in Together's form.
    """
    return {"job": shown, "warning": None}


def page(shown: Shown) -> Any:
    """
    Return the list, which is an array.

    :param shown: Page whose batches have Together's form.
    """
    return shown["data"]


def file(shown: Shown) -> Shown:
    """
    Return a file as Together shows it.

    :param shown: File object in OpenAI's form.
    """
    kept = {name: shown[name] for name in ("id", "object", "purpose", "filename", "bytes", "created_at")}
    return {**kept, "FileType": "jsonl", "LineCount": 0, "Processed": shown.get("status") == "processed"}


def _iso(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


MANNERS = Manners(batch=batch, created=created, page=page, file=file)
