"""
Makes exactly one batch of a shard.

The intent is recorded before the POST, and its name is in the batch's metadata. Where the response of the POST is lost,
the list of batches shows what it made (`lookup.py`).
"""

from __future__ import annotations

from collections.abc import Mapping

from airflow_provider_batch.api import statuses
from airflow_provider_batch.api.client import BatchClient
from airflow_provider_batch.api.endpoints import MAX_METADATA_PAIRS, MAX_METADATA_VALUE
from airflow_provider_batch.api.objects import Batch
from airflow_provider_batch.api.outcomes import FILE_STATUSES, CreateOutcome, Refused, Unknown
from airflow_provider_batch.exceptions import ApiError, ApiUnavailableError, UnknownOutcomeError
from airflow_provider_batch.jobs.job_request import Tools
from airflow_provider_batch.jobs.ledger.ledger import Ledger
from airflow_provider_batch.jobs.ledger.shard_list import Skip
from airflow_provider_batch.jobs.ledger.shard_record import ShardRecord
from airflow_provider_batch.jobs.refusals import MAX_REFUSED_CREATES
from airflow_provider_batch.jobs.submission.lookup import INTENT_KEY, Marks, search

#: This package's keys in a batch's metadata; the rest of the sixteen pairs is the user's.
OWN_KEYS = (INTENT_KEY, "airflow_dag_id", "airflow_task_id", "airflow_run_id")
MAX_USER_PAIRS = MAX_METADATA_PAIRS - len(OWN_KEYS)


class NotProvedAbsentError(UnknownOutcomeError):
    """The list was read, and does not prove that a create made no batch."""


#: Seconds between two looks at an uploaded file that is not processed yet, before the job does something else.
PENDING_PAUSES = (0.5, 1.0, 2.0)
#: Seconds for which a late batch of a POST that seemed to have made nothing is searched.
DUPLICATE_PATIENCE = 3600.0
#: Batches of the list that are searched, at most.
DUPLICATES_AMONG = 1_000


def intent_name(ledger: Ledger, shard: ShardRecord, number: int) -> str:
    """
    Return the name of one POST, the value of `INTENT_KEY`.

    It names the task instance and the shard for a reader; then follow the job's token and the start of the shard's
    hash, which prove it: other deployments can have jobs with the same DAG, task and run on the same account. Release
    0.1 wrote nothing after the number.

    :param ledger: The job's ledger.
    :param shard: The shard.
    :param number: Number of the POST of this shard, from 1.
    """
    place = f"{ledger.identity.run_key}-{ledger.job}-g{ledger.generation}-{shard.key}-n{number}"
    return f"{place}-{ledger.token}-{shard.sha256[:16]}" if ledger.token else place


def batch_metadata(ledger: Ledger, shard: ShardRecord, number: int, user: Mapping[str, str]) -> dict[str, str]:
    """
    Return a batch's metadata: the user's pairs, the intent, and DAG, task and run for readers of the dashboard.

    :param ledger: The job's ledger.
    :param shard: The shard.
    :param number: Number of the POST of this shard, from 1.
    :param user: The user's pairs.
    """
    who = ledger.identity
    own = (intent_name(ledger, shard, number), who.dag_id, who.task_id, who.run_id)
    return {**user, **{key: value[:MAX_METADATA_VALUE] for key, value in zip(OWN_KEYS, own, strict=True)}}


def file_status(tools: Tools, file_id: str | None, refused: Refused) -> str | None:
    """
    Return the API's status of a shard's input file, where a refusal may be about the file; else None.

    :param tools: Tools of the job.
    :param file_id: Id of the file; None where it is not uploaded.
    :param refused: The refusal of the create.
    """
    if file_id is None or refused.queue_full or refused.error.status_code not in FILE_STATUSES:
        return None
    try:
        return tools.client.file_status(file_id)
    except ApiError as error:
        tools.log.warning("The status of file %s is not known: %s", file_id, error)
        return None


def file_is_processed(tools: Tools, shard: ShardRecord, file_id: str) -> bool:
    """
    Return False where a service that processes files first has not processed a shard's, within a few seconds.

    After many such refusals the create is tried all the same: its answer decides.

    :param tools: Tools of the job.
    :param shard: The shard.
    :param file_id: Id of the input file.
    """
    if not tools.client.settings.service.lists_pending_files or shard.passing_refusals >= MAX_REFUSED_CREATES - 1:
        return True
    for seconds in (*PENDING_PAUSES, None):
        try:
            if tools.client.file_status(file_id) not in statuses.FILE_PENDING:
                return True
        except ApiError as error:
            tools.log.warning("The status of file %s is not known: %s", file_id, error)
            return True
        if seconds is not None:
            tools.sleep(seconds)
    return False


def clear_outcome(tools: Tools, outcome: CreateOutcome, file_id: str) -> CreateOutcome:
    """
    Return a conflict (409) as a refusal, where the file's own status says that it is not ready.

    :param tools: Tools of the job.
    :param outcome: What a create returned.
    :param file_id: Id of the input file.
    """
    if not isinstance(outcome, Unknown) or outcome.error.status_code != 409:
        return outcome
    refused = Refused(outcome.error, file_not_ready=True)
    return refused if file_status(tools, file_id, refused) in statuses.FILE_PENDING else outcome


def find_duplicates(client: BatchClient, ledger: Ledger, now: float) -> list[Batch]:
    """
    Return running batches that a POST made although a look-up had not shown them; their shard has another batch.

    Only intents of the last hour that were found absent are searched: without any, the API is not called.

    :param client: Client of the account.
    :param ledger: The job's ledger.
    :param now: Epoch seconds.
    """
    shards = [shard for shard in ledger.shard_list.each(skip=_is_long_ago(now)) if _may_show_late(shard, now)]
    if not shards or not client.settings.service.has_list:
        return []
    marks = [marks_of(ledger, shard) for shard in shards]
    own = {intent.batch_id for shard in shards for intent in shard.intents}
    found: list[Batch] = []
    for number, batch in enumerate(client.list()):
        if number >= DUPLICATES_AMONG:
            break
        if batch.id not in own and not batch.has_ended and any(mark.whose(batch) == "ours" for mark in marks):
            found.append(batch)
    if found:
        own = {intent.batch_id for shard in ledger.shards for intent in shard.intents}
    return [batch for batch in found if batch.id not in own]


def _is_long_ago(now: float) -> Skip:
    """Skip segments of shards at rest whose last absent create is too old; the base has its time."""
    return lambda segment: segment.absent_at is None or now - segment.absent_at >= DUPLICATE_PATIENCE


def _may_show_late(shard: ShardRecord, now: float) -> bool:
    """Return whether a batch may show late; what an open intent has made is looked up itself, and is no duplicate."""
    if shard.state == "intended":
        return False
    return any(one.outcome == "absent" and now - one.last_at < DUPLICATE_PATIENCE for one in shard.intents)


def may_own(ledger: Ledger, generation: int, key: str, batch_id: str) -> bool:
    """
    Return whether a ledger has a shard's batch, or is about to look up what the shard's open intent made.

    :param ledger: The ledger of another attempt.
    :param generation: Generation of the shard.
    :param key: Key of the shard.
    :param batch_id: Id of the batch.
    """
    shard = next((shard for shard in ledger.shards if shard.key == key), None)
    if shard is None or ledger.generation != generation:
        return False
    return shard.state == "intended" or batch_id in {intent.batch_id for intent in shard.intents}


def marks_of(ledger: Ledger, shard: ShardRecord) -> Marks:
    """
    Return the marks that identify a shard's batches among all batches of the account.

    :param ledger: The job's ledger.
    :param shard: The shard.
    """
    names = frozenset(intent_name(ledger, shard, intent.number) for intent in shard.intents)
    return Marks(names, is_secret=bool(ledger.token), file_id=shard.file_id)


def find_batches(client: BatchClient, ledger: Ledger, shard: ShardRecord) -> list[Batch]:
    """
    Return the batches that the shard's open intent made: oldest first, cancelled ones last; normally none or one.

    An empty list is proved: the intent made no batch.

    :param client: Client of the account.
    :param ledger: The job's ledger.
    :param shard: A shard with an open intent.
    :raises UnknownOutcomeError: The list cannot be read now, or does not prove that there is none. Nothing may be
        submitted again before it does.
    """
    service = client.settings.service
    if not service.has_list:
        raise _not_proved(ledger, shard, f"{service.name} has no list of batches to look it up in")
    own = [(one.at, one.batch_id) for other in ledger.shards for one in other.intents if one.batch_id is not None]
    known = [batch_id for _, batch_id in sorted(own)]
    later = [batch_id for at, batch_id in own if at > shard.intents[-1].last_at]
    try:
        anchor = _made_before(client, shard)
        marks = marks_of(ledger, shard)
        seen = search(client, marks, anchor, running=ledger.active_ids, known=known, later=later)
    except ApiError as error:
        raise _unknown(ledger, shard, f"the list of batches cannot be read ({error})") from error
    if not seen.found and seen.gap is not None:
        raise _not_proved(ledger, shard, f"the list of batches does not prove that there is none: {seen.gap}")
    found = sorted(seen.found, key=lambda batch: (batch.created_at or 0.0, batch.id))
    return sorted(found, key=lambda batch: batch.status in (statuses.CANCELLING, statuses.CANCELLED))


def _made_before(client: BatchClient, shard: ShardRecord) -> float | None:
    """Return a moment before the shard's create by the service's clock: when its input file was made."""
    if shard.file_id is None:
        return None
    try:
        return client.file_created_at(shard.file_id)
    except ApiUnavailableError:
        raise
    except ApiError:  # the file is gone, or the service does not show files
        return None


def _not_proved(ledger: Ledger, shard: ShardRecord, why: str) -> NotProvedAbsentError:
    return NotProvedAbsentError(
        f"{_unknown(ledger, shard, why)} Once you are sure that there is none, clear the task with "
        "rerun='failed_rows': the shard is sent again then."
    )


def _unknown(ledger: Ledger, shard: ShardRecord, why: str) -> UnknownOutcomeError:
    name = intent_name(ledger, shard, shard.intents[-1].number)
    return UnknownOutcomeError(
        f"The response to the create of shard {shard.key} was lost, and {why}. A batch with {INTENT_KEY}={name} in its "
        f"metadata, or of the input file {shard.file_id}, may run and be billed. Nothing is sent again before that is "
        "known; each attempt of the task looks it up again. Look for it in the vendor's dashboard."
    )
