"""Which store a file system is, and which store an error comes from."""

from __future__ import annotations

from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.spec import AbstractFileSystem

from airflow_provider_batch.storage.stores.azure import AzureBlob
from airflow_provider_batch.storage.stores.disk import Disk
from airflow_provider_batch.storage.stores.gcs import GoogleCloudStorage
from airflow_provider_batch.storage.stores.memory import Memory
from airflow_provider_batch.storage.stores.object_store import ObjectStore
from airflow_provider_batch.storage.stores.s3 import S3
from airflow_provider_batch.storage.stores.store import Meaning, Store, protocols

#: Schemes of a store, what its client has that the store's module calls, and the module. The first that fits counts.
_STORES: tuple[tuple[set[str], str, type[Store]], ...] = (
    ({"s3", "s3a", "s3n"}, "_call_s3", S3),
    ({"gs", "gcs"}, "_call", GoogleCloudStorage),
    ({"az", "abfs", "abfss", "wasb", "wasbs"}, "service_client", AzureBlob),
    ({"s3", "s3a", "s3n", "gs", "gcs", "az", "abfs", "abfss", "wasb", "wasbs", "oss", "oci"}, "", ObjectStore),
)
_CLIENTS: tuple[type[ObjectStore], ...] = (S3, GoogleCloudStorage, AzureBlob)
#: Packages whose errors are about the connection to a store.
_CLIENT_MODULES = {"aiohttp", "aiobotocore", "botocore"}


def store_of(fs: AbstractFileSystem) -> Store:
    """
    Return how a file system is read and written.

    :param fs: fsspec file system.
    """
    if isinstance(fs, LocalFileSystem):
        return Disk(fs)
    if isinstance(fs, MemoryFileSystem):
        return Memory(fs)
    own = protocols(fs)
    found = (kind for schemes, call, kind in _STORES if schemes & own and (not call or hasattr(fs, call)))
    return next(found, Store)(fs)


def meaning_of(error: BaseException) -> tuple[Meaning, str] | None:
    """
    Return what an error of any store means, with the store's word for a bucket; None where that is not known.

    :param error: Any error.
    """
    for kind in _CLIENTS:
        meaning = kind.meaning(error)
        if meaning is not None:
            return meaning, kind.container
    return None


def is_of_a_client(error: BaseException) -> bool:
    """
    Return whether an error was raised by the client of a store, and so is not about the content of a file.

    :param error: Any error.
    """
    is_answer = any(kind.code(error) is not None for kind in _CLIENTS)
    return is_answer or type(error).__module__.partition(".")[0] in _CLIENT_MODULES
