"""Read batch ids from an argument `batch_id`: an id, a list, a job's summary, a manifest or the URI of one."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from airflow_provider_batch.arrow.utf8 import shortened
from airflow_provider_batch.exceptions import ConfigurationError
from airflow_provider_batch.storage import Resolver

#: Ids are `batch_` and 32 hex digits at OpenAI, bare UUIDs and the like elsewhere.
_ID = re.compile(r"[\w.:-]+")


def batch_ids_of(value: Any, resolve: Resolver) -> list[str]:
    """
    Return the batch ids in a value, without duplicates and in their order.

    A rendered template is a text, even if its value was a list or a mapping. Such a text is parsed as JSON or as a
    Python literal.

    :param value: An id, a summary or manifest (a mapping with ``batch_ids`` or ``manifest``), the URI of a manifest, or
        a list of any of these.
    :param resolve: Turns the URI of a manifest into a location.
    :raises ConfigurationError: The value has no batch id, or the manifest does not exist.
    """
    ids = list(dict.fromkeys(_ids(value, resolve)))
    if not ids:
        raise ConfigurationError(f"batch_id has no batch id: {_shown(value)}.")
    return ids


def ledger_of(value: Any, resolve: Resolver) -> str | None:
    """
    Return the first URI of a ledger in a value; None if it has none.

    :param value: The same as for `batch_ids_of`.
    :param resolve: Turns the URI of a manifest into a location.
    """
    if isinstance(value, str):
        text = value.strip()
        if text[:1] in ("[", "{", "("):
            return ledger_of(_literal(text), resolve)
        is_path = "/" in text or text.endswith(".json")
        return ledger_of(_manifest(text, resolve), resolve) if is_path else None
    if isinstance(value, Mapping):
        if isinstance(ledger := value.get("ledger"), str):
            return ledger
        return ledger_of(value["manifest"], resolve) if isinstance(value.get("manifest"), str) else None
    if isinstance(value, Iterable) and not isinstance(value, bytes):
        return next((ledger for entry in value if (ledger := ledger_of(entry, resolve)) is not None), None)
    return None


def _ids(value: Any, resolve: Resolver) -> Iterable[str]:
    if isinstance(value, str):
        return _of_text(value.strip(), resolve)
    if isinstance(value, Mapping):
        if value.get("batch_ids"):
            return _ids(value["batch_ids"], resolve)
        if value.get("manifest"):
            return _ids(value["manifest"], resolve)
        return ()
    if isinstance(value, Iterable) and not isinstance(value, bytes):
        return [batch_id for entry in value for batch_id in _ids(entry, resolve)]
    raise ConfigurationError(f"batch_id must be an id, a list, a summary or a manifest; found {_shown(value)}.")


def _of_text(text: str, resolve: Resolver) -> Iterable[str]:
    if text[:1] in ("[", "{", "("):
        return _ids(_literal(text), resolve)
    if "/" in text or text.endswith(".json"):
        return _ids(_manifest(text, resolve), resolve)
    if not _ID.fullmatch(text) or text in ("None", "null"):
        raise ConfigurationError(f"batch_id must be an id, a list, a summary or a manifest; found {_shown(text)}.")
    return (text,)


def _literal(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        pass
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise ConfigurationError(f"batch_id is neither JSON nor a Python literal: {_shown(text)}.") from None


def _manifest(uri: str, resolve: Resolver) -> Mapping[str, Any]:
    data = resolve(uri).read_or_none()
    if data is None:
        raise ConfigurationError(f"{uri}: this manifest does not exist.")
    try:
        manifest = json.loads(data)
    except ValueError as error:
        raise ConfigurationError(f"{uri}: expected a job's manifest, found invalid JSON ({error}).") from error
    if not isinstance(manifest, Mapping) or not manifest.get("batch_ids"):
        raise ConfigurationError(f"{uri}: expected a job's manifest, found no `batch_ids` in it.")
    return manifest


def _shown(value: Any) -> str:
    return shortened(repr(value), 100)
