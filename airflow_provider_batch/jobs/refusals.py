"""
What follows a create that was refused, and a batch that failed as a whole: try again, when, and with which file.

Pure. Bounded by tries, since a refusal that is said to pass need not; the error that ends the attempt then is one that
a retry of the task may mend.
"""

from __future__ import annotations

from dataclasses import dataclass

from airflow_provider_batch.api import statuses
from airflow_provider_batch.api.objects import Batch, FileError
from airflow_provider_batch.api.outcomes import Refused
from airflow_provider_batch.api.refusals import Kind, passing_kind
from airflow_provider_batch.jobs.ledger import ShardRecord

#: Refusals in a row of a file that is not ready, some three hours, and of a batch that failed at once, half an hour.
MOST_CREATES, MOST_BATCHES = 20, 6
#: Refusals of a file that is "not there yet" after which it is uploaded again, and tried less often.
FILE_REFUSALS = 6
#: Code and words for a batch that failed without saying why.
NO_REASON = FileError(code="batch_failed", message="The API gave no reason.")


@dataclass(frozen=True)
class Retry:
    """
    Another try.

    :param is_about_file: Whether the file is what was not ready; else the account's queue or the server was.
    :param upload_again: Whether the file is uploaded again first.
    """

    is_about_file: bool
    upload_again: bool = False


def is_about_the_file(shard: ShardRecord, refused: Refused, file_status: str | None) -> bool:
    """
    Return whether a create was refused since its file is not ready: its words say so, or the file's own status.

    A file that was uploaded and is not found is not there yet, whatever the words. It can become ready between the
    refusal and the look at it: words that were about the file before still are.
    """
    if refused.file_not_ready or refused.error.retryable:
        return refused.file_not_ready
    said_before = shard.intents[-2].error if shard.passing_refusals and len(shard.intents) > 1 else None
    is_not_there = file_status in statuses.FILE_PENDING or file_status == statuses.FILE_NOT_FOUND
    return is_not_there or said_before == str(refused.error)


def after_refused_create(shard: ShardRecord, refused: Refused, file_status: str | None) -> Retry | None:
    """
    Return how a create that was refused is tried again; None where it is not.

    :param shard: As it is before the refusal is recorded.
    :param file_status: What the API says of the uploaded file; None where it says nothing.
    """
    if not is_about_the_file(shard, refused, file_status):
        return Retry(is_about_file=False) if refused.error.retryable else None
    if shard.passing_refusals + 1 >= MOST_CREATES:
        return None
    is_waited_for = file_status in statuses.FILE_PENDING
    # Right after an upload "not found" says little; later a new file is the better try.
    is_lost = file_status in statuses.FILE_BROKEN or shard.passing_refusals + 1 >= FILE_REFUSALS
    return Retry(is_about_file=True, upload_again=is_lost and not is_waited_for)


def refused_whole(batch: Batch) -> FileError | None:
    """Return the error of a `failed` batch that concerns no line: the account or the file as such."""
    if batch.status != statuses.FAILED:
        return None
    if any(error.line is not None for error in batch.errors):
        return None
    return batch.errors[0] if batch.errors else NO_REASON


def passes(error: FileError) -> Kind | None:
    """Return which refusal that passes the error of a failed batch is; one without a reason is the server's trouble."""
    return "try again" if error is NO_REASON else passing_kind(error.code, error.message)


def may_be_made_again(shard: ShardRecord) -> bool:
    """Return whether a shard whose batch failed for a reason that passes is sent again by this attempt."""
    return shard.passing_refusals + 1 < MOST_BATCHES
