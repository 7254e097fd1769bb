"""
The main job as an Airflow operator: arguments, templates, `defer`, `return`. What happens in between is decided in
`jobs/`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.common.compat.sdk import AirflowSkipException, BaseOperator, conf

from airflow_provider_batch.links.openai_batch import OpenAIBatchLink
from airflow_provider_batch.triggers.openai_batch import OpenAIBatchTrigger, fitting
from airflow_provider_batch.utils import metrics
from airflow_provider_batch.utils.airflow_errors import airflow_errors
from airflow_provider_batch.utils.state_path import find_state_path, remember_state_path
from airflow_provider_batch.utils.xcom_rows import given, rows_of, shown

if TYPE_CHECKING:
    import jinja2
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_batch.jobs.actions import Wait
    from airflow_provider_batch.jobs.job_request import IfExists, JobRequest, OnChangedInput, OnEmpty, Raw, Rerun, Tools
    from airflow_provider_batch.jobs.runner import Job

#: Batch ids that are pushed as an XCom of their own; above, the manifest lists them.
MAX_PUSHED_BATCHES = 200


class OpenAIBatchOperator(BaseOperator):
    """
    Answer every row of a table with a model, at batch price, with no worker slot held while the vendor works.

    The table is cut into input files within every limit of the API, each becomes a batch, the task defers, and the
    answers come back as a Parquet dataset with one row for each input row. A retry or a clear goes on with the
    batches that are in flight.

    :param endpoint: Endpoint of the API, for example ``/v1/chat/completions``.
    :param source: URI or URIs of a table (Parquet, JSONL, CSV; a file, a folder, also a hive-partitioned one, or a
        glob; any scheme that Airflow knows), or the table that an upstream task returned: rows, a frame, columns, texts
        (then their column is ``text``); see ``docs/input.md``. Without ``body`` its rows are ready-made request lines.
        (templated)
    :param body: The request's body. ``{column}`` stands for the row's value: as text inside a longer string, as the
        value itself alone; ``{name:number}`` (or integer, boolean, json, text) converts; ``{!name}`` writes a literal
        ``{name}``. (templated)
    :param response_model: What each answer has to be: a Pydantic model class, or a JSON Schema as a dict. It is added
        to the body (chat completions and responses; without ``body`` it only parses). Each answer is validated and
        lands as the struct column ``parsed``; one that is something else has the status ``invalid_output``.
    :param format: Format of the source's files, where their names do not say it: ``csv``, ``tsv``, ``jsonl`` or
        ``parquet``. (templated)
    :param format_options: How the files are written: for CSV and TSV ``delimiter``, ``quote``, ``escape``,
        ``escape_unquoted``, ``null_values``, ``header`` and ``encoding``, for JSONL ``encoding``. A file that looks
        like something else is an error that names the option to give. (templated)
    :param destination: Folder URI of the Parquet dataset. Without it nothing is landed, and
        ``OpenAIBatchToParquetOperator`` does it later. (templated)
    :param state_path: Folder URI of ledgers and shards, reachable from every worker. Default: the configuration
        ``[openai_batch] state_path``, then ``<destination>/_openai_batch``. A job goes on where its ledger is, in
        whichever of these places. (templated)
    :param conn_id: Connection of type ``openai_batch`` or ``openai``. (templated)
    :param custom_id: Template of a request's id, at most 64 characters, unique over the job; default the row number.
        (templated)
    :param carry: Input columns kept beside the answer; default all.
    :param null_text: Text that stands for a null inside a longer string; by default such a null is an error.
    :param check_bodies: Whether the types of values in ``body`` and in rows are checked against what the endpoint takes
        before anything is sent; false for a service whose bodies differ from OpenAI's.
    :param sql: Query whose rows are the source; instead of ``source``. It is read in chunks, and not run again while
        the job that it began goes on. (templated)
    :param sql_conn_id: Connection that the query runs over, of any type with a hook for SQL. (templated)
    :param sql_parameters: Values for the query's placeholders. (templated)
    :param filters: Which rows are wanted: ``[("lang", "=", "de"), ("n", ">", 3)]`` means both, a list of such lists
        means any of them. Operators: ``=``, ``!=``, ``<``, ``<=``, ``>``, ``>=``, ``in``, ``not in``, ``is null``,
        ``is not null``; a null is true for ``is null`` alone. (templated)
    :param sample: Share of these rows, above 0 and up to 1, for a trial; every attempt picks the same ones. (templated)
    :param limit: Only the first of these rows, for a trial. (templated)
    :param data_urls: Columns of bytes, or of URIs of files, that ``body`` holds as ``data:image/png;base64,…``.
    :param max_shard_rows: Rows of one batch at the most, 1 to 50,000.
    :param max_shard_bytes: Bytes of one input file at the most, up to 200,000,000.
    :param if_exists: What to do where another job's table stands in ``destination``, or a job that is at work has
        claimed the folder: ``error`` (which claims it too), ``append`` or ``replace``. Mapped instances that share a
        ``destination`` need ``append``.
    :param partition_by: Column or columns of the table whose values become folders ``column=value`` below
        ``destination``, outermost first: carried columns, or ``status``, ``model`` and others with few values.
    :param raw: Rows whose response body is kept as JSON: ``errors``, ``all`` or ``none``.
    :param on_empty: For a source without rows: ``land`` an empty table, ``skip`` or ``fail``.
    :param timeout: Time from the first submission after which the job cancels, lands and fails: a timedelta, seconds,
        or text such as ``"72h"``.
    :param poll_interval: Seconds between two looks at the batches, at the least; they grow with a batch's age. Default:
        ``[openai_batch] poll_interval``.
    :param max_attempts: Failed executions of one row (408, 409, 429, 5xx) after which it keeps its failure.
    :param max_rounds: Passes of submissions for rows that are without a final answer.
    :param max_active_batches: Batches that run at the same time; the rest waits for its wave.
    :param max_enqueued_tokens: Estimated input tokens that wait at the API per model; the rest waits for its wave.
    :param max_failed: Share (float) or count (int) of rows without success past which the task fails, after landing.
    :param on_changed_input: While batches of an old input are unfinished: ``fail``, ``resubmit`` or ``reuse``.
    :param rerun: What a cleared, finished job with the same input pays for again: ``never``, ``failed_rows`` or
        ``all``; and whether a clear sends rows again whose paid answers may be lost or not understood. (templated)
    :param wait_for_completion: False submits all batches and returns; they have to fit in one wave.
    :param cancel_on_kill: Whether a task that is marked failed or success cancels its batches.
    :param cancel_on_timeout: Whether ``timeout`` cancels what still runs.
    :param keep_shards: Keep the input shards in ``state_path`` after landing.
    :param delete_files: Delete our files at the API once the manifest stands.
    :param metadata: Up to 12 pairs of strings for every batch. (templated)
    :param completion_window: The API's window; ``24h`` is the only one OpenAI takes.
    :param output_expires_after: Seconds that the API keeps result files, 3,600 to 2,592,000.
    :param validate_only: Read and check the whole input, send nothing, and return what would be sent.
    :param deferrable: Wait in the triggerer; otherwise the worker polls. Default: ``[operators] default_deferrable``.
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
    operator_extra_links = (OpenAIBatchLink(),)
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
        """Begin or re-attach to this task instance's job, and advance it until it waits or is over."""
        from airflow_provider_batch.jobs.opening.attempt import open_job
        from airflow_provider_batch.jobs.opening.preparing import check_input

        with airflow_errors():
            if self.sql is None and self._rows is None:
                self._take(given(self.source, "the argument is", argument=True))
            request, tools = self._request(context), self._tools(context)
            if self.validate_only:
                return check_input(request, tools)
            job = open_job(request, tools)
            remember_state_path(request.state, context)  # before anything is sent
            return self._advance(job, context)

    def execute_complete(
        self, context: Context, event: dict[str, Any], job: str | None = None, state: str | None = None
    ) -> dict[str, Any]:
        """
        Go on with the job that the task waited for.

        What is believed is the ledger and the API: the event only says that it is time to look.

        :param job: Where the job's folder is; without it (``dag.test()`` drops it) the task instance's own.
        :param state: URI of the folder of ledgers; without it (tasks that release 0.1 deferred) it is looked for.
        """
        from airflow_provider_batch.jobs.opening.attempt import resume_job

        with airflow_errors():
            return self._advance(resume_job(self._request(context, state), self._tools(context), job), context)

    def on_kill(self) -> None:
        """
        Cancel what runs, if the task instance is really over; in doubt the batches go on and their ids are logged.
        """
        from airflow_provider_batch.utils.cancel_on_kill import cancel_if_killed

        if self._job is not None and self.cancel_on_kill:
            cancel_if_killed(self._job)

    def _advance(self, job: Job, context: Context) -> dict[str, Any]:
        self._job = job
        rows_before = job.ledger.totals().rows
        if self.deferrable:
            wait = job.advance()
            self._push(job, context)
            self._tell_metrics(job, rows_before)
            if wait is not None:
                self._wait_deferred(job, wait)
        else:
            job.advance()
            self._push(job, context)
            job.run()
            self._tell_metrics(job, rows_before)
        assert job.outcome is not None
        if job.outcome.skipped:
            raise AirflowSkipException("The source has no rows, and on_empty='skip'.")
        self._push(job, context)
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
        """Push what is known, so that it can be seen while the task waits."""
        ti = context["ti"]
        known: dict[str, Any] = {"job": job.ledger.job, "ledger": job.store.location.uri}
        if job.ledger.batch_count <= MAX_PUSHED_BATCHES:
            known["batch_ids"] = job.ledger.batch_ids
        if self.destination is not None:
            known["destination"] = self.destination
        if job.outcome is not None and "manifest" in job.outcome.summary:
            known["manifest"] = job.outcome.summary["manifest"]
        for key, value in known.items():
            ti.xcom_push(key=key, value=value)

    def _tell_metrics(self, job: Job, rows_before: int) -> None:
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

    def _take(self, found: list[Mapping[str, Any]] | list[str] | str) -> None:
        """Keep rows aside, where neither Jinja nor the table of rendered fields sees them; addresses are the source."""
        if isinstance(found, str) or (found and isinstance(found[0], str)):
            self.source = found
        else:
            self._rows = found  # type: ignore[assignment]
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
        """Take rows out of ``source`` first: they reach neither Jinja nor the table of rendered fields."""
        with airflow_errors():
            is_stated = self.format is not None
            if parent is self and (rows := rows_of(self.source, context, format_is_stated=is_stated)) is not None:
                self._take(rows)
        super()._do_render_template_fields(parent, template_fields, context, jinja_env, seen_oids)
