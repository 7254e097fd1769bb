"""
Serve batches that never end, for the benchmark of waiting; each answer is late, and every poll is counted.

    python -m benchmarks.waiting_server --batches 1000
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

from benchmarks.measuring import ROOT

#: Seconds before each answer.
LATENCY = 0.2
#: Seconds without a call after which a complete round is over.
SILENCE = 0.6


def batch_id(number: int) -> str:
    """
    Return an id as long as the API's.

    :param number: Number of the batch, from 0.
    """
    return f"batch_{number:032x}"


class Records:
    """
    Calls and polls of batches, by round.

    A round is complete when every batch was polled once in it. It ends at the pause that follows. Without a pause it
    ends
    when every batch was polled once more.

    :param count: Number of batches.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.polls = [0] * count
        self.rounds: list[dict[str, float]] = []
        self.polls_since = 0
        self.last_answer = 0.0
        self._begin(0.0, set(), 0)

    def _begin(self, moment: float, seen: set[int], calls: int) -> None:
        self.began, self.calls, self.complete = moment, calls, {}
        self.seen, self.again = seen, set[int]()

    def begin_call(self) -> None:
        """Record the start of a call."""
        now = time.time()
        if self.complete and now - self.last_answer > SILENCE:
            self.rounds.append({"began": self.began, "ended": self.last_answer, "calls": self.calls})
            self._begin(now, set(), 0)
        self.began = self.began or now
        self.calls += 1

    def polled(self, number: int) -> None:
        """
        Record that an answer contains a batch.

        :param number: Number of the batch, from 0.
        """
        self.polls[number] += 1
        self.polls_since += bool(self.rounds or self.complete)
        (self.again if self.complete else self.seen).add(number)
        if not self.complete and len(self.seen) == self.count:
            self.complete = {"began": self.began, "ended": time.time(), "calls": self.calls}
        elif len(self.again) == self.count:
            self.rounds.append(self.complete)
            self._begin(self.complete["ended"], self.again, self.calls - int(self.complete["calls"]))
            self.complete = {"began": self.began, "ended": time.time(), "calls": self.calls}

    def end_call(self) -> None:
        """Record that an answer was sent."""
        self.last_answer = time.time()

    def as_json(self) -> dict[str, Any]:
        """Return the rounds as JSON; a complete round that is followed by a pause is over."""
        now = time.time()
        rounds = list(self.rounds)
        if self.complete and now - self.last_answer > SILENCE:
            rounds.append({"began": self.began, "ended": self.last_answer, "calls": self.calls})
        elif self.complete:
            rounds.append(self.complete)
        return {"now": now, "rounds": rounds, "polls_since": self.polls_since, "last_answer": self.last_answer}


class Api:
    """
    The routes that a trigger calls.

    :param count: Number of batches.
    """

    def __init__(self, count: int) -> None:
        self._count, self._records = count, Records(count)
        self._numbers = {batch_id(number): number for number in range(count)}

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """
        Answer the calls of one connection until it is closed.

        :param reader: Reader of the connection.
        :param writer: Writer of the connection.
        """
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                path, _, query = head.split(" ", 2)[1].partition("?")
                is_call = not path.endswith("/records")
                if is_call:
                    self._records.begin_call()
                    await asyncio.sleep(LATENCY)
                status, body = self._answer(path, query)
                content = json.dumps(body).encode()
                start = (
                    f"HTTP/1.1 {status} OK\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
                )
                writer.write(start.encode() + content)
                await writer.drain()
                if is_call:
                    self._records.end_call()
        writer.close()

    def _answer(self, path: str, query: str) -> tuple[int, dict[str, Any]]:
        if path.endswith("/records"):
            return 200, self._records.as_json()
        name = path.rpartition("/batches")[2].strip("/")
        if not name:
            given = dict(part.partition("=")[::2] for part in query.split("&"))
            after = given.get("after")
            begin = self._numbers[after] + 1 if after else 0
            end = begin + int(given.get("limit", 20))
            page = [self._batch(number) for number in range(begin, min(end, self._count))]
            last = page and page[-1]["id"]
            return 200, {"object": "list", "data": page, "has_more": end < self._count, "last_id": last}
        if name in self._numbers:
            return 200, self._batch(self._numbers[name])
        return 404, {"error": {"message": f"No batch found with id '{name}'.", "type": "invalid_request_error"}}

    def _batch(self, number: int) -> dict[str, Any]:
        """Return a batch that has progressed since its last poll."""
        self._records.polled(number)
        now = int(time.time())
        done = self._records.polls[number]
        return {
            "id": batch_id(number), "object": "batch", "endpoint": "/v1/chat/completions", "errors": None,
            "input_file_id": f"file-{number:024x}", "completion_window": "24h", "status": "in_progress",
            "output_file_id": None, "error_file_id": None, "created_at": now - 60, "in_progress_at": now - 50,
            "expires_at": now + 86_340, "request_counts": {"total": 50_000, "completed": done, "failed": 0},
            "metadata": {"airflow_dag_id": "nightly", "airflow_run_id": "scheduled__2026-11-22T00:00:00+00:00"},
        }  # fmt: skip


async def serve(count: int) -> None:
    """
    Print the base URL, and serve batches until the process is killed.

    :param count: Number of batches.
    """
    listening = await asyncio.start_server(Api(count).connected, "127.0.0.1", 0, limit=1 << 20, backlog=4096)
    print(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v1", flush=True)
    await listening.serve_forever()


@contextlib.contextmanager
def server(count: int) -> Iterator[str]:
    """
    Run the server in a process of its own during a `with` block, and yield its base URL.

    :param count: Number of batches.
    """
    command = [sys.executable, "-m", "benchmarks.waiting_server", "--batches", str(count)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()


def get_json(url: str) -> Any:
    """
    Return the decoded JSON answer of a GET.

    :param url: Address to call.
    """
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=30) as response:
        return json.loads(response.read())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--batches", type=int, default=1000)
    asyncio.run(serve(parser.parse_args().batches))
