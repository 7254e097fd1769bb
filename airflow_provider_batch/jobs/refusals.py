"""
Decides what follows a refused create, and a batch that failed as a whole: whether, when and with which file to retry.

Pure. The number of tries is limited, since a refusal that should go away may stay. After the last try the attempt ends
with an error that a retry of the task may solve.
"""

from __future__ import annotations

from dataclasses import dataclass

from airflow_provider_batch.api import statuses
from airflow_provider_batch.api.objects import Batch, FileError
from airflow_provider_batch.api.outcomes import Refused
from airflow_provider_batch.api.refusals import MODEL_ADVICE, Kind, is_about_the_model, passing_kind
from airflow_provider_batch.exceptions import ApiError, PassingRefusalError
from airflow_provider_batch.jobs.ledger.shard_record import ShardRecord

#: Creates in a row that are refused for their file or with "try again later" (some three hours), and batches in a row
#: that fail at once (half an hour), at most.
MAX_REFUSED_CREATES, MAX_FAILED_BATCHES = 20, 6
#: Refused creates in a row after which the file is uploaded again, and the create is tried less often.
FILE_REFUSALS = 6
#: Code and words for a batch that failed without saying why.
NO_REASON = FileError(code="batch_failed", message="The API gave no reason.")


@dataclass(frozen=True)
class Retry:
    """
    How a refused create is tried again.

    :param is_about_file: Whether the file was not ready; else the reason was the account's queue or the server.
    :param upload_again: Whether the file is uploaded again first.
    :param is_counted: Whether a limited number of these in a row ends the attempt. A full queue, too many calls and an
        outage are limited by the job's time alone.
    """

    is_about_file: bool
    upload_again: bool = False
    is_counted: bool = True


def is_about_the_file(shard: ShardRecord, refused: Refused, file_status: str | None) -> bool:
    """
    Return whether a create was refused because its file is not ready.

    The error's text says so, or the file's own status. A file that was uploaded and is not found is not there yet,
    whatever the text. A file can become ready between the refusal and the check of its status: a text that was about
    the file before still is.

    :param shard: The shard before the refusal is recorded.
    :param refused: The refusal.
    :param file_status: What the API says of the uploaded file; None where it says nothing.
    """
    if refused.file_not_ready or refused.error.retryable:
        return refused.file_not_ready
    said_before = shard.intents[-2].error if shard.passing_refusals and len(shard.intents) > 1 else None
    is_not_there = file_status in statuses.FILE_PENDING or file_status == statuses.FILE_NOT_FOUND
    return is_not_there or said_before == str(refused.error)


def after_refused_create(shard: ShardRecord, refused: Refused, file_status: str | None) -> Retry | None:
    """
    Return how a refused create is tried again; None where it is not.

    :param shard: The shard before the refusal is recorded.
    :param refused: The refusal.
    :param file_status: What the API says of the uploaded file; None where it says nothing.
    """
    is_about_file = is_about_the_file(shard, refused, file_status)
    if not is_about_file and not says_try_later(refused):
        return Retry(is_about_file=False, is_counted=False) if refused.error.retryable else None
    if shard.passing_refusals + 1 >= MAX_REFUSED_CREATES:
        return None
    is_pending = file_status in statuses.FILE_PENDING
    # Right after an upload, "not found" may be a delay; later a new file is more likely to work.
    is_lost = file_status in statuses.FILE_BROKEN or shard.passing_refusals + 1 >= FILE_REFUSALS
    return Retry(is_about_file, upload_again=is_lost and not is_pending)


def says_try_later(refused: Refused) -> bool:
    """
    Return whether a service has refused a create for a problem of its own, such as "please try again later".

    A service may say this of a create that it will never accept, so these refusals are counted. A full queue and too
    many calls (429) are about other work, and a missing response says nothing.

    :param refused: The refusal.
    """
    status = refused.error.status_code
    return refused.error.retryable and not refused.queue_full and status is not None and status != 429


def may_upload_later(error: ApiError) -> bool:
    """
    Return whether an upload was refused because the service takes no more files or calls now.

    :param error: Error of the upload.
    """
    is_full = passing_kind(error.code, error.server_text or str(error)) == "queue full"
    return is_full or (error.retryable and error.status_code == 429)


def refused_too_often(shard: ShardRecord, refused: Refused, file_status: str | None) -> PassingRefusalError | None:
    """
    Return the error of a create that was refused too often for a reason that goes away; None for other reasons.

    :param shard: The shard before the refusal is recorded.
    :param refused: The refusal.
    :param file_status: What the API says of the uploaded file; None where it says nothing.
    """
    tries = shard.passing_refusals + 1
    if is_about_the_file(shard, refused, file_status):
        what = f"its uploaded file is not ready after {tries} tries; its status is {file_status or 'not known'}"
    elif refused.error.retryable:
        what = f"the API has refused to make its batch {tries} times in a row, and says to try again later"
    else:
        return None
    return PassingRefusalError(f"Shard {shard.key}: {what}. The next attempt uploads it again. {refused.error}")


def refused_whole(batch: Batch) -> FileError | None:
    """
    Return the error of a `failed` batch that is about the account or the whole file; None for errors of lines.

    :param batch: The batch as it was polled.
    """
    if batch.status != statuses.FAILED:
        return None
    if any(error.line is not None for error in batch.errors):
        return None
    return batch.errors[0] if batch.errors else NO_REASON


def refusal_message(batch_id: str, error: FileError) -> str:
    """
    Return the message for a batch that was refused as a whole, with what to do where that is known.

    :param batch_id: Id of the batch.
    :param error: What the API said.
    """
    message = f"The API refused batch {batch_id} as a whole ({error.code}: {error.message})"
    return f"{message}. {MODEL_ADVICE[:-1]}" if is_about_the_model(error.code, error.message) else message


def passing_kind_of(error: FileError) -> Kind | None:
    """
    Return the kind of a failed batch's error if it goes away by itself, else None.

    :param error: What the API said; without a reason it counts as a problem of the server.
    """
    return "try again" if error is NO_REASON else passing_kind(error.code, error.message)


def may_retry_batch(shard: ShardRecord) -> bool:
    """
    Return whether this attempt sends a shard again whose batch failed for a reason that goes away.

    :param shard: The shard before the refusal is recorded.
    """
    return shard.passing_refusals + 1 < MAX_FAILED_BATCHES
