"""
Making a batch of a shard, exactly once.

The intent is recorded before the POST and carried in the batch's metadata. An answer that was lost is looked up
through the list, by that metadata or by the input file, which belongs to one shard alone.
"""

from __future__ import annotations

from collections.abc import Mapping

from airflow_provider_batch.api import statuses
from airflow_provider_batch.api.client import BatchClient
from airflow_provider_batch.api.endpoints import MAX_METADATA_PAIRS, MAX_METADATA_VALUE
from airflow_provider_batch.api.objects import Batch
from airflow_provider_batch.exceptions import ApiError, UnknownOutcomeError
from airflow_provider_batch.jobs.ledger import Ledger, ShardRecord

#: Key of the intent in a batch's metadata; its value is
#: `<run key>-<job>-g<generation>-<shard>-n<number>-<token>-<start of the shard's hash>`; release 0.1 wrote no more than
#: the number.
INTENT_KEY = "airflow_batch_intent"
#: Our own keys in a batch's metadata; the rest of the sixteen pairs is the user's.
OWN_KEYS = (INTENT_KEY, "airflow_dag_id", "airflow_task_id", "airflow_run_id")
MAX_USER_PAIRS = MAX_METADATA_PAIRS - len(OWN_KEYS)
#: Seconds by which the API's clock may be behind ours.
CLOCK_SLACK = 15 * 60.0

#: Seconds for which a POST that seemed to have made nothing is looked for.
DUPLICATE_PATIENCE = 3600.0


def intent_name(ledger: Ledger, shard: ShardRecord, number: int) -> str:
    """
    Return the name of one POST: whose it is, for a reader, then the job's token and the start of the shard's hash.

    Other deployments have jobs with the same DAG, task and run on the same account: the token tells them apart.
    """
    place = f"{ledger.identity.run_key}-{ledger.job}-g{ledger.generation}-{shard.key}-n{number}"
    return f"{place}-{ledger.token}-{shard.sha256[:16]}" if ledger.token else place


def batch_metadata(ledger: Ledger, shard: ShardRecord, number: int, user: Mapping[str, str]) -> dict[str, str]:
    """
    Return a batch's metadata: the user's pairs, the intent, and where it comes from for a person who reads the
    dashboard.
    """
    who = ledger.identity
    own = (intent_name(ledger, shard, number), who.dag_id, who.task_id, who.run_id)
    return {**user, **{key: value[:MAX_METADATA_VALUE] for key, value in zip(OWN_KEYS, own, strict=True)}}


def find_duplicates(client: BatchClient, ledger: Ledger, now: float) -> list[Batch]:
    """
    Return batches that a POST made after all, although a look-up had not shown them; they run beside their shard's own.

    Only intents of the last hour that were found absent are looked for: without any, nothing is asked.
    """
    absent = {
        intent_name(ledger, shard, intent.number): intent.at
        for shard in ledger.shards
        for intent in shard.intents
        if intent.outcome == "absent" and now - intent.last_at < DUPLICATE_PATIENCE
    }
    own = {intent.batch_id for shard in ledger.shards for intent in shard.intents}
    found: list[Batch] = []
    for batch in client.list() if absent else ():
        if batch.created_at is not None and batch.created_at < min(absent.values()) - CLOCK_SLACK:
            break
        if batch.metadata.get(INTENT_KEY) in absent and batch.id not in own and not batch.has_ended:
            found.append(batch)
    return found


def may_own(ledger: Ledger, generation: int, key: str, batch_id: str) -> bool:
    """Return whether a ledger has a shard's batch, or is about to look up what the shard's open intent made."""
    shard = next((shard for shard in ledger.shards if shard.key == key), None)
    if shard is None or ledger.generation != generation:
        return False
    return shard.state == "intended" or batch_id in {intent.batch_id for intent in shard.intents}


def find_batches(client: BatchClient, ledger: Ledger, shard: ShardRecord) -> list[Batch]:
    """
    Return the batches that the shard's open intent made, oldest first, cancelled ones last; normally none or one.

    :raises UnknownOutcomeError: The list cannot be read now. Nothing may be submitted again before it can.
    """
    intent = shard.intents[-1]
    name = intent_name(ledger, shard, intent.number)
    settled = {earlier.batch_id for earlier in shard.intents[:-1]}
    found = []
    try:
        for batch in client.list():
            if batch.created_at is not None and batch.created_at < intent.at - CLOCK_SLACK:
                break
            of_file = shard.file_id is not None and batch.input_file_id == shard.file_id
            if batch.metadata.get(INTENT_KEY) == name or (of_file and batch.id not in settled):
                found.append(batch)
    except ApiError as error:
        raise UnknownOutcomeError(
            f"The answer to the create of shard {shard.key} was lost and the list of batches cannot be read ({error}). "
            f"A batch named {name} may be running; nothing is submitted again before that is known."
        ) from error
    found.reverse()
    return sorted(found, key=lambda batch: batch.status in (statuses.CANCELLING, statuses.CANCELLED))
