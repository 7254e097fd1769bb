"""The arguments of a job in named groups, and the tools that it runs with: plain values."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from airflow_provider_batch import storage
from airflow_provider_batch.api.client import BatchClient
from airflow_provider_batch.api.objects import Batch
from airflow_provider_batch.api.service import COMPLETION_WINDOW
from airflow_provider_batch.jobs.decisions import Limits
from airflow_provider_batch.jobs.identity import Identity
from airflow_provider_batch.jobs.service_clock import ServiceClock
from airflow_provider_batch.requests.prepare import RequestSpec
from airflow_provider_batch.sources.files.formats import InputFormat
from airflow_provider_batch.sources.query import Query
from airflow_provider_batch.storage import Location, Resolver

#: Seconds by which two readings of a service's clock may differ, since a `Date` has whole seconds.
CLOCK_RESOLUTION = 1.0

Raw = Literal["errors", "all", "none"]
IfExists = Literal["error", "append", "replace"]
OnEmpty = Literal["land", "skip", "fail"]
OnChangedInput = Literal["fail", "resubmit", "reuse"]
Rerun = Literal["never", "failed_rows", "all"]
Source = str | Sequence[str] | Sequence[Mapping[str, Any]] | Query


@dataclass(frozen=True)
class InputOptions:
    """
    The rows of a job.

    :param source: Files, rows, or a query.
    :param form: Format of the files, as far as it was given.
    """

    source: Source
    form: InputFormat = field(default_factory=InputFormat)


@dataclass(frozen=True)
class TableOptions:
    """
    The table of results.

    :param destination: Folder URI of the table; None where a loader lands it later.
    :param if_exists: What to do where another job's table is stored.
    :param partition_by: Columns of the table whose values become folders, outermost first.
    :param raw: Rows whose response body is kept as JSON.
    :param on_empty: What to do for a source without rows.
    """

    destination: str | None = None
    if_exists: IfExists = "error"
    partition_by: tuple[str, ...] = ()
    raw: Raw = "errors"
    on_empty: OnEmpty = "land"


@dataclass(frozen=True)
class BatchOptions:
    """
    The options of each batch at the API.

    :param metadata: The user's pairs.
    :param completion_window: Time in which the API promises an end.
    :param output_expires_after: Seconds for which the API keeps the result files; None for its default.
    """

    metadata: Mapping[str, str] = field(default_factory=dict)
    completion_window: str = COMPLETION_WINDOW
    output_expires_after: int | None = None


@dataclass(frozen=True)
class RecoveryOptions:
    """
    What a retry or a clear of the task does, and what is kept for it.

    :param on_changed_input: What to do with unfinished batches of another input.
    :param rerun: Rows that a clear of a finished job sends, and pays for, again.
    :param keep_shards: Whether the shards stay on storage after landing.
    :param delete_files: Whether this job's files at the API are deleted once the manifest is written.
    """

    on_changed_input: OnChangedInput = "fail"
    rerun: Rerun = "never"
    keep_shards: bool = False
    delete_files: bool = False


@dataclass(frozen=True)
class JobRequest:
    """
    One job; `arguments.job_request` builds it from an operator's arguments.

    :param identity: The task instance that owns the job.
    :param input: The rows.
    :param spec: What request to make of each row.
    :param state: Folder of all ledgers.
    :param table: The table of results.
    :param batch: Options of each batch.
    :param limits: Limits of the job.
    :param recovery: What a retry or a clear does.
    :param era: A number that a clear of the task changes and a retry does not.
    :param clear_number: How often the run was cleared so far; the same for all mapped instances.
    """

    identity: Identity
    input: InputOptions
    spec: RequestSpec
    state: Location
    table: TableOptions = field(default_factory=TableOptions)
    batch: BatchOptions = field(default_factory=BatchOptions)
    limits: Limits = field(default_factory=Limits)
    recovery: RecoveryOptions = field(default_factory=RecoveryOptions)
    era: int = 0
    clear_number: int = 0


@dataclass(frozen=True)
class Tools:
    """
    The client, clock and functions that a job uses; tests replace them.

    :param client: Client of the Batch API.
    :param resolve: Returns the location of a URI.
    :param clock: Returns epoch seconds. A clock that goes back, or differs between attempts, makes waits longer or
        shorter.
    :param sleep: Waits for some seconds.
    :param sibling_state: Returns Airflow's present state of the mapped instance with an index, `removed` where there is
        none; None where Airflow cannot be asked.
    :param log: Logger of the task.
    """

    client: BatchClient
    resolve: Resolver = storage.resolve
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep
    sibling_state: Callable[[int], str | None] | None = None
    log: logging.Logger = field(default_factory=lambda: logging.getLogger("airflow_provider_batch.jobs"))

    @classmethod
    def by_service_time(cls, client: BatchClient, **others: Any) -> Tools:
        """
        Return tools with the service's clock, for jobs that outlive a process.

        :param client: Client of the Batch API.
        :param others: Other fields by name.
        """
        return cls(client=client, clock=ServiceClock(client), **others)

    def has_shared_clock(self) -> bool:
        """Return whether all attempts of a job share this clock; asks the service first if needed."""
        if not isinstance(self.clock, ServiceClock):
            return True
        self.clock.ask_service()
        self.clock()
        return self.clock.is_known

    def correct_clock(self, running: Iterable[tuple[float, Batch]]) -> None:
        """
        Set the clock back where running batches disprove it, so that a jump of a worker's clock does not end a job.

        :param running: Batches that run, each with the moment at which it was asked for.
        """
        ahead = self.clock.set_back(running) if isinstance(self.clock, ServiceClock) else None
        if ahead is not None:
            self.log.warning(
                "By this machine's clock, batches should have expired at the API, and they still run: the clock is at "
                "least %.0f s ahead. The job's timeout is extended, and nothing is lost. Correct the machine's clock.",
                ahead,
            )

    def quiet_seconds_left(self, since: float, quiet_period: float) -> float:
        """
        Return the seconds until the quiet period since a moment is certainly over.

        Without a clock that all attempts share, it is not known how long ago the moment was: the whole period is left.

        :param since: Epoch seconds.
        :param quiet_period: Seconds.
        """
        if not isinstance(self.clock, ServiceClock):
            return 0.0
        if not self.has_shared_clock():
            return quiet_period
        return max(0.0, quiet_period + CLOCK_RESOLUTION - abs(self.clock() - since))

    def wall(self, moment: float) -> float:
        """
        Convert a moment of the clock to this machine's wall clock, which triggers use.

        :param moment: Epoch seconds by the clock.
        """
        return self.clock.to_wall_clock(moment) if isinstance(self.clock, ServiceClock) else moment
