"""
Waiting, measured: a thousand deferred batches held by one triggerer's event loop, beside two official triggers.

    python -m benchmarks.waiting [--rival-python PATH] [--batches 1000] [--repeat 1] [--quick] [--json FILE]

A server in a process of its own answers each call after 200 ms; it knows 1,000 batches, all of which get on at every
look. Each candidate is a process of its own with 1,000 triggers of one batch each: ours through Airflow's own
`SharedStreamManager`, the others through `run`, as Airflow runs them. A round is over when every batch has been looked
at once more and, for ours, every trigger has taken in what is new. The first round includes building clients. Where
the second round does not end within its time, it is reckoned from the looks that were made meanwhile. A heartbeat task
on the same loop shows for how long the loop stood still; what was imported is kept out of garbage collection, for all
alike. Memory is what the process grew by, over the number of
batches, from all imports done to the end of the second round.

The rivals are `OpenAIBatchTrigger` of apache-airflow-providers-openai and `LLMBatchTrigger` of
apache-airflow-providers-common-ai; the interpreter given has both, and Airflow 3.3. `--quick` takes a tenth of the
batches.
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
from benchmarks.waiting_server import LATENCY, SILENCE, ask, batch_id, server

#: Seconds between two looks, at the least, of all candidates.
INTERVAL = 2.0
#: Triggers of ours that begin at a time: what a triggerer takes up in one turn of its loop. The others begin all at
#: once, which is kinder to them: a look that blocks the loop lets the first ones look again before the last have begun.
WAVE = 50
#: Seconds after the first round in which a second one is waited for.
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
    parser.add_argument("--rival-python", type=Path, help="an interpreter that has both rivals")
    parser.add_argument("--only", choices=list(NAMES), action="append")
    parser.add_argument("--hold", help=argparse.SUPPRESS)
    parser.add_argument("--base-url", help=argparse.SUPPRESS)
    given = parser.parse_args()
    count = max(20, given.batches // 10) if given.quick else given.batches
    if given.hold:
        hold(given.hold, count, given.base_url)
    else:
        report(given, count)


def report(given: argparse.Namespace, count: int) -> None:
    """Measure, print, and write what was asked for."""
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
    """Return one line of the table."""
    slower = f"{seen['round'] / base:.0f}" if base and name != "ours" else ""
    return [
        NAMES[name], count, round(seen["first"], 2), round(seen["round"], 2), round(seen["calls"]),
        round(seen["block"] * 1000), round(seen["memory"] / 1024, 1), slower,
    ]  # fmt: skip


def can_import(name: str, python: str) -> bool:
    """Return whether an interpreter has a candidate."""
    modules = {
        "ours": "airflow_provider_batch.triggers.openai_batch",
        "openai": "airflow.providers.openai.triggers.openai",
        "common-ai": "airflow.providers.common.ai.triggers.llm_batch",
    }
    with tempfile.TemporaryDirectory(prefix="waiting-") as home:
        command = [python, "-c", f"import {modules[name]}"]
        return subprocess.run(command, env=environment(home, ""), capture_output=True).returncode == 0


def measure(name: str, python: str, count: int) -> dict[str, float]:
    """Let one candidate wait, and return its figures."""
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
            rounds = watch_rounds(base_url, count, lambda: holder.poll() is None)
            holder.stdin.write("report\n")
            holder.stdin.flush()
            while not (answer := holder.stdout.readline()).startswith("{"):
                if not answer:
                    raise RuntimeError(f"{name} ended")
            seen: dict[str, float] = json.loads(answer)
        finally:
            holder.kill()
            holder.wait()
    told = [moment for moment in (seen["told_1"], seen["told_2"]) if moment]
    if len(told) == 2:  # ours says when the last trigger had its news
        rounds["first"] = max(rounds["first"], told[0] - rounds["first_at"])
        rounds["round"] = max(rounds["round"], told[1] - rounds["second_at"])
    return {**rounds, "block": seen["block"], "memory": seen["memory"] / count}


def watch_rounds(base_url: str, count: int, is_alive: Callable[[], bool]) -> dict[str, float]:
    """Watch the server's records until two rounds have been made, or the second has had its time."""
    give_up = None
    while True:
        time.sleep(0.5)
        seen = ask(f"{base_url}/seen")
        if not is_alive():
            raise RuntimeError("the process that waits has ended")
        if not seen["rounds"]:
            continue
        first = seen["rounds"][0]
        if len(seen["rounds"]) > 1 and (len(seen["rounds"]) > 2 or seen["now"] - seen["last_answer"] > SILENCE):
            second = seen["rounds"][1]
            return {
                "first": first["ended"] - first["began"], "first_at": first["began"],
                "round": second["ended"] - second["began"], "second_at": second["began"], "calls": second["calls"],
            }  # fmt: skip
        give_up = give_up or time.monotonic() + SECOND_ROUND
        if time.monotonic() > give_up:
            second = seen["rounds"][1] if len(seen["rounds"]) > 1 else None
            rate = seen["looks_since"] / (seen["now"] - first["ended"])
            return {
                "first": first["ended"] - first["began"], "first_at": first["began"],
                "round": second["ended"] - second["began"] if second else count / rate,
                "second_at": 0.0, "calls": float(count),
            }  # fmt: skip


def environment(home: str, base_url: str) -> dict[str, str]:
    """Return an environment with an Airflow home of its own and the connection."""
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


# The process that waits


class Heart:
    """A task that wants to run every few milliseconds, and what kept it from that."""

    TICK = 0.005

    def __init__(self) -> None:
        self.last = time.perf_counter()
        self.longest = 0.0

    async def beat(self) -> None:
        while True:
            await asyncio.sleep(self.TICK)
            now = time.perf_counter()
            self.longest = max(self.longest, now - self.last - self.TICK)
            self.last = now

    def block(self) -> float:
        """Return the longest standstill, one that still goes on included."""
        return max(self.longest, time.perf_counter() - self.last - self.TICK)


def hold(name: str, count: int, base_url: str) -> None:
    """Hold triggers until the process is ended; answer once, when asked."""
    out = os.fdopen(os.dup(1), "w")
    with Path(os.devnull).open("w") as nothing:
        os.dup2(nothing.fileno(), 1)  # log lines are formatted and go nowhere
        os.dup2(nothing.fileno(), 2)
    triggers = make_triggers(name, count)
    gc.collect()
    gc.freeze()
    heart, told = Heart(), Told(count)
    before = resident()

    def answer() -> None:
        sys.stdin.readline()
        figures = {
            "block": heart.block(),
            "memory": resident() - before,
            "told_1": told.moment(1),
            "told_2": told.moment(2),
        }
        print(json.dumps(figures), file=out, flush=True)

    print("ready", file=out, flush=True)
    threading.Thread(target=answer, daemon=True).start()
    asyncio.run(ours(triggers, heart, told) if name == "ours" else rivals(triggers, heart))


def make_triggers(name: str, count: int) -> list[Any]:
    """Import all that a candidate needs, and construct its triggers."""
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


class Told:
    """When all triggers had been told something for the nth time."""

    def __init__(self, count: int) -> None:
        self._count, self._moments = count, dict[int, list[float]]()

    def note(self, trigger: int) -> None:
        self._moments.setdefault(trigger, []).append(time.time())

    def moment(self, nth: int) -> float:
        """Return the epoch seconds, 0 while some have not."""
        if len(self._moments) < self._count or any(len(moments) < nth for moments in self._moments.values()):
            return 0.0
        return max(moments[nth - 1] for moments in self._moments.values())


async def ours(triggers: list[Any], heart: Heart, told: Told) -> None:
    """As Airflow's `TriggerRunner.run_trigger` does it for triggers that share a stream."""
    from airflow.triggers.shared_stream import SharedStreamManager

    manager = SharedStreamManager()

    async def run(number: int, trigger: Any) -> None:
        taken = trigger._apply_changes
        trigger._apply_changes = lambda *news: (taken(*news), told.note(number))
        key = trigger.shared_stream_key()
        stream = manager.subscribe(trigger_id=number, trigger=trigger, key=key)
        async for _ in trigger.filter_shared_stream(stream):
            raise AssertionError("no batch ends")

    await together([run(number, trigger) for number, trigger in enumerate(triggers)], heart, WAVE)


async def rivals(triggers: list[Any], heart: Heart) -> None:
    """As Airflow runs triggers that share nothing."""

    async def run(trigger: Any) -> None:
        async for event in trigger.run():
            raise AssertionError(f"no batch ends: {event}")

    await together([run(trigger) for trigger in triggers], heart, len(triggers))


async def together(works: list[Any], heart: Heart, wave: int) -> None:
    """Run all with the heart beside them, so many more in each turn of the loop."""
    beating = asyncio.create_task(heart.beat())
    tasks = []
    for number, work in enumerate(works):
        if number % wave == 0:
            await asyncio.sleep(0.01)
        tasks.append(asyncio.create_task(work))
    await asyncio.gather(*tasks, beating)


def resident() -> int:
    """Return the bytes that this process holds."""
    for entry in Path("/proc/self/status").read_text().splitlines():
        if entry.startswith("VmRSS"):
            return int(entry.split()[1]) * 1024
    return 0


if __name__ == "__main__":
    main()
