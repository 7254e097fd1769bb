"""The links from a task to its table and its ledger in the web console of the object store."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from airflow.providers.common.compat.sdk import BaseOperatorLink, XCom

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import TaskInstanceKey

log = logging.getLogger(__name__)


def _s3(bucket: str, key: str) -> str:
    return f"https://console.aws.amazon.com/s3/buckets/{bucket}?prefix={quote(key)}"


def _gcs(bucket: str, key: str) -> str:
    return f"https://console.cloud.google.com/storage/browser/{bucket}/{quote(key.rstrip('/'))}"


#: Scheme → URL of a folder in the store's console. A folder of Azure has none without the ids of its subscription.
CONSOLES: Mapping[str, Callable[[str, str], str]] = {"s3": _s3, "s3a": _s3, "s3n": _s3, "gs": _gcs, "gcs": _gcs}


class StorageLink(BaseOperatorLink):
    """Link a task to a folder that one of its XComs names; the link is empty for a store without a console."""

    #: Key of the XCom with the URI; the task pushes it before it defers.
    xcom = ""

    def get_link(self, operator: Any, *, ti_key: TaskInstanceKey) -> str:
        """
        Return the URL; an empty string if there is none, or if it cannot be determined.

        :param operator: The task's operator; not used.
        :param ti_key: Key of the task instance, whose XCom is read.
        """
        try:
            uri = XCom.get_value(ti_key=ti_key, key=self.xcom)
            return "" if not uri or _has_own_endpoint(uri) else console_link(str(uri))
        except Exception:  # an exception here would fail the task
            log.debug("No link to the %s of %s", self.xcom, ti_key, exc_info=True)
            return ""


class OpenAIBatchTableLink(StorageLink):
    """Link a task to the folder of its result table; it is there while the task waits."""

    name = "Result table"
    xcom = "destination"


class OpenAIBatchLedgerLink(StorageLink):
    """Link a task to the folder of its job's ledger; it is there while the task waits."""

    name = "Job ledger"
    xcom = "ledger"


def console_link(uri: str) -> str:
    """
    Return the URL of a folder in the web console of its store; an empty string for a store without one.

    :param uri: URI of the folder, or of a file: then of its folder.
    """
    parts = urlsplit(uri)
    console = CONSOLES.get(parts.scheme)
    bucket = parts.netloc.rpartition("@")[2]
    if console is None or not bucket:
        return ""
    folder, _, name = parts.path.strip("/").rpartition("/")
    key = folder if "." in name else "/".join(part for part in (folder, name) if part)
    return console(bucket, f"{key}/" if key else "")


def _has_own_endpoint(uri: str) -> bool:
    """Say whether the connection names another service with the protocol of the store, which has another console."""
    conn_id = urlsplit(uri).netloc.rpartition("@")[0]
    if not conn_id:
        return False
    from airflow.providers.common.compat.sdk import BaseHook

    return bool(BaseHook.get_connection(conn_id).extra_dejson.get("endpoint_url"))
