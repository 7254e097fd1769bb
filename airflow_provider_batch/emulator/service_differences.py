"""Apply settings for services whose list, clock or metadata differ from OpenAI's."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from airflow_provider_batch.emulator.records import BatchRecord
from airflow_provider_batch.emulator.settings import Settings

#: Fields of Batch objects that those from before September 2025 have not.
_SINCE_2025 = frozenset({"model", "usage"})


def list_differs(settings: Settings) -> bool:
    """
    Say whether the settings make the list of batches differ from OpenAI's.

    :param settings: Current settings.
    """
    return (settings.list_order, settings.list_paging, settings.list_shows) != ("newest_first", "honest", None)


def page_of(
    settings: Settings, batches: Sequence[BatchRecord], after: str | None, limit: int
) -> tuple[list[BatchRecord], bool]:
    """
    Return one page of the list, and whether the page says that more follow.

    :param settings: Current settings.
    :param batches: All batches, newest first.
    :param after: Id behind which the page starts; None for the first page.
    :param limit: Maximum number of batches in the page.
    """
    shown = list(batches)
    if settings.list_order == "oldest_first":
        shown.reverse()
    elif settings.list_order == "shuffled":
        random.shuffle(shown)
    shown = shown[: settings.list_shows]
    if settings.list_paging == "empty_page" and after is not None:
        return [], True
    start = 0
    if after is not None and settings.list_paging != "ignores_after":
        start = next((place + 1 for place, batch in enumerate(shown) if batch.id == after), len(shown))
    page = shown[start : start + limit]
    return page, start + len(page) < len(shown) and settings.list_paging != "ends_early"


def shown_by_service(settings: Settings, shown: dict[str, Any]) -> dict[str, Any]:
    """
    Return a Batch or File object as a service with these settings shows it.

    :param settings: Current settings.
    :param shown: Object in the API's form.
    """
    if settings.batch_object == "2024" and shown["object"] == "batch":
        shown = {name: value for name, value in shown.items() if name not in _SINCE_2025}
    if not settings.keeps_metadata and "metadata" in shown:
        shown = {**shown, "metadata": None}
    if not settings.clock_skew:
        return shown
    return {
        key: int(value + settings.clock_skew) if key.endswith("_at") and isinstance(value, int | float) else value
        for key, value in shown.items()
    }
