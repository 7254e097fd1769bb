"""What a job is asked to do, in named groups, and the tools that it does it with: plain values."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from airflow_provider_batch import storage
from airflow_provider_batch.api.client import BatchClient
from airflow_provider_batch.api.objects import Batch
from airflow_provider_batch.api.services import COMPLETION_WINDOW
from airflow_provider_batch.jobs.decisions import Limits
from airflow_provider_batch.jobs.identity import Identity
from airflow_provider_batch.jobs.service_clock import ServiceClock
from airflow_provider_batch.requests.prepare import RequestSpec
from airflow_provider_batch.sources.files.formats import InputFormat
from airflow_provider_batch.sources.query import Query
from airflow_provider_batch.storage import Location, Resolver

#: Seconds by which two readings of a service's clock may differ.
GRAIN = 1.0

Raw = Literal["errors", "all", "none"]
IfExists = Literal["error", "append", "replace"]
OnEmpty = Literal["land", "skip", "fail"]
OnChangedInput = Literal["fail", "resubmit", "reuse"]
Rerun = Literal["never", "failed_rows", "all"]
Source = str | Sequence[str] | Sequence[Mapping[str, Any]] | Query


@dataclass(frozen=True)
class InputOptions:
    """
    Where the rows come from.

    :param source: Files, rows, or a query.
    :param form: How the files are written, as far as it was stated.
    """

    source: Source
    form: InputFormat = field(default_factory=InputFormat)


@dataclass(frozen=True)
class TableOptions:
    """
    The table that comes out.

    :param destination: Folder URI of the table, or None where a loader lands it later.
    :param if_exists: What to do where another job's table is.
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
    What the API is told of each batch.

    :param metadata: The user's pairs.
    :param completion_window: Time in which the API promises an end.
    :param output_expires_after: Seconds that the API keeps the result files, or None for its default.
    """

    metadata: Mapping[str, str] = field(default_factory=dict)
    completion_window: str = COMPLETION_WINDOW
    output_expires_after: int | None = None


@dataclass(frozen=True)
class RecoveryOptions:
    """
    What a retry or a clear does, and what is kept for it.

    :param on_changed_input: What to do about unfinished batches of another input.
    :param rerun: What a clear of a finished job pays for again.
    :param keep_shards: Whether the input shards stay on storage after landing.
    :param delete_files: Whether our files at the API are deleted once the manifest is written.
    """

    on_changed_input: OnChangedInput = "fail"
    rerun: Rerun = "never"
    keep_shards: bool = False
    delete_files: bool = False


@dataclass(frozen=True)
class JobRequest:
    """
    One job, as asked for; `arguments.job_request` makes it of an operator's arguments.

    :param spec: What to make of each row.
    :param state: Folder of all ledgers.
    :param era: A number that a clear of the task changes and a retry does not.
    :param clear_number: How often the run was cleared so far, the same for all mapped instances.
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
    What a job touches the world with.

    :param clock: Epoch seconds; a clock that goes back, or differs between attempts, makes waits longer or shorter.
    :param sibling_state: Returns the state of the mapped instance with an index, as Airflow has it now, `removed` where
        there is none; None where nobody can be asked.
    """

    client: BatchClient
    resolve: Resolver = storage.resolve
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep
    sibling_state: Callable[[int], str | None] | None = None
    log: logging.Logger = field(default_factory=lambda: logging.getLogger("airflow_provider_batch.jobs"))

    @classmethod
    def by_service_time(cls, client: BatchClient, **others: Any) -> Tools:
        """Return tools whose clock is the service's: the way for jobs that outlive a process."""
        return cls(client=client, clock=ServiceClock(client), **others)

    def know_the_time(self) -> bool:
        """Return whether the clock is one that all attempts of a job share, after asking the service if need be."""
        if not isinstance(self.clock, ServiceClock):
            return True
        self.clock.ask()
        self.clock()
        return self.clock.is_known

    def doubt_the_time(self, running: Iterable[tuple[float, Batch]]) -> None:
        """
        Hold the clock back where running batches disprove it, so that a leap of a worker's clock ends no job's time.

        :param running: Batches that run, each with the moment at which it was asked for.
        """
        ahead = self.clock.hold_back(running) if isinstance(self.clock, ServiceClock) else None
        if ahead is not None:
            self.log.warning(
                "By this machine's clock batches should have expired at the API, and they are running: the clock is "
                "taken to be ahead by at least %.0f s. The job's timeout waits; set the clock right.",
                ahead,
            )

    def quiet_left(self, since: float, quiet_period: float) -> float:
        """
        Return the seconds until the quiet period since a moment is surely over.

        Times of answers have whole seconds. Where no clock is shared by all attempts, nobody can say how long ago the
        moment was: the whole period is left.
        """
        if not isinstance(self.clock, ServiceClock):
            return 0.0
        if not self.know_the_time():
            return quiet_period
        return max(0.0, quiet_period + GRAIN - abs(self.clock() - since))

    def wall(self, moment: float) -> float:
        """Return a moment of the clock as one of this machine's wall clock, for those who wait by that."""
        return self.clock.here(moment) if isinstance(self.clock, ServiceClock) else moment
