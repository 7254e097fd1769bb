"""
Measure waiting: a thousand deferred batches held by one triggerer's event loop, beside two official triggers.

    python -m benchmarks.waiting [--rival-python PATH] [--batches 1000] [--repeat 1] [--quick] [--json FILE]

A server in a process of its own answers each call after 200 ms. It has 1,000 batches, which all progress with every
poll. Each candidate is a process of its own with 1,000 triggers of one batch each: ours through Airflow's own
`SharedStreamManager`, the others through `run`, as Airflow runs them. A round ends when every batch has been polled
once more and, for ours, every trigger has its poll result. The first round includes the construction of clients. Where
the second round does not end in time, it is estimated from the polls until then. A monitor task on the same loop
measures for how long the loop was blocked. Imported objects are kept out of garbage collection, for all candidates.
Memory is the growth of the process from the end of all imports to the end of the second round, divided by the number of
batches.

The rivals are `OpenAIBatchTrigger` of apache-airflow-providers-openai and `LLMBatchTrigger` of
apache-airflow-providers-common-ai. The interpreter of `--rival-python` needs both, and Airflow 3.3. `--quick` takes a
tenth of the batches.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.measuring import ROOT
from benchmarks.waiting_server import LATENCY, SILENCE, batch_id, get_json, server

#: Poll interval of all candidates, in seconds.
INTERVAL = 2.0
#: Triggers of ours that start at a time: as many as a triggerer starts in one turn of its loop. The others start all at
#: once, which is better for them: if a poll blocks the loop, the first ones poll again before the last have started.
WAVE = 50
#: Seconds to wait for the second round.
SECOND_ROUND = 45.0
RIVALS = {"openai": "OpenAIBatchTrigger, openai provider", "common-ai": "LLMBatchTrigger, common-ai"}
NAMES = {"ours": "OpenAIBatchTrigger, this package", **RIVALS}
COLUMNS = [
    "trigger",
    "batches",
    "first round s",
    "round s",
    "calls a round",
    "longest block ms",
    "KB a batch",
    "x slower",
]


def main() -> None:
    """Measure all candidates and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--batches", type=int, default=1000)
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="a tenth of the batches")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--rival-python", type=Path, help="Python interpreter with both rivals")
    parser.add_argument("--only", choices=list(NAMES), action="append")
    parser.add_argument("--hold", help=argparse.SUPPRESS)
    parser.add_argument("--base-url", help=argparse.SUPPRESS)
    given = parser.parse_args()
    count = max(20, given.batches // 10) if given.quick else given.batches
    if given.hold:
        run_triggers(given.hold, count, given.base_url)
    else:
        report(given, count)


def report(given: argparse.Namespace, count: int) -> None:
    """
    Measure the candidates, print the table, and write it where ``--json`` names a file.

    :param given: Options of the command line.
    :param count: Number of batches.
    """
    notes = [f"{LATENCY * 1000:.0f} ms latency, {count:,} triggers of one batch each, medians of {given.repeat}"]
    figures: dict[str, dict[str, float]] = {}
    for name in given.only or NAMES:
        python = sys.executable if name == "ours" else given.rival_python
        if python is None or not can_import(name, str(python)):
            notes.append(f"{NAMES[name]}: not measured (not installed)")
            continue
        print(f"{NAMES[name]} ...", file=sys.stderr, flush=True)
        runs = [measure(name, str(python), count) for _ in range(given.repeat)]
        figures[name] = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
    base = figures.get("ours", {}).get("round")
    rows = [line(name, count, seen, base) for name, seen in figures.items()]
    print("  ".join(f"{column:>14}" if at else f"{column:38}" for at, column in enumerate(COLUMNS)))
    for row in rows:
        print("  ".join(f"{value:>14}" if at else f"{value:38}" for at, value in enumerate(row)))
    print("\n".join(notes))
    if given.json:
        given.json.write_text(
            json.dumps({"title": "Waiting for a thousand batches", "columns": COLUMNS, "rows": rows, "notes": notes})
        )


def line(name: str, count: int, seen: dict[str, float], base: float | None) -> list[Any]:
    """
    Return one row of the table.

    :param name: Key of the candidate.
    :param count: Number of batches.
    :param seen: Figures of the candidate.
    :param base: Seconds of a round of ours; None where ours was not measured.
    """
    slower = f"{seen['round'] / base:.0f}" if base and name != "ours" else ""
    return [
        NAMES[name], count, round(seen["first"], 2), round(seen["round"], 2), round(seen["calls"]),
        round(seen["block"] * 1000), round(seen["memory"] / 1024, 1), slower,
    ]  # fmt: skip


def can_import(name: str, python: str) -> bool:
    """
    Say whether an interpreter can import a candidate.

    :param name: Key of the candidate.
    :param python: Python interpreter.
    """
    modules = {
        "ours": "airflow_provider_batch.triggers.openai_batch",
        "openai": "airflow.providers.openai.triggers.openai",
        "common-ai": "airflow.providers.common.ai.triggers.llm_batch",
    }
    with tempfile.TemporaryDirectory(prefix="waiting-") as home:
        command = [python, "-c", f"import {modules[name]}"]
        return subprocess.run(command, env=environment(home, ""), capture_output=True).returncode == 0


def measure(name: str, python: str, count: int) -> dict[str, float]:
    """
    Let one candidate wait for two rounds, and return its figures.

    :param name: Key of the candidate.
    :param python: Python interpreter.
    :param count: Number of batches.
    """
    with tempfile.TemporaryDirectory(prefix="waiting-") as home, server(count) as base_url:
        hold_them = ["--hold", name, "--base-url", base_url, "--batches", str(count)]
        holder = subprocess.Popen(
            [python, "-m", "benchmarks.waiting", *hold_them],
            cwd=ROOT, env=environment(home, base_url), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            assert holder.stdin is not None
            assert holder.stdout is not None
            while (answer := holder.stdout.readline()) not in ("ready\n", ""):
                pass
            rounds = wait_for_rounds(base_url, count, lambda: holder.poll() is None)
            holder.stdin.write("report\n")
            holder.stdin.flush()
            while not (answer := holder.stdout.readline()).startswith("{"):
                if not answer:
                    raise RuntimeError(f"The process of {name} has ended.")
            figures: dict[str, float] = json.loads(answer)
        finally:
            holder.kill()
            holder.wait()
    all_polled = [moment for moment in (figures["all_polled_1"], figures["all_polled_2"]) if moment]
    if len(all_polled) == 2:  # only ours reports when the last trigger had its poll result
        rounds["first"] = max(rounds["first"], all_polled[0] - rounds["first_at"])
        rounds["round"] = max(rounds["round"], all_polled[1] - rounds["second_at"])
    return {**rounds, "block": figures["block"], "memory": figures["memory"] / count}


def wait_for_rounds(base_url: str, count: int, is_alive: Callable[[], bool]) -> dict[str, float]:
    """
    Poll the server's records until two rounds are over, or until the time of the second one is over.

    :param base_url: Base URL of the server.
    :param count: Number of batches.
    :param is_alive: Returns whether the measured process still runs.
    :return: Figures of both rounds: seconds, start times and calls.
    :raises RuntimeError: The measured process has ended.
    """
    give_up = None
    while True:
        time.sleep(0.5)
        records = get_json(f"{base_url}/records")
        if not is_alive():
            raise RuntimeError("The measured process has ended.")
        if not records["rounds"]:
            continue
        first, is_silent = records["rounds"][0], records["now"] - records["last_answer"] > SILENCE
        if len(records["rounds"]) > 1 and (len(records["rounds"]) > 2 or is_silent):
            second = records["rounds"][1]
            return {
                "first": first["ended"] - first["began"], "first_at": first["began"],
                "round": second["ended"] - second["began"], "second_at": second["began"], "calls": second["calls"],
            }  # fmt: skip
        give_up = give_up or time.monotonic() + SECOND_ROUND
        if time.monotonic() > give_up:
            second = records["rounds"][1] if len(records["rounds"]) > 1 else None
            rate = records["polls_since"] / (records["now"] - first["ended"])
            return {
                "first": first["ended"] - first["began"], "first_at": first["began"],
                "round": second["ended"] - second["began"] if second else count / rate,
                "second_at": 0.0, "calls": float(count),
            }  # fmt: skip


def environment(home: str, base_url: str) -> dict[str, str]:
    """
    Return environment variables with an Airflow home and the connection.

    :param home: Folder of Airflow's home.
    :param base_url: Base URL of the server.
    """
    own = {k: v for k, v in os.environ.items() if not k.startswith(("AIRFLOW", "OPENAI_"))}
    connection = {"conn_type": "openai", "host": base_url, "password": "sk-bench"}
    return {
        **own,
        "AIRFLOW_HOME": home,
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "INFO",
        "AIRFLOW_CONN_OPENAI_DEFAULT": json.dumps(connection),
        "no_proxy": "127.0.0.1,localhost",
        "NO_PROXY": "127.0.0.1,localhost",
    }


# The measured process


class LoopMonitor:
    """A task that wants to run every few milliseconds, and measures for how long it could not."""

    TICK = 0.005

    def __init__(self) -> None:
        self.last = time.perf_counter()
        self.longest = 0.0

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            await asyncio.sleep(self.TICK)
            now = time.perf_counter()
            self.longest = max(self.longest, now - self.last - self.TICK)
            self.last = now

    def longest_block(self) -> float:
        """Return the seconds of the longest block, one that still lasts included."""
        return max(self.longest, time.perf_counter() - self.last - self.TICK)


def run_triggers(name: str, count: int, base_url: str) -> None:
    """
    Run a candidate's triggers until the process is killed; print the figures when standard input has a line.

    :param name: Key of the candidate.
    :param count: Number of batches.
    :param base_url: Base URL of the server.
    """
    out = os.fdopen(os.dup(1), "w")
    with Path(os.devnull).open("w") as nothing:
        os.dup2(nothing.fileno(), 1)  # log lines are formatted, and discarded
        os.dup2(nothing.fileno(), 2)
    triggers = make_triggers(name, count)
    gc.collect()
    gc.freeze()
    monitor, times = LoopMonitor(), PollTimes(count)
    before = resident()

    def answer() -> None:
        sys.stdin.readline()
        figures = {
            "block": monitor.longest_block(),
            "memory": resident() - before,
            "all_polled_1": times.of_round(1),
            "all_polled_2": times.of_round(2),
        }
        print(json.dumps(figures), file=out, flush=True)

    print("ready", file=out, flush=True)
    threading.Thread(target=answer, daemon=True).start()
    asyncio.run(ours(triggers, monitor, times) if name == "ours" else rivals(triggers, monitor))


def make_triggers(name: str, count: int) -> list[Any]:
    """
    Import all that a candidate needs, and return its triggers.

    :param name: Key of the candidate.
    :param count: Number of triggers, one for each batch.
    """
    ids = [batch_id(number) for number in range(count)]

    if name == "ours":
        from airflow_provider_batch.triggers.openai_batch import OpenAIBatchTrigger

        return [OpenAIBatchTrigger("openai_default", [one], INTERVAL, until=time.time() + 86_400) for one in ids]
    if name == "openai":
        from airflow.providers.openai.triggers.openai import OpenAIBatchTrigger as Official

        return [Official("openai_default", one, INTERVAL, timeout=86_400) for one in ids]
    from airflow.providers.common.ai.triggers.llm_batch import LLMBatchTrigger

    given = {"llm_conn_id": "openai_default", "adapter": "openai", "poll_interval": int(INTERVAL), "timeout": 86_400}
    ends = {"end_time": time.time() + 86_400, "cancel_on_kill": True, "cancel_on_timeout": True}
    return [LLMBatchTrigger(batch_id=one, **given, **ends) for one in ids]


class PollTimes:
    """
    Times at which triggers got their poll results.

    :param count: Number of triggers.
    """

    def __init__(self, count: int) -> None:
        self._count, self._moments = count, dict[int, list[float]]()

    def record(self, trigger: int) -> None:
        """
        Record that a trigger has got a poll result now.

        :param trigger: Number of the trigger, from 0.
        """
        self._moments.setdefault(trigger, []).append(time.time())

    def of_round(self, nth: int) -> float:
        """
        Return the epoch seconds at which the last trigger got its nth poll result; 0 while some have not.

        :param nth: Number of the poll result, from 1.
        """
        if len(self._moments) < self._count or any(len(moments) < nth for moments in self._moments.values()):
            return 0.0
        return max(moments[nth - 1] for moments in self._moments.values())


async def ours(triggers: list[Any], monitor: LoopMonitor, times: PollTimes) -> None:
    """
    Run triggers that share a stream, as Airflow's `TriggerRunner.run_trigger` does.

    :param triggers: Triggers of this package.
    :param monitor: Measures blocks of the loop.
    :param times: Records the poll results.
    """
    from airflow.triggers.shared_stream import SharedStreamManager

    manager = SharedStreamManager()

    async def run(number: int, trigger: Any) -> None:
        apply_changes = trigger._apply_changes
        trigger._apply_changes = lambda *changes: (apply_changes(*changes), times.record(number))
        key = trigger.shared_stream_key()
        stream = manager.subscribe(trigger_id=number, trigger=trigger, key=key)
        async for _ in trigger.filter_shared_stream(stream):
            raise AssertionError("A trigger has fired, although no batch ends.")

    await run_together([run(number, trigger) for number, trigger in enumerate(triggers)], monitor, WAVE)


async def rivals(triggers: list[Any], monitor: LoopMonitor) -> None:
    """
    Run triggers that share nothing, as Airflow does.

    :param triggers: Triggers of a rival.
    :param monitor: Measures blocks of the loop.
    """

    async def run(trigger: Any) -> None:
        async for event in trigger.run():
            raise AssertionError(f"A trigger has fired, although no batch ends: {event}")

    await run_together([run(trigger) for trigger in triggers], monitor, len(triggers))


async def run_together(works: list[Any], monitor: LoopMonitor, wave: int) -> None:
    """
    Run coroutines and the monitor on one loop; in each turn of the loop a few more start.

    :param works: One coroutine for each trigger.
    :param monitor: Measures blocks of the loop.
    :param wave: Coroutines that start in one turn.
    """
    monitoring = asyncio.create_task(monitor.run())
    tasks = []
    for number, work in enumerate(works):
        if number % wave == 0:
            await asyncio.sleep(0.01)
        tasks.append(asyncio.create_task(work))
    await asyncio.gather(*tasks, monitoring)


def resident() -> int:
    """Return the resident memory of this process in bytes."""
    for entry in Path("/proc/self/status").read_text().splitlines():
        if entry.startswith("VmRSS"):
            return int(entry.split()[1]) * 1024
    return 0


if __name__ == "__main__":
    main()
