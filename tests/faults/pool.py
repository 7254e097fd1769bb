"""Courses side by side: a few processes, each with an emulator and a folder of its own."""

from __future__ import annotations

import os
import pickle
import struct
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

from airflow_provider_batch.emulator.testing import Emulator, running_emulator

T, R = TypeVar("T"), TypeVar("R")


class Pool:
    """
    Some emulators; `map` forks a worker for each.

    :param folder: Each worker has a folder of its own below.
    """

    def __init__(self, workers: int, folder: Path) -> None:
        self._folder, self._stack = folder, ExitStack()
        self._emulators: list[Emulator] = []
        self._workers = workers

    def __enter__(self) -> Pool:
        self._emulators = [self._stack.enter_context(running_emulator()) for _ in range(self._workers)]
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def map(self, work: Callable[[T, Path, Emulator], R], tasks: Sequence[T], what: str) -> list[R]:
        """Return what `work` makes of each task, in order; raises `RuntimeError` where a worker dies."""
        self._folder.mkdir(parents=True, exist_ok=True)
        todo = _filled_pipe(len(tasks))
        workers = {}
        for number, emulator in enumerate(self._emulators):
            answers = self._folder / f"{what}-{number}"
            answers.unlink(missing_ok=True)
            pid = os.fork()
            if pid == 0:
                _work(work, tasks, self._folder / f"worker-{number}", emulator, todo, answers)
            workers[pid] = answers
        os.close(todo)
        for pid in workers:
            os.waitpid(pid, 0)
        results = {index: result for answers in workers.values() for index, result in _read(answers)}
        if errors := [result for result in results.values() if isinstance(result, _Failed)]:
            raise RuntimeError("\n".join(error.text for error in errors))
        if len(results) != len(tasks):
            raise RuntimeError(f"{len(tasks) - len(results)} of {len(tasks)} {what} were not answered")
        return [results[index] for index in range(len(tasks))]


class _Failed:
    def __init__(self, text: str) -> None:
        self.text = text


def _filled_pipe(count: int) -> int:
    """A pipe with the numbers of the tasks: each reader of four bytes gets one."""
    read, write = os.pipe()
    if os.fork() == 0:
        try:
            os.close(read)
            for number in range(count):
                os.write(write, struct.pack("<I", number))
        finally:
            os._exit(0)
    os.close(write)
    return read


def _work(
    work: Callable[[Any, Path, Emulator], Any],
    tasks: Sequence[Any],
    folder: Path,
    emulator: Emulator,
    todo: int,
    answers: Path,
) -> None:
    code = 1
    try:
        while number := os.read(todo, 4):
            (index,) = struct.unpack("<I", number)
            if index and index % 100 == 0:
                print(f"{index:,} of {len(tasks):,} {answers.name.rpartition('-')[0]} ...", file=sys.stderr, flush=True)
            try:
                result: Any = work(tasks[index], folder, emulator)
            except Exception as error:
                result = _Failed(f"{tasks[index]}: {error!r}")
            with answers.open("ab") as file:
                pickle.dump((index, result), file)
        code = 0
    finally:
        os._exit(code)


def _read(answers: Path) -> Iterator[tuple[int, Any]]:
    if not answers.exists():
        return
    with answers.open("rb") as file:
        while file.peek(1):
            yield pickle.load(file)
