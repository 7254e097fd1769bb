"""
What object stores do differently from file systems, seen through fsspec: S3's versions, conditions and errors.

Nothing here imports a store's own package: what s3fs raises is told apart by the codes of S3's answers.
"""

from __future__ import annotations

from enum import Enum

import fsspec.asyn
from fsspec.spec import AbstractFileSystem

#: Bytes of one part of a transfer to or from S3, and how many are in memory at a time.
PART_BYTES, PARTS_AT_ONCE = 8 << 20, 4
#: Where folders are but a part of names; to "make" one there would make a bucket whose name was misspelled.
_SCHEMES = {"s3", "s3a", "s3n", "gs", "gcs", "az", "abfs", "abfss", "wasb", "wasbs", "oss", "oci"}
#: S3's codes: another write came first; another one is under way; conditions are unknown.
_LOST = {"PreconditionFailed", "412", "NoSuchKey", "404"}
_CONFLICT = {"ConditionalRequestConflict", "OperationAborted", "409"}
_NO_CONDITIONS = {"NotImplemented", "501"}


class Put(Enum):
    """What came of a conditional write."""

    WRITTEN = "written"
    LOST = "lost"
    CONFLICT = "conflict"
    NO_CONDITIONS = "no conditions"


def is_object_store(fs: AbstractFileSystem) -> bool:
    """Return whether the store has no folders that need to be made."""
    return bool(_SCHEMES & _protocols(fs))


def is_s3(fs: AbstractFileSystem) -> bool:
    """Return whether this is s3fs, and with it whether the functions below apply."""
    return "s3" in _protocols(fs) and hasattr(fs, "_call_s3")


def transfer_options(fs: AbstractFileSystem) -> dict[str, int]:
    """Return how to move a whole file, in bounded memory: left alone, s3fs may hold 500 MB of parts."""
    return {"chunksize": PART_BYTES, "max_concurrency": PARTS_AT_ONCE} if is_s3(fs) else {}


def get(fs: AbstractFileSystem, path: str) -> tuple[bytes, str]:
    """Return an S3 object's bytes and ETag, by one request so that they belong together."""
    bucket, key, _ = fs.split_path(path)

    async def get_object() -> tuple[bytes, str]:
        answer = await fs._call_s3("get_object", Bucket=bucket, Key=key)
        async with answer["Body"] as body:
            return await body.read(), str(answer["ETag"])

    got: tuple[bytes, str] = fsspec.asyn.sync(fs.loop, get_object)
    return got


def put_if(fs: AbstractFileSystem, path: str, data: bytes, etag: str | None) -> Put:
    """
    Write an S3 object if its ETag is still this one, or if there is none where `etag` is None.

    "Lost" may be said of a write that was made: its answer was lost, and the client library repeated it.
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
    """Return whether the store says that a path's bucket does not exist; s3fs itself says only "no such file"."""
    if not is_s3(fs):
        return False
    bucket, *_ = fs.split_path(path)
    try:
        fsspec.asyn.sync(fs.loop, fs._call_s3, "list_objects_v2", Bucket=bucket, MaxKeys=1)
    except Exception as error:
        return s3_code(error) == "NoSuchBucket"
    return False


def s3_code(error: BaseException) -> str | None:
    """Return the code of S3's answer behind an error of s3fs, None where it has no answer."""
    for link in (error, error.__cause__):
        answer = getattr(link, "response", None)
        if isinstance(answer, dict):
            return str(answer.get("Error", {}).get("Code"))
    return None


def _protocols(fs: AbstractFileSystem) -> set[str]:
    return {fs.protocol} if isinstance(fs.protocol, str) else set(fs.protocol)
