"""
Azure OpenAI, by its documentation of batches (learn.microsoft.com, 2025).

A new batch is shown with capitals, ISO times and no counts; counts of 0 are null; an ended batch has an error file in
any case, of 0 bytes where nothing failed; result lines have no id; batches do not expire.
"""

from __future__ import annotations

from datetime import UTC, datetime

from airflow_provider_batch.emulator.services.manners import Manners, Shown


def batch(shown: Shown) -> Shown:
    """
    Return a Batch object as Azure shows it.

    :param shown: Batch object in OpenAI's form.
    """
    shown = {**shown, "expires_at": shown["created_at"] + 86_400}  # shown, and without consequence
    counts = {name: count or None for name, count in shown["request_counts"].items()}
    shown = {**shown, "request_counts": counts, "input_blob": "", "output_blob": "", "error_blob": ""}
    shown.pop("model", None)
    shown.pop("usage", None)
    if shown["status"] != "validating":
        return shown
    times = {name: _iso(shown[name]) for name in ("created_at", "expires_at")}
    return {**shown, **times, "status": "Validating"}


def line(shown: Shown) -> Shown:
    """
    Return a result line as Azure writes it.

    :param shown: Result line in OpenAI's form.
    """
    return {name: value for name, value in shown.items() if name != "id"}


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f1+00:00")


MANNERS = Manners(
    batch=batch,
    line=line,
    codes={"invalid_url": "url_mismatch", "mismatched_model": "model_mismatch"},
    texts={
        "token_limit_exceeded": "The number of enqueued tokens has surpassed the configured limit for the deployment. "
        "Please either increase the limit or try again once the current jobs have finished.",
        "model_not_found": "The provided deployment name was not found. Please ensure it points to a valid Azure "
        "OpenAI model deployment.",
    },
    settings={"always_error_file": True},
)
