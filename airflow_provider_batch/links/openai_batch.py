"""The link from a task to its batches in OpenAI's dashboard."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow.providers.common.compat.sdk import BaseOperatorLink, XCom

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import TaskInstanceKey

log = logging.getLogger(__name__)

DASHBOARD = "https://platform.openai.com/batches"
#: XCom key of a task's batch ids, which it pushes before it defers.
BATCH_IDS_KEY = "batch_ids"


class OpenAIBatchLink(BaseOperatorLink):
    """
    Link a task to its batch in OpenAI's dashboard, or to the list of batches if it has several.

    The link is empty for other services. An operator of your own gets it by:

    .. code-block:: python

        class SubmitOperator(BaseOperator):
            operator_extra_links = (OpenAIBatchLink(),)  # needs self.conn_id and the XCom batch_ids
    """

    name = "OpenAI batch"

    def get_link(self, operator: Any, *, ti_key: TaskInstanceKey) -> str:
        """
        Return the URL; an empty string if there is none, or if it cannot be determined.

        :param operator: The task's operator, with ``conn_id``.
        :param ti_key: Key of the task instance, whose XCom ``batch_ids`` is read.
        """
        try:
            return dashboard_link(XCom.get_value(ti_key=ti_key, key=BATCH_IDS_KEY), _base_url(operator))
        except Exception:  # an exception here would fail the task
            log.debug("No link to the batches of %s", ti_key, exc_info=True)
            return ""


def dashboard_link(batch_ids: Any, base_url: str) -> str:
    """
    Return the dashboard's URL for batches; an empty string for another service.

    :param batch_ids: A batch id or a list of them.
    :param base_url: Base URL of the API.
    """
    host = urlsplit(base_url).hostname or ""
    if not batch_ids or not (host == "api.openai.com" or host.endswith(".api.openai.com")):
        return ""
    ids = [batch_ids] if isinstance(batch_ids, str) else list(batch_ids)
    return f"{DASHBOARD}/{ids[0]}" if len(ids) == 1 else DASHBOARD


def _base_url(operator: Any) -> str:
    from airflow_provider_batch.hooks.openai_batch import OpenAIBatchHook

    return OpenAIBatchHook(operator.conn_id).get_settings().address
