"""What tests take from Airflow and what has another place, or none, in some of the versions that are supported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from airflow import __version__
from packaging.version import Version

#: Version of the Airflow that runs the tests.
AIRFLOW = Version(Version(__version__).base_version)

try:
    from airflow.sdk.exceptions import AirflowRescheduleException
except ImportError:  # before 3.2
    from airflow.exceptions import AirflowRescheduleException

try:
    from airflow.sdk.serde import allow_class, deserialize, serialize
except ImportError:  # before 3.2
    from airflow.serialization.serde import deserialize, serialize

    def allow_class(cls: type) -> None:
        """Allow the class to be read from an XCom."""
        from airflow.serialization import serde

        serde._extra_allowed.add(f"{cls.__module__}.{cls.__qualname__}")


try:
    from airflow.serialization.serialized_objects import DagSerialization
except ImportError:  # before 3.2
    from airflow.serialization.serialized_objects import SerializedDAG as DagSerialization

try:
    from airflow.observability.stats import Stats as TriggererStats
except ImportError:  # before 3.2
    from airflow.stats import Stats as TriggererStats

try:
    from airflow.sdk.definitions._internal.mixins import ResolveMixin
except ImportError:  # Airflow 2
    from airflow.utils.mixins import ResolveMixin

#: Airflow's value of `next_method` for a trigger that failed; 2.11 has no name for it.
TRIGGER_FAIL_REPR = "__fail__"

__all__ = [
    "AIRFLOW",
    "TRIGGER_FAIL_REPR",
    "AirflowRescheduleException",
    "DagSerialization",
    "ResolveMixin",
    "TriggererStats",
    "allow_class",
    "dag_bag",
    "deserialize",
    "serialize",
]


def dag_bag(path: Path) -> Any:
    """
    Return the DAGs of a file.

    :param path: The file.
    """
    try:
        from airflow.dag_processing.dagbag import DagBag
    except ImportError:  # before 3.2
        from airflow.models.dagbag import DagBag
    return DagBag(path)


def needs_airflow(version: str, reason: str) -> pytest.MarkDecorator:
    """
    Return a mark that skips a test on an older Airflow.

    :param version: First version that has what the test needs, such as "3.3".
    :param reason: What an older Airflow lacks.
    """
    return pytest.mark.skipif(Version(version) > AIRFLOW, reason=f"Airflow {version}: {reason}")
