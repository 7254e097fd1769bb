"""
Read a model's shutdown date from the API. Most compatible services do not give one.

A model counts as retired only if the API clearly says so: its shutdown date has passed in every time zone, or the error
text says that it was retired. "Does not exist or you do not have access" is not enough: gateways say this of models
that they serve.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from airflow_provider_batch.api.lenient_json import mapping_in, moment_in
from airflow_provider_batch.exceptions import ApiError

#: Timeout of the call in seconds: it only serves a warning.
TIMEOUT = 10.0
#: Seconds from the start of a day in UTC to its end in the last time zone.
_DAY = 36 * 3600.0
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_RETIRED = re.compile(
    r"\b(?:has|have|was|were|is|been)\b[^.]{0,40}"
    r"\b(?:deprecated|retired|shut ?down|discontinued|decommissioned|sunset)\b"
    r"|no longer (?:available|supported|served)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class ModelEnd:
    """
    When a model is shut down.

    :param text: The API's own text: a date, a moment or an error message.
    :param earliest: Epoch seconds from which the model may be shut down.
    :param latest: Epoch seconds from which it certainly is: for a date, the end of that day in the last time zone.
    """

    text: str
    earliest: float = 0.0
    latest: float = 0.0


def read_end(data: Any) -> ModelEnd | None:
    """
    Return the shutdown date of a Model object; None if it has none, or one that cannot be parsed.

    :param data: The Model object as decoded JSON.
    """
    said = mapping_in(data).get("shutdown_date")
    day = said.strip() if isinstance(said, str) and _DATE.fullmatch(said.strip()) else None
    moment = moment_in(said if day is None else f"{day} 00:00")
    if moment is None or day is not None:
        return None if moment is None else ModelEnd(str(day), moment, moment + _DAY)
    import pendulum

    return ModelEnd(pendulum.from_timestamp(moment).isoformat(), moment, moment)


def read_refusal(error: ApiError) -> ModelEnd | None:
    """
    Return the end of a retired model from the error of retrieving it; None if the error does not say so clearly.

    :param error: The API's error.
    """
    if error.status_code not in (400, 404, 410) or not _RETIRED.search(str(error)):
        return None
    return ModelEnd(str(error))
