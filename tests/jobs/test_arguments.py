"""From flat arguments to the groups of a job."""

from __future__ import annotations

import inspect
from dataclasses import MISSING, fields
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_batch import storage
from airflow_provider_batch.exceptions import ConfigurationError
from airflow_provider_batch.jobs.arguments import ARGUMENTS, GROUPS, job_request, seconds, table_options
from airflow_provider_batch.jobs.identity import Identity
from airflow_provider_batch.jobs.job_request import JobRequest
from airflow_provider_batch.operators.openai_batch import OpenAIBatchOperator
from tests.jobs.support import BODY

ENDPOINT = {"endpoint": "/v1/chat/completions", "body": BODY}


def asked(tmp_path: Path, **arguments: Any) -> JobRequest:
    state = storage.resolve(str(tmp_path))
    return job_request(Identity("dag", "task", "run"), state, [], {**ENDPOINT, **arguments})


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (timedelta(hours=3), 10_800.0),
        (5, 5.0),
        ("3600", 3_600.0),
        ("90m", 5_400.0),
        ("72h", 259_200.0),
        ("3d 12h", 302_400.0),
        ("1.5h", 5_400.0),
        ("2w", 1_209_600.0),
        ("PT72H", 259_200.0),
        ("P1DT30S", 86_430.0),
    ],
)
def test_a_time_is_a_timedelta_seconds_or_text(given: Any, expected: float) -> None:
    assert seconds(given) == expected


@given(st.integers(0, 999), st.integers(0, 999), st.integers(0, 999))
def test_parts_of_a_time_are_added(days: int, minutes: int, rest: int) -> None:
    assert seconds(f"{days}d {minutes}m{rest}s") == timedelta(days=days, minutes=minutes, seconds=rest).total_seconds()


@pytest.mark.parametrize("given", ["soon", "", "72 hours of patience", "2026-11-29", "h", "-3h"])
def test_any_other_text_is_an_error_that_names_the_argument(given: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="timeout: expected a time such as '72h'"):
        asked(tmp_path, timeout=given)


def test_a_job_lands_where_it_has_a_destination(tmp_path: Path) -> None:
    assert asked(tmp_path, destination=str(tmp_path)).limits.lands
    assert not asked(tmp_path).limits.lands


def test_values_from_templates_and_single_names_are_converted(tmp_path: Path) -> None:
    request = asked(tmp_path, sample="0.5", limit="10", partition_by="day", metadata=None)
    assert (request.spec.sample, request.spec.limit) == (0.5, 10)
    assert (request.table.partition_by, request.batch.metadata) == (("day",), {})
    assert asked(tmp_path, sample="None", limit="").spec.limit is None
    with pytest.raises(ConfigurationError, match="limit: expected a number, found 'ten'"):
        asked(tmp_path, limit="ten")


def test_the_loader_takes_the_group_of_the_table_alone() -> None:
    table = table_options({"if_exists": "append", "partition_by": ["a", "b"], "timeout": "no time"})
    assert (table.if_exists, table.partition_by) == ("append", ("a", "b"))


def test_the_operator_has_every_argument_with_the_default_of_its_group(tmp_path: Path) -> None:
    signature = inspect.signature(OpenAIBatchOperator.__init__).parameters
    given = {name: signature[name].default for name in ARGUMENTS if name not in ("endpoint", "poll_interval")}
    operators, own = asked(tmp_path, **{**given, **ENDPOINT}), asked(tmp_path)
    assert operators == own
    required = {field.name for kind in GROUPS.values() for field in fields(kind) if field.default is MISSING}
    assert required - {"endpoint", "body", "metadata"} == set()
