"""
Run the batches in background threads.

One thread knows when each batch is due next. Worker threads do one action of `lifecycle.due` for one batch at a time,
so that batches take turns. A batch is never in two threads at once. Routes only change a record (a cancel, a read)
and wake its batch.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

from airflow_provider_batch.emulator.answers.common import snapshot_of
from airflow_provider_batch.emulator.batches import lifecycle
from airflow_provider_batch.emulator.batches.execution import Execution
from airflow_provider_batch.emulator.batches.store import Store
from airflow_provider_batch.emulator.batches.validation import LineIndex, Validated, file_error, validate_file
from airflow_provider_batch.emulator.errors import cannot_find_text, token_limit_text
from airflow_provider_batch.emulator.records import BatchRecord, FileRecord
from airflow_provider_batch.emulator.settings import FILE_LIFETIME, Settings

log = logging.getLogger(__name__)

#: Seconds until a batch is tried again after an error of the emulator itself.
_AFTER_ERROR = 1.0


class Engine:
    """
    Runs every batch of a store.

    :param store: Store with the batches.
    :param settings: Returns the current settings.
    """

    def __init__(self, store: Store, settings: Callable[[], Settings]) -> None:
        self._store, self._settings = store, settings
        self.execution = Execution(store)
        self.errors: list[str] = []
        self._due_times: dict[str, float] = {}
        self._busy: set[str] = set()
        self._woken: set[str] = set()
        self._change = threading.Condition()
        self._is_stopped = self._is_paused = False
        self._pool = ThreadPoolExecutor(settings().workers, thread_name_prefix="batch")
        self._thread = threading.Thread(target=self._run_due_batches, name="engine", daemon=True)

    def start(self) -> None:
        """Start the threads; every batch that has not ended is due at once."""
        self.wake_all()
        self._thread.start()

    def stop(self) -> None:
        """Finish the chunks that are being run, and stop the threads."""
        with self._change:
            self._is_stopped = True
            self._change.notify_all()
        if self._thread.is_alive():
            self._thread.join()
        self._pool.shutdown(wait=True, cancel_futures=True)
        self.execution.close()

    def wake(self, *batch_ids: str) -> None:
        """
        Make batches due now, because something about them has changed.

        :param batch_ids: Ids of the batches.
        """
        with self._change:
            for batch_id in batch_ids:
                self._due_times[batch_id] = 0.0
                if batch_id in self._busy:
                    self._woken.add(batch_id)
            self._change.notify_all()

    def wake_all(self) -> None:
        """Make every batch due now."""
        self.wake(*(batch.id for batch in self._store.active_batches()))

    @contextmanager
    def paused(self, timeout: float) -> Iterator[None]:
        """
        Stop work inside the `with` block: wait for actions that are under way, and forget when batches are due.

        :param timeout: Seconds to wait for actions that are under way.
        """
        with self._change:
            self._is_paused = True
            self._change.wait_for(lambda: not self._busy, timeout)
            self._due_times.clear()
        try:
            yield
        finally:
            with self._change:
                self._is_paused = False
                self._change.notify_all()

    def wait_until_settled(self, batch_id: str, timeout: float) -> bool:
        """
        Wait until a batch has no action that is due, and say whether that was reached.

        :param batch_id: Id of the batch.
        :param timeout: Seconds to wait.
        """
        with self._change:
            return self._change.wait_for(lambda: self._is_settled(batch_id), timeout)

    def _is_settled(self, batch_id: str) -> bool:
        return batch_id not in self._busy and self._due_times.get(batch_id, float("inf")) > time.time()

    def _run_due_batches(self) -> None:
        while True:
            with self._change:
                if self._is_stopped:
                    return
                now = time.time()
                ready = [one for one, at in self._due_times.items() if at <= now and one not in self._busy]
                if self._is_paused:
                    self._change.wait()
                    continue
                if not ready:
                    future = [at for one, at in self._due_times.items() if one not in self._busy]
                    self._change.wait(max(0.0, min(future) - now) if future else None)
                    continue
                for batch_id in ready:
                    del self._due_times[batch_id]
                    self._busy.add(batch_id)
            for batch_id in ready:
                self._pool.submit(self._step, batch_id).add_done_callback(
                    lambda done, batch_id=batch_id: self._done(batch_id, done)  # type: ignore[misc]
                )

    def _done(self, batch_id: str, step: Future[float | None]) -> None:
        if step.cancelled():
            return
        if (error := step.exception()) is not None:
            self._log_error(f"{batch_id}: {error!r}", error)
        next_check = time.time() + _AFTER_ERROR if error is not None else step.result()
        with self._change:
            self._busy.discard(batch_id)
            if batch_id in self._woken:
                self._woken.discard(batch_id)
                next_check = 0.0
            if next_check is not None:
                self._due_times[batch_id] = next_check
            self._change.notify_all()

    def _log_error(self, text: str, error: BaseException) -> None:
        # The same error occurs at each try: log it once.
        if text not in self.errors:
            self.errors.append(text)
            log.error("The emulator cannot continue a batch and tries again each second: %s", text, exc_info=error)

    def _step(self, batch_id: str) -> float | None:
        """Do one action of a batch; return when it is due next (epoch seconds), None where only a wake makes it due."""
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
        if not batch.input_missing and path.exists():
            found = validate_file(path, batch.endpoint, settings)
        else:
            text = cannot_find_text(batch.input_file_id, f"organization {settings.organization}")
            found = Validated(errors=[file_error("invalid_request", text, "file_id")])
        if rule := batch.fault("refuse_file"):
            code, text = rule.get("code", "invalid_request"), rule.get("message", "The file was refused.")
            found.errors = [file_error(code, text, rule.get("param"), rule.get("line"))]
        if not found.errors:
            seed = batch.id if settings.shuffle else None
            LineIndex(found.offsets, seed).save(self.execution.index_path(batch.id))
        with self._store.lock:
            if not found.errors and (problem := self.token_limit_problem(found, settings)):
                found.errors = [file_error("token_limit_exceeded", problem)]
            self._store.update(batch.id, lambda record: self._validated(record, found, settings, time.time()))
        if found.errors:
            self._clean_up(batch)

    def token_limit_problem(self, found: Validated, settings: Settings) -> str | None:
        """
        Return the message for a batch with which its model would exceed the limit on enqueued tokens, else None.

        :param found: What the check of the batch's file found.
        :param settings: Settings with the limit.
        """
        limit, active = settings.token_limit(found.model), self._store.active_batches()
        enqueued = sum(batch.enqueued_tokens for batch in active if batch.model == found.model)
        if limit is None or enqueued + found.tokens <= limit:
            return None
        return token_limit_text(found.model, settings.organization, limit)

    def _validated(self, record: BatchRecord, found: Validated, settings: Settings, now: float) -> None:
        is_cancelled = record.status == "cancelling"
        if is_cancelled and not record.fault("cancel_loses_race"):
            return  # the cancel call came first: the batch ends as one that was never validated
        record.model = found.model
        if found.errors:
            record.errors = found.errors
            lifecycle.moved(record, lifecycle.Move("failed"), now)
            return
        record.total, record.enqueued_tokens = found.total, found.tokens
        form = self._settings().facts.file_id_form
        record.output_name, record.error_name = self._store.new_file_id(form), self._store.new_file_id(form)
        record.in_progress_at = now
        is_dated = settings.dated_models and settings.upstream is None  # an upstream names its models itself
        record.shown_model = snapshot_of(found.model) if is_dated else found.model
        if not is_cancelled:
            record.status = "in_progress"

    def _move(self, batch: BatchRecord, move: lifecycle.Move, settings: Settings) -> None:
        now = time.time()
        is_end = move.status in ("completed", "expired", "cancelled")
        output, error = self._publish(batch, settings, now) if is_end else (None, None)

        def change(record: BatchRecord) -> None:
            if record.status != batch.status:
                return
            # The read that ends the batch is the first one that shows the end.
            ends_by_read = settings.pace.mode == "reads"
            record.reads -= ends_by_read
            lifecycle.moved(record, move, now)
            record.reads += ends_by_read
            record.output_file_id, record.error_file_id = output, error

        self._store.update(batch.id, change)
        if is_end:
            self._clean_up(batch)

    def _publish(self, batch: BatchRecord, settings: Settings, now: float) -> tuple[str | None, str | None]:
        """Publish the result files that are not empty, and return their ids: output file, error file."""
        if not batch.output_name:
            return None, None  # it was never validated
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
        if not batch.input_missing:
            self._store.drop_unlisted_input(batch.input_file_id)
