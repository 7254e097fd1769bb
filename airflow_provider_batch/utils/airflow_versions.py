"""
What differs between the versions of Airflow that are supported: 2.11 and later.

Names that only moved are imported from `airflow.providers.common.compat`, and are not here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Feature:
    """
    A feature of Airflow that not every supported version has.

    :param since: First version that has it.
    :param gives: What the provider does with it.
    :param without: What happens on an older version.
    """

    since: str
    gives: str
    without: str


#: All of them, as the page on compatibility lists them.
FEATURES: tuple[Feature, ...] = (
    Feature(
        "3.3",
        "A deferred task that is marked as failed or success cancels its batches (`cancel_on_kill`).",
        "Its batches go on at the vendor and are paid for. Clear the task: it continues with them. Or cancel them with "
        "`openai-batch cancel`.",
    ),
    Feature(
        "3.3",
        "All triggers of a connection in one triggerer poll together, with one request for many batches.",
        "Each trigger polls the batches of its own task.",
    ),
    Feature(
        "3.3",
        "The task state store keeps the folder of the job's ledger, so that a changed `state_path` or a template that "
        "renders otherwise on a later attempt does not matter.",
        "The folders that the arguments and `[openai_batch] state_path` name now are searched. Keep them as they are "
        "while a job runs.",
    ),
    Feature(
        "3.1",
        "A deferred sensor that nothing wakes, because no triggerer runs, ends at its `timeout` as any sensor: without "
        "a retry, and skipped with `soft_fail`.",
        "Airflow fails it with an error of its own: on 3.0 without regard to `soft_fail`, on 2.11 with retries.",
    ),
    Feature(
        "3.1",
        "The event of an `AssetAlias` has the rows by status and the batch ids as they are.",
        "They are JSON texts: Airflow 2.11 and 3.0 fail a task whose event of an alias has lists or objects.",
    ),
)


def extra_of_alias(extra: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return what the event of an asset alias may have: before Airflow 3.1 its values are hashed, after the task's end.

    :param extra: What the event says: JSON types by key.
    """
    from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_1_PLUS

    if AIRFLOW_V_3_1_PLUS:
        return dict(extra)
    return {key: json.dumps(value) if isinstance(value, list | dict) else value for key, value in extra.items()}


def conn_id_of(path: Any) -> str | None:
    """
    Return the id of the connection that an object storage path names.

    :param path: An `ObjectStoragePath`; before Airflow 3.2 the id is one of its storage options.
    """
    found = getattr(path, "conn_id", None) or path.storage_options.get("conn_id")
    return str(found) if found else None
