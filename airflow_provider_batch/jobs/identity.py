"""The identity of a job, and the fingerprint of its input and options: an attempt compares both first."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from airflow_provider_batch.sources.source import SourceFile


def digest(*parts: object) -> str:
    """
    Return the SHA-256 of values, in hex digits, over their canonical JSON.

    :param parts: Values that JSON can hold; others are hashed as their `repr`.
    """
    return hashlib.sha256(msgspec.json.encode(parts, order="sorted", enc_hook=repr)).hexdigest()


class Identity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    The task instance that owns a job. The try number is no part of it: every attempt works on the same job.

    :param dag_id: Id of the DAG.
    :param task_id: Id of the task.
    :param run_id: Id of the DAG run.
    :param map_index: Index of the mapped instance; -1 for a task that is not mapped.
    :param copy: Above 0 where a mapped instance begins another job, because another instance has taken over its first
        one.
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
    The input and the options of a job, as one hash for each part, so that an error can name the part that changed.

    :param endpoint: Path of the API's endpoint, not hashed.
    :param body: Hash of the request body's template.
    :param options: Hash of the other options that shape a request line.
    :param account: Hash of the base URL, organisation and project.
    :param source: Hash of the source's addresses, sizes and versions, which is cheap.
    :param content: Hash of all shards; it decides where `source` differs. Empty where it is not known.
    :param response_model: Hash of the response model; empty without one.
    """

    endpoint: str
    body: str
    options: str
    account: str
    source: str
    content: str = ""
    response_model: str = ""

    def changes(self, other: Fingerprint) -> list[str]:
        """
        Return the names of the parts that differ; `source` counts where the content differs too, or is not known.

        :param other: The fingerprint to compare with.
        """
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
    Return the fingerprint of a job, without reading the content of its source.

    :param endpoint: Path of the API's endpoint.
    :param body: Template of the request body; None where the source has whole bodies.
    :param response_model: The response model as text; None without one.
    :param options: What else shapes a request line: `custom_id`, `carry`, `null_text`, `limit`, filters.
    :param account: Base URL, organisation and project; never the key.
    :param listing: The files of the source.
    """
    return Fingerprint(
        endpoint=endpoint,
        body=digest(body),
        options=digest(dict(options)),
        account=digest(account),
        source=digest(sorted((file.uri, file.size, str(file.version)) for file in listing)),
        response_model="" if response_model is None else digest(response_model),
    )
