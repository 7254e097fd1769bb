"""`@task.openai_batch`: the operator, with `source` returned by the function."""

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
    """The operator behind the decorator. What the function returns is not templated: its text may hold `{{`."""

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

    def __init__(
        self,
        *,
        python_callable: Callable[..., Any],
        op_args: Sequence[Any] | None = None,
        op_kwargs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            python_callable=python_callable,
            op_args=op_args,
            op_kwargs=op_kwargs,
            source=SET_DURING_EXECUTION,
            **kwargs,
        )

    def execute(self, context: Context) -> dict[str, Any]:
        """Call the function for the source, then do as the operator does."""
        context_merge(context, self.op_kwargs)
        arguments = determine_kwargs(self.python_callable, self.op_args, context)
        found = self.python_callable(*self.op_args, **arguments)
        with airflow_errors():
            self._take(given(found, "the function returned", format_is_stated=self.format is not None))
        return OpenAIBatchOperator.execute(self, context)


def openai_batch_task(python_callable: Callable[..., Any] | None = None, **kwargs: Any) -> TaskDecorator:
    """
    Make a task of a function that returns a source: a URI, several, or any table of at most 10 MB.

    Rows as mappings or objects, a frame of pandas or Polars, an Arrow table, a dict of columns, a generator of these,
    or texts (their column is ``text``); see ``docs/input.md``. What is no table fails the task before anything is sent.

    :param python_callable: The function; what else the operator takes is given as keywords.
    """
    return task_decorator_factory(
        python_callable=python_callable, decorated_operator_class=_DecoratedOpenAIBatchOperator, **kwargs
    )
