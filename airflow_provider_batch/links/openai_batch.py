"""The button on a task that leads to its batches in OpenAI's dashboard."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow.providers.common.compat.sdk import BaseOperatorLink, XCom

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import TaskInstanceKey

log = logging.getLogger(__name__)

DASHBOARD = "https://platform.openai.com/batches"
#: The XCom key under which a task tells its batches, before it defers.
BATCH_IDS_KEY = "batch_ids"


class OpenAIBatchLink(BaseOperatorLink):
    """One batch's page, or the list where a task has several; nothing for servers that have no such page."""

    name = "OpenAI batch"

    def get_link(self, operator: Any, *, ti_key: TaskInstanceKey) -> str:
        """Return the address, or an empty string when there is none or it cannot be told."""
        try:
            return dashboard_link(XCom.get_value(ti_key=ti_key, key=BATCH_IDS_KEY), _base_url(operator))
        except Exception:  # a link that raises fails the task that it hangs on
            log.debug("No link to the batches of %s", ti_key, exc_info=True)
            return ""


def dashboard_link(batch_ids: Any, base_url: str) -> str:
    """Return the dashboard's address for these batches, or an empty string for another vendor's."""
    host = urlsplit(base_url).hostname or ""
    if not batch_ids or not (host == "api.openai.com" or host.endswith(".api.openai.com")):
        return ""
    ids = [batch_ids] if isinstance(batch_ids, str) else list(batch_ids)
    return f"{DASHBOARD}/{ids[0]}" if len(ids) == 1 else DASHBOARD


def _base_url(operator: Any) -> str:
    from airflow_provider_batch.hooks.openai_batch import OpenAIBatchHook

    return OpenAIBatchHook(operator.conn_id).get_settings().address
