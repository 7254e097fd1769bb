"""
The same job against servers that we did not write: `make independent`.

Each server gets an environment of its own below `build/`, since their pins clash with Airflow's; this is the one
check that needs a package index. It prints what was seen and exits with 1 where a row is lost or a status is not
accounted for.

- `llmock` answers with text, with and without HTTP faults on every route.
- LiteLLM's proxy stands before `llmock`, and passes files and batches on.
- `aibrix` has a state machine, ids and statuses of its own; its dry run sends each body back, which is no answer: its
rows are
  `failed` with `no_answer`, each one accounted for.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from airflow_provider_batch.api.client import BatchClient
from airflow_provider_batch.api.services import service_named
from airflow_provider_batch.api.settings import ClientSettings
from airflow_provider_batch.exceptions import JobFailedError
from airflow_provider_batch.jobs.job_request import Tools
from demo.airflow_processes import free_port
from tests.jobs.support import LIMITS, a_request, check_table, run, some_rows, statuses

ROWS = 250
BUILD = Path("build/independent")


@dataclass(frozen=True)
class Server:
    """A server, how it is started, and how the job's rows end on it."""

    name: str
    packages: tuple[str, ...]
    command: Callable[[Path, int, Path], list[str]]
    ready: str
    expected: dict[str, int]
    service: str = "other"


def behind_litellm(bin_: Path, port: int, folder: Path) -> list[str]:
    """Return a command that starts `llmock`, and the proxy before it."""
    behind = free_port()
    address = f"http://127.0.0.1:{behind}/v1"
    (folder / "litellm.yaml").write_text(
        "files_settings:\n"
        f"  - {{custom_llm_provider: openai, api_base: '{address}', api_key: sk-behind}}\n"
        "general_settings: {master_key: sk-independent}\n"
    )
    account = f"OPENAI_API_KEY=sk-behind OPENAI_API_BASE={address} OPENAI_BASE_URL={address}"
    llmock = f"{bin_}/llmock serve --host 127.0.0.1 --port {behind}"
    proxy = f"{bin_}/litellm --config litellm.yaml --host 127.0.0.1 --port {port}"
    return ["sh", "-c", f"{llmock} & {account} exec {proxy}"]


SERVERS = (
    Server(
        "llmock",
        ("llmock==0.2.2",),
        lambda bin_, port, _: [f"{bin_}/llmock", "serve", "--host", "127.0.0.1", "--port", str(port)],
        "/v1/models",
        {"succeeded": ROWS},
    ),
    Server(
        "llmock with faults",
        ("llmock==0.2.2",),
        lambda bin_, port, _: [
            *(f"{bin_}/llmock", "serve", "--host", "127.0.0.1", "--port", str(port)),
            *("--error-rate", "429=0.1", "--error-rate", "503=0.1"),
        ],
        "/v1/models",
        {"succeeded": ROWS},
    ),
    Server(
        "aibrix",
        ("aibrix==0.8.0",),
        lambda bin_, port, _: [f"{bin_}/aibrix_metadata", "--host", "127.0.0.1", "--port", str(port), "--dry-run"],
        "/healthz",
        {"failed": ROWS},
        service="aibrix",
    ),
    Server(
        "LiteLLM's proxy",
        ("litellm[proxy]==1.108.7", "llmock==0.2.2"),
        behind_litellm,
        "/health/liveliness",
        {"succeeded": ROWS},
        service="litellm",
    ),
)


def main() -> None:
    """Run the job against each server and print a line for each."""
    results = [check(server) for server in SERVERS]
    sys.exit(0 if all(results) else 1)


def check(server: Server) -> bool:
    """Run the job against one server; print what was seen, return whether every row is accounted for."""
    with tempfile.TemporaryDirectory(prefix="independent-") as folder, running(server, Path(folder)) as base_url:
        service = service_named(server.service)
        settings = ClientSettings(api_key="sk-independent", base_url=base_url, max_retries=8, chosen_service=service)
        tools = Tools(client=BatchClient(settings), sleep=lambda seconds: time.sleep(min(seconds, 1.0)))
        request = a_request(
            Path(folder), some_rows(ROWS), limits=replace(LIMITS, timeout=300.0), spec={"max_shard_rows": 60}
        )
        started = time.monotonic()
        try:
            run(request, tools)
        except JobFailedError as error:  # landed, and no row succeeded
            print(f"{server.name}: {str(error).partition(':')[0]}")
        check_table(Path(folder), some_rows(ROWS))
        found = statuses(Path(folder))
        seconds = time.monotonic() - started
    print(f"{server.name}: {ROWS} rows in, {sum(found.values())} rows out, {found}, {seconds:.1f} s")
    return found == server.expected


@contextmanager
def running(server: Server, folder: Path) -> Iterator[str]:
    """Install a server, start it, and give its base URL."""
    bin_, port = install(server), free_port()
    environment = {
        **os.environ,
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "STORAGE_LOCAL_PATH": str(folder / "data"),
        "LOCAL_STORAGE_PATH": str(folder / "data"),
    }
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            server.command(bin_, port, folder),
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        wait_for(f"http://127.0.0.1:{port}{server.ready}", process, folder / "server.log")
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def install(server: Server) -> Path:
    """Make the server's environment if it is not there, and return its folder of commands."""
    venv = BUILD / re.split(r"\W", server.packages[0])[0]
    if not (venv / ".installed").exists():
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        subprocess.run([str(venv / "bin/python"), "-m", "pip", "install", "-qq", *server.packages], check=True)
        (venv / ".installed").touch()
    return (venv / "bin").absolute()


def wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Return once the server answers at all; raise with its log when it ends or never does."""
    deadline = time.monotonic() + 900
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.2)
    raise RuntimeError(f"the server does not answer:\n{log.read_text(errors='replace')[-3000:]}")


if __name__ == "__main__":
    main()
