"""
Builds the groups of a job from the flat arguments of the operator, the decorator, the loader and the command line.

An argument has the name of its group's field. The groups are the only list of arguments and of their defaults. Values
are converted here: numbers that a template made text, times such as ``"72h"``, one name instead of several.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from datetime import timedelta
from typing import Any, TypeVar

import pendulum

from airflow_provider_batch.exceptions import ConfigurationError
from airflow_provider_batch.jobs.decisions import Limits
from airflow_provider_batch.jobs.identity import Identity
from airflow_provider_batch.jobs.job_request import (
    BatchOptions,
    InputOptions,
    JobRequest,
    RecoveryOptions,
    TableOptions,
)
from airflow_provider_batch.requests.prepare import RequestSpec
from airflow_provider_batch.requests.validation import endpoint_of
from airflow_provider_batch.sources.files.formats import InputFormat
from airflow_provider_batch.storage import Location
from airflow_provider_batch.structured.response_model import ResponseModel

_Number = TypeVar("_Number", int, float)

#: Groups of a `JobRequest` whose fields are arguments.
GROUPS: Mapping[str, type[Any]] = {
    "spec": RequestSpec,
    "table": TableOptions,
    "batch": BatchOptions,
    "limits": Limits,
    "recovery": RecoveryOptions,
}
_GROUP_OF = {field.name: group for group, kind in GROUPS.items() for field in fields(kind)}
#: Fields that follow from other arguments, or from where the job runs.
_DERIVED = {"lands", "by_any", "quiet_period", "url", "base64_vectors", "creates"}
#: All arguments of a job but those of its input, in the order of the groups.
ARGUMENTS = tuple(name for name in _GROUP_OF if name not in _DERIVED)

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_DURATION = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([smhdw])\s*")


def job_request(
    identity: Identity,
    state: Location,
    source: Any,
    arguments: Mapping[str, Any],
    *,
    format: str | None = None,  # noqa: A002
    format_options: Mapping[str, Any] | None = None,
    era: int = 0,
    clear_number: int = 0,
) -> JobRequest:
    """
    Return the job that the arguments describe.

    :param identity: The task instance that owns the job.
    :param state: Folder of all ledgers.
    :param source: Files, rows, or a query.
    :param arguments: Values by the names in `ARGUMENTS`; a missing one has its default.
    :param format: Format of the source's files, where their names do not say it.
    :param format_options: Options of that format.
    :param era: A number that a clear of the task changes and a retry does not.
    :param clear_number: How often the run was cleared so far.
    :raises ConfigurationError: A value cannot be read.
    """
    groups = {group: kind(**_of_group(group, arguments)) for group, kind in GROUPS.items()}
    limits = replace(groups.pop("limits"), lands=groups["table"].destination is not None)
    given = InputOptions(source, InputFormat.of(format, format_options))
    return JobRequest(
        identity=identity, input=given, state=state, limits=limits, era=era, clear_number=clear_number, **groups
    )


def table_options(arguments: Mapping[str, Any]) -> TableOptions:
    """
    Return the group of the table alone, which is the only one of the loader.

    :param arguments: Values by name; those of other groups are ignored.
    """
    return TableOptions(**_of_group("table", arguments))


def _of_group(group: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    given = {name: value for name, value in arguments.items() if _GROUP_OF.get(name) == group}
    return {name: _CONVERSIONS[name](value) if name in _CONVERSIONS else value for name, value in given.items()}


def seconds(value: timedelta | float | str) -> float:
    """
    Return a time in seconds.

    :param value: A timedelta, seconds, or text: ``"72h"``, ``"3d 12h"``, ``"90m"``, or ISO 8601 as ``"PT72H"``.
    :raises ConfigurationError: The text is none of these.
    """
    if isinstance(value, timedelta):
        return value.total_seconds()
    if not isinstance(value, str):
        return float(value)
    if (parts := _DURATION.findall(value)) and not _DURATION.sub("", value):
        return sum(pendulum.duration(**{_UNITS[unit]: float(count)}).total_seconds() for count, unit in parts)
    try:
        return float(value)
    except ValueError:
        pass
    try:
        found = pendulum.parse(value)
    except ValueError:
        found = None
    if not isinstance(found, pendulum.Duration):
        raise ConfigurationError(f"expected a time such as '72h', '3d 12h', 'PT72H' or seconds, found {value!r}.")
    return found.total_seconds()


def _named(name: str, convert: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a conversion whose error names the argument."""

    def converted(value: Any) -> Any:
        try:
            return convert(value)
        except ConfigurationError as error:
            raise ConfigurationError(f"{name}: {error}") from error

    return converted


def _number(name: str, kind: Callable[[str], _Number]) -> Callable[[Any], _Number | None]:
    """Return a conversion for a number that may have passed a template, which makes text of None too."""

    def converted(value: Any) -> _Number | None:
        if value in (None, "", "None"):
            return None
        try:
            return kind(str(value))
        except ValueError as error:
            raise ConfigurationError(f"{name}: expected a number, found {value!r}.") from error

    return converted


def _names(value: str | Any | None) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value or ())


_CONVERSIONS: Mapping[str, Callable[[Any], Any]] = {
    "endpoint": endpoint_of,
    "response_model": lambda model: model if model is None else ResponseModel.of(model),
    "sample": _number("sample", float),
    "limit": _number("limit", int),
    "data_urls": _names,
    "timeout": _named("timeout", seconds),
    "partition_by": _names,
    "output_expires_after": _number("output_expires_after", int),
    "metadata": lambda pairs: dict(pairs or {}),
}
