"""The command explains itself and refuses what it does not know."""

from __future__ import annotations

import subprocess
import sys

import pytest

from airflow_provider_batch.emulator.settings import Settings


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "airflow_provider_batch.emulator", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


def test_help_names_every_flag_with_an_example() -> None:
    shown = command("--help").stdout
    for flag in ("--port", "--host", "--folder", "--progress", "--clock-speed", "--upstream", "--settings", "--fault"):
        assert flag in shown
    assert "Example: python -m airflow_provider_batch.emulator" in shown


def test_every_setting_is_explained() -> None:
    shown = command("--show-settings").stdout
    for name, field in Settings.model_fields.items():
        assert f"{name} = " in shown
        assert field.description


@pytest.mark.parametrize(
    "arguments",
    [
        ("--progress", "sometimes"),
        ("--settings", '{"no_such_setting": 1}'),
        ("--settings", "not JSON"),
        ("--fault", '{"kind": "nonsense"}'),
    ],
)
def test_a_wrong_argument_is_refused_by_name(arguments: tuple[str, str]) -> None:
    done = command(*arguments)
    assert done.returncode == 2
    assert "Invalid value" in done.stderr
