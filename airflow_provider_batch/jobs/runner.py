"""
Doing what `decisions` says, one action at a time, and recording each outcome before the next is asked for.

Starting, retrying, clearing and waking are one path: a ledger is opened (`opening.py`) and advanced until it waits or
is over.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn, assert_never

from airflow_provider_batch.api import statuses
from airflow_provider_batch.api.objects import Batch
from airflow_provider_batch.api.outcomes import FILE_STATUSES, Accepted, CreateOutcome, Refused, Unknown
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
from airflow_provider_batch.jobs.job_request import JobRequest, Tools
from airflow_provider_batch.jobs.landing.finishing import Outcome, finish, where_the_money_is
from airflow_provider_batch.jobs.landing.next_round import plan_round
from airflow_provider_batch.jobs.landing.shard import collect, files_never_came, trim, withdraw_late
from airflow_provider_batch.jobs.ledger import events
from airflow_provider_batch.jobs.ledger.events import Event
from airflow_provider_batch.jobs.ledger.ledger import Ledger
from airflow_provider_batch.jobs.ledger.shard_record import Ending, ShardRecord
from airflow_provider_batch.jobs.ledger.store import LedgerStore
from airflow_provider_batch.jobs.shard_files import request_lines_of
from airflow_provider_batch.jobs.submission.cancelling import cancel, cancel_duplicates, see_cancelled, unheard
from airflow_provider_batch.jobs.submission.create import (
    NotProvedAbsentError,
    batch_metadata,
    find_batches,
    find_duplicates,
    may_own,
)
from airflow_provider_batch.jobs.table_claims import check_still_claimed
from airflow_provider_batch.polling.blocking_reader import poll_batches
from airflow_provider_batch.polling.wait_policy import WaitState, progress_line


class Job:
    """A job at work: one ledger, held under one lease."""

    def __init__(self, request: JobRequest, tools: Tools, store: LedgerStore, ledger: Ledger) -> None:
        self.request, self.tools, self.store, self.ledger = request, tools, store, ledger
        self.seen: dict[str, Batch] = {}
        #: What came of it; None while it is not over.
        self.outcome: Outcome | None = None
        #: Why the outcomes of creates are unknown still, by shard.
        self.undecided: dict[str, UnknownOutcomeError] = {}

    def advance(self) -> Wait | None:
        """
        Do everything that is due, and return what to wait for; None once the job is over and `outcome` is set.

        :raises OpenAIBatchError: It cannot go on now; the message says where the money is.
        """
        self.undecided.clear()
        with self._saying_where_the_money_is():
            try:
                self._poll()
                return self._act_until_waiting()
            except ApiUnavailableError as error:
                wait = decisions.wait_out(self.ledger, self.request.limits, self.tools.clock())
                if wait is None:
                    raise
                self.tools.log.warning("The API cannot be reached; trying again in a minute: %s", error)
                return wait

    def run(self) -> Outcome:
        """Advance and wait in this process until the job is over."""
        while wait := self.advance():
            with self._saying_where_the_money_is():
                self._wait_here(wait)
        assert self.outcome is not None
        return self.outcome

    def cancel(self) -> list[str]:
        """Ask the API to cancel what runs, and return those ids; what cannot be cancelled is logged, not raised."""
        return cancel(self.tools, self.ledger.active_ids)

    def settle_and_cancel(self) -> None:
        """
        Look up what is unknown and cancel what runs, until nothing of this generation is left at work.

        :raises NotCancelledError: A batch was not seen to have ended.
        :raises UnknownOutcomeError: There may be a batch that nobody has seen.
        """
        with self._saying_where_the_money_is():
            self.tools.know_the_time()
            for shard in self.ledger.shards_in("intended"):
                quiet = self.request.limits.quiet_period
                shown_at = shard.intents[-1].last_at + quiet
                self.tools.sleep(min(quiet, max(0.0, shown_at - self.tools.clock())))
                self._resolve(shard)
            by_id = {shard.batch_id: shard for shard in self.ledger.shards_in("submitted")}
            if not by_id:
                return
            self._record(events.CancelAsked(self.tools.clock()))

            def ended(batch: Batch) -> None:
                self._record(events.Ended(by_id[batch.id].key, Ending.of(batch, self.tools.clock())))
                answered = f"; {batch.completed:,} answers are paid for, kept by the API and not used"
                self.tools.log.warning("Batch %s is %s%s.", batch.id, batch.status, answered * (batch.completed > 0))

            see_cancelled(self.tools, self.ledger.active_ids, ended, poll_interval=self.request.limits.poll_interval)

    def land_all(self) -> None:
        """Land what has ended, so that the parts are as they were when the job was finished."""
        limits = self.request.limits
        while isinstance(action := decisions.next_action(self.ledger, {}, limits, 0.0), actions.Land | actions.Trim):
            self._act(action)

    @property
    def key(self) -> str:
        """Where the job's folder is below the state path."""
        return f"{self.ledger.identity.run_key}/{self.ledger.job}"

    def progress(self) -> dict[str, float | int | None]:
        """Return what a progress line needs to know of the shards that are not watched any more."""
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
    def _saying_where_the_money_is(self) -> Iterator[None]:
        try:
            with self.store.holding(self.ledger):
                yield
        except OpenAIBatchError as error:
            error.consequence = error.consequence or where_the_money_is(self.ledger, self.store.location.uri)
            raise

    def _poll(self) -> None:
        active = self.ledger.active_ids
        if active:
            self.seen.update(poll_batches(self.tools.client, active))
            self.tools.doubt_the_time(
                (shard.intents[-1].at, self.seen[shard.batch_id or ""]) for shard in self.ledger.each_in("submitted")
            )
            closing = self.ledger.closing
            if closing is not None and closing.reason == "timeout" and self.ledger.cancel_asked_at is not None:
                cancel(self.tools, unheard(active, self.seen))  # it was refused or lost: it is asked for again
        if self.ledger.first_submitted_at is not None:
            self.tools.know_the_time()
        for duplicate in find_duplicates(self.tools.client, self.ledger, self.tools.clock()):
            self.tools.log.warning("Batch %s is a duplicate that showed late; it is cancelled.", duplicate.id)
            cancel(self.tools, [duplicate.id])

    def _act_until_waiting(self) -> Wait | None:
        while True:
            undecided, limits = frozenset(self.undecided), self.request.limits
            action = decisions.next_action(self.ledger, self.seen, limits, self.tools.clock(), undecided)
            if isinstance(action, Wait):
                if undecided and not self.ledger.active_ids:  # nothing that could end: a person has to know
                    raise next(iter(self.undecided.values()))
                return action
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
                    self._stays_unknown(key, error)
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
                raise files_never_came(self.ledger.shard(key), self.seen)
            case actions.Requeue(shard=key, error=error, retry_at=retry_at):
                self._record(events.Requeued(key, error, retry_at, action.passes, action.upload_again))
                self.tools.log.warning("Shard %s was not let in (%s); it is sent again later.", key, error)
            case actions.Close(closing=closing):
                self._record(events.Closed(closing))
                self.tools.log.warning("%s; nothing more is sent.", closing.message)
            case actions.Land(shard=key):
                self._land(self.ledger.shard(key))
            case actions.Trim(shard=key):
                self._record_written(trim(self.request, self.tools, self.ledger, self.ledger.shard(key)))
            case actions.Cancel():
                asked = self.cancel()  # before it is recorded: an attempt that dies in between has to cancel again
                self._record(events.CancelAsked(now))
                self.tools.log.warning("Cancelled on time-out: %s.", ", ".join(asked) or "nothing")
                self._poll()
            case actions.PlanRound(number=number):
                folder = self.store.shards(self.ledger.generation)
                planned = plan_round(self.ledger, number, self.request.spec, folder)
                rows = sum(shard.rows for shard in planned)
                self._record(events.RoundPlanned(planned))
                self.tools.log.info("Round %d: %s rows go again, in %d shards.", number, f"{rows:,}", len(planned))
            case actions.Submit(shard=key):
                self._submit(self.ledger.shard(key))
            case Wait() | Finish():
                raise AssertionError("handled before")
            case _:
                assert_never(action)

    def _record_written(self, event: events.Landed | events.Trimmed) -> None:
        """Record what was written to the destination, or remove it where a later attempt has taken the job over."""
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
            file_id = self._upload(shard)
            self._record(events.Uploaded(shard.key, file_id))
        check_still_claimed(request, self.tools, self.store, self.ledger)
        self._record(events.Intended(shard.key, self.tools.clock()))
        number = self.ledger.shard(shard.key).intents[-1].number
        outcome = client.create(
            input_file_id=file_id,
            endpoint=self.ledger.endpoint,
            metadata=batch_metadata(self.ledger, shard, number, request.batch.metadata),
            completion_window=request.batch.completion_window,
            output_expires_after=request.batch.output_expires_after,
        )
        match self._seen_through(outcome, file_id):
            case Accepted(batch=batch):
                with self._disowning(shard, batch):
                    self._accept(shard, batch)
            case Refused() as refused:
                self._refuse(shard, refused)
            case Unknown(error=error):
                self._record(events.Unanswered(shard.key, self.tools.clock()))
                self.tools.log.warning(
                    "Shard %s: no clear answer to its create (%s); it is looked up.", shard.key, error
                )

    def _upload(self, shard: ShardRecord) -> str:
        folder = self.store.shards(self.ledger.generation)
        with request_lines_of(folder, shard) as path, path.open("rb") as lines:
            return self.tools.client.upload(lines, f"{self.ledger.job}-g{self.ledger.generation}-{shard.key}.jsonl")

    def _accept(self, shard: ShardRecord, batch: Batch) -> None:
        self.seen[batch.id] = batch
        self._record(events.Accepted(shard.key, batch.id, self.tools.clock()))
        self.tools.log.info("Shard %s (%s rows) is batch %s.", shard.key, f"{shard.rows:,}", batch.id)

    @contextmanager
    def _disowning(self, shard: ShardRecord, batch: Batch) -> Iterator[None]:
        """Cancel a batch a later attempt knows nothing of: this one was held between its last check and its POST."""
        try:
            yield
        except JobTakenError:
            stored = self.store.load()
            if stored is not None and not may_own(stored, self.ledger.generation, shard.key, batch.id):
                self.tools.log.warning("Batch %s came after a later attempt's and is cancelled.", batch.id)
                with suppress(ApiError):
                    self.tools.client.cancel(batch.id)
            raise

    def _refuse(self, shard: ShardRecord, refused: Refused) -> None:
        now, shard = self.tools.clock(), self.ledger.shard(shard.key)
        file_status = self._file_status(shard.file_id, refused)
        retry = refusals.after_refused_create(shard, refused, file_status)
        if retry is None:
            self._give_up(shard, refused, file_status)
        at = decisions.file_retry_at if retry.is_about_file else decisions.queue_retry_at
        retry_at = at(shard, now)
        error = str(refused.error)
        self._record(events.Refused(shard.key, error, retry_at, retry.is_counted, retry.upload_again))
        self.tools.log.warning("Shard %s is sent again in %.0f s: %s", shard.key, retry_at - now, refused.error)

    def _give_up(self, shard: ShardRecord, refused: Refused, file_status: str | None) -> NoReturn:
        too_often = refusals.given_up(shard, refused, file_status)
        passes = too_often is not None
        self._record(events.Refused(shard.key, str(refused.error), passes=passes, upload_again=passes))
        if too_often is None:
            raise refused.error
        raise too_often from refused.error

    def _seen_through(self, outcome: CreateOutcome, file_id: str) -> CreateOutcome:
        """Return a conflict (409) as the refusal that it is, where the file itself says that it is not ready."""
        if not isinstance(outcome, Unknown) or outcome.error.status_code != 409:
            return outcome
        refused = Refused(outcome.error, file_not_ready=True)
        return refused if self._file_status(file_id, refused) in statuses.FILE_PENDING else outcome

    def _file_status(self, file_id: str | None, refused: Refused) -> str | None:
        """Ask what the API says of the file, where a refusal may be about it."""
        if file_id is None or refused.queue_full or refused.error.status_code not in FILE_STATUSES:
            return None
        try:
            return self.tools.client.file_status(file_id)
        except ApiError as error:
            self.tools.log.warning("The status of file %s is not known: %s", file_id, error)
            return None

    def _resolve(self, shard: ShardRecord) -> None:
        found = find_batches(self.tools.client, self.ledger, shard)
        left = self.tools.quiet_left(shard.intents[-1].last_at, self.request.limits.quiet_period)
        if not found and left > 0:
            self.tools.sleep(left)
            found = find_batches(self.tools.client, self.ledger, shard)
        if not found:
            self._record(events.Absent(shard.key))
            self.tools.log.info("Shard %s: its create made no batch.", shard.key)
            return
        cancel_duplicates(self.tools, found)
        self._accept(shard, found[0])

    def _stays_unknown(self, key: str, error: UnknownOutcomeError) -> None:
        self.tools.log.warning("%s", error)
        if self.ledger.shard(key).given_up and isinstance(error, NotProvedAbsentError):
            self._record(events.Absent(key))
            self.tools.log.warning("Shard %s is sent again, since the task was cleared with a rerun.", key)
        else:
            self.undecided[key] = error
            if isinstance(error, NotProvedAbsentError):
                self._note_unclear(key)

    def _land(self, shard: ShardRecord) -> None:
        """Land a shard; where that fails, land the others that can be, and note all that a person has to decide on."""
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
        landed = collect(self.request, self.tools, self.store, self.ledger, shard)
        self._record_written(landed)
        landing = landed.landing
        self.tools.log.info(
            "Shard %s landed: %s rows (%s), %s to go again.",
            shard.key, f"{landing.rows:,}", _counts(landing.statuses), f"{landing.retry_rows:,}",
        )  # fmt: skip
        if landing.unreadable or landing.duplicates or landing.foreign:
            self.tools.log.warning(
                "Shard %s: %d result lines cannot be read, %d came twice, %d are of other requests.",
                shard.key, landing.unreadable, landing.duplicates, landing.foreign,
            )  # fmt: skip
        if landing.unreadable_file is not None:
            self.tools.log.warning("The lines that cannot be read are kept as they came: %s.", landing.unreadable_file)
        if landing.unfetched:
            self.tools.log.warning(
                "Shard %s: %d videos could not be fetched; clear the task to land again while the API keeps them.",
                shard.key, landing.unfetched,
            )  # fmt: skip

    def _wait_here(self, wait: Wait) -> None:
        """Poll until the wait is over: the blocking twin of the trigger."""
        wait_state = WaitState(wait.batch_ids, until=wait.until)
        last_line = ""
        while True:
            try:
                seen = poll_batches(self.tools.client, wait_state.active)
            except ApiUnavailableError as error:
                self.tools.log.warning("Looking at the batches failed; trying again: %s", error)
                seen = {}
            now = self.tools.clock()
            wake = wait_state.update(seen, now=now)
            line = progress_line(self.progress(), wait_state.latest)
            if line != last_line:
                self.tools.log.info("%s", line)
                last_line = line
            if wake:
                return
            self.tools.sleep(wait_state.delay(now, self.request.limits.poll_interval))


def _counts(by_status: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {status}" for status, count in sorted(by_status.items())) or "none final"
