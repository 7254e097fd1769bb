"""What users import and what releases have stored: names that stay valid wherever modules move."""

from __future__ import annotations

import importlib

import msgspec
import pytest

from airflow_provider_batch.jobs.ledger import events
from airflow_provider_batch.jobs.ledger.ledger import Ledger
from airflow_provider_batch.jobs.ledger.shard_record import ShardRecord
from airflow_provider_batch.table.manifest import Manifest
from airflow_provider_batch.triggers.openai_batch import OpenAIBatchTrigger

PUBLIC = {
    "cli": ["app", "main"],
    "decorators.openai_batch": ["openai_batch_task"],
    "emulator.testing": ["Emulator", "running_emulator"],
    "exceptions": [
        "ConfigurationError",
        "InputError",
        "JobTakenError",
        "OpenAIBatchError",
        "SourceError",
        "StorageError",
    ],
    "get_provider_info": ["get_provider_info"],
    "hooks.openai_batch": ["OpenAIBatchHook"],
    "links.openai_batch": ["OpenAIBatchLink"],
    "links.storage": ["OpenAIBatchLedgerLink", "OpenAIBatchTableLink"],
    "operators.openai_batch": ["OpenAIBatchOperator"],
    "sensors.openai_batch": ["OpenAIBatchSensor"],
    "transfers.openai_batch_to_parquet": ["OpenAIBatchToParquetOperator"],
    "triggers.openai_batch": ["OpenAIBatchTrigger"],
}
#: Events as they are named in event files; an event that is taken away stays readable.
EVENTS = [
    "Absent",
    "Accepted",
    "Begun",
    "CancelAsked",
    "Closed",
    "Ended",
    "Finished",
    "Intended",
    "Landed",
    "Late",
    "Leased",
    "Postponed",
    "Refused",
    "Relanding",
    "Reopened",
    "Requeued",
    "RerunPlanned",
    "RoundPlanned",
    "Trimmed",
    "Unanswered",
    "Unclear",
    "Uploaded",
]


@pytest.mark.parametrize("module", PUBLIC)
def test_what_users_import_is_where_it_was(module: str) -> None:
    found = importlib.import_module(f"airflow_provider_batch.{module}")
    assert [name for name in PUBLIC[module] if not hasattr(found, name)] == []


def test_a_deferred_task_finds_its_trigger() -> None:
    path, _ = OpenAIBatchTrigger("c", ["b"]).serialize()
    assert path == "airflow_provider_batch.triggers.openai_batch.OpenAIBatchTrigger"


def test_the_events_of_a_ledger_have_the_names_that_were_stored() -> None:
    known = {kind.__struct_config__.tag for kind in events.Event.__subclasses__()}
    assert known >= set(EVENTS)


def test_what_is_stored_has_the_fields_that_it_had() -> None:
    fields = {
        kind: {field.encode_name for field in msgspec.structs.fields(kind)} for kind in (Ledger, ShardRecord, Manifest)
    }
    assert fields[Ledger] >= {"identity", "fingerprint", "endpoint", "rows", "lease", "shards", "generation", "token"}
    assert fields[ShardRecord] >= {"rows", "sha256", "model", "batch_id", "landing"}
    assert fields[Manifest] >= {"job", "endpoint", "rows", "statuses", "usage", "parts", "batch_ids", "generation"}
