"""Resolve URIs through Airflow: `s3://conn@bucket/key` with its connection, and file systems of providers."""

from __future__ import annotations

import os
from typing import Any

from airflow_provider_batch.exceptions import ConfigurationError
from airflow_provider_batch.storage import Location
from airflow_provider_batch.utils.airflow_versions import conn_id_of

#: The package with the file system of a scheme.
PROVIDERS = {
    **dict.fromkeys(("s3", "s3a", "s3n"), "airflow-provider-batch[s3]"),
    **dict.fromkeys(("gs", "gcs"), "airflow-provider-batch[gcs]"),
    **dict.fromkeys(("abfs", "abfss", "adl"), "airflow-provider-batch[azure]"),
    "hdfs": "apache-airflow-providers-apache-hdfs",
}


def resolve_airflow(uri: str) -> Location:
    """
    Return the location of a URI.

    Nothing is read, so a wrong bucket or a missing file is found at the first use. Do not call this on an event loop:
    some file systems read their connection synchronously.

    :param uri: URI of a file or folder; a path without a scheme is on the local disk.
    :raises ConfigurationError: The URI is empty, no installed provider has its scheme, or its connection is missing.
    """
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    if not uri or not uri.strip():
        raise ConfigurationError("An empty path was given where a file or folder URI is expected.")
    try:
        # Older versions of universal-pathlib take a relative path as one below the root.
        path = ObjectStoragePath(uri if "://" in uri else os.path.abspath(uri))
        location = Location(uri, path.fs, str(path.path))
    except Exception as error:  # each file system raises other exceptions for a missing connection or package
        raise ConfigurationError(_problem(uri, error)) from error
    _check_credentials(location, path)
    return location


def _check_credentials(location: Location, path: Any) -> None:
    """Raise if the connection is missing: Amazon's provider would go on without credentials."""
    from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook

    conn_id = conn_id_of(path)
    if conn_id is None or not getattr(location.fs, "anon", False):
        return
    try:
        BaseHook.get_connection(conn_id)
    except AirflowNotFoundException as error:
        raise ConfigurationError(
            f"{location}: the connection {conn_id!r} is not defined, and this machine has no credentials of its "
            "own for the store. Define it, or correct its name in the URI."
        ) from error


def _problem(uri: str, error: Exception) -> str:
    scheme = uri.partition("://")[0] if "://" in uri else "file"
    unknown = any(words in str(error) for words in ("No filesystem registered", "Unsupported filesystem"))
    if not unknown and not isinstance(error, ImportError):
        return f"{uri}: cannot be resolved ({type(error).__name__}: {error})."
    package = PROVIDERS.get(scheme)
    advice = f"install {package}" if package else "install a provider that has one, or use another scheme"
    return f"{uri}: no file system for {scheme}:// ({error}); {advice}."
