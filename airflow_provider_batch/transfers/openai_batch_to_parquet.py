"""The operator that lands ended batches as a Parquet table, whoever submitted them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from airflow.providers.common.compat.sdk import BaseOperator, conf

from airflow_provider_batch.links.openai_batch import OpenAIBatchLink
from airflow_provider_batch.links.storage import OpenAIBatchTableLink
from airflow_provider_batch.utils.airflow_errors import airflow_errors
from airflow_provider_batch.utils.asset_events import add_asset_events

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context, XComArg

    from airflow_provider_batch.jobs.job_request import IfExists, Raw


class OpenAIBatchToParquetOperator(BaseOperator):
    """
    Land the results of ended batches as a Parquet dataset, with one row for each request.

    It never submits anything. A batch of ``OpenAIBatchOperator`` is matched through its ledger and gets its carried
    columns; a batch of another tool is matched through its input file. All batches must have the same endpoint.

    .. code-block:: python

        OpenAIBatchToParquetOperator(
            task_id="land",
            batch_id="{{ ti.xcom_pull('submit') }}",
            destination="s3://my-bucket/summaries/",
        )

    :param batch_id: A batch id, a list of ids, the summary that ``OpenAIBatchOperator`` returned, or a manifest or its
        URI. (templated)
    :param destination: Folder URI of the Parquet dataset. (templated)
    :param state_path: Folder URI of the ledgers. Default: the folder that the summary names, then ``[openai_batch]
        state_path``, then ``<destination>/_openai_batch``. (templated)
    :param conn_id: Connection of type ``openai_batch`` or ``openai``. (templated)
    :param if_exists: If the folder has another job's table: ``error``, ``append`` or ``replace``.
    :param partition_by: Column or columns of the table whose values become folders ``column=value``, outermost first;
        empty for none.
    :param raw: Rows whose response body is kept as JSON: ``errors``, ``all`` or ``none``.
    :param response_model: Pydantic model class or JSON Schema that parses the answers into the column ``parsed``;
        default: that of the job, for batches of ``OpenAIBatchOperator``.
    :param on_missing: If a request has no result, or a result belongs to no request: ``fail`` the task after landing
        the other rows, or ``land`` them and succeed.
    :raises OpenAIBatchTaskError: A retry can help: a batch has not ended, or the API or the storage
        is unavailable.
    :raises OpenAIBatchTaskFailed: A retry cannot help: an argument is wrong, or the account has no such batch.
    """

    template_fields: Sequence[str] = ("batch_id", "destination", "state_path", "conn_id")
    operator_extra_links = (OpenAIBatchLink(), OpenAIBatchTableLink())
    ui_color = "#d6f0e8"

    def __init__(
        self,
        *,
        batch_id: str | Sequence[str] | Mapping[str, Any] | XComArg,
        destination: str,
        state_path: str | None = None,
        conn_id: str = "openai_default",
        if_exists: IfExists = "error",
        partition_by: str | Sequence[str] = (),
        raw: Raw = "errors",
        on_missing: Literal["fail", "land"] = "fail",
        response_model: type | Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.batch_id = batch_id
        self.destination = destination
        self.state_path = state_path
        self.conn_id = conn_id
        self.if_exists = if_exists
        self.partition_by = partition_by
        self.raw = raw
        self.on_missing = on_missing
        self.response_model = response_model

    def execute(self, context: Context) -> dict[str, Any]:
        """
        Land the batches, and return a summary: counts by status, usage, cost, destination, manifest.

        :param context: Context of the task instance.
        """
        from airflow_provider_batch.hooks.openai_batch import OpenAIBatchHook
        from airflow_provider_batch.jobs.arguments import table_options
        from airflow_provider_batch.jobs.job_request import Tools
        from airflow_provider_batch.loader.load import LoadRequest, load_batches
        from airflow_provider_batch.structured.response_model import ResponseModel
        from airflow_provider_batch.utils.batch_ids import batch_ids_of
        from airflow_provider_batch.utils.object_storage import resolve_airflow

        with airflow_errors():
            batch_ids = batch_ids_of(self.batch_id, resolve_airflow)
            context["ti"].xcom_push(key="batch_ids", value=batch_ids)
            context["ti"].xcom_push(key="destination", value=self.destination)
            request = LoadRequest(
                batch_ids=batch_ids,
                destination=self.destination,
                table=table_options({name: getattr(self, name) for name in ("if_exists", "partition_by", "raw")}),
                on_missing=self.on_missing,
                state=resolve_airflow(self._state_path()),
                response_model=None if self.response_model is None else ResponseModel.of(self.response_model),
            )
            tools = Tools(client=OpenAIBatchHook(conn_id=self.conn_id).client, resolve=resolve_airflow)
            summary = load_batches(request, tools)
            add_asset_events(self, context, summary)
            return summary

    def _state_path(self) -> str:
        from airflow_provider_batch.utils.batch_ids import ledger_of
        from airflow_provider_batch.utils.object_storage import resolve_airflow

        if self.state_path:
            return self.state_path
        if (ledger := ledger_of(self.batch_id, resolve_airflow)) is not None:
            return ledger.rsplit("/", 3)[0]
        configured = conf.get("openai_batch", "state_path", fallback="")
        return str(configured or f"{self.destination.rstrip('/')}/_openai_batch")
