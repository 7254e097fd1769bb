"""Novita AI, by its documentation: statuses in capitals, ``PROGRESS``, times and ``errors`` as text."""

from __future__ import annotations

from datetime import UTC, datetime

from airflow_provider_batch.emulator.services.manners import Manners, Shown


def batch(shown: Shown) -> Shown:
    """
    Return a Batch object as Novita shows it.

    :param shown: Batch object in OpenAI's form.
    """
    errors = (shown["errors"] or {}).get("data", [])
    status = "PROGRESS" if shown["status"] in ("in_progress", "finalizing") else shown["status"].upper()
    times = {name: _iso(value) for name, value in shown.items() if name.endswith("_at")}
    return {
        **{name: value for name, value in shown.items() if name not in ("model", "usage")},
        **times,
        **shown["request_counts"],
        "status": status,
        "errors": "; ".join(error["message"] for error in errors),
        "output_file_id": shown["output_file_id"] or "",
        "error_file_id": shown["error_file_id"] or "",
        "metadata": {},
        "version": 1,
    }


def _iso(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat()


MANNERS = Manners(batch=batch)
