"""The sensor that waits for batches, whoever submitted them."""

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
from airflow_provider_batch.polling.wait_policy import duration_text, progress_line
from airflow_provider_batch.triggers.openai_batch import OpenAIBatchTrigger, fitting
from airflow_provider_batch.utils.airflow_errors import airflow_errors
from airflow_provider_batch.utils.batch_ids import batch_ids_of
from airflow_provider_batch.utils.object_storage import resolve_airflow

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import XComArg

#: Seconds that Airflow's own timeout of the deferral is later than the trigger's, so that the trigger fires first.
SLACK = 300.0


class OpenAIBatchSensor(BaseSensorOperator):
    """
    Wait until all batches have ended, and return their ids; fail if one of them ended without success.

    Airflow's arguments of sensors work as usual: ``timeout`` (seconds) counts from the first poll in every mode;
    ``soft_fail`` skips the task instead of failing it; ``mode``, ``poke_interval``, ``exponential_backoff`` and
    ``max_wait`` apply if ``deferrable`` is false. If it is true, the time between two polls grows with a batch's age,
    and one poller serves all tasks that wait through the same connection.

    .. code-block:: python

        OpenAIBatchSensor(
            task_id="wait",
            batch_id="{{ ti.xcom_pull('submit') }}",
            timeout=36 * 3600,
            deferrable=True,
        )

    :param batch_id: A batch id, a list of ids, a job's summary, a manifest or the URI of one. (templated)
    :param conn_id: Connection of type ``openai_batch`` or ``openai``. (templated)
    :param success_statuses: Final statuses that count as success; with any other of ``completed``, ``failed``,
        ``expired`` and ``cancelled`` the task fails without retries. Expired and cancelled batches have results of the
        finished requests, which are billed.
    :param poll_interval: Shortest time between two polls of a deferred sensor, in seconds. Default: ``[openai_batch]
        poll_interval``.
    :param deferrable: Wait in the triggerer, without a worker slot. Default: ``[operators] default_deferrable``.
    :raises OpenAIBatchTaskFailed: A batch ended without success, is unknown to the account, or an argument is wrong.
    :raises AirflowSensorTimeout: The batches have not ended within ``timeout``.
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
        #: Ids of the batches that had not ended at the last poll; None if it failed.
        self._active: list[str] | None = None

    @cached_property
    def hook(self) -> OpenAIBatchHook:
        """The hook of the connection."""
        return OpenAIBatchHook(self.conn_id)

    def execute(self, context: Context) -> Any:
        """
        Wait for the batches: in the triggerer if `deferrable`, else in this worker.

        :param context: Context of the task instance.
        """
        if not self.deferrable:
            return super().execute(context)
        return self._finish_or_defer(context, time.time() + self.timeout)

    def execute_complete(self, context: Context, event: Mapping[str, Any] | None, deadline: float | None = None) -> Any:
        """
        Poll the batches again after the trigger's event, and finish or wait again.

        :param context: Context of the task instance.
        :param event: The trigger's event; not used, since the API is polled again.
        :param deadline: Epoch seconds at which `timeout` is over; None (`dag.test()` drops it): from now.
        """
        return self._finish_or_defer(context, deadline or time.time() + self.timeout, has_waited=True)

    def poke(self, context: Context) -> PokeReturnValue:
        """
        Return whether all batches have ended; an unavailable API is logged and counts as "no".

        :param context: Context of the task instance.
        :raises OpenAIBatchTaskFailed: A batch ended without success, or is unknown to the account.
        """
        ids = self._ids(context)
        with airflow_errors():
            try:
                return PokeReturnValue(is_done=self._have_ended(ids), xcom_value=ids)
            except ApiUnavailableError as error:
                self.log.warning("The batches cannot be polled now; they go on, and polling is retried: %s", error)
                return PokeReturnValue(is_done=False)

    def _have_ended(self, ids: Sequence[str]) -> bool:
        """Return whether all batches have ended; raise if one of them ended without success."""
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
                f"{'; '.join(bad)}. The requests that they finished are billed; OpenAIBatchToParquetOperator can land "
                "their results."
            )
        return True

    def _finish_or_defer(self, context: Context, deadline: float, *, has_waited: bool = False) -> Any:
        try:
            if self.poke(context).is_done:
                return self._batch_ids
            now = time.time()
            if now >= deadline:
                raise AirflowSensorTimeout(
                    f"The batches have not ended within {duration_text(self.timeout)}: {', '.join(self._batch_ids)}. "
                    "They go on, and are billed."
                )
        except AirflowException as error:  # the base class does this in its own loop, and not for each resumed task
            if self.soft_fail or self.never_fail:
                raise AirflowSkipException(f"Skipped because of soft_fail or never_fail: {error}") from error
            raise
        # If this worker cannot poll although the trigger can, pause first: the trigger would fire again at once.
        is_cut_off = has_waited and self._active is None
        self.defer(
            trigger=OpenAIBatchTrigger(
                conn_id=self.conn_id,
                # Batches that do not fit into the arguments are waited for afterwards: all have to end anyway.
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
        """Return the batch ids, and push them once as an XCom for the task's link."""
        if not self._batch_ids:
            with airflow_errors():
                self._batch_ids = batch_ids_of(self.batch_id, resolve_airflow)
            context["ti"].xcom_push(key=BATCH_IDS_KEY, value=self._batch_ids)
        return self._batch_ids


def _ending(batch: Batch) -> str:
    """Return how a batch ended, with the API's first error message."""
    text = f"{batch.id} {batch.status} with {batch.completed:,} of {batch.total:,} requests completed"
    return f"{text} ({batch.errors[0].message})" if batch.errors else text
