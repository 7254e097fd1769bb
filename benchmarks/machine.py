"""Describe where the figures were measured: the machine, and the versions of the libraries."""

from __future__ import annotations

import os
import platform
import re
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

#: Packages whose versions change our figures.
LIBRARIES = ("airflow-provider-batch", "pyarrow", "msgspec", "pysimdjson", "openai", "genai-prices", "apache-airflow")


def machine() -> dict[str, str]:
    """Return the machine and the Python version; without host names and paths."""
    memory = _first(r"MemTotal:\s+(\d+)", "/proc/meminfo")
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "processor": _first(r"model name\s*:\s*(.+)", "/proc/cpuinfo") or platform.machine(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{int(memory) / 2**20:.0f} GB" if memory else "unknown",
        "system": f"{platform.system()} {platform.release()}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "load before": f"{os.getloadavg()[0]:.1f}",
    }


def libraries() -> dict[str, str]:
    """Return the versions of the packages that our figures depend on."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _first(pattern: str, path: str) -> str | None:
    try:
        found = re.search(pattern, Path(path).read_text())
    except OSError:
        return None
    return found[1].strip() if found else None


def supported() -> bool:
    """Say whether peak memory can be read on this system."""
    return sys.platform == "linux"
