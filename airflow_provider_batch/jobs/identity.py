"""Who a job belongs to, and what it was asked: the two questions a second attempt starts with."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from airflow_provider_batch.sources.source import SourceFile


def digest(*parts: object) -> str:
    """Return the SHA-256 of values, in hex, through one canonical JSON form."""
    return hashlib.sha256(msgspec.json.encode(parts, order="sorted", enc_hook=repr)).hexdigest()


class Identity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    The task instance that owns a job. The try number is no part of it: every attempt works on the same job.

    `copy` is above 0 where a mapped instance begins another job, because its first one is another instance's by now.
    """

    dag_id: str
    task_id: str
    run_id: str
    map_index: int = -1
    copy: int = 0

    @property
    def run_key(self) -> str:
        """12 hex digits of the task and the run, shared by all its mapped instances."""
        return digest(self.dag_id, self.task_id, self.run_id)[:12]

    @property
    def job(self) -> str:
        """12 hex digits of the task instance: the `<job>` in file names and in a batch's metadata."""
        again = (self.copy,) if self.copy else ()
        return digest(self.dag_id, self.task_id, self.run_id, self.map_index, *again)[:12]


class Fingerprint(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    What was asked, as one hash a part, so that an error can name the part that changed.

    `source` is cheap (addresses, sizes, versions); `content` is the hash of every shard and settles it where `source`
    differs.
    """

    endpoint: str
    body: str
    options: str
    account: str
    source: str
    content: str = ""
    response_model: str = ""

    def changes(self, other: Fingerprint) -> list[str]:
        """Return the names of the parts that differ; `source` counts only where the content differs or is not known."""
        fields = ("endpoint", "body", "response_model", "options", "account")
        changed = [name for name in fields if getattr(self, name) != getattr(other, name)]
        same_content = bool(self.content) and self.content == other.content
        if self.source != other.source and not same_content:
            changed.append("source")
        return changed


def fingerprint(
    *,
    endpoint: str,
    body: Mapping[str, Any] | None,
    response_model: str | None = None,
    options: Mapping[str, Any],
    account: str,
    listing: Iterable[SourceFile],
) -> Fingerprint:
    """
    Return the fingerprint of a request for work, without reading the source's content.

    :param options: What else shapes a request line: `custom_id`, `carry`, `null_text`, `limit`, filters.
    :param response_model: The response model as text, where there is one.
    :param account: Base URL, organisation and project; never the key.
    """
    return Fingerprint(
        endpoint=endpoint,
        body=digest(body),
        options=digest(dict(options)),
        account=digest(account),
        source=digest(sorted((file.uri, file.size, str(file.version)) for file in listing)),
        response_model="" if response_model is None else digest(response_model),
    )
