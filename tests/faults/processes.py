"""
Processes for one run each, made by `fork` from a parent that has imported everything and used nothing: a tenth of a
second instead of two.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

#: Seconds after which a process that has not ended is one that never would.
PATIENCE = 900


def warm_up() -> None:
    """Import all that a driven process needs, so that it starts quickly; nothing here starts a thread."""
    for name in ("duckdb", "openai.resources.batches", "openai.resources.files", "pyarrow.parquet"):
        importlib.import_module(name)
    from airflow_provider_batch.api.transport.http_client import ssl_context
    from airflow_provider_batch.pricing.prices import price_list

    ssl_context()
    price_list("gpt-4o-mini-2024-07-18", "/v1/chat/completions")
    gc.freeze()


class Child:
    """
    A process that runs `work` and leaves what it returns, as JSON.

    :param answer: File for what it returns; what stands there is removed.
    :param patience: Seconds after which it is ended.
    """

    def __init__(self, work: Callable[[], Any], answer: Path, *, patience: int = PATIENCE) -> None:
        self._answer, self._patience = answer, patience
        answer.unlink(missing_ok=True)
        self.pid = os.fork()
        self.status: int | None = None
        if self.pid == 0:
            self._run(work)

    def _run(self, work: Callable[[], Any]) -> None:
        code = 1
        try:
            signal.alarm(self._patience)
            temporary = self._answer.with_suffix(".tmp")
            temporary.write_text(json.dumps(work()))
            os.replace(temporary, self._answer)
            code = 0
        except BaseException:
            self._answer.with_suffix(".error").write_text(traceback.format_exc())
        finally:
            os._exit(code)

    def wait(self, seconds: float | None = None) -> bool:
        """Wait for its end, or its stop, and return whether that came in time."""
        give_up = None if seconds is None else time.monotonic() + seconds
        while self.status is None:
            pid, status = os.waitpid(self.pid, os.WUNTRACED | (os.WNOHANG if give_up is not None else 0))
            if pid and os.WIFSTOPPED(status):
                return True
            if pid:
                self.status = status
            elif give_up is not None and time.monotonic() > give_up:
                return False
            elif give_up is not None:
                time.sleep(0.005)
        return True

    @property
    def is_stopped(self) -> bool:
        """Whether it was stopped and has not gone on; to be asked after `wait`."""
        return self.status is None

    def go_on(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    @property
    def peak_memory(self) -> int:
        """The most bytes that it held at one time so far; it must be running."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))

    @property
    def killed_by(self) -> signal.Signals | None:
        """The signal that ended it."""
        if self.status is None or not os.WIFSIGNALED(self.status):
            return None
        return signal.Signals(os.WTERMSIG(self.status))

    @property
    def answer(self) -> Any:
        """What it returned; raises `RuntimeError` where it did not get so far."""
        if not self._answer.exists():
            error = self._answer.with_suffix(".error")
            what = error.read_text() if error.exists() else f"killed by {self.killed_by}"
            raise RuntimeError(what)
        return json.loads(self._answer.read_text())


def in_a_process(work: Callable[[], Any], answer: Path) -> Any:
    """Run `work` in a process of its own and return what it returns."""
    child = Child(work, answer)
    child.wait()
    return child.answer
