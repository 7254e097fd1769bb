"""
Runs a job: does the action that `decisions` returns, records its outcome, and asks for the next one.

A start, a retry, a clear and a resumed task are one path: the ledger is opened (`opening/attempt.py`), and the job
advances until it waits or is over.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn, assert_never

from airflow_provider_batch.api.endpoints import Endpoint
from airflow_provider_batch.api.objects import Batch
from airflow_provider_batch.api.outcomes import Accepted, Refused, Unknown
from airflow_provider_batch.exceptions import (
    ApiError,
    ApiUnavailableError,
    JobTakenError,
    OpenAIBatchError,
    ResultsMissingError,
    ResultsUnclearError,
    UnknownOutcomeError,
)
from airflow_provider_batch.jobs import actions, decisions, refusals
from airflow_provider_batch.jobs.actions import Finish, Wait
from airflow_provider_batch.jobs.blocking_wait import wait_here
from airflow_provider_batch.jobs.job_request import JobRequest, Tools
from airflow_provider_batch.jobs.landing.finishing import Outcome, billing_state, finish
from airflow_provider_batch.jobs.landing.next_round import plan_round
from airflow_provider_batch.jobs.landing.shard import (
    land_results,
    log_landing,
    missing_files_error,
    trim,
    withdraw_late,
)
from airflow_provider_batch.jobs.ledger import events
from airflow_provider_batch.jobs.ledger.events import Event
from airflow_provider_batch.jobs.ledger.ledger import Ledger
from airflow_provider_batch.jobs.ledger.shard_record import Ending, ShardRecord
from airflow_provider_batch.jobs.ledger.store import LedgerStore
from airflow_provider_batch.jobs.shard_files import request_lines_of
from airflow_provider_batch.jobs.submission.cancelling import cancel, cancel_and_wait, cancel_duplicates, not_cancelling
from airflow_provider_batch.jobs.submission.create import (
    NotProvedAbsentError,
    batch_metadata,
    clear_outcome,
    file_is_processed,
    file_status,
    find_batches,
    find_duplicates,
    may_own,
)
from airflow_provider_batch.jobs.table_claims import check_still_claimed
from airflow_provider_batch.polling.blocking_reader import poll_batches


class Job:
    """
    A job at work: one ledger under one lease.

    :param request: The job's arguments.
    :param tools: Its client, clock and functions.
    :param store: Store of its ledger.
    :param ledger: Its ledger.
    """

    def __init__(self, request: JobRequest, tools: Tools, store: LedgerStore, ledger: Ledger) -> None:
        self.request, self.tools, self.store, self.ledger = request, tools, store, ledger
        self.seen: dict[str, Batch] = {}
        #: The outcome; None while the job is not over.
        self.outcome: Outcome | None = None
        #: Why the outcomes of creates are unknown, by shard key.
        self.undecided: dict[str, UnknownOutcomeError] = {}
        #: Events of the ledger when a look-up last had no result.
        self._undecided_at = 0

    def advance(self) -> Wait | None:
        """
        Do everything that is due, and return what to wait for; None once the job is over and `outcome` is set.

        :raises OpenAIBatchError: The job cannot continue now; the message says what is billed and where the ledger is.
        """
        self.undecided.clear()
        with self._with_consequence():
            try:
                self._poll()
                return self._act_until_waiting()
            except ApiUnavailableError as error:
                wait = decisions.wait_for_api(self.ledger, self.request.limits, self.tools.clock())
                if wait is None:
                    raise
                self.tools.log.warning("The API cannot be reached; trying again in a minute: %s", error)
                return wait

    def run(self) -> Outcome:
        """
        Advance and wait in this process until the job is over, and return its outcome.

        :raises OpenAIBatchError: The job cannot continue now, or counts as failed.
        """
        while wait := self.advance():
            with self._with_consequence():
                wait_here(self.tools, wait, self.progress(), self.request.limits.poll_interval)
        assert self.outcome is not None
        return self.outcome

    def cancel(self) -> list[str]:
        """Ask the API to cancel running batches, and return the ids it accepted; what cannot be cancelled is logged."""
        return cancel(self.tools, self.ledger.active_ids)

    def settle_and_cancel(self) -> None:
        """
        Look up unknown outcomes and cancel what runs, until no batch of this generation is running.

        :raises NotCancelledError: No poll has shown the end of a batch.
        :raises UnknownOutcomeError: There may be a batch that the list has not shown.
        """
        with self._with_consequence():
            self.tools.has_shared_clock()
            for shard in self.ledger.shards_in("intended"):
                quiet = self.request.limits.quiet_period
                shown_at = shard.intents[-1].last_at + quiet
                self.tools.sleep(min(quiet, max(0.0, shown_at - self.tools.clock())))
                self._resolve(shard)
            by_id = {shard.batch_id: shard for shard in self.ledger.shards_in("submitted")}
            if not by_id:
                return
            self._record(events.CancelAsked(self.tools.clock()))

            def on_end(batch: Batch) -> None:
                self._record(events.Ended(by_id[batch.id].key, Ending.of(batch, self.tools.clock())))
                unused = f"; {batch.completed:,} answers are paid for, kept by the API and not used"
                self.tools.log.warning("Batch %s is %s%s.", batch.id, batch.status, unused * (batch.completed > 0))

            cancel_and_wait(self.tools, self.ledger.active_ids, on_end, poll_interval=self.request.limits.poll_interval)

    def land_all(self) -> None:
        """
        Land every shard that has ended, and trim parts, so that the parts are as they were when the job was finished.
        """
        limits = self.request.limits
        while isinstance(action := decisions.next_action(self.ledger, {}, limits, 0.0), actions.Land | actions.Trim):
            self._act(action)

    @property
    def key(self) -> str:
        """Path of the job's folder below the state path."""
        return f"{self.ledger.identity.run_key}/{self.ledger.job}"

    def progress(self) -> dict[str, float | int | None]:
        """Return what a progress line needs of the shards that are not polled any more."""
        totals = self.ledger.totals()
        sent_again = sum(shard.landing.unsuccessful for shard in self.ledger.untrimmed if shard.landing is not None)
        return {
            "shards": len(self.ledger.shards),
            "shards_done": self.ledger.count_in("ended", "landed"),
            "rows": self.ledger.rows,
            "rows_done": totals.rows - sent_again,
            "cost": None if totals.cost_usd is None else float(totals.cost_usd),
        }

    @contextmanager
    def _with_consequence(self) -> Iterator[None]:
        try:
            with self.store.checking_lease(self.ledger):
                yield
        except OpenAIBatchError as error:
            error.consequence = error.consequence or billing_state(self.ledger, self.store.location.uri)
            raise

    def _poll(self) -> None:
        active = self.ledger.active_ids
        if active:
            self.seen.update(poll_batches(self.tools.client, active))
            if self.tools.client.settings.service.batches_expire:
                self.tools.correct_clock(
                    (shard.intents[-1].at, self.seen[shard.batch_id or ""])
                    for shard in self.ledger.each_in("submitted")
                )
            closing = self.ledger.closing
            if closing is not None and closing.reason == "timeout" and self.ledger.cancel_asked_at is not None:
                cancel(self.tools, not_cancelling(active, self.seen))  # the first cancel was refused or lost
        if self.ledger.first_submitted_at is not None:
            self.tools.has_shared_clock()
        for duplicate in find_duplicates(self.tools.client, self.ledger, self.tools.clock()):
            self.tools.log.warning("Batch %s is a duplicate that the API showed late; it is cancelled.", duplicate.id)
            cancel(self.tools, [duplicate.id])

    def _act_until_waiting(self) -> Wait | None:
        while True:
            undecided, limits = frozenset(self.undecided), self.request.limits
            action = decisions.next_action(self.ledger, self.seen, limits, self.tools.clock(), undecided)
            if isinstance(action, Wait):
                if not undecided or self.ledger.active_ids:
                    return action
                if self.ledger.sequence == self._undecided_at:  # nothing else runs: the task has to fail
                    raise next(iter(self.undecided.values()))
                self.undecided.clear()  # the list may show more than when other batches ran: it is read once more
                continue
            if isinstance(action, Finish):
                self.outcome = finish(action, self.request, self.tools, self.store, self.ledger)
                self.ledger = self.outcome.ledger
                self.outcome.raise_if_failed()
                return None
            self._act(action)

    def _act(self, action: actions.Action) -> None:  # noqa: C901 - one flat table of actions
        now = self.tools.clock()
        match action:
            case actions.Resolve(shard=key):
                try:
                    self._resolve(self.ledger.shard(key))
                except UnknownOutcomeError as error:
                    self._keep_unknown(key, error)
            case actions.RecordEnd(shard=key, batch=batch):
                self._record(events.Ended(key, Ending.of(batch, now)))
                self.tools.log.info(
                    "Shard %s: batch %s is %s (%s of %s rows, %s failed).",
                    key, batch.id, batch.status, f"{batch.completed:,}", f"{batch.total:,}", f"{batch.failed:,}",
                )  # fmt: skip
            case actions.NoteLate(shard=key):
                self._record(events.Late(key, now))
                self.tools.log.warning("Shard %s: its batch has ended and has no output file yet.", key)
            case actions.GiveUpOnFiles(shard=key):
                raise missing_files_error(self.ledger.shard(key), self.seen)
            case actions.Requeue(shard=key, error=error, retry_at=retry_at):
                self._record(events.Requeued(key, error, retry_at, action.passes, action.upload_again))
                self.tools.log.warning(
                    "The batch of shard %s was refused as a whole (%s); the shard is sent again later.", key, error
                )
            case actions.Close(closing=closing):
                self._record(events.Closed(closing))
                self.tools.log.warning("%s; nothing more is sent.", closing.message)
            case actions.Land(shard=key):
                self._land(self.ledger.shard(key))
            case actions.Trim(shard=key):
                self._record_written(trim(self.request, self.tools, self.ledger, self.ledger.shard(key)))
            case actions.Cancel():
                cancelled = self.cancel()  # first: an attempt that dies before the record cancels again
                self._record(events.CancelAsked(now))
                self.tools.log.warning("Cancelled on time-out: %s.", ", ".join(cancelled) or "nothing")
                self._poll()
            case actions.PlanRound(number=number):
                folder = self.store.shards(self.ledger.generation)
                planned = plan_round(self.ledger, number, self.request.spec, folder)
                rows = sum(shard.rows for shard in planned)
                self._record(events.RoundPlanned(planned))
                self.tools.log.info("Round %d: %s rows are sent again in %d shards.", number, f"{rows:,}", len(planned))
            case actions.Submit(shard=key):
                self._submit(self.ledger.shard(key))
            case Wait() | Finish():
                raise AssertionError("handled before")
            case _:
                assert_never(action)

    def _record_written(self, event: events.Landed | events.Trimmed) -> None:
        """Record what was written to the destination, or remove it where a later attempt has taken over the job."""
        try:
            self._record(event)
        except JobTakenError:
            withdraw_late(self.request, self.tools, self.ledger, self.store.load(), event)
            raise

    def _record(self, event: Event) -> None:
        self.ledger = self.store.record(self.ledger, event)

    def _submit(self, shard: ShardRecord) -> None:
        client, request = self.tools.client, self.request
        self.store.check_lease(self.ledger)
        file_id = shard.file_id
        if file_id is None:
            try:
                file_id = self._upload(shard)
            except ApiError as not_taken:
                if not refusals.may_upload_later(not_taken):
                    raise
                self._postpone(shard, str(not_taken), decisions.queue_retry_at(shard, self.tools.clock()))
                return
            self._record(events.Uploaded(shard.key, file_id))
        if not file_is_processed(self.tools, shard, file_id):
            retry_at = decisions.file_retry_at(shard, self.tools.clock())
            self._postpone(shard, f"The service has not processed file {file_id} yet.", retry_at, passes=True)
            return
        check_still_claimed(request, self.tools, self.store, self.ledger)
        self._record(events.Intended(shard.key, self.tools.clock()))
        number = self.ledger.shard(shard.key).intents[-1].number
        outcome = client.create(
            input_file_id=file_id,
            endpoint=client.settings.service.url_of(Endpoint(self.ledger.endpoint)),
            metadata=batch_metadata(self.ledger, shard, number, request.batch.metadata),
            completion_window=request.batch.completion_window,
            output_expires_after=request.batch.output_expires_after,
        )
        match clear_outcome(self.tools, outcome, file_id):
            case Accepted(batch=batch):
                with self._cancelling_if_overtaken(shard, batch):
                    self._accept(shard, batch)
            case Refused() as refused:
                self._refuse(shard, refused)
            case Unknown(error=error):
                self._record(events.Unanswered(shard.key, self.tools.clock()))
                self.tools.log.warning(
                    "Shard %s: no clear response to its create (%s); it is looked up.", shard.key, error
                )

    def _upload(self, shard: ShardRecord) -> str:
        folder = self.store.shards(self.ledger.generation)
        with request_lines_of(folder, shard) as path, path.open("rb") as lines:
            name = f"{self.ledger.job}-g{self.ledger.generation}-{shard.key}.jsonl"
            expires_after = self.tools.client.settings.service.input_expiry
            return self.tools.client.upload(lines, name, expires_after=expires_after)

    def _postpone(self, shard: ShardRecord, why: str, retry_at: float, *, passes: bool = False) -> None:
        now = self.tools.clock()
        self._record(events.Postponed(shard.key, why, now, retry_at, passes))
        self.tools.log.warning("Shard %s is sent in %.0f s: %s", shard.key, retry_at - now, why)

    def _accept(self, shard: ShardRecord, batch: Batch) -> None:
        self.seen[batch.id] = batch
        self._record(events.Accepted(shard.key, batch.id, self.tools.clock()))
        self.tools.log.info("Shard %s (%s rows) is batch %s.", shard.key, f"{shard.rows:,}", batch.id)

    @contextmanager
    def _cancelling_if_overtaken(self, shard: ShardRecord, batch: Batch) -> Iterator[None]:
        """Cancel a batch that the ledger of a later attempt does not know: this attempt was paused before its POST."""
        try:
            yield
        except JobTakenError:
            stored = self.store.load()
            if stored is not None and not may_own(stored, self.ledger.generation, shard.key, batch.id):
                self.tools.log.warning("A later attempt has taken over; batch %s is cancelled.", batch.id)
                with suppress(ApiError):
                    self.tools.client.cancel(batch.id)
            raise

    def _refuse(self, shard: ShardRecord, refused: Refused) -> None:
        now, shard = self.tools.clock(), self.ledger.shard(shard.key)
        status = file_status(self.tools, shard.file_id, refused)
        retry = refusals.after_refused_create(shard, refused, status)
        if retry is None:
            self._give_up(shard, refused, status)
        at = decisions.file_retry_at if retry.is_about_file else decisions.queue_retry_at
        retry_at = at(shard, now)
        error = str(refused.error)
        self._record(events.Refused(shard.key, error, retry_at, retry.is_counted, retry.upload_again))
        self.tools.log.warning("Shard %s is sent again in %.0f s: %s", shard.key, retry_at - now, refused.error)

    def _give_up(self, shard: ShardRecord, refused: Refused, status: str | None) -> NoReturn:
        too_often = refusals.refused_too_often(shard, refused, status)
        passes = too_often is not None
        self._record(events.Refused(shard.key, str(refused.error), passes=passes, upload_again=passes))
        if too_often is None:
            raise refused.error
        raise too_often from refused.error

    def _resolve(self, shard: ShardRecord) -> None:
        found = find_batches(self.tools.client, self.ledger, shard)
        left = self.tools.quiet_seconds_left(shard.intents[-1].last_at, self.request.limits.quiet_period)
        if not found and left > 0:
            self.tools.sleep(left)
            found = find_batches(self.tools.client, self.ledger, shard)
        if not found:
            self._record(events.Absent(shard.key))
            self.tools.log.info("Shard %s: its create made no batch.", shard.key)
            return
        cancel_duplicates(self.tools, found)
        self._accept(shard, found[0])

    def _keep_unknown(self, key: str, error: UnknownOutcomeError) -> None:
        self.tools.log.warning("%s", error)
        if self.ledger.shard(key).given_up and isinstance(error, NotProvedAbsentError):
            self._record(events.Absent(key))
            self.tools.log.warning("Shard %s is sent again, since the task was cleared with a rerun.", key)
        else:
            self.undecided[key] = error
            if isinstance(error, NotProvedAbsentError):
                self._note_unclear(key)
            self._undecided_at = self.ledger.sequence

    def _land(self, shard: ShardRecord) -> None:
        """Land a shard; if that fails, land the other ended shards, and record all that a person has to decide on."""
        try:
            self._land_one(shard)
        except (ResultsMissingError, ResultsUnclearError):
            self._note_unclear(shard.key)
            for other in [other for other in self.ledger.shards_in("ended") if other.key != shard.key]:
                try:
                    self._land_one(other)
                except (ResultsMissingError, ResultsUnclearError) as error:
                    self._note_unclear(other.key)
                    self.tools.log.warning("%s", error)
            raise

    def _note_unclear(self, key: str) -> None:
        if not self.ledger.shard(key).unclear:
            self._record(events.Unclear(key))

    def _land_one(self, shard: ShardRecord) -> None:
        landed = land_results(self.request, self.tools, self.store, self.ledger, shard)
        self._record_written(landed)
        log_landing(self.tools.log, shard.key, landed.landing)
