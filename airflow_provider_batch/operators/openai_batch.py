"""
The operator: arguments, templates, `defer`, `return`. The job itself is in `jobs/`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.common.compat.sdk import AirflowSkipException, BaseOperator, conf

from airflow_provider_batch.links.openai_batch import OpenAIBatchLink
from airflow_provider_batch.links.storage import OpenAIBatchLedgerLink, OpenAIBatchTableLink
from airflow_provider_batch.triggers.openai_batch import OpenAIBatchTrigger, fitting
from airflow_provider_batch.utils import metrics
from airflow_provider_batch.utils.airflow_errors import airflow_errors
from airflow_provider_batch.utils.asset_events import add_asset_events
from airflow_provider_batch.utils.state_path import find_state_path, remember_state_path
from airflow_provider_batch.utils.xcom_rows import given, rows_of, shown

if TYPE_CHECKING:
    import jinja2
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_batch.jobs.actions import Wait
    from airflow_provider_batch.jobs.job_request import IfExists, JobRequest, OnChangedInput, OnEmpty, Raw, Rerun, Tools
    from airflow_provider_batch.jobs.runner import Job

#: Largest number of batches whose ids are pushed as an XCom; the manifest always lists them.
MAX_PUSHED_BATCHES = 200


class OpenAIBatchOperator(BaseOperator):
    """
    Send every row of a table to a model through the Batch API, and land the answers as a Parquet dataset.

    The rows become input files within the API's limits (shards), and each input file becomes a batch. With
    ``deferrable`` the task waits in the triggerer, without a worker slot. The dataset has one row for each input row,
    failed ones included. A retried or cleared task re-attaches to its running batches and pays for no row twice.

    .. code-block:: python

        OpenAIBatchOperator(
            task_id="summarize",
            endpoint="/v1/chat/completions",
            source="s3://my-bucket/articles/*.parquet",
            body={"model": "gpt-6-luna", "messages": [{"role": "user", "content": "Summarize: {text}"}]},
            destination="s3://my-bucket/summaries/",
            deferrable=True,
        )

    :param endpoint: Endpoint of the API, for example ``/v1/chat/completions``.
    :param source: URI or URIs of a table (Parquet, JSONL or CSV; a file, a folder, also a hive-partitioned one, or a
        glob; any scheme that Airflow knows), or the table that an upstream task returned: rows, a frame, columns, texts
        (then their column is ``text``); see ``docs/input.md``. Without ``body`` its rows are complete request lines.
        (templated)
    :param body: Template of the request body. ``{column}`` is replaced by the row's value: as text inside a longer
        string, with its own type if it is the whole string. ``{name:number}`` (or integer, boolean, json, text)
        converts the value; ``{!name}`` writes a literal ``{name}``. (templated)
    :param response_model: Type of each answer: a Pydantic model class, or a JSON Schema as a dict. It is added to the
        body (chat completions and responses; without ``body`` it only parses). Each answer is validated and becomes the
        struct column ``parsed``; an invalid answer gets the status ``invalid_output``.
    :param format: Format of the source's files, if their names do not end in it: ``csv``, ``tsv``, ``jsonl`` or
        ``parquet``. (templated)
    :param format_options: How the files are written: for CSV and TSV ``delimiter``, ``quote``, ``escape``,
        ``escape_unquoted``, ``null_values``, ``header`` and ``encoding``, for JSONL ``encoding``. A file that does not
        match fails the task, with the option to set in the message. (templated)
    :param destination: Folder URI of the Parquet dataset. Without it nothing is landed, and
        ``OpenAIBatchToParquetOperator`` can do so later. (templated)
    :param state_path: Folder URI of ledgers and shards, reachable from every worker. Default: the configuration
        ``[openai_batch] state_path``, then ``<destination>/_openai_batch``. A job that has a ledger in any of these
        folders continues there. (templated)
    :param conn_id: Connection of type ``openai_batch`` or ``openai``. (templated)
    :param custom_id: Template of the requests' ids, at most 64 characters, unique in the job; default: the row number.
        (templated)
    :param carry: Input columns that are kept in the dataset; default: all.
    :param null_text: Text that replaces a null inside a longer string; by default such a null is an error.
    :param check_bodies: Whether the types of the values in ``body`` and in rows are checked against those that the
        endpoint takes, before anything is sent; set it to false for a service whose bodies differ from OpenAI's.
    :param sql: Query whose rows are the source, instead of ``source``. The result is read in chunks. The query does not
        run again while its job continues. (templated)
    :param sql_conn_id: Connection for the query, of any type with a SQL hook. (templated)
    :param sql_parameters: Values for the query's placeholders. (templated)
    :param filters: Conditions on the rows: ``[("lang", "=", "de"), ("n", ">", 3)]`` selects rows that satisfy both, a
        list of such lists those that satisfy any. Operators: ``=``, ``!=``, ``<``, ``<=``, ``>``, ``>=``, ``in``,
        ``not in``, ``is null``, ``is not null``; a null satisfies ``is null`` only. (templated)
    :param sample: Share of these rows, above 0 and up to 1, for a trial; each attempt selects the same rows.
        (templated)
    :param limit: Number of these rows, from the first, for a trial. (templated)
    :param data_urls: Columns of bytes, or of URIs of files, which ``body`` gets as ``data:image/png;base64,…``.
    :param max_shard_rows: Rows of one batch, at most: 1 to 50,000.
    :param max_shard_bytes: Bytes of one input file, at most; up to 200,000,000.
    :param if_exists: If ``destination`` has another job's table, or a running job has claimed the folder: ``error``
        (which also claims it), ``append`` or ``replace``. Mapped task instances that share a ``destination`` need
        ``append``.
    :param partition_by: Column or columns of the table whose values become folders ``column=value`` below
        ``destination``, outermost first: carried columns, or ``status``, ``model`` and others with few values.
    :param raw: Rows whose response body is kept as JSON: ``errors``, ``all`` or ``none``.
    :param on_empty: If the source has no rows: ``land`` an empty table, ``skip`` or ``fail``.
    :param timeout: Time since the first submission after which the job cancels its batches, lands their results and
        fails: a timedelta, seconds, or text such as ``"72h"``.
    :param poll_interval: Shortest time between two polls of a batch, in seconds; it grows with the batch's age, to 5
        minutes. Default: ``[openai_batch] poll_interval``.
    :param max_attempts: Failed executions of one row (408, 409, 429, 5xx) after which its failure is final.
    :param max_rounds: Rounds of submissions for rows without a final answer, at most.
    :param max_active_batches: Batches that run at the same time, at most; the others are submitted when these end.
    :param max_enqueued_tokens: Estimated input tokens of running batches per model, at most; further batches are
        submitted when these end. Default: no limit.
    :param max_failed: Share (float) or number (int) of rows without success above which the task fails, after landing.
        Default: it fails only if no row succeeds.
    :param on_changed_input: If the input changes while its batches are unfinished: ``fail``, ``resubmit`` the new input
        or ``reuse`` the old one.
    :param rerun: Which rows of a finished job a clear sends, and pays, again if the input is the same: ``never``,
        ``failed_rows`` or ``all``. It also decides whether a clear sends rows again whose paid answers may be lost or
        cannot be read. (templated)
    :param wait_for_completion: False: submit all batches and return; they must fit into ``max_active_batches``.
    :param cancel_on_kill: Whether a task that is marked failed or success cancels its batches.
    :param cancel_on_timeout: Whether ``timeout`` cancels the running batches.
    :param keep_shards: Keep the shards in ``state_path`` after landing.
    :param delete_files: Delete the job's files at the API after the manifest is written.
    :param metadata: Up to 12 pairs of strings for every batch. (templated)
    :param completion_window: The API's completion window; OpenAI takes only ``24h``.
    :param output_expires_after: Seconds that the API keeps result files, 3,600 to 2,592,000. Default: the API's.
    :param validate_only: Read and check the whole input, send nothing, and return what would be sent.
    :param deferrable: Wait in the triggerer; otherwise the worker polls. Default: ``[operators] default_deferrable``.
    :raises OpenAIBatchTaskError: The task failed, and a retry can help: it re-attaches to the job's batches.
    :raises OpenAIBatchTaskFailed: The task failed, and a retry cannot help: wrong input, arguments or key, or too many
        failed rows.
    :raises AirflowSkipException: The source has no rows, with ``on_empty="skip"``.
    """

    template_fields: Sequence[str] = (
        "source",
        "format",
        "format_options",
        "sql",
        "sql_conn_id",
        "sql_parameters",
        "filters",
        "sample",
        "body",
        "destination",
        "state_path",
        "conn_id",
        "custom_id",
        "limit",
        "rerun",
        "metadata",
    )
    template_fields_renderers = {"body": "json", "format_options": "json", "sql": "sql", "metadata": "json"}  # noqa: RUF012
    operator_extra_links = (OpenAIBatchLink(), OpenAIBatchTableLink(), OpenAIBatchLedgerLink())
    ui_color = "#d6f0e8"

    def __init__(
        self,
        *,
        endpoint: str,
        source: Any = None,
        format: str | None = None,  # noqa: A002
        format_options: Mapping[str, Any] | None = None,
        sql: str | None = None,
        sql_conn_id: str | None = None,
        sql_parameters: Sequence[Any] | Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        response_model: type | Mapping[str, Any] | None = None,
        destination: str | None = None,
        state_path: str | None = None,
        conn_id: str = "openai_default",
        custom_id: str | None = None,
        carry: Sequence[str] | None = None,
        null_text: str | None = None,
        check_bodies: bool = True,
        filters: Sequence[Any] | None = None,
        sample: float | str | None = None,
        limit: int | str | None = None,
        data_urls: Sequence[str] = (),
        max_shard_rows: int = 50_000,
        max_shard_bytes: int = 200_000_000,
        if_exists: IfExists = "error",
        partition_by: str | Sequence[str] = (),
        raw: Raw = "errors",
        on_empty: OnEmpty = "land",
        timeout: timedelta | float | str = timedelta(hours=72),
        poll_interval: float = conf.getfloat("openai_batch", "poll_interval", fallback=60.0),
        max_attempts: int = 3,
        max_rounds: int = 10,
        max_active_batches: int = 50,
        max_enqueued_tokens: int | None = None,
        max_failed: float | int | None = None,
        on_changed_input: OnChangedInput = "fail",
        rerun: Rerun | str = "never",
        wait_for_completion: bool = True,
        cancel_on_kill: bool = True,
        cancel_on_timeout: bool = True,
        keep_shards: bool = False,
        delete_files: bool = False,
        metadata: Mapping[str, str] | None = None,
        completion_window: str = "24h",
        output_expires_after: int | None = None,
        validate_only: bool = False,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if (source is None) == (sql is None):
            raise ValueError(f"{self.task_id}: give either source or sql, found {'none' if sql is None else 'both'}.")
        self.endpoint = endpoint
        self.source = source
        self.format = format
        self.format_options = format_options
        self.sql = sql
        self.sql_conn_id = sql_conn_id
        self.sql_parameters = sql_parameters
        self.body = body
        self.response_model = response_model
        self.destination = destination
        self.state_path = state_path
        self.conn_id = conn_id
        self.custom_id = custom_id
        self.carry = carry
        self.null_text = null_text
        self.check_bodies = check_bodies
        self.filters = filters
        self.sample = sample
        self.limit = limit
        self.data_urls = data_urls
        self.max_shard_rows = max_shard_rows
        self.max_shard_bytes = max_shard_bytes
        self.if_exists = if_exists
        self.partition_by = partition_by
        self.raw = raw
        self.on_empty = on_empty
        self.timeout = timeout
        self.poll_interval = poll_interval
        self.max_attempts = max_attempts
        self.max_rounds = max_rounds
        self.max_active_batches = max_active_batches
        self.max_enqueued_tokens = max_enqueued_tokens
        self.max_failed = max_failed
        self.on_changed_input = on_changed_input
        self.rerun = rerun
        self.wait_for_completion = wait_for_completion
        self.cancel_on_kill = cancel_on_kill
        self.cancel_on_timeout = cancel_on_timeout
        self.keep_shards = keep_shards
        self.delete_files = delete_files
        self.metadata = metadata
        self.completion_window = completion_window
        self.output_expires_after = output_expires_after
        self.validate_only = validate_only
        self.deferrable = deferrable
        self._rows: list[Mapping[str, Any]] | None = None
        self._job: Job | None = None

    def execute(self, context: Context) -> dict[str, Any]:
        """
        Start or re-attach to the job of this task instance, run it until it waits or ends, and return its summary.

        :param context: Context of the task instance.
        """
        from airflow_provider_batch.jobs.opening.attempt import open_job
        from airflow_provider_batch.jobs.opening.preparing import check_input

        with airflow_errors():
            if self.sql is None and self._rows is None:
                self._set_source(given(self.source, "the argument is", argument=True))
            request, tools = self._request(context), self._tools(context)
            if self.validate_only:
                checked = check_input(request, tools)
                add_asset_events(self, context, checked)
                return checked
            job = open_job(request, tools)
            remember_state_path(request.state, context)  # before anything is sent
            return self._advance(job, context)

    def execute_complete(
        self, context: Context, event: dict[str, Any], job: str | None = None, state: str | None = None
    ) -> dict[str, Any]:
        """
        Continue the job after the trigger's event, and return its summary when it ends.

        :param context: Context of the task instance.
        :param event: The trigger's event; not used, since the job reads its ledger and polls the API.
        :param job: Path of the job's folder below ``state``; None (``dag.test()`` drops it): this task instance's own.
        :param state: Folder URI of the ledgers; None (tasks deferred by release 0.1): it is searched.
        """
        from airflow_provider_batch.jobs.opening.attempt import resume_job

        with airflow_errors():
            return self._advance(resume_job(self._request(context, state), self._tools(context), job), context)

    def on_kill(self) -> None:
        """Cancel the running batches if the task instance is over; if its state is not known, log their ids."""
        from airflow_provider_batch.utils.cancel_on_kill import cancel_if_killed

        if self._job is not None and self.cancel_on_kill:
            cancel_if_killed(self._job)

    def _advance(self, job: Job, context: Context) -> dict[str, Any]:
        self._job = job
        rows_before = job.ledger.totals().rows
        if self.deferrable:
            wait = job.advance()
            self._push(job, context)
            self._send_metrics(job, rows_before)
            if wait is not None:
                self._wait_deferred(job, wait)
        else:
            job.advance()
            self._push(job, context)
            job.run()
            self._send_metrics(job, rows_before)
        assert job.outcome is not None
        if job.outcome.skipped:
            raise AirflowSkipException("Skipped: the source has no rows, and on_empty is 'skip'.")
        self._push(job, context)
        model = self.body.get("model") if isinstance(self.body, Mapping) else None
        add_asset_events(self, context, job.outcome.summary, model=model)
        return job.outcome.summary

    def _wait_deferred(self, job: Job, wait: Wait) -> NoReturn:
        trigger = OpenAIBatchTrigger(
            conn_id=self.conn_id,
            batch_ids=list(wait.batch_ids),
            poll_interval=self.poll_interval,
            until=job.tools.wall(wait.until),
            progress=job.progress(),
            cancel_on_kill=self.cancel_on_kill,
            ledger=None if len(fitting(wait.batch_ids)) == len(wait.batch_ids) else job.store.folder.uri,
        )
        self._job = None
        self.defer(
            trigger=trigger, method_name="execute_complete", kwargs={"job": job.key, "state": job.request.state.uri}
        )
        raise AssertionError("defer raises")

    def _push(self, job: Job, context: Context) -> None:
        """Push the job's ids and paths as XComs, which are visible while the task waits."""
        ti = context["ti"]
        xcoms: dict[str, Any] = {"job": job.ledger.job, "ledger": job.store.location.uri}
        if job.ledger.batch_count <= MAX_PUSHED_BATCHES:
            xcoms["batch_ids"] = job.ledger.batch_ids
        if self.destination is not None:
            xcoms["destination"] = self.destination
        if job.outcome is not None and "manifest" in job.outcome.summary:
            xcoms["manifest"] = job.outcome.summary["manifest"]
        for key, value in xcoms.items():
            ti.xcom_push(key=key, value=value)

    def _send_metrics(self, job: Job, rows_before: int) -> None:
        totals = job.ledger.totals()
        metrics.job(
            self.dag_id,
            self.task_id,
            rows_done=totals.rows - rows_before,
            tokens_enqueued=sum(shard.tokens for shard in job.ledger.shards_in("submitted")),
            cost_usd=None if totals.cost_usd is None else float(totals.cost_usd),
        )

    def _tools(self, context: Context) -> Tools:
        from airflow_provider_batch.hooks.openai_batch import OpenAIBatchHook
        from airflow_provider_batch.jobs.job_request import Tools
        from airflow_provider_batch.utils.object_storage import resolve_airflow
        from airflow_provider_batch.utils.task_state import task_state

        ti = context["ti"]
        return Tools.by_service_time(
            OpenAIBatchHook(conn_id=self.conn_id).client,
            resolve=resolve_airflow,
            sibling_state=lambda index: task_state(
                dag_id=ti.dag_id, task_id=ti.task_id, run_id=ti.run_id, map_index=index
            ),
        )

    def _request(self, context: Context, state: str | None = None) -> JobRequest:
        from airflow_provider_batch.jobs.arguments import ARGUMENTS, job_request
        from airflow_provider_batch.jobs.identity import Identity
        from airflow_provider_batch.utils.object_storage import resolve_airflow

        ti = context["ti"]
        identity = Identity(ti.dag_id, ti.task_id, ti.run_id, -1 if ti.map_index is None else ti.map_index)
        if state is None:
            ledgers = find_state_path(identity, context, self.state_path, self.destination)
        else:
            ledgers = resolve_airflow(state)
        quiet_period = conf.getfloat("openai_batch", "lookup_quiet_period", fallback=60.0)
        return job_request(
            identity,
            ledgers,
            self._source(),
            {**{name: getattr(self, name) for name in ARGUMENTS}, "quiet_period": quiet_period},
            format=self.format,
            format_options=self.format_options,
            era=int(getattr(ti, "max_tries", 0) or 0),
            clear_number=int(getattr(context.get("dag_run"), "clear_number", 0) or 0),
        )

    def _set_source(self, table: list[Mapping[str, Any]] | list[str] | str) -> None:
        """Store rows outside of the template fields, so that they are neither rendered nor saved; URIs stay."""
        if isinstance(table, str) or (table and isinstance(table[0], str)):
            self.source = table
        else:
            self._rows = table  # type: ignore[assignment]
            self.source = shown(self._rows or ())

    def _source(self) -> Any:
        if self.sql is not None:
            from airflow_provider_batch.utils.sql_source import query

            return query(self.sql, self.sql_conn_id, self.sql_parameters)
        return self.source if self._rows is None else self._rows

    def _do_render_template_fields(
        self,
        parent: Any,
        template_fields: Iterable[str],
        context: Context,
        jinja_env: jinja2.Environment,
        seen_oids: set[int],
    ) -> None:
        """Move rows out of ``source`` first, so that they are neither rendered nor saved as rendered fields."""
        with airflow_errors():
            is_stated = self.format is not None
            if parent is self and (rows := rows_of(self.source, context, format_is_stated=is_stated)) is not None:
                self._set_source(rows)
        super()._do_render_template_fields(parent, template_fields, context, jinja_env, seen_oids)
