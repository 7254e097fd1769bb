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
from airflow_provider_batch.api.refusals import MODEL_ADVICE, Kind, is_about_the_model, passing_kind
from airflow_provider_batch.exceptions import PassingRefusalError
from airflow_provider_batch.jobs.ledger.shard_record import ShardRecord

#: Refusals in a row of a file that is not ready or of a create that is told to come later, some three hours, and of a
#: batch that failed at once, half an hour.
MOST_CREATES, MOST_BATCHES = 20, 6
#: Such refusals of a create after which its file is uploaded again, and it is tried less often.
FILE_REFUSALS = 6
#: Code and words for a batch that failed without saying why.
NO_REASON = FileError(code="batch_failed", message="The API gave no reason.")


@dataclass(frozen=True)
class Retry:
    """
    Another try.

    :param is_about_file: Whether the file is what was not ready; else the account's queue or the server was.
    :param upload_again: Whether the file is uploaded again first.
    :param is_counted: Whether so many in a row end the attempt. A full queue, too many calls and an outage end with the
        job's time alone.
    """

    is_about_file: bool
    upload_again: bool = False
    is_counted: bool = True


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
    is_about_file = is_about_the_file(shard, refused, file_status)
    if not is_about_file and not is_told_to_come_later(refused):
        return Retry(is_about_file=False, is_counted=False) if refused.error.retryable else None
    if shard.passing_refusals + 1 >= MOST_CREATES:
        return None
    is_waited_for = file_status in statuses.FILE_PENDING
    # Right after an upload "not found" says little; later a new file is the better try.
    is_lost = file_status in statuses.FILE_BROKEN or shard.passing_refusals + 1 >= FILE_REFUSALS
    return Retry(is_about_file, upload_again=is_lost and not is_waited_for)


def is_told_to_come_later(refused: Refused) -> bool:
    """
    Return whether a service has refused a create as its own trouble, in words such as "please try again later".

    They can be said of a create that will never be taken. That a queue is full, or that there were too many calls
    (429), is said of other work, and an answer that never came says nothing.
    """
    status = refused.error.status_code
    return refused.error.retryable and not refused.queue_full and status is not None and status != 429


def given_up(shard: ShardRecord, refused: Refused, file_status: str | None) -> PassingRefusalError | None:
    """
    Return the error of a create that was refused too often for a reason that passes; None where it does not pass.

    :param shard: As it is before the refusal is recorded.
    :param file_status: What the API says of the uploaded file; None where it says nothing.
    """
    tries = shard.passing_refusals + 1
    if is_about_the_file(shard, refused, file_status):
        what = f"its uploaded file is not ready after {tries} tries; its status is {file_status or 'not known'}"
    elif refused.error.retryable:
        what = f"the API has refused to make its batch {tries} times in a row, and says that it is to be tried later"
    else:
        return None
    return PassingRefusalError(f"Shard {shard.key}: {what}. The next attempt uploads it again. {refused.error}")


def refused_whole(batch: Batch) -> FileError | None:
    """Return the error of a `failed` batch that concerns no line: the account or the file as such."""
    if batch.status != statuses.FAILED:
        return None
    if any(error.line is not None for error in batch.errors):
        return None
    return batch.errors[0] if batch.errors else NO_REASON


def refusal_message(batch_id: str, error: FileError) -> str:
    """Return what to say of a batch that was refused as a whole, and what to do where that is known."""
    said = f"The API refused batch {batch_id} as a whole ({error.code}: {error.message})"
    return f"{said}. {MODEL_ADVICE[:-1]}" if is_about_the_model(error.code, error.message) else said


def passes(error: FileError) -> Kind | None:
    """Return which refusal that passes the error of a failed batch is; one without a reason is the server's trouble."""
    return "try again" if error is NO_REASON else passing_kind(error.code, error.message)


def may_be_made_again(shard: ShardRecord) -> bool:
    """Return whether a shard whose batch failed for a reason that passes is sent again by this attempt."""
    return shard.passing_refusals + 1 < MOST_BATCHES
