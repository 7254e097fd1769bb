"""
What the API says of a model's end, read liberally: not to know it is the usual case at compatible services.

A model counts as gone only where the API says so clearly: its date is over everywhere on earth, or the refusal says in
words that it was retired. "Does not exist or you do not have access" is no such word: deployments and gateways answer
so for models that they serve.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_batch.exceptions import ApiError

#: Seconds that the answer may take: nobody has to wait for a warning.
TIMEOUT = 10.0
#: Seconds from the beginning of a day in UTC to its end in the last time zone.
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
    When a model ends.

    :param said: As the API says it.
    :param begins: Epoch seconds from which it may be gone.
    :param over: Epoch seconds from which it surely is; the same for a moment, and the end of a day for a date.
    """

    said: str
    begins: float = 0.0
    over: float = 0.0


def read_end(data: Any) -> ModelEnd | None:
    """Return when a model ends by its Model object; None where that says nothing, or nothing that can be read."""
    said = data.get("shutdown_date") if isinstance(data, Mapping) else None
    if isinstance(said, bool) or not isinstance(said, int | float | str):
        return None
    text = str(said).strip()
    try:
        if _DATE.fullmatch(text):
            moment = datetime.datetime.fromisoformat(text).replace(tzinfo=datetime.UTC).timestamp()
            return ModelEnd(text, moment, moment + _DAY)
        moment = _moment(said, text)
        shown = datetime.datetime.fromtimestamp(moment, datetime.UTC).isoformat()
    except (ValueError, OverflowError, OSError):
        return None
    return ModelEnd(shown, moment, moment)


def read_refusal(error: ApiError) -> ModelEnd | None:
    """Return the end of a model that the API no longer gives, where it clearly says that this is why."""
    if error.status_code not in (400, 404, 410) or not _RETIRED.search(str(error)):
        return None
    return ModelEnd(str(error))


def _moment(said: Any, text: str) -> float:
    if isinstance(said, int | float) or text.replace(".", "", 1).isdigit():
        return float(said)
    moment = datetime.datetime.fromisoformat(text)
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=datetime.UTC)).timestamp()
