"""Errors of file systems as `StorageError`, with the reason in words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from airflow_provider_batch.exceptions import StorageError
from airflow_provider_batch.storage.local_disk import free, is_full
from airflow_provider_batch.storage.object_stores import s3_code


@contextmanager
def storage_errors(uri: str, verb: str, disk: str | Path) -> Iterator[None]:
    """
    Turn every error of a file system into StorageError.

    :param uri: File or folder, for the message.
    :param verb: What is done with it, such as "read", for the message.
    :param disk: Local folder that the operation writes to; the message names it where its disk is full.
    :raises StorageError: The block has failed.
    """
    try:
        yield
    except StorageError:
        raise
    except Exception as error:
        room = f"; {free(disk)} in {disk}: make room there" if is_full(error) else ""
        raise StorageError(f"{uri}: cannot {verb} it ({reason(error)}){room}.") from error


def reason(error: BaseException) -> str:
    """
    Return what an error says, on one line, with its type.

    :param error: Error of a file system.
    """
    if s3_code(error) == "NoSuchBucket":
        return "the bucket does not exist"
    return " ".join(f"{type(error).__name__}: {error}".split())


def check_absent(error: FileNotFoundError) -> None:
    """
    Raise the error again where it does not mean that a file is absent: S3 has no such bucket.

    :param error: What the file system has raised.
    """
    if s3_code(error) == "NoSuchBucket":
        raise error
