"""The provider's description for Airflow. Every Airflow process imports this module, so it imports nothing itself."""

from __future__ import annotations

from typing import Any

_NAME = "OpenAI Batch"
_PACKAGE = "airflow_provider_batch"


def get_provider_info() -> dict[str, Any]:
    """Return the provider's description in the form of Airflow's `provider_info.schema.json`."""
    return {
        "package-name": "airflow-provider-batch",
        "name": _NAME,
        "description": "Bulk LLM work from Apache Airflow: a table in, a table out, over the OpenAI Batch API.",
        "integrations": [
            {
                "integration-name": _NAME,
                "external-doc-url": "https://platform.openai.com/docs/guides/batch",
                "tags": ["service", "ai"],
            }
        ],
        "connection-types": [_connection_type()],
        "hooks": [_modules("hooks.openai_batch")],
        "operators": [_modules("operators.openai_batch")],
        "sensors": [_modules("sensors.openai_batch")],
        "triggers": [_modules("triggers.openai_batch")],
        "transfers": [
            {
                "source-integration-name": _NAME,
                "target-integration-name": "Parquet",
                "python-module": f"{_PACKAGE}.transfers.openai_batch_to_parquet",
            }
        ],
        "task-decorators": [
            {"name": "openai_batch", "class-name": f"{_PACKAGE}.decorators.openai_batch.openai_batch_task"}
        ],
        "extra-links": [
            f"{_PACKAGE}.links.openai_batch.OpenAIBatchLink",
            f"{_PACKAGE}.links.storage.OpenAIBatchTableLink",
            f"{_PACKAGE}.links.storage.OpenAIBatchLedgerLink",
        ],
        "config": {"openai_batch": _config_section()},
    }


def _modules(*names: str) -> dict[str, Any]:
    return {"integration-name": _NAME, "python-modules": [f"{_PACKAGE}.{name}" for name in names]}


def _connection_type() -> dict[str, Any]:
    return {
        "connection-type": "openai_batch",
        "hook-class-name": f"{_PACKAGE}.hooks.openai_batch.OpenAIBatchHook",
        "hook-name": _NAME,
        "ui-field-behaviour": {
            "hidden-fields": ["schema", "port", "login"],
            "relabeling": {"password": "API Key", "host": "Base URL"},
            "placeholders": {"password": "sk-…", "host": "https://api.openai.com/v1"},
        },
        "conn-fields": {
            "service": _field(
                "Service",
                "The service at the base URL, such as azure, groq or together; empty where its host says it. A service "
                "that is not known here: other, or its description as JSON.",
                ["string", "null"],
            ),
            "organization": _field("Organization", "Organization id; empty for the key's default.", ["string", "null"]),
            "project": _field("Project", "Project id; empty for the key's default.", ["string", "null"]),
            "timeout": _field(
                "Timeout (s)",
                "Seconds that one read or write of a file transfer may take; empty for 600.",
                ["number", "null"],
                minimum=1,
            ),
            "max_retries": _field(
                "Retries of a call",
                "Further attempts of a failed call, except the creation of a batch; empty for 4.",
                ["integer", "null"],
                minimum=0,
            ),
        },
    }


def _field(label: str, description: str, types: list[str], **limits: int) -> dict[str, Any]:
    return {"label": label, "description": description, "schema": {"type": types, **limits}}


def _config_section() -> dict[str, Any]:
    return {
        "description": "Defaults of the OpenAI Batch provider.",
        "options": {
            "state_path": _option(
                "Folder URI of the jobs' ledgers and shards, for tasks without an argument ``state_path``; default:\n"
                "below the task's ``destination``. Every worker must be able to read and write it.",
                "string",
                example="s3://aws_default@my-bucket/openai-batch",
                default="",
            ),
            "poll_interval": _option(
                "Shortest time between two polls of a batch, in seconds. It grows with the batch's age, to 5 minutes.",
                "float",
                example="30",
                default="60",
            ),
            "stalled_after": _option(
                "Seconds after which the task's log has a warning for a batch that is still ``validating`` or\n"
                "``finalizing``. The task goes on waiting for it.",
                "float",
                example="7200",
                default="3600",
            ),
            "lookup_quiet_period": _option(
                "Seconds after a create call without a clear response until the account's list is searched for its\n"
                "batch: the time that the API may take to list a new batch.",
                "float",
                example="120",
                default="60",
            ),
        },
    }


def _option(description: str, kind: str, *, example: str, default: str) -> dict[str, Any]:
    return {"description": description, "version_added": "0.1.0", "type": kind, "example": example, "default": default}
