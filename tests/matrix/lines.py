"""The lines of the matrix, as data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Release:
    """
    One release of Airflow.

    :param version: The newest patch of a minor version.
    :param until: Day after its upload to the package index. Airflow's own dependencies are taken as they were then: as
        its constraint files have them. Several old releases fail with newer ones.
    """

    version: str
    until: str


RELEASES: Mapping[str, Release] = {
    "2.11": Release("2.11.2", "2026-03-16"),
    "3.0": Release("3.0.6", "2025-08-31"),
    "3.1": Release("3.1.8", "2026-03-13"),
    "3.2": Release("3.2.2", "2026-05-31"),
    "3.3": Release("3.3.2", "2026-09-19"),
}

#: Tests of what Airflow calls and shows.
FACE = (
    "tests/compatibility",
    "tests/decorators",
    "tests/hooks",
    "tests/links",
    "tests/operators",
    "tests/sensors",
    "tests/test_provider_info.py",
    "tests/test_public_names.py",
    "tests/transfers",
    "tests/triggers",
    "tests/utils",
)
#: Whole jobs with real processes: one waits in the triggerer, is cleared once, and its table is compared; the asset of
#: another one starts a DAG.
JOB = ("tests/system/test_main_job.py", "tests/system/test_assets.py")
#: Each example DAG, with real processes.
EXAMPLES = ("tests/example_dags",)
#: Name of a part → the tests that it runs.
PARTS: Mapping[str, Sequence[str]] = {"Airflow face": FACE, "whole job": JOB, "example DAGs": EXAMPLES}
#: The newest line runs everything.
ALL: Mapping[str, Sequence[str]] = {"all tests": ("tests",)}


@dataclass(frozen=True, slots=True)
class Line:
    """
    One environment of the matrix.

    :param airflow: Minor version of Airflow, a key of `RELEASES`.
    :param python: Minor version of Python.
    :param is_lowest: Whether the dependencies of `pyproject.toml` are the lowest that it allows, else the newest.
    :param runs_everything: Whether all tests run, else those of `PARTS`.
    """

    airflow: str
    python: str
    is_lowest: bool = False
    runs_everything: bool = False

    @property
    def parts(self) -> Mapping[str, Sequence[str]]:
        """Name of a part → the tests that it runs."""
        if (
            self.is_lowest
        ):  # with the lowest pydantic that it allows, the API server of Airflow 3.3 itself does not start
            return {name: PARTS[name] for name in ("Airflow face",)}
        return ALL if self.runs_everything else PARTS

    @property
    def name(self) -> str:
        """Name of the line and of its folder."""
        return f"airflow-{self.airflow}-python-{self.python}" + ("-lowest" if self.is_lowest else "")


LINES = (
    Line("2.11", "3.11"),
    Line("2.11", "3.12"),
    Line("3.0", "3.11"),
    Line("3.0", "3.12"),
    Line("3.1", "3.11"),
    Line("3.1", "3.13"),
    Line("3.2", "3.12"),
    Line("3.2", "3.14"),
    Line("3.3", "3.11", is_lowest=True),
    Line("3.3", "3.12"),
    Line("3.3", "3.13"),
    Line("3.3", "3.14"),
    Line("3.3", "3.11", runs_everything=True),
)

#: Dependencies whose versions the page names.
SHOWN = ("openai", "pyarrow", "pydantic", "msgspec", "pendulum", "fsspec", "apache-airflow-providers-common-compat")
