"""Wait for batches, whoever submitted them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseSensorOperator,
    Context,
    PokeReturnValue,
    conf,
)

from airflow_provider_batch.api import statuses
from airflow_provider_batch.api.objects import Batch
from airflow_provider_batch.exceptions import ApiUnavailableError, JobFailedError
from airflow_provider_batch.hooks.openai_batch import OpenAIBatchHook
from airflow_provider_batch.links.openai_batch import BATCH_IDS_KEY, OpenAIBatchLink
from airflow_provider_batch.polling.blocking_reader import poll_batches
from airflow_provider_batch.polling.wait_policy import progress_line
from airflow_provider_batch.triggers.openai_batch import OpenAIBatchTrigger, fitting
from airflow_provider_batch.utils.airflow_errors import airflow_errors
from airflow_provider_batch.utils.batch_ids import batch_ids_of
from airflow_provider_batch.utils.object_storage import resolve_airflow

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import XComArg

#: Seconds that Airflow's own time-out of a deferral leaves the trigger to say "due" first.
SLACK = 300.0


class OpenAIBatchSensor(BaseSensorOperator):
    """
    Wait until batches have ended, then succeed if all of them ended well. The return value is the list of their ids.

    It keeps Airflow's contract for sensors: ``timeout`` counts from the first look, whatever the mode; ``soft_fail``
    turns a time-out or a bad end into a skip; ``mode``, ``exponential_backoff`` and ``max_wait`` say when to look
    without ``deferrable``. Deferred, the time between two looks grows with the batches' age by itself, and one watcher
    looks at the batches of all tasks that wait through the same connection.

    :param batch_id: An id, a list of ids, a job's summary, a manifest or the path of one. Templated.
    :param conn_id: Id of the Airflow connection. Templated.
    :param success_statuses: Statuses that count as ended well; any other of ``failed``, ``expired`` and ``cancelled``
        fails the task, without retries. Results of expired and cancelled batches are kept, and billed.
    :param poll_interval: Seconds; the shortest time between two looks of a deferred sensor, growing with the batches'
        age. The modes ``poke`` and ``reschedule`` go by ``poke_interval``.
    :param deferrable: Wait in the triggerer, without a worker slot.
    """

    template_fields: Sequence[str] = ("batch_id", "conn_id")
    ui_color = "#d9f2e6"
    operator_extra_links = (OpenAIBatchLink(),)

    def __init__(
        self,
        *,
        batch_id: str | Sequence[Any] | Mapping[str, Any] | XComArg,
        conn_id: str = OpenAIBatchHook.default_conn_name,
        success_statuses: Sequence[str] = (statuses.COMPLETED,),
        poll_interval: float = conf.getfloat("openai_batch", "poll_interval", fallback=60.0),
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.batch_id = batch_id
        self.conn_id = conn_id
        self.success_statuses = success_statuses
        self.poll_interval = poll_interval
        self.deferrable = deferrable
        self._batch_ids: list[str] = []
        #: Those that had not ended at the last look; None where it has shown nothing.
        self._active: list[str] | None = None

    @cached_property
    def hook(self) -> OpenAIBatchHook:
        """The connection's hook."""
        return OpenAIBatchHook(self.conn_id)

    def execute(self, context: Context) -> Any:
        """Wait here, or in the triggerer."""
        if not self.deferrable:
            return super().execute(context)
        try:
            return self._finish_or_defer(context, time.time() + self.timeout)
        except AirflowException as error:  # the base class does this for its own loop, and when a deferred task resumes
            if self.soft_fail or self.never_fail:
                raise AirflowSkipException(f"Skipped, as soft_fail or never_fail says: {error}") from error
            raise

    def execute_complete(self, context: Context, event: Mapping[str, Any] | None, deadline: float | None = None) -> Any:
        """
        Look again: the event says no more than that.

        :param deadline: Epoch seconds at which the sensor's time-out is over; `dag.test()` does not hand it on.
        """
        return self._finish_or_defer(context, deadline or time.time() + self.timeout, has_waited=True)

    def poke(self, context: Context) -> PokeReturnValue:
        """Return whether all batches have ended; a server that is away for a while is no failure."""
        ids = self._ids(context)
        with airflow_errors():
            try:
                return PokeReturnValue(is_done=self._have_ended(ids), xcom_value=ids)
            except ApiUnavailableError as error:
                self.log.warning("The batches cannot be looked at, trying on: %s", error)
                return PokeReturnValue(is_done=False)

    def _have_ended(self, ids: Sequence[str]) -> bool:
        """Return whether all have; raise when one of them has ended in a way that is no success."""
        self._active = None
        batches = poll_batches(self.hook.client, ids)
        self._active = [batch_id for batch_id in ids if not batches[batch_id].has_ended]
        self.log.info("%s", progress_line(None, batches))
        if not all(batch.has_ended for batch in batches.values()):
            return False
        bad = [_ending(batch) for batch in batches.values() if batch.status not in self.success_statuses]
        if bad:
            raise JobFailedError(
                f"{len(bad)} of {len(batches)} batches did not end as {' or '.join(self.success_statuses)}: "
                f"{'; '.join(bad)}. What they finished is kept by the API, billed, and can be landed."
            )
        return True

    def _finish_or_defer(self, context: Context, deadline: float, *, has_waited: bool = False) -> Any:
        if self.poke(context).is_done:
            return self._batch_ids
        now = time.time()
        if now >= deadline:
            raise AirflowSensorTimeout(
                f"The batches have not ended within {self.timeout:,.0f} seconds: {', '.join(self._batch_ids)}"
            )
        # The trigger may have seen an end that this worker cannot: waiting for it again, the two would spin.
        is_cut_off = has_waited and self._active is None
        self.defer(
            trigger=OpenAIBatchTrigger(
                conn_id=self.conn_id,
                # Those that do not fit are waited for afterwards: the wait is for the last of all.
                batch_ids=[] if is_cut_off else fitting(self._batch_ids if self._active is None else self._active),
                poll_interval=self.poll_interval,
                until=min(deadline, now + self.poll_interval) if is_cut_off else deadline,
                cancel_on_kill=False,
                wait_for_all=True,
            ),
            method_name="execute_complete",
            kwargs={"deadline": deadline},
            timeout=timedelta(seconds=deadline - now + SLACK),
        )
        return None

    def _ids(self, context: Context) -> list[str]:
        """Return the batches' ids, and tell them to the link on the task, once."""
        if not self._batch_ids:
            with airflow_errors():
                self._batch_ids = batch_ids_of(self.batch_id, resolve_airflow)
            context["ti"].xcom_push(key=BATCH_IDS_KEY, value=self._batch_ids)
        return self._batch_ids


def _ending(batch: Batch) -> str:
    """Return how a batch ended, with the first reason that the API gives."""
    text = f"{batch.id} {batch.status} with {batch.completed:,} of {batch.total:,} requests completed"
    return f"{text} ({batch.errors[0].message})" if batch.errors else text
