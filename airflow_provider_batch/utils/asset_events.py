"""Describe a landed table in the asset events of a task's outlets, for DAGs that are scheduled by them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow_provider_batch.utils.airflow_versions import extra_of_alias

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator, Context

#: What an event has of the task's summary, where the summary has it.
SUMMARY_KEYS = ("destination", "manifest", "job", "endpoint", "rows", "statuses", "cost_usd", "batches", "batch_ids")


def add_asset_events(
    operator: BaseOperator, context: Context, summary: Mapping[str, Any], *, model: Any = None
) -> None:
    """
    Describe a landed table in the events of the task's outlets; without a table, leave no outlet.

    Airflow sends the events when the task has succeeded. An outlet that is an asset alias gets an event for the asset
    of the table's folder.

    :param operator: The task, as it runs.
    :param context: Context of the task instance.
    :param summary: The task's summary; it names a manifest if a table was landed.
    :param model: Model of the requests; None if it is not known before the requests are made.
    """
    if not operator.outlets:
        return
    if "manifest" not in summary and "manifests" not in summary:
        operator.log.info("No table was landed: the task's outlets get no asset event.")
        operator.outlets = []
        return
    from airflow.providers.common.compat.sdk import Asset, AssetAlias

    extra = {key: summary[key] for key in SUMMARY_KEYS if key in summary}
    if isinstance(model, str):
        extra["model"] = model
    events = context["outlet_events"]
    for outlet in operator.outlets:
        if isinstance(outlet, AssetAlias):
            events[outlet].add(Asset(uri=asset_uri(str(summary["destination"]))), extra=extra_of_alias(extra))
        elif isinstance(outlet, Asset):
            events[outlet].extra.update(extra)


def asset_uri(destination: str) -> str:
    """
    Return the URI of a folder as an asset: without the id of a connection.

    :param destination: URI of the folder; a path without a scheme is on the local disk.
    """
    if "://" not in destination:
        return f"file://{os.path.abspath(destination)}"
    parts = urlsplit(destination)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
