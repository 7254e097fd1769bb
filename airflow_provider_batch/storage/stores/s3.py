"""
S3 through s3fs: versions are ETags, conditions are ``If-Match`` and ``If-None-Match``.

Source of the codes: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html and the pages of PutObject and
DeleteObject.
"""

from __future__ import annotations

from typing import Any

from airflow_provider_batch.storage.stores.object_store import ObjectStore
from airflow_provider_batch.storage.stores.store import Meaning, Put, Stored

#: Bytes of one part of a transfer, and how many are in memory at a time: by default s3fs may hold 500 MB.
PART_BYTES, PARTS_AT_ONCE = 8 << 20, 4


class S3(ObjectStore):
    """Amazon S3, and servers that speak its protocol."""

    has_conditions = True
    is_sure_of_container = True
    meanings = {  # noqa: RUF012
        "NoSuchBucket": Meaning.NO_CONTAINER,
        **dict.fromkeys(("PreconditionFailed", "412", "NoSuchKey", "404"), Meaning.LOST),
        **dict.fromkeys(("ConditionalRequestConflict", "OperationAborted", "409"), Meaning.CONFLICT),
        **dict.fromkeys(("NotImplemented", "501"), Meaning.NO_CONDITIONS),
        **dict.fromkeys(("ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"), Meaning.EXPIRED),
        **dict.fromkeys(
            ("AccessDenied", "403", "401", "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken"),
            Meaning.DENIED,
        ),
    }

    @property
    def upload_options(self) -> dict[str, Any]:  # type: ignore[override]
        """Arguments that bound the bytes in memory."""
        return {"chunksize": PART_BYTES, "max_concurrency": PARTS_AT_ONCE}

    download_options = upload_options

    @staticmethod
    def code(error: BaseException) -> str | None:
        """
        Return the code of an S3 response.

        :param error: Error of botocore.
        """
        answer = getattr(error, "response", None)
        return str(answer.get("Error", {}).get("Code")) if isinstance(answer, dict) else None

    def get(self, path: str) -> Stored:
        """
        Return an object's bytes and its ETag, from one request so that they belong together.

        :param path: Bucket and key.
        :raises FileNotFoundError: The object or the bucket does not exist.
        """
        bucket, key, _ = self.fs.split_path(path)

        async def get_object() -> Stored:
            answer = await self.fs._call_s3("get_object", Bucket=bucket, Key=key)
            async with answer["Body"] as body:
                return Stored(await body.read(), str(answer["ETag"]))

        got: Stored = self.call(get_object)
        return got

    def put_if(self, path: str, data: bytes, version: str | None, *, keeps_lock: bool = True) -> Put:
        """
        Write an object if its ETag is still the same; see `Store.put_if`.

        :param path: Bucket and key.
        :param data: Content of the object.
        :param version: ETag; None means that no object may exist.
        :param keeps_lock: Has no meaning here.
        """
        condition = {"IfNoneMatch": "*"} if version is None else {"IfMatch": version}
        return self.answered(lambda: self.fs.pipe_file(path, data, **condition))

    def delete_if(self, path: str, version: str) -> Put:
        """
        Delete an object if its ETag is still the same; a server that does not know this condition deletes it.

        :param path: Bucket and key.
        :param version: ETag.
        """
        bucket, key, _ = self.fs.split_path(path)
        given = {"Bucket": bucket, "Key": key, "IfMatch": version}
        return self.answered(lambda: self.call(self.fs._call_s3, "delete_object", **given))

    def check_container(self, path: str) -> None:
        """
        Raise where the bucket does not exist; s3fs itself reports only "no such file".

        :param path: Bucket and key.
        :raises NoContainerError: It does not exist.
        """
        bucket, *_ = self.fs.split_path(path)
        self._check_container_by(self.fs._call_s3, "list_objects_v2", Bucket=bucket, MaxKeys=1)
