"""Errors of file systems as `StorageError`, with the reason in words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from airflow_provider_batch.exceptions import StorageError
from airflow_provider_batch.storage.local_disk import free, is_full
from airflow_provider_batch.storage.stores import Meaning, NoContainerError, is_of_a_client, meaning_of


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
    Return what an error says, on one line, with its type, and what it means.

    :param error: Error of a file system.
    """
    if isinstance(error, NoContainerError):
        return str(error)
    text = " ".join(f"{type(error).__name__}: {error}".split())
    meaning, container = meaning_of(error) or (None, "")
    if meaning is Meaning.NO_CONTAINER:
        return f"the {container} does not exist"
    if meaning in (Meaning.DENIED, Meaning.EXPIRED):
        return f"{meaning.value}: {text}"
    return text


def is_refused(error: BaseException) -> bool:
    """
    Return whether the store refuses the credentials, so that another try with the same ones is refused too.

    Credentials that have expired are renewed before the next attempt, or by it: that one can succeed.

    :param error: Any error.
    """
    meaning, _ = meaning_of(error) or (None, "")
    return meaning is Meaning.DENIED or (isinstance(error, PermissionError) and meaning is not Meaning.EXPIRED)


def is_of_a_store(error: BaseException) -> bool:
    """
    Return whether an error is one of a file system or of the client of a store.

    :param error: Any error.
    """
    return isinstance(error, OSError) or is_of_a_client(error)
