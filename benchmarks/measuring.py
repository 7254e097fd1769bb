"""
Measure several ways to do one job, each in a process of its own, and print the results as tables.

Each round runs all ways of a comparison, so that a busy phase of the machine slows all of them. Seconds are those of
the work alone, without imports and file names. Memory is the peak of the process as the operating system reports it.
A way that cannot run, for example because a rival is not installed, is left out, and a note says why.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "bench"

#: Imports what the work needs, and returns the work to time, which returns the number of rows.
Prepare = Callable[[Path], Callable[[], int]]
#: `title`, `columns`, `rows`, `notes`: one table of the report.
Table = dict[str, Any]
Figures = Mapping[str, float]

COLUMNS = ("way", "rows", "seconds", "lowest", "highest", "CPU seconds", "rows a second", "peak MB")


@dataclass(frozen=True)
class Way:
    """
    One way to do a job.

    :param name: Name in the table.
    :param prepare: Imports what it needs, and returns the work to measure.
    :param rival: Whether it runs in the rivals' environment.
    """

    name: str
    prepare: Prepare
    rival: bool = False


@dataclass(frozen=True)
class Comparison:
    """
    Ways to do the same job; the first is ours.

    :param key: Name on the command line.
    :param title: Title of the table.
    :param ways: The ways, in the order of the table.
    :param notes: Notes below the table.
    :param base: Name of the way by hand, whose speed is 1; None where speeds are not compared.
    """

    key: str
    title: str
    ways: Sequence[Way]
    notes: Sequence[str] = ()
    base: str | None = None


def arguments(about: str) -> argparse.ArgumentParser:
    """
    Return a parser with the arguments of every benchmark.

    :param about: Description of the benchmark.
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the tables as JSON")
    parser.add_argument("--repeat", type=int, metavar="N", help="rounds (5; 2 with --quick)")
    parser.add_argument("--quick", action="store_true", help="fewer rows and rounds, to check that everything works")
    parser.add_argument(
        "--rival-python",
        metavar="PATH",
        default=sys.executable,
        help="Python with the rivals",
    )
    parser.add_argument("--folder", type=Path, help="folder of the input; existing files are used again")
    parser.add_argument("--only", default="", metavar="TEXT", help="only comparisons and ways whose name contains this")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    return parser


def parse(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """
    Parse the command line, and set what follows from ``--quick``.

    :param parser: Parser of `arguments`.
    """
    options = parser.parse_args()
    options.repeat = options.repeat or (2 if options.quick else 5)
    options.folder = (options.folder or BUILD / ("quick" if options.quick else "full")).resolve()
    return options


def compare(module: str, comparisons: Iterable[Comparison], options: argparse.Namespace) -> list[Table]:
    """
    Run all ways of all comparisons, and return one table for each comparison.

    :param module: Dotted name of the benchmark's module.
    :param comparisons: All comparisons of the benchmark.
    :param options: Options of the command line; ``--only`` chooses ways and comparisons.
    """
    chosen = [_chosen(comparison, options.only) for comparison in comparisons]
    return [_compared(module, comparison, options) for comparison in chosen if comparison.ways]


def measure(comparisons: Iterable[Comparison], options: argparse.Namespace) -> None:
    """
    Run the way that ``--measure`` names in this process, and print its figures as JSON.

    :param comparisons: All comparisons of the benchmark.
    :param options: Options of the command line.
    """
    key, _, name = options.measure.partition("/")
    ways = next(comparison.ways for comparison in comparisons if comparison.key == key)
    print(json.dumps(timed(next(way for way in ways if way.name == name).prepare(options.folder))))


def timed(work: Callable[[], int]) -> Figures:
    """
    Run work, and return its wall and processor seconds, its rows and the peak megabytes of this process.

    :param work: Does the work, and returns the number of rows.
    """
    start, before = time.perf_counter(), time.process_time()
    rows = work()
    wall, cpu = time.perf_counter() - start, time.process_time() - before
    return {"wall": wall, "cpu": cpu, "rows": rows, "peak": peak_megabytes()}


def peak_megabytes() -> float:
    """
    Return the peak memory of this process.

    `getrusage` is not used: its figure starts with the memory of the parent process.
    """
    status = Path("/proc/self/status").read_text().partition("VmHWM:")[2]
    return int(status.split(maxsplit=1)[0]) / 1024


def run_in_process(module: str, key: str, options: argparse.Namespace, python: str = sys.executable) -> Figures | str:
    """
    Measure one way in a process of its own; return its figures, or the reason why there are none.

    :param module: Dotted name of the benchmark's module.
    :param key: Key of the comparison and name of the way, separated by a slash.
    :param options: Options of the command line.
    :param python: Python interpreter.
    """
    command = [python, "-m", module, "--measure", key, "--folder", str(options.folder)]
    command += ["--quick"] if options.quick else []
    # The first import of Airflow writes files to its home.
    environment = {**os.environ, "AIRFLOW_HOME": str(options.folder / "airflow")}
    try:
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    except OSError as error:
        return str(error.strerror)
    if done.returncode:
        return re.sub(r"/[^\s'\":]+", "…", done.stderr.strip().rpartition("\n")[2])[:200]
    figures: Figures = json.loads(done.stdout.splitlines()[-1])  # the last line: a rival may log before
    return figures


def show(table: Table) -> None:
    """
    Print a table.

    :param table: Table of the report.
    """
    cells = [list(map(str, table["columns"])), *([formatted(cell) for cell in row] for row in table["rows"])]
    widths = [max(len(row[at]) for row in cells) for at in range(len(table["columns"]))]
    print(f"\n{table['title']}")
    for row in cells:
        first, *others = row
        print(" ", first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)))
    for note in table.get("notes", ()):
        print("  -", note)


def formatted(cell: Any) -> str:
    """
    Return a figure as text, with about three digits.

    :param cell: Number, text or None.
    """
    if isinstance(cell, float):
        digits = 2 if abs(cell) < 10 else 1 if abs(cell) < 100 else 0
        return f"{cell:,.{digits}f}"
    if isinstance(cell, int) and not isinstance(cell, bool):
        return f"{cell:,}"
    return "" if cell is None else str(cell)


def print_tables(tables: Sequence[Table], options: argparse.Namespace) -> None:
    """
    Print tables, and write them as JSON where ``--json`` names a file.

    :param tables: Tables of the report.
    :param options: Options of the command line.
    """
    for table in tables:
        show(table)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(tables, indent=1) + "\n")


def run_ways(
    module: str, comparison: Comparison, options: argparse.Namespace
) -> tuple[dict[str, list[Figures]], dict[str, str]]:
    """
    Run all ways of a comparison in turn.

    :param module: Dotted name of the benchmark's module.
    :param comparison: The comparison.
    :param options: Options of the command line.
    :return: Name of the way → its figures of all rounds, and name of the way → reason why it is left out.
    """
    runs: dict[str, list[Figures]] = {way.name: [] for way in comparison.ways}
    missing: dict[str, str] = {}
    for _ in range(options.repeat):
        for way in comparison.ways:
            if way.name in missing:
                continue
            python = options.rival_python if way.rival else sys.executable
            figures = run_in_process(module, f"{comparison.key}/{way.name}", options, python)
            if isinstance(figures, str):
                missing[way.name] = figures
                del runs[way.name]
            else:
                runs[way.name].append(figures)
    return runs, missing


def spread(values: Iterable[float]) -> tuple[float, float, float]:
    """
    Return median, lowest and highest of some values.

    :param values: At least one value.
    """
    values = list(values)
    return statistics.median(values), min(values), max(values)


def _chosen(comparison: Comparison, only: str) -> Comparison:
    ways = [way for way in comparison.ways if only in way.name or only in comparison.key]
    return replace(comparison, ways=ways)


def _compared(module: str, comparison: Comparison, options: argparse.Namespace) -> Table:
    runs, missing = run_ways(module, comparison, options)
    rates = {name: statistics.median(run["rows"] / run["wall"] for run in done) for name, done in runs.items()}
    rows = [_row(name, done, rates[name]) for name, done in runs.items()]
    columns = list(COLUMNS)
    ours, base = rates.get(comparison.ways[0].name), rates.get(comparison.base or "")
    for title, over, under in (("by hand = 1", None, base), ("ours is, times", ours, None)):
        if comparison.base:
            columns.append(title)
            for row, rate in zip(rows, rates.values(), strict=True):
                row.append(None if (over or under) is None else (over or rate) / (under or rate))
    notes = [*comparison.notes, *(f"{name}: not measured ({reason})." for name, reason in missing.items())]
    return {
        "title": comparison.title,
        "columns": columns,
        "rows": rows,
        "notes": notes,
        "key": comparison.key,
        "runs": runs,
    }


def _row(name: str, runs: Sequence[Figures], rate: float) -> list[Any]:
    cpu = statistics.median(run["cpu"] for run in runs)
    peak = max(run["peak"] for run in runs)
    return [name, int(runs[0]["rows"]), *spread(run["wall"] for run in runs), cpu, round(rate), round(peak)]
