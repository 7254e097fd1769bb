"""
The background work: which batch is looked at when, and by which thread.

One thread keeps the appointments; a few others do one action of `lifecycle.due` for one batch at a time, so that
batches take turns. A batch is never in two threads at once. Routes only change a record (a cancel, a read) and wake
its batch.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

from airflow_provider_batch.emulator.batches import lifecycle
from airflow_provider_batch.emulator.batches.execution import Execution
from airflow_provider_batch.emulator.batches.store import Store
from airflow_provider_batch.emulator.batches.validation import LineIndex, Validated, file_error, validate_file
from airflow_provider_batch.emulator.errors import token_limit_text
from airflow_provider_batch.emulator.records import BatchRecord, FileRecord
from airflow_provider_batch.emulator.settings import FILE_LIFETIME, Settings

log = logging.getLogger(__name__)

#: Seconds until a batch is looked at again after an error of the emulator itself.
_AFTER_ERROR = 1.0


class Engine:
    """
    Drives every batch of a store.

    :param settings: Returns the settings as they are now.
    """

    def __init__(self, store: Store, settings: Callable[[], Settings]) -> None:
        self._store, self._settings = store, settings
        self.execution = Execution(store)
        self.errors: list[str] = []
        self._appointments: dict[str, float] = {}
        self._busy: set[str] = set()
        self._woken: set[str] = set()
        self._change = threading.Condition()
        self._is_stopped = self._is_paused = False
        self._pool = ThreadPoolExecutor(settings().workers, thread_name_prefix="batch")
        self._thread = threading.Thread(target=self._keep_appointments, name="engine", daemon=True)

    def start(self) -> None:
        """Begin, with every batch that has not ended."""
        self.wake_all()
        self._thread.start()

    def stop(self) -> None:
        """Finish the chunks that are being run, and nothing more."""
        with self._change:
            self._is_stopped = True
            self._change.notify_all()
        if self._thread.is_alive():
            self._thread.join()
        self._pool.shutdown(wait=True, cancel_futures=True)
        self.execution.close()

    def wake(self, *batch_ids: str) -> None:
        """Look at batches now: something about them has changed."""
        with self._change:
            for batch_id in batch_ids:
                self._appointments[batch_id] = 0.0
                if batch_id in self._busy:
                    self._woken.add(batch_id)
            self._change.notify_all()

    def wake_all(self) -> None:
        """Look at every batch now."""
        self.wake(*(batch.id for batch in self._store.active_batches()))

    @contextmanager
    def paused(self, timeout: float) -> Iterator[None]:
        """Drop all appointments and begin no work inside the block; wait for what was begun."""
        with self._change:
            self._is_paused = True
            self._change.wait_for(lambda: not self._busy, timeout)
            self._appointments.clear()
        try:
            yield
        finally:
            with self._change:
                self._is_paused = False
                self._change.notify_all()

    def wait_until_settled(self, batch_id: str, timeout: float) -> bool:
        """Wait until nothing is due for a batch."""
        with self._change:
            return self._change.wait_for(lambda: self._is_settled(batch_id), timeout)

    def _is_settled(self, batch_id: str) -> bool:
        return batch_id not in self._busy and self._appointments.get(batch_id, float("inf")) > time.time()

    def _keep_appointments(self) -> None:
        while True:
            with self._change:
                if self._is_stopped:
                    return
                now = time.time()
                ready = [one for one, at in self._appointments.items() if at <= now and one not in self._busy]
                if self._is_paused:
                    self._change.wait()
                    continue
                if not ready:
                    future = [at for one, at in self._appointments.items() if one not in self._busy]
                    self._change.wait(max(0.0, min(future) - now) if future else None)
                    continue
                for batch_id in ready:
                    del self._appointments[batch_id]
                    self._busy.add(batch_id)
            for batch_id in ready:
                self._pool.submit(self._step, batch_id).add_done_callback(
                    lambda done, batch_id=batch_id: self._done(batch_id, done)  # type: ignore[misc]
                )

    def _done(self, batch_id: str, step: Future[float | None]) -> None:
        if step.cancelled():
            return
        if (error := step.exception()) is not None:
            self._note(f"{batch_id}: {error!r}", error)
        next_check = time.time() + _AFTER_ERROR if error is not None else step.result()
        with self._change:
            self._busy.discard(batch_id)
            if batch_id in self._woken:
                self._woken.discard(batch_id)
                next_check = 0.0
            if next_check is not None:
                self._appointments[batch_id] = next_check
            self._change.notify_all()

    def _note(self, text: str, error: BaseException) -> None:
        # The same error comes back at each try: once is enough to find it by.
        if text not in self.errors:
            self.errors.append(text)
            log.error("a batch cannot go on: %s", text, exc_info=error)

    def _step(self, batch_id: str) -> float | None:
        """Do one action; return when the batch is to be looked at again."""
        batch = self._store.batch(batch_id)
        if batch is None or batch.has_ended:
            return None
        settings = self._settings()
        action = lifecycle.due(batch, settings, time.time())
        if isinstance(action, lifecycle.Wait):
            return action.until
        if isinstance(action, lifecycle.Validate):
            self._validate(batch, settings)
        elif isinstance(action, lifecycle.Run):
            self.execution.run(batch, action.until, settings)
        elif isinstance(action, lifecycle.WriteRest):
            self.execution.write_rest(batch, settings)
        elif isinstance(action, lifecycle.Move):
            self._move(batch, action, settings)
        return 0.0

    def _validate(self, batch: BatchRecord, settings: Settings) -> None:
        path = self._store.path_of(batch.input_file_id)
        if path.exists():
            found = validate_file(path, batch.endpoint, settings)
        else:
            error = file_error("invalid_request", f"Cannot find file {batch.input_file_id}.", "file_id")
            found = Validated(errors=[error])
        if rule := batch.fault("refuse_file"):
            code, text = rule.get("code", "invalid_request"), rule.get("message", "The file was refused.")
            found.errors = [file_error(code, text, rule.get("param"), rule.get("line"))]
        if not found.errors:
            seed = batch.id if settings.shuffle else None
            LineIndex(found.offsets, seed).save(self.execution.index_path(batch.id))
        with self._store.lock:
            if not found.errors:
                found.errors = self._token_limit_errors(batch, found, settings)
            self._store.update(batch.id, lambda record: self._validated(record, found, time.time()))
        if found.errors:
            self._clean_up(batch)

    def _token_limit_errors(self, batch: BatchRecord, found: Validated, settings: Settings) -> list[dict[str, object]]:
        limit = settings.token_limit(found.model)
        if limit is None or self.enqueued_tokens(found.model) + found.tokens <= limit:
            return []
        text = token_limit_text(found.model, settings.organization, limit)
        return [file_error("token_limit_exceeded", text)]

    def enqueued_tokens(self, model: str | None) -> int:
        """Return the input tokens of a model's batches that have not ended."""
        return sum(batch.enqueued_tokens for batch in self._store.active_batches() if batch.model == model)

    def _validated(self, record: BatchRecord, found: Validated, now: float) -> None:
        record.model = found.model
        if found.errors:
            record.errors = found.errors
            lifecycle.moved(record, lifecycle.Move("failed"), now)
            return
        record.total, record.enqueued_tokens = found.total, found.tokens
        record.output_name, record.error_name = self._store.new_file_id(), self._store.new_file_id()
        record.in_progress_at = now
        # A cancel that came first stays one.
        if record.status == "validating":
            record.status = "in_progress"

    def _move(self, batch: BatchRecord, move: lifecycle.Move, settings: Settings) -> None:
        now = time.time()
        if move.status in ("completed", "expired", "cancelled"):
            output, error = self._publish(batch, settings, now)
        else:
            output, error = None, None

        def change(record: BatchRecord) -> None:
            if record.status != batch.status:
                return
            if settings.pace.mode == "reads":
                # The read that brought the end about is the first that shows it.
                record.reads -= 1
                lifecycle.moved(record, move, now)
                record.reads += 1
            else:
                lifecycle.moved(record, move, now)
            record.output_file_id, record.error_file_id = output, error

        self._store.update(batch.id, change)
        if move.status in ("completed", "expired", "cancelled"):
            self._clean_up(batch)

    def _publish(self, batch: BatchRecord, settings: Settings, now: float) -> tuple[str | None, str | None]:
        """Show the result files that hold anything, and return their ids."""
        lifetime = batch.output_lifetime or FILE_LIFETIME
        keep_empty = settings.always_error_file or batch.fault("empty_error_file") is not None
        shown: list[str | None] = []
        for which, file_id, size in (
            ("output", batch.output_name, batch.output_bytes),
            ("error", batch.error_name, batch.error_bytes),
        ):
            path = self._store.path_of(file_id)
            if not size and not (which == "error" and keep_empty):
                path.unlink(missing_ok=True)
                shown.append(None)
                continue
            path.touch()
            record = FileRecord(
                id=file_id,
                filename=f"{batch.id}_{which}.jsonl",
                purpose="batch_output",
                bytes=size,
                created_at=now,
                expires_at=now + lifetime / settings.clock_speed,
                form=batch.form_of(which),
            )
            self._store.add_file(record)
            shown.append(file_id)
        return shown[0], shown[1]

    def _clean_up(self, batch: BatchRecord) -> None:
        self.execution.forget(batch.id)
        self.execution.index_path(batch.id).unlink(missing_ok=True)
        self._store.drop_unlisted_input(batch.input_file_id)
