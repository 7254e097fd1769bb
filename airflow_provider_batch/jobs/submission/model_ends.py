"""
Checks for models that shut down before their requests are answered, once for each model, before anything is submitted.

A model that is gone is an error before the upload, as the API would refuse its batch. A model that shuts down while the
job may run is logged as a warning. Unknown dates change nothing: many services have no such route, or no date.
"""

from __future__ import annotations

from collections.abc import Iterable

import pendulum

from airflow_provider_batch.api.models import ModelEnd
from airflow_provider_batch.exceptions import ApiError, ApiUnavailableError, ConfigurationError
from airflow_provider_batch.jobs.job_request import Tools

#: Models that are checked, at most; a job with more reads them from a column.
MAX_MODELS = 20
#: Seconds in which the API promises the end of a batch.
WINDOW = 24 * 3600.0


def check_models(models: Iterable[str | None], timeout: float, tools: Tools) -> None:
    """
    Warn of models that shut down within a job's time.

    :param models: Names of models; None where requests name none.
    :param timeout: Seconds that the job may take.
    :param tools: Tools of the job.
    :raises ConfigurationError: A model is gone.
    """
    for model in list(dict.fromkeys(model for model in models if model))[:MAX_MODELS]:
        try:
            end = tools.client.model_end(model)
        except ApiUnavailableError:
            return  # it would be as slow for the others
        except ApiError:
            continue
        if end is not None:
            _check(model, end, tools.clock(), max(timeout, WINDOW), tools)


def _check(model: str, end: ModelEnd, now: float, within: float, tools: Tools) -> None:
    if now >= end.latest:
        reason = f"since {end.text}" if end.earliest else f"says the API: {end.text}"
        raise ConfigurationError(
            f"body: model '{model}' is gone, {reason}. Every request would be refused. Nothing was sent. Name a model "
            "that the API serves."
        )
    if now + within >= end.earliest:
        last = pendulum.from_timestamp(now + within)
        tools.log.warning(
            "Model %s shuts down on %s; this job may run until %s. Requests that are not answered by then will fail. "
            "Name another model soon.",
            model, end.text, last.format("YYYY-MM-DD HH:mm [UTC]"),
        )  # fmt: skip
