"""
Azure Blob Storage and Data Lake Storage through adlfs: versions are ETags, conditions are ``If-Match`` and
``If-None-Match``.

Source of the codes: https://learn.microsoft.com/rest/api/storageservices/blob-service-error-codes
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

from fsspec.spec import AbstractFileSystem

from airflow_provider_batch.exceptions import StorageError
from airflow_provider_batch.storage.stores.object_store import ObjectStore
from airflow_provider_batch.storage.stores.store import Meaning, Put, Stored

#: Seconds that a copy within the account may take: large ones are made in the background.
COPY_PATIENCE = 600.0
#: What adlfs writes with each blob, so that it does not take it for a folder.
_METADATA = {"is_directory": "false"}
#: Tries to read a blob that was empty when it was asked for and is not any more.
_READS = 10
#: Where Azure's client library logs each call and its answer, with their headers.
_CALLS_LOG = "azure.core.pipeline.policies.http_logging_policy"


class AzureBlob(ObjectStore):
    """
    Azure Blob Storage and Data Lake Storage.

    :param fs: adlfs file system.
    """

    container = "container"
    has_conditions = True
    absent_codes = frozenset({"BlobNotFound"})
    meanings = {  # noqa: RUF012
        **dict.fromkeys(("ContainerNotFound", "ContainerBeingDeleted", "FilesystemNotFound"), Meaning.NO_CONTAINER),
        **dict.fromkeys(("ConditionNotMet", "BlobAlreadyExists", "412", "BlobNotFound"), Meaning.LOST),
        **dict.fromkeys(
            ("InvalidAuthenticationInfo", "ExpiredSignature", "ClientAuthenticationError"), Meaning.EXPIRED
        ),
        **dict.fromkeys(
            (
                *("AuthenticationFailed", "AuthorizationFailure", "AuthorizationPermissionMismatch", "401", "403"),
                *("InsufficientAccountPermissions", "NoAuthenticationInformation", "AuthorizationProtocolMismatch"),
            ),
            Meaning.DENIED,
        ),
    }

    def __init__(self, fs: AbstractFileSystem) -> None:
        super().__init__(fs)
        log = logging.getLogger(_CALLS_LOG)
        if log.level == logging.NOTSET:  # a dozen lines in the task's log for each call, unless somebody wants them
            log.setLevel(logging.WARNING)

    @staticmethod
    def code(error: BaseException) -> str | None:
        """
        Return the code of a response of Azure, or its HTTP status.

        :param error: Error of Azure's client library.
        """
        if type(error).__module__.partition(".")[0] != "azure":
            return None
        code = getattr(error, "error_code", None)
        if code is not None:
            text = str(getattr(code, "value", code))
            # A shared access signature that is over has the code of one that is wrong.
            is_over = text == "AuthenticationFailed" and "not valid in the specified time frame" in str(error)
            return "ExpiredSignature" if is_over else text
        status = getattr(error, "status_code", None)
        return type(error).__name__ if status is None else str(status)

    def get(self, path: str) -> Stored:
        """
        Return a blob's bytes and its ETag, from one request so that they belong together.

        :param path: Container and name.
        :raises FileNotFoundError: The blob or the container does not exist.
        """

        async def download() -> Stored:
            async with self._blob(path) as blob:
                for _ in range(_READS):
                    stream = await blob.download_blob()
                    if data := bytes(await stream.readall()):
                        return Stored(data, str(stream.properties.etag))
                    # The client library asks twice for an empty blob: the ETag may be that of a newer content.
                    properties = await blob.get_blob_properties()
                    if properties.size == 0:
                        return Stored(b"", str(properties.etag))
            raise StorageError(f"{path}: its content has changed at each of {_READS} tries to read it.")

        try:
            got: Stored = self.call(download)
        except Exception as error:
            if getattr(error, "status_code", None) == 404:
                raise FileNotFoundError(path) from error
            raise
        return got

    def put_if(self, path: str, data: bytes, version: str | None, *, keeps_lock: bool = True) -> Put:
        """
        Write a blob if its ETag is still the same; see `Store.put_if`.

        :param path: Container and name.
        :param data: Content of the blob.
        :param version: ETag; None means that no blob may exist.
        :param keeps_lock: Has no meaning here.
        """

        async def upload() -> None:
            async with self._blob(path) as blob:
                given = {} if version is None else _if_match(version)
                await blob.upload_blob(data, overwrite=version is not None, metadata=_METADATA, **given)

        return self.answered(lambda: self.call(upload))

    def delete_if(self, path: str, version: str) -> Put:
        """
        Delete a blob if its ETag is still the same; an absent blob is fine.

        :param path: Container and name.
        :param version: ETag.
        """

        async def delete() -> None:
            async with self._blob(path) as blob:
                try:
                    await blob.delete_blob(**_if_match(version))
                except Exception as error:
                    if self.code(error) != "BlobNotFound":
                        raise

        return self.answered(lambda: self.call(delete))

    def copy(self, source: str, to: str) -> None:
        """
        Copy a blob within the account, and return once the copy is whole: Azure may make it in the background.

        :param source: Path of the blob.
        :param to: Path of the copy.
        :raises StorageError: The copy has failed, or is not whole after `COPY_PATIENCE`.
        """

        async def copy_blob() -> None:
            deadline = time.monotonic() + COPY_PATIENCE
            async with self._blob(source) as old, self._blob(to) as new:
                status = (await new.start_copy_from_url(old.url))["copy_status"]
                while status == "pending" and time.monotonic() < deadline:
                    await asyncio.sleep(0.2)
                    status = (await new.get_blob_properties()).copy.status
            if status != "success":
                raise StorageError(f"{to}: the store's copy of {source} is {status!r}; expected success.")

        self.call(copy_blob)

    def check_container(self, path: str) -> None:
        """
        Raise where the container does not exist; adlfs reports only "no such file".

        :param path: Container and name.
        :raises NoContainerError: It does not exist.
        """

        async def list_one() -> None:
            async with self.fs.service_client.get_container_client(self.fs.split_path(path)[0]) as client:
                async for _ in client.list_blobs(results_per_page=1):
                    return

        self._check_container_by(list_one)

    def _blob(self, path: str) -> Any:
        name, blob, _ = self.fs.split_path(path)
        return self.fs.service_client.get_blob_client(name, blob)


def _if_match(etag: str) -> dict[str, Any]:
    from azure.core import MatchConditions

    return {"etag": etag, "match_condition": MatchConditions.IfNotModified}
