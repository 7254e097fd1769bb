"""An environment for a line of the matrix, made with uv."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType

from tests.matrix.lines import RELEASES, SHOWN, Line

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build" / "matrix"

#: What the tests need beside the package; the same for all lines.
TOOLS = (
    "duckdb>=1.1",
    "hypothesis>=6.100",
    "packaging",
    "pandas",
    "polars",
    "psutil>=5.9",
    "pytest>=8.0",
    "pytest-asyncio>=0.24",
    "pytest-xdist>=3.6",
    "rich>=13.0",
    "apache-airflow-providers-sqlite",
)


class InstallError(Exception):
    """An environment cannot be made; the message ends with the output of uv."""


class NoPythonError(InstallError):
    """This machine does not have the Python of a line."""


def make(line: Line) -> Path:
    """
    Make the environment of a line below `build/matrix`, and return its Python; one that is there is used again.

    :param line: The line.
    :raises NoPythonError: The machine does not have its Python, and uv cannot bring it.
    :raises InstallError: A package cannot be installed.
    """
    home = BUILD / line.name
    python, done = home / "bin" / "python", home / "done"
    wanted = f"{RELEASES[line.airflow]} {TOOLS} {(ROOT / 'pyproject.toml').read_text()}"
    if done.exists() and done.read_text() == wanted:
        return python
    shutil.rmtree(home, ignore_errors=True)
    if _uv("venv", "-q", "--python", _interpreter(line.python), str(home)).returncode:
        raise NoPythonError(f"Python {line.python} is not on this machine")
    for arguments in _installs(line):
        result = _uv("pip", "install", "-q", "--python", str(python), *arguments)
        if result.returncode:
            raise InstallError(result.stdout[-2000:])
    done.write_text(wanted)
    return python


def versions(python: Path) -> dict[str, str]:
    """
    Return the versions of Python and of the dependencies that the page names.

    :param python: The environment's Python.
    """
    code = (
        "import sys, importlib.metadata as m\n"
        "print('python', sys.version.split()[0])\n"
        f"for name in ('apache-airflow', *{SHOWN!r}): print(name, m.version(name))"
    )
    output = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout
    return dict(row.split() for row in output.splitlines())


def _installs(line: Line) -> Iterator[tuple[str, ...]]:
    """Yield the arguments of each installation, in order; none changes what an earlier one has installed."""
    release = RELEASES[line.airflow]
    airflow, ours = f"apache-airflow=={release.version}", ("-e", f"{ROOT}[emulator,simdjson,sql]")
    if line.is_lowest:
        yield ("--resolution", "lowest-direct", airflow, *ours)
    else:
        yield ("--exclude-newer", release.until, airflow)
        yield (airflow, *ours)
    yield (airflow, *ours, *TOOLS)


def _interpreter(version: str) -> str:
    """Return the path of an interpreter that starts; else the version, for which uv looks, and which it may bring."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for found in (shutil.which(f"python{version}"), *sorted(pyenv.glob(f"{version}.*/bin/python"), reverse=True)):
        if found and subprocess.run([found, "-c", ""], capture_output=True, check=False).returncode == 0:
            return str(found)
    return version


def _uv(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run uv with pip's settings; return what came of it."""
    command = [sys.executable, "-m", "uv", *arguments]
    environment: Mapping[str, str] = _install_module().uv_environment()
    return subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )


def _install_module() -> ModuleType:
    """Return `.ci/install.py`, which is no module of a package."""
    spec = importlib.util.spec_from_file_location("install", ROOT / ".ci" / "install.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
