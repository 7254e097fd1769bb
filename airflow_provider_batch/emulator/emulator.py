"""Join the parts of one emulator: its settings, store and engine."""

from __future__ import annotations

import asyncio
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

from airflow_provider_batch.emulator.batches import prices
from airflow_provider_batch.emulator.batches.engine import Engine
from airflow_provider_batch.emulator.batches.store import Store
from airflow_provider_batch.emulator.batches.validation import first_model, validate_file
from airflow_provider_batch.emulator.errors import CallError, file_not_ready
from airflow_provider_batch.emulator.faults import BATCH_KINDS, FaultRule
from airflow_provider_batch.emulator.records import BatchRecord, FileRecord
from airflow_provider_batch.emulator.services.table import NAMES
from airflow_provider_batch.emulator.settings import Settings

#: Seconds that a reset waits for the chunks that are being run.
_RESET_PATIENCE = 30.0
FILE_KINDS = frozenset({"file_not_ready"})
#: Members of a batch that the state shows as they are stored.
_SHOWN = (
    *("id", "status", "endpoint", "model", "metadata", "input_file_id"),
    *("billed", "completed", "failed", "created_at", "ended_at", "reads"),
)


class Emulator:
    """
    One emulator; the web application calls it.

    :param folder: Folder of its state.
    :param settings: Settings at the start and after a reset.
    """

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.settings = self._first_settings = settings
        self.store = Store(folder)
        self.engine = Engine(self.store, lambda: self.settings)

    def close(self) -> None:
        """Stop the engine and close the store."""
        self.engine.stop()
        self.store.close()

    def configure(self, changes: dict[str, Any]) -> Settings:
        """
        Change some settings, apply them to all batches, and return all settings.

        :param changes: New values by the name of the setting.
        :raises ValueError: A setting does not exist, or a value is wrong.
        """
        follows = Settings.of_service(changes["service"]) if changes.get("service") in NAMES else {}
        self.settings = Settings.model_validate(self.settings.model_dump() | follows | changes)
        self.engine.wake_all()
        return self.settings

    def reset(self, settings: Settings | None = None) -> None:
        """
        Remove batches, files, faults and calls.

        :param settings: Settings from now on; None takes the first ones.
        """
        with self.engine.paused(_RESET_PATIENCE):
            self.store.reset()
            self.engine.errors.clear()
        self.settings = settings or self._first_settings

    # Create

    async def check_token_limit(self, batch: BatchRecord) -> None:
        """
        Check the limit on enqueued tokens, where the settings let the create call check it.

        :param batch: Batch that is being created.
        :raises CallError: The batch would exceed the limit.
        """
        settings = self.settings
        is_late = settings.token_limit_answer == "failed_batch" or settings.enqueued_token_limit is None
        if is_late or batch.input_missing:
            return
        path = self.store.path_of(batch.input_file_id)
        found = await asyncio.to_thread(validate_file, path, batch.endpoint, settings)
        if (text := self.engine.token_limit_problem(found, settings)) is None:
            return
        status = int(settings.token_limit_answer)
        kind = "invalid_request_error" if status == 400 else "tokens"
        raise CallError(status, text, error_type=kind, code="token_limit_exceeded")

    def choose_faults(self, batch: BatchRecord) -> None:
        """
        Store in a new batch the fault rules that apply to it.

        :param batch: Batch that is being created; its `faults` are set.
        """
        rules = self.store.faults_of(BATCH_KINDS)
        if not rules:
            return
        model = None if batch.input_missing else first_model(self.store.path_of(batch.input_file_id))
        batch.faults = [
            rule.model_dump(mode="json", exclude_none=True)
            for rule in rules
            if rule.fits_batch(model=model, endpoint=batch.endpoint, metadata=batch.metadata) and self.store.hit(rule)
        ]

    def refusal_of_file(self, file: FileRecord) -> CallError | None:
        """
        Count a create call that names a file; return the error of a fault while the file is not ready, else None.

        :param file: Input file of the create call.
        """
        rules = self.store.faults_of(FILE_KINDS)
        if not rules:
            return None
        creates = self.store.count_create(file.id)
        for rule in rules:
            is_early = _is_pending(file, rule) if rule.seconds else creates <= rule.count
            if is_early and self.store.hit(rule):
                return file_not_ready(file.id, rule, self.settings.project)
        return None

    def file_status(self, file: FileRecord) -> str:
        """
        Return the status of a File object: "processed", or the one of a fault while the file is not ready.

        :param file: Record of the file.
        """
        pending = (rule for rule in self.store.faults_of(FILE_KINDS) if rule.seconds and _is_pending(file, rule))
        return next((rule.status_text or "pending" for rule in pending), "processed")

    def listed(self, after: str | None, limit: int) -> list[BatchRecord]:
        """
        Return the batches that the list shows, newest first; a fault or `list_lag` can hide new ones.

        :param after: Start behind the batch with this id; None starts at the newest.
        :param limit: Maximum number of batches.
        """
        shown: list[BatchRecord] = []
        while len(shown) < limit and (page := self.store.batches(after=after, limit=limit)):
            after = page[-1].id
            shown += [batch for batch in page if self._is_listed(batch)]
        return shown[:limit]

    def _is_listed(self, batch: BatchRecord) -> bool:
        if time.time() < batch.created_at + self.settings.list_lag:
            return False
        rule = batch.fault("late_in_list")
        if rule is None:
            return True
        if "reads" in rule and self.store.count_list_read(batch.id) <= rule["reads"]:
            return False
        return time.time() >= batch.created_at + float(rule["seconds"])

    # State

    def state(self) -> dict[str, Any]:
        """Return batches, executions and costs: enough to check that nothing was paid twice."""
        batches = [self._batch_state(batch) for batch in reversed(self.store.batches())]
        costs = [batch["cost_usd"] for batch in batches]
        return {
            "batches_created": len(batches),
            "uploads": self.store.journal.uploads(),
            "batches": batches,
            "executions": self.store.execution_totals(),
            "repeated_executions": self.store.repeated_executions(),
            "cost_usd": None if None in costs else str(sum(map(Decimal, costs), Decimal(0))),
            "faults": self.faults_state(),
            "errors": list(self.engine.errors),
        }

    def faults_state(self) -> list[dict[str, Any]]:
        """Return the fault rules, each with the number of its matches."""
        rules = self.store.faults()
        return [
            {**rule.model_dump(mode="json", exclude_defaults=True), "id": rule.id, "matches": n} for rule, n in rules
        ]

    def _batch_state(self, batch: BatchRecord) -> dict[str, Any]:
        cost = prices.cost(batch.model, batch.tokens)
        return {
            **{name: getattr(batch, name) for name in _SHOWN},
            "lines": batch.total,
            "executed": batch.completed + batch.failed,
            "usage": batch.tokens.to_api(),
            "cost_usd": None if cost is None else str(cost),
            "faults": [rule["kind"] for rule in batch.faults],
        }


def _is_pending(file: FileRecord, rule: FaultRule) -> bool:
    return time.time() < file.created_at + rule.seconds
