"""
Where object stores differ from file systems, seen through fsspec: versions, conditions and errors of S3.

No store's own package is imported here: errors of s3fs are told apart by the codes of S3's responses.
"""

from __future__ import annotations

from enum import Enum

import fsspec.asyn
from fsspec.spec import AbstractFileSystem

#: Bytes of one part of a transfer to or from S3, and how many are in memory at a time.
PART_BYTES, PARTS_AT_ONCE = 8 << 20, 4
#: Stores without folders. Creating a "folder" there would create a bucket whose name was misspelled.
_SCHEMES = {"s3", "s3a", "s3n", "gs", "gcs", "az", "abfs", "abfss", "wasb", "wasbs", "oss", "oci"}
#: Codes of S3: another write was first; another write is in progress; the store knows no conditions.
_LOST = {"PreconditionFailed", "412", "NoSuchKey", "404"}
_CONFLICT = {"ConditionalRequestConflict", "OperationAborted", "409"}
_NO_CONDITIONS = {"NotImplemented", "501"}


class Put(Enum):
    """The result of a conditional write."""

    WRITTEN = "written"
    LOST = "lost"
    CONFLICT = "conflict"
    NO_CONDITIONS = "no conditions"


def is_object_store(fs: AbstractFileSystem) -> bool:
    """
    Return whether a store has no folders that need to be created.

    :param fs: fsspec file system.
    """
    return bool(_SCHEMES & _protocols(fs))


def is_s3(fs: AbstractFileSystem) -> bool:
    """
    Return whether a file system is s3fs, which the functions below need.

    :param fs: fsspec file system.
    """
    return "s3" in _protocols(fs) and hasattr(fs, "_call_s3")


def transfer_options(fs: AbstractFileSystem) -> dict[str, int]:
    """
    Return options to move a whole file in bounded memory: by default s3fs may hold 500 MB of parts.

    :param fs: fsspec file system.
    :return: Arguments of `put_file` and `get_file`; empty for stores other than S3.
    """
    return {"chunksize": PART_BYTES, "max_concurrency": PARTS_AT_ONCE} if is_s3(fs) else {}


def get(fs: AbstractFileSystem, path: str) -> tuple[bytes, str]:
    """
    Return an S3 object's bytes and its ETag, from one request so that they belong together.

    :param fs: s3fs file system.
    :param path: Bucket and key.
    :raises FileNotFoundError: The object or the bucket does not exist.
    """
    bucket, key, _ = fs.split_path(path)

    async def get_object() -> tuple[bytes, str]:
        answer = await fs._call_s3("get_object", Bucket=bucket, Key=key)
        async with answer["Body"] as body:
            return await body.read(), str(answer["ETag"])

    got: tuple[bytes, str] = fsspec.asyn.sync(fs.loop, get_object)
    return got


def put_if(fs: AbstractFileSystem, path: str, data: bytes, etag: str | None) -> Put:
    """
    Write an S3 object on the condition that it has not changed.

    `Put.LOST` can also be the result of a write that was made: its response was lost, and the client library repeated
    it.

    :param fs: s3fs file system.
    :param path: Bucket and key.
    :param data: Content of the object.
    :param etag: ETag that the object must have; None means that no object may exist.
    """
    condition = {"IfNoneMatch": "*"} if etag is None else {"IfMatch": etag}
    try:
        fs.pipe_file(path, data, **condition)
    except Exception as error:
        code = s3_code(error)
        if code in _LOST:
            return Put.LOST
        if code in _CONFLICT:
            return Put.CONFLICT
        if code in _NO_CONDITIONS:
            return Put.NO_CONDITIONS
        raise
    return Put.WRITTEN


def lacks_bucket(fs: AbstractFileSystem, path: str) -> bool:
    """
    Return whether the store reports that a path's bucket does not exist; s3fs itself reports only "no such file".

    :param fs: fsspec file system; False for any other than s3fs.
    :param path: Bucket and key.
    """
    if not is_s3(fs):
        return False
    bucket, *_ = fs.split_path(path)
    try:
        fsspec.asyn.sync(fs.loop, fs._call_s3, "list_objects_v2", Bucket=bucket, MaxKeys=1)
    except Exception as error:
        return s3_code(error) == "NoSuchBucket"
    return False


def s3_code(error: BaseException) -> str | None:
    """
    Return the code of the S3 response behind an error of s3fs, None where it has no response.

    :param error: Any error.
    """
    for link in (error, error.__cause__):
        answer = getattr(link, "response", None)
        if isinstance(answer, dict):
            return str(answer.get("Error", {}).get("Code"))
    return None


def _protocols(fs: AbstractFileSystem) -> set[str]:
    return {fs.protocol} if isinstance(fs.protocol, str) else set(fs.protocol)
