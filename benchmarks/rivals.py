"""Install the rivals into an environment of their own below `build/`, from `rivals.txt`."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.measuring import ROOT

PINNED = Path(__file__).with_name("rivals.txt")
FOLDER = ROOT / "build" / "rivals"

_VERSIONS = """
import json, sys
from importlib.metadata import PackageNotFoundError, version
found = {}
for name in sys.argv[1:]:
    try:
        found[name] = version(name)
    except PackageNotFoundError:
        pass
print(json.dumps(found))
"""


def rival_python() -> Path:
    """
    Return the interpreter of the rivals' environment, which is made where it does not exist.

    Packages that cannot be installed are left out: the ways that need them are reported as not measured.
    """
    python, stamp = FOLDER / "bin" / "python", FOLDER / "installed.txt"
    pins = PINNED.read_text()
    if stamp.exists() and stamp.read_text() == pins:
        return python
    print(f"Installing the rivals into {FOLDER.relative_to(ROOT)}; a minute or two, once ...", flush=True)
    made = subprocess.run([sys.executable, "-m", "venv", "--clear", FOLDER], check=False)
    if made.returncode:
        return Path(sys.executable)
    if _install(python, ["-r", str(PINNED)]):
        stamp.write_text(pins)
        return python
    for name in pinned():  # one by one: a package that cannot be installed must not prevent the others
        _install(python, [name])
    return python


def pinned() -> list[str]:
    """Return the lines of `rivals.txt`, as ``name==version``."""
    return [line for line in PINNED.read_text().splitlines() if line and not line.startswith("#")]


def versions(python: str | Path, names: Sequence[str]) -> dict[str, str]:
    """
    Return the versions of installed packages, by name.

    :param python: Python interpreter.
    :param names: Names of the packages; those that are not installed are left out.
    """
    done = subprocess.run([python, "-c", _VERSIONS, *names], capture_output=True, text=True, check=False)
    found: dict[str, str] = json.loads(done.stdout) if done.returncode == 0 else {}
    return found


def _install(python: Path, what: Sequence[str]) -> bool:
    command = [python, "-m", "pip", "install", "-qq", "--disable-pip-version-check", "-c", "constraints.txt", *what]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = next((line for line in done.stderr.splitlines() if line.startswith("ERROR")), "pip failed")
        print(f"  not installed: {' '.join(what[-1:])} ({reason[:200]})", flush=True)
    return done.returncode == 0
