"""
Run the emulator for tests, in a process of its own.

.. code-block:: python

    from airflow_provider_batch.emulator.testing import running_emulator

    with running_emulator(progress="reads:2") as emulator:
        client = openai.OpenAI(base_url=emulator.base_url, api_key="any")
        emulator.fault(kind="lose_answer", method="POST", path="/v1/batches", times=1)
        ...
        assert emulator.state()["repeated_executions"] == []

This module imports no web framework: the test process needs only the standard library.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

#: Seconds that a start may take while the process is alive: a slow machine takes a minute to import the server.
_START_SECONDS = 1800.0
#: Ports that the first start tries.
_PORT_TRIES = 5
#: Seconds to wait for a stop before the process is killed.
_STOP_SECONDS = 30.0


class Emulator:
    """
    One emulator process and its control routes; `running_emulator` makes it.

    .. code-block:: python

        emulator = Emulator(folder, {"progress": "hold"})
        emulator.start()
        emulator.kill()  # a crash
        emulator.start()  # with the same batches, files and faults
        emulator.stop()

    :param folder: Folder of its state, which must exist; a restart uses the same.
    :param settings: Settings by name; see `airflow_provider_batch.emulator.settings.Settings`.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self.folder = folder
        self.port = _free_port()
        self._first = dict(settings)
        self._settings = dict(settings)
        self._process: subprocess.Popen[bytes] | None = None
        self._has_started = False

    @property
    def root_url(self) -> str:
        """Address of the server, without a path."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def base_url(self) -> str:
        """Base URL for a client, with the path of the service."""
        from airflow_provider_batch.api.services import service_named

        service = service_named(str(self._settings.get("service", "openai")))
        return f"{self.root_url}{(service and service.path) or '/v1'}"

    @property
    def pid(self) -> int:
        """
        Id of the process.

        :raises RuntimeError: The emulator does not run.
        """
        if self._process is None:
            raise RuntimeError("The emulator does not run; call start() first.")
        return self._process.pid

    # Process

    def start(self) -> None:
        """
        Start the process on the same folder and port, with the latest settings, and wait until it answers.

        :raises RuntimeError: The emulator runs already, or its process ends before it answers.
        :raises TimeoutError: The process does not answer.
        """
        if self._process is not None:
            raise RuntimeError("The emulator runs already.")
        for tries_left in reversed(range(_PORT_TRIES)):
            try:
                self._process = self._launch()
                self._wait_until_ready(self._process)
            except RuntimeError:
                # Another process can take the free port before it is used. After the first start clients know the
                # port, and it must not change.
                if self._has_started or not tries_left or "address already in use" not in self.log()[-4000:]:
                    raise
                self.port = _free_port()
            else:
                self._has_started = True
                return

    def _launch(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "airflow_provider_batch.emulator", "--port", str(self.port)]
        command += ["--folder", str(self.folder), "--settings", json.dumps(self._settings)]
        # A file, not a pipe: a full pipe that is not read would stop the process.
        with (self.folder / "emulator.log").open("ab") as log:
            # The process ends when this pipe closes, also where the test process is killed.
            command.append("--exit-with-stdin")
            return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log)

    def stop(self) -> None:
        """Stop the process with SIGTERM; kill it after 30 seconds."""
        if self._process is None:
            return
        process, self._process = self._process, None
        process.terminate()
        _close_pipe(process)
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def kill(self) -> None:
        """Kill the process with SIGKILL, without a chance to clean up."""
        if self._process is None:
            return
        process, self._process = self._process, None
        process.send_signal(signal.SIGKILL)
        process.wait()
        _close_pipe(process)

    def log(self) -> str:
        """Return what the process has written to standard output and standard error."""
        path = self.folder / "emulator.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        give_up = time.monotonic() + _START_SECONDS
        while time.monotonic() < give_up:
            if process.poll() is not None:
                self._process = None
                raise RuntimeError(f"The emulator did not start. Its log:\n{self.log()[-4000:]}")
            if self._is_answered_by(process):
                return
            time.sleep(0.02)
        self.kill()
        raise TimeoutError(f"The emulator did not answer within {_START_SECONDS:.0f} s. Its log:\n{self.log()[-4000:]}")

    def _is_answered_by(self, process: subprocess.Popen[bytes]) -> bool:
        """Say whether the process answers at the port; another server at the port may send anything."""
        try:
            answer = self._call("GET", "ready")
        except (OSError, ValueError, http.client.HTTPException):
            return False
        return isinstance(answer, dict) and answer.get("pid") == process.pid

    # Control routes

    def configure(self, **settings: Any) -> dict[str, Any]:
        """
        Change settings, and return all; a restart through `start` keeps them.

        :param settings: Settings by name.
        :raises ValueError: A setting does not exist, or a value is wrong.
        """
        changed: dict[str, Any] = self._call("PATCH", "settings", settings)
        self._settings |= settings
        return changed

    def fault(self, **rule: Any) -> str:
        """
        Set a fault rule, and return its id.

        :param rule: Fields of the rule; see `airflow_provider_batch.emulator.faults`.
        :raises ValueError: The rule is wrong.
        """
        return str(self._call("POST", "faults", rule)["ids"][0])

    def faults(self) -> list[dict[str, Any]]:
        """Return the fault rules, each with the number of its `matches`."""
        rules: list[dict[str, Any]] = self._call("GET", "faults")
        return rules

    def clear_faults(self) -> None:
        """Remove all fault rules. A batch keeps the rules that were chosen for it when it was created."""
        self._call("DELETE", "faults")

    def reset(self) -> None:
        """Remove batches, files, faults and calls, and set the settings that this object was made with."""
        self._call("POST", "reset", self._first)
        self._settings = dict(self._first)

    def state(self) -> dict[str, Any]:
        """
        Return what the emulator holds and what it cost.

        :return: `batches_created`, `uploads`, `batches` (oldest first: id, status, lines, executed, billed, usage,
            cost_usd, metadata …), `executions` (distinct_lines, executed, billed, billed_again), `repeated_executions`
            (custom_id, body, attempts, billed), `cost_usd`, `faults`, `errors`.
        """
        state: dict[str, Any] = self._call("GET", "state")
        return state

    def calls(self, method: str | None = None, path: str | None = None) -> list[dict[str, Any]]:
        """
        Return the journal of API calls: time, method, path, status, seconds, fault.

        :param method: Only calls with this HTTP method; None for all.
        :param path: Only calls with this path, such as `/v1/batches`; None for all.
        """
        calls: list[dict[str, Any]] = self._call("GET", "calls")
        return [one for one in calls if method in (None, one["method"]) and path in (None, one["path"])]

    def _call(self, method: str, route: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.root_url}/_emulator/{route}", data=data, method=method)
        request.add_header("Content-Type", "application/json")
        try:
            with _opener.open(request, timeout=600) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            message = error.read().decode(errors="replace")
            raise ValueError(f"{method} /_emulator/{route}: {error.code} {message}") from error


#: Ignores the proxies of the environment: the emulator runs on this machine.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _close_pipe(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        process.stdin.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running_emulator(folder: str | os.PathLike[str] | None = None, **settings: Any) -> Iterator[Emulator]:
    """
    Run an emulator during a `with` block.

    .. code-block:: python

        with running_emulator(progress="immediate") as emulator:
            client = openai.OpenAI(base_url=emulator.base_url, api_key="any")

    :param folder: Folder of its state; None takes a temporary one that is removed at the end.
    :param settings: Settings by name; see `airflow_provider_batch.emulator.settings.Settings`.
    :return: The running `Emulator`.
    """
    place = Path(folder) if folder is not None else Path(tempfile.mkdtemp(prefix="batch-emulator-"))
    place.mkdir(parents=True, exist_ok=True)
    emulator = Emulator(place, settings)
    try:
        emulator.start()
        yield emulator
    finally:
        emulator.stop()
        if folder is None:
            shutil.rmtree(place, ignore_errors=True)
