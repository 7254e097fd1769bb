"""`@task.openai_batch`: the operator as a TaskFlow decorator; the function returns its `source`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import (
    SET_DURING_EXECUTION,
    DecoratedOperator,
    TaskDecorator,
    context_merge,
    determine_kwargs,
    task_decorator_factory,
)

from airflow_provider_batch.operators.openai_batch import OpenAIBatchOperator
from airflow_provider_batch.utils.airflow_errors import airflow_errors
from airflow_provider_batch.utils.xcom_rows import given

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


class _DecoratedOpenAIBatchOperator(DecoratedOperator, OpenAIBatchOperator):
    """The operator of the decorator. The function's return value is not templated, since it may contain `{{`."""

    custom_operator_name = "@task.openai_batch"
    template_fields: Sequence[str] = (
        *DecoratedOperator.template_fields,
        *(
            name
            for name in OpenAIBatchOperator.template_fields
            if name not in ("source", "sql", "sql_conn_id", "sql_parameters")
        ),
    )
    template_fields_renderers = {  # noqa: RUF012
        **DecoratedOperator.template_fields_renderers,
        **OpenAIBatchOperator.template_fields_renderers,
    }

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(source=SET_DURING_EXECUTION, **kwargs)

    def execute(self, context: Context) -> dict[str, Any]:
        """Call the function for the source, then run the operator."""
        context_merge(context, self.op_kwargs)
        arguments = determine_kwargs(self.python_callable, self.op_args, context)
        returned = self.python_callable(*self.op_args, **arguments)
        with airflow_errors():
            self._set_source(given(returned, "the function returned", format_is_stated=self.format is not None))
        return OpenAIBatchOperator.execute(self, context)


def openai_batch_task(python_callable: Callable[..., Any] | None = None, **kwargs: Any) -> TaskDecorator:
    """
    Make a task from a function that returns the source of a job: one or more URIs, or a table of at most 10 MB.

    A table is a list of mappings or objects, a pandas or Polars frame, an Arrow table, a dict of columns, a generator
    of these, or a list of texts (their column is ``text``); see ``docs/input.md``. Any other return value fails the
    task before anything is sent.

    .. code-block:: python

        @task.openai_batch(
            endpoint="/v1/chat/completions",
            body={"model": "gpt-6-luna", "messages": [{"role": "user", "content": "Summarize: {text}"}]},
            destination="s3://my-bucket/summaries/",
        )
        def summaries() -> list[str]:
            return ["First article …", "Second article …"]

    :param python_callable: The function.
    :param kwargs: Arguments of ``OpenAIBatchOperator``, except ``source`` and ``sql``.
    """
    return task_decorator_factory(
        python_callable=python_callable, decorated_operator_class=_DecoratedOpenAIBatchOperator, **kwargs
    )
