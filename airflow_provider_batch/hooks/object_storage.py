"""URIs to locations through Airflow: `s3://conn@bucket/key` with its connection, file systems from providers."""

from __future__ import annotations

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

    :raises ConfigurationError: The URI is empty, or no installed provider knows its scheme or its connection.
    """
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    if not uri or not uri.strip():
        raise ConfigurationError("An empty path was given where a file or folder URI is expected.")
    try:
        path = ObjectStoragePath(uri)
        return Location(uri, path.fs, str(path.path))
    except Exception as error:  # each file system raises its own kinds for a missing connection or package
        raise ConfigurationError(_problem(uri, error)) from error


def _problem(uri: str, error: Exception) -> str:
    scheme = uri.partition("://")[0] if "://" in uri else "file"
    unknown = any(words in str(error) for words in ("No filesystem registered", "Unsupported filesystem"))
    if not unknown and not isinstance(error, ImportError):
        return f"{uri}: cannot be resolved ({type(error).__name__}: {error})."
    package = PROVIDERS.get(scheme)
    todo = f"install {package}" if package else "install a provider that has one, or use a scheme that is known"
    return f"{uri}: no file system for {scheme}:// ({error}); {todo}."
