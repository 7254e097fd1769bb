"""
Install this checkout into an environment: ``.venv/bin/python .ci/install.py demo``.

`uv` does it, which takes seconds; it is installed into the environment first, in the version that ``constraints.txt``
has. Where `uv` cannot be had, or cannot do it, pip does it. Needs nothing but Python's standard library. What is being
done is printed with the seconds since the start.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CONSTRAINTS = ("-c", str(ROOT / "constraints.txt"))
PIP = (sys.executable, "-m", "pip")
QUIET_PIP = (*PIP, "install", "-qq", "--disable-pip-version-check", *CONSTRAINTS)

#: Seconds between two lines about what is being done.
SAY_EVERY = 5.0

#: pip's setting → the variable by which uv takes it: both ask the same index, and trust the same certificates.
SETTINGS = {"index-url": "UV_DEFAULT_INDEX", "no-index": "UV_NO_INDEX", "cert": "SSL_CERT_FILE"}

STARTED = time.monotonic()


def main(extra: str) -> int:
    """
    Install the package in place, with an extra; return the exit code.

    :param extra: ``demo``, ``dev`` or ``docs``.
    """
    wanted = ("-e", f"{ROOT}[{extra}]")
    say(f"Installing airflow-provider-batch[{extra}] into {Path(sys.prefix).name} ...")
    if run("uv", (*QUIET_PIP, "uv")) == 0:
        compile_too = ("--compile-bytecode",) if extra == "demo" else ()
        uv = (sys.executable, "-m", "uv", "pip", "install", "--python", sys.executable, *compile_too)
        if run("uv", (*uv, *CONSTRAINTS, *wanted), uv_environment()) == 0:
            say("Installed.")
            return 0
    say("uv cannot do it here; pip does, which takes a minute or more.")
    code = run("pip", (*PIP, "install", "--disable-pip-version-check", *CONSTRAINTS, *wanted))
    say("Installed." if code == 0 else f"pip ended with exit code {code}.")
    return code


def run(name: str, command: Sequence[str], environment: Mapping[str, str] | None = None) -> int:
    """Run a command, say what it tells every few seconds, and show all of its output where it fails."""
    output: list[str] = []
    said_at = time.monotonic()
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            output.append(line)
            is_summary = line.startswith(("Resolved", "Prepared", "Installed", "Bytecode"))
            if is_summary or (line.strip() and time.monotonic() - said_at > SAY_EVERY):
                said_at = time.monotonic()
                say(f"{name}: {line.strip()[:100]}")
    if process.returncode:
        sys.stdout.write("".join(output[-40:]))
    return process.returncode


def uv_environment() -> dict[str, str]:
    """Return the variables of this process, with pip's settings in the form that uv takes."""
    environment = dict(os.environ)
    for name, value in pip_settings():
        variable = SETTINGS.get(name)
        if variable is not None:
            environment.setdefault(variable, value)
    return environment


def pip_settings() -> Iterator[tuple[str, str]]:
    """Yield what ``pip config list`` prints, such as ``global.index-url='…'`` and ``:env:.cert='…'``."""
    listed = subprocess.run((*PIP, "config", "list"), capture_output=True, text=True, check=False)
    for line in listed.stdout.splitlines():
        name, _, value = line.partition("=")
        yield name.rpartition(".")[2], value.strip("'\"")


def say(text: str) -> None:
    """Print a line with the seconds since the start."""
    print(f"{time.monotonic() - STARTED:6.1f} s  {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
