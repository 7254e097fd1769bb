"""URIs to locations through Airflow: `s3://conn@bucket/key` with its connection, file systems from providers."""

from __future__ import annotations

from typing import Any

from airflow_provider_batch.exceptions import ConfigurationError
from airflow_provider_batch.storage import Location

#: Which package brings the file system of a scheme.
PROVIDERS = {
    **dict.fromkeys(("s3", "s3a", "s3n"), "apache-airflow-providers-amazon[s3fs]"),
    **dict.fromkeys(("gs", "gcs"), "apache-airflow-providers-google"),
    **dict.fromkeys(("abfs", "abfss", "adl", "wasb", "wasbs"), "apache-airflow-providers-microsoft-azure"),
    "hdfs": "apache-airflow-providers-apache-hdfs",
}


def resolve_airflow(uri: str) -> Location:
    """
    Return where a URI points to; a bare path is on the local disk.

    Nothing is read: a wrong bucket or a missing file shows at the first use. Not for an event loop, since some file
    systems look up their connection synchronously.

    :raises ConfigurationError: The URI is empty, no installed provider knows its scheme, or its connection is missing.
    """
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    if not uri or not uri.strip():
        raise ConfigurationError("An empty path was given where a file or folder URI is expected.")
    try:
        path = ObjectStoragePath(uri)
        location = Location(uri, path.fs, str(path.path))
    except Exception as error:  # each file system raises its own kinds for a missing connection or package
        raise ConfigurationError(_problem(uri, error)) from error
    _check_credentials(location, path)
    return location


def _check_credentials(location: Location, path: Any) -> None:
    """Amazon's provider takes a connection that is missing for an empty one, and goes on as nobody."""
    from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook

    if not path.conn_id or not getattr(location.fs, "anon", False):
        return
    try:
        BaseHook.get_connection(path.conn_id)
    except AirflowNotFoundException as error:
        raise ConfigurationError(
            f"{location}: the connection {path.conn_id!r} is not defined, and this machine has no credentials of its "
            "own for the store. Define it, or correct its name in the URI."
        ) from error


def _problem(uri: str, error: Exception) -> str:
    scheme = uri.partition("://")[0] if "://" in uri else "file"
    unknown = any(words in str(error) for words in ("No filesystem registered", "Unsupported filesystem"))
    if not unknown and not isinstance(error, ImportError):
        return f"{uri}: cannot be resolved ({type(error).__name__}: {error})."
    package = PROVIDERS.get(scheme)
    todo = f"install {package}" if package else "install a provider that has one, or use a scheme that is known"
    return f"{uri}: no file system for {scheme}:// ({error}); {todo}."
