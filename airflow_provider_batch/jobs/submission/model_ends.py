"""
Models that end before their requests are answered: asked once for each model of a job, before anything is submitted.

A model that is gone is refused, as the API would refuse the file after its upload; one that ends while the job may run
is warned of. What cannot be known stops nothing: many services have no such route, or no date.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable

from airflow_provider_batch.api.models import ModelEnd
from airflow_provider_batch.exceptions import ApiError, ApiUnavailableError, ConfigurationError
from airflow_provider_batch.jobs.job_request import Tools

#: Models that are asked for; a job with more has them from a column.
MOST = 20
#: Seconds that the API gives a batch.
WINDOW = 24 * 3600.0


def check_models(models: Iterable[str | None], timeout: float, tools: Tools) -> None:
    """
    Warn of models that end within a job's time.

    :param timeout: Seconds that the job may take.
    :raises ConfigurationError: A model is gone.
    """
    for model in list(dict.fromkeys(model for model in models if model))[:MOST]:
        try:
            end = tools.client.model_end(model)
        except ApiUnavailableError:
            return  # it would be as slow for the others
        except ApiError:
            continue
        if end is not None:
            _check(model, end, tools.clock(), max(timeout, WINDOW), tools)


def _check(model: str, end: ModelEnd, now: float, within: float, tools: Tools) -> None:
    if now >= end.over:
        said = f"since {end.said}" if end.begins else f"says the API: {end.said}"
        raise ConfigurationError(
            f"body: model '{model}' is gone, {said}. Every request would be refused: name a model that is served. "
            "Nothing was sent."
        )
    if now + within >= end.begins:
        last = datetime.datetime.fromtimestamp(now + within, datetime.UTC)
        tools.log.warning(
            "Model %s ends on %s; this job may run until %s. Requests that are not answered by then will fail: name "
            "another model soon.",
            model, end.said, last.isoformat(timespec="minutes"),
        )  # fmt: skip
